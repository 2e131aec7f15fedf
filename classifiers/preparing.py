"""
From stamps as they come to what a network takes: holes filled, values scaled, resized, never cropped.

The same code serves training and use, so a network is run on what it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = npt.NDArray[np.float32]
Stamps = npt.NDArray[Any]

UNIT, NOISE, PEAK = "unit", "noise", "peak"
SCALINGS = (UNIT, NOISE, PEAK)
RING = 8  # the sky is that of the outermost eighth of a stamp's side
LEAST_NOISE = 1e-3  # of the highest value over the sky: a picture cut off at black has no noise
SOFTENING = 3.0  # sigma up to which the arcsinh is linear
AT_ONCE = 512  # stamps


@dataclass(frozen=True)
class Preparation:
    """
    How stamps become a network's input.

    Parameters
    ----------
    size : int
        Side of the input in pixels.
    channels : int
        Channels of a stamp.
    gray : bool
        Whether a stamp of one channel will do too; it is repeated.
    averaged : bool
        Whether the channels of a stamp are averaged to one, so that the network sees no colour.
    scaling : tuple of {'unit', 'noise', 'peak'}
        What is made of each channel, in this order; each adds as many channels to the input.

        unit: 8- and 16-bit values as shares of their highest, floats as they are.
        noise: arcsinh of the signal over three times the noise, both told from the outermost eighth of the stamp, over
        three; the unit and the zero point of a stamp do not matter.
        peak: the signal over its own largest absolute value in the middle half of the stamp, which leaves nothing but
        the shape.
    epochs : int
        How many epochs of an object there may be in one input; see `classifiers.series`.
    """

    size: int
    channels: int
    gray: bool = False
    averaged: bool = False
    scaling: tuple[str, ...] = (NOISE,)
    epochs: int = 1

    def __post_init__(self) -> None:
        for name in ("size", "channels", "epochs"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value > 0):
                raise ValueError(f"{name} must be a whole number over 0, got {value!r}")
        unknown = [name for name in self.scaling if name not in SCALINGS]
        if unknown or not self.scaling:
            raise ValueError(f"scaling must be of {', '.join(SCALINGS)}, got {self.scaling!r}")

    @property
    def inputs(self) -> int:
        """Channels of the network's input."""
        return self.seen * len(self.scaling)

    @property
    def seen(self) -> int:
        """Channels that each scaling is made of."""
        return 1 if self.averaged else self.channels

    def __call__(self, stamps: Stamps | Sequence[Stamps], *, first: int = 0) -> FloatArray:
        """
        Prepare stamps.

        Parameters
        ----------
        stamps : 4D `~numpy.ndarray`, shape (N, ny, nx, C), or sequence of N 3D `~numpy.ndarray`
            Stamps in any numeric type; those of a sequence may differ in shape. NaN is where there are no data: it is
            filled with the sky.
        first : int
            Number of the first stamp, for messages.

        Returns
        -------
        4D float32 `~numpy.ndarray`, shape (N, inputs, size, size)

        Raises
        ------
        fieldprep.errors.InputError
            If a stamp has another number of channels, or no finite pixel.
        """
        prepared = np.zeros((len(stamps), self.inputs, self.size, self.size), np.float32)
        if isinstance(stamps, np.ndarray) and stamps.dtype != object:
            for start in range(0, len(stamps), AT_ONCE):
                chunk = slice(start, start + AT_ONCE)
                prepared[chunk] = self._alike(stamps[chunk], first + start)
        else:
            for i, stamp in enumerate(stamps):
                prepared[i] = self._alike(np.asarray(stamp)[None], first + i)[0]
        return prepared

    def _alike(self, stamps: Stamps, first: int) -> FloatArray:
        """Stamps of one shape, the first of which has this number."""
        if stamps.ndim != 4 or 0 in stamps.shape[1:]:
            raise InputError(f"stamps must have the shape (N, ny, nx, C), got {stamps.shape}")
        allowed = {self.channels, *((1,) if self.gray else ())}
        if stamps.shape[3] not in allowed:
            wanted = " or ".join(map(str, sorted(allowed)))
            raise InputError(f"stamp {first}: {stamps.shape[3]} channels, where the classifier takes {wanted}")
        if stamps.dtype.kind not in "fiub":
            raise InputError(f"stamp {first}: its values are no numbers ({stamps.dtype})")
        planes = np.ascontiguousarray(np.moveaxis(stamps, 3, 1))  # what runs along rows is twice as fast
        finite = np.isfinite(planes)
        without = np.flatnonzero(~finite.any(axis=(1, 2, 3)))
        if len(without):
            raise InputError(f"stamp {first + without[0]}: not a finite pixel in it")
        if self.averaged:
            planes, finite = _averaged(planes, finite)
        parts = _scaled(planes, finite, self.scaling)
        scaled = np.concatenate([np.repeat(part, self.seen // part.shape[1], axis=1) for part in parts], axis=1)
        return _resized(scaled, self.size)


def _averaged(planes: Stamps, finite: npt.NDArray[np.bool_]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Mean of the channels that are there, shape (N, 1, ny, nx), and where there is one; whole numbers as shares."""
    there = finite.sum(axis=1, keepdims=True)
    return _in_shares(planes, finite).sum(axis=1, keepdims=True) / np.maximum(there, 1).astype(np.float32), there > 0


def _scaled(planes: Stamps, finite: npt.NDArray[np.bool_], names: Sequence[str]) -> list[FloatArray]:
    """Planes, shape (N, C, ny, nx), by each scaling, the sky of a stamp told once for all."""
    if set(names) == {UNIT}:
        return [_in_shares(planes, finite)] * len(names)
    values = np.where(finite, planes, np.nan).astype(np.float32)
    sky, noise = _sky_and_noise(values)
    signal = np.where(finite, values - sky, np.float32(0))
    made = {
        UNIT: lambda: _in_shares(planes, finite),
        NOISE: lambda: _over_noise(signal, noise),
        PEAK: lambda: _over_peak(signal),
    }
    return [made[name]() for name in names]


def _in_shares(planes: Stamps, finite: npt.NDArray[np.bool_]) -> FloatArray:
    most = np.iinfo(planes.dtype).max if planes.dtype.kind in "iu" else 1
    return np.where(finite, planes, 0).astype(np.float32) / np.float32(most)


def _over_noise(signal: FloatArray, noise: FloatArray) -> FloatArray:
    noise = np.maximum(noise, LEAST_NOISE * _highest(signal))
    x = signal / _not_0(SOFTENING * noise)
    # arcsinh; NumPy's own takes five times as long
    size = np.log(np.abs(x) + np.sqrt(x * x + np.float32(1)))
    return np.asarray(np.copysign(size, x) / np.float32(3), np.float32)


def _over_peak(signal: FloatArray) -> FloatArray:
    ny, nx = signal.shape[2:]
    middle = signal[..., ny // 4 : ny - ny // 4, nx // 4 : nx - nx // 4]
    return np.asarray(np.clip(signal / _not_0(_highest(middle)), -2, 2), np.float32)


def _highest(signal: FloatArray) -> FloatArray:
    """Largest absolute value of each plane, shape (N, C, 1, 1)."""
    return np.asarray(np.abs(signal).max(axis=(2, 3), keepdims=True))


def _sky_and_noise(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Median of each stamp's ring by channel, and its noise by the median deviation, shapes (N, C, 1, 1)."""
    n, channels, ny, nx = values.shape
    wide = max(1, min(ny, nx) // RING)
    ring = np.ones((ny, nx), np.bool_)
    ring[wide : ny - wide, wide : nx - wide] = False
    around = values[..., ring]
    bare = ~np.isfinite(around).any(axis=2)
    if bare.any():  # a ring without data: all of the stamp must do, and where that has none, nothing
        whole = values.reshape(n, channels, -1)
        for i, channel in np.argwhere(bare):
            some = whole[i, channel][np.isfinite(whole[i, channel])]
            around[i, channel] = np.median(some) if len(some) else 0
    sky = _medians(around)
    noise = 1.4826 * _medians(np.abs(around - sky))
    return sky[..., None].astype(np.float32), noise[..., None].astype(np.float32)


def _medians(around: FloatArray) -> FloatArray:
    """Medians along the last axis of what is there, shape (N, C, 1)."""
    found = np.median(around, axis=2, keepdims=True)
    holed = np.isnan(found[..., 0])
    if holed.any():  # these only: it is ten times as slow
        found[holed] = np.nanmedian(around[holed], axis=1, keepdims=True)
    return found


def _not_0(values: FloatArray) -> FloatArray:
    return np.where(values > 0, values, np.float32(1))


def _resized(planes: FloatArray, size: int) -> FloatArray:
    n, channels, ny, nx = planes.shape
    if (ny, nx) == (size, size):
        return planes
    how = cv2.INTER_AREA if size <= min(ny, nx) else cv2.INTER_LINEAR
    out = np.empty((n, channels, size, size), np.float32)
    for i, channel in np.ndindex(n, channels):
        out[i, channel] = cv2.resize(planes[i, channel], (size, size), interpolation=how)
    return out
