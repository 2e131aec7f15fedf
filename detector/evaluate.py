"""
How detections agree with what is known to be in a field, by one set of rules.

A detection matches a catalogued object whose centre lies within max(3 px, half the shorter side of that
object's box) of the detection's centre; one to one, galaxies before stars, nearest first. Objects marked
``ignore`` count neither way. Detections with no object under them are counted apart.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy.stats import binom_conf_interval
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fieldprep.boxes import coco_annotations, iou_of_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.detections import Detections
    from fieldprep.catalogues import Sources

LEAST_MATCH_PX = 3.0
CONFIDENCE_LEVEL = 0.6827
LIMITS = (19.0, 20.0, 20.5, 21.0, 21.5)
BLOCKS = 4  # a field is resampled in 4 x 4 blocks of sky for the bootstrap
RESAMPLES = 200
IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scene:
    """
    One field's detections and truth.

    Parameters
    ----------
    detections : Detections
        Down to the floor of confidence.
    truth : Sources
        What is known to be there.
    shape : (ny, nx)
        Shape of the field.
    """

    detections: Detections
    truth: Sources
    shape: tuple[int, int]


@dataclass(frozen=True)
class Share:
    """A share k / n with its 68 % interval (Jeffreys)."""

    k: int
    n: int
    value: float = field(init=False)
    low: float = field(init=False)
    high: float = field(init=False)

    def __post_init__(self) -> None:
        low, high = (np.nan, np.nan)
        if self.n:
            low, high = binom_conf_interval(self.k, self.n, CONFIDENCE_LEVEL, interval="jeffreys")
        for name, value in (("value", self.k / self.n if self.n else np.nan), ("low", low), ("high", high)):
            object.__setattr__(self, name, float(value))


def match(centres: Floats, truth: Sources) -> Ints:
    """
    Which object each detection is of.

    Parameters
    ----------
    centres : 2D float64 `~numpy.ndarray`, shape (N, 2)
        Centres of the detections, x and y in pixels.
    truth : Sources
        Objects, M of them.

    Returns
    -------
    1D int64 `~numpy.ndarray`, shape (N,)
        Index into ``truth``, -1 where no object is under the detection. Galaxies are given out before stars,
        both before ignored objects, and within each kind the nearest pair first.
    """
    found = np.full(len(centres), -1, np.int64)
    if len(centres) == 0 or len(truth) == 0:
        return found
    sides = truth.xyxy[:, 2:] - truth.xyxy[:, :2]
    reach = np.maximum(LEAST_MATCH_PX, sides.min(axis=1) / 2)
    offsets = centres[:, None, :] - np.stack([truth.x, truth.y], axis=1)[None]
    distance = np.hypot(offsets[..., 0], offsets[..., 1])
    detection, source = np.nonzero(distance <= reach)
    rank = np.where(truth.ignore, 2, np.where(truth.galaxy, 0, 1))
    order = np.lexsort((detection, source, distance[detection, source], rank[source]))
    taken = np.zeros(len(truth), np.bool_)
    for i in order:
        if found[detection[i]] < 0 and not taken[source[i]]:
            found[detection[i]] = source[i]
            taken[source[i]] = True
    return found


def score(
    scenes: Sequence[Scene], confidence: float, limits: Sequence[float] = LIMITS, *, ap: bool = True
) -> dict[str, Any]:
    """
    Completeness, purity, mean IoU and average precision, pooled over fields.

    Parameters
    ----------
    scenes : sequence of Scene
        Fields with their truth.
    confidence : float
        Threshold for everything but average precision.
    limits : sequence of float
        r magnitudes; each gives a row "brighter than this".
    ap : bool
        Whether to work out average precision too, which takes nearly all the time.

    Returns
    -------
    dict
        ``limits``: by magnitude limit ``completeness``, ``purity`` (shares k of n with a 68 % interval),
        ``mean_iou`` (of matched galaxies, n, bootstrap interval), ``ap50`` and ``ap`` (0.50 to 0.95; bootstrap
        over 4 x 4 blocks of each field). ``unmatched``: share of detections with no object under them.
        ``detections``, ``galaxies`` (not ignored), ``fields``: counts.
    """
    rng = np.random.default_rng(0)
    objects, found = _tables(scenes, confidence)
    counted = found["kind"] != "ignored"
    rows = {}
    for limit in limits:
        with np.errstate(invalid="ignore"):
            wanted = objects["galaxy"] & ~objects["ignore"] & (objects["magnitude"] < limit)
            bright = counted & (found["magnitude"] < limit)
        iou = objects["iou"][wanted & objects["matched"]]
        rows[f"{limit:g}"] = {
            "completeness": vars(Share(int((wanted & objects["matched"]).sum()), int(wanted.sum()))),
            "purity": vars(Share(int((bright & (found["kind"] == "galaxy")).sum()), int(bright.sum()))),
            "mean_iou": _mean(iou, rng),
            **(average_precision(scenes, limit) if ap else {}),
        }
    return {
        "confidence": confidence,
        "fields": len(scenes),
        "galaxies": int((objects["galaxy"] & ~objects["ignore"]).sum()),
        "detections": int(counted.sum()),
        "unmatched": vars(Share(int((found["kind"] == "none").sum()), int(counted.sum()))),
        "limits": rows,
    }


def average_precision(scenes: Sequence[Scene], limit: float) -> dict[str, Any]:
    """
    AP50 and AP50-95 of galaxies brighter than a limit, by pycocotools with its cap on detections lifted.

    Parameters
    ----------
    scenes : sequence of Scene
        Fields with their truth.
    limit : float
        r magnitude. Fainter galaxies and ignored objects are crowds: detections on them count neither way.
        Detections with no galaxy under them, on stars too, are false.

    Returns
    -------
    dict
        ``ap50`` and ``ap``, each with ``value``, ``low``, ``high`` and ``n`` (galaxies).
    """
    evaluation = coco_evaluation(scenes, limit)
    if evaluation is None:
        with np.errstate(invalid="ignore"):
            n = sum(int((s.truth.galaxy & ~s.truth.ignore & (s.truth.magnitude < limit)).sum()) for s in scenes)
        value = 0.0 if n else float("nan")  # galaxies and no detection at all score 0
        nothing = {"value": value, "low": value, "high": value, "n": n}
        return {"ap50": nothing, "ap": dict(nothing)}
    curve = _Curve.of(evaluation, scenes)
    rng = np.random.default_rng(0)
    whole = curve.ap(np.ones(curve.blocks))
    draws = np.array(
        [curve.ap(rng.multinomial(curve.blocks, np.full(curve.blocks, 1 / curve.blocks))) for _ in range(RESAMPLES)]
    )
    low, high = np.nanpercentile(draws, [16, 84], axis=0)
    n = int(curve.truth.sum())
    return {
        "ap50": {"value": whole[0], "low": float(low[0]), "high": float(high[0]), "n": n},
        "ap": {"value": whole[1], "low": float(low[1]), "high": float(high[1]), "n": n},
    }


def coco_evaluation(scenes: Sequence[Scene], limit: float) -> COCOeval | None:
    """
    Run pycocotools on galaxies brighter than a limit, with no cap on detections.

    Parameters
    ----------
    scenes : sequence of Scene
        Fields with their truth, as images 1, 2, ...
    limit : float
        r magnitude; see `average_precision`.

    Returns
    -------
    COCOeval or None
        Evaluated, not yet accumulated; None where there is no galaxy or no detection.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id, scene in enumerate(scenes, start=1):
        truth = scene.truth.select(scene.truth.galaxy | scene.truth.ignore)
        with np.errstate(invalid="ignore"):
            crowd = truth.ignore | ~(truth.magnitude < limit)
        images.append({"id": image_id, "width": scene.shape[1], "height": scene.shape[0]})
        annotations += coco_annotations(
            truth.xyxy, np.zeros(len(truth), np.int64), crowd, image_id=image_id, first_id=len(annotations) + 1
        )
        found = scene.detections
        boxes = coco_annotations(
            found.xyxy, np.zeros(len(found), np.int64), np.zeros(len(found), np.bool_), image_id=image_id, first_id=1
        )
        results += [
            {"image_id": image_id, "category_id": 1, "bbox": box["bbox"], "score": float(found.confidence[i])}
            for i, box in enumerate(boxes)
        ]
    if not results or not any(not annotation["iscrowd"] for annotation in annotations):
        return None
    truth_set = COCO()
    truth_set.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "galaxy"}]}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth_set.createIndex()
        evaluation = COCOeval(truth_set, truth_set.loadRes(results), "bbox")
        evaluation.params.maxDets = [len(results)]
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    return evaluation


