import json

import cv2
import numpy as np
import pandas as pd
import pytest

from fieldprep.boxes import read_yolo
from fieldprep.errors import UsageError
from fullfield.preparation import prepare_training_set


@pytest.fixture
def three_fields(tmp_path, make_fits):
    """Three folders of g, r, i: two with a catalogue of one galaxy each, one without."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(("first", "second", "bare")):
        folder = tmp_path / "fields" / name
        folder.mkdir(parents=True)
        image = rng.normal(0, 1, (200, 260)).astype(np.float32)
        image[95:106, 115:126] += 40
        for band in "gri":
            make_fits(folder / f"{name}-{band}.fits", image, band=band)
        if name != "bare":
            row = {"x": 120, "y": 100, "petroRad_r": 4.0, "type": 3, "modelMag_r": 18.0 + i}
            pd.DataFrame([row]).to_csv(folder / "catalogue.csv", index=False)
    return tmp_path / "fields"


def prepare(fields, out, **options):
    defaults = {"catalogue": "catalogue.csv", "validation": ["second"], "empty": ["bare"], "variants": ["N", "L"]}
    return prepare_training_set([str(fields)], out, **{**defaults, **options})


def test_a_set_has_what_ultralytics_and_coco_want(three_fields, tmp_path):
    counts = prepare(three_fields, tmp_path / "set")
    assert counts == {"train_tiles": 4, "val_tiles": 1, "train_boxes": 2, "val_boxes": 1}
    names = sorted(path.name for path in (tmp_path / "set" / "images" / "train").iterdir())
    assert names == ["bare-L-0-0.png", "bare-N-0-0.png", "first-L-0-0.png", "first-N-0-0.png"]
    labels = tmp_path / "set" / "labels" / "train"
    assert (labels / "bare-N-0-0.txt").read_text() == ""
    boxes, _ = read_yolo(labels / "first-N-0-0.txt", (200, 260))
    np.testing.assert_allclose((boxes[0, :2] + boxes[0, 2:]) / 2, [120, 100], atol=1e-4)
    coco = json.loads((tmp_path / "set" / "annotations" / "val.json").read_text())
    assert len(coco["annotations"]) == 1


def test_the_box_falls_on_the_light(three_fields, tmp_path):
    prepare(three_fields, tmp_path / "set")
    image = cv2.imread(str(tmp_path / "set" / "images" / "train" / "first-N-0-0.png"), cv2.IMREAD_GRAYSCALE)
    ((x0, y0, x1, y1),) = np.rint(read_yolo(tmp_path / "set/labels/train/first-N-0-0.txt", image.shape)[0]).astype(int)
    assert image[y0:y1, x0:x1].mean() > 2 * np.median(image)


def test_no_variant_of_a_validation_field_is_trained_on(three_fields, tmp_path):
    prepare(three_fields, tmp_path / "set")
    assert not list((tmp_path / "set" / "images" / "train").glob("second*"))


def test_only_the_named_columns_of_an_empty_field_are_taken(three_fields, tmp_path):
    prepare(three_fields, tmp_path / "set", empty=["bare:0:100"])
    tile = cv2.imread(str(tmp_path / "set" / "images" / "train" / "bare-N-0-0.png"))
    assert tile.shape == (200, 100, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"empty": []}, "no catalogue"),
        ({"validation": ["third"]}, "no field third"),
        ({"variants": ["X"]}, "unknown variant X"),
        ({"empty": ["bare:1"]}, "NAME:X0:X1"),
    ],
)
def test_a_request_that_makes_no_sense_is_a_usage_error(three_fields, tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        prepare(three_fields, tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()
