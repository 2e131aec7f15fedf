"""Where the light of each detection is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import sep

from fieldprep.boxes import SEMI_MAJOR
from fieldprep.sky import sky_level_and_noise

if TYPE_CHECKING:
    from detector.detections import Detections
    from fieldprep.field import Field, FloatImage

HALF_LIGHT_SHARE = 0.45  # of the Petrosian radius, between a de Vaucouleurs (0.3) and an exponential (0.5) profile
SIGMA_OF_HALF_LIGHT = 2 / 2.355  # SExtractor's window for its windowed positions
FARTHEST_SHARE = 0.25  # a centroid farther than this share of the box's sides from its centre is a neighbour's


def signal_to_noise(field: Field) -> FloatImage:
    """
    Sum of the bands, each over its sky noise.

    Parameters
    ----------
    field : Field
        The field.

    Returns
    -------
    2D float32 `~numpy.ndarray`, shape (ny, nx)
        Sky at 0; 0 where a band has no data.
    """
    total = np.zeros(field.shape, np.float32)
    for image in field.bands.values():
        level, noise = sky_level_and_noise(image, field.mask)
        total += (image - np.float32(level)) / np.float32(noise)
    return np.nan_to_num(total, copy=False)


def centroids(field: Field, detections: Detections) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """
    Windowed centroids of the light in each box.

    Parameters
    ----------
    field : Field
        The field.
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
    centre = detections.centres
    if len(detections) == 0:
        return centre, np.zeros(0, np.bool_)
    sides = detections.xyxy[:, 2:] - detections.xyxy[:, :2]
    radius = sides.max(axis=1) / (2 * SEMI_MAJOR)
    sigma = np.maximum(radius * HALF_LIGHT_SHARE * SIGMA_OF_HALF_LIGHT, 0.8)
    light = signal_to_noise(field)
    x, y, flag = sep.winpos(light, centre[:, 0], centre[:, 1], sigma)
    moved = np.stack([x, y], axis=1)
    flux, _, _ = sep.sum_circle(light, centre[:, 0], centre[:, 1], 2 * sigma)
    # the sky noise of as many pixels: where there is no more light than that, there is no centroid of it
    lit = flux > np.sqrt(len(field.bands) * np.pi) * 2 * sigma
    with np.errstate(invalid="ignore"):
        found: npt.NDArray[np.bool_] = (
            (np.abs(moved - centre) <= FARTHEST_SHARE * sides).all(axis=1)
            & (np.asarray(flag) & sep.APER_ALLMASKED == 0)
            & lit
        )
    return np.where(found[:, None], moved, centre), found
