"""
The textbook pictures: a linear stretch, its logarithm, its power, and its colours turned by a 3 x 3 matrix.

References
----------
Nunez Beltran & Reyes Sierra 2023, "Galaxy morphology classification using artificial neural networks",
appendix A.1.6 and A.1.7. Its formulas have free constants, which the text leaves to "the desired outcome".
Ours: each band is first stretched linearly between two limits of its own, its sky less one sigma and its sky
plus 100 sigma (the paper's "min value" and "max value": a frame's own would be its worst pixel and its
brightest star, and all else black); the "pixel value" of the other formulas is what comes of that, 0 .. 255.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldprep.sky import sky_level_and_noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from fieldprep.field import FloatImage

    Picture = npt.NDArray[np.uint8]
    Stretch = Callable[[FloatImage], Picture]

BLACK, WHITE = -1.0, 100.0  # sigma from the sky: the limits of the linear stretch
GAMMA = 1 / 2.2  # of a display
# the example of A.1.7: red up by a fifth less a tenth of green, green down by a tenth
WARMER = ((1.2, -0.1, 0.0), (0.0, 0.9, 0.0), (0.0, 0.0, 1.0))


def linear(reference: FloatImage) -> Stretch:
    """
    LIN: (x - min) / (max - min) x 255, min the sky less one sigma, max the sky plus 100 sigma.

    Parameters
    ----------
    reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in any unit, with or without a sky level: what the limits are measured on.

    Returns
    -------
    callable
        The stretch; see `fieldprep.variants`.

    References
    ----------
    Appendix A.1.6, linear stretch.
    """
    stretched = _stretch(reference)
    return lambda flux: _eight_bits(stretched(flux))


def logarithm(reference: FloatImage) -> Stretch:
    """
    LOG: c log(1 + x) of the linear stretch, with the c that leaves white white, 255 / log(256).

    Parameters
    ----------
    reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in any unit, with or without a sky level: what the limits are measured on.

    Returns
    -------
    callable
        The stretch; see `fieldprep.variants`.

    References
    ----------
    Appendix A.1.6, non-linear stretch.
    """
    stretched = _stretch(reference)
    return lambda flux: _eight_bits(np.float32(255 / np.log(256)) * np.log1p(stretched(flux)))


def gamma(reference: FloatImage) -> Stretch:
    """
    GAM: x to the power 1 / 2.2 of the linear stretch, on a scale where white is 1.

    Parameters
    ----------
    reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in any unit, with or without a sky level: what the limits are measured on.

    Returns
    -------
    callable
        The stretch; see `fieldprep.variants`.

    References
    ----------
    Appendix A.1.6, gamma correction. A power of 0 .. 255 itself would leave that range.
    """
    stretched = _stretch(reference)
    return lambda flux: _eight_bits(255 * np.power(stretched(flux) / 255, np.float32(GAMMA)))


def warmer(reference: FloatImage) -> Stretch:
    """
    MAT: LIN, its colours turned by the paper's example of a matrix.

    Parameters
    ----------
    reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in any unit, with or without a sky level: what the limits are measured on.

    Returns
    -------
    callable
        The stretch; see `fieldprep.variants`.

    References
    ----------
    Appendix A.1.7.
    """
    stretched = _stretch(reference)
    return lambda flux: _eight_bits(colour_matrix(stretched(flux), WARMER))


def colour_matrix(rgb: npt.ArrayLike, matrix: npt.ArrayLike) -> FloatImage:
    """
    Colours turned by a matrix: each new channel is a weighted sum of the old ones.

    Parameters
    ----------
    rgb : array-like, shape (..., 3)
        R, G, B.
    matrix : array-like, shape (3, 3)
        ``new = matrix @ (R, G, B)`` for each pixel.

    Returns
    -------
    float32 `~numpy.ndarray`, shape (..., 3)
        Not cut to any range.

    Raises
    ------
    ValueError
        If the matrix is not 3 x 3.

    References
    ----------
    Appendix A.1.7. The text has the matrix act "after aligning and combining the channels into an RGB image"
    and, at its end, before they are combined; the former is taken, so it acts on stretched values. With a
    linear stretch from a common black the two agree.
    """
    weights = np.asarray(matrix, np.float32)
    if weights.shape != (3, 3):
        raise ValueError(f"a colour matrix is 3 x 3, got one of shape {weights.shape}")
    turned: FloatImage = np.asarray(rgb, np.float32) @ weights.T
    return turned


def _stretch(reference: FloatImage) -> Callable[[FloatImage], FloatImage]:
    """Linear stretch to 0 .. 255, still float; black where a channel is not finite."""
    limits = [sky_level_and_noise(reference[..., k]) for k in range(3)]
    low = np.array([level + BLACK * noise for level, noise in limits], np.float32)
    span = np.array([(WHITE - BLACK) * noise for _, noise in limits], np.float32)

    def stretched(flux: FloatImage) -> FloatImage:
        with np.errstate(over="ignore"):  # an infinite flux is made black below
            levels: FloatImage = np.clip((flux - low) / span * np.float32(255), 0, 255)
        levels[~np.isfinite(flux).all(axis=-1)] = 0
        return levels

    return stretched


def _eight_bits(levels: FloatImage) -> Picture:
    return np.clip(levels, 0, 255).astype(np.uint8)
