import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import Detections

# few different values, so that ties are the rule
coordinates = st.sampled_from([0.0, 1.0, 2.5, 7.0])
boxes = st.tuples(coordinates, coordinates, coordinates, coordinates, st.sampled_from([0.1, 0.5, 0.9]))


def of(rows):
    table = np.array(rows, np.float64).reshape(-1, 5)
    n = len(table)
    return Detections(table[:, :4], table[:, 4], np.zeros(n, np.int64), np.zeros(n, np.int64))


def parts(n):
    return {
        "xyxy": np.zeros((n, 4)),
        "confidence": np.full(n, 0.5),
        "class_id": np.zeros(n, np.int64),
        "flags": np.zeros(n, np.int64),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("xyxy", np.zeros((3, 4))),
        ("xyxy", np.zeros((2, 5))),
        ("class_id", np.zeros(1, np.int64)),
        ("flags", np.zeros((2, 1), np.int64)),
    ],
)
def test_arrays_of_other_lengths_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be of shape"):
        Detections(**{**parts(2), name: value})


@pytest.mark.parametrize("confidence", [[-0.1, 0.5], [0.5, 1.1], [np.nan, 0.5]])
def test_a_confidence_outside_0_to_1_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence must be 0 to 1"):
        Detections(**{**parts(2), "confidence": np.array(confidence)})


@pytest.mark.parametrize("class_id", [[0, 1], [-1, 0]])
def test_a_class_that_has_no_name_is_refused(class_id):
    with pytest.raises(ValueError, match="class_id must be 0 to 0"):
        Detections(**{**parts(2), "class_id": np.array(class_id)})


def test_no_detection_is_a_valid_result():
    empty = Detections(**parts(0))
    assert len(empty) == 0
    assert empty.centres.shape == (0, 2)
    assert empty.sorted().xyxy.shape == (0, 4)


def test_the_centre_is_the_middle_of_the_edges():
    assert of([(-0.5, 2.5, 3.5, 4.5, 0.5)]).centres.tolist() == [[1.5, 3.5]]


def test_sorted_is_by_falling_confidence():
    assert of([(0, 0, 1, 1, 0.1), (0, 0, 1, 1, 0.9), (0, 0, 1, 1, 0.5)]).sorted().confidence.tolist() == [0.9, 0.5, 0.1]


@given(st.lists(boxes, max_size=12), st.randoms(use_true_random=False))
def test_sorted_does_not_hang_on_the_order_of_the_input(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    first, second = of(rows).sorted(), of(shuffled).sorted()
    assert first.xyxy.tolist() == second.xyxy.tolist()
    assert first.confidence.tolist() == second.confidence.tolist()


@given(st.lists(boxes, max_size=12))
def test_sorting_twice_changes_nothing(rows):
    once = of(rows).sorted()
    assert once.sorted().xyxy.tolist() == once.xyxy.tolist()


def test_select_takes_a_mask_or_indices_and_keeps_the_classes():
    found = Detections(
        np.arange(12.0).reshape(3, 4), np.array([0.1, 0.2, 0.3]), np.array([0, 1, 0]), np.array([0, 1, 2]), ("a", "b")
    )
    by_mask, by_index = found.select(np.array([False, True, True])), found.select(np.array([2, 1]))
    assert by_mask.flags.tolist() == [1, 2]
    assert by_index.flags.tolist() == [2, 1]
    assert by_index.xyxy[0].tolist() == [8, 9, 10, 11]
    assert by_mask.classes == ("a", "b")
