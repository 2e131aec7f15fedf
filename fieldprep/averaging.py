"""Images averaged down by whole factors: what a galaxy larger than a window is found in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fieldprep.field import BoolImage, FloatImage

UNUSABLE_SHARE = 0.5  # a block is unusable from this share of its pixels


def binned_shape(shape: tuple[int, int], factor: int) -> tuple[int, int]:
    """Shape of an image averaged down: a last block that is cut off counts."""
    return -(-shape[0] // factor), -(-shape[1] // factor)


def block_means(image: FloatImage, factor: int) -> FloatImage:
    """
    Mean of the finite pixels of each block.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Flux.
    factor : int
        Side of a block in pixels; blocks at the far edges may be cut off.

    Returns
    -------
    2D float32 `~numpy.ndarray`, shape (ceil(ny / factor), ceil(nx / factor))
        NaN where a block has no finite pixel. Its pixel i covers the pixels ``factor * i`` to
        ``factor * (i + 1) - 1``.
    """
    finite = np.isfinite(image)
    share = _shares(finite.astype(np.float32), factor)
    total = _shares(np.where(finite, image, np.float32(0)), factor)
    means: FloatImage = np.divide(total, share, out=np.full_like(total, np.nan), where=share > 0)
    return means


def block_mask(mask: BoolImage, factor: int) -> BoolImage:
    """Blocks of which half or more is unusable; see `block_means`."""
    inside = _shares(np.ones(mask.shape, np.float32), factor)
    return np.asarray(_shares(mask.astype(np.float32), factor) >= UNUSABLE_SHARE * inside, np.bool_)


def block_picture(rgb: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """Mean of each block of a picture, shape (ny, nx, 3); blocks cut off at the far edges go on as their last pixel."""
    return np.asarray(_area(rgb, factor, cv2.BORDER_REPLICATE), np.uint8)


def _shares(image: FloatImage, factor: int) -> FloatImage:
    """Sum of each block over the pixels of a whole one."""
    return np.asarray(_area(image, factor, cv2.BORDER_CONSTANT), np.float32)


def _area(image: npt.NDArray[Any], factor: int, border: int) -> npt.NDArray[Any]:
    ny, nx = binned_shape((image.shape[0], image.shape[1]), factor)
    padding = ny * factor - image.shape[0], nx * factor - image.shape[1]
    if any(padding):
        image = cv2.copyMakeBorder(image, 0, padding[0], 0, padding[1], border)
    return cv2.resize(image, (nx, ny), interpolation=cv2.INTER_AREA)
