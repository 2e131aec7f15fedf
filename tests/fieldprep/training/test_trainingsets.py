import contextlib
import errno
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from pycocotools.coco import COCO

from fieldprep import Field
from fieldprep.boxes import read_coco, read_yolo
from fieldprep.catalogues import Sources
from fieldprep.errors import InputError, OutputError, UsageError
from fieldprep.training.recipes import RECIPES
from fieldprep.training.records import FieldRecord
from fieldprep.training.trainingsets import write_field, write_training_set

SHAPE = (60, 100)
TILE, OVERLAP = 50, 10
SMALL = replace(RECIPES["galaxies"], variants=("N",), tile=TILE, overlap=OVERLAP)


def field(name, seed=0):
    image = np.random.default_rng(seed).normal(0, 1, SHAPE).astype(np.float32)
    image[25:36, 44:57] = 300  # across the edges of tiles
    return Field(name, {"r": image}, np.zeros(SHAPE, bool))


def sources(*rows):
    """Rows of (x_min, y_min, x_max, y_max, magnitude, galaxy, ignore)."""
    table = np.array(rows, float).reshape(-1, 7)
    xyxy = table[:, :4]
    return Sources(
        (xyxy[:, 0] + xyxy[:, 2]) / 2,
        (xyxy[:, 1] + xyxy[:, 3]) / 2,
        xyxy,
        table[:, 5] > 0,
        table[:, 4],
        table[:, 6] > 0,
        (xyxy[:, 2] - xyxy[:, 0]) / 2.1,
        pd.DataFrame(index=range(len(table))),
    )


GALAXY = (9.5, 9.5, 19.5, 21.5, 18.0, 1, 0)
NO_MAGNITUDE = (69.5, 9.5, 79.5, 21.5, np.nan, 1, 0)
FAINT = (29.5, 9.5, 39.5, 21.5, 23.0, 1, 0)
STAR = (9.5, 39.5, 19.5, 49.5, 15.0, 0, 0)
IGNORED = (29.5, 39.5, 37.5, 51.5, 17.0, 1, 1)
ACROSS = (43.5, 24.5, 56.5, 35.5, 16.0, 1, 0)


@pytest.fixture
def made(tmp_path):
    truth = sources(GALAXY, NO_MAGNITUDE, FAINT, STAR, IGNORED, ACROSS)
    counts = write_training_set(
        [(field("a"), truth), (field("b", 1), truth), (field("v", 2), truth)],
        tmp_path / "set",
        validation=["v"],
        recipe=replace(SMALL, variants=("N", "Q")),
    )
    return tmp_path / "set", counts


def boxes_of(out, name, half="train"):
    """Labels of one tile in the field's own pixels."""
    x0, y0 = map(int, name.split("-")[-2:])
    xyxy, _ = read_yolo(out / "labels" / half / f"{name}.txt", (TILE, TILE))
    return {tuple(np.round([row[0] + x0, row[1] + y0, row[2] + x0, row[3] + y0], 4).tolist()) for row in xyxy}


def tile_image(out, name, half="train"):
    return cv2.imread(str(out / "images" / half / f"{name}.png"))[..., ::-1]


def test_files_are_as_ultralytics_expects(made):
    out, _ = made
    settings = yaml.safe_load((out / "data.yaml").read_text())
    assert settings["names"] == {0: "galaxy"}
    for half in ("train", "val"):
        folder = out / settings[half]
        assert "path" not in settings  # the folders are looked for beside the file, so the set can be moved
        images = sorted(path.stem for path in folder.iterdir())
        labels = sorted(path.stem for path in (out / "labels" / half).iterdir())
        assert images == labels
        assert images
        for name in images:
            assert tile_image(out, name, half).shape == (TILE, TILE, 3)
            rows = np.loadtxt(out / "labels" / half / f"{name}.txt", ndmin=2).reshape(-1, 5)
            assert (rows[:, 0] == 0).all()
            assert ((rows[:, 1:] >= 0) & (rows[:, 1:] <= 1)).all()
            assert (rows[:, 1] + rows[:, 3] / 2 <= 1 + 1e-9).all()


def test_every_tile_and_variant_is_there_and_counted(made):
    out, counts = made
    # 3 x 2 windows, two variants of two training fields, the first variant of the validation field
    assert len(list((out / "images" / "train").iterdir())) == counts["train_tiles"] == 24
    assert len(list((out / "images" / "val").iterdir())) == counts["val_tiles"] == 6
    assert {path.stem.split("-")[1] for path in (out / "images" / "val").iterdir()} == {"N"}


def test_pycocotools_reads_the_annotations(made):
    out, counts = made
    for half in ("train", "val"):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(out / "annotations" / f"{half}.json"))
        assert coco.loadCats(coco.getCatIds())[0]["name"] == "galaxy"
        assert len(coco.getImgIds()) == counts[f"{half}_tiles"]
        assert len(set(coco.getAnnIds())) == counts[f"{half}_boxes"]
        for image in coco.loadImgs(coco.getImgIds()):
            assert (out / "images" / half / image["file_name"]).exists()
            for row in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
                x, y, w, h = row["bbox"]
                assert min(x, y) >= 0
                assert x + w <= image["width"] + 1e-9
                assert y + h <= image["height"] + 1e-9
                assert row["area"] == pytest.approx(w * h)


