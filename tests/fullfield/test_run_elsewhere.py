"""The commands on what is fetched from MAST and from the services of cutouts, which stand in on loopback."""

import csv
import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from cutout_services import FITSCUT, HIPS, LEGACY
from mast_archive import DOWNLOAD, INVOKE
from misbehaving import meets
from sky_fixtures import COLOUR, F105W, F160W, VISIT, at

from fieldprep.surveys.positions import parse_position
from fullfield.catalogue import read_parquet

NAME = VISIT.replace("_{}", "")  # of both filters of the visit together
BOTH = f"mast:{F105W},{F160W}"
SERVICES = {"hips": HIPS, "legacy": LEGACY, "ps1": FITSCUT}


@pytest.fixture
def run_galaxy(cli, tmp_path):
    """``fullfield run SOURCE... --out OUT`` with the shipped detector; gives its catalogue."""

    def call(*sources, out="out"):
        status, _, err = cli("run", *sources, "--out", tmp_path / out)
        assert status == 0, err
        return pd.read_parquet(tmp_path / out / "catalogue.parquet")

    return call


def failures(out):
    with (out / "failures.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("source", "name", "files"),
    [
        (BOTH, NAME, (F105W, F160W)),
        (f"mast:{VISIT.format('f*')}", VISIT.format("f"), (F105W, F160W)),
        ("mast:53.1575 -27.8035 1arcmin", NAME, (F105W, F160W)),
        (f"mast:{F160W}", F160W, (F160W,)),
    ],
)
def test_what_mast_has_gives_the_rows_of_its_files(run_galaxy, hubble, xdf, tmp_path, source, name, files):
    fetched = run_galaxy(source)
    local = tmp_path / "local" / name
    local.mkdir(parents=True)
    for path in (tmp_path / "cache" / "mast").rglob("*.fits"):
        shutil.copy(path, local)
    assert sorted(path.name for path in local.iterdir()) == [f"{obs_id}_drz.fits" for obs_id in files]
    assert len(fetched) > 3
    pd.testing.assert_frame_equal(fetched, run_galaxy(local, out="of_files"))
    sky = SkyCoord(fetched["ra"], fetched["dec"], unit="deg")  # ICRS, where the file has FK5
    x, y = xdf[1]["F160W"][2].world_to_pixel(sky)
    assert x == pytest.approx(fetched["x"].to_numpy(), abs=1e-4)
    assert y == pytest.approx(fetched["y"].to_numpy(), abs=1e-4)


def test_what_mast_has_leaves_a_picture_and_a_record(run_galaxy, hubble, tmp_path):
    run_galaxy(BOTH)
    assert cv2.imread(str(tmp_path / "out" / "fields" / NAME / "detections.png")).shape == (200, 200, 3)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["sources"] == [BOTH]
    assert record["fields"] == {"done": 1, "done_now": 1, "failed": 0}
    assert record["seconds_by_stage"]["fetch"]["total"] > 0
    meta = read_parquet(tmp_path / "out" / "fields" / NAME / "catalogue.parquet").meta
    assert meta["source"] == BOTH
    assert meta["survey"] == "HST"
    assert meta["bands"] == ["F105W", "F160W"]


def test_one_filter_gives_a_gray_picture_and_two_a_coloured_one(run_galaxy, hubble, tmp_path):
    run_galaxy(f"mast:{F160W}", BOTH)
    coloured = {}
    for name in (F160W, NAME):
        picture = cv2.imread(str(tmp_path / "out" / "fields" / name / "detections.png"))
        coloured[name] = np.ptp(picture, axis=2).astype(bool).mean()
    assert coloured[F160W] < 0.1  # the boxes alone
    assert coloured[NAME] > 0.5


def test_a_rerun_asks_nothing(run_galaxy, hubble):
    first = run_galaxy(BOTH)
    hubble.server.forget()
    pd.testing.assert_frame_equal(run_galaxy(BOTH), first)
    pd.testing.assert_frame_equal(run_galaxy(BOTH, out="anew"), first)  # the files are still at hand
    assert not hubble.server.asked


