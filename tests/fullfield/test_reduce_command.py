"""The command itself; what it computes is tested in tests/fieldprep/reduction."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from fullfield import cli
from fullfield.sources import find_sources

SHAPE = (64, 72)
KEYS = {"EXPTIME": 10.0, "GAIN": 2.0, "RDNOISE": 5.0, "FILTER": "r", "OBJECT": "NGC 1"}


@pytest.fixture
def raw(tmp_path):
    """Two of each kind of frame."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "raw"
    folder.mkdir()
    for kind, level in (("bias", 300), ("dark", 305), ("flat", 20_000), ("light", 800)):
        for k in range(2):
            counts = rng.normal(level, np.sqrt(max(level - 300, 0) / 2 + 6), SHAPE).round().astype(np.uint16)
            header = fits.Header(KEYS | {"IMAGETYP": kind})
            fits.PrimaryHDU(counts, header).writeto(folder / f"{kind}{k}.fits")
    (folder / "light1.fits").unlink()
    return folder


def run(*arguments):
    command = [sys.executable, "-W", "error", "-m", "fullfield.cli", "reduce", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_raw_exposures_become_a_field_that_runs(raw, tmp_path):
    done = run(raw, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "NGC_1-r.fits" in done.stdout
    command = [
        sys.executable,
        "-m",
        "fullfield.cli",
        "run",
        str(tmp_path / "out" / "NGC_1"),
        "--out",
        str(tmp_path / "run"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert "Traceback" not in ran.stderr
    assert (tmp_path / "run" / "catalogue.parquet").is_file()
    assert [source.name for source in find_sources([str(tmp_path / "out")])] == ["NGC_1"]  # the masters are no field


@pytest.mark.parametrize(
    ("keys", "options", "status", "words"),
    [
        ({}, ["--no-flat", "--no-dark", "--no-bias", "--no-cosmic-rays"], 0, ()),
        ({"FILTER": "Ha"}, [], 1, ("failed:", "no flat in filter Ha", "--no-flat")),
        ({"GAIN": 139}, [], 2, ("--gain",)),
        ({"GAIN": 139}, ["--gain", "2.0"], 0, ()),
        ({"EXPTIME": "long"}, [], 1, ("EXPTIME",)),
    ],
)
def test_what_is_missing_is_one_line_with_its_option(raw, tmp_path, keys, options, status, words):
    path = raw / "light0.fits"
    header = fits.getheader(path)
    header.update(keys)
    fits.PrimaryHDU(fits.getdata(path), header).writeto(path, overwrite=True)
    done = run(raw, "--out", tmp_path / "out", *options)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == (1 if words else 0)
    assert all(word in done.stderr for word in words)
    assert (tmp_path / "out" / "frames.csv").exists() == (status < 2)


def test_a_damaged_file_among_others_fails_alone(raw, tmp_path):
    (raw / "light9.fits").write_bytes((raw / "light0.fits").read_bytes()[:-3000])
    done = run(raw, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "light9.fits: damaged" in done.stderr
    assert (tmp_path / "out" / "NGC_1" / "NGC_1-r.fits").is_file()


@pytest.mark.parametrize("arguments", [["nowhere"], []])
def test_nothing_to_reduce_is_a_usage_error(tmp_path, arguments):
    done = run(*arguments, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_one_line(raw, tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    done = run(raw, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "out: cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_the_hint_is_how_to_get_it(raw, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ccdproc", None)
    for name in [
        name for name in sys.modules if name in {"fieldprep.reduction.exposures", "fieldprep.reduction.reduce"}
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "argv", ["fullfield", "reduce", str(raw), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert 'pip install "fullfield[reduce]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_does_not_load_what_the_extra_brings():
    code = "import sys, fullfield.cli; print({'ccdproc', 'astroscrappy', 'astroalign'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
