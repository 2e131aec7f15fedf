import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from fieldprep import Field
from fieldprep.errors import OutputError
from fullfield import pipeline
from fullfield.batch import run
from fullfield.catalogue import read_parquet
from fullfield.pipeline import STAGES, run_field
from fullfield.sources import find_sources


def one(path):
    return find_sources([str(path)])[0]


@pytest.fixture
def done(frame, request_spots, tmp_path):
    """Outcome and folder of one small field."""
    outcome = run_field(one(frame("a")), request_spots, tmp_path / "out")
    return outcome, tmp_path / "out" / "fields" / "a"


def test_a_field_leaves_a_catalogue_all_detections_and_a_picture(done):
    outcome, folder = done
    assert outcome.error == ""
    assert sorted(path.name for path in folder.iterdir()) == [
        "all_detections.parquet",
        "catalogue.parquet",
        "detections.png",
    ]
    assert cv2.imread(str(folder / "detections.png")).shape == (200, 300, 3)
    assert set(outcome.seconds) == set(STAGES)


def test_the_objects_of_a_field_are_in_its_catalogue(done, objects):
    outcome, folder = done
    table = read_parquet(folder / "all_detections.parquet")
    assert np.asarray(table["x"]) == pytest.approx([row[0] for row in objects], abs=0.3)
    assert np.asarray(table["y"]) == pytest.approx([row[1] for row in objects], abs=0.3)
    assert table["id"].tolist() == [1, 2, 3, 4]
    assert (outcome.galaxies, outcome.detections) == (3, 4)


def test_looks_at_several_scales_and_pictures_are_fused(frame, request_spots, tmp_path, objects):
    request = replace(request_spots, variants=("N", "L"), zooms=(1.0, 1.25))
    outcome = run_field(one(frame("a")), request, tmp_path / "out")
    assert outcome.error == ""
    table = read_parquet(tmp_path / "out" / "fields" / "a" / "all_detections.parquet")
    assert (table.meta["variant"], table.meta["zooms"]) == ("N,L", [1.0, 1.25])
    assert np.asarray(table["x"])[:3] == pytest.approx([row[0] for row in objects[:3]], abs=0.5)
    # the last is seen in some looks only, and each that does not see it takes its share of the confidence
    alone = run_field(one(frame("b")), request_spots, tmp_path / "out")
    assert alone.detections >= outcome.detections


def test_the_catalogue_is_what_reaches_the_threshold(done, request_spots):
    _, folder = done
    everything, catalogue = (read_parquet(folder / f"{name}.parquet") for name in ("all_detections", "catalogue"))
    kept = everything[everything["confidence"] >= request_spots.confidence]
    assert 0 < len(catalogue) < len(everything)
    for name in catalogue.colnames:
        assert catalogue[name].tolist() == kept[name].tolist()


def test_a_files_metadata_tell_how_it_was_made(done, request_spots, frame, tmp_path):
    meta = read_parquet(done[1] / "all_detections.parquet").meta
    assert meta["source"] == str(tmp_path / "a.fits")
    assert meta["shape"] == [200, 300]
    assert meta["bands"] == ["r"]
    assert meta["pixel_scale_arcsec"] == pytest.approx(0.4)
    assert meta["detector_sha256"] == request_spots.detector_sha256
    assert (meta["variant"], meta["confidence"]) == ("N", 0.25)


def test_the_wcs_in_the_metadata_places_the_rows(done):
    table = read_parquet(done[1] / "catalogue.parquet")
    wcs = WCS(table.meta["wcs"])
    ra, dec = wcs.pixel_to_world_values(table["x"], table["y"])
    assert np.asarray(table["ra"]) == pytest.approx(ra, abs=1e-8)
    assert np.asarray(table["dec"]) == pytest.approx(dec, abs=1e-8)


def test_a_fits_field_is_drawn_with_row_0_at_the_bottom_and_a_picture_as_it_is(
    small_image, make_fits, request_spots, tmp_path
):
    levels = np.clip(60 + 8 * small_image(objects=((50.0, 30.0, 25.0),)), 0, 255)
    make_fits("f.fits", levels.astype(np.float32), band="r", wcs=None)
    cv2.imwrite(str(tmp_path / "p.png"), levels.astype(np.uint8))
    brightest = {}
    for name in ("f.fits", "p.png"):
        run_field(one(tmp_path / name), request_spots, tmp_path / "out")
        drawn = cv2.imread(str(tmp_path / "out" / "fields" / name[0] / "detections.png"))
        smooth = cv2.blur(drawn.min(axis=2).astype(np.float32), (5, 5))
        brightest[name] = np.unravel_index(smooth.argmax(), smooth.shape)
    assert brightest["p.png"] == pytest.approx((30, 50), abs=2)
    assert brightest["f.fits"] == pytest.approx((199 - 30, 50), abs=2)