def test_what_was_chosen_at_mast_is_told(run_spots, hubble, tmp_path):
    hubble.add("hst_11563_01_wfc3_ir_f105w", "F105W", b"", obs_collection="HLA", provenance_name="HLA")
    note = f"{F105W} of HAP, not hst_11563_01_wfc3_ir_f105w of the same visit"
    name = "hst_11563_01_wfc3_ir_f"
    for out in ("out", "anew"):  # where the files are at hand, it is told as well
        status, _, err = run_spots("mast:hst_11563_01_wfc3_ir_f*", out=tmp_path / out)
        assert status == 0, err
        assert f"note: {name}: {note}" in err.splitlines()
        meta = read_parquet(tmp_path / out / "fields" / name / "catalogue.parquet").meta
        assert f"{name}: {note}" in meta["notes"]


def test_fetched_files_run_as_what_mast_has(cli, run_galaxy, hubble, tmp_path):
    status, _, err = cli("fetch", BOTH, "--out", tmp_path / "frames")
    assert status == 0, err
    assert sorted(path.name for path in (tmp_path / "frames" / NAME).glob("*.fits")) == [
        f"{F105W}_drz.fits", f"{F160W}_drz.fits"
    ]  # fmt: skip
    hubble.server.forget()
    rows = run_galaxy(tmp_path / "frames", out="of_files")
    assert not hubble.server.asked
    pd.testing.assert_frame_equal(rows, run_galaxy(BOTH))


@pytest.mark.parametrize("path", [INVOKE, DOWNLOAD])
def test_an_archive_that_fails_for_good_is_one_failed_field(run_spots, hubble, frame, tmp_path, path):
    hubble.server.faults = meets(path, "busy")
    status, _, err = run_spots(BOTH, frame("a"))
    assert status == 1
    assert "Traceback" not in err
    (row,) = failures(tmp_path / "out")
    assert (row["field"], row["stage"]) == (NAME, "fetch")
    assert BOTH in row["error"] or F105W in row["error"]
    assert "503" in row["error"]
    assert "\n" not in row["error"]
    assert (tmp_path / "out" / "fields" / "a" / "catalogue.parquet").exists()


@pytest.fixture
def cutouts(hips, legacy, panstarrs, here):
    """A cutout of each survey in several bands."""
    return {
        "hips": f"{COLOUR}{here} 1arcmin",
        "legacy": "legacy:59.1067 -30.4848 1arcmin",
        "ps1": f"ps1:{at(panstarrs.stacks['r'][1], 220, 200)} 1arcmin",
    }


@pytest.mark.parametrize("survey", SERVICES)
def test_a_cutout_gives_a_catalogue(run_galaxy, services, cutouts, tmp_path, survey):
    rows = run_galaxy(cutouts[survey])
    assert len(rows) > 0
    place = parse_position(cutouts[survey].partition("@")[2] or cutouts[survey].partition(":")[2])
    apart = SkyCoord(rows["ra"], rows["dec"], unit="deg").separation(SkyCoord(place.ra, place.dec, unit="deg"))
    assert apart.arcsec.max() < 30 * 2**0.5
    (folder,) = (tmp_path / "out" / "fields").iterdir()
    assert (folder / "detections.png").exists()
    services.server.forget()
    pd.testing.assert_frame_equal(run_galaxy(cutouts[survey]), rows)
    assert not services.server.asked


@pytest.mark.parametrize("survey", SERVICES)
def test_a_service_that_fails_for_good_is_one_failed_field(run_spots, services, cutouts, tmp_path, survey):
    services.server.faults = meets(SERVICES[survey], "page")
    status, _, err = run_spots(cutouts[survey])
    assert status == 1
    assert "Traceback" not in err
    (row,) = failures(tmp_path / "out")
    assert row["stage"] == "fetch"
    assert row["error"].startswith(f"{survey}:")
    assert "web page" in row["error"]
    assert "\n" not in row["error"]
    assert not list((tmp_path / "cache").rglob("*.fits"))
