"""An exposure as it is once calibrated: its planes, and the bits that say why a pixel is not to be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fieldprep.field import FloatImage

FlagImage = npt.NDArray[np.uint8]

# bits of a mask: why a pixel is not to be used
NO_DATA, SATURATED, BAD_PIXEL, COSMIC_RAY = (np.uint8(1 << bit) for bit in range(4))
MASK_BITS = {"no exposure": NO_DATA, "saturated": SATURATED, "bad pixel": BAD_PIXEL, "cosmic ray": COSMIC_RAY}


@dataclass(frozen=True, eq=False)
class Calibrated:
    """
    An exposure in electrons a second.

    Parameters
    ----------
    value : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Sky subtracted. Bad pixels and cosmic rays hold what their neighbours suggest, saturated ones what they read.
    variance : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Of the exposure's own noise.
    common_variance : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Of the noise of the masters, the same in every exposure they correct.
    flags : 2D uint8 `~numpy.ndarray`, shape (ny, nx)
        Bits of `MASK_BITS`.
    sky, noise : float
        Level that was subtracted and its scatter.
    wcs : `~astropy.wcs.WCS` or None
        Of the exposure, trim followed.
    """

    value: FloatImage
    variance: FloatImage
    common_variance: FloatImage
    flags: FlagImage
    sky: float
    noise: float
    wcs: Any
