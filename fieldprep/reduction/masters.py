"""Bias, dark and flat frames combined into masters. Needs the reduce extra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.stats import mad_std

from fieldprep.errors import InputError
from fieldprep.reduction.exposures import Camera, Exposure, read_counts
from fieldprep.reduction.stacking import clipped_mean, on_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fieldprep.field import BoolImage, FloatImage

DEVIANT_SIGMA = 9.0  # a pixel that stands out of its neighbours by this is hot (dark) or dead (flat)
DARKEST_FLAT = 0.1  # of the median: what the optics shade more than that is no image
MOST_SATURATED = 0.01  # share of a flat


@dataclass(frozen=True, eq=False)
class Master:
    """
    Calibration frames combined.

    Parameters
    ----------
    name : str
        As in ``dark-60s``.
    kind : {'bias', 'dark', 'flat'}
        What it is made of.
    image, error : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Counts and their one-sigma noise; of a flat, sensitivity with a median of 1.
    bad : 2D bool `~numpy.ndarray`, shape (ny, nx)
        Pixels not to be used: hot, dead, in the dark.
    frames : tuple of Exposure
        What it is made of.
    """

    name: str
    kind: str
    image: FloatImage
    error: FloatImage
    bad: BoolImage
    frames: tuple[Exposure, ...]

    @property
    def camera(self) -> Camera:
        """What an exposure must share to be corrected by it."""
        return self.frames[0].camera

    @property
    def seconds(self) -> float:
        """Exposure time of its frames."""
        return self.frames[0].seconds

    @property
    def temperature(self) -> float | None:
        """Mean temperature of its frames; None where no header tells."""
        known = [frame.temperature for frame in self.frames if frame.temperature is not None]
        return sum(known) / len(known) if known else None

    def ccd(self) -> CCDData:
        """As `ccdproc` takes it; without its noise, which is common to all exposures and kept apart."""
        if self.kind == "flat":
            return CCDData(np.where(self.bad, np.float32(1), self.image), unit="")
        return CCDData(self.image, unit="adu")


@dataclass(frozen=True, eq=False)
class Corrections:
    """
    Masters that one exposure is corrected by.

    Parameters
    ----------
    bias, dark, flat : Master or None
        None where the correction is not to be made.
    dark_scale : float
        Factor to the dark; 0 without one.
    """

    bias: Master | None
    dark: Master | None
    flat: Master | None
    dark_scale: float

    @property
    def names(self) -> str:
        """What was used, in words."""
        words = [master.name for master in (self.bias, self.flat) if master is not None]
        if self.dark is not None:
            scaled = "" if self.dark_scale == 1 else f" x {self.dark_scale:.4g}"
            words.append(f"{self.dark.name}{scaled}")
        return "; ".join(sorted(words))


def combined(
    name: str,
    frames: Sequence[Exposure],
    counts: Callable[[Exposure], tuple[FloatImage, FloatImage]],
    scratch: Path,
    failed: Callable[[Exposure, str], None],
) -> Master | None:
    """
    Combine calibration frames of one kind.

    Parameters
    ----------
    name : str
        Of the master.
    frames : sequence of Exposure
        All of one kind and camera.
    counts : callable
        Gives the image of a frame and its variance, as `dark_frame` and `flat_frame` do.
    scratch : path
        Folder for large temporary files.
    failed : callable
        Told of each frame that cannot be used, and why.

    Returns
    -------
    Master or None
        The clipped mean; of flats of the sky, whose stars drift from frame to frame, the clipped median. None if no
        frame can be used.
    """
    kind, used = frames[0].kind, []
    with on_disk(scratch) as keep:
        values, variances = [], []
        for frame in frames:
            try:
                value, variance = counts(frame)
            except InputError as error:
                failed(frame, str(error))
                continue
            used.append(frame)
            values.append(keep(value))
            variances.append(keep(variance))
        if not used:
            return None
        image, variance, _ = clipped_mean(values, variances, median=any(frame.sky_flat for frame in used))
    noise = np.sqrt(variance)
    if kind == "flat":
        middle = np.float32(np.nanmedian(image))
        image, noise = image / middle, noise / middle
    bad = ~np.isfinite(image)
    image, noise = np.where(bad, np.float32(np.nanmedian(image)), image), np.where(bad, np.float32(0), noise)
    if kind != "bias":
        bad |= _deviant(image, noise)
    if kind == "flat":
        bad |= image < DARKEST_FLAT
    return Master(name, kind, image, noise, bad, tuple(used))


def dark_frame(frame: Exposure, bias: Master | None) -> tuple[FloatImage, FloatImage]:
    """
    Counts of a bias, or of a dark over its bias, and their variance.

    Parameters
    ----------
    frame : Exposure
        A bias or a dark.
    bias : Master or None
        To be subtracted.
    """
    value = np.asarray(read_counts(frame).data, np.float32)
    if bias is not None:
        value = value - bias.image
    # over a bias there is the dark current, with its own noise; the level of the bias itself has none
    current = np.maximum(value, 0) if bias is not None or frame.camera.overscan else np.zeros_like(value)
    return value, _counting_variance(current, frame)


def flat_frame(frame: Exposure, corrections: Corrections) -> tuple[FloatImage, FloatImage]:
    """
    A flat over its own median, bias and dark subtracted, and its variance.

    Parameters
    ----------
    frame : Exposure
        A flat.
    corrections : Corrections
        Its bias and dark.

    Raises
    ------
    fieldprep.errors.InputError
        If it is saturated or dark.
    """
    counts = read_counts(frame)
    saturated = float(np.mean(counts.mask))
    if saturated > MOST_SATURATED:
        raise InputError(f"{frame.path}: {saturated:.0%} of this flat is saturated; left out")
    value = np.asarray(counts.data, np.float32)
    if corrections.bias is not None:
        value = value - corrections.bias.image
    variance = _counting_variance(np.maximum(value, 0), frame)
    if corrections.dark is not None:
        value = value - np.float32(corrections.dark_scale) * corrections.dark.image
    level = float(np.nanmedian(value))
    if not level > 0:
        raise InputError(f"{frame.path}: this flat has no light in it (median {level:.1f} counts); left out")
    value[counts.mask] = np.nan
    return value / np.float32(level), variance / np.float32(level**2)


def _counting_variance(counts: FloatImage, frame: Exposure) -> FloatImage:
    """Variance of counts: of their electrons and of the read-out."""
    variance: FloatImage = counts / np.float32(frame.gain) + np.float32((frame.read_noise / frame.gain) ** 2)
    return variance


def master_hdus(master: Master) -> fits.HDUList:
    """
    File of a master: its image, with its noise as ERR and its bad pixels as MASK.

    Parameters
    ----------
    master : Master
        Any.

    Returns
    -------
    `~astropy.io.fits.HDUList`
        Its history names the frames it is made of.
    """
    first = master.frames[0]
    header = fits.Header({"IMAGETYP": f"master {master.kind}", "NCOMBINE": len(master.frames)})
    header["BUNIT"] = "" if master.kind == "flat" else "adu"
    header["FILTER"], header["EXPTIME"], header["GAIN"] = first.band, first.seconds, first.gain
    for frame in master.frames:
        header.add_history(ascii(frame.path.name).strip("'"))
    bad = fits.ImageHDU(master.bad.astype(np.uint8), name="MASK")
    return fits.HDUList([fits.PrimaryHDU(master.image, header), fits.ImageHDU(master.error, name="ERR"), bad])


def _deviant(image: FloatImage, error: FloatImage) -> BoolImage:
    """Pixels that stand out of their neighbours by more than noise."""
    residual = image - cv2.medianBlur(image, 5)
    sigma = np.maximum(np.nan_to_num(error, nan=np.inf), mad_std(residual))
    deviant: BoolImage = np.abs(residual) > DEVIANT_SIGMA * sigma
    return deviant
