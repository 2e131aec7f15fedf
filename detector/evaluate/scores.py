"""The scores of one field or many, by one set of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detector.evaluate.completeness import AXES, against, against_confidence
from detector.evaluate.matching import GALAXY, IGNORED, NONE, Tables, kinds, match, matched_tables, surface_brightness
from detector.evaluate.precision import ALL, SIZES, average_precision, brighter, overlaps
from detector.evaluate.statistics import Bools, Floats, Share, mean
from fieldprep.reliability import reliability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.calibration import Calibration
    from detector.evaluate.matching import Scene

LIMITS = (19.0, 20.0, 20.5, 21.0, 21.5, ALL)
ASTROCV_CONFIDENCE, ASTROCV_SIDE_PX, ASTROCV_IOU = 0.10, 22.0, 0.5


def score(
    scenes: Sequence[Scene],
    confidence: float,
    limits: Sequence[float] = LIMITS,
    *,
    ap: bool = True,
    curves: bool = False,
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
        r magnitudes; each gives a row "brighter than this"; `ALL` one of all galaxies.
    ap : bool
        Whether to work out average precision too, which takes nearly all the time.
    curves : bool
        Whether its rows hold the precision-recall curve.

    Returns
    -------
    dict
        ``limits``: by magnitude limit (``all`` for `ALL`) ``completeness``, ``purity`` (shares k of n with a 68 %
        interval), ``mean_iou`` (of matched galaxies, n, bootstrap interval), ``completeness_over_22_px`` and
        ``mean_iou_over_22_px`` (of those whose box has a side longer than that), ``ap50`` and ``ap`` (0.50 to 0.95;
        bootstrap over 4 x 4 blocks of each field). ``unmatched``: share of detections with no object under them.
        ``false_per_field``: mean number of detections on stars or on nothing. ``detections``, ``galaxies`` (not
        ignored), ``fields``: counts.
    """
    tables = matched_tables(scenes, confidence)
    found, counted = tables.found, tables.counted
    false = counted & (found["kind"] != GALAXY)
    rows = {}
    for limit in limits:
        wanted = tables.galaxy & brighter(tables.objects["magnitude"], limit)
        bright = counted & (found["kind"] != NONE) & brighter(tables.under("magnitude"), limit)
        large = wanted & (tables.objects["side_px"] > ASTROCV_SIDE_PX)
        rows["all" if limit == ALL else f"{limit:g}"] = {
            "completeness": _found(tables, wanted),
            "purity": vars(Share(int((bright & (found["kind"] == GALAXY)).sum()), int(bright.sum()))),
            "mean_iou": mean(tables.objects["iou"][wanted & tables.objects["matched"]]),
            "completeness_over_22_px": _found(tables, large),
            "mean_iou_over_22_px": mean(tables.objects["iou"][large & tables.objects["matched"]]),
            **(average_precision(scenes, limit, curve=curves) if ap else {}),
        }
    return {
        "confidence": confidence,
        "fields": len(scenes),
        "galaxies": int(tables.galaxy.sum()),
        "detections": int(counted.sum()),
        "unmatched": vars(Share(int((counted & (found["kind"] == NONE)).sum()), int(counted.sum()))),
        "false_per_field": mean(np.bincount(found["scene"][false], minlength=len(scenes)).astype(np.float64)),
        "limits": rows,
    }


