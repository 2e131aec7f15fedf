import contextlib
import io
import math
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.stats import beta

from detector import Detections
from detector.calibration import Calibration
from detector.evaluate import ALL, Scene, Share, average_precision, labelled_confidences, match, score, score_in_full
from detector.evaluate.completeness import AXES, against, against_confidence
from detector.evaluate.matching import matched_tables, surface_brightness
from detector.evaluate.precision import SIZES, brighter
from detector.evaluate.scores import astrocv_scores
from detector.evaluate.statistics import Blocks, resampled_shares
from fieldprep.boxes import SEMI_MAJOR, coco_annotations
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


def pycocotools_own(scenes, limit, sizes=None):
    """AP50 and AP50-95 by pycocotools itself, by size if sizes are given; NaN where it says -1 (no galaxy)."""
    images, annotations, results = [], [], []
    for image_id, scene in enumerate(scenes, start=1):
        truth = scene.truth.select(scene.truth.galaxy | scene.truth.ignore)
        crowd = truth.ignore | ~brighter(truth.magnitude, limit)
        zeros = np.zeros(len(truth), np.int64)
        images.append({"id": image_id, "width": scene.shape[1], "height": scene.shape[0]})
        first_id = len(annotations) + 1
        annotations += coco_annotations(truth.xyxy, zeros, crowd, image_id=image_id, first_id=first_id)
        found = scene.detections
        boxes = coco_annotations(found.xyxy, found.class_id, found.flags > 0, image_id=image_id, first_id=1)
        results += [
            {"image_id": image_id, "category_id": 1, "bbox": box["bbox"], "score": float(found.confidence[i])}
            for i, box in enumerate(boxes)
        ]
    known = COCO()
    known.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "galaxy"}]}
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.params.maxDets = [len(results)]
        evaluation.params.areaRng = [list(area) for area in (sizes or {"all": (0, 1e10)}).values()]
        evaluation.params.areaRngLbl = list(sizes or ["all"])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, :, 0]  # IoU, recall, area
    pairs = [(precision[0, :, k].mean(), precision[:, :, k].mean()) for k in range(precision.shape[2])]
    pairs = [tuple(np.nan if value < 0 else value for value in pair) for pair in pairs]
    return dict(zip(sizes, pairs, strict=True)) if sizes else pairs[0]


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
@given(st.integers(0, 100_000), st.booleans(), st.integers(1, 3), st.sampled_from([20.5, ALL]))
def test_average_precision_is_that_of_pycocotools(seed, ties, fields, limit):
    scenes = [random_scene(seed + i, ties=ties) for i in range(fields)]
    ours = average_precision(scenes, limit)
    ap50, ap = pycocotools_own(scenes, limit)
    assert ours["ap50"]["value"] == pytest.approx(ap50, abs=1e-6)
    assert ours["ap"]["value"] == pytest.approx(ap, abs=1e-6)
    assert ours["ap"]["low"] <= ours["ap"]["high"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.booleans(), st.integers(1, 3), st.sampled_from([20.5, ALL]))
def test_average_precision_by_size_is_that_of_pycocotools(seed, ties, fields, limit):
    scenes = [random_scene(seed + i, ties=ties) for i in range(fields)]
    sizes = {**SIZES, "tiny": (0.0, 150.0), "wide": (150.0, 900.0)}  # these boxes have sides of 8 to 50 px
    for name, (ap50, ap) in pycocotools_own(scenes, limit, sizes).items():
        ours = average_precision(scenes, limit, area=sizes[name])
        assert ours["ap50"]["value"] == pytest.approx(ap50, abs=1e-6, nan_ok=True)
        assert ours["ap"]["value"] == pytest.approx(ap, abs=1e-6, nan_ok=True)


def test_cocos_sizes_are_cocos():
    theirs = COCOeval(iouType="bbox").params
    assert dict(zip(theirs.areaRngLbl, (tuple(area) for area in theirs.areaRng), strict=True)) == {
        "all": (0, 1e10),
        **SIZES,
    }


