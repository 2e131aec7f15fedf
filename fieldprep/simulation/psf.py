"""The point spread function of an image, from its own stars. Needs the train extra."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import galsim
import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, least_squares
from scipy.spatial import cKDTree

from fieldprep.errors import InputError

if TYPE_CHECKING:
    from fieldprep.census import Census

Floats = npt.NDArray[np.float64]

WING_BETA = 2.5  # the best of 2.5, 3, 3.5 and 4 on 21 SDSS frames; GalSim's transform of half-integers is fast
SIGMA_OF_FWHM = 1 / (2 * np.sqrt(2 * np.log(2)))
FEWEST_STARS = 5
LEAST_SIGNAL_TO_NOISE = 30.0
STELLAR_BAND = 0.10  # how far a star's half-light radius may be from the stars' own, as a share
CLEAR_PX = 12.0  # no other object within
REACH_PX = 16.0  # the profile is fitted out to here; a star's own sky is taken beyond
_HALF = 24  # half-side of a star's stamp
_BIN_EDGES = np.concatenate([np.arange(0, 8, 0.25), np.arange(8, REACH_PX + 1)])


@dataclass(frozen=True)
class Psf:
    """
    Point spread function with the pixel in it: a Gaussian core and Moffat wings.

    Parameters
    ----------
    core_fwhm : float
        Of the Gaussian, arcsec.
    wing : float
        Share of the light in the wings, whose exponent beta is 2.5.
    wing_fwhm : float
        Of the wings, arcsec.
    g1, g2 : float
        Shape, as a reduced shear in pixel coordinates.
    stars : int
        Stars it was measured on; 0 for one that was given.
    """

    core_fwhm: float
    wing: float
    wing_fwhm: float
    g1: float = 0.0
    g2: float = 0.0
    stars: int = 0

    def profile(self) -> Any:
        """Return it as a GalSim object of flux 1, in arcsec, to be drawn without another pixel (``no_pixel``)."""
        core = (1 - self.wing) * galsim.Gaussian(fwhm=self.core_fwhm)
        wing = self.wing * galsim.Moffat(beta=WING_BETA, fwhm=self.wing_fwhm)
        return (core + wing).shear(g1=self.g1, g2=self.g2)

    @cached_property
    def fwhm(self) -> float:
        """Width at half its peak, arcsec: what is called the seeing."""
        peak = float(self.value(np.zeros(1))[0])
        return 2 * float(brentq(lambda r: self.value(np.array([r]))[0] - peak / 2, 0, self.core_fwhm + self.wing_fwhm))

    def value(self, radius: Floats) -> Floats:
        """Surface brightness a square arcsec at an elliptical radius in arcsec, for a flux of 1."""
        return _value(radius, self.core_fwhm, self.wing, self.wing_fwhm)

    def at(self, dx: Floats, dy: Floats) -> Floats:
        """Surface brightness a square arcsec at offsets from the centre in arcsec, for a flux of 1."""
        return self.value(_elliptical(dx, dy, self.g1, self.g2))

    def line_spread(self, distance: Floats) -> Floats:
        """Brightness an arcsec of width, at a distance in arcsec, of a line whose brightness an arcsec is 1."""
        return np.interp(distance, *self._line, right=0.0)

    @cached_property
    def _line(self) -> tuple[Floats, Floats]:
        """Distances from a line, and its brightness there: the PSF summed along it."""
        reach = max(self.core_fwhm, self.wing_fwhm)
        across, along = np.linspace(0, 8 * reach, 250), np.linspace(0, 16 * reach, 1000)
        summed = np.trapezoid(self.value(np.hypot(across[:, None], along)), along, axis=1)
        return across, 2 * np.asarray(summed)


def measure_psf(objects: Census, pixel_scale: float, *, saturation: float = np.inf) -> Psf:
    """
    Measure the point spread function on an image's stars.

    Parameters
    ----------
    objects : Census
        What is in the image.
    pixel_scale : float
        Arcsec per pixel.
    saturation : float
        Stars that come within a fifth of this pixel value are left out.

    Returns
    -------
    Psf

    Raises
    ------
    fieldprep.errors.InputError
        If fewer than 5 stars serve: bright, alone, whole and not saturated.

    Notes
    -----
    The pixels of all stars, each against its distance from its star's windowed centroid and over its flux,
    are one finely sampled radial profile, whose medians in rings are fitted; no pixel is interpolated. The
    shape is the median of the stars' adaptive moments, and distances are elliptical by it. One function
    stands for the whole image. On 21 SDSS frames the fit follows the medians to about 1 % within 8 px.

    References
    ----------
    Racine 1996, PASP 108, 699 (the Moffat wings of a stellar image); Hirata & Seljak 2003, MNRAS 343, 459
    (adaptive moments).
    """
    chosen = psf_stars(objects, saturation)
    stamps = [stamp for stamp in (_stamp(objects, k) for k in chosen) if stamp is not None]
    shapes = np.array([(stamp.g1, stamp.g2) for stamp in stamps]).reshape(-1, 2)
    if len(stamps) < FEWEST_STARS:
        msg = (
            f"{len(stamps)} bright single stars that are not saturated; the point spread function wants {FEWEST_STARS}"
        )
        raise InputError(msg)
    g1, g2 = np.median(shapes, axis=0)
    radius = np.concatenate([_elliptical(stamp.dx, stamp.dy, g1, g2) for stamp in stamps])
    value = np.concatenate([stamp.value for stamp in stamps])
    core, wing, wing_fwhm = _fit(*_profile(radius, value), guess=1.9 * objects.stellar)
    return Psf(core * pixel_scale, wing, wing_fwhm * pixel_scale, g1=float(g1), g2=float(g2), stars=len(stamps))


def psf_stars(objects: Census, saturation: float = np.inf) -> npt.NDArray[np.int64]:
    """
    Objects that serve to measure the point spread function.

    Parameters
    ----------
    objects : Census
        What is in the image.
    saturation : float
        See `measure_psf`.

    Returns
    -------
    1D int64 `~numpy.ndarray`
        Indices: as concentrated as the stars, bright, unblended, alone within 12 px and off the edge.
    """
    if len(objects) < 2:
        return np.zeros(0, np.int64)
    ny, nx = objects.image.shape
    at = np.stack([objects.x, objects.y], axis=1)
    nearest = cKDTree(at).query(at, k=2)[0][:, 1]
    good = (
        (np.abs(objects.half_light / objects.stellar - 1) < STELLAR_BAND)
        & (objects.signal_to_noise > LEAST_SIGNAL_TO_NOISE)
        & (objects.peak < 0.8 * saturation)
        & ~objects.blended
        & (nearest > CLEAR_PX)
        & (np.abs(objects.x - (nx - 1) / 2) < nx / 2 - _HALF - 1)
        & (np.abs(objects.y - (ny - 1) / 2) < ny / 2 - _HALF - 1)
    )
    chosen: npt.NDArray[np.int64] = np.flatnonzero(good)
    return chosen


@dataclass(frozen=True, eq=False)
class _Stamp:
    """One star: offsets of its free pixels from its centre, their values over its flux, its shape."""

    dx: Floats
    dy: Floats
    value: Floats
    g1: float
    g2: float


def _stamp(objects: Census, k: int) -> _Stamp | None:
    """Stamp of one star, None where its moments or flux are no star's."""
    x0, y0 = round(objects.x[k]), round(objects.y[k])
    part = (slice(y0 - _HALF, y0 + _HALF + 1), slice(x0 - _HALF, x0 + _HALF + 1))
    owner = objects.segments[part]
    free = ((owner == 0) | (owner == k + 1)) & ~objects.missing[part]
    y, x = np.mgrid[y0 - _HALF : y0 + _HALF + 1, x0 - _HALF : x0 + _HALF + 1]
    apart = np.hypot(x - objects.x[k], y - objects.y[k])
    sky = objects.image[part][free & (apart > REACH_PX + 2)]
    if sky.size == 0:
        return None
    light = objects.image[part].astype(np.float64) - np.median(sky)
    found = galsim.hsm.FindAdaptiveMom(
        galsim.Image(np.where(free, light, 0), xmin=x0 - _HALF, ymin=y0 - _HALF),
        guess_centroid=galsim.PositionD(objects.x[k], objects.y[k]),
        guess_sig=objects.stellar,
        strict=False,
    )
    flux = light[free & (apart < 0.6 * REACH_PX)].sum()
    if found.moments_status != 0 or flux <= 0:
        return None
    centre = found.moments_centroid
    near = free & (apart < REACH_PX)
    return _Stamp(
        (x - centre.x)[near],
        (y - centre.y)[near],
        light[near] / flux,
        found.observed_shape.g1,
        found.observed_shape.g2,
    )


