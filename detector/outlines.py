"""Boxes from the light: that of the Petrosian ellipse of what a box holds, wherever it can be told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from detector.detect import at_edge
from detector.detections import Flag
from detector.merging import SAME_OBJECT_IOU, overlapping_pairs
from fieldprep.boxes import areas, clip_boxes, iou_of_pairs, petrosian_boxes
from fieldprep.census import extracted
from fieldprep.levels import white_of
from fieldprep.light import signal_to_noise
from fieldprep.mosaic import Mosaic, middle_part
from fieldprep.petrosian import petrosian_radii
from fieldprep.tiles import tiles

if TYPE_CHECKING:
    import numpy.typing as npt

    from detector.detections import Detections
    from fieldprep.field import Field
    from fieldprep.light import Levels
    from fieldprep.mosaic import Sky

    Floats = npt.NDArray[np.float64]

AS_GOOD = 20.0  # signal to noise at which the light tells a size as well as the network does; docs/detector.md
LEAST_IOU = 0.1  # with the network's box: what is farther from it is of a neighbour, or of several objects together
LEAST_IF_SMALLER = 0.3  # the same: SEP takes a well resolved galaxy apart, and its nucleus alone is no galaxy
LEAST_REACH_PX, REACH_SHARE = 2.0, 0.25  # of the box's shorter side: how far its object's centroid may be
SEARCHED = 1.8  # half the longer sides: a radius larger than that would make a box under `LEAST_IOU`
WINDOW_PX, OVERLAP_PX = 2048, 768  # of a mosaic
LARGEST_PX = 256  # longer side of a box that is measured in a mosaic's windows


def outlined(sky: Sky, found: Detections) -> Detections:
    """
    Detections with boxes measured on the light.

    Parameters
    ----------
    sky : Field or Mosaic
        The field; a mosaic is read by windows, and galaxies over 256 px in it keep their boxes. So does everything
        in a display picture, whose values are no measure of light.
    found : Detections
        By falling confidence.

    Returns
    -------
    Detections
        A box becomes that of the Petrosian ellipse (`fieldprep.boxes.petrosian_boxes`) of the object that SEP sees
        about its centre: the radius of `fieldprep.petrosian`, the shape of the light over the threshold, all bands
        together. Its sides are averaged with the network's in the logarithm, the square of the object's signal to noise
        against that of 20 sigma. Only the most confident box of an object changes; and none that was drawn so
        differently that the two overlap by less than a tenth, or by less than 0.3 where it is the larger. A box that
        overlaps a more confident one by more than a half after that is dropped.
    """
    if not len(found) or white_of(middle_part(sky)) is not None:
        return found
    xyxy = _by_windows(sky, found.xyxy) if isinstance(sky, Mosaic) else _measured(sky, sky.sky_levels, found.xyxy)
    first, second, _ = overlapping_pairs(xyxy, found.class_id, SAME_OBJECT_IOU)
    kept = np.ones(len(found), np.bool_)
    kept[np.maximum(first, second)] = False
    flags = (found.flags & ~Flag.EDGE) | Flag.EDGE * at_edge(xyxy, sky.shape)
    return replace(found, xyxy=xyxy, flags=flags).select(kept)


def _by_windows(mosaic: Mosaic, xyxy: Floats) -> Floats:
    levels = mosaic.sample().sky_levels
    centres, small = (xyxy[:, :2] + xyxy[:, 2:]) / 2, (xyxy[:, 2:] - xyxy[:, :2]).max(axis=1) <= LARGEST_PX
    measured = xyxy.copy()
    for tile in tiles(mosaic.shape, WINDOW_PX, OVERLAP_PX):
        low, high = (tile.core.x0 - 0.5, tile.core.y0 - 0.5), (tile.core.x1 - 0.5, tile.core.y1 - 0.5)
        inside = np.flatnonzero(small & (centres >= low).all(axis=1) & (centres < high).all(axis=1))
        if len(inside):
            corner = np.array([tile.window.x0, tile.window.y0] * 2)
            part = _measured(mosaic.window(tile.window), levels, xyxy[inside] - corner)
            measured[inside] = part + corner
    return measured


def _measured(field: Field, levels: Levels, xyxy: Floats) -> Floats:
    """Boxes of a field, by falling confidence, measured where that can be done."""
    light = signal_to_noise(field, levels)
    seen = extracted(np.where(field.mask, np.float32(np.nan), light))
    if not len(seen.objects):
        return xyxy
    objects = seen.objects
    centres, sides = (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]
    distance, nearest = cKDTree(np.stack([objects["x"], objects["y"]], axis=1)).query(centres)
    reached = np.flatnonzero(distance <= np.maximum(LEAST_REACH_PX, REACH_SHARE * sides.min(axis=1)))
    # the first of each object is its most confident
    chosen = reached[np.unique(nearest[reached], return_index=True)[1]]
    which = nearest[chosen]
    radius = petrosian_radii(seen, which, SEARCHED * sides[chosen].max(axis=1))
    told = np.isfinite(radius)
    chosen, which, radius = chosen[told], which[told], radius[told]
    x, y, a, b, theta = (objects[name][which] for name in ("x", "y", "a", "b", "theta"))
    boxes = petrosian_boxes(x, y, radius, b / a, np.degrees(theta))
    on_field = clip_boxes(boxes, field.shape)
    smaller = areas(on_field) < areas(xyxy[chosen])
    near = iou_of_pairs(on_field, xyxy[chosen]) >= np.where(smaller, LEAST_IF_SMALLER, LEAST_IOU)
    strength = seen.signal_to_noise[which]
    share = (strength**2 / (strength**2 + AS_GOOD**2))[:, None]
    half = (boxes[:, 2:] - boxes[:, :2]) ** share * sides[chosen] ** (1 - share) / 2
    middle_of = (boxes[:, :2] + boxes[:, 2:]) / 2
    averaged = clip_boxes(np.concatenate([middle_of - half, middle_of + half], axis=1), field.shape)
    measured = xyxy.copy()
    measured[chosen[near]] = averaged[near]
    return measured
