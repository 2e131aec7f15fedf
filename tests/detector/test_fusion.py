"""Fusion of several looks: nothing is lost, nothing comes twice, and doubt counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import Detections
from detector.fusion import detect_fused, fused
from fieldprep import Field


def test_looks_that_found_nothing_fuse_to_nothing(detections):
    none = detections(np.zeros((0, 4)))
    assert len(fused([none])) == len(fused([none, none, none])) == 0
    assert fused([none, none]).xyxy.shape == (0, 4)


def test_one_look_alone_is_what_it_was(detections):
    look = detections([[0, 0, 10, 10], [1, 1, 11, 11]], [0.4, 0.8])
    assert np.array_equal(fused([look]).xyxy, look.sorted().xyxy)


def test_boxes_of_one_object_become_their_weighted_mean(detections):
    found = fused([detections([[0, 0, 10, 10]], [0.8]), detections([[1, 0, 11, 10]], [0.4])])
    assert found.xyxy.tolist() == [pytest.approx([0.2, 0, 10.2, 10])]  # 0.64 to 0.16
    assert found.confidence.tolist() == pytest.approx([0.6])


def test_what_one_look_of_three_finds_has_a_third_of_its_confidence(detections):
    none = detections(np.zeros((0, 4)))
    assert fused([none, detections([[0, 0, 10, 10]], [0.9]), none]).confidence.tolist() == pytest.approx([0.3])


def test_a_look_counts_once_however_many_of_its_boxes_overlap(detections):
    twice = detections([[0, 0, 10, 10], [0.5, 0, 10.5, 10]], [0.9, 0.7])
    assert fused([twice, detections([[0, 0, 10, 10]], [0.5])]).confidence.tolist() == pytest.approx([0.7])


def test_companions_and_nested_galaxies_are_both_kept(detections):
    boxes = [[0, 0, 100, 100], [10, 10, 30, 30], [95, 0, 140, 40]]
    assert len(fused([detections(boxes)] * 3)) == 3


looks = st.lists(
    st.lists(st.tuples(*[st.floats(0, 200)] * 2, *[st.floats(4, 60)] * 2, st.floats(0.01, 1)), max_size=12),
    min_size=2,
    max_size=4,
)


@given(looks)
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_looks_does_not_matter_and_confidence_never_grows(parts):
    made = []
    for part in parts:
        rows = np.array(part, np.float64).reshape(-1, 5)
        zeros = np.zeros(len(rows), np.int64)
        made.append(Detections(np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), rows[:, 4], zeros, zeros))
    found, turned = fused(made), fused(made[::-1])
    assert np.allclose(found.xyxy, turned.xyxy)
    assert np.allclose(found.confidence, turned.confidence)
    assert found.confidence.max(initial=0) <= max(look.confidence.max(initial=0) for look in made)
    assert len(found) <= sum(len(look) for look in made)


def test_fused_detections_of_a_field_are_in_its_own_pixels(as_detector):
    def network(batch):  # one box in the middle of whatever it is shown
        _, _, height, width = batch.shape
        box = [width / 2, height / 2, width / 4, height / 4, 0.8]
        return np.array(box, np.float32).reshape(1, 5, 1)

    sky = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    field = Field("noise", {"r": sky}, np.zeros(sky.shape, np.bool_))
    found = detect_fused(as_detector(network), field, zooms=(0.5, 1.0, 2.0))
    assert found.xyxy.tolist() == [pytest.approx([47.5, 47.5, 79.5, 79.5])]
    assert found.confidence.tolist() == pytest.approx([0.8])
