"""Difference images: a search image less its template, the two brought to one seeing, and what is left over."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import sep
from scipy.ndimage import map_coordinates, shift
from scipy.signal import fftconvolve
from scipy.spatial import cKDTree

from fieldprep.align import resample
from fieldprep.census import WELL_MEASURED, Census, census
from fieldprep.cutouts import cutouts
from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fieldprep.field import BoolImage, Field, FloatImage

    Matching = Callable[["Floats", "Floats"], tuple["Floats", "Floats"]]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PSF_RADII, LEAST_HALF_PX = 6.0, 15  # half a side of the image of a star, in half-light radii, and at least
LEAST_STARS, MOST_STARS = 5, 200
SHAPED_BY = 30  # brightest stars: fainter ones bring more noise than shape
APERTURE_RADII = 1.5  # half-light radii: the seeing is one by then, and the sky under a star weighs less
PAIR_PX = 3.0  # within which a star of one image is a star of the other
LEAST_SHIFT_PX = 0.02  # less is left between the images
BAD_SHARE = 0.01  # of a resampled pixel
SIGMA_OF_HALF_LIGHT = 0.849  # of a Gaussian
ALONE_PX = 12.0  # how far a star of the PSF is from anything else
SHARP = 1e-3  # of the power at frequency 0: where there is less, the kernel corrects nothing
LEAST_TRANSFER = 0.1  # of a frequency that tells how wide a star is
LEAST_WIDENING = 0.05  # square pixels: a narrower Gaussian is none
UNWIDENED = 0.8  # sum of squares of a kernel that does next to nothing
SKY_MESH_PX, NOISE_MESH_PX = 128, 64
STAMP_PX = 63
CLIMBS_SIGMA = 3.0  # how far the light of a candidate is from where it is surest, in sigma of a star
STRAYS_PX = 1.5  # farther from its highest pixel a centroid is another object's
FOUND_SIGMA = 5.0
BRIGHT_SIGMA, LEAST_BRIGHT_PX = 10.0, 50  # pixels whose residuals tell how well light is subtracted
NINE_TENTHS = 1.645  # sigma within which nine tenths of normal errors lie
CANDIDATES = ("x", "y", "flux", "signal_to_noise", "positive", "unusable")


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
    unusable : 2D bool `~numpy.ndarray`, shape (ny, nx)
        Where either has light of something with unusable pixels in it, as a saturated star.
    psf : 2D float64 `~numpy.ndarray`, shape (side, side)
        Image of a star in the difference, its sum 1.
    scale : float
        What the template was multiplied by.
    widened : {'science', 'template', 'both', 'neither'}
        Which of the two was made less sharp.
    stars : int
        How many stars told seeing and scale.
    """

    science: FloatImage
    template: FloatImage
    difference: FloatImage
    noise: FloatImage
    unusable: BoolImage
    psf: Floats
    scale: float
    widened: str
    stars: int