@dataclass(frozen=True, eq=False)
class _Curve:
    """Detections by falling score: true, left out, and in which block of sky; objects counted by block."""

    true: Bools  # (10, N)
    left_out: Bools  # (10, N)
    block: Ints  # (N,)
    truth: Floats  # (blocks,)

    @property
    def blocks(self) -> int:
        return len(self.truth)

    @classmethod
    def of(cls, evaluation: COCOeval, scenes: Sequence[Scene]) -> _Curve:
        true, left_out, scores, block = [], [], [], []
        truth = np.zeros(len(scenes) * BLOCKS**2)
        for image in evaluation.evalImgs:
            if image is None:
                continue
            number = image["image_id"] - 1
            scene = scenes[number]
            found = [evaluation.cocoDt.anns[i]["bbox"] for i in image["dtIds"]]
            scores.append(np.array(image["dtScores"], np.float64))
            true.append(np.asarray(image["dtMatches"]).reshape(len(IOUS), -1) > 0)
            left_out.append(np.asarray(image["dtIgnore"]).reshape(len(IOUS), -1) > 0)
            block.append(_block(found, scene.shape, number))
            wanted = [
                evaluation.cocoGt.anns[i]["bbox"]
                for i, ignored in zip(image["gtIds"], image["gtIgnore"], strict=True)
                if not ignored
            ]
            np.add.at(truth, _block(wanted, scene.shape, number), 1)
        order = np.argsort(-np.concatenate(scores), kind="mergesort")
        return cls(
            np.concatenate(true, axis=1)[:, order],
            np.concatenate(left_out, axis=1)[:, order],
            np.concatenate(block)[order],
            truth,
        )

    def ap(self, weights: npt.NDArray[Any]) -> tuple[float, float]:
        """AP50 and AP50-95 with each block counted ``weights`` times; COCO's 101 recalls."""
        positives = float(weights @ self.truth)
        if positives == 0:
            return float("nan"), float("nan")
        weight = weights[self.block]
        hits = np.cumsum(weight * (self.true & ~self.left_out), axis=1)
        misses = np.cumsum(weight * (~self.true & ~self.left_out), axis=1)
        precision = hits / np.maximum(hits + misses, np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        values = [
            float(np.append(row, 0.0)[np.searchsorted(recall, RECALLS, side="left")].mean())
            for row, recall in zip(envelope, hits / positives, strict=True)
        ]
        return values[0], float(np.mean(values))


def _block(bbox: Sequence[Sequence[float]], shape: tuple[int, int], number: int) -> Ints:
    boxes = np.asarray(bbox, np.float64).reshape(-1, 4)
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    cell = np.clip((centre / np.array([shape[1], shape[0]]) * BLOCKS).astype(np.int64), 0, BLOCKS - 1)
    block: Ints = number * BLOCKS**2 + cell[:, 1] * BLOCKS + cell[:, 0]
    return block


def _tables(scenes: Sequence[Scene], confidence: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Objects (galaxy, ignore, magnitude, matched, iou) and detections (kind, magnitude) of all fields."""
    objects: dict[str, list[Any]] = {name: [] for name in ("galaxy", "ignore", "magnitude", "matched", "iou")}
    found: dict[str, list[Any]] = {"kind": [], "magnitude": []}
    for scene in scenes:
        truth = scene.truth
        kept = scene.detections.select(scene.detections.confidence >= confidence)
        to = match(kept.centres, truth)
        hit = to >= 0
        matched = np.zeros(len(truth), np.bool_)
        matched[to[hit]] = True
        iou = np.full(len(truth), np.nan)
        iou[to[hit]] = iou_of_pairs(kept.xyxy[hit], truth.xyxy[to[hit]])
        for name, values in (("matched", matched), ("iou", iou)):
            objects[name].append(values)
        for name in ("galaxy", "ignore", "magnitude"):
            objects[name].append(getattr(truth, name))
        kind = np.where(truth.ignore, "ignored", np.where(truth.galaxy, "galaxy", "star")).astype("U7")
        found["kind"].append(np.append(kind, "none")[to])
        found["magnitude"].append(np.append(truth.magnitude, np.nan)[to])
    return {k: np.concatenate(v) for k, v in objects.items()}, {k: np.concatenate(v) for k, v in found.items()}


def _mean(values: Floats, rng: np.random.Generator) -> dict[str, float]:
    if len(values) == 0:
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    draws = rng.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(draws, [16, 84])
    return {"value": float(values.mean()), "low": float(low), "high": float(high), "n": len(values)}
