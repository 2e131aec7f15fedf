import contextlib
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from detector import Detections
from detector.evaluate import Scene, Share, average_precision, coco_evaluation, match, score
from fieldprep.boxes import SEMI_MAJOR
from fieldprep.catalogues import Sources

SHAPE = (400, 500)


def square(x, y, side):
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def centres(*xy):
    return np.array(xy, np.float64).reshape(-1, 2)


def random_scene(seed, *, ties, n_truth=30, n_found=60, crowds=0.2):
    """Random truth, detections near it and elsewhere; scores of few values, so that ties are the rule."""
    random = np.random.default_rng(seed)
    xy = random.uniform(10, 390, (n_truth, 2))
    half = random.uniform(4, 25, (n_truth, 2))
    sources = Sources(
        xy[:, 0],
        xy[:, 1],
        np.concatenate([xy - half, xy + half], axis=1),
        random.random(n_truth) < 0.8,
        np.where(random.random(n_truth) < 0.1, np.nan, random.uniform(17, 22, n_truth)),
        random.random(n_truth) < crowds,
        half.max(axis=1, initial=0) / SEMI_MAJOR,
        pd.DataFrame(index=range(n_truth)),
    )
    near = random.integers(0, max(n_truth, 1), n_found // 2 if n_truth else 0)
    low = random.uniform(0, 350, (n_found - len(near), 2))
    elsewhere = np.concatenate([low, low + random.uniform(5, 40, low.shape)], axis=1)
    boxes = np.concatenate([sources.xyxy[near] + random.normal(0, 3, (len(near), 4)), elsewhere])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    scores = random.integers(1, 6, n_found) / 6 if ties else random.uniform(0.01, 1, n_found)
    zeros = np.zeros(n_found, np.int64)
    return Scene(Detections(boxes, scores, zeros, zeros), sources, SHAPE)


def pycocotools_own(scenes, limit):
    """AP50 and AP50-95 by pycocotools' own accumulation."""
    evaluation = coco_evaluation(scenes, limit)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    precision = evaluation.eval["precision"]  # IoU, recall, class, area, maxDets
    return precision[0, :, 0, 0, 0].mean(), precision[:, :, 0, 0, 0].mean()


def test_a_detection_within_half_the_shorter_side_is_a_match(truth):
    wide = truth((100, 100, 40, 20, "g", 18))
    assert match(centres((110, 100)), wide).tolist() == [0]
    assert match(centres((110.01, 100)), wide).tolist() == [-1]
    assert match(centres((100, 110)), wide).tolist() == [0]


def test_the_reach_of_a_small_object_is_three_pixels(truth):
    small = truth((50, 50, 4, 4, "g", 20))
    assert match(centres((53, 50)), small).tolist() == [0]
    assert match(centres((53.01, 50)), small).tolist() == [-1]


def test_matches_are_one_to_one_the_nearest_first(truth):
    one = truth((50, 50, 20, 20, "g", 18))
    assert match(centres((54, 50), (51, 50), (47, 50)), one).tolist() == [-1, 0, -1]


def test_the_second_nearest_detection_goes_to_the_second_object(truth):
    two = truth((50, 50, 20, 20, "g", 18), (58, 50, 20, 20, "g", 18))
    # the first is nearest to object 0, which the other takes; object 1 is within its reach too
    assert match(centres((52, 50), (51, 50)), two).tolist() == [1, 0]


def test_galaxies_are_given_out_before_nearer_stars_and_ignored_objects_last(truth):
    three = truth((50, 50, 20, 20, "s", 15), (55, 50, 20, 20, "g", 20), (50, 50, 20, 20, "i", 20))
    assert match(centres((50, 50)), three).tolist() == [1]
    assert match(centres((50, 50), (50, 51)), three).tolist() == [1, 0]
    assert sorted(match(centres((50, 50), (50, 51), (50, 52)), three).tolist()) == [0, 1, 2]


def test_nothing_matches_nothing(truth):
    assert match(centres(), truth((50, 50, 20, 20, "g", 18))).shape == (0,)
    assert match(centres((1, 1)), truth()).tolist() == [-1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_no_object_is_matched_twice_and_none_out_of_reach(seed):
    scene = random_scene(seed, ties=False)
    to = match(scene.detections.centres, scene.truth)
    given_out = to[to >= 0]
    assert len(np.unique(given_out)) == len(given_out)
    offset = scene.detections.centres[to >= 0] - np.stack([scene.truth.x, scene.truth.y], axis=1)[given_out]
    sides = scene.truth.xyxy[given_out, 2:] - scene.truth.xyxy[given_out, :2]
    assert (np.hypot(*offset.T) <= np.maximum(3, sides.min(axis=1) / 2)).all()


def test_a_share_has_the_jeffreys_interval():
    share = Share(7, 10)
    assert share.value == 0.7
    assert share.low == pytest.approx(beta.ppf((1 - 0.6827) / 2, 7.5, 3.5), abs=1e-9)
    assert share.high == pytest.approx(beta.ppf((1 + 0.6827) / 2, 7.5, 3.5), abs=1e-9)


def test_a_share_of_all_or_none_keeps_an_interval_within_0_to_1():
    for k in (0, 10):
        share = Share(k, 10)
        assert 0 <= share.low <= share.value <= share.high <= 1
        assert share.low < share.high


def test_a_share_of_nothing_is_not_a_number():
    share = Share(0, 0)
    assert np.isnan([share.value, share.low, share.high]).all()


@pytest.fixture
def scene(detections, truth):
    """
    Two galaxies found, one too faint found, one missed; a star and an ignored galaxy found; one false detection.

    The last detection is under the threshold.
    """
    sources = truth(
        (50, 50, 20, 20, "g", 18),
        (150, 50, 20, 20, "g", 19.5),
        (250, 50, 20, 20, "g", 21),
        (350, 50, 20, 20, "g", 19.9),
        (50, 150, 20, 20, "s", 17),
        (150, 150, 20, 20, "i", 18),
    )
    boxes = [
        square(50, 50, 20),
        square(150, 50, 10),
        square(250, 50, 20),
        square(50, 150, 20),
        square(150, 150, 20),
        square(400, 300, 20),
        square(350, 50, 20),
    ]
    return Scene(detections(boxes, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1]), sources, SHAPE)


def shares(entry):
    return entry["k"], entry["n"]


def test_completeness_purity_and_iou_of_a_scene_counted_by_hand(scene):
    scores = score([scene], 0.3, [20, 22])
    bright, all_ = scores["limits"]["20"], scores["limits"]["22"]
    assert shares(bright["completeness"]) == (2, 3)
    assert shares(all_["completeness"]) == (3, 4)
    assert shares(bright["purity"]) == (2, 3)  # the star is the third
    assert shares(all_["purity"]) == (3, 4)
    assert shares(scores["unmatched"]) == (1, 5)  # the one on the ignored galaxy is not among the five
    assert (scores["galaxies"], scores["detections"], scores["fields"]) == (4, 5, 1)
    # a concentric box of half the side overlaps by a quarter
    assert bright["mean_iou"]["value"] == pytest.approx((1 + 0.25) / 2)
    assert bright["mean_iou"]["n"] == 2


def test_the_threshold_is_the_least_confidence_counted(scene):
    assert shares(score([scene], 0.1, [20])["limits"]["20"]["completeness"]) == (3, 3)
    assert shares(score([scene], 0.85, [20])["limits"]["20"]["completeness"]) == (1, 3)


def test_a_limit_leaves_out_the_magnitude_itself(scene):
    assert score([scene], 0.3, [19.5])["limits"]["19.5"]["completeness"]["n"] == 1


def test_fields_are_pooled(scene):
    scores = score([scene, scene], 0.3, [20])
    assert shares(scores["limits"]["20"]["completeness"]) == (4, 6)
    assert shares(scores["unmatched"]) == (2, 10)
    assert scores["fields"] == 2


def test_average_precision_of_a_scene_counted_by_hand(scene):
    # galaxies of r < 20: found at 0.9, at IoU 0.25 only, and at 0.1. The one of r = 21 and the ignored one are left
    # out. So, in order: true, false (IoU), false (star), false (nothing), true at recall 2/3
    expected = (34 * 1 + 33 * 2 / 5) / 101  # recalls 0 .. 0.33 at precision 1, 0.34 .. 0.66 at 2 of 5
    scores = average_precision([scene], 20)
    assert scores["ap50"]["value"] == pytest.approx(expected, abs=1e-9)
    assert scores["ap"]["value"] == pytest.approx(expected, abs=1e-9)
    assert scores["ap50"]["n"] == 3


def test_perfect_detections_have_an_average_precision_of_1(scene, detections):
    wanted = scene.truth.select(scene.truth.galaxy & ~scene.truth.ignore)
    perfect = Scene(detections(wanted.xyxy), wanted, SHAPE)
    scores = average_precision([perfect], 30)
    assert scores["ap"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 4}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.booleans(), st.integers(1, 3))
