import json
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from fieldprep.boxes import read_yolo
from fieldprep.training.cutoutsets import CutoutRecipe
from fieldprep.training.recipes import RECIPES
from fullfield.drawing import BOX
from fullfield.preparation import Asked
from fullfield.setreport import SIDE_PX, page_of_boxes, page_of_stamps
from fullfield.sets import Division, prepare_set

SHAPE = (200, 260)
GALAXIES = ((40, 50, 17.0), (120, 50, 18.0), (200, 120, 19.0), (60, 150, 23.0))
SMALL = replace(RECIPES["galaxies"], variants=("N", "L"), tile=150, overlap=40)


@pytest.fixture
def fields(tmp_path, make_fits, make_wcs, small_image):
    """Two folders with four galaxies each, one of them too faint, and a star; one folder without a catalogue."""
    for k, name in enumerate(("one", "two", "bare")):
        folder = tmp_path / "fields" / name
        image = 10 * small_image(seed=k, objects=[(x, y, 60.0) for x, y, _ in GALAXIES], shape=SHAPE)
        for band in "gri":
            wcs = make_wcs(SHAPE, crval=(10.0 + 20 * k, 2.0))
            make_fits(f"{name}-{band}.fits", image, band=band, wcs=wcs, folder=folder)
        rows = [{"x": x, "y": y, "petroRad_r": 4.0, "type": 3, "modelMag_r": m} for x, y, m in GALAXIES]
        rows += [{"x": 220, "y": 30, "petroRad_r": 2.0, "type": 6, "modelMag_r": 15.0}]
        if name != "bare":
            pd.DataFrame(rows).to_csv(folder / "catalogue.csv", index=False)
    return tmp_path / "fields"


@pytest.fixture
def made(fields, tmp_path):
    out = tmp_path / "set"
    return out, prepare_set([str(fields)], out, Asked(SMALL), Division(validation=["two"]))


def test_the_report_counts_what_is_in_the_set(made):
    out, _ = made
    report = json.loads((out / "report.json").read_text())
    for half in ("train", "val"):
        told = report["halves"][half]
        assert (told["fields"], told["objects"], told["ignored"], told["classes"]) == (1, 3, 0, {"galaxy": 3})
        paths = list((out / "labels" / half).iterdir())
        assert told["pictures"] == len(paths)
        assert told["boxes"] == sum(path.read_text().count("\n") for path in paths)
        assert told["empty_pictures"] == sum(not path.read_text() for path in paths)
        assert told["magnitude"]["p50"] == 18
        assert told["side_px"]["p50"] == pytest.approx(2.1 * 4 / 0.4)
    assert report["left_out"] == {"no catalogue catalogue.csv": 1}
    assert report["radius_kinds"] == {"petrosian": 2}


def test_the_page_says_it_in_words_with_plots_and_overlay(made):
    out, prepared = made
    page = (out / "report.html").read_text()
    for words in (
        "galaxy 3",
        "1 field(s) not in the set: no catalogue catalogue.csv",
        "px (median of",
        *prepared.notes,
    ):
        assert words in page
    for name in ("report.png", "overlay.png"):
        assert f'src="{name}"' in page
        assert cv2.imread(str(out / name)) is not None


def test_what_a_catalogue_says_cannot_break_the_page(fields, tmp_path):
    for name in ("one", "two"):
        path = fields / name / "catalogue.csv"
        pd.read_csv(path).assign(kind="<script>alert(1)</script>").to_csv(path, index=False)
    recipe = CutoutRecipe(label="kind", size="arcsec:12", pixels=32)
    prepare_set([str(fields)], tmp_path / "set", Asked(recipe), Division(validation=["two"]))
    assert "<script>" not in (tmp_path / "set" / "report.html").read_text()


def test_votes_that_are_missing_are_told(fields, tmp_path):
    for name in ("one", "two"):
        path = fields / name / "catalogue.csv"
        pd.read_csv(path).assign(petroRad_r=6.0).to_csv(path, index=False)
    prepare_set([str(fields)], tmp_path / "set", Asked(RECIPES["T3"]), Division(validation=["two"]))
    report = json.loads((tmp_path / "set" / "report.json").read_text())
    assert report["notes"][0].startswith("8 of 8 labelled galaxies have no votes and are Unknown")
    assert report["halves"]["train"]["classes"] == {"Unknown": 4}


def test_the_overlay_draws_the_boxes_of_the_label_files_around_the_light(made):
    out, _ = made
    page = page_of_boxes(out, SMALL)
    panels = [page[:SIDE_PX, k * (SIDE_PX + 2) : k * (SIDE_PX + 2) + SIDE_PX] for k in range(6)]
    for panel in panels:
        drawn = (panel == BOX).all(axis=-1)[: SIDE_PX - 30]  # above the caption
        rows, columns = np.nonzero(drawn)
        middle = panel[(rows.min() + rows.max()) // 2 - 8 :, (columns.min() + columns.max()) // 2 - 8 :][:16, :16]
        assert middle.mean() > 2 * panel[:20, :20].mean()
    assert np.array_equal(page, page_of_boxes(out, SMALL))


def test_the_overlay_shows_a_label_that_is_wrong(made):
    out, _ = made
    for path in (out / "labels").rglob("*.txt"):
        image = cv2.imread(str(out / "images" / path.parent.name / f"{path.stem}.png"))
        if len(read_yolo(path, image.shape[:2])[0]):
            path.write_text("0 0.500000000 0.500000000 0.040000000 0.040000000\n")
    before = cv2.imread(str(out / "overlay.png"))
    assert not np.array_equal(before, page_of_boxes(out, SMALL))


def test_stamps_are_shown_with_their_labels(fields, tmp_path):
    recipe = CutoutRecipe(size="arcsec:12", pixels=32)
    out = tmp_path / "set"
    prepare_set([str(fields)], out, Asked(recipe), Division(validation=["two"]))
    page = page_of_stamps(out, recipe)
    assert page.shape == (SIDE_PX + 2, 10 * (SIDE_PX + 2), 3)
    report = json.loads((out / "report.json").read_text())
    assert report["halves"]["val"]["classes"] == {"galaxy": 4, "star": 1}
    assert report["halves"]["val"]["width_arcsec"] == {"p5": 12.0, "p50": 12.0, "p95": 12.0}


def test_centres_that_are_right_are_told_so(made):
    report = json.loads((made[0] / "report.json").read_text())
    assert report["centre_error_px"]["n"] >= 6
    assert report["centre_error_px"]["median"] < 0.1