def test_no_picture_is_made_where_none_is_wanted(frame, request_spots, tmp_path):
    run_field(one(frame("a")), replace(request_spots, pictures=False), tmp_path / "out")
    assert not (tmp_path / "out/fields/a/detections.png").exists()


def test_leftovers_of_a_killed_run_are_removed(frame, request_spots, tmp_path):
    folder = tmp_path / "out" / "fields" / "a"
    folder.mkdir(parents=True)
    (folder / ".catalogue-4242.parquet").write_bytes(b"half")
    run_field(one(frame("a")), request_spots, tmp_path / "out")
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_what_is_wrong_with_a_field_is_told_not_raised(make_fits, request_spots, tmp_path):
    (tmp_path / "bad.fits").write_text("no FITS")
    outcome = run_field(one(tmp_path / "bad.fits"), request_spots, tmp_path / "out")
    assert outcome.stage == "read"
    assert "bad.fits: not a FITS file" in outcome.error
    assert not (tmp_path / "out" / "fields" / "bad").exists()


@pytest.mark.parametrize(
    ("error", "told"),
    [(MemoryError(), "not enough memory"), (ZeroDivisionError("oh\nno"), "unexpected ZeroDivisionError: oh no")],
)
def test_even_our_own_mistakes_end_only_their_field(frame, request_spots, tmp_path, monkeypatch, error, told):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(pipeline, "view_of", fail)
    outcome = run_field(one(frame("a")), request_spots, tmp_path / "out")
    assert outcome.stage == "picture"
    assert told in outcome.error
    assert "\n" not in outcome.error


def test_output_that_cannot_be_written_is_raised(frame, request_spots, tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        run_field(one(frame("a")), request_spots, tmp_path / "out")


def test_a_mosaic_read_by_windows_gives_the_catalogue_of_the_whole(frame, request_spots, tmp_path, monkeypatch):
    path = frame("a")
    run_field(one(path), request_spots, tmp_path / "whole")
    monkeypatch.setattr("fieldprep.opening.WHOLE_PIXELS", 10_000)
    monkeypatch.setattr("fieldprep.views.HELD_PIXELS", 1000)
    monkeypatch.setattr("detector.tiling.WHOLE_PIXELS", 10_000)
    monkeypatch.setattr("detector.tiling.TILE", 128)
    monkeypatch.setattr("fullfield.drawing.LONGEST_SIDE_PX", 150)
    outcome = run_field(one(path), request_spots, tmp_path / "tiled")
    assert outcome.error == ""
    whole, tiled = (read_parquet(tmp_path / name / "fields/a/catalogue.parquet") for name in ("whole", "tiled"))
    assert tiled.colnames == whole.colnames
    assert tiled.meta == whole.meta
    for name in ("x", "y", "ra", "dec", "confidence"):
        assert np.asarray(tiled[name]) == pytest.approx(np.asarray(whole[name]), rel=1e-5)
    assert cv2.imread(str(tmp_path / "tiled/fields/a/detections.png")).shape == (100, 150, 3)


def test_a_real_field_goes_all_the_way(sdss_folder, tmp_path):
    request = pipeline.Request.of("galaxy")
    summary = run([str(sdss_folder)], tmp_path, request)
    assert (summary.done, summary.failed) == (1, 0)
    table = Table.read(tmp_path / "catalogue.parquet")
    assert set(table["field"]) == {"003184-2-0169"}
    assert summary.galaxies == len(table) > 30
    wcs = Field.read(sdss_folder).wcs
    ra, dec = wcs.pixel_to_world_values(table["x"], table["y"])
    assert np.asarray(table["ra"]) == pytest.approx(ra, abs=1e-7)
    assert np.asarray(table["dec"]) == pytest.approx(dec, abs=1e-7)
    assert np.mean((table["flags"] & 4) == 0) > 0.95  # nearly all have a centroid
    assert json.loads((tmp_path / "run.json").read_text())["fields"]["done"] == 1