def test_average_precision_is_that_of_pycocotools(seed, ties, fields):
    scenes = [random_scene(seed + i, ties=ties) for i in range(fields)]
    ours = average_precision(scenes, 20.5)
    ap50, ap = pycocotools_own(scenes, 20.5)
    assert ours["ap50"]["value"] == pytest.approx(ap50, abs=1e-6)
    assert ours["ap"]["value"] == pytest.approx(ap, abs=1e-6)
    assert ours["ap"]["low"] <= ours["ap"]["high"]


@pytest.mark.parametrize(("n_truth", "n_found"), [(30, 2), (2, 60), (1, 1)])
def test_average_precision_is_that_of_pycocotools_at_uneven_counts(n_truth, n_found):
    scene = random_scene(5, ties=True, n_truth=n_truth, n_found=n_found, crowds=0.0)
    sources = scene.truth
    scene = Scene(scene.detections, sources.select(np.ones(len(sources), np.bool_)), SHAPE)
    if not (sources.galaxy & (sources.magnitude < 30)).any():
        pytest.skip("this seed drew no galaxy")
    assert average_precision([scene], 30)["ap"]["value"] == pytest.approx(pycocotools_own([scene], 30)[1], abs=1e-6)


def test_no_detection_in_a_field_of_galaxies_scores_0(scene, detections):
    nothing = Scene(detections([]), scene.truth, SHAPE)
    scores = score([nothing], 0.25, [20])
    row = scores["limits"]["20"]
    assert shares(row["completeness"]) == (0, 3)
    assert row["purity"]["n"] == 0
    assert np.isnan(row["purity"]["value"])
    assert scores["detections"] == 0
    # pycocotools' own answer for galaxies without a detection
    assert (row["ap50"]["value"], row["ap"]["value"], row["ap"]["n"]) == (0, 0, 3)


