"""Completeness and purity against magnitude, size, surface brightness, distance to a bright star, and confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.evaluate.matching import BRIGHT_STAR, GALAXY, NONE, Scene, Tables, kinds, match
from detector.evaluate.precision import brighter
from detector.evaluate.statistics import Bools, Floats, Share, resampled_shares

if TYPE_CHECKING:
    from collections.abc import Sequence

THRESHOLDS = (
    0.02,
    0.05,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.35,
    0.4,
    0.45,
    0.5,
    0.55,
    0.6,
    0.65,
    0.7,
    0.75,
    0.8,
    0.85,
    0.9,
    0.95,
)
MOST_BINS = 16


class Axis(NamedTuple):
    """What completeness is told against: its name in the tables, its words, the bins' inner edges if they are set."""

    name: str
    words: str
    edges: tuple[float, ...] = ()
    own: bool = False  # whether a detection has it without an object under it


AXES = (
    Axis("magnitude", "r magnitude"),
    Axis("side_px", "longer side of the box [px]", (12, 16, 22, 32, 48, 64, 96), own=True),
    Axis("surface_brightness", "mean surface brightness [mag/arcsec²]"),
    Axis(
        "star_arcsec", f"distance to the nearest star of r < {BRIGHT_STAR:g} [arcsec]", (10, 20, 40, 80, 160), own=True
    ),
)


def against(tables: Tables, axis: Axis) -> list[dict[str, Any]]:
    """
    Completeness and purity in bins of a measure.

    Parameters
    ----------
    tables : Tables
        Objects and detections, matched.
    axis : Axis
        Which measure.

    Returns
    -------
    list of dict
        By bin ``low``, ``high`` (None: open), ``median`` (of its galaxies), ``completeness`` (of its galaxies, those
        matched), ``purity`` (of the detections matched to its objects, those on galaxies) and, for what a detection has
        of its own, ``unmatched`` (of the detections in the bin, those with no object under them); each a share with its
        68 % interval, as `resampled_shares` gives it. Bins without any galaxy or detection are left out; empty where
        the measure is not known.
    """
    galaxy, counted = tables.galaxy, tables.counted
    of_objects = tables.objects[axis.name].astype(np.float64)
    edges = np.array(axis.edges or _edges(of_objects[galaxy]), np.float64)
    n = len(edges) + 1
    on_galaxy = np.asarray(tables.found["kind"] == GALAXY, np.bool_)
    shares = {
        "completeness": _shares(of_objects, galaxy, tables.objects["matched"], tables.objects["block"], edges, tables),
        "purity": _shares(tables.under(axis.name), counted, on_galaxy, tables.found["block"], edges, tables),
    }
    if axis.own:
        nothing = np.asarray(tables.found["kind"] == NONE, np.bool_)
        own = tables.found[axis.name]
        shares["unmatched"] = _shares(own, counted, nothing, tables.found["block"], edges, tables)
    bounds = [None, *edges.tolist(), None]
    bins = _bins(of_objects, galaxy, edges)
    return [
        {
            "low": bounds[i],
            "high": bounds[i + 1],
            "median": float(np.median(of_objects[bins == i])) if (bins == i).any() else float("nan"),
            **{name: values[i] for name, values in shares.items()},
        }
        for i in range(n)
        if any(values[i]["n"] for values in shares.values())
    ]


def against_confidence(scenes: Sequence[Scene], limit: float) -> list[dict[str, Any]]:
    """
    Completeness, purity and false detections against the threshold.

    Parameters
    ----------
    scenes : sequence of Scene
        Fields with their truth.
    limit : float
        r magnitude of completeness and purity; see `brighter`.

    Returns
    -------
    list of dict
        By threshold ``confidence``, ``completeness``, ``purity`` (shares) and ``false_per_field``: detections on stars
        or on nothing, whatever their magnitude.
    """
    rows = []
    for threshold in THRESHOLDS:
        found = wanted = pure = matched = false = 0
        for scene in scenes:
            kind, bright = kinds(scene.truth), brighter(scene.truth.magnitude, limit)
            to = match(scene.detections.centres[scene.detections.confidence >= threshold], scene.truth)
            under = np.append(kind, NONE)[to]
            near = np.append(bright, False)[to]
            wanted += int(((kind == GALAXY) & bright).sum())
            pure += int((near & (under == GALAXY)).sum())
            matched += int((near & (under >= 0) & (under <= 1)).sum())
            false += int(((under != GALAXY) & (under <= 1)).sum())
            found = pure
        rows.append(
            {
                "confidence": threshold,
                "completeness": vars(Share(found, wanted)),
                "purity": vars(Share(pure, matched)),
                "false_per_field": false / len(scenes),
            }
        )
    return rows


def _shares(
    values: Floats, chosen: Bools, hit: npt.NDArray[Any], block: npt.NDArray[Any], edges: Floats, tables: Tables
) -> list[dict[str, Any]]:
    return resampled_shares(_bins(values, chosen, edges), hit, block, len(edges) + 1, tables.blocks)


def _bins(values: Floats, chosen: Bools, edges: Floats) -> npt.NDArray[np.int64]:
    """Bin of each value, the lower edge belonging to it; -1 where it is not known or not chosen."""
    return np.where(chosen & np.isfinite(values), np.digitize(values, edges), -1).astype(np.int64)


def _edges(values: Floats) -> list[float]:
    """Whole and half magnitudes (whole ones where there were too many) between the 2nd and the 98th percentile."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return []
    low, high = np.percentile(known, [2, 98])
    step = 0.5 if (high - low) < 0.5 * MOST_BINS else 1.0
    return [float(edge) for edge in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step]
