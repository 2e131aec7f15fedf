"""`fullfield simulate`: what it writes, and what each option that makes no sense is told."""

import json
import sys

import pandas as pd
import pytest

pytest.importorskip("galsim")

SHAPE = "200x240"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A small field that stands for a real one."""
    files = pytest.importorskip("fieldprep.simulation.files")
    return files.write_field(tmp_path_factory.mktemp("real") / "field", seed=3, shape=(300, 320))


def test_one_field(cli, tmp_path):
    status, out, err = cli("simulate", "--out", tmp_path / "sky", "--seed", 7, "--shape", SHAPE)
    assert (status, err) == (0, "")
    assert out.strip() == f"simulated: {tmp_path / 'sky'}"
    names = {path.name for path in (tmp_path / "sky").iterdir()}
    assert {"sky-g.fits.bz2", "sky-r.fits.bz2", "sky-i.fits.bz2", "catalogue.csv", "artefacts.csv"} <= names


def test_several_fields_are_found_by_run(cli, run_spots, tmp_path):
    cli("simulate", "--out", tmp_path / "sky", "--seed", 7, "--number", 2, "--shape", SHAPE, "--artefacts", "all")
    status, out, _ = run_spots(tmp_path / "sky", "--no-pictures")
    assert status == 0
    assert out.startswith("2 fields")


def test_the_same_command_again_does_nothing(cli, tmp_path):
    command = ("simulate", "--out", tmp_path / "sky", "--seed", 7, "--shape", SHAPE)
    cli(*command)
    before = (tmp_path / "sky" / "catalogue.csv").stat().st_mtime_ns
    assert cli(*command)[0] == 0
    assert (tmp_path / "sky" / "catalogue.csv").stat().st_mtime_ns == before


def test_every_option_of_a_scene(cli, tmp_path):
    options = ("--crowding", 2, "--cluster", 50, "--arcs", 4, "--shear", 0.3, "--artefacts", "trail,cosmic_ray")
    assert cli("simulate", "--out", tmp_path / "sky", "--seed", 7, "--shape", SHAPE, *options)[0] == 0
    truth = pd.read_csv(tmp_path / "sky" / "catalogue.csv")
    assert (truth.loc[truth["kind"] == "arc", "shear"] == 0.3).all()
    asked = json.loads((tmp_path / "sky" / "simulation.json").read_text())["recipe"]
    assert asked["artefacts"] == ["trail", "cosmic_ray"]
    assert (asked["crowding"], asked["cluster"], asked["arcs"]) == (2, 50, 4)


def test_like_a_field(cli, real, tmp_path):
    status, _, err = cli("simulate", "--out", tmp_path / "sky", "--seed", 7, "--like", real)
    assert status == 0
    assert all(line.startswith("note: field-") for line in err.splitlines())  # too small a field for its PSF
    assert len(pd.read_csv(tmp_path / "sky" / "catalogue.csv"))


def test_into_a_field(cli, real, tmp_path):
    options = ("--galaxies", 4, "--magnitudes", "18:19", "--sizes", "0.5:2", "--placing", "grid")
    assert cli("simulate", "--out", tmp_path / "sky", "--seed", 7, "--into", real, *options)[0] == 0
    truth = pd.read_csv(tmp_path / "sky" / "catalogue.csv")
    assert (truth["injected"] == 1).sum() == 4
    assert truth.loc[truth["injected"] == 1, "modelMag_r"].between(18, 19).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shape", "big"), "rows x columns"),
        (("--shape", "0x100"), "under 64 pixels"),
        (("--artefacts", "ghost"), "unknown artefact ghost"),
        (("--shape", SHAPE, "--like", "."), "leave --shape out"),
        (("--galaxies", "3"), "--galaxies wants --into"),
        (("--avoid", "--sizes", "1:2"), "--sizes, --avoid wants --into"),
        (("--into", ".", "--crowding", "2"), "--crowding does not go with --into"),
        (("--into", ".", "--like", "."), "--like does not go with --into"),
        (("--into", ".", "--magnitudes", "22:17"), "--magnitudes wants LOW:HIGH"),
        (("--into", ".", "--magnitudes", "17"), "--magnitudes wants LOW:HIGH"),
        (("--into", ".", "--sizes", "1:inf"), "--sizes wants LOW:HIGH"),
        (("--into", ".", "--placing", "ring"), "random or grid"),
        (("--into", ".", "--artefacts", "spike"), "spike cannot be added"),
        (("--shear", "1.5"), "shear"),
        (("--number", "0"), "number"),
    ],
)
def test_what_makes_no_sense_is_one_line(cli, tmp_path, options, words):
    status, out, err = cli("simulate", "--out", tmp_path / "sky", "--seed", 7, *options)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err
    assert not (tmp_path / "sky").exists()


@pytest.mark.parametrize("option", ["--like", "--into"])
def test_a_field_without_r_is_one_line(cli, make_fits, tmp_path, option):
    import numpy as np  # noqa: PLC0415 -- for this alone

    for band in ("g", "i"):
        make_fits(f"{band}.fits", np.zeros((80, 90), np.float32), band=band, folder=tmp_path / "gi")
    status, _, err = cli("simulate", "--out", tmp_path / "sky", "--seed", 7, option, tmp_path / "gi")
    assert status == 1
    assert "no r band" in err
    assert len(err.splitlines()) == 1


def test_a_full_folder_is_one_line(cli, tmp_path):
    (tmp_path / "mine.txt").touch()
    status, _, err = cli("simulate", "--out", tmp_path, "--seed", 7, "--shape", SHAPE)
    assert status == 1
    assert "not empty" in err
    assert len(err.splitlines()) == 1


def test_without_galsim_it_says_what_to_install(cli, tmp_path, monkeypatch):
    loaded = [
        name for name in sys.modules if name.startswith(("fieldprep.simulation", "fullfield.simulation", "galsim"))
    ]
    for name in loaded:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "galsim", None)
    status, _, err = cli("simulate", "--out", tmp_path / "sky", "--seed", 7)
    assert status == 2
    assert 'pip install "fullfield[train]"' in err
