import csv
import errno
import importlib
import json
import os
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from fieldprep.errors import OutputError, UsageError
from fullfield import batch, pipeline
from fullfield.batch import run
from fullfield.catalogue import atomic
from fullfield.ledger import Ledger
from fullfield.pipeline import Outcome
from fullfield.sources import find_sources


def rows_of(path):
    with path.open(newline="") as handle:
        return list(csv.reader(handle))


def contents(out):
    """Everything a run leaves but its timings: catalogues as tables, pictures as bytes."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.suffix == ".parquet":
            found[str(path.relative_to(out))] = pq.read_table(path).to_pydict()
        elif path.suffix == ".png":
            found[str(path.relative_to(out))] = path.read_bytes()
    return found


def temporary_files(out):
    return [path for path in out.rglob(".*") if path.is_file()]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def three(frame):
    return [frame(name, seed) for seed, name in enumerate("abc")]


@pytest.fixture
def many(frame, tmp_path):
    """Folder of 40 fields: hard links of one file, told apart by their names."""
    first = Path(frame("first"))
    folder = tmp_path / "sky"
    folder.mkdir()
    for i in range(40):
        os.link(first, folder / f"f{i:02d}.fits")
    # each a field of its own folder, for the FITS files of one folder are one field
    for path in sorted(folder.glob("*.fits")):
        (folder / path.stem).mkdir()
        path.rename(folder / path.stem / "r.fits")
    return folder


def test_a_run_leaves_what_the_design_says(three, out, request_spots):
    summary = run(three, out, request_spots)
    assert (summary.done, summary.failed, summary.skipped, summary.galaxies) == (3, 0, 0, 9)
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    of_field = {"catalogue.parquet", "all_detections.parquet", "detections.png"}
    assert files == {"catalogue.parquet", "failures.csv", "run.json", "fields.csv"} | {
        f"fields/{name}/{file}" for name in "abc" for file in of_field
    }
    assert rows_of(out / "failures.csv") == [["field", "stage", "error"]]


def test_the_catalogue_joins_all_fields(three, out, request_spots):
    run(three, out, request_spots)
    table = Table.read(out / "catalogue.parquet")
    assert table["field"].tolist() == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert table["id"].tolist() == [1, 2, 3] * 3
    one = Table.read(out / "fields/b/catalogue.parquet")
    for name in table.colnames:
        assert table[name][3:6].tolist() == one[name].tolist()


def test_run_json_tells_versions_weights_options_and_timings(three, out, request_spots):
    run(three, out, request_spots)
    told = json.loads((out / "run.json").read_text())
    assert told["options"]["detector_sha256"] == request_spots.detector_sha256
    assert told["options"]["confidence"] == 0.25
    assert told["sources"] == three
    assert told["fields"] == {"done": 3, "done_now": 3, "failed": 0}
    assert {"python", "numpy", "astropy", "fullfield"} <= set(told["versions"])
    assert set(told["seconds_by_stage"]) == set(pipeline.STAGES)
    assert told["seconds_by_stage"]["detect"]["total"] > 0


def test_a_bad_field_among_good_ones_is_recorded_and_passed_over(three, out, request_spots, tmp_path):
    bad = tmp_path / "bad.fits"
    bad.write_text("an error page, with status 200")
    summary = run([three[0], str(bad), *three[1:]], out, request_spots)
    assert (summary.done, summary.failed) == (3, 1)
    header, row = rows_of(out / "failures.csv")
    assert header == ["field", "stage", "error"]
    assert row[:2] == ["bad", "read"]
    assert "bad.fits: not a FITS file" in row[2]
    assert set(Table.read(out / "catalogue.parquet")["field"]) == {"a", "b", "c"}


def test_a_rerun_does_what_is_missing_and_only_that(three, out, request_spots, tmp_path):
    bad = tmp_path / "bad.fits"
    bad.write_text("no FITS")
    given = [*three, str(bad)]
    run(given, out, request_spots)
    before = {path: path.stat().st_mtime_ns for path in (out / "fields").rglob("*.*")}
    shutil.rmtree(out / "fields" / "b")
    again = run(given, out, request_spots)
    assert (again.done, again.skipped, again.failed, again.galaxies) == (1, 2, 1, 9)
    assert all(path.stat().st_mtime_ns == t for path, t in before.items() if path.parent.name in "ac")
    shutil.copy(three[0], bad)
    mended = run(given, out, request_spots)
    assert (mended.done, mended.skipped, mended.failed, mended.galaxies) == (1, 3, 0, 12)
    assert rows_of(out / "failures.csv") == [["field", "stage", "error"]]


def test_a_run_of_failed_fields_only_leaves_an_empty_catalogue(out, request_spots):
    summary = run(["nowhere.fits"], out, request_spots)
    assert (summary.done, summary.failed, summary.galaxies) == (0, 1, 0)
    assert len(Table.read(out / "catalogue.parquet")) == 0


def test_a_field_that_joins_others_later_is_not_listed_twice(frame, out, request_spots, tmp_path):
    one, two = (frame("same", seed, folder=tmp_path / str(seed)) for seed in (1, 2))
    run([one], out, request_spots)
    summary = run([one, two], out, request_spots)
    assert (summary.done, summary.skipped, summary.galaxies) == (1, 1, 6)


def test_other_options_on_the_same_folder_are_a_usage_error(three, out, request_spots):
    run(three, out, request_spots)
    with pytest.raises(UsageError, match=r"run with confidence 0\.25; name another --out"):
        run(three, out, replace(request_spots, confidence=0.5))


def test_options_may_change_as_long_as_no_field_is_done(three, out, request_spots):
    assert run(three, out, replace(request_spots, bands=("g", "r", "i"))).failed == 3
    assert run(three, out, request_spots).done == 3


def test_a_line_cut_short_is_no_record_and_spoils_none(three, out, request_spots):
    run(three, out, request_spots)
    whole = (out / "fields.csv").read_text()
    for cut in (1, 3, 7, 8, 20):
        (out / "fields.csv").write_text(whole[:-cut])
        assert run(three, out, request_spots).done == 1
        assert run(three, out, request_spots).done == 0


def test_a_line_of_the_ledger_is_a_record_only_of_its_own_source(three, out, request_spots, frame, tmp_path):
    run(three, out, request_spots)
    ledger = Ledger(out, {})
    assert [ledger.is_done(source) for source in find_sources(three)] == [True] * 3
    other = find_sources([frame("a", 7, folder=tmp_path / "other")])[0]
    assert not ledger.is_done(other)


def test_workers_give_the_same_as_one_process(three, out, request_spots, tmp_path):
    bad = tmp_path / "bad.fits"
    bad.write_text("no FITS")
    given = [three[0], str(bad), *three[1:]]
    alone, together = run(given, out, request_spots), run(given, tmp_path / "out2", request_spots, workers=2)
    assert (alone.done, alone.failed) == (together.done, together.failed) == (3, 1)
    assert contents(out) == contents(tmp_path / "out2")


def test_a_process_that_dies_fails_its_own_field_only(three, out, request_spots, tmp_path, monkeypatch):
    # the processes import this module by its path, which they are given
    (tmp_path / "deadly.py").write_text(
        "import os\n"
        "from fullfield.pipeline import run_field\n"
        "def run(source, request, out):\n"
        "    if source.name == 'b':\n"
        "        os._exit(9)\n"
        "    return run_field(source, request, out)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(batch, "run_field", importlib.import_module("deadly").run)
    summary = run(three, out, request_spots, workers=2)
    assert (summary.done, summary.failed) == (2, 1)
    assert summary.failures[0].field == "b"
    assert "the process died" in summary.failures[0].error
    assert set(Table.read(out / "catalogue.parquet")["field"]) == {"a", "c"}


@pytest.mark.parametrize("broken", ["write_parquet", "write_png"])
def test_a_full_disk_ends_the_batch_and_a_rerun_goes_on(three, out, request_spots, monkeypatch, broken):
    write = getattr(pipeline, broken)

    def full(path, what):
        if path.parent.name == "b":
            with atomic(path) as temporary:
                temporary.write_bytes(b"half")
                raise OSError(errno.ENOSPC, "No space left on device")
        write(path, what)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, broken, full)
        with pytest.raises(OutputError, match="No space left on device"):
            run(three, out, request_spots)
    assert not temporary_files(out)
    assert not (out / "fields/b/catalogue.parquet").exists()
    assert json.loads((out / "run.json").read_text())["fields"]["done"] == 1
    again = run(three, out, request_spots)
    assert (again.done, again.skipped) == (2, 1)


def test_a_disk_that_fills_up_while_a_file_is_written_leaves_no_half_file(three, out, spots, spawn):
    def small_files_only():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    process = spawn("run", *three, "--out", out, "--detector", spots, preexec_fn=small_files_only)
    stdout, stderr = process.communicate()
    assert process.returncode == 1
    assert stdout == ""
    assert [line for line in stderr.splitlines() if line] == [
        f"fullfield: {out}/fields/a/detections.png: cannot be written (File too large)"
    ]
    assert not temporary_files(out)
    assert not list(out.rglob("*.png"))


def test_a_pyarrow_error_on_a_full_disk_is_an_output_error(three, out, request_spots, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OutputError, match="No space left on device"):
        run(three, out, request_spots)


def started_and_stopped(spawn, wait_for, signal_number, out, *arguments):
    """Start a run, send a signal once the first field is finished; gives status and stderr."""
    for _ in range(5):
        process = spawn("run", *arguments, "--out", out, "--classifiers", "none")  # as `request_spots` asks
        wait_for(lambda: (out / "fields.csv").exists() and len(rows_of(out / "fields.csv")) > 1, process)
        os.killpg(process.pid, signal_number)
        _, stderr = process.communicate(timeout=60)
        if process.returncode:
            return process.returncode, stderr
        shutil.rmtree(out)  # on a busy machine it may be over before the signal comes
    pytest.fail("the run was over before the signal each time")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_stops_clean_and_a_rerun_completes_it(
    many, out, spots, request_spots, spawn, wait_for, tmp_path, workers
):
    options = (many, "--detector", spots, "--workers", workers)
    status, stderr = started_and_stopped(spawn, wait_for, signal.SIGINT, out, *options)
    assert status == 130
    assert "Traceback" not in stderr
    assert "interrupted: what was finished is kept" in stderr
    assert not temporary_files(out)
    done = len(rows_of(out / "fields.csv")) - 1
    assert 0 < done < 40
    summary = run([str(many)], out, request_spots)
    assert (summary.skipped, summary.done) == (done, 40 - done)
    if workers == 1:
        run([str(many)], tmp_path / "whole", request_spots)
        assert contents(out) == contents(tmp_path / "whole")


def test_a_killed_run_is_completed_by_a_rerun(many, out, spots, request_spots, spawn, wait_for):
    status, _ = started_and_stopped(spawn, wait_for, signal.SIGKILL, out, many, "--detector", spots)
    assert status == -signal.SIGKILL
    done = len(rows_of(out / "fields.csv")) - 1
    assert done < 40
    # what a kill in the middle of a write leaves
    (out / "fields/f39").mkdir(exist_ok=True)
    left = [out / "fields/f39/.catalogue-4242.parquet", out / ".catalogue-4242.parquet", out / ".run-4242.json"]
    for path in left:
        path.write_bytes(b"half")
    summary = run([str(many)], out, request_spots)
    assert (summary.skipped, summary.done, summary.galaxies) == (done, 40 - done, 120)
    assert not temporary_files(out)


def test_a_killed_run_remembers_its_options(many, out, spots, request_spots, spawn, wait_for):
    started_and_stopped(spawn, wait_for, signal.SIGKILL, out, many, "--detector", spots)
    with pytest.raises(UsageError, match="run with confidence"):
        run([str(many)], out, replace(request_spots, confidence=0.9))


def test_a_folder_that_cannot_be_written_is_an_output_error(three, request_spots, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(OutputError, match=r"cannot be written .*; name another --out"):
            run(three, out, request_spots)


def test_progress_is_told_field_by_field(three, out, request_spots):
    seen = []
    run(three, out, request_spots, progress=lambda outcome, total: seen.append((outcome and outcome.field, total)))
    assert seen == [(None, 3), ("a", 3), ("b", 3), ("c", 3)]


def test_the_traceback_of_an_error_that_is_ours_is_kept(tmp_path):
    ledger = Ledger(tmp_path, {})
    ledger.write_failures([Outcome("a", stage="read", error="a.fits: empty")])
    assert not (tmp_path / "errors.log").exists()
    ledger.write_failures([Outcome("b", stage="detect", error="unexpected", details="Traceback: where it was")])
    assert (tmp_path / "errors.log").read_text().split("\n")[:2] == ["b", "Traceback: where it was"]
