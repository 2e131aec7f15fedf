import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.merging import SAME_OBJECT_IOU, concentric_pairs, merge, one_each, overlapping_pairs
from fieldprep.boxes import iou_table


def plain_pairs(xyxy, class_id, least):
    """Reference for `overlapping_pairs`: each box with each other."""
    over = (iou_table(xyxy, xyxy) > least) & (class_id[:, None] == class_id)
    return {(i, j) for i, j in zip(*np.nonzero(over), strict=True) if i < j}


def plain_merge(xyxy, scores, class_id):
    """Reference for `merge`: greedy, box by box, as non-maximum suppression is written down."""
    x_min, y_min, x_max, y_max = xyxy.T
    order = np.lexsort((x_max, y_max, x_min, y_min, class_id, -scores))
    iou = iou_table(xyxy, xyxy)
    same = (iou > SAME_OBJECT_IOU) & (class_id[:, None] == class_id)
    kept = []
    for i in order:
        if not any(same[i, k] for k in kept):
            kept.append(i)
    np.fill_diagonal(same, val=True)
    weight = np.where(same[kept], scores**2, 0)
    return np.array(kept, int), weight / weight.sum(axis=1, keepdims=True) @ xyxy


@st.composite
def boxes(draw, largest=60):
    """Crowded boxes of many sizes, on a grid of half pixels and with few confidences, so that ties are common."""
    n = draw(st.integers(1, largest))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    corner = random.integers(0, draw(st.sampled_from([10, 60, 400])), (n, 2)) / 2
    sides = random.choice([1, 2, 3, 4, 6, 8, 12, 16, 17, 31, 64, 200], (n, 2)) / 2
    scores = random.choice([0.1, 0.2, 0.5, 0.9], n)
    return np.concatenate([corner, corner + sides], axis=1), scores, random.integers(0, 2, n)


@settings(max_examples=200, deadline=None)
@given(boxes(), st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9]))
def test_pairs_are_those_of_each_box_with_each_other(some, least):
    xyxy, _, class_id = some
    first, second, iou = overlapping_pairs(xyxy, class_id, least)
    found = [(min(i, j), max(i, j)) for i, j in zip(first.tolist(), second.tolist(), strict=True)]
    assert len(set(found)) == len(found)
    assert set(found) == plain_pairs(xyxy, class_id, least)
    assert (iou > least).all()


@settings(max_examples=200, deadline=None)
@given(boxes())
def test_merging_is_greedy_suppression_and_a_weighted_mean(some):
    kept, moved = merge(*some)
    expected_kept, expected_moved = plain_merge(*some)
    # of two boxes alike in everything either may be the one that is kept
    assert some[0][kept].tolist() == some[0][expected_kept].tolist()
    assert some[1][kept].tolist() == some[1][expected_kept].tolist()
    np.testing.assert_allclose(moved, expected_moved, atol=1e-9)
    assert one_each(*some).tolist() == kept.tolist()


@settings(max_examples=50, deadline=None)
@given(boxes(), st.randoms(use_true_random=False))
def test_the_result_does_not_hang_on_the_order_of_the_boxes(some, random):
    order = list(range(len(some[0])))
    random.shuffle(order)
    kept, moved = merge(*some)
    shuffled = [part[order] for part in some]
    kept_of_shuffled, moved_of_shuffled = merge(*shuffled)
    assert shuffled[0][kept_of_shuffled].tolist() == some[0][kept].tolist()
    np.testing.assert_allclose(moved_of_shuffled, moved, atol=1e-9)


def test_nothing_is_merged_to_nothing():
    nothing = np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)
    kept, moved = merge(*nothing)
    assert (kept.shape, moved.shape, one_each(*nothing).shape) == ((0,), (0, 4), (0,))
    assert kept.dtype == np.int64
    assert [part.shape for part in overlapping_pairs(nothing[0], nothing[2], 0.5)] == [(0,)] * 3


def test_a_box_without_an_area_overlaps_nothing():
    xyxy = np.array([[5, 5, 5, 9], [5, 5, 5, 9], [5, 5, 9, 9.0]])
    assert len(one_each(xyxy, np.array([0.9, 0.8, 0.7]), np.zeros(3, np.int64))) == 3


