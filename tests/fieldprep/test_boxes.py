from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from fieldprep import Field
from fieldprep.boxes import (
    areas,
    astrocv_boxes,
    clip_boxes,
    coco_annotations,
    iou_of_pairs,
    iou_table,
    petrosian_boxes,
    read_coco,
    read_yolo,
    write_coco,
    write_yolo,
)
from fieldprep.catalogues import Sources
from fieldprep.errors import InputError
from fieldprep.training.recipes import RECIPES
from fieldprep.training.trainingsets import write_training_set

one_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)


@st.composite
def boxes_in_a_picture(draw):
    shape = (draw(st.integers(8, 1000)), draw(st.integers(8, 1000)))  # nine decimals are 1e-6 px there
    count = draw(st.integers(0, 8))
    corners = draw(hnp.arrays(np.float64, (count, 2, 2), elements=st.floats(0, 1, width=32)))
    corners = np.sort(corners, axis=1) * np.array([shape[1], shape[0]]) - 0.5
    classes = draw(hnp.arrays(np.int64, count, elements=st.integers(0, 3)))
    ignore = draw(hnp.arrays(np.bool_, count))
    return shape, corners.reshape(count, 4), classes, ignore


@one_file
@given(boxes_in_a_picture())
def test_yolo_reads_what_it_wrote(tmp_path, given):
    shape, xyxy, classes, _ = given
    write_yolo(tmp_path / "a.txt", xyxy, classes, shape)
    read, read_classes = read_yolo(tmp_path / "a.txt", shape)
    assert read.shape == xyxy.shape
    assert np.abs(read - xyxy).max(initial=0) < 1e-6
    assert np.array_equal(read_classes, classes)


@one_file
@given(boxes_in_a_picture())
def test_coco_reads_what_it_wrote(tmp_path, given):
    shape, xyxy, classes, ignore = given
    rows = coco_annotations(xyxy, classes, ignore, image_id=5, first_id=11)
    images = [
        {"id": 4, "file_name": "none.png", "width": 9, "height": 9},
        {"id": 5, "file_name": "a.png", "width": shape[1], "height": shape[0]},
    ]
    write_coco(tmp_path / "a.json", images, rows, ["galaxy", "b", "c", "d"])
    found = read_coco(tmp_path / "a.json")
    assert found["none.png"][0].shape == (0, 4)
    read, read_classes, read_ignore = found["a.png"]
    assert np.abs(read - xyxy).max(initial=0) < 1e-6
    assert np.array_equal(read_classes, classes)
    assert np.array_equal(read_ignore, ignore)


def test_yolo_counts_from_the_first_pixels_corner(tmp_path):
    # the whole picture, and its first pixel
    xyxy = np.array([[-0.5, -0.5, 99.5, 49.5], [-0.5, -0.5, 0.5, 0.5]])
    write_yolo(tmp_path / "a.txt", xyxy, np.array([0, 0]), (50, 100))
    rows = np.loadtxt(tmp_path / "a.txt")
    assert rows[0].tolist() == [0, 0.5, 0.5, 1, 1]
    assert rows[1].tolist() == [0, 0.005, 0.01, 0.01, 0.02]


def test_coco_counts_from_the_first_pixels_corner():
    (row,) = coco_annotations(
        np.array([[9.5, 19.5, 12.5, 24.5]]), np.array([0]), np.array([True]), image_id=1, first_id=1
    )
    assert row["bbox"] == [10, 20, 3, 5]
    assert row["area"] == 15
    assert row["category_id"] == 1
    assert row["iscrowd"] == 1


@pytest.mark.parametrize("text", ["0 0.5 0.5 0.1\n", "0 a b c d\n", "0 1 2 3 4\n0 1\n"])
def test_a_file_that_is_no_yolo_labels_is_refused(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InputError, match=r"a\.txt: not a YOLO label file"):
        read_yolo(tmp_path / "a.txt", (10, 10))


def test_an_empty_label_file_is_a_picture_without_objects(tmp_path):
    (tmp_path / "a.txt").write_text("\n")
    xyxy, classes = read_yolo(tmp_path / "a.txt", (10, 10))
    assert xyxy.shape == (0, 4)
    assert classes.shape == (0,)


positions = st.floats(-100, 2000)


@given(positions, positions, st.floats(4, 300), st.floats(-180, 180))
def test_a_round_galaxys_box_is_astrocvs(x, y, radius, theta):
    x, y, radius = np.array([x]), np.array([y]), np.array([radius])
    ours = petrosian_boxes(x, y, radius, np.array([1.0]), np.array([theta]))
    assert np.allclose(ours, astrocv_boxes(x, y, radius), atol=1e-9)


@given(positions, positions, st.floats(0, 300), st.floats(0, 1), st.floats(-180, 180))
def test_the_box_holds_the_ellipse_tightly_and_no_side_is_under_8(x, y, radius, ratio, theta):
    (box,) = petrosian_boxes(*(np.array([v]) for v in (x, y, radius, ratio, theta)))
    t = np.radians(np.arange(0, 360, 0.5))
    along, across = 1.05 * radius * np.cos(t), 1.05 * radius * ratio * np.sin(t)
    angle = np.radians(theta)
    dx = along * np.cos(angle) - across * np.sin(angle)
    dy = along * np.sin(angle) + across * np.cos(angle)
    half = np.maximum([np.abs(dx).max(), np.abs(dy).max()], 4)
    assert np.all(x + dx >= box[0] - 1e-9)
    assert np.all(x + dx <= box[2] + 1e-9)
    assert np.all(y + dy >= box[1] - 1e-9)
    assert np.all(y + dy <= box[3] + 1e-9)
    assert np.allclose((box[2:] - box[:2]) / 2, half, rtol=1e-4, atol=1e-6)
    assert min(box[2:] - box[:2]) >= 8 - 1e-9
    assert np.allclose((box[2:] + box[:2]) / 2, [x, y])


