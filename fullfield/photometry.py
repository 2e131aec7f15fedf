"""Where the light of each detection is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import sep

from fieldprep.boxes import CORNER, SEMI_MAJOR
from fieldprep.field import Field
from fieldprep.light import signal_to_noise
from fieldprep.tiles import Window

if TYPE_CHECKING:
    from detector.detections import Detections
    from fieldprep.field import FloatImage
    from fieldprep.mosaic import Mosaic, Sky

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

HALF_LIGHT_SHARE = 0.45  # of the Petrosian radius, between a de Vaucouleurs (0.3) and an exponential (0.5) profile
SIGMA_OF_HALF_LIGHT = 2 / 2.355  # SExtractor's window for its windowed positions
WINDOW_PX = 2048  # side of the cells whose detections are measured in one window of a mosaic
LARGEST_PX = 1024  # longest side of a box measured in a mosaic's own pixels
# of a box's longer side, about its centre: what is summed reaches to 4 sigma, 0.73 of it, from where the centroid
# moves to, which is within a quarter of the sides
MARGIN = 1.0
LEAST_PX = 8.0  # no sigma is so small that it would need less
FARTHEST_SHARE = 0.25  # a centroid farther than this share of the box's sides from its centre is a neighbour's


def centroids(field: Sky, detections: Detections) -> tuple[Floats, Bools]:
    """
    Windowed centroids of the light in each box.

    Parameters
    ----------
    field : Field or Mosaic
        The field; a mosaic is read by windows, averaged down for what is too large for one.
    detections : Detections
        Its detections.

    Returns
    -------
    xy : 2D float64 `~numpy.ndarray`, shape (N, 2)
        Centroids in 0-based pixels; the box's centre where none was found.
    found : 1D bool `~numpy.ndarray`, shape (N,)
        Whether one was found: there is light over the noise, the iteration converged and stayed within a
        quarter of the box's sides of its centre.

    References
    ----------
    Bertin, SExtractor manual, "Windowed positional parameters"; `sep.winpos`.
    """
    xy, found = detections.centres, np.zeros(len(detections), np.bool_)
    if not len(detections):
        return xy, found
    if isinstance(field, Field):
        return _centroids(signal_to_noise(field), detections.xyxy, len(field.bands))
    sides = (detections.xyxy[:, 2:] - detections.xyxy[:, :2]).max(axis=1)
    scales = 2 ** np.ceil(np.log2(np.maximum(sides / LARGEST_PX, 1))).astype(np.int64)
    for scale in np.unique(scales):
        chosen = np.flatnonzero(scales == scale)
        scaled = field if scale == 1 else field.binned(int(scale))
        part = _by_windows(scaled, (detections.xyxy[chosen] + CORNER) / scale - CORNER)
        xy[chosen], found[chosen] = (part[0] + CORNER) * scale - CORNER, part[1]
    return xy, found


def _by_windows(mosaic: Mosaic, xyxy: Floats) -> tuple[Floats, Bools]:
    """Centroids in a mosaic of boxes no larger than `LARGEST_PX`, those of one window at a time."""
    levels = mosaic.sample().sky_levels
    centres = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    xy, found = centres.copy(), np.zeros(len(xyxy), np.bool_)
    cell = (centres + CORNER) // WINDOW_PX
    ny, nx = mosaic.shape
    for column, row in np.unique(cell, axis=0):
        inside = np.flatnonzero((cell == (column, row)).all(axis=1))
        reach = MARGIN * np.maximum(xyxy[inside, 2:] - xyxy[inside, :2], LEAST_PX).max(axis=1, keepdims=True)
        low = np.maximum(np.floor((centres[inside] - reach).min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil((centres[inside] + reach).max(axis=0)) + 1, [nx, ny]).astype(int)
        light = signal_to_noise(mosaic.window(Window(low[0], low[1], high[0], high[1])), levels)
        corner = np.concatenate([low, low])
        part = _centroids(light, xyxy[inside] - corner, len(mosaic.bands))
        xy[inside], found[inside] = part[0] + low, part[1]
    return xy, found


def _centroids(light: FloatImage, xyxy: Floats, bands: int) -> tuple[Floats, Bools]:
    """Centroids in an image of so many bands' light over their noise; the boxes' centres where none was found."""
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    sides = xyxy[:, 2:] - xyxy[:, :2]
    radius = sides.max(axis=1) / (2 * SEMI_MAJOR)
    sigma = np.maximum(radius * HALF_LIGHT_SHARE * SIGMA_OF_HALF_LIGHT, 0.8)
    x, y, flag = sep.winpos(light, centre[:, 0], centre[:, 1], sigma)
    moved = np.stack([x, y], axis=1)
    flux, _, _ = sep.sum_circle(light, centre[:, 0], centre[:, 1], 2 * sigma)
    # the sky noise of as many pixels: where there is no more light than that, there is no centroid of it
    lit = flux > np.sqrt(bands * np.pi) * 2 * sigma
    with np.errstate(invalid="ignore"):
        found: Bools = (
            (np.abs(moved - centre) <= FARTHEST_SHARE * sides).all(axis=1)
            & (np.asarray(flag) & sep.APER_ALLMASKED == 0)
            & lit
        )
    return np.where(found[:, None], moved, centre), found