@pytest.mark.parametrize(("n_truth", "n_found"), [(30, 2), (2, 60), (1, 1)])
def test_average_precision_is_that_of_pycocotools_at_uneven_counts(n_truth, n_found):
    scene = random_scene(5, ties=True, n_truth=n_truth, n_found=n_found, crowds=0.0)
    ours = average_precision([scene], ALL)["ap"]["value"]
    assert ours == pytest.approx(pycocotools_own([scene], ALL)[1], abs=1e-6, nan_ok=True)


def test_overlapping_galaxies_are_shared_out_as_pycocotools_does(detections, truth):
    # a crowd of boxes upon each other, each of which several detections overlap by more than half
    rows = [(100 + 3 * i, 100 + 2 * (i % 3), 30, 30, "gi"[i % 4 == 3], 19 + i % 3) for i in range(12)]
    sources = truth(*rows)
    shift = np.random.default_rng(2).normal(0, 3, (60, 4))
    found = detections(sources.xyxy[np.arange(60) % 12] + shift, np.linspace(0.9, 0.1, 60).round(1))
    for limit in (20.0, ALL):
        scene = Scene(found, sources, SHAPE)
        ours = average_precision([scene], limit)
        assert (ours["ap50"]["value"], ours["ap"]["value"]) == pytest.approx(pycocotools_own([scene], limit), abs=1e-6)


def test_the_curve_is_that_whose_mean_is_the_ap(scene):
    scores = average_precision([scene], 20, curve=True)
    assert np.mean(scores["curve"]["precision_50"]) == pytest.approx(scores["ap50"]["value"], abs=1e-12)
    reached = np.array(scores["curve"]["confidence"])
    assert reached[:34].tolist() == [0.9] * 34
    assert reached[34:67].tolist() == [0.1] * 33
    assert np.isnan(reached[67:]).all()
    assert average_precision([scene], 10, curve=True)["curve"] == {}


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


def test_five_thousand_objects_in_one_field_are_scored_without_a_cap_in_seconds(detections, truth):
    # over pycocotools' cap of 100 and ultralytics' of 300
    sources = on_a_grid(5000, truth)
    found = detections(sources.xyxy, np.linspace(0.3, 0.9, 5000))
    start = time.perf_counter()
    scores = score([Scene(found, sources, (500, 1000))], 0.25, [20])
    assert time.perf_counter() - start < 60  # some two seconds on an idle core
    assert shares(scores["limits"]["20"]["completeness"]) == (5000, 5000)
    assert scores["limits"]["20"]["ap"]["value"] == pytest.approx(1, abs=1e-9)
    assert scores["limits"]["20"]["ap"]["n"] == 5000


def test_scores_are_the_same_each_time(scene):
    assert str(score([scene], 0.3)) == str(score([scene], 0.3))


def test_a_limit_of_all_takes_galaxies_without_a_magnitude(detections, truth):
    sources = truth((50, 50, 20, 20, "g", np.nan), (150, 50, 20, 20, "g", 25), (250, 50, 20, 20, "s", np.nan))
    rows = score([Scene(detections(sources.xyxy), sources, SHAPE)], 0.3)["limits"]
    assert shares(rows["all"]["completeness"]) == (2, 2)
    assert shares(rows["all"]["purity"]) == (2, 3)
    assert rows["all"]["ap"]["n"] == 2
    assert shares(rows["21.5"]["completeness"]) == shares(rows["21.5"]["purity"]) == (0, 0)


def test_false_detections_are_counted_by_field(scene, truth, detections):
    empty = Scene(detections([square(9, 9, 9)] * 4), truth(), SHAPE)
    told = score([scene, empty], 0.3, [20], ap=False)["false_per_field"]
    # one on a star and one on nothing; four on nothing
    assert (told["value"], told["n"]) == (3, 2)


def test_boxes_over_22_px_are_told_apart_by_the_longer_side(detections, truth):
    sources = truth((50, 50, 22, 10, "g", 18), (150, 50, 23, 10, "g", 18), (250, 50, 10, 30, "g", 21))
    row = score([Scene(detections(sources.xyxy[:2]), sources, SHAPE)], 0.3, [20, 22], ap=False)["limits"]
    assert shares(row["20"]["completeness_over_22_px"]) == (1, 1)
    assert shares(row["22"]["completeness_over_22_px"]) == (1, 2)
    assert row["22"]["mean_iou_over_22_px"]["value"] == pytest.approx(1)


