"""
Which detection is of which object, by one rule everywhere.

A detection matches a catalogued object whose centre lies within max(3 px, half the shorter side of that object's box)
of the detection's centre; one to one, galaxies before stars, nearest first. Objects marked ``ignore`` count neither
way. Detections with no object under them are counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from detector.evaluate.statistics import Blocks, Bools, Floats, Ints
from fieldprep.boxes import iou_of_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.detections import Detections
    from fieldprep.catalogues import Sources

LEAST_MATCH_PX = 3.0
BRIGHT_STAR = 15.0  # r magnitude
NONE, GALAXY, STAR, IGNORED = -1, 0, 1, 2  # what is under a detection


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
    pixel_scale : float, optional
        Arcsec per pixel; without it there is no distance to a star in arcsec and no surface brightness.
    """

    detections: Detections
    truth: Sources
    shape: tuple[int, int]
    pixel_scale: float | None = None


@dataclass(frozen=True, eq=False)
class Tables:
    """
    Objects and detections of all scenes, matched.

    Parameters
    ----------
    objects : dict of str to array
        ``kind`` (GALAXY, STAR, IGNORED), ``magnitude``, ``side_px`` (the box's longer side), ``surface_brightness``
        (see `surface_brightness`), ``star_arcsec`` (distance to the nearest bright star), ``block``, ``matched``,
        ``iou`` (with its detection; NaN without).
    found : dict of str to array
        ``kind`` (of the object under it; NONE), ``object`` (its index, -1), ``confidence``, ``side_px``,
        ``star_arcsec``, ``block``, ``scene`` (number of its scene).
    blocks : Blocks
        Blocks of sky.
    """

    objects: dict[str, npt.NDArray[Any]]
    found: dict[str, npt.NDArray[Any]]
    blocks: Blocks

    @property
    def galaxy(self) -> Bools:
        """Which objects are galaxies that are not ignored."""
        return np.asarray(self.objects["kind"] == GALAXY, np.bool_)

    @property
    def counted(self) -> Bools:
        """Which detections are not of ignored objects."""
        return np.asarray(self.found["kind"] != IGNORED, np.bool_)

    def under(self, name: str) -> Floats:
        """A measure of the object under each detection, NaN where there is none."""
        return np.asarray(np.append(self.objects[name].astype(np.float64), np.nan)[self.found["object"]], np.float64)


def match(centres: Floats, truth: Sources, *, confidence: Floats | None = None) -> Ints:
    """
    Which object each detection is of.

    Parameters
    ----------
    centres : 2D float64 `~numpy.ndarray`, shape (N, 2)
        Centres of the detections, x and y in pixels.
    truth : Sources
        Objects, M of them.
    confidence : 1D float64 `~numpy.ndarray`, shape (N,), optional
        If given, the more confident detections choose first, so that each is given what it would be in a catalogue that
        ends with it: among all down to the floor a faint second box may be the nearer one.

    Returns
    -------
    1D int64 `~numpy.ndarray`, shape (N,)
        Index into ``truth``, -1 where no object is under the detection. Galaxies are given out before stars, both
        before ignored objects, and within each kind the nearest pair first.
    """
    found = np.full(len(centres), -1, np.int64)
    if len(centres) == 0 or len(truth) == 0:
        return found
    sides = truth.xyxy[:, 2:] - truth.xyxy[:, :2]
    reach = np.maximum(LEAST_MATCH_PX, sides.min(axis=1) / 2)
    xy = np.stack([truth.x, truth.y], axis=1)
    # the tree compares squares: a little wide first, then by the distance itself
    near = cKDTree(centres).query_ball_point(xy, reach * (1 + 1e-9))
    source = np.repeat(np.arange(len(truth)), [len(some) for some in near])
    detection = np.concatenate([np.asarray(some, np.int64) for some in near])
    distance = np.hypot(*(centres[detection] - xy[source]).T)
    within = distance <= reach[source]
    source, detection, distance = source[within], detection[within], distance[within]
    turn = np.zeros(len(detection)) if confidence is None else -confidence[detection]
    order = np.lexsort((detection, source, distance, kinds(truth)[source], turn))
    taken = np.zeros(len(truth), np.bool_)
    for i in order:
        if found[detection[i]] < 0 and not taken[source[i]]:
            found[detection[i]] = source[i]
            taken[source[i]] = True
    return found


