"""Bands onto one pixel grid, by their WCSs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from reproject import reproject_interp

from fieldprep.errors import InputError

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from fieldprep.field import FloatImage

AFFINE_TOLERANCE_PX = 0.02
_GRID = 12  # points along each side at which the two WCSs are compared


def affine_between(source: WCS, target: WCS, shape: tuple[int, int]) -> tuple[npt.NDArray[np.float64], float]:
    """
    Affine map from the target's pixels to the source's, and how far it strays from the WCSs.

    Parameters
    ----------
    source, target : `~astropy.wcs.WCS`
        Celestial WCSs of the two grids.
    shape : (ny, nx)
        Shape of the target grid.

    Returns
    -------
    affine : 2D float64 `~numpy.ndarray`, shape (2, 3)
        ``x_source = affine @ (x_target, y_target, 1)``, 0-based pixel centres.
    residual : float
        Largest distance in pixels between the affine and the WCSs, on a 12 x 12 grid of the target.

    Raises
    ------
    fieldprep.errors.InputError
        If no part of the target grid can be seen by the source's projection.
    """
    ny, nx = shape
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, nx - 1, _GRID), np.linspace(0, ny - 1, _GRID)))
    xs, ys = source.world_to_pixel_values(*target.pixel_to_world_values(x, y))
    seen = np.isfinite(xs) & np.isfinite(ys)
    if not seen.all():
        raise InputError("the bands point at different parts of the sky")
    design = np.stack([x, y, np.ones_like(x)], axis=1)
    wanted = np.stack([xs, ys], axis=1)
    solution, *_ = np.linalg.lstsq(design, wanted, rcond=None)
    residual = float(np.hypot(*(design @ solution - wanted).T).max())
    return solution.T, residual


def resample(image: FloatImage, source: WCS, target: WCS, shape: tuple[int, int]) -> FloatImage:
    """
    Image brought onto another grid.

    One affine (`cv2.warpAffine`, Lanczos) where it follows the two WCSs to 0.02 px, `reproject` otherwise.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`
        NaN where there is no data.
    source, target : `~astropy.wcs.WCS`
        WCS of the image and of the grid wanted.
    shape : (ny, nx)
        Shape of the grid wanted.

    Returns
    -------
    2D float32 `~numpy.ndarray`, shape (ny, nx)
        NaN where the image has no data; flux per pixel as it was (surface brightness is kept, so a grid of
        another pixel scale changes the flux of a source by the ratio of the pixel areas).

    Raises
    ------
    fieldprep.errors.InputError
        If image and grid do not overlap.
    """
    affine, residual = affine_between(source, target, shape)
    if residual <= AFFINE_TOLERANCE_PX:
        out = warp(image, affine, shape)
    else:
        out = reproject_interp((image, source), target, shape_out=shape, return_footprint=False).astype(np.float32)
    if not np.isfinite(out).any():
        raise InputError("the bands do not overlap on the sky")
    return out


def warp(image: FloatImage, affine: npt.NDArray[np.float64], shape: tuple[int, int]) -> FloatImage:
    """
    Image resampled by an affine map, NaN kept NaN.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`
        NaN where there is no data.
    affine : 2D float64 `~numpy.ndarray`, shape (2, 3)
        From pixels of the result to pixels of ``image``.
    shape : (ny, nx)
        Shape of the result.

    Returns
    -------
    2D float32 `~numpy.ndarray`, shape (ny, nx)
    """
    size = (shape[1], shape[0])
    good = np.isfinite(image)
    filled = image if good.all() else np.where(good, image, np.float32(0))
    flags = cv2.WARP_INVERSE_MAP
    out = np.asarray(cv2.warpAffine(filled, affine, size, flags=flags | cv2.INTER_LANCZOS4), np.float32)
    # a pixel counts where its bilinear neighbours are all there; the kernel's weak outer taps are forgiven
    cover = cv2.warpAffine(good.astype(np.float32), affine, size, flags=flags | cv2.INTER_LINEAR)
    out[cover < 0.999] = np.nan
    return out
