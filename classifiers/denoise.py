"""Pictures without their noise, by a U-Net that `classifiers.denoising` trained, run from its ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fieldprep.network import load_network

if TYPE_CHECKING:
    from pathlib import Path

    from fieldprep.variants import Picture

LEVELS = 3  # of the U-Net
STEP = 2 ** (LEVELS - 1)  # sides are filled up to a multiple of it
AT_ONCE = 64


def denoised(pictures: Picture, path: Path) -> Picture:
    """
    Pictures without their noise.

    Parameters
    ----------
    pictures : uint8 `~numpy.ndarray`, shape (N, ny, nx, 3)
        Red, green, blue, of any size.
    path : path
        What `classifiers.denoising.train_denoiser` wrote.

    Returns
    -------
    uint8 `~numpy.ndarray`, shape (N, ny, nx, 3)

    Raises
    ------
    fieldprep.errors.InputError
        If the file cannot be loaded.
    """
    network = load_network(path, precision="f32")
    ny, nx = pictures.shape[1:3]
    fill = ((0, 0), (0, -ny % STEP), (0, -nx % STEP), (0, 0))
    out = np.empty_like(pictures)
    for start in range(0, len(pictures), AT_ONCE):
        part = np.pad(pictures[start : start + AT_ONCE], fill, mode="edge").astype(np.float32) / 255
        seen = np.moveaxis(network(np.ascontiguousarray(np.moveaxis(part, 3, 1))), 1, 3)[:, :ny, :nx]
        out[start : start + AT_ONCE] = np.rint(255 * seen).clip(0, 255)
    return out