def test_astrocvs_way_counts_the_best_box_of_each_galaxy_at_a_confidence_of_a_tenth(detections, truth):
    sources = truth(
        (50, 50, 40, 40, "g", 18), (150, 50, 30, 30, "g", 18), (250, 50, 10, 10, "g", 18), (90, 90, 40, 40, "s", 15)
    )
    # the first is overlapped by 0.75 by a box too far off to match; the second by a quarter, and matched
    boxes = [(30, 30, 70, 60), square(150, 50, 15), square(250, 50, 10)]
    scene = Scene(detections(boxes, [0.5, 0.1, 0.09]), sources, SHAPE)
    told = astrocv_scores([scene], 0.1)
    assert shares(told["all"]["recall"]) == (2, 3)
    assert shares(told["over_22_px"]["recall"]) == (2, 2)
    assert shares(told["all"]["best_box_recall"]) == (1, 3)
    assert told["over_22_px"]["best_box_iou"]["value"] == pytest.approx((0.75 + 0.25) / 2)
    assert told["all"]["best_box_iou"]["value"] == pytest.approx((0.75 + 0.25 + 0) / 3)


def in_bins(rows, name):
    return [(row["low"], row["high"], *shares(row[name])) for row in rows]


def axis(name):
    return next(axis for axis in AXES if axis.name == name)


def test_bins_are_counted_by_hand(scene):
    tables = matched_tables([scene], 0.3)
    # magnitudes 18, 19.5, 19.9 (missed), 21; the star of 17 falls into the first bin
    assert in_bins(against(tables, axis("magnitude")), "completeness") == [
        (None, 18.5, 1, 1),
        (19.5, 20.0, 1, 2),
        (20.5, None, 1, 1),
    ]
    assert in_bins(against(tables, axis("magnitude")), "purity") == [
        (None, 18.5, 1, 2),
        (19.5, 20.0, 1, 1),
        (20.5, None, 1, 1),
    ]
    # by the boxes of the objects, and of the detections
    sides = against(tables, axis("side_px"))
    assert in_bins(sides, "completeness") == [(None, 12, 0, 0), (16, 22, 3, 4)]
    assert in_bins(sides, "unmatched") == [(None, 12, 0, 1), (16, 22, 1, 4)]


def test_the_distance_to_a_bright_star_is_in_arcsec_and_of_bright_ones_only(detections, truth):
    sources = truth(
        (50, 50, 20, 20, "s", 14), (150, 50, 20, 20, "s", 16), (50, 80, 20, 20, "g", 18), (160, 50, 20, 20, "g", 18)
    )
    rows = against(matched_tables([Scene(detections([]), sources, SHAPE, 0.5)], 0.3), axis("star_arcsec"))
    assert in_bins(rows, "completeness") == [(10, 20, 0, 1), (40, 80, 0, 1)]
    assert [row["median"] for row in rows] == [15, 55]
    assert against(matched_tables([Scene(detections([]), sources, SHAPE)], 0.3), axis("star_arcsec")) == []


def test_the_surface_brightness_is_that_of_half_the_light_in_the_half_light_radius(detections, truth):
    sources = truth((50, 50, 20, 20, "g", 18), (150, 50, 40, 20, "g", 18))
    within, kind = surface_brightness(Scene(detections([]), sources, SHAPE, 0.5))
    radius = np.array([10, 20]) / SEMI_MAJOR * 0.5
    assert kind == "petrosian"
    assert within == pytest.approx(18 + 2.5 * np.log10(np.pi * radius**2))
    sources.rows["petroR50_r"] = [2.0, 0.0]
    within, kind = surface_brightness(Scene(detections([]), sources, SHAPE, 0.5))
    assert kind == "half-light"
    assert within[0] == pytest.approx(18 + 2.5 * math.log10(2 * math.pi * 4))
    assert np.isnan(within[1])


def test_radii_that_are_all_one_fixed_number_give_no_surface_brightness(detections, truth):
    sources = truth((50, 50, 20, 20, "g", 18), (150, 50, 20, 20, "g", 19))
    assert surface_brightness(Scene(detections([]), sources, SHAPE, 0.5))[1] == ""


