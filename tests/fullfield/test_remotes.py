import csv
import json
import signal

import numpy as np
import pandas as pd
import pytest

from fieldprep.surveys.prefix import SURVEYS
from fullfield import remotes
from fullfield.sources import find_sources

FIELD = "003184-2-0169"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def catalogue_rows(out):
    return pd.read_parquet(out / "catalogue.parquet")


def test_a_field_of_the_survey_gives_the_rows_of_the_local_folder(cli, survey, sdss_folder, tmp_path):
    status, _, err = cli("run", "sdss:3184-2-169", "--out", tmp_path / "fetched")
    assert status == 0, err
    assert cli("run", sdss_folder, "--out", tmp_path / "local")[0] == 0
    fetched, local = catalogue_rows(tmp_path / "fetched"), catalogue_rows(tmp_path / "local")
    assert len(local) > 100
    pd.testing.assert_frame_equal(fetched, local)
    assert json.loads((tmp_path / "fetched" / "run.json").read_text())["seconds_by_stage"]["fetch"]["total"] > 0


def test_evaluate_run_takes_the_survey_catalogue(cli, survey, tmp_path):
    assert cli("run", "sdss:3184-2-169", "--out", tmp_path / "out")[0] == 0
    status, out, err = cli("evaluate", "run", tmp_path / "out", "--truth", "sdss")
    assert status == 0, err
    assert "completeness" in out
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())["catalogue"]["pooled"]
    assert scores["limits"]["20"]["completeness"]["value"] > 0.8


def test_a_position_a_name_and_an_id_in_one_field_are_one_field(run_spots, survey, sdss_field, tmp_path):
    ra, dec = sdss_field.wcs.pixel_to_world_values(1000, 700)
    survey.content.names["ngc 1"] = (ra, dec)
    status, out, err = run_spots("sdss:3184-2-169", f"{ra:.5f} {dec:+.5f}", "NGC 1", f"sdss:{ra:.5f} {dec:+.5f}")
    assert status == 0, err
    assert out.startswith("1 field,")


def test_a_place_that_the_survey_has_not_is_a_failed_field(run_spots, survey, tmp_path):
    status, _, err = run_spots("10.0 -80.0", "sdss:3184-2-169")
    assert status == 1
    assert "10.0 -80.0: SDSS has no field there" in err
    assert (tmp_path / "out" / "fields" / FIELD / "catalogue.parquet").exists()


def test_an_unknown_name_says_that_it_is_neither_a_file_nor_an_object(run_spots, survey):
    status, _, err = run_spots("NGC 99999")
    assert status == 1
    assert "no such file" in err
    assert "Sesame" in err


def test_a_rerun_asks_the_survey_for_what_is_missing_only(run_spots, survey, tmp_path):
    sources = ("sdss:3184-2-169", "sdss:1043-5-25")
    survey.faults = lambda path, _: "missing" if "frame-i-001043" in path else None
    status, _, err = run_spots(*sources)
    assert status == 1
    assert "001043-5-0025 (fetch)" in err
    rows = rows_of(tmp_path / "out" / "failures.csv")
    assert [(row["field"], row["stage"]) for row in rows] == [("001043-5-0025", "fetch")]
    survey.forget()
    survey.faults = lambda *_: None
    assert run_spots(*sources)[0] == 0
    assert [path.rpartition("/")[2] for path in survey.asked] == ["frame-i-001043-5-0025.fits.bz2"]


def test_frames_are_dropped_when_asked_once_their_field_is_done(run_spots, survey, tmp_path):
    frames = tmp_path / "frames"
    assert run_spots("sdss:3184-2-169", "--frames", frames, "--drop-frames")[0] == 0
    assert not list(frames.rglob("*.bz2"))
    assert run_spots("sdss:3184-2-169", "--frames", frames, out=tmp_path / "kept")[0] == 0
    assert len(list(frames.rglob("*.bz2"))) == 3


def test_fetch_gives_the_survey_own_bytes_with_the_catalogue_beside_them(cli, survey, sdss_folder, tmp_path):
    status, _, err = cli("fetch", "sdss:3184-2-169", "--catalogue", "sdss", "--out", tmp_path / "frames")
    assert status == 0, err
    folder = tmp_path / "frames" / FIELD
    for band in "gri":
        name = f"frame-{band}-{FIELD}.fits.bz2"
        assert (folder / name).read_bytes() == (sdss_folder / name).read_bytes()
    assert (folder / "catalogue.ecsv").exists()
    survey.forget()
    assert cli("fetch", "sdss:3184-2-169", "--catalogue", "sdss", "--out", tmp_path / "frames")[0] == 0
    assert not survey.asked
    assert [source.name for source in find_sources([str(tmp_path / "frames")])] == [FIELD]