def test_labels_and_annotations_are_the_same_boxes(made):
    out, _ = made
    for half in ("train", "val"):
        for name, (xyxy, _, crowd) in read_coco(out / "annotations" / f"{half}.json").items():
            labels, _ = read_yolo((out / "labels" / half / name).with_suffix(".txt"), (TILE, TILE))
            assert labels == pytest.approx(xyxy[~crowd], abs=1e-6)


def test_no_field_stands_on_both_sides(made):
    out, _ = made
    names = {half: {p.stem.split("-")[0] for p in (out / "images" / half).iterdir()} for half in ("train", "val")}
    assert names == {"train": {"a", "b"}, "val": {"v"}}
    text = (out / "annotations" / "train.json").read_text()
    assert "v-N" not in text
    assert "v-Q" not in text


def test_galaxies_are_labelled_faint_ones_stars_and_ignored_ones_not(made):
    out, _ = made
    assert GALAXY[:4] in boxes_of(out, "a-N-0-0")
    assert NO_MAGNITUDE[:4] in boxes_of(out, "a-N-50-0")
    everything = set().union(*(boxes_of(out, path.stem) for path in (out / "labels" / "train").iterdir()))
    for unlabelled in (FAINT, STAR, IGNORED):
        assert unlabelled[:4] not in everything
    assert boxes_of(out, "a-N-0-0") == boxes_of(out, "a-Q-0-0")


def test_ignored_galaxies_are_black_and_a_crowd(made):
    out, _ = made
    tile = tile_image(out, "a-N-0-10")
    assert not tile[30:42, 30:38].any()  # rows 40..51, columns 30..37 of the field
    around = np.ones(tile.shape[:2], bool)
    around[30:42, 30:38] = False
    assert tile[around].any(axis=-1).mean() > 0.9
    xyxy, _, crowd = read_coco(out / "annotations" / "train.json")["a-N-0-10.png"]
    assert xyxy[crowd].tolist() == [[29.5, 29.5, 37.5, 41.5]]


def test_boxes_are_cut_at_the_edge_of_a_tile_and_dropped_below_their_share(made):
    out, _ = made
    # columns 43.5 .. 56.5: half of it in the first tile (to 49.5), all of it in the second (25 .. 75)
    assert (43.5, 24.5, 49.5, 35.5) in boxes_of(out, "a-N-0-0")
    assert ACROSS[:4] in boxes_of(out, "a-N-25-0")
    assert (49.5, 24.5, 56.5, 35.5) in boxes_of(out, "a-N-50-0")


def test_a_corner_of_a_galaxy_is_no_label(tmp_path):
    truth = sources((39.5, 24.5, 69.5, 35.5, 16, 1, 0))  # a third of it is in the first tile
    recipe = replace(SMALL, overlap=0)
    write_training_set([(field("a"), truth), (field("v"), truth)], tmp_path / "s", validation=["v"], recipe=recipe)
    assert boxes_of(tmp_path / "s", "a-N-0-0") == set()
    assert boxes_of(tmp_path / "s", "a-N-50-0") == {(49.5, 24.5, 69.5, 35.5)}


def test_tiles_are_the_pictures_own_pixels_in_red_green_blue(tmp_path):
    images = {band: np.random.default_rng(k).normal(0, 1, SHAPE).astype(np.float32) for k, band in enumerate("gri")}
    colour = Field("c", images, np.zeros(SHAPE, bool))
    nothing = sources()
    write_training_set([(colour, nothing), (field("v"), nothing)], tmp_path / "s", validation=["v"], recipe=SMALL)
    from fieldprep.variants import picture  # noqa: PLC0415

    assert np.array_equal(tile_image(tmp_path / "s", "c-N-25-10"), picture(colour, "N")[10:60, 25:75])
    assert json.loads((tmp_path / "s" / "annotations" / "train.json").read_text())["annotations"] == []


def test_a_field_smaller_than_a_tile_is_one_tile(tmp_path):
    write_training_set(
        [(field("a"), sources(GALAXY)), (field("v"), sources(GALAXY))],
        tmp_path / "s",
        validation=["v"],
        recipe=replace(RECIPES["galaxies"], variants=("N",)),
    )
    (path,) = (tmp_path / "s" / "images" / "train").iterdir()
    assert cv2.imread(str(path)).shape == (*SHAPE, 3)
    labels, _ = read_yolo(tmp_path / "s" / "labels" / "train" / "a-N-0-0.txt", SHAPE)
    assert labels == pytest.approx(np.array([GALAXY[:4]]), abs=1e-6)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write_training_set([(field("a"), sources())], tmp_path / "s", validation=[])
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("validation", "half"), [([], "val"), (["a"], "train"), (["typo"], "val")])
def test_an_empty_half_is_refused(tmp_path, validation, half):
    with pytest.raises(InputError, match=f"no field for the {half} half"):
        write_training_set([(field("a"), sources(GALAXY))], tmp_path / "s", validation=validation, recipe=SMALL)