def test_shares_of_groups_are_bootstrapped_over_blocks_and_never_without_width():
    random = np.random.default_rng(3)
    group, block = random.integers(-1, 2, 4000), random.integers(0, 16, 4000)
    hit = (random.random(4000) < 0.7) | (group == 1)
    first, second = resampled_shares(group, hit, block, 2, Blocks(1))
    assert (first["k"], first["n"]) == (int(hit[group == 0].sum()), int((group == 0).sum()))
    assert first["interval"] == "bootstrap"
    # objects that know nothing of each other: as wide as the binomial's
    binomial = vars(Share(first["k"], first["n"]))
    assert first["high"] - first["low"] == pytest.approx(binomial["high"] - binomial["low"], rel=0.35)
    assert second == {**vars(Share(second["n"], second["n"])), "interval": "jeffreys"}


def test_what_hangs_together_in_a_block_widens_the_interval():
    block = np.repeat(np.arange(16), 100)
    hit = block % 2 == 0
    (share,) = resampled_shares(np.zeros(1600, np.int64), hit, block, 1, Blocks(1))
    assert share["high"] - share["low"] > 5 * (Share(800, 1600).high - Share(800, 1600).low)


def test_against_the_threshold_the_scores_are_those_at_each(scene):
    for row in against_confidence([scene, scene], 20):
        at = score([scene, scene], row["confidence"], [20], ap=False)
        assert row["completeness"] == pytest.approx(at["limits"]["20"]["completeness"], nan_ok=True)
        assert row["purity"] == pytest.approx(at["limits"]["20"]["purity"], nan_ok=True)
        assert row["false_per_field"] == at["false_per_field"]["value"]


def test_confidences_are_labelled_by_what_is_there_without_ignored_objects(scene):
    values, true = labelled_confidences([scene])
    assert dict(zip(values.tolist(), true.tolist(), strict=True)) == {
        0.9: True,
        0.8: True,
        0.7: True,
        0.6: False,
        0.4: False,
        0.1: True,
    }


def test_a_faint_second_box_that_is_nearer_does_not_make_the_first_one_false(detections, truth):
    sources = truth((50, 50, 30, 30, "g", 18))
    scene = Scene(detections([square(52, 50, 30), square(50, 50, 8)], [0.9, 0.02]), sources, SHAPE)
    assert match(scene.detections.centres, sources).tolist() == [-1, 0]
    assert labelled_confidences([scene])[1].tolist() == [True, False]


def test_raw_confidences_are_told_beside_calibrated_ones(scene):
    calibration = Calibration("platt", a=2.0, b=0.5)
    told = score_in_full([scene], 0.3, calibration=calibration)["reliability"]
    values, true = labelled_confidences([scene])
    assert told["given"]["brier"] == pytest.approx(np.mean((values - true) ** 2))
    assert told["raw"]["brier"] == pytest.approx(np.mean((calibration.invert(values) - true) ** 2))
    assert set(score_in_full([scene], 0.3)["reliability"]) == {"given"}


@pytest.mark.parametrize("found", [0, 3])
@pytest.mark.parametrize("known", [0, 3])
def test_an_empty_field_and_an_empty_truth_are_scored_in_full(found, known, detections, truth):
    sources = truth(*((50 + 100 * i, 50, 20, 20, "g", 19) for i in range(known)))
    boxes = [square(50 + 100 * i, 50, 20) for i in range(found)]
    told = score_in_full([Scene(detections(boxes), sources, SHAPE, 0.4)], 0.3)
    row, n = told["limits"]["all"], min(found, known)
    assert shares(row["completeness"]) == (n, known)
    assert shares(told["unmatched"]) == (found - n, found)
    assert row["ap50"]["value"] == pytest.approx(1.0 if n else 0.0 if known else np.nan, nan_ok=True)
    assert told["false_per_field"]["value"] == found - n
    assert told["reliability"]["given"]["n"] == found
    assert [shares(row["completeness"]) for row in told["bins"]["magnitude"]] == ([(n, known)] if known else [])
    assert told["sizes"]["large"]["ap50"]["n"] == 0