def test_angle_runs_from_x_towards_y():
    boxes = petrosian_boxes(np.zeros(2), np.zeros(2), np.full(2, 20.0), np.full(2, 0.3), np.array([0.0, 90.0]))
    assert boxes[0] == pytest.approx([-21, -6.3, 21, 6.3])
    assert boxes[1] == pytest.approx([-6.3, -21, 6.3, 21])


random_boxes = hnp.arrays(np.float64, (5, 2, 2), elements=st.floats(0, 50, width=32)).map(
    lambda corners: np.sort(corners, axis=1).reshape(5, 4)
)


@given(random_boxes, random_boxes)
def test_iou_is_that_of_pycocotools(first, second):
    def as_xywh(xyxy):
        return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)

    reference = np.diag(coco_mask.iou(as_xywh(first), as_xywh(second), [0] * 5))
    flat = (areas(first) < 1e-6) | (areas(second) < 1e-6)  # 0/0 there is its own business
    ours = iou_of_pairs(first, second)
    assert np.allclose(ours[~flat], reference[~flat], atol=1e-9)
    assert np.isfinite(ours).all()
    assert np.allclose(ours, iou_of_pairs(second, first))


def test_iou_by_hand():
    first = np.array([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 4, 4], [3, 3, 3, 3]])
    second = np.array([[1.0, 0, 3, 2], [2, 2, 3, 3], [0, 0, 4, 4], [3, 3, 3, 3]])
    assert iou_of_pairs(first, second) == pytest.approx([1 / 3, 0, 1, 0])


def test_boxes_are_cut_at_the_fields_outer_edge():
    boxes = np.array([[-9.0, -9, 5, 5], [95, 45, 120, 60], [200, 200, 210, 210]])
    cut = clip_boxes(boxes, (50, 100))
    assert cut[0].tolist() == [-0.5, -0.5, 5, 5]
    assert cut[1].tolist() == [95, 45, 99.5, 49.5]
    assert areas(cut)[2] == 0


def test_areas_of_inverted_boxes_are_zero():
    assert areas(np.array([[0.0, 0, 3, 4], [5, 5, 1, 9]])).tolist() == [12, 0]


def test_one_marked_object_is_at_one_place_in_fits_png_and_labels(tmp_path, make_fits):
    rows, columns = slice(37, 43), slice(101, 113)  # a block of 6 x 12 pixels
    image = np.random.default_rng(0).normal(0, 1, (80, 150)).astype(np.float32)
    image[rows, columns] = 500
    field = Field.read(make_fits("marked.fits", image))
    other = Field.read(make_fits("other.fits", image[::-1].copy()))
    box = np.array([[100.5, 36.5, 112.5, 42.5]])  # its edges, in pixels whose centres are integers
    truth = Sources(
        np.array([106.5]),
        np.array([39.5]),
        box,
        np.array([True]),
        np.array([18.0]),
        np.array([False]),
        np.array([6 / 1.05]),
        pd.DataFrame(index=range(1)),
    )
    nothing = truth.select(np.array([False]))
    recipe = replace(RECIPES["galaxies"], variants=("N",), tile=160, overlap=0)
    write_training_set([(field, truth), (other, nothing)], tmp_path / "set", validation=["other"], recipe=recipe)
    png = cv2.imread(str(tmp_path / "set" / "images" / "train" / "marked-N-0-0.png"))
    bright = np.zeros(png.shape[:2], bool)
    bright[rows, columns] = True
    assert np.array_equal(field.bands["gray"] == 500, bright)
    assert np.array_equal(png.min(axis=-1) > 150, bright)
    labels, _ = read_yolo(tmp_path / "set" / "labels" / "train" / "marked-N-0-0.txt", png.shape[:2])
    coco, _, _ = read_coco(tmp_path / "set" / "annotations" / "train.json")["marked-N-0-0.png"]
    assert labels == pytest.approx(box, abs=1e-6)
    assert coco == pytest.approx(box, abs=1e-6)
    # as ultralytics turns a label into pixels: its corners are the block's
    _, cx, cy, w, h = np.loadtxt(tmp_path / "set" / "labels" / "train" / "marked-N-0-0.txt")
    x0, x1, y0, y1 = (cx - w / 2) * 150, (cx + w / 2) * 150, (cy - h / 2) * 80, (cy + h / 2) * 80
    assert (png[round(y0) : round(y1), round(x0) : round(x1)] > 150).all()
    assert (round(y1) - round(y0)) * (round(x1) - round(x0)) == 72
    # and the sky position of the middle of the box is that of the middle of the block
    sky = field.wcs.pixel_to_world((box[0, 0] + box[0, 2]) / 2, (box[0, 1] + box[0, 3]) / 2)
    light_y, light_x = np.argwhere(bright).mean(axis=0)
    assert sky.separation(field.wcs.pixel_to_world(light_x, light_y)).arcsec < 1e-6


def test_the_table_of_overlaps_holds_those_of_the_pairs():
    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 30, (12, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 20, (12, 2))], axis=1)
    table = iou_table(boxes[:5], boxes)
    for i in range(5):
        np.testing.assert_allclose(table[i], iou_of_pairs(np.repeat(boxes[i : i + 1], 12, axis=0), boxes))
    assert iou_table(boxes[:0], boxes).shape == (0, 12)
