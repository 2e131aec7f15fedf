"""Numbers that the classical learners see of a stamp: its shape and its light, channel by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from classifiers.preparing import FloatArray

Floats = npt.NDArray[np.float64]

APERTURES = (0.05, 0.1, 0.2, 0.35)  # radii, as shares of a stamp's side
SHAPE_FEATURES = (
    "peak",
    "lowest",
    "mean",
    "scatter",
    "negative_share",
    "bright_share",
    "offset",
    "size",
    "axis_ratio",
    "asymmetry",
    "sharpness",
    *(f"within_{radius:g}" for radius in APERTURES),
)
_LEAST = 1e-9


def shape_features(stamps: FloatArray) -> Floats:
    """
    Light and shape of each channel of prepared stamps.

    Parameters
    ----------
    stamps : 4D float32 `~numpy.ndarray`, shape (N, C, size, size)
        As `classifiers.preparing.Preparation` gives them, the sky at 0.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (N, 15 C)
        For each channel what `SHAPE_FEATURES` names: highest and lowest value, mean, standard deviation, shares of
        pixels under minus and over plus a fifth of the highest, distance of the highest pixel from the middle (in
        sides), root of the second moment of the light (in sides), axis ratio of its second moments, what a half turn
        changes of it, the highest pixel's share of the light in the 3 x 3 around it, and the share of the light within
        radii of 0.05, 0.1, 0.2 and 0.35 sides.

    References
    ----------
    After the kinds of features of Bloom et al. 2012, PASP 124, 1175, table 1, and du Buisson et al. 2015, MNRAS 454,
    2026, section 4, by our own definitions.
    """
    n, channels, side, _ = stamps.shape
    found = np.stack([_of_plane(stamps[:, channel].astype(np.float64)) for channel in range(channels)], axis=1)
    return found.reshape(n, channels * len(SHAPE_FEATURES)) if side else found


def _of_plane(planes: Floats) -> Floats:
    """Features of one channel, shape (N, 15)."""
    n, side = planes.shape[:2]
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) / side
    flat = planes.reshape(n, -1)
    highest = flat.argmax(axis=1)
    peak, lowest = flat.max(axis=1), flat.min(axis=1)
    light = np.clip(planes, 0, None)
    total = light.sum(axis=(1, 2)) + _LEAST
    cx, cy = ((light * axis).sum(axis=(1, 2)) / total for axis in (x, y))
    dx, dy = x[None] - cx[:, None, None], y[None] - cy[:, None, None]
    xx, yy, xy = ((light * product).sum(axis=(1, 2)) / total for product in (dx * dx, dy * dy, dx * dy))
    middle, apart = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    around = _around(planes, highest)
    radius = np.hypot(x, y)
    fifth = 0.2 * np.maximum(np.abs(peak), np.abs(lowest))[:, None]
    columns = [
        peak,
        lowest,
        flat.mean(axis=1),
        flat.std(axis=1),
        (flat < -fifth).mean(axis=1),
        (flat > fifth).mean(axis=1),
        np.hypot(x.ravel()[highest], y.ravel()[highest]),
        np.sqrt(xx + yy),
        np.sqrt(np.clip(middle - apart, 0, None) / (middle + apart + _LEAST)),
        np.abs(planes - planes[:, ::-1, ::-1]).sum(axis=(1, 2)) / (np.abs(planes).sum(axis=(1, 2)) + _LEAST),
        peak / (np.abs(around).sum(axis=(1, 2)) + _LEAST),
        *((light * (radius < share)).sum(axis=(1, 2)) / total for share in APERTURES),
    ]
    return np.stack(columns, axis=1)


def _around(planes: Floats, highest: npt.NDArray[np.int64]) -> Floats:
    """The 3 x 3 pixels about the highest of each, shape (N, 3, 3)."""
    n, side = planes.shape[:2]
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)))
    row, column = highest // side, highest % side
    steps = np.arange(3)
    around: Floats = padded[
        np.arange(n)[:, None, None], row[:, None, None] + steps[:, None], column[:, None, None] + steps
    ]
    return around
