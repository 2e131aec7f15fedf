"""How far a catalogue's positions are from the light in the frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import sep

from fieldprep.sky import sky_level_and_noise
from fullfield.photometry import HALF_LIGHT_SHARE, SIGMA_OF_HALF_LIGHT

if TYPE_CHECKING:
    from fieldprep.catalogues import Sources
    from fieldprep.field import Field

BRIGHT_SIGMA = 50.0  # galaxies with so much light over the noise in their window have a centroid worth asking for
FARTHEST_SHARE = 0.5  # of the radius: a centroid farther away is a neighbour's


def centre_errors(field: Field, sources: Sources) -> npt.NDArray[np.float64]:
    """
    Distances of catalogued galaxies from the windowed centroids of their light.

    Parameters
    ----------
    field : Field
        The field; its middle band is looked at (r in SDSS).
    sources : Sources
        What the catalogue says is there.

    Returns
    -------
    1D float64 `~numpy.ndarray`
        In pixels, one for each galaxy that is bright enough, not ignored and not under a neighbour; their median is
        half a pixel or more where catalogue and frames do not agree on where pixel (0, 0) or the sky is.

    References
    ----------
    Bertin, SExtractor manual, "Windowed positional parameters"; `sep.winpos`.
    """
    asked = sources.select(sources.galaxy & ~sources.ignore & (sources.radius > 0))
    if not len(asked):
        return np.zeros(0)
    band = list(field.bands)[len(field.bands) // 2]
    level, noise = sky_level_and_noise(field.bands[band], field.mask)
    light = np.nan_to_num(field.bands[band] - np.float32(level))
    sigma = np.maximum(asked.radius * HALF_LIGHT_SHARE * SIGMA_OF_HALF_LIGHT, 0.8)
    flux, error, _ = sep.sum_circle(light, asked.x, asked.y, 2 * sigma, err=noise)
    bright = flux > BRIGHT_SIGMA * error
    asked, sigma = asked.select(bright), sigma[bright]
    x, y, _ = sep.winpos(light, asked.x, asked.y, sigma)
    distance = np.hypot(x - asked.x, y - asked.y)
    return np.asarray(distance[distance < FARTHEST_SHARE * asked.radius], np.float64)
