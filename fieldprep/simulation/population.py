"""
What is in a simulated field: galaxies and stars with their magnitudes, colours, sizes and shapes.

Each function gives a table, a row an object. ``x, y`` are 0-based pixels of the r frame, ``modelMag_*`` the
magnitudes of all its light, and of a galaxy ``radius`` (half-light, arcsec), ``bulge`` (share of the r light),
``bulge_q, disc_q`` (axis ratios), ``angle`` (degrees from +x towards +y), ``kind``, ``shear`` and
``shear_angle``, and ``seed`` of whatever else is drawn at random in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats = npt.NDArray[np.float64]

BANDS = ("g", "r", "i")
FAINTEST = 23.5
BRIGHTEST_GALAXY, BRIGHTEST_STAR = 15.5, 10.0
GALAXY_SLOPE, STAR_SLOPE = 0.40, 0.15  # dex a magnitude, between r = 17 and 21 in seven SDSS fields
BRIGHT_STAR_SLOPE = 0.28  # of stars brighter than r = 14: some 45 a square degree are brighter than 12 off the plane
# arcsec: a galaxy of the largest half-light radius takes a transform of 2048 pixels, which GalSim never refuses but
# takes minutes over not much further on
LARGEST_RADIUS = 30.0
COMPANIONS = 0.08  # share of galaxies with another placed beside them
DETAILED_RADIUS = 1.6  # arcsec: smaller galaxies show no arms in SDSS's seeing
SPIRALS = 0.75  # share of the large galaxies with small bulges that have arms
MERGERS = 0.04  # share of the large galaxies that are two


@dataclass(frozen=True)
class Density:
    """
    How many objects there are, a square degree, brighter than r = 20.

    Parameters
    ----------
    galaxies, stars : float
        By default the medians of seven SDSS fields, as `fieldprep.simulation.likeness.matched` finds them.
    """

    galaxies: float = 1340.0
    stars: float = 2300.0

    @classmethod
    def of(cls, magnitude: Floats, star: npt.NDArray[np.bool_], area: float) -> Density:
        """
        Density of what is counted in a field.

        Parameters
        ----------
        magnitude : 1D `~numpy.ndarray`, shape (N,)
            r magnitudes.
        star : 1D bool `~numpy.ndarray`, shape (N,)
            True = star, False = galaxy.
        area : float
            Square degrees.

        Returns
        -------
        Density
            From galaxies of 17 < r < 21 and stars of 17 < r < 20.5, brought to r = 20 by the slopes of the
            counts, so that a hundred objects and not fifty fix it.
        """
        galaxies = np.sum(~star & (magnitude > 17) & (magnitude < 21))
        stars = np.sum(star & (magnitude > 17) & (magnitude < 20.5))
        return cls(
            float(galaxies / area / (10**GALAXY_SLOPE - 10 ** (-3 * GALAXY_SLOPE))),
            float(stars / area / (10 ** (0.5 * STAR_SLOPE) - 10 ** (-3 * STAR_SLOPE))),
        )


def area_deg2(shape: tuple[int, int], pixel_scale: float) -> float:
    """Area of a frame, shape (ny, nx), arcsec per pixel, in square degrees."""
    return shape[0] * shape[1] * (pixel_scale / 3600) ** 2


def galaxies(rng: np.random.Generator, shape: tuple[int, int], pixel_scale: float, density: Density) -> pd.DataFrame:
    """
    Draw the galaxies of a field.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
    shape : (ny, nx)
        Shape of the r frame.
    pixel_scale : float
        Arcsec per pixel.
    density : Density
        How many.

    Returns
    -------
    `~pandas.DataFrame`
        See the module.
    """
    magnitude = _magnitudes(rng, density.galaxies, GALAXY_SLOPE, BRIGHTEST_GALAXY, area_deg2(shape, pixel_scale))
    n = len(magnitude)
    x, y = rng.uniform(-0.5, shape[1] - 0.5, n), rng.uniform(-0.5, shape[0] - 0.5, n)
    beside = np.flatnonzero(rng.uniform(size=n) < COMPANIONS)
    for i in beside[beside > 0]:
        j, angle, distance = rng.integers(i), rng.uniform(0, 2 * np.pi), rng.uniform(2.0, 8.0) / pixel_scale
        x[i], y[i] = x[j] + distance * np.cos(angle), y[j] + distance * np.sin(angle)
    return galaxies_at(rng, x, y, magnitude)


def galaxies_at(
    rng: np.random.Generator, x: Floats, y: Floats, magnitude: Floats, radius: Floats | None = None
) -> pd.DataFrame:
    """
    Galaxies of given places and magnitudes, all else drawn.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
    x, y : 1D `~numpy.ndarray`, shape (N,)
        0-based pixels of the r frame.
    magnitude : 1D `~numpy.ndarray`, shape (N,)
        r magnitudes.
    radius : 1D `~numpy.ndarray`, shape (N,), optional
        Half-light radii, arcsec; drawn by magnitude if not given.

    Returns
    -------
    `~pandas.DataFrame`
        See the module.
    """
    n = len(magnitude)
    if radius is None:
        # half-light radius against magnitude, such that seven SDSS fields' own are met through their seeing
        radius = np.clip(1.95 * 10 ** (-0.15 * (magnitude - 17.8) + rng.normal(0, 0.17, n)), 0.15, LARGEST_RADIUS)
    bulge = rng.beta(0.8, 1.6, n)
    # g-r of seven SDSS fields' galaxies: a blue and a red half, the red one redder with redshift
    depth = np.clip(magnitude - 17, 0, 4)
    red = rng.uniform(size=n) < np.clip(0.38 + 0.5 * bulge - 0.03 * np.clip(depth - 2, 0, 2), 0, 1)
    colour_gr = np.where(
        red,
        rng.normal(np.minimum(1.0 + 0.17 * depth, 1.53), 0.14, n),
        rng.normal(0.70 + 0.02 * depth, 0.20, n),
    )
    scatter_ri = 0.06 + 0.07 * np.clip(magnitude - 19, 0, 2.5)  # fainter galaxies are of more redshifts
    thick = 0.2  # of a disc seen edge-on
    large = radius > DETAILED_RADIUS
    kind = np.where(large & (bulge < 0.5) & (rng.uniform(size=n) < SPIRALS), "spiral", "smooth")
    kind = np.where(large & (rng.uniform(size=n) < MERGERS), "merger", kind)
    disc_q = np.sqrt(rng.uniform(0, 1, n) ** 2 * (1 - thick**2) + thick**2)
    bulge[kind == "merger"] = 0.0
    disc_q = np.where(kind == "merger", 0.6 + 0.4 * disc_q, disc_q)  # two discs never lie in one plane
    return pd.DataFrame(
        {
            "x": x,
            "y": y,
            "modelMag_g": magnitude + colour_gr,
            "modelMag_r": magnitude,
            "modelMag_i": magnitude - rng.normal(0.19 + 0.225 * colour_gr, scatter_ri),
            "radius": radius,
            "bulge": bulge,
            "bulge_q": rng.uniform(0.6, 1.0, n),
            "disc_q": disc_q,
            "angle": rng.uniform(0, 180, n),
            "kind": kind,
            "shear": 0.0,
            "shear_angle": 0.0,
            "seed": rng.integers(2**63, size=n),
        }
    )


def stars(rng: np.random.Generator, shape: tuple[int, int], pixel_scale: float, density: Density) -> pd.DataFrame:
    """
    Draw the stars of a field.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
    shape : (ny, nx)
        Shape of the r frame.
    pixel_scale : float
        Arcsec per pixel.
    density : Density
        How many.

    Returns
    -------
    `~pandas.DataFrame`
        ``x, y, modelMag_g, modelMag_r, modelMag_i``.
    """
    magnitude = _magnitudes(rng, density.stars, STAR_SLOPE, BRIGHTEST_STAR, area_deg2(shape, pixel_scale))
    fewer = 10 ** ((BRIGHT_STAR_SLOPE - STAR_SLOPE) * (np.minimum(magnitude, 14) - 14))
    magnitude = magnitude[rng.uniform(size=len(magnitude)) < fewer]
    n = len(magnitude)
    # the stellar locus: bluer halo stars and redder dwarfs (Covey et al. 2007, table 3), the dwarfs' share and
    # the halo stars' spread those of seven SDSS fields: a seventh at r = 16, more than half at 20
    dwarfs = rng.uniform(size=n) < np.clip(0.14 + 0.11 * (magnitude - 16.5), 0.13, 0.54)
    colour_gr = np.where(dwarfs, rng.normal(1.42, 0.1, n), rng.normal(0.40, 0.04, n) + rng.gamma(1.3, 0.2, n))
    colour_ri = np.where(dwarfs, 0.5 + 1.2 * rng.beta(1.3, 1.9, n), rng.normal(0.02 + 0.36 * colour_gr, 0.03, n))
    return stars_of(
        rng.uniform(-0.5, shape[1] - 0.5, n), rng.uniform(-0.5, shape[0] - 0.5, n), magnitude, colour_gr, colour_ri
    )


def stars_of(x: Floats, y: Floats, magnitude: Floats, colour_gr: Floats, colour_ri: Floats) -> pd.DataFrame:
    """Return stars of given places, r magnitudes and colours, each of shape (N,), as `stars` does."""
    return pd.DataFrame(
        {
            "x": x,
            "y": y,
            "modelMag_g": magnitude + colour_gr,
            "modelMag_r": magnitude,
            "modelMag_i": magnitude - colour_ri,
        }
    )


def _magnitudes(rng: np.random.Generator, at_20: float, slope: float, brightest: float, area: float) -> Floats:
    """Magnitudes of a power law in flux, 10^(slope m) a magnitude, ``at_20`` a square degree under 20."""
    count = rng.poisson(at_20 * 10 ** (slope * (FAINTEST - 20)) * area)
    share = rng.uniform(10 ** (slope * (brightest - FAINTEST)), 1, count)
    magnitude: Floats = FAINTEST + np.log10(share) / slope
    return magnitude


def rows(table: pd.DataFrame) -> Iterator[Any]:
    """Rows of a table as named tuples, whose fields have no known types."""
    return iter(table.itertuples())


def flux(magnitude: float) -> float:
    """Nanomaggies of an AB magnitude."""
    return math.pow(10, 0.4 * (22.5 - magnitude))