def test_fetch_records_what_fails_and_goes_on(cli, survey, sdss_folder, tmp_path):
    out, other = tmp_path / "frames", sdss_folder.with_name("001043-5-0025")
    status, text, err = cli("fetch", "sdss:3184-2-169", "sdss:99-1-99", other, "--out", out)
    assert status == 1
    assert "1 field, 1 failed" in text
    assert "at hand already" in err
    assert [row["field"] for row in rows_of(out / "fetched.csv")] == [FIELD]
    (failure,) = rows_of(out / "failures.csv")
    assert (failure["field"], failure["stage"]) == ("000099-1-0099", "fetch")
    assert "no such thing" in failure["error"]


def test_fetch_wants_a_catalogue_of_a_service(cli, tmp_path):
    status, _, err = cli("fetch", "sdss:3184-2-169", "--catalogue", "mine.csv", "--out", tmp_path / "frames")
    assert status == 2
    assert "sdss or vizier:TABLE" in err


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_fetch_that_is_stopped_goes_on_where_it_was(spawn, wait_for, cli, survey, tmp_path, sign):
    out = tmp_path / "frames"
    survey.faults = lambda path, _: "drip" if "frame-i" in path else None
    survey.drip_seconds = 0.4
    process = spawn("fetch", "sdss:3184-2-169", "--out", out)
    wait_for(lambda: len(list(out.glob(f"{FIELD}/frame-*"))) == 2, process)
    process.send_signal(sign)
    process.communicate()
    survey.forget()
    survey.faults = lambda *_: None
    assert cli("fetch", "sdss:3184-2-169", "--out", out)[0] == 0
    assert [path.rpartition("/")[2] for path in survey.asked] == [f"frame-i-{FIELD}.fits.bz2"]
    assert sorted(path.suffix for path in (out / FIELD).iterdir()) == [".bz2"] * 3


def labels_of(folder):
    return {
        path.name: np.loadtxt(path, ndmin=2) for path in sorted(folder.glob("labels/*/*.txt")) if path.stat().st_size
    }


def test_a_set_of_the_survey_has_the_labels_of_the_local_fields(cli, survey, sdss_folder, tmp_path):
    options = ("--validation", "001043-5-0025", "--variants", "N", "--out")
    status, _, err = cli(
        "prepare", "sdss:3184-2-169", "sdss:1043-5-25", "--catalogue", "sdss", *options, tmp_path / "a"
    )
    assert status == 0, err
    folders = (sdss_folder, sdss_folder.with_name("001043-5-0025"))
    status, _, err = cli("prepare", *folders, "--catalogue", "catalogue.csv", *options, tmp_path / "b")
    assert status == 0, err
    fetched, local = labels_of(tmp_path / "a"), labels_of(tmp_path / "b")
    assert fetched.keys() == local.keys()
    assert sum(map(len, local.values())) > 300
    for name, rows in local.items():
        assert np.abs(fetched[name] - rows).max() < 2e-6  # of a tile of 640 pixels


def test_the_votes_of_the_survey_make_the_classes_of_astrocv(cli, survey, tmp_path):
    fields = ("sdss:3184-2-169", "sdss:1043-5-25", "sdss:2820-3-122")
    status, _, err = cli("prepare", *fields, "--catalogue", "sdss", "--recipe", "T3", "--out", tmp_path / "T3")
    assert status == 0, err
    classes = np.concatenate([rows[:, 0] for rows in labels_of(tmp_path / "T3").values()])
    assert len(np.unique(classes)) >= 3


def test_every_prefix_of_a_survey_has_its_client():
    assert tuple(remotes._PARSERS) == SURVEYS


def test_workers_fetch_in_processes_of_their_own(run_spots, survey, tmp_path):
    status, out, err = run_spots("sdss:3184-2-169", "sdss:1043-5-25", "sdss:99-1-99", "--workers", 2)
    assert status == 1
    assert out.startswith("2 fields,")
    assert "000099-1-0099 (fetch)" in err
    assert max(survey.served.values()) == 1
    assert len(catalogue_rows(tmp_path / "out")["field"].unique()) == 2
