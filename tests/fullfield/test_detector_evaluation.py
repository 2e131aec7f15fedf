import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from detector import Detector
from fieldprep import Field
from fieldprep.boxes import petrosian_boxes
from fieldprep.catalogues import Sources
from fieldprep.errors import InputError
from fieldprep.training.recipes import RECIPES
from fieldprep.training.trainingsets import write_training_set
from fullfield.detectorevaluation import annotations_of, evaluate_fields, evaluate_validation
from fullfield.pipeline import Request

SCALE = 0.4


def shares(entry):
    return entry["k"], entry["n"]


def rows_of(objects):
    """Catalogue of `small_image`'s objects: galaxies of r 18, 19, 20, 21 with boxes of 16 px."""
    return pd.DataFrame(
        [{"x": x, "y": y, "type": 3, "modelMag_r": 18.0 + i} for i, (x, y, _) in enumerate(objects)]
    ).assign(petroRad_r=16 / 2.1 * SCALE)


@pytest.fixture
def set_of_two(tmp_path, small_image, objects):
    """Training set of two fields of 200 x 300, the second for validation, its fourth object ignored."""

    def make(**changes):
        fields = []
        for seed, name in ((0, "one-1"), (1, "two-2")):
            image = small_image(seed)
            field = Field(name, {"r": image}, image > 1e9, pixel_scale=SCALE)
            x, y = np.array([row[:2] for row in objects]).T
            n = len(x)
            radius = np.full(n, 16 / 2.1)
            truth = Sources(
                x,
                y,
                petrosian_boxes(x, y, radius, np.ones(n), np.zeros(n)),
                np.ones(n, np.bool_),
                18.0 + np.arange(n),
                np.arange(n) == 3,
                radius,
                pd.DataFrame(index=range(n)),
            )
            fields.append((field, truth))
        recipe = replace(RECIPES["galaxies"], **{"variants": ("N", "L"), "tile": 150, "overlap": 40, **changes})
        write_training_set(fields, tmp_path / "set", validation=["two-2"], recipe=recipe)
        return tmp_path / "set"

    return make


def test_a_validation_half_is_scored_tile_by_tile(set_of_two, spots, tmp_path):
    data = set_of_two()
    result = evaluate_validation(data, Detector.load(spots), out=tmp_path / "scored")
    annotations = json.loads(annotations_of(data).read_text())
    labels = [row for row in annotations["annotations"] if not row["iscrowd"]]
    pooled = result["catalogue"]["pooled"]
    assert pooled["fields"] == len(annotations["images"])
    assert pooled["galaxies"] == len(labels) > 3  # some lie in two tiles
    assert shares(pooled["limits"]["all"]["completeness"]) == (len(labels), len(labels))
    assert pooled["unmatched"]["k"] == 0
    assert set(result["catalogue"]["fields"]) == {"two-2"}
    assert json.loads((tmp_path / "scored/evaluation.json").read_text())["detector"] == Detector.load(spots).card.name
    assert "scored one by one" in (tmp_path / "scored/evaluation.html").read_text()


def test_magnitudes_of_labels_are_those_of_the_sets_objects(set_of_two, spots):
    limits = evaluate_validation(set_of_two(tile=0, overlap=0), Detector.load(spots))["catalogue"]["pooled"]["limits"]
    counted = [limits[limit]["completeness"]["n"] for limit in ("19", "20", "20.5", "all")]
    assert counted == [1, 2, 3, 3]


def test_only_pictures_of_the_detectors_variant_are_scored_where_there_are_any(set_of_two, spots):
    data = set_of_two(all_validated=True, tile=0, overlap=0)
    images = json.loads(annotations_of(data).read_text())["images"]
    assert len(images) == 2
    assert evaluate_validation(data, Detector.load(spots))["catalogue"]["pooled"]["fields"] == 1