def kinds(truth: Sources) -> Ints:
    """GALAXY, STAR or IGNORED for each object, in the order in which they are given out."""
    return np.where(truth.ignore, IGNORED, np.where(truth.galaxy, GALAXY, STAR)).astype(np.int64)


def matched_tables(scenes: Sequence[Scene], confidence: float) -> Tables:
    """
    Objects and detections of scenes, matched.

    Parameters
    ----------
    scenes : sequence of Scene
        Fields with their truth.
    confidence : float
        Detections under it are left out.

    Returns
    -------
    Tables
    """
    blocks = Blocks(len(scenes))
    parts, first = [], 0
    for number, scene in enumerate(scenes):
        parts.append(_of_scene(scene, confidence, number, first, blocks))
        first += len(scene.truth)
    objects, found = (
        {name: np.concatenate([part[side][name] for part in parts]) for name in parts[0][side]} for side in (0, 1)
    )
    return Tables(objects, found, blocks)


def surface_brightness(scene: Scene) -> tuple[Floats, str]:
    """
    Mean surface brightness of each object, mag per square arcsec, and within what.

    Parameters
    ----------
    scene : Scene
        A field.

    Returns
    -------
    1D float64 `~numpy.ndarray`, shape (N,)
        Within the half-light radius ``petroR50_r`` where the catalogue has one, else within the Petrosian radius; NaN
        where neither is known, as where all radii are one fixed number.
    str
        ``half-light``, ``petrosian`` or empty.
    """
    truth = scene.truth
    if "petroR50_r" in truth.rows.columns:
        radius, light, kind = truth.rows["petroR50_r"].to_numpy(np.float64, na_value=np.nan), 0.5, "half-light"
    elif scene.pixel_scale and len(truth) and np.ptp(truth.radius) > 0:
        radius, light, kind = truth.radius * scene.pixel_scale, 1.0, "petrosian"
    else:
        return np.full(len(truth), np.nan), ""
    area = np.pi * np.where(radius > 0, radius, np.nan) ** 2
    return truth.magnitude + 2.5 * np.log10(area / light), kind


def star_distances(scene: Scene, xy: Floats) -> Floats:
    """Arcsec from each position, shape (N, 2), to the nearest star of r < 15; NaN without such a star or a scale."""
    with np.errstate(invalid="ignore"):
        bright = ~scene.truth.galaxy & (scene.truth.magnitude < BRIGHT_STAR)
    if not scene.pixel_scale or not bright.any() or len(xy) == 0:
        return np.full(len(xy), np.nan)
    distance, _ = cKDTree(np.stack([scene.truth.x, scene.truth.y], axis=1)[bright]).query(xy)
    return np.asarray(distance * scene.pixel_scale, np.float64)


def _of_scene(
    scene: Scene, confidence: float, number: int, first: int, blocks: Blocks
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    truth = scene.truth
    kept = scene.detections.select(scene.detections.confidence >= confidence)
    to = match(kept.centres, truth)
    hit = to >= 0
    matched = np.zeros(len(truth), np.bool_)
    matched[to[hit]] = True
    iou = np.full(len(truth), np.nan)
    iou[to[hit]] = iou_of_pairs(kept.xyxy[hit], truth.xyxy[to[hit]])
    xy = np.stack([truth.x, truth.y], axis=1)
    kind = kinds(truth)
    objects = {
        "kind": kind,
        "magnitude": truth.magnitude,
        "side_px": longer_sides(truth.xyxy),
        "surface_brightness": surface_brightness(scene)[0],
        "star_arcsec": star_distances(scene, xy),
        "block": blocks.of(xy, scene.shape, number),
        "matched": matched,
        "iou": iou,
    }
    found = {
        "kind": np.append(kind, NONE)[to],
        "object": np.where(hit, to + first, -1),
        "confidence": kept.confidence,
        "side_px": longer_sides(kept.xyxy),
        "star_arcsec": star_distances(scene, kept.centres),
        "block": blocks.of(kept.centres, scene.shape, number),
        "scene": np.full(len(kept), number, np.int64),
    }
    return objects, found


def longer_sides(xyxy: Floats) -> Floats:
    """Longer side of each box, shape (N, 4), in pixels, shape (N,)."""
    return np.asarray((xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, initial=0), np.float64)
