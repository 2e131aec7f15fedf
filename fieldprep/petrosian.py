"""Petrosian radii of the objects that SEP sees in an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import sep

if TYPE_CHECKING:
    from fieldprep.census import Extracted

    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

RATIO = 0.2  # mean brightness at the radius over that within it
STEP = 1.25  # the brightness at r is that from r / 1.25 to 1.25 r
SMALLEST_PX = 1.6
FINE_PX = 8.0  # aperture radius over which whole pixels are fine enough


def petrosian_radii(seen: Extracted, which: Integers, largest_px: Floats) -> Floats:
    """
    Petrosian radii, in circles about the centroids, as SDSS defines them.

    Parameters
    ----------
    seen : Extracted
        The image and its objects, as `fieldprep.census.extracted` gives them.
    which : 1D int64 `~numpy.ndarray`, shape (N,)
        Indices of the objects to measure; each one's neighbours are masked.
    largest_px : 1D float64 `~numpy.ndarray`, shape (N,)
        Radius up to which each is looked for, in pixels.

    Returns
    -------
    1D float64 `~numpy.ndarray`, shape (N,)
        Pixels; NaN where the brightness does not fall so far, or there is no light.

    References
    ----------
    Blanton et al. 2001, AJ 121, 2358; Yasuda et al. 2001, AJ 122, 1104.
    """
    found, before = np.full(len(which), np.nan), np.full(len(which), np.nan)
    left, radius = np.arange(len(which)), SMALLEST_PX
    inner, within = (_light(seen, which, left, r) for r in (radius / STEP, radius))
    while len(left):
        outer = _light(seen, which, left, radius * STEP)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (outer - inner) / (STEP**2 - STEP**-2) / within
        lit = within > 0
        there = lit & (ratio < RATIO)
        last = before[left]
        falling = there & (last > ratio)
        share = np.ones(len(left))
        share[falling] = (last[falling] - RATIO) / (last[falling] - ratio[falling])
        found[left[there]] = radius * STEP ** (share[there] - 1)
        before[left] = ratio
        on = lit & ~there & (radius < largest_px[left])
        left, inner, within, radius = left[on], within[on], outer[on], radius * STEP
    return found


def _light(seen: Extracted, which: Integers, left: Integers, radius: float) -> Floats:
    """Light within a radius of those that are left, scaled up for what their neighbours mask."""
    chosen = which[left]
    light, _, _ = sep.sum_circle(
        seen.image,
        seen.objects["x"][chosen],
        seen.objects["y"][chosen],
        radius,
        segmap=seen.segments,
        seg_id=(chosen + 1).astype(np.int32),
        subpix=5 if radius < FINE_PX else 1,
    )
    return np.asarray(light, np.float64)
