"""
Difference images: a search image less its template, one of them widened to the other's seeing, and what is left over.

Needs the difference extra (photutils).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import sep
from photutils.psf_matching import make_wiener_kernel
from scipy.signal import fftconvolve
from scipy.spatial import cKDTree

from fieldprep.align import resample
from fieldprep.census import WELL_MEASURED, Census, census
from fieldprep.cutouts import cutouts
from fieldprep.errors import InputError

if TYPE_CHECKING:
    from fieldprep.field import BoolImage, Field, FloatImage

Floats = npt.NDArray[np.float64]

PSF_PX = 31  # side of the image of a star, and of the kernel
LEAST_STARS, MOST_STARS = 5, 200
ALONE_PX = 12.0  # how far a star of the PSF is from anything else
SHARP = 1e-4  # regularisation of the kernel: how far frequencies that the seeing has taken are brought back
SKY_MESH_PX, NOISE_MESH_PX = 128, 64
STAMP_PX = 63
STRAYS_PX = 1.5  # farther from its highest pixel a centroid is another object's
FOUND_SIGMA = 5.0
BRIGHT_SIGMA, LEAST_BRIGHT_PX = 10.0, 50  # pixels whose residuals tell how well light is subtracted
NINE_TENTHS = 1.645  # sigma within which nine tenths of normal errors lie
CANDIDATES = ("x", "y", "flux", "signal_to_noise", "positive")


@dataclass(frozen=True, eq=False)
class Difference:
    """
    A search image, its template and their difference, on the search image's grid.

    Parameters
    ----------
    science, template, difference : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        In the search image's unit, NaN where either has no data; the sky is taken off, and ``science`` and ``template``
        have one seeing, but for what `widened` says was left as it was.
    noise : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        One-sigma noise of a pixel of the difference.
    psf : 2D float64 `~numpy.ndarray`, shape (31, 31)
        Image of a star in the difference, its sum 1.
    scale : float
        What the template was multiplied by.
    widened : {'science', 'template', 'neither'}
        Which of the two the kernel was laid over.
    stars : int
        How many stars told seeing and scale.
    """

    science: FloatImage
    template: FloatImage
    difference: FloatImage
    noise: FloatImage
    psf: Floats
    scale: float
    widened: str
    stars: int


def subtract(search: Field, template: Field, band: str | None = None) -> Difference:
    """
    Subtract a template from a search image of the same sky.

    Parameters
    ----------
    search, template : Field
        Both with a WCS; the template is brought onto the search image's grid.
    band : str, optional
        Band of both; by default the search image's middle one.

    Returns
    -------
    Difference

    Raises
    ------
    fieldprep.errors.InputError
        If a band or a WCS is missing, the two do not overlap, or too few stars are in both.

    Notes
    -----
    The sharper of the two is widened by a kernel that makes its mean star the other's (Wiener's, by
    `photutils.psf_matching.make_wiener_kernel`, after Boucaud et al. 2016, A&A 596, A63); fluxes are then brought
    to the search image's by the stars in both. Where there is light, the noise holds what the subtraction leaves of it:
    the share of the light under which nine tenths of the residuals of bright pixels lie, as of normal errors.
    """
    band = band or list(search.bands)[len(search.bands) // 2]
    for field in (search, template):
        if band not in field.bands:
            raise InputError(f"{field.name}: no band {band}; it has {', '.join(field.bands)}")
        if field.wcs is None:
            raise InputError(f"{field.name}: no WCS, so that it cannot be laid over the other image")
    try:
        laid = resample(template.bands[band], template.wcs, search.wcs, search.shape)
    except InputError as error:
        raise InputError(f"{template.name}: shows no sky that {search.name} does ({error})") from error
    images = [np.where(search.mask, np.nan, search.bands[band]).astype(np.float32), laid]
    missing = ~np.isfinite(images[0]) | ~np.isfinite(images[1])
    seen = [census(np.where(missing, np.float32(np.nan), image)) for image in images]
    names = search.name, template.name
    stars = [_stars(one, name) for one, name in zip(seen, names, strict=True)]
    psfs = [_psf(one.image, *chosen) for one, chosen in zip(seen, stars, strict=True)]
    sharper = int(seen[1].stellar < seen[0].stellar)
    kernel = make_wiener_kernel(psfs[sharper], psfs[1 - sharper], regularization=SHARP, penalty="laplacian")
    flat = [one.image.copy() for one in seen]
    flat[sharper] = fftconvolve(flat[sharper], kernel, mode="same").astype(np.float32)
    scale, matched = _scale(flat[0], flat[1], *stars[0], radius=3 * max(one.stellar for one in seen))
    flat[1] = flat[1] * np.float32(scale)
    grown = cv2.dilate(missing.astype(np.uint8), np.ones((PSF_PX // 2,) * 2, np.uint8)) > 0
    difference, noise = _levelled(flat[0] - flat[1], grown)
    common = np.maximum(np.minimum(flat[0], flat[1]), 0)  # what is in one of them only is what is looked for
    noise = _with_residuals(difference, noise, common)
    science, other = (np.where(grown, np.float32(np.nan), image) for image in flat)
    widened = ("science", "template")[sharper]
    return Difference(science, other, difference, noise, psfs[1 - sharper], scale, widened, matched)


def candidates(found: Difference, *, sigma: float = FOUND_SIGMA) -> pd.DataFrame:
    """
    What stands out of a difference image, brighter or fainter than in the template.

    Parameters
    ----------
    found : Difference
        The difference.
    sigma : float
        Least signal to noise, of the light as a star's shape weighs it.

    Returns
    -------
    `~pandas.DataFrame`
        ``x``, ``y`` (0-based pixels of the search image, the light's windowed centroid), ``flux``, ``signal_to_noise``
        and ``positive`` (whether it is brighter in the search image), the surest first.
    """
    flux, error = _weighed(found)
    strength = (flux / error).astype(np.float32)
    empty = ~np.isfinite(found.difference)
    width = 1 / np.sqrt(4 * np.pi * (found.psf**2).sum())  # sigma of a normal shape as sharp
    parts = []
    for sign in (1, -1):
        objects = sep.extract(sign * strength, sigma, mask=empty, minarea=1, filter_kernel=None)
        light = np.where(empty, 0, sign * found.difference).astype(np.float32)
        x, y, _ = sep.winpos(light, objects["xpeak"], objects["ypeak"], np.full(len(objects), width), mask=empty)
        peak = objects["ypeak"].astype(int), objects["xpeak"].astype(int)
        strayed = np.hypot(x - peak[1], y - peak[0]) > STRAYS_PX
        at = {"x": np.where(strayed, peak[1], x), "y": np.where(strayed, peak[0], y)}
        part = pd.DataFrame({**at, "flux": flux[peak], "signal_to_noise": sign * strength[peak]})
        parts.append(part.assign(positive=sign > 0))
    joined = pd.concat(parts, ignore_index=True)
    return joined.sort_values("signal_to_noise", ascending=False, ignore_index=True)[list(CANDIDATES)]


def triplets(found: Difference, x: Floats, y: Floats, size: int = STAMP_PX) -> FloatImage:
    """
    Stamps of candidates, centred on them.

    Parameters
    ----------
    found : Difference
        The difference.
    x, y : 1D float64 `~numpy.ndarray`, shape (N,)
        Where, in pixels of the search image.
    size : int
        Side in pixels.

    Returns
    -------
    4D float32 `~numpy.ndarray`, shape (N, size, size, 3)
        Science, template and difference, NaN where there are no data.
    """
    planes = np.stack([found.science, found.template, found.difference], axis=-1)
    return np.asarray(cutouts(planes, x, y, np.full(len(x), float(size)), size).stamps, np.float32)


def _stars(seen: Census, name: str) -> tuple[Floats, Floats]:
    """Places of the stars that tell the seeing: well measured, alone, the brightest that are not saturated."""
    good = seen.star & ~seen.blended & (seen.signal_to_noise > WELL_MEASURED)
    ny, nx = seen.image.shape
    edge = PSF_PX // 2 + 1
    good &= (seen.x > edge) & (seen.x < nx - edge) & (seen.y > edge) & (seen.y < ny - edge)
    good &= seen.peak < 0.5 * (seen.peak[good].max() if good.any() else 0)  # the brightest may be saturated
    places = np.stack([seen.x, seen.y], axis=1)
    if len(places):
        apart, _ = cKDTree(places).query(places, k=[2])  # infinite where there is no other
        good &= apart[:, 0] > ALONE_PX
    chosen = np.flatnonzero(good)
    chosen = chosen[np.argsort(-seen.flux[chosen])][:MOST_STARS]
    if len(chosen) < LEAST_STARS:
        raise InputError(
            f"{name}: {len(chosen)} stars alone and well measured, of which a subtraction needs {LEAST_STARS}"
        )
    return seen.x[chosen], seen.y[chosen]


def _psf(image: FloatImage, x: Floats, y: Floats) -> Floats:
    """Median of stars, each centred and its sum 1; shape (31, 31)."""
    stamps = cutouts(image, x, y, np.full(len(x), float(PSF_PX)), PSF_PX).stamps[..., 0].astype(np.float64)
    stamps = stamps / stamps.sum(axis=(1, 2), keepdims=True)
    psf = np.median(stamps, axis=0)
    middle = (PSF_PX - 1) / 2
    radius = np.hypot(*(np.mgrid[:PSF_PX, :PSF_PX] - middle))
    psf *= np.clip((middle - radius) / (0.25 * middle), 0, 1)  # neighbours and noise at its edge are none of it
    return np.asarray(psf / psf.sum())


def _scale(science: FloatImage, template: FloatImage, x: Floats, y: Floats, radius: float) -> tuple[float, int]:
    """Median ratio of the fluxes of stars, and of how many."""
    ours, theirs = (sep.sum_circle(np.ascontiguousarray(image), x, y, radius)[0] for image in (science, template))
    both = (ours > 0) & (theirs > 0)
    if both.sum() < LEAST_STARS:
        raise InputError(f"{int(both.sum())} stars are in both images, of which a subtraction needs {LEAST_STARS}")
    return float(np.median(ours[both] / theirs[both])), int(both.sum())


def _levelled(difference: FloatImage, missing: BoolImage) -> tuple[FloatImage, FloatImage]:
    """Difference less its sky, and its noise."""
    filled = np.ascontiguousarray(np.where(missing, 0, difference), np.float32)
    sky = sep.Background(filled, mask=missing, bw=SKY_MESH_PX, bh=SKY_MESH_PX)
    level = np.where(missing, np.float32(np.nan), filled - sky.back())
    rms = sep.Background(filled, mask=missing, bw=NOISE_MESH_PX, bh=NOISE_MESH_PX).rms()
    return level.astype(np.float32), np.maximum(rms, np.finfo(np.float32).tiny).astype(np.float32)


def _with_residuals(difference: FloatImage, noise: FloatImage, light: FloatImage) -> FloatImage:
    """Noise, and what the subtraction leaves of bright light."""
    bright = np.isfinite(difference) & (light > BRIGHT_SIGMA * noise)
    if bright.sum() < LEAST_BRIGHT_PX:
        return noise
    share = np.percentile(np.abs(difference[bright]) / light[bright], 90) / NINE_TENTHS
    return np.asarray(np.hypot(noise, np.float32(share) * light), np.float32)


def _weighed(found: Difference) -> tuple[Floats, Floats]:
    """Flux of a star at each pixel, as its shape weighs the light there, and its noise, shape (ny, nx)."""
    missing = ~np.isfinite(found.difference)
    norm = (found.psf**2).sum()
    filled = np.where(missing, 0, found.difference).astype(np.float64)
    flux = fftconvolve(filled, found.psf[::-1, ::-1], mode="same") / norm
    variance = fftconvolve(found.noise.astype(np.float64) ** 2, (found.psf**2)[::-1, ::-1], mode="same")
    error = np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny)) / norm
    # the kernel has made neighbours share their noise, so that more of it is left than of independent pixels
    spread = (flux / error)[~missing]
    return flux, error * max(1.0, 1.4826 * float(np.median(np.abs(spread)))) if len(spread) else error
