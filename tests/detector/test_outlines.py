"""Boxes from the light: right where it can be told, the network's where not, nothing lost but doubles."""

import numpy as np
import pytest

from detector.detections import Flag
from detector.outlines import outlined
from fieldprep import Field
from fieldprep.boxes import iou_of_pairs, petrosian_boxes

SHAPE = (260, 320)
# x, y, scale of the exponential disc, axis ratio, degrees from +x towards +y
GALAXIES = ((60.0, 60.0, 3.0, 1.0, 0.0), (150.0, 70.0, 5.0, 0.5, 30.0), (240.0, 180.0, 4.0, 0.7, -60.0))


def light(galaxies=GALAXIES, noise=0.02, seed=0):
    flux = np.random.default_rng(seed).normal(0, noise, SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for cx, cy, scale, ratio, theta in galaxies:
        cos, sin = np.cos(np.radians(theta)), np.sin(np.radians(theta))
        along, across = (x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin
        flux += 5 * np.exp(-np.hypot(along * np.sqrt(ratio), across / np.sqrt(ratio)) / scale)
    return flux.astype(np.float32)


def field(flux):
    return Field("f", {"r": flux}, np.zeros(flux.shape, np.bool_))


def expected(galaxies=GALAXIES):
    x, y, scale, ratio, theta = np.array(galaxies).T
    return petrosian_boxes(x, y, 3.6 * scale / 1.02, ratio, theta)


def drawn(boxes, share):
    """Boxes grown by a share about their centres, as a network that errs would draw them."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * share
    return np.concatenate([centre - half, centre + half], axis=1)


@pytest.mark.parametrize("share", [0.6, 1.0, 1.7])
def test_boxes_come_to_the_petrosian_ellipse_however_they_were_drawn(detections, share):
    found = outlined(field(light()), detections(drawn(expected(), share), [0.9, 0.8, 0.7]))
    assert (iou_of_pairs(found.xyxy, expected()) > 0.8).all()
    assert found.confidence.tolist() == [0.9, 0.8, 0.7]


def test_a_box_of_nothing_and_one_of_another_size_altogether_are_kept(detections):
    boxes = np.array([[90, 200, 110, 220], [40, 40, 41.5, 41.5], [0, 0, 319, 259]], np.float64)
    assert np.array_equal(outlined(field(light()), detections(boxes, [0.9, 0.8, 0.7])).xyxy, boxes)


def test_a_large_box_does_not_shrink_to_the_nucleus_in_it(detections):
    large = drawn(expected()[:1], 2.5)
    assert np.array_equal(outlined(field(light()), detections(large, [0.9])).xyxy, large)


def test_the_flag_of_the_edge_follows_the_box(detections):
    galaxies = ((20.0, 60.0, 5.0, 1.0, 0.0), (150.0, 70.0, 5.0, 1.0, 0.0))
    boxes = np.array([[10, 50, 30, 70], [0, 0, 310, 140]], np.float64)
    found = outlined(field(light(galaxies)), detections(boxes, [0.9, 0.8]))
    assert (found.flags & Flag.EDGE).tolist() == [0, 0]
    near = ((10.0, 60.0, 5.0, 1.0, 0.0),)
    found = outlined(field(light(near)), detections(boxes[:1] - [10, 0, 10, 0], [0.9]))
    assert (found.flags & Flag.EDGE).tolist() == [Flag.EDGE]
    assert found.xyxy[0, 0] == -0.5


def test_two_boxes_of_one_object_become_one_and_a_nested_one_stays(detections):
    one = expected()[1:2]
    twice = np.concatenate([drawn(one, 0.6), drawn(one, 0.95), one + 40])
    found = outlined(field(light()), detections(twice, [0.9, 0.5, 0.3]))
    assert found.confidence.tolist() == [0.9, 0.3]
    companion = np.concatenate([one, drawn(one, 0.3) + 5])
    assert len(outlined(field(light()), detections(companion, [0.9, 0.5]))) == 2


def test_turned_fields_have_turned_boxes(detections):
    flux = light()
    boxes = drawn(expected(), 0.8)
    nx = flux.shape[1] - 1
    mirrored = np.stack([nx - boxes[:, 2], boxes[:, 1], nx - boxes[:, 0], boxes[:, 3]], axis=1)
    found = outlined(field(flux), detections(boxes, [0.9, 0.8, 0.7])).xyxy
    turned = outlined(field(np.ascontiguousarray(flux[:, ::-1])), detections(mirrored, [0.9, 0.8, 0.7])).xyxy
    assert np.stack([nx - turned[:, 2], turned[:, 1], nx - turned[:, 0], turned[:, 3]], axis=1) == pytest.approx(
        found, abs=0.3
    )


def test_a_display_picture_and_no_detection_are_left_alone(detections):
    shown = np.clip(np.rint(light() * 40 + 20), 0, 255).astype(np.float32)
    picture = Field("p", dict.fromkeys("RGB", shown), np.zeros(SHAPE, np.bool_))
    boxes = drawn(expected(), 0.7)
    assert np.array_equal(outlined(picture, detections(boxes, [0.9, 0.8, 0.7])).xyxy, boxes)
    assert len(outlined(field(light()), detections(np.zeros((0, 4))))) == 0


def test_a_field_without_light_changes_nothing(detections):
    boxes = drawn(expected(), 0.7)
    dark = field(np.zeros(SHAPE, np.float32))
    assert np.array_equal(outlined(dark, detections(boxes, [0.9, 0.8, 0.7])).xyxy, boxes)


def test_a_mosaic_has_the_boxes_of_the_field(detections, as_mosaic, monkeypatch):
    monkeypatch.setattr("detector.outlines.WINDOW_PX", 160)
    monkeypatch.setattr("detector.outlines.OVERLAP_PX", 90)
    whole = field(light())
    mosaic = as_mosaic(whole)
    boxes = detections(drawn(expected(), 0.8), [0.9, 0.8, 0.7])
    assert outlined(mosaic, boxes).xyxy == pytest.approx(outlined(whole, boxes).xyxy, abs=1.0)
