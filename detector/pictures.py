"""
Scores of detections in pictures that have a reference of what can be seen in them, and no catalogue.

A row is found when a detection's centre lies within max(4 px, half the shorter side of its box) of its
centre. Recall is over the rows that are bright and not ignored. A detection is true when it lies so near any
row, and left out when the row is an ignored one or when it falls into a circle of ``NAME.ignore.csv``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from detector.evaluate import Share
from detector.evaluate.completeness import THRESHOLDS
from detector.evaluate.statistics import mean
from fieldprep.boxes import iou_of_pairs
from fieldprep.catalogues import read_table
from fieldprep.errors import InputError
from fieldprep.reliability import reliability

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector.calibration import Calibration
    from detector.detections import Detections

LEAST_MATCH_PX = 4.0

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Reference:
    """
    What can be seen in a picture.

    Parameters
    ----------
    xy : 2D float64 `~numpy.ndarray`, shape (N, 2)
        Centres, 0-based pixels.
    reach : 1D float64 `~numpy.ndarray`, shape (N,)
        How far from its centre a detection is still of a row, in pixels.
    bright, ignore : 1D bool `~numpy.ndarray`, shape (N,)
        Recall is counted on the bright rows that are not ignored.
    circles : 2D float64 `~numpy.ndarray`, shape (M, 3)
        x, y and radius of regions left out.
    xyxy : 2D float64 `~numpy.ndarray`, shape (N, 4), optional
        Boxes, for the overlaps.
    """

    xy: Floats
    reach: Floats
    bright: Bools
    ignore: Bools
    circles: Floats
    xyxy: Floats | None = None


@dataclass(frozen=True, eq=False)
class PictureScene:
    """A picture's detections and its reference."""

    detections: Detections
    reference: Reference


def read_reference(path: Path) -> Reference:
    """
    Read ``NAME.reference.csv`` and, if it is there, ``NAME.ignore.csv``.

    Parameters
    ----------
    path : path
        The reference: columns ``x, y, x_min, x_max, y_min, y_max, bright, ignore``.

    Returns
    -------
    Reference

    Raises
    ------
    fieldprep.errors.InputError
        If a column is missing.
    """
    table = read_table(path)
    needed = ("x", "y", "x_min", "x_max", "y_min", "y_max", "bright", "ignore")
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise InputError(f"{path}: no column {', '.join(missing)}")
    rows = table[list(needed)].to_numpy(np.float64)
    half = np.minimum(rows[:, 3] - rows[:, 2], rows[:, 5] - rows[:, 4]) / 2
    circles = np.zeros((0, 3))
    beside = path.with_name(path.name.replace("reference", "ignore"))
    if beside != path and beside.exists():
        regions = read_table(beside)
        missing = [name for name in ("x", "y", "radius") if name not in regions.columns]
        if missing:
            raise InputError(f"{beside}: no column {', '.join(missing)}")
        circles = regions[["x", "y", "radius"]].to_numpy(np.float64)
    reach = np.maximum(LEAST_MATCH_PX, half)
    return Reference(rows[:, :2], reach, rows[:, 6] != 0, rows[:, 7] != 0, circles, rows[:, [2, 4, 3, 5]])


def score_pictures(scenes: Sequence[PictureScene], confidence: float) -> dict[str, Any]:
    """
    Recall and purity, pooled over pictures.

    Parameters
    ----------
    scenes : sequence of PictureScene
        Pictures with their reference.
    confidence : float
        Threshold.

    Returns
    -------
    dict
        ``recall`` and ``purity`` (shares with a 68 % interval), ``mean_iou`` (of the rows found, with the nearest
        detection), ``false_per_field``, ``left_out`` and ``fields`` (counts).
    """
    found = wanted = true = false = left_out = 0
    overlaps = [np.zeros(0)]
    for scene in scenes:
        kept = scene.detections.select(scene.detections.confidence >= confidence)
        is_found, verdict = judge(kept.centres, scene.reference)
        counted = scene.reference.bright & ~scene.reference.ignore
        found += int((is_found & counted).sum())
        wanted += int(counted.sum())
        true += int((verdict == 1).sum())
        false += int((verdict == 0).sum())
        left_out += int((verdict == -1).sum())
        overlaps.append(_overlaps(kept, scene.reference, is_found & counted))
    return {
        "fields": len(scenes),
        "recall": vars(Share(found, wanted)),
        "purity": vars(Share(true, true + false)),
        "mean_iou": mean(np.concatenate(overlaps)),
        "false_per_field": false / len(scenes),
        "left_out": left_out,
    }


def score_pictures_in_full(
    scenes: Sequence[PictureScene], confidence: float, *, calibration: Calibration | None = None
) -> dict[str, Any]:
    """
    Scores of pictures, against the threshold too, and whether the confidences are true.

    Parameters
    ----------
    scenes : sequence of PictureScene
        Pictures with their reference.
    confidence : float
        Threshold.
    calibration : Calibration, optional
        What the confidences were made with from the raw ones.

    Returns
    -------
    dict
        What `score_pictures` gives; ``thresholds``: the same at each threshold; ``reliability``: as of
        `detector.evaluate.score_in_full`.
    """
    verdicts = np.concatenate([judge(scene.detections.centres, scene.reference)[1] for scene in scenes])
    values = np.concatenate([scene.detections.confidence for scene in scenes])[verdicts >= 0]
    true = verdicts[verdicts >= 0] == 1
    return {
        **score_pictures(scenes, confidence),
        "thresholds": [{"confidence": value, **score_pictures(scenes, value)} for value in THRESHOLDS],
        "reliability": {
            "given": reliability(values, true),
            **({"raw": reliability(calibration.invert(values), true)} if calibration else {}),
        },
    }


def _overlaps(found: Detections, reference: Reference, rows: Bools) -> Floats:
    """Intersection over union of each chosen row with the detection nearest to it."""
    if reference.xyxy is None or not rows.any():
        return np.zeros(0)
    offset = np.linalg.norm(reference.xy[rows][:, None] - found.centres[None], axis=2)
    return iou_of_pairs(found.xyxy[offset.argmin(axis=1)], reference.xyxy[rows])


def judge(centres: Floats, reference: Reference) -> tuple[Bools, npt.NDArray[np.int64]]:
    """Which rows are found, shape (N,), and the verdict on each detection: 1 true, 0 false, -1 left out."""
    verdict = np.zeros(len(centres), np.int64)
    if len(centres) == 0:
        return np.zeros(len(reference.xy), np.bool_), verdict
    offset = np.linalg.norm(centres[:, None] - reference.xy[None], axis=2)
    near = offset <= reference.reach
    if near.shape[1]:
        nearest = np.where(near, offset, np.inf).argmin(axis=1)
        verdict[near.any(axis=1)] = 1
        verdict[near.any(axis=1) & reference.ignore[nearest]] = -1
    if len(reference.circles):
        inside = np.linalg.norm(centres[:, None] - reference.circles[None, :, :2], axis=2) <= reference.circles[:, 2]
        verdict[inside.any(axis=1)] = -1
    return near.any(axis=0), verdict