def score_in_full(
    scenes: Sequence[Scene], confidence: float, *, calibration: Calibration | None = None
) -> dict[str, Any]:
    """
    All there is to say of fields: the scores, against what they hang on, and whether the confidences are true.

    Parameters
    ----------
    scenes : sequence of Scene
        Fields with their truth, their detections down to the floor of confidence.
    confidence : float
        Threshold of the catalogue.
    calibration : Calibration, optional
        What the confidences were made with from the raw ones.

    Returns
    -------
    dict
        What `score` gives, with curves, and: ``sizes``: by COCO's sizes ``area_px2``, ``ap50``, ``ap``. ``astrocv``: as
        AstroCV counts, see `astrocv_scores`. ``bins``: by measure what `against` gives. ``surface_brightness_within``:
        ``half-light`` or ``petrosian``, empty where it is not known. ``thresholds``: what `against_confidence` gives at
        r < 21 (``21``) and for all (``all``). ``reliability``: what `detector.calibration.reliability` gives of the
        confidences as they are (``given``) and raw (``raw``, where there is a calibration).
    """
    tables = matched_tables(scenes, confidence)
    values, true = labelled_confidences(scenes)
    within = sorted({kind for scene in scenes if (kind := surface_brightness(scene)[1])})
    return {
        **score(scenes, confidence, curves=True),
        "sizes": {
            name: {"area_px2": list(area), **average_precision(scenes, ALL, area=area)} for name, area in SIZES.items()
        },
        "astrocv": {
            "at_0.10": astrocv_scores(scenes, ASTROCV_CONFIDENCE),
            "at_threshold": astrocv_scores(scenes, confidence),
        },
        "bins": {axis.name: against(tables, axis) for axis in AXES},
        "surface_brightness_within": " or ".join(within),
        "thresholds": {"21": against_confidence(scenes, 21.0), "all": against_confidence(scenes, ALL)},
        "reliability": {
            "given": reliability(values, true),
            **({"raw": reliability(calibration.invert(values), true)} if calibration else {}),
        },
    }


def astrocv_scores(scenes: Sequence[Scene], confidence: float) -> dict[str, Any]:
    """
    Recall and mean IoU of all galaxies and of those with boxes over 22 px.

    Parameters
    ----------
    scenes : sequence of Scene
        Fields with their truth.
    confidence : float
        Threshold; AstroCV's is 0.10.

    Returns
    -------
    dict
        ``confidence``; for ``all`` and ``over_22_px`` (longer side): ``recall`` and ``mean_iou`` (of the matched ones)
        by our matching, and as AstroCV's program counts ``best_box_recall`` (share of galaxies that some box overlaps
        by more than 0.5) and ``best_box_iou`` (mean over all galaxies, missed ones too, of the largest overlap).

    References
    ----------
    Gonzalez, Munoz & Hernandez 2018, Astronomy and Computing 25, 103, tables 2 and 3; darknet's detector.c, function
    validate_detector_recall.
    """
    tables = matched_tables(scenes, confidence)
    best = np.concatenate([_best_overlaps(scene, confidence) for scene in scenes])
    parts = {"all": tables.galaxy, "over_22_px": tables.galaxy & (tables.objects["side_px"] > ASTROCV_SIDE_PX)}
    return {"confidence": confidence, **{name: _astrocv(tables, best, chosen) for name, chosen in parts.items()}}


def labelled_confidences(scenes: Sequence[Scene]) -> tuple[Floats, Bools]:
    """
    Confidences of all detections with whether a galaxy is there, those of ignored objects left out.

    The more confident detections choose their objects first; see `match`.

    Parameters
    ----------
    scenes : sequence of Scene
        Fields with their truth.

    Returns
    -------
    1D float64 `~numpy.ndarray`, shape (N,)
    1D bool `~numpy.ndarray`, shape (N,)
    """
    values, kind = [], []
    for scene in scenes:
        found = scene.detections
        to = match(found.centres, scene.truth, confidence=found.confidence)
        values.append(found.confidence)
        kind.append(np.append(kinds(scene.truth), NONE)[to])
    under = np.concatenate(kind)
    return np.concatenate(values)[under != IGNORED], under[under != IGNORED] == GALAXY


def _found(tables: Tables, wanted: Bools) -> dict[str, Any]:
    return vars(Share(int((wanted & tables.objects["matched"]).sum()), int(wanted.sum())))


def _astrocv(tables: Tables, best: Floats, chosen: Bools) -> dict[str, Any]:
    matched = chosen & tables.objects["matched"]
    n = int(chosen.sum())
    return {
        "recall": _found(tables, chosen),
        "mean_iou": mean(tables.objects["iou"][matched]),
        "best_box_recall": vars(Share(int((best[chosen] > ASTROCV_IOU).sum()), n)),
        "best_box_iou": mean(best[chosen]),
    }


def _best_overlaps(scene: Scene, confidence: float) -> Floats:
    """Largest overlap of each object with any detection, shape (N,)."""
    kept = scene.detections.xyxy[scene.detections.confidence >= confidence]
    best = np.zeros(len(scene.truth))
    _, source, overlap = overlaps(kept, scene.truth.xyxy, np.zeros(len(best), np.bool_), 1e-9)
    np.maximum.at(best, source, overlap)
    return best