def matching(science: Floats, template: Floats) -> tuple[Floats, Floats]:
    """
    Kernels that give two images one seeing.

    Parameters
    ----------
    science, template : 2D float64 `~numpy.ndarray`, shape (side, side)
        Image of a star in each, its sum 1.

    Returns
    -------
    of_science, of_template : 2D float64 `~numpy.ndarray`, shape (side, side)
        Kernels, their sum 1.

    Notes
    -----
    Each is widened by a Gaussian along the axis in which it is the sharper, so that nothing is brought back that the
    seeing has taken. What then still differs is corrected in the one that was widened more, by the ratio of the
    transforms, which goes to 1 where there is no signal: a kernel that goes to 0 there, as Wiener's (Boucaud et al.
    2016, A&A 596, A63), rings about bright stars.
    """
    ours, theirs = (np.fft.fft2(np.fft.ifftshift(psf)) for psf in (science, template))
    fx, fy = np.meshgrid(np.fft.fftfreq(len(science)), np.fft.fftfreq(len(science)))
    square = (2 * np.pi) ** 2 * np.stack([fx**2, 2 * fx * fy, fy**2], axis=-1)
    told = (np.abs(ours) > LEAST_TRANSFER) & (np.abs(theirs) > LEAST_TRANSFER)
    # the Gaussian between them: its transform is the exponential of minus half of this
    (xx, xy, yy), *_ = np.linalg.lstsq(square[told], 2 * np.log(np.abs(ours[told] / theirs[told])), rcond=None)
    widths, axes = np.linalg.eigh([[xx, xy], [xy, yy]])
    along = (2 * np.pi) ** 2 * np.square(np.stack([fx, fy], axis=-1) @ axes)
    wider = [np.exp(-0.5 * along @ np.where(sign * widths > LEAST_WIDENING, np.abs(widths), 0)) for sign in (1, -1)]
    more = int(widths.sum() < 0)
    now = [ours * wider[0], theirs * wider[1]]
    wider[more] = wider[more] * (now[1 - more] * np.conj(now[more]) + SHARP) / (np.abs(now[more]) ** 2 + SHARP)
    taper = _taper(len(science) // 2)
    first, second = (np.fft.fftshift(np.fft.ifft2(one).real) * taper for one in wider)
    return first / first.sum(), second / second.sum()


def subtract(search: Field, template: Field, band: str | None = None, *, kernels: Matching | None = None) -> Difference:
    """
    Subtract a template from a search image of the same sky.

    Parameters
    ----------
    search, template : Field
        Both with a WCS; the template is brought onto the search image's grid.
    band : str, optional
        Band of both; by default the search image's middle one.
    kernels : callable, optional
        From the image of a star in the search image and in the template to the kernels that are laid over them;
        `matching` by default.

    Returns
    -------
    Difference

    Raises
    ------
    fieldprep.errors.InputError
        If a band or a WCS is missing, the two do not overlap, or too few stars are in both.

    Notes
    -----
    The template is laid over the search image by the WCSs, then by the stars in both, whose median shift is taken out.
    Both are brought to one seeing for the whole image, see `matching`, and fluxes to the search image's by those stars.
    Where there is light, and beside it, the noise holds what the subtraction leaves of it: the share of the light under
    which nine tenths of the residuals of bright pixels lie, as of normal errors.
    """
    band = band or list(search.bands)[len(search.bands) // 2]
    for field in (search, template):
        if band not in field.bands:
            raise InputError(f"{field.name}: no band {band}; it has {', '.join(field.bands)}")
        if field.wcs is None:
            raise InputError(f"{field.name}: no WCS, so that it cannot be laid over the other image")
    seen, unusable, stars = _registered(search, template, band)
    missing = seen[0].missing | seen[1].missing
    half = max(LEAST_HALF_PX, round(PSF_RADII * max(one.stellar for one in seen)))
    psfs = [_psf(one.image, x[:SHAPED_BY], y[:SHAPED_BY], half) for one, (x, y) in zip(seen, stars, strict=True)]
    pair = (kernels or matching)(*psfs)
    flat = [
        fftconvolve(np.where(missing, 0, one.image), kernel, mode="same").astype(np.float32)
        for one, kernel in zip(seen, pair, strict=True)
    ]
    scale, matched = _scale(flat[0], flat[1], *stars[0], max(one.stellar for one in seen))
    flat[1] = flat[1] * np.float32(scale)
    grown = cv2.dilate(missing.astype(np.uint8), np.ones((half, half), np.uint8)) > 0
    difference, noise = _levelled(flat[0] - flat[1], grown)
    common = np.maximum(np.minimum(flat[0], flat[1]), 0)  # what is in one of them only is what is looked for
    beside = 2 * math.ceil(max(one.stellar for one in seen)) + 1  # residuals lie beside the light that leaves them
    noise = _with_residuals(
        difference, noise, cv2.dilate(common, np.ones((beside, beside), np.uint8)).astype(np.float32)
    )
    science, other = (np.where(grown, np.float32(np.nan), image) for image in flat)
    wide = [float((kernel**2).sum()) < UNWIDENED for kernel in pair]
    widened = "both" if all(wide) else "science" if wide[0] else "template" if wide[1] else "neither"
    psf = np.mean([fftconvolve(psf, one, mode="same") for psf, one in zip(psfs, pair, strict=True)], axis=0)
    told = _lit(unusable[0], seen[0], half) | _lit(unusable[1], seen[1], half)
    return Difference(science, other, difference, noise, told, psf / psf.sum(), scale, widened, matched)


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
        ``x``, ``y`` (0-based pixels of the search image, the light's windowed centroid), ``flux``, ``signal_to_noise``,
        ``positive`` (whether it is brighter in the search image) and ``unusable`` (whether it lies in light that has
        unusable pixels in it: a saturated star's, of which something is always left), the surest first.
    """
    flux, error = _weighed(found)
    strength = (flux / error).astype(np.float32)
    empty = ~np.isfinite(found.difference)
    width = 1 / np.sqrt(4 * np.pi * (found.psf**2).sum())  # sigma of a normal shape as sharp
    parts = []
    for sign in (1, -1):
        objects = sep.extract(sign * strength, sigma, mask=empty, minarea=1, filter_kernel=None)
        surest = objects["ypeak"].astype(int), objects["xpeak"].astype(int)
        peak = _uphill(sign * flux, *surest, steps=math.ceil(CLIMBS_SIGMA * width))
        light = np.where(empty, 0, sign * found.difference).astype(np.float32)
        x, y, _ = sep.winpos(light, *map(np.float64, peak[::-1]), np.full(len(objects), width), mask=empty)
        strayed = np.hypot(x - peak[1], y - peak[0]) > STRAYS_PX
        at = {"x": np.where(strayed, peak[1], x), "y": np.where(strayed, peak[0], y)}
        # between the pixels: at the nearest one a star is fainter by a few percent
        told = {"flux": map_coordinates(flux, [at["y"], at["x"]]), "signal_to_noise": sign * strength[surest]}
        part = pd.DataFrame({**at, **told, "positive": sign > 0, "unusable": found.unusable[peak]})
        part = part.assign(peak=np.ravel_multi_index(peak, empty.shape)).sort_values("signal_to_noise", ascending=False)
        parts.append(part.drop_duplicates("peak"))
    joined = pd.concat(parts, ignore_index=True)
    return joined.sort_values("signal_to_noise", ascending=False, ignore_index=True)[list(CANDIDATES)]


def triplets(found: Difference, x: Floats, y: Floats, size: int = STAMP_PX, *, stars: float = 0.0) -> FloatImage:
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
    stars : float
        Half-light radius that a star is brought to in them, in pixels; 0 leaves the image's own pixels.

    Returns
    -------
    4D float32 `~numpy.ndarray`, shape (N, size, size, 3)
        Science, template and difference, NaN where there are no data.
    """
    planes = np.stack([found.science, found.template, found.difference], axis=-1)
    zoom = half_light_radius(found.psf) / stars if stars else 1.0
    return np.asarray(cutouts(planes, x, y, np.full(len(x), size * zoom), size).stamps, np.float32)


def half_light_radius(psf: Floats) -> float:
    """Radius in pixels of half of the light of a star, whose image of shape (side, side) is centred."""
    y, x = np.indices(psf.shape) - len(psf) // 2
    radius = np.hypot(x, y).ravel()
    order = np.argsort(radius, kind="stable")
    light = np.cumsum(psf.ravel()[order])
    return float(np.interp(0.5, light / light[-1], radius[order]))


def _registered(
    search: Field, template: Field, band: str
) -> tuple[list[Census], list[BoolImage], list[tuple[Floats, Floats]]]:
    """What is in both on the search image's grid, what is unusable in each, and where the stars in both are."""
    ours = census(search.bands[band])
    wcs: Any = copy.deepcopy(search.wcs)
    for _ in range(2):
        try:
            theirs = census(resample(template.bands[band], template.wcs, wcs, search.shape))
        except InputError as error:
            raise InputError(f"{template.name}: shows no sky that {search.name} does ({error})") from error
        bad = resample(template.mask.astype(np.float32), template.wcs, wcs, search.shape) > BAD_SHARE
        unusable = [search.mask & ~ours.missing, bad & ~theirs.missing]
        stars = _stars(ours, theirs, unusable[0] | unusable[1], (search.name, template.name))
        off = np.median(np.array(stars[1]) - stars[0], axis=1)
        if np.linalg.norm(off) < LEAST_SHIFT_PX:
            break
        wcs.wcs.crpix = wcs.wcs.crpix - off
        wcs.wcs.set()
    return [ours, theirs], unusable, stars


def _stars(ours: Census, theirs: Census, unusable: BoolImage, names: tuple[str, str]) -> list[tuple[Floats, Floats]]:
    """Places in each image of the stars that are in both: alone, well measured, the brightest not saturated."""
    good = [_well_measured(one, unusable) for one in (ours, theirs)]
    places = [np.stack([one.x, one.y], axis=1)[kept] for one, kept in zip((ours, theirs), good, strict=True)]
    pairs = np.zeros((0, 2), np.int64)
    if all(len(xy) for xy in places):
        apart, nearest = cKDTree(places[1]).query(places[0])
        pairs = np.stack([np.arange(len(nearest)), nearest], axis=1)[apart < PAIR_PX]
    pairs = pairs[np.argsort(-ours.flux[good[0]][pairs[:, 0]])][:MOST_STARS]
    if len(pairs) < LEAST_STARS:
        raise InputError(
            f"{names[0]}: {len(pairs)} stars alone and well measured that are in {names[1]} too, "
            f"of which a subtraction needs {LEAST_STARS}"
        )
    found = []
    for one, xy, side in zip((ours, theirs), places, (0, 1), strict=True):
        x, y, _ = sep.winpos(one.image, *xy[pairs[:, side]].T, one.stellar * SIGMA_OF_HALF_LIGHT, mask=one.missing)
        found.append((x, y))
    return found


def _well_measured(seen: Census, unusable: BoolImage) -> BoolImage:
    """Which objects tell what a star looks like, shape (N,)."""
    good = seen.star & ~seen.blended & (seen.signal_to_noise > WELL_MEASURED)
    ny, nx = seen.image.shape
    edge = max(LEAST_HALF_PX, PSF_RADII * seen.stellar) + 1
    good &= (seen.x > edge) & (seen.x < nx - edge) & (seen.y > edge) & (seen.y < ny - edge)
    good &= ~unusable[np.rint(seen.y).astype(int), np.rint(seen.x).astype(int)]
    good &= seen.peak < 0.5 * (seen.peak[good].max() if good.any() else 0)  # the brightest may be saturated
    if len(seen):
        places = np.stack([seen.x, seen.y], axis=1)
        apart, _ = cKDTree(places).query(places, k=[2])  # infinite where there is no other
        good &= apart[:, 0] > ALONE_PX
    return np.asarray(good, np.bool_)


def _psf(image: FloatImage, x: Floats, y: Floats, half: int) -> Floats:
    """Median of stars, each centred, its sky taken off and its sum 1; shape (2 half + 1, 2 half + 1)."""
    radius = _radius(half)
    padded = np.pad(image, half).astype(np.float64)
    stamps = []
    for cx, cy in zip(x, y, strict=True):
        column, row = round(cx), round(cy)
        # splines: linear interpolation would make the star a tenth broader
        stamp = shift(padded[row:, column:][: 2 * half + 1, : 2 * half + 1], (row - cy, column - cx), order=5)
        stamp -= np.median(stamp[radius > 0.8 * half])
        stamps.append(stamp / stamp[radius < half / 2].sum())
    psf = np.median(stamps, axis=0) * _taper(half)  # neighbours and noise at its edge are none of it
    return np.asarray(psf / psf.sum())


def _radius(half: int) -> Floats:
    return np.asarray(np.hypot(*(np.mgrid[: 2 * half + 1, : 2 * half + 1] - half)))


def _taper(half: int) -> Floats:
    """1 within, and 0 from the edge on."""
    return np.clip(4 * (1 - _radius(half) / half), 0, 1)


def _scale(science: FloatImage, template: FloatImage, x: Floats, y: Floats, stellar: float) -> tuple[float, int]:
    """Median ratio of the fluxes of stars, and of how many."""
    radius, ring = APERTURE_RADII * stellar, (5 * stellar, PSF_RADII * stellar)
    ours, theirs = (
        sep.sum_circle(np.ascontiguousarray(image), x, y, radius, bkgann=ring)[0] for image in (science, template)
    )
    both = (ours > 0) & (theirs > 0)
    if both.sum() < LEAST_STARS:
        raise InputError(f"{int(both.sum())} stars are in both images, of which a subtraction needs {LEAST_STARS}")
    return float(np.median(ours[both] / theirs[both])), int(both.sum())


def _lit(unusable: BoolImage, seen: Census, reach: int) -> BoolImage:
    """Unusable pixels, a star's reach around them, and all the light of what they lie in."""
    objects = np.unique(seen.segments[unusable])
    near = cv2.dilate(unusable.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    return np.asarray(near | np.isin(seen.segments, objects[objects > 0]))


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


def _uphill(light: Floats, row: Ints, column: Ints, *, steps: int) -> tuple[Ints, Ints]:
    """
    Where light is the highest, from each pixel up.

    Beside a bright star the noise falls outwards and takes the greatest signal to noise along, off the transient.
    """
    here, about = (row, column), np.array([(0, 0), *((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))]).T
    for _ in range(steps):
        there = tuple(
            np.clip(at[:, None] + by, 0, side - 1) for at, by, side in zip(here, about, light.shape, strict=True)
        )
        best = light[there].argmax(axis=1)
        here = there[0][np.arange(len(best)), best], there[1][np.arange(len(best)), best]
    return here


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
