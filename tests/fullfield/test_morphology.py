"""The shipped classifier of galaxies says of a FITS field what it says of the same galaxies' JPEGs."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from classifiers import Classifier
from classifiers.cards import TOO_SMALL, UNCERTAIN
from classifiers.stampsets import read_stamps
from fieldprep import Field
from fieldprep.boxes import petrosian_boxes
from fieldprep.portraits import portraits_about
from fullfield.catalogue import read_parquet

FIELDS = ("001043-5-0025", "003184-2-0169", "001737-5-0039")
GALAXY_ZOO_PX = 424


@pytest.fixture(scope="module")
def galaxies(data):
    """Portraits of the galaxies of r < 18 in three fields as the classifier takes them, and as wide as Galaxy Zoo's."""
    framing = Classifier.load("morphology").card.framing
    seen, wide = [], []
    for name in FIELDS:
        table = pd.read_csv(data / "sdss" / name / "catalogue.csv")
        table = table[(table["type"] == 3) & (table["modelMag_r"] < 18) & (table["ignore"] == 0)]
        radius = (table["petroRad_r"] / 0.396).to_numpy()
        x, y, ratio, angle = (table[key].to_numpy() for key in ("x", "y", "axis_ratio", "theta_deg"))
        boxes = petrosian_boxes(x, y, radius, ratio, angle)
        field, centres = Field.read(data / "sdss" / name), np.stack([x, y], axis=1)
        size = Classifier.load("morphology").card.preparation.size
        seen.append(portraits_about(field, centres, boxes, framing, size))
        wide.append(portraits_about(field, centres, boxes, replace(framing, sides=2 * framing.sides), GALAXY_ZOO_PX))
    return np.concatenate(seen), np.concatenate(wide)


def test_a_galaxy_has_the_same_class_by_jpeg_and_by_fits(galaxies, tmp_path):
    seen, wide = galaxies
    (tmp_path / "images").mkdir()
    for i, picture in enumerate(wide):
        cv2.imwrite(str(tmp_path / "images" / f"g{i:02d}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    pd.DataFrame({"GalaxyID": [f"g{i:02d}" for i in range(len(wide))], "label": "spiral"}).to_csv(
        tmp_path / "labels.csv", index=False
    )
    classifier = Classifier.load("morphology")
    by_fits = classifier.predict(seen)
    by_jpeg = classifier.predict(read_stamps(Path(tmp_path), centre=0.5).stamps)
    assert (by_fits.argmax(axis=1) == by_jpeg.argmax(axis=1)).mean() >= 0.9
    assert 0.5 * np.abs(by_fits - by_jpeg).sum(axis=1).mean() < 0.1


def test_turned_and_mirrored_galaxies_are_told_the_same(galaxies):
    seen, _ = galaxies
    classifier = Classifier.load("morphology")
    found = classifier.predict(seen)
    for other in (np.rot90(seen, axes=(1, 2)), seen[:, ::-1]):
        np.testing.assert_allclose(classifier.predict(np.ascontiguousarray(other)), found, atol=1e-3)


def test_a_run_says_what_every_detection_that_is_large_enough_is(data, cli, tmp_path):
    code, _, told = cli("run", data / "sdss" / FIELDS[0], "--classifiers", "morphology", "--out", tmp_path)
    assert code == 0, told
    table = read_parquet(tmp_path / "fields" / FIELDS[0] / "all_detections.parquet")
    side = np.maximum(table["x_max"] - table["x_min"], table["y_max"] - table["y_min"])
    card = Classifier.load("morphology").card
    small = np.asarray(side) < card.framing.least
    given = np.asarray(table["morphology_class"], str)
    assert ((given == TOO_SMALL) == small).all()
    assert set(given[~small]) <= {*card.classes, UNCERTAIN}
    columns = np.stack([table[f"morphology_p_{name}"] for name in card.classes], axis=1)
    assert np.nansum(columns[~small], axis=1) == pytest.approx(1, abs=1e-4)
    assert np.isnan(columns[small]).all()
    assert ((given == UNCERTAIN) == (~small & (np.nan_to_num(columns, nan=1).max(axis=1) < card.unsure))).all()
