"""Level and noise of the empty sky in one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fieldprep.field import BoolImage, FloatImage

CLIP, ROUNDS = 3.0, 10  # sigma beyond which a pixel is no sky, and how often that is asked
MAD_TO_SIGMA = 1.482602218505602  # of a Gaussian
COUNTED_ROWS = 64  # that tell whether an image is quantised
LEAST_COUNT = 0.03  # of the noise: what a finer quantisation does is lost in it
SAMPLE = 200_000  # pixels looked at: sigma of the level is then 0.3 % of the noise


def sky_level_and_noise(image: FloatImage, mask: BoolImage | None = None) -> tuple[float, float]:
    """
    Median and standard deviation of the sky, by sigma clipping at 3 sigma.

    Parameters
    ----------
    image : 2D `~numpy.ndarray`, shape (ny, nx)
        Flux in any unit; pixels that are not finite are left out.
    mask : 2D bool `~numpy.ndarray`, shape (ny, nx), optional
        True = left out.

    Returns
    -------
    level, noise : float
        In the unit of ``image``. The noise is 1 where the image has none (a constant image), so that
        dividing by it is safe.

    Notes
    -----
    A regular grid of at most 200,000 pixels is looked at. The spread is the median absolute deviation, which
    stays right with a third of the pixels in sources.
    """
    step = grid_step(image.size)
    sample = image[::step, ::step]
    good = np.isfinite(sample)
    if mask is not None:
        good &= ~mask[::step, ::step]
    values = sample[good].astype(np.float64)
    if values.size == 0:
        return 0.0, 1.0
    clipped, level, noise = _clipped(values)
    if noise == 0:  # an 8-bit picture whose sky is one gray level
        noise = float(np.std(clipped)) or 1.0
    return level, noise


def grid_step(size: int) -> int:
    """Pixels between those looked at in an image of ``size`` pixels, in x and in y."""
    return max(1, int(np.sqrt(size / SAMPLE)))


def _clipped(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float, float]:
    """Values left by sigma clipping, their median and spread: `astropy.stats.sigma_clip`, in a quarter of its time."""
    kept = np.sort(values)
    for _ in range(ROUNDS):
        level, noise = _median_and_spread(kept)
        inside = slice(
            np.searchsorted(kept, level - CLIP * noise), np.searchsorted(kept, level + CLIP * noise, side="right")
        )
        before, kept = len(kept), kept[inside]
        if len(kept) == before:
            break
    return kept, *_median_and_spread(kept)


def _median_and_spread(ordered: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Median and scaled median absolute deviation of sorted values."""
    level = _middle(ordered)
    # of sorted values they fall, then rise: two runs, which a stable sort only has to join
    return level, MAD_TO_SIGMA * _middle(np.sort(np.abs(ordered - level), kind="stable"))


def _middle(ordered: npt.NDArray[np.float64]) -> float:
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)


def dithered(image: FloatImage) -> FloatImage:
    """
    Image with a uniform dither of one count, for estimators of the sky's mode.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        SDSS frames are quantised at a fifth of the sky noise, which makes the mode jump from mesh to mesh.

    Returns
    -------
    2D float32 `~numpy.ndarray`, shape (ny, nx)
        The same dither for the same image; the image itself where it is not quantised.
    """
    step = _count(image[:COUNTED_ROWS])
    if step == 0:
        return image
    return (image + np.random.default_rng(0).uniform(-0.5, 0.5, image.shape) * step).astype(np.float32)


def _count(image: FloatImage) -> float:
    """
    One count of a quantised image, 0 where it is not quantised.

    The counts of a frame whose sky was subtracted lie off whole ones by a little, another little in each pixel. So the
    values of its sky have many small gaps between them, but most of their range is in those that are a count wide.
    """
    level, noise = _median_and_spread(np.sort(image, axis=None))
    gaps = np.sort(np.diff(np.unique(image[np.abs(image - level) <= CLIP * noise])))
    if not len(gaps):
        return 0.0
    covered = np.cumsum(gaps)
    step = float(gaps[np.searchsorted(covered, covered[-1] / 2)])
    return step if step > LEAST_COUNT * noise else 0.0


def narrowest_quarter(values: npt.NDArray[np.floating]) -> float:
    """Middle of the narrowest interval that holds a quarter of the values, of which there are two or more."""
    ordered = np.sort(values)
    quarter = max(2, len(ordered) // 4)
    widths = ordered[quarter - 1 :] - ordered[: len(ordered) - quarter + 1]
    start = int(np.argmin(widths))
    return float(ordered[start : start + quarter].mean())