def _profile(radius: Floats, value: Floats) -> tuple[Floats, Floats, Floats]:
    """Root-mean-square radius, median and its error in each ring that holds enough pixels."""
    ring = np.digitize(radius, _BIN_EDGES) - 1
    rows = []
    for k in range(len(_BIN_EDGES) - 1):
        inside = value[ring == k]
        if len(inside) >= 5:
            error = 1.2533 * np.std(inside) / np.sqrt(len(inside))
            rows.append((np.sqrt(np.mean(radius[ring == k] ** 2)), np.median(inside), error))
    mean, median, errors = np.array(rows).T
    return mean, median, errors


def _fit(radius: Floats, median: Floats, error: Floats, guess: float) -> tuple[float, float, float]:
    """Core FWHM, the wings' share and their FWHM, in pixels."""
    # no ring is trusted to better than 1 %: the function varies over the image
    weight = 1 / np.hypot(error, 0.01 * np.abs(median) + 1e-7)

    def residual(q: Floats) -> Floats:
        core, wing, ratio, scale = q
        pull: Floats = (scale * _value(radius, core, wing, core * ratio) - median) * weight
        return pull

    limits = ([0.5, 0.0, 0.8, 0.8], [30.0, 1.0, 5.0, 1.2])
    core, wing, ratio, _ = least_squares(residual, [guess, 0.4, 1.5, 1.0], bounds=limits).x
    return float(core), float(wing), float(core * ratio)


def _elliptical(dx: Floats, dy: Floats, g1: float, g2: float) -> Floats:
    """Radius at offsets from the centre of a shape, by whose ellipses of its own area it is counted."""
    x, y = (1 - g1) * dx - g2 * dy, (1 + g1) * dy - g2 * dx
    distance: Floats = np.hypot(x, y) / np.sqrt(1 - g1**2 - g2**2)
    return distance


def _value(radius: Floats, core_fwhm: float, wing: float, wing_fwhm: float) -> Floats:
    """Gaussian and Moffat of flux 1 together, at a radius in the unit of the widths."""
    sigma = core_fwhm * SIGMA_OF_FWHM
    gaussian = np.exp(-(radius**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    square = (wing_fwhm / 2) ** 2 / (2 ** (1 / WING_BETA) - 1)
    moffat = (WING_BETA - 1) / (np.pi * square) * (1 + radius**2 / square) ** -WING_BETA
    value: Floats = (1 - wing) * gaussian + wing * moffat
    return value
