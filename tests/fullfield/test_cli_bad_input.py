"""What the user sees of each bad input: the exit status, one line on stderr, never a traceback."""

import bz2
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from fullfield.pipeline import loaded_detector


def lines(err):
    return [line for line in err.splitlines() if line.strip()]


@pytest.fixture
def told(run_spots, tmp_path):
    """Run a source that must fail; gives its one line."""

    def check(*arguments, status=1, begins="failed: "):
        given, out, err = run_spots(*arguments)
        assert "Traceback" not in out + err
        assert given == status
        assert len(lines(err)) == 1
        assert lines(err)[0].startswith(begins)
        return lines(err)[0]

    return check


def test_a_missing_file(told, tmp_path):
    assert "none.fits: no such file" in told(tmp_path / "none.fits")


def test_a_missing_folder(told, tmp_path):
    assert "no such file or folder" in told(tmp_path / "none")


def test_an_empty_file(told, tmp_path):
    (tmp_path / "a.fits").touch()
    assert "a.fits: empty" in told(tmp_path / "a.fits")


def test_an_empty_picture(told, tmp_path):
    (tmp_path / "a.jpg").touch()
    assert "a.jpg: empty" in told(tmp_path / "a.jpg")


def test_an_empty_folder(told, tmp_path):
    (tmp_path / "a").mkdir()
    assert "no FITS file and no picture" in told(tmp_path / "a")


def test_a_truncated_file(told, frame, tmp_path):
    path = tmp_path / "cut.fits"
    path.write_bytes(Path(frame("a")).read_bytes()[:20_000])
    assert "cut.fits: damaged" in told(path)


def test_a_file_that_is_not_fits(told, tmp_path):
    (tmp_path / "a.fits").write_text("<html>503 Service Unavailable</html>")
    assert "a.fits: not a FITS file" in told(tmp_path / "a.fits")


def test_a_file_of_no_kind_that_is_read(told, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert "notes.txt: not a FITS file" in told(tmp_path / "notes.txt")


def test_a_table(told, tmp_path):
    fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.zeros(3))]).writeto(tmp_path / "t.fits")
    assert "t.fits: holds tables only" in told(tmp_path / "t.fits")


def test_a_cube_whose_planes_have_no_names(told, make_fits):
    path = make_fits("cube.fits", np.zeros((5, 40, 40), np.float32), wcs=None)
    assert "cube.fits: a cube of 5 x 40 x 40 whose planes are not named; add the keywords BAND1" in told(path)


def test_an_image_without_a_number(told, make_fits):
    path = make_fits("nan.fits", np.full((40, 40), np.nan, np.float32))
    assert "nan.fits: no finite pixel" in told(path)


def test_an_image_of_one_pixel(told, make_fits):
    assert "1 x 1 pixels is no field" in told(make_fits("one.fits", np.ones((1, 1), np.float32), wcs=None))


def test_a_constant_image_is_a_field_without_galaxies(run_spots, make_fits):
    status, out, err = run_spots(make_fits("flat.fits", np.zeros((60, 70), np.float32)))
    assert (status, err) == (0, "")
    assert out.startswith("1 field, 0 galaxies")


def test_bands_of_different_fields(told, make_fits, make_wcs, small_image, tmp_path):
    make_fits("sky/g.fits", small_image(), band="g", wcs=make_wcs((200, 300), crval=(150.0, 2.0)))
    make_fits("sky/r.fits", small_image(), band="r", wcs=make_wcs((200, 300), crval=(200.0, -40.0)))
    line = told(tmp_path / "sky")
    assert "different parts of the sky" in line or "do not overlap" in line


def test_sdss_bands_of_different_fields(told, make_fits, small_image, tmp_path):
    for band, number in (("g", 177), ("r", 170)):
        header = {"RUN": 3184, "CAMCOL": 2, "FRAME": number, "FILTER": band}
        make_fits(f"sky/{band}.fits", small_image(), header=header)
    assert "the bands are of different fields (003184-2-0169, 003184-2-0170)" in told(tmp_path / "sky")


def test_bands_of_different_shape(told, make_fits, tmp_path):
    make_fits("sky/g.fits", np.zeros((40, 50), np.float32), band="g", wcs=None)
    make_fits("sky/r.fits", np.zeros((40, 51), np.float32), band="r", wcs=None)
    assert "40 x 50 pixels" in told(tmp_path / "sky")


def test_no_wcs_is_a_note_and_no_failure(run_spots, frame, tmp_path):
    status, _, err = run_spots(frame("a", wcs=None))
    assert status == 0
    assert lines(err) == ["note: a: no WCS, so no sky positions"]
    table = pd.read_parquet(tmp_path / "out/catalogue.parquet")
    assert len(table) == 3
    assert table[["ra", "dec", "radius_arcsec"]].isna().all(axis=None)


@pytest.mark.parametrize("damage", ["cut", "scrambled"])
def test_a_corrupt_bzip2(told, frame, tmp_path, damage):
    content = bytearray(bz2.compress(Path(frame("a")).read_bytes()))
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    (tmp_path / "bad.fits.bz2").write_bytes(content)
    assert "bad.fits.bz2: truncated or corrupt bzip2" in told(tmp_path / "bad.fits.bz2")


