"""
Average precision as COCO defines it, with no cap on detections.

Overlaps are pycocotools' own; its matching, which compares every detection with every object in Python, is done over
the pairs that overlap, so that thousands of objects in a field take seconds. Tests hold the figures equal to
pycocotools'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask

from detector.evaluate.statistics import Blocks, Bools, Floats, Ints, interval
from fieldprep.boxes import CORNER, areas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.detections import Detections
    from detector.evaluate.matching import Scene
    from fieldprep.catalogues import Sources

ALL = math.inf  # the limit that every galaxy is brighter than, those without a magnitude too
IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
ANY_AREA = (0.0, 1e10)
# COCO's, in square pixels of the object's box
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
_ROWS_AT_ONCE = 512


def brighter(magnitude: Floats, limit: float) -> Bools:
    """Which magnitudes are brighter than a limit; all, also those that are not known, for `ALL`."""
    with np.errstate(invalid="ignore"):
        return np.asarray((magnitude < limit) | (limit == ALL), np.bool_)


def average_precision(
    scenes: Sequence[Scene], limit: float, *, area: tuple[float, float] = ANY_AREA, curve: bool = False
) -> dict[str, Any]:
    """
    AP50 and AP50-95 of galaxies brighter than a limit.

    Parameters
    ----------
    scenes : sequence of Scene
        Fields with their truth.
    limit : float
        r magnitude, or `ALL`. Fainter galaxies and ignored objects are crowds: detections on them count neither way.
        Detections with no galaxy under them, on stars too, are false.
    area : (float, float)
        Least and largest area of a box, in square pixels; galaxies of others, and false detections of others, are left
        out.
    curve : bool
        Whether to give the precision-recall curve too.

    Returns
    -------
    dict
        ``ap50`` and ``ap``, each with ``value``, ``low``, ``high`` (bootstrapped over blocks of sky) and ``n``
        (galaxies). ``curve``: at COCO's 101 recalls, ``recall``, ``precision`` at IoU 0.50 and 0.75 (``precision_50``,
        ``precision_75``), and the ``confidence`` at which IoU 0.50 reaches it (null where it is not reached).

    References
    ----------
    Lin et al. 2014, ECCV, 740 (COCO); pycocotools' cocoeval.py.
    """
    ranked = _Ranked.of(scenes, limit, area)
    n = int(ranked.truth.sum())
    whole = ranked.ap(np.ones(len(ranked.truth)))
    draws = np.array([ranked.ap(weight) for weight in ranked.blocks.draws()]) if n and len(ranked.block) else None
    out: dict[str, Any] = {}
    for i, name in enumerate(("ap50", "ap")):
        low, high = interval(draws[:, i]) if draws is not None else (whole[i], whole[i])
        out[name] = {"value": whole[i], "low": low, "high": high, "n": n}
    if curve:
        out["curve"] = ranked.curve()
    return out


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Detections by falling confidence: true, left out, and in which block of sky; objects counted by block."""

    true: Bools  # (10, N)
    left_out: Bools  # (10, N)
    confidence: Floats  # (N,)
    block: Ints  # (N,)
    truth: Floats  # (blocks,)
    blocks: Blocks

    @classmethod
    def of(cls, scenes: Sequence[Scene], limit: float, area: tuple[float, float]) -> _Ranked:
        blocks = Blocks(len(scenes))
        truth = np.zeros(len(blocks))
        parts = []
        for number, scene in enumerate(scenes):
            wanted = scene.truth.select(scene.truth.galaxy | scene.truth.ignore)
            crowd = wanted.ignore | ~brighter(wanted.magnitude, limit)
            ignore = crowd | ~_within(wanted.xyxy, area)
            order = np.argsort(-scene.detections.confidence, kind="mergesort")
            found = scene.detections.select(order)
            to = _assign(found, wanted, crowd, ignore)
            outside = (to < 0) & ~_within(found.xyxy, area)
            left_out = np.append(ignore, False)[to] | outside
            parts.append((to >= 0, left_out, found.confidence, blocks.of(found.centres, scene.shape, number)))
            middle = (wanted.xyxy[:, :2] + wanted.xyxy[:, 2:]) / 2
            np.add.at(truth, blocks.of(middle[~ignore], scene.shape, number), 1)
        true, left_out, confidence, block = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
        order = np.argsort(-confidence, kind="mergesort")
        return cls(true[:, order], left_out[:, order], confidence[order], block[order], truth, blocks)

    def ap(self, weights: npt.NDArray[Any]) -> tuple[float, float]:
        """AP50 and AP50-95 with each block counted ``weights`` times."""
        positives = float(weights @ self.truth)
        if positives == 0:
            return float("nan"), float("nan")
        precision, _ = self.precision(weights, positives)
        values = precision.mean(axis=1)
        return float(values[0]), float(values.mean())

    def precision(self, weights: npt.NDArray[Any], positives: float) -> tuple[Floats, Ints]:
        """Precision at the 101 recalls, shape (10, 101), and the rank at which each is reached."""
        weight = weights[self.block]
        hits = np.cumsum(weight * (self.true & ~self.left_out), axis=1)
        misses = np.cumsum(weight * (~self.true & ~self.left_out), axis=1)
        precision = hits / np.maximum(hits + misses, np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        rank = np.array([np.searchsorted(recall, RECALLS, side="left") for recall in hits / positives], np.int64)
        padded = np.concatenate([envelope, np.zeros((len(IOUS), 1))], axis=1)
        return np.take_along_axis(padded, rank, axis=1), rank

    def curve(self) -> dict[str, list[float]]:
        """Precision at IoU 0.50 and 0.75 against recall."""
        positives = float(self.truth.sum())
        if positives == 0:
            return {}
        precision, rank = self.precision(np.ones(len(self.truth)), positives)
        confidence = np.append(self.confidence, np.nan)[rank[0]]
        return {
            "recall": RECALLS.tolist(),
            "precision_50": precision[0].tolist(),
            "precision_75": precision[5].tolist(),
            "confidence": confidence.tolist(),
        }


def overlaps(found: Floats, truth: Floats, crowd: Bools, least: float) -> tuple[Ints, Ints, Floats]:
    """
    Pairs of boxes that overlap, and by how much.

    Parameters
    ----------
    found, truth : 2D float64 `~numpy.ndarray`, shape (N, 4), (M, 4)
        Boxes.
    crowd : 1D bool `~numpy.ndarray`, shape (M,)
        Where True the overlap is the share of the detection that lies in the box, else intersection over union.
    least : float
        Pairs that overlap less are left out.

    Returns
    -------
    1D int64, 1D int64, 1D float64 `~numpy.ndarray`
        Indices of detections (rising) and of objects (rising for each), and overlaps.
    """
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    boxes, known = _xywh(found), _xywh(truth)
    for start in range(0, len(boxes) if len(known) else 0, _ROWS_AT_ONCE):
        table = np.asarray(mask.iou(boxes[start : start + _ROWS_AT_ONCE], known, crowd.astype(np.uint8)))
        row, column = np.nonzero(table >= least)
        parts.append((row + start, column, table[row, column]))
    detection, source, overlap = (np.concatenate(part) for part in zip(*parts, strict=True))
    return detection, source, overlap


def _assign(found: Detections, truth: Sources, crowd: Bools, ignore: Bools) -> Ints:
    """Object of each detection at each IoU, shape (10, N), -1 for none; as pycocotools' evaluateImg gives them out."""
    detection, source, overlap = overlaps(found.xyxy, truth.xyxy, crowd, float(IOUS[0]))
    # ignored objects come after the others, as they do there
    order = np.lexsort((source, ignore[source], detection))
    starts = np.flatnonzero(np.diff(detection[order], prepend=-1))
    candidates = [
        (int(detection[pairs[0]]), [(int(source[i]), float(overlap[i])) for i in pairs])
        for pairs in np.split(order, starts[1:])
        if len(pairs)
    ]
    to = np.full((len(IOUS), len(found)), -1, np.int64)
    for row, least in zip(to, IOUS, strict=True):
        taken: set[int] = set()
        for number, pairs in candidates:
            best, most = -1, min(float(least), 1 - 1e-10)
            for i, iou in pairs:
                if i in taken and not crowd[i]:
                    continue
                if best >= 0 and ignore[i] and not ignore[best]:
                    break
                if iou >= most:
                    best, most = i, iou
            row[number] = best
            if best >= 0:
                taken.add(best)
    return to


def _within(xyxy: Floats, area: tuple[float, float]) -> Bools:
    size = areas(xyxy)
    return np.asarray((size >= area[0]) & (size <= area[1]), np.bool_)


def _xywh(xyxy: Floats) -> Floats:
    return np.ascontiguousarray(np.concatenate([xyxy[:, :2] + CORNER, xyxy[:, 2:] - xyxy[:, :2]], axis=1))
