"""One raw exposure to electrons a second, with its noise and what is wrong with each pixel. Needs the reduce extra."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import astropy.units as u
import ccdproc
import cv2
import numpy as np
from astropy.convolution import Gaussian2DKernel, interpolate_replace_nans
from astropy.utils.exceptions import AstropyUserWarning

from fieldprep.reduction.calibrated import BAD_PIXEL, COSMIC_RAY, SATURATED, Calibrated
from fieldprep.reduction.exposures import Exposure, read_counts
from fieldprep.sky import sky_level_and_noise

if TYPE_CHECKING:
    from fieldprep.field import BoolImage, FloatImage
    from fieldprep.reduction.masters import Corrections, Master

EDGE_PX = 6
SPILL_PX = 3  # by which saturated pixels are grown: they bloom, and resampling rings about their edge


def calibrate(exposure: Exposure, corrections: Corrections, *, cosmic_rays: bool = True) -> Calibrated:
    """
    Correct one exposure.

    Bias, noise model, dark, gain, cosmic rays, flat, in this order: the photon noise is that of the electrons the
    pixel held, those of the dark current included and the bias not.

    Parameters
    ----------
    exposure : Exposure
        A light.
    corrections : Corrections
        The masters to correct it by.
    cosmic_rays : bool
        Whether they are looked for.

    Returns
    -------
    Calibrated

    Raises
    ------
    fieldprep.errors.InputError
        If the file is damaged.
    """
    ccd = read_counts(exposure)
    wcs, saturated = ccd.wcs, cv2.dilate(ccd.mask.astype(np.uint8), np.ones((2 * SPILL_PX + 1,) * 2)) > 0
    bad = ~np.isfinite(ccd.data)
    for master in (corrections.bias, corrections.dark, corrections.flat):
        bad |= master.bad if master is not None else False
    ccd.data[~np.isfinite(ccd.data)] = 0
    ccd.mask = bad | saturated
    ccd = _electrons(ccd, exposure, corrections)
    flags = BAD_PIXEL * bad.astype(np.uint8) | SATURATED * saturated.astype(np.uint8)
    if cosmic_rays:
        hit = _cosmic_rays(ccd, exposure, corrections.bias)
        flags |= COSMIC_RAY * hit.astype(np.uint8)
    if corrections.flat is not None:
        ccd = ccdproc.flat_correct(ccd, corrections.flat.ccd(), norm_value=1)
    seconds = np.float32(exposure.seconds)
    value = ccd.data.astype(np.float32) / seconds
    variance = (ccd.uncertainty.array.astype(np.float32) / seconds) ** 2
    common = _common_variance(value, exposure, corrections)
    doubtful = (flags & (BAD_PIXEL | COSMIC_RAY)) > 0
    value[doubtful], variance[doubtful] = np.nan, np.median(variance)
    sky, noise = sky_level_and_noise(value, saturated)
    value = np.nan_to_num(_patched(value) - np.float32(sky))
    return Calibrated(value, variance, common, flags, sky, noise, wcs)


def _electrons(ccd: Any, exposure: Exposure, corrections: Corrections) -> Any:
    """Counts to electrons, bias and dark subtracted, with their noise."""
    bias, dark = corrections.bias, corrections.dark
    gain, read_noise = exposure.gain * u.electron / u.adu, exposure.read_noise * u.electron
    pedestal = bias
    if bias is None and not exposure.camera.overscan:  # it was left in the dark, and goes with it
        pedestal = dark
    if pedestal is not None:
        ccd = ccdproc.subtract_bias(ccd, pedestal.ccd())
    ccd = ccdproc.create_deviation(ccd, gain=gain, readnoise=read_noise, disregard_nan=True)
    if dark is not None and dark is not pedestal:
        times = {"data_exposure": exposure.seconds * u.s, "dark_exposure": dark.seconds * u.s}
        ccd = ccdproc.subtract_dark(ccd, dark.ccd(), scale=corrections.dark_scale != 1, **times)
    return ccdproc.gain_correct(ccd, gain)


def _cosmic_rays(ccd: Any, exposure: Exposure, bias: Master | None) -> BoolImage:
    """Pixels hit by cosmic rays, in an image in electrons that still has its sky."""
    # read when its threads are made: such as wait by spinning take ten times as long where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from astroscrappy import detect_cosmics  # noqa: PLC0415 -- after the above

    pedestal = float(np.median(bias.image)) if bias is not None else 0.0
    full = min((exposure.saturation - pedestal) * exposure.gain, float(np.finfo(np.float32).max))
    # mirrored at the edges, within three pixels of which nothing is found otherwise
    data, mask, variance = (
        np.pad(image, EDGE_PX, mode="reflect") for image in (ccd.data, ccd.mask, ccd.uncertainty.array**2)
    )
    hit, _ = detect_cosmics(
        data.astype(np.float32),
        inmask=mask,
        invar=variance.astype(np.float32),
        gain=1.0,
        readnoise=exposure.read_noise,
        satlevel=full,
    )
    inside: BoolImage = hit[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX] & ~ccd.mask
    return inside


def _common_variance(value: FloatImage, exposure: Exposure, corrections: Corrections) -> FloatImage:
    """
    Variance that the masters' noise brings.

    With light - bias - scale x (dark - bias), the bias's own noise goes by 1 - scale: it cancels out under a dark
    of the same exposure time.
    """
    variance = np.zeros_like(value)
    per_count = exposure.gain / exposure.seconds
    if corrections.bias is not None:
        variance += np.float32((1 - corrections.dark_scale) * per_count) ** 2 * corrections.bias.error**2
    if corrections.dark is not None:
        variance += np.float32(corrections.dark_scale * per_count) ** 2 * corrections.dark.error**2
    if corrections.flat is not None:
        sensitivity = corrections.flat.ccd().data
        variance = (variance + (value * corrections.flat.error) ** 2) / sensitivity**2
    return variance


def _patched(value: FloatImage) -> FloatImage:
    """Image with its NaN filled from their neighbours, so that resampling does not spread them."""
    if np.isfinite(value).all():
        return value
    with warnings.catch_warnings():
        # of regions wider than the kernel, such as corners the optics do not reach; they stay NaN
        warnings.filterwarnings("ignore", message="nan_treatment='interpolate', however", category=AstropyUserWarning)
        return np.asarray(interpolate_replace_nans(value, Gaussian2DKernel(1.0)), np.float32)