def kept_of(xyxy, scores):
    return sorted(one_each(np.array(xyxy, float), np.array(scores), np.zeros(len(scores), np.int64)).tolist())


def test_a_small_galaxy_nested_in_a_large_one_is_kept():
    assert kept_of([[0, 0, 100, 100], [40, 40, 60, 60], [10, 10, 90, 90]], [0.9, 0.8, 0.7]) == [0, 1]


def test_two_galaxies_side_by_side_are_kept_even_if_their_boxes_overlap_by_half():
    # one third of a side apart: IoU 0.5
    assert kept_of([[0, 0, 30, 30], [10, 0, 40, 30]], [0.9, 0.8]) == [0, 1]


def test_of_two_boxes_of_one_object_the_more_confident_stays():
    assert kept_of([[0, 0, 10, 10], [1, 0, 11, 10]], [0.3, 0.8]) == [1]


def test_what_only_a_suppressed_box_overlaps_is_kept():
    # each overlaps the next by more than a half, the first and the third do not
    assert kept_of([[0, 0, 30, 10], [8, 0, 38, 10], [16, 0, 46, 10]], [0.9, 0.8, 0.7]) == [0, 2]


def test_a_kept_box_moves_to_the_weighted_mean_of_its_objects_boxes():
    xyxy = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [40, 40, 50, 50], [0, 0, 10, 10]], float)
    kept, moved = merge(xyxy, np.array([0.8, 0.4, 0.9, 0.9]), np.array([0, 0, 0, 1]))
    shift = 0.4**2 / (0.8**2 + 0.4**2)
    by_box = dict(zip(kept.tolist(), moved.tolist(), strict=True))
    assert by_box[0] == pytest.approx([shift, 0, 10 + shift, 10])
    assert by_box[2] == [40, 40, 50, 50]
    assert by_box[3] == [0, 0, 10, 10]


def test_two_hundred_thousand_boxes_are_merged_without_a_table_of_each_with_each():
    random = np.random.default_rng(0)
    n, copies = 40_000, 5
    places = random.uniform(0, 20_000, (n, 2))
    sides = np.exp(random.uniform(np.log(8), np.log(400), (n, 2)))
    xyxy = np.repeat(np.concatenate([places - sides / 2, places + sides / 2], axis=1), copies, axis=0)
    xyxy += random.normal(0, 0.02, xyxy.shape) * np.repeat(sides, copies, axis=0)[:, [0, 1, 0, 1]]
    kept, moved = merge(xyxy, random.uniform(0.01, 1, len(xyxy)), np.zeros(len(xyxy), np.int64))
    # nearly all are far from each other, so nearly each is found once
    assert 0.95 * n < len(np.unique(kept // copies)) <= len(kept) < 1.05 * n
    assert np.isfinite(moved).all()


def test_two_boxes_about_one_centre_are_one_object_and_a_companion_is_not():
    outer = (100, 100, 140, 140)
    boxes = np.array(
        [
            outer,
            (108, 108, 132, 132),  # its bright middle: IoU 0.36
            (117, 108, 141, 132),  # the same size beside the centre
            (115, 115, 125, 125),  # nested, a sixteenth of it
        ],
        float,
    )
    zeros = np.zeros(len(boxes), np.int64)
    first, second = concentric_pairs(boxes, zeros)
    assert sorted(map(sorted, zip(first.tolist(), second.tolist(), strict=True))) == [[0, 1]]
    apart = concentric_pairs(boxes, np.arange(len(boxes)))
    assert len(apart[0]) == 0  # of different classes


@given(st.integers(0, 10_000), st.floats(0.3, 30))
def test_concentric_pairs_do_not_hang_on_scale_or_order(seed, scale):
    random = np.random.default_rng(seed)
    centres, sides = random.uniform(0, 60, (40, 2)), random.uniform(8, 40, (40, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    zeros, order = np.zeros(40, np.int64), random.permutation(40)
    pairs = {frozenset(pair) for pair in zip(*map(np.ndarray.tolist, concentric_pairs(boxes, zeros)), strict=True)}
    again = concentric_pairs(scale * boxes[order], zeros)
    assert {frozenset((int(order[i]), int(order[j]))) for i, j in zip(*again, strict=True)} == pairs