def test_a_field_without_truth_has_no_completeness_and_only_unmatched_detections(scene, truth):
    scores = score([Scene(scene.detections, truth(), SHAPE)], 0.3, [20])
    row = scores["limits"]["20"]
    assert row["completeness"]["n"] == row["ap"]["n"] == row["mean_iou"]["n"] == 0
    assert np.isnan([row["completeness"]["value"], row["ap"]["value"], row["mean_iou"]["value"]]).all()
    assert shares(scores["unmatched"]) == (6, 6)


def test_an_empty_field_among_others_changes_nothing_but_false_detections(scene, truth, detections):
    empty = Scene(detections([]), truth(), SHAPE)
    assert average_precision([scene, empty], 20)["ap"]["value"] == average_precision([scene], 20)["ap"]["value"]


def on_a_grid(n, truth):
    y, x = np.divmod(np.arange(n), 100)
    return truth(*((10 * a + 5, 10 * b + 5, 8, 8, "g", 19) for a, b in zip(x, y, strict=True)))


def test_five_thousand_objects_are_matched_each_to_its_own(truth):
    sources = on_a_grid(5000, truth)
    assert match(np.stack([sources.x, sources.y], axis=1)[::-1], sources).tolist() == list(range(4999, -1, -1))


def test_many_objects_are_scored_without_a_cap(detections, truth):
    # over pycocotools' cap of 100 and ultralytics' of 300; its time grows with the square
    sources = on_a_grid(1000, truth)
    found = detections(sources.xyxy, np.linspace(0.3, 0.9, 1000))
    scores = score([Scene(found, sources, (500, 1000))], 0.25, [20])
    assert shares(scores["limits"]["20"]["completeness"]) == (1000, 1000)
    assert scores["limits"]["20"]["ap"]["value"] == pytest.approx(1, abs=1e-9)
    assert scores["limits"]["20"]["ap"]["n"] == 1000


def test_scores_are_the_same_each_time(scene):
    assert str(score([scene], 0.3)) == str(score([scene], 0.3))