def test_a_set_without_a_table_of_objects_is_scored_without_magnitudes(set_of_two, spots):
    data = set_of_two(tile=0, overlap=0)
    (data / "objects.parquet").unlink()
    limits = evaluate_validation(data, Detector.load(spots))["catalogue"]["pooled"]["limits"]
    assert shares(limits["21.5"]["completeness"]) == (0, 0)
    assert shares(limits["all"]["completeness"]) == (3, 3)


def test_annotations_that_are_none_and_pictures_that_are_missing_are_input_errors(set_of_two, spots):
    data = set_of_two(tile=0, overlap=0)
    detector = Detector.load(spots)
    picture = next((data / "images/val").glob("*.png"))
    picture.unlink()
    with pytest.raises(InputError, match=rf"{picture.name}: no readable picture"):
        evaluate_validation(data, detector)
    annotations_of(data).write_text('{"images": []}')
    with pytest.raises(InputError, match=r"val\.json: not a COCO file"):
        evaluate_validation(data, detector)
    annotations_of(data).write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(InputError, match=r"val\.json: no picture in it"):
        evaluate_validation(data, detector)


@pytest.fixture
def folder_of_fields(tmp_path, make_fits, small_image, objects):
    """Two fields with a catalogue each."""
    for seed, name in enumerate(("a", "b")):
        folder = tmp_path / "sky" / name
        make_fits(f"{name}-r.fits", small_image(seed), band="r", wcs=None, folder=folder)
        rows_of(objects).to_csv(folder / "catalogue.csv", index=False)
    return tmp_path / "sky"


def test_fields_are_run_and_scored_and_the_page_lies_with_the_run(cli, folder_of_fields, spots, tmp_path):
    status, out, err = cli("evaluate", "detector", folder_of_fields, "--detector", spots, "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    assert "2 field(s), 8 galaxies, 6 detections at confidence >= 0.25" in out
    assert out.endswith(f"page: {tmp_path / 'out' / 'evaluation.html'}\n")
    told = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert shares(told["catalogue"]["pooled"]["limits"]["20.5"]["completeness"]) == (6, 6)
    assert (tmp_path / "out/catalogue.parquet").exists()


def test_without_out_nothing_is_kept(cli, folder_of_fields, spots, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    status, out, _ = cli("evaluate", "detector", folder_of_fields, "--detector", spots)
    assert status == 0
    assert "page:" not in out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_set_is_scored_from_the_command_line(cli, set_of_two, spots):
    status, out, _ = cli("evaluate", "detector", set_of_two(tile=0, overlap=0), "--detector", spots)
    assert status == 0
    assert "1 field(s), 3 galaxies, 3 detections" in out
    assert "no stars among the labels" in out


def test_a_field_that_cannot_be_read_is_told_and_the_others_scored(cli, folder_of_fields, spots):
    (folder_of_fields / "bad.fits").write_text("no FITS")
    status, out, err = cli("evaluate", "detector", folder_of_fields, "--detector", spots)
    assert status == 1
    assert err.startswith("failed: sky (read): ")
    assert "2 field(s)" in out


def test_data_that_holds_nothing_is_an_input_error(spots, tmp_path):
    with pytest.raises(InputError, match="no FITS file and no picture in it"):
        evaluate_fields(tmp_path, Request.of(spots), "catalogue.csv")


def test_a_variant_that_there_is_not_is_a_usage_error(cli, folder_of_fields, spots):
    status, _, err = cli("evaluate", "detector", folder_of_fields, "--detector", spots, "--variant", "X")
    assert status == 2
    assert "unknown variant 'X'" in err


def test_a_training_set_is_looked_at_as_it_is(cli, set_of_two, spots):
    status, _, err = cli("evaluate", "detector", set_of_two(), "--detector", spots, "--zooms", "1,2")
    assert status == 2
    assert "leave --variant and --zooms out" in err


def test_the_help_shows_an_example(cli):
    status, out, _ = cli("evaluate", "detector", "--help")
    assert status == 0
    assert "Example: fullfield evaluate detector frames --out scored" in out
