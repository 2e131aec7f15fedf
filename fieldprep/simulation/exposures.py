"""Pictures as a shorter exposure would have shown them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fieldprep.portraits import SDSS_NOISE, flux_of, sdss_picture

if TYPE_CHECKING:
    from fieldprep.field import FloatImage
    from fieldprep.variants import Picture

ELECTRONS = np.array([940.0, 950.0, 1030.0])  # a nanomaggie in a frame of SDSS's 54 s, i, r, g


def shorter(flux: FloatImage, share: float, random: np.random.Generator) -> FloatImage:
    """
    A flux with the noise that a part of its exposure would have, on top of its own.

    The variance of a mean goes with the inverse of the exposure: that of the sky and that of the source's photons are
    added as often as the shorter one lacks.

    Parameters
    ----------
    flux : float32 `~numpy.ndarray`, shape (..., 3)
        i, r, g in nanomaggies a pixel of SDSS, without sky.
    share : float
        Of the exposure, over 0 and at most 1.
    random : `~numpy.random.Generator`
        What is drawn from.

    Returns
    -------
    float32 `~numpy.ndarray`, shape (..., 3)

    Raises
    ------
    ValueError
        If the share is none.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be over 0 and at most 1, got {share!r}")
    whole = SDSS_NOISE**2 + np.maximum(flux, 0) / ELECTRONS
    drawn = random.standard_normal(flux.shape, np.float32)
    return np.asarray(flux + np.sqrt((1 / share - 1) * whole) * drawn, np.float32)


def shorter_pictures(pictures: Picture, shares: tuple[float, float], seed: int) -> Picture:
    """
    Pictures of the survey as shorter exposures would have been shown.

    Parameters
    ----------
    pictures : uint8 `~numpy.ndarray`, shape (N, ny, nx, 3)
        Red, green, blue, with `fieldprep.portraits.sdss_picture`'s stretch; a pixel of them counts as one of a frame.
    shares : (float, float)
        Least and largest share of the exposure; its logarithm is drawn evenly for each.
    seed : int
        Of what is drawn.

    Returns
    -------
    uint8 `~numpy.ndarray`, shape (N, ny, nx, 3)
    """
    random = np.random.default_rng(seed)
    drawn = np.exp(random.uniform(np.log(shares[0]), np.log(shares[1]), len(pictures)))
    out = np.empty_like(pictures)
    for i, share in enumerate(drawn):
        out[i] = sdss_picture(shorter(flux_of(pictures[i].astype(np.float32) / 255), float(share), random))
    return out