def test_no_fields_at_all_are_refused(tmp_path):
    with pytest.raises(InputError, match="no field"):
        write_training_set([], tmp_path / "s", validation=["a"])


def test_an_unknown_variant_is_refused(tmp_path):
    recipe = replace(SMALL, variants=("X",))
    with pytest.raises(UsageError, match="unknown variant"):
        write_training_set([(field("a"), sources())], tmp_path / "s", validation=["a"], recipe=recipe)


@pytest.mark.train
def test_ultralytics_finds_the_halves_wherever_the_set_is_moved(made, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    utils = pytest.importorskip("ultralytics.data.utils")
    moved = shutil.copytree(made[0], tmp_path / "elsewhere: #2")
    found = utils.check_det_dataset(str(moved / "data.yaml"), autodownload=False)
    assert found["nc"] == 1
    assert Path(found["train"]) == moved / "images" / "train"
    assert Path(found["val"]) == moved / "images" / "val"


def test_nothing_is_left_of_a_set_that_fails(tmp_path):
    with pytest.raises(InputError, match="no field for the val half"):
        write_training_set([(field("a"), sources(GALAXY))], tmp_path / "set", validation=[])
    assert not list(tmp_path.iterdir())


def test_two_fields_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="two fields of that name"):
        write_training_set([(field("a"), sources(GALAXY))] * 2, tmp_path / "set", validation=[])


def test_whole_fields_are_one_picture_each_in_every_variant(tmp_path):
    wide = (4.5, 4.5, 34.5, 34.5, 18.0, 1, 0)
    truth = sources(wide, GALAXY)
    counts = write_training_set(
        [(field("a"), truth), (field("v", 1), truth)], tmp_path / "s", validation=["v"], recipe=RECIPES["T5"]
    )
    # validation fields are shown in all variants too, as AstroCV's were
    assert counts == {"train_tiles": 2, "train_boxes": 2, "val_tiles": 2, "val_boxes": 2}
    assert tile_image(tmp_path / "s", "a-SH-0-0").shape == (*SHAPE, 3)
    settings = yaml.safe_load((tmp_path / "s" / "data.yaml").read_text())
    assert list(settings["names"].values()) == ["Elliptical", "Spiral", "Edge-on", "Unknown", "Merge"]
    _, class_id = read_yolo(tmp_path / "s" / "labels" / "val" / "v-LH-0-0.txt", SHAPE)
    assert class_id.tolist() == [3]


def test_a_field_without_a_large_galaxy_is_left_out_of_astrocvs_sets(tmp_path):
    tmp_path.joinpath("f").mkdir()
    record = write_field(field("a"), sources(GALAXY), RECIPES["T1"], tmp_path / "f")
    assert record.left_out == "no galaxy with a box over 22 px"
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["record.json"]


def test_every_object_is_listed_once_with_the_tiles_that_show_it(made):
    out, _ = made
    table = pd.read_parquet(out / "objects.parquet")
    assert table.groupby("field").size().to_dict() == {"a": 4, "b": 4, "v": 4}
    assert table.groupby("field")["half"].first().to_dict() == {"a": "train", "b": "train", "v": "val"}
    own = table[table["field"] == "a"].set_index("x_min")
    assert own.loc[ACROSS[0], "tiles"] == 6
    assert own["ignore"].to_dict() == {9.5: False, 69.5: False, 29.5: True, 43.5: False}
    assert own.loc[GALAXY[0], "side_px"] == 12


def test_an_object_too_large_for_any_tile_is_counted(tmp_path):
    tmp_path.joinpath("f").mkdir()
    giant = (-0.5, -0.5, 99.5, 59.5, 12.0, 1, 0)
    record = write_field(field("a"), sources(giant, GALAXY), replace(SMALL, tile=30, overlap=5), tmp_path / "f")
    assert record.counts["in_no_tile"] == 1
    assert record.counts["labelled"] == 2


def test_a_record_comes_back_as_it_was_written(tmp_path):
    tmp_path.joinpath("f").mkdir()
    record = write_field(field("a"), sources(GALAXY, IGNORED), SMALL, tmp_path / "f")
    again = FieldRecord.read(tmp_path / "f")
    assert again.tiles == record.tiles
    assert again.counts == record.counts
    assert again.footprint.content == record.footprint.content


def test_a_file_system_without_second_names_gets_copies(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    truth = sources(GALAXY)
    write_training_set([(field("a"), truth), (field("v"), truth)], tmp_path / "s", validation=["v"], recipe=SMALL)
    assert tile_image(tmp_path / "s", "a-N-0-0").shape == (TILE, TILE, 3)
