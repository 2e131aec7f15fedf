"""Exposures on one grid to one frame: mean without outliers, noise, coverage. Needs the reduce extra."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import sep

from fieldprep.reduction.calibrated import MASK_BITS, NO_DATA, SATURATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fieldprep.field import FloatImage
    from fieldprep.reduction.calibrated import Calibrated, FlagImage
    from fieldprep.reduction.registration import Floats, Placement

CLIP_SIGMA = 4.0
CLIP_SHARE = 0.3  # of the median, in stars: seeing differs from exposure to exposure
BLOCK_BYTES = 256e6  # of the values stacked at once; what is made of them takes some six times that
TOUCHED = 0.1  # a resampled pixel is flagged if a flagged one has this weight in it
KERNEL_PX = 3  # to which the resampling kernel reaches beyond its pixel
SAME_PIXEL_PX = 1.0  # exposures shifted by less see the same noise of the masters
APERTURE_PX = 6.0


@dataclass(frozen=True, eq=False)
class Stack:
    """
    Exposures of one object and filter, put together.

    Parameters
    ----------
    value : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Weighted mean; where no exposure is usable, that of what there is (a saturated core, a patched cosmic ray);
        NaN where there is none.
    error : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        One-sigma noise of each pixel; NaN where ``mask`` is set.
    mask : 2D uint8 `~numpy.ndarray`, shape (ny, nx)
        0 = usable, else why not, in bits of `fieldprep.reduction.calibrated.MASK_BITS`. A pixel saturated in one
        exposure is saturated: the others' mean there would favour those that happened to stay below.
    count : 2D uint16 `~numpy.ndarray`, shape (ny, nx)
        Exposures in each pixel.
    weights : tuple of float
        Of the exposures, their sum 1.
    correlation : float
        Noise of a sum over many pixels, in units of what ``error`` gives for independent ones: resampling by
        fractions of a pixel lowers the noise of each and ties it to its neighbours'.
    transparency : tuple of float
        Brightness of the stars in each exposure against the others; NaN where there are no stars.
    """

    value: FloatImage
    error: FloatImage
    mask: FlagImage
    count: npt.NDArray[np.uint16]
    weights: tuple[float, ...]
    correlation: float
    transparency: tuple[float, ...]


def stack(
    lights: Sequence[Calibrated],
    placements: Sequence[Placement],
    shape: tuple[int, int],
    stars: Floats,
    scratch: Path,
) -> Stack:
    """
    Put exposures together on the reference's grid.

    Parameters
    ----------
    lights : sequence of Calibrated
        The exposures.
    placements : sequence of Placement
        How each lies on the grid.
    shape : (ny, nx)
        Of the grid.
    stars : 2D float64 `~numpy.ndarray`, shape (N, 2)
        x, y on the grid of stars to compare the exposures' brightness by.
    scratch : path
        Folder for large temporary files.

    Returns
    -------
    Stack

    Notes
    -----
    Weights are the inverse of the variance of each exposure's sky, one number an exposure: weights of single
    pixels by their own photon noise favour those that happen to be low.
    """
    sky_variance = np.array([np.median(light.variance[::4, ::4]) for light in lights], np.float64)
    weights = (1 / sky_variance) / (1 / sky_variance).sum()
    shared = _shared(weights, placements)
    factors = [_noise_factor(light.value.shape, placement) for light, placement in zip(lights, placements, strict=True)]
    reasons = np.zeros(shape, np.uint8)
    total, seen = np.zeros(shape, np.float32), np.zeros(shape, np.uint16)
    values, variances, brightness = [], [], []
    with on_disk(scratch) as keep:
        for light, placement, factor in zip(lights, placements, factors, strict=True):
            value = placement.onto(light.value)
            flags = _flags_onto(light.flags, placement, value)
            brightness.append(_brightness(value, stars))
            there = np.isfinite(value)
            total += np.where(there, value, 0)
            seen += there
            reasons |= flags
            noise = light.variance + np.float32(shared) * light.common_variance
            # the kernel has negative lobes, and would take the noise beside a sharp peak to zero
            variances.append(keep(np.float32(factor) * np.maximum(placement.onto(noise), noise.min())))
            values.append(keep(np.where(flags == 0, value, np.float32(np.nan))))
        mean, variance, count = clipped_mean(values, variances, weights.tolist(), share=CLIP_SHARE)
    mask = np.where(count > 0, reasons & SATURATED, reasons).astype(np.uint8)
    with np.errstate(invalid="ignore"):
        value = np.where(mask == 0, mean, np.where(seen > 0, total / np.maximum(seen, 1), np.float32(np.nan)))
        error = np.where(mask == 0, np.sqrt(variance), np.float32(np.nan))
    correlation = 1 / np.sqrt(np.average(factors, weights=weights**2 * sky_variance))
    return Stack(
        value.astype(np.float32),
        error.astype(np.float32),
        mask,
        count,
        tuple(weights.tolist()),
        float(correlation),
        _transparency(np.array(brightness)),
    )


def clipped_mean(
    values: Sequence[FloatImage],
    variances: Sequence[FloatImage],
    weights: Sequence[float] | None = None,
    *,
    share: float = 0.0,
    median: bool = False,
) -> tuple[FloatImage, FloatImage, npt.NDArray[np.uint16]]:
    """
    Weighted mean of images, outliers left out by the noise they are known to have.

    A value is left out where it is further from the median of its pixel than 4 sigma + ``share`` x median, sigma
    being its own noise. The scatter among the images, which `ccdproc.Combiner` clips by, cannot serve: among n
    values none is further than (n - 1) / sqrt(n) of their standard deviations from their mean, 1.8 of five.

    Parameters
    ----------
    values, variances : sequences of 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Images and the variance of each pixel; NaN in a value is no value. Maps of files serve as well: some
        rows at a time are in memory.
    weights : sequence of float, optional
        One an image; all equal by default. Weights of pixels by their own photon noise would favour those that
        happen to be low, by one electron in the mean.
    share : float
        Of the median, that is no outlier: stars whose seeing differs from image to image.
    median : bool
        Give the median of what is kept instead: less precise, less moved by what hides under the threshold.

    Returns
    -------
    mean, variance : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        NaN where no image has a value.
    count : 2D uint16 `~numpy.ndarray`, shape (ny, nx)
        Images in each pixel.

    References
    ----------
    Gruen, Seitz & Bernstein 2014, PASP 126, 158 (SWarp's CLIPPED; 4 sigma and a share of 0.3 are its defaults).
    """
    ny, nx = values[0].shape
    mean, variance = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.float32)
    count = np.empty((ny, nx), np.uint16)
    each = np.asarray([1.0] * len(values) if weights is None else weights, np.float32)[:, None, None]
    step = max(1, int(BLOCK_BYTES / (4 * nx * len(values))))
    for start in range(0, ny, step):
        rows = slice(start, start + step)
        value = np.stack([image[rows] for image in values])
        noise = np.stack([image[rows] for image in variances])
        middle = _lower_median(value)
        with np.errstate(invalid="ignore", divide="ignore"):
            kept = np.abs(value - middle) <= CLIP_SIGMA * np.sqrt(noise) + share * np.abs(middle)
            weight = np.where(kept, each, np.float32(0))
            total = weight.sum(axis=0)
            mean[rows] = (weight * np.where(kept, value, 0)).sum(axis=0) / total
            variance[rows] = (weight**2 * np.where(kept, noise, 0)).sum(axis=0) / total**2
        if median:
            mean[rows] = _lower_median(np.where(kept, value, np.float32(np.nan)))[0]
            variance[rows] *= np.pi / 2  # of the median of many normal values against their mean
        count[rows] = kept.sum(axis=0)
    return mean, variance, count


@contextmanager
def on_disk(folder: Path) -> Iterator[Callable[[FloatImage], FloatImage]]:
    """
    Give a function that moves an image into a file, and a map of it back; the files go with the block.

    Parameters
    ----------
    folder : path
        Where to put them.
    """
    with TemporaryDirectory(dir=folder) as name:
        kept: list[Path] = []

        def keep(image: FloatImage) -> FloatImage:
            kept.append(Path(name) / f"{len(kept)}.npy")
            np.save(kept[-1], image)
            mapped: FloatImage = np.load(kept[-1], mmap_mode="r")
            return mapped

        yield keep


def _shared(weights: npt.NDArray[np.float64], placements: Sequence[Placement]) -> float:
    """
    Factor by which the masters' noise is larger in a stack than if it were each exposure's own.

    1 where every exposure is shifted against every other, so that each pixel of the sky meets other pixels of the
    masters; the number of exposures where none is.
    """
    shifts = np.array([placement.shift for placement in placements])
    apart = np.abs(shifts[:, None] - shifts[None]).max(axis=-1)
    return float(weights @ (apart < SAME_PIXEL_PX) @ weights / (weights @ weights))


def _noise_factor(shape: tuple[int, ...], placement: Placement) -> float:
    """Variance of resampled white noise of variance 1; 0.69 at half a pixel in x and y."""
    if placement.how == "reference":
        return 1.0
    noise = np.random.default_rng(0).standard_normal(shape, np.float32)
    return float(np.nanvar(placement.onto(noise), dtype=np.float64))


def _flags_onto(flags: FlagImage, placement: Placement, value: FloatImage) -> FlagImage:
    """Flags on the grid: of every pixel that has a flagged one in it, or hangs over the exposure's edge."""
    out = np.where(np.isfinite(value), 0, NO_DATA).astype(np.uint8)
    if placement.how == "reference":
        return out | flags
    flags = flags.copy()
    for edge in (slice(None, KERNEL_PX), slice(-KERNEL_PX, None)):
        flags[edge] |= NO_DATA
        flags[:, edge] |= NO_DATA
    for bit in MASK_BITS.values():
        flagged = (flags & bit) > 0
        if flagged.any():
            weight = np.nan_to_num(placement.onto(flagged.astype(np.float32)))
            out |= np.where(np.abs(weight) > TOUCHED, bit, 0).astype(np.uint8)
    return out


def _brightness(value: FloatImage, stars: Floats) -> npt.NDArray[np.float64]:
    """Counts of the stars in a wide aperture; NaN where some of it is not in the image."""
    hole = ~np.isfinite(value)
    flux, _, flag = sep.sum_circle(np.where(hole, np.float32(0), value), *stars.T, APERTURE_PX, mask=hole)
    return np.where(flag == 0, flux, np.nan)


def _transparency(brightness: Floats) -> tuple[float, ...]:
    """Median over the stars that are whole in every exposure; NaN where there are none."""
    middle = np.median(brightness, axis=0)
    whole = middle > 0  # NaN is not
    if not whole.any():
        return (float("nan"),) * len(brightness)
    return tuple(np.median(brightness[:, whole] / middle[whole], axis=1).tolist())


def _lower_median(value: FloatImage) -> FloatImage:
    """Median along the first axis, NaN left out; the lower of the middle two, as cosmic rays are the higher."""
    ordered = np.sort(value, axis=0)  # NaN last
    there = np.isfinite(value).sum(axis=0, keepdims=True)
    middle: FloatImage = np.take_along_axis(ordered, np.maximum(there - 1, 0) // 2, axis=0)
    return middle