def test_a_damaged_picture(told, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert "a.png" in told(tmp_path / "a.png")


def test_an_output_folder_that_is_a_file(cli, spots, frame, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file/below", "/proc/nowhere"):
        status, stdout, err = cli("run", frame("a"), "--out", out, "--detector", spots)
        assert status == 1
        assert stdout == ""
        assert len(lines(err)) == 1
        assert err.startswith(f"fullfield: {out}: cannot be written")


def test_bands_that_the_field_does_not_have(told, frame):
    assert "--bands needs three of this field's bands (r)" in told(frame("a"), "--bands", "i,r,g")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--variant", "X"), "unknown variant 'X'"),
        (("--variant", "N,X"), "unknown variant 'X'"),
        (("--zooms", "1,wide"), "--zooms wants scales from 0.25 to 4"),
        (("--zooms", "1,9"), "got 1,9"),
        (("--bands", "i,r"), "--bands wants three bands"),
        (("--workers", "0"), "--workers"),
        (("--workers", "many"), "--workers"),
        (("--confidence", "2"), "--confidence"),
        (("--nosuch",), "--nosuch"),
    ],
)
def test_options_that_make_no_sense(told, frame, tmp_path, options, says):
    assert says in told(frame("a"), *options, status=2, begins="fullfield: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["sdss:3184-2", "229.54 +92.76", "mast:", "ps1:229.54 +42.76"])
def test_a_piece_of_sky_that_makes_no_sense(told, source):
    assert source in told(source, status=2, begins="fullfield: ")


def test_a_list_without_sources(told, tmp_path):
    (tmp_path / "list.csv").write_text("path\na.fits\n")
    assert "needs a column 'source'" in told(tmp_path / "list.csv", status=2, begins="fullfield: ")


@pytest.mark.parametrize("detector", ["nosuch", "nosuch.onnx"])
def test_an_unknown_detector(cli, frame, tmp_path, detector):
    status, _, err = cli("run", frame("a"), "--out", tmp_path / "out", "--detector", detector)
    assert status in {1, 2}
    assert len(lines(err)) == 1
    assert err.startswith("fullfield: nosuch.onnx: ")


def test_an_unknown_runtime(told, frame, monkeypatch):
    loaded_detector.cache_clear()
    monkeypatch.setenv("FULLFIELD_RUNTIME", "tpu")
    assert "unknown runtime 'tpu'" in told(frame("a"), status=2, begins="fullfield: ")


def test_weights_that_are_not_the_cards(cli, frame, tmp_path, spots):
    path = tmp_path / "own.onnx"
    path.write_bytes(b"other")
    path.with_suffix(".json").write_text(Path(spots).with_suffix(".json").read_text())
    status, _, err = cli("run", frame("a"), "--out", tmp_path / "out", "--detector", path)
    assert status == 1
    assert "is not the card's" in err
    assert len(lines(err)) == 1


@pytest.mark.parametrize("arguments", [("nosuch",), ("run",), ("train", "nosuch"), ("run", "a.fits")])
def test_a_command_line_that_makes_no_sense(cli, arguments):
    status, out, err = cli(*arguments)
    assert status == 2
    assert "Traceback" not in out + err
    assert len(lines(err)) == 1
    assert err.startswith("fullfield: ")


@pytest.mark.parametrize("group", [(), ("train",), ("evaluate",)])
def test_no_argument_shows_the_help(cli, group):
    status, out, err = cli(*group)
    assert status in {0, 2}
    assert "Usage: " in out
    assert not err.startswith("fullfield: Usage")


def test_a_training_set_that_is_none(cli, tmp_path):
    pytest.importorskip("ultralytics")
    status, _, err = cli("train", "detector", tmp_path, "--out", tmp_path / "out")
    assert status == 1
    assert "no training set" in err
    assert len(lines(err)) == 1


def test_an_evaluation_of_no_run(cli, tmp_path):
    status, _, err = cli("evaluate", "run", tmp_path, "--truth", "catalogue.csv")
    assert status == 1
    assert "not the folder of a run" in err
    assert len(lines(err)) == 1


@pytest.mark.parametrize("out", ["/proc/nowhere", "file"])
def test_a_training_set_that_cannot_be_written(cli, frame, tmp_path, out):
    (tmp_path / "file").write_text("in the way")
    frame("a", folder=tmp_path / "a")
    frame("b", folder=tmp_path / "b")
    (tmp_path / "c.csv").write_text("x,y,petroRad_r\n40,50,3\n")
    command = ("prepare", tmp_path / "a", tmp_path / "b", "--catalogue", tmp_path / "c.csv", "--validation", "b")
    status, stdout, err = cli(*command, "--out", tmp_path / out)
    assert status == 1
    assert "Traceback" not in stdout + err
    assert len(lines(err)) == 1
    assert err.startswith("fullfield: ")
