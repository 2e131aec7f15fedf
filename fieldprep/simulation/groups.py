"""Objects that come together: a group of galaxies with lensed arcs about it, and a globular cluster."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fieldprep.simulation.population import FAINTEST, galaxies_at, stars_of

MEMBERS = 12  # galaxies of a group beside its brightest
CLUSTER_SLOPE, BRIGHTEST_GIANT = 0.35, 12.5  # dex a magnitude, and r: by eye after M2 in an SDSS field


def arcs(
    rng: np.random.Generator, shape: tuple[int, int], pixel_scale: float, count: int, shear: float
) -> pd.DataFrame:
    """
    Draw a group of galaxies and the arcs of background galaxies around its brightest.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
    shape : (ny, nx)
        Shape of the r frame.
    pixel_scale : float
        Arcsec per pixel.
    count : int
        Arcs.
    shear : float
        Reduced shear of each, tangential about the brightest galaxy, 0 to 1.

    Returns
    -------
    `~pandas.DataFrame`
        See `fieldprep.simulation.population`; arcs are of kind ``arc``, the group's galaxies ``smooth``.

    Notes
    -----
    The lens is a reduced shear alone, the same for every arc: an arc is stretched, not curved, and a source's
    magnitude is given as it is seen, magnified.
    """
    margin = min(60 / pixel_scale, min(shape) / 3)
    x0, y0 = rng.uniform(margin, shape[1] - margin), rng.uniform(margin, shape[0] - margin)
    angle, distance = rng.uniform(0, 2 * np.pi, MEMBERS), rng.gamma(2, 9.0, MEMBERS) / pixel_scale
    magnitude = np.concatenate([[rng.uniform(16.6, 17.4)], rng.uniform(18.5, 21.5, MEMBERS)])
    group = galaxies_at(
        rng,
        np.concatenate([[x0], x0 + distance * np.cos(angle)]),
        np.concatenate([[y0], y0 + distance * np.sin(angle)]),
        magnitude,
    )
    group["kind"], group["bulge"] = "smooth", np.maximum(group["bulge"], 0.6)
    colour = 1.45 - 0.03 * (magnitude - 17) + 0.04 * rng.normal(0, 1, MEMBERS + 1)  # a red sequence at z ~ 0.3
    group["modelMag_g"], group["modelMag_i"] = magnitude + colour, magnitude - 0.55
    angle, distance = rng.uniform(0, 2 * np.pi, count), rng.uniform(5.0, 14.0, count) / pixel_scale
    bent = galaxies_at(
        rng,
        x0 + distance * np.cos(angle),
        y0 + distance * np.sin(angle),
        rng.uniform(19.5, 21.5, count),
        rng.uniform(0.5, 0.9, count),
    )
    bent["kind"], bent["bulge"], bent["disc_q"] = "arc", 0.0, rng.uniform(0.6, 1.0, count)
    bent["modelMag_g"] = bent["modelMag_r"] + rng.normal(0.35, 0.15, count)
    bent["modelMag_i"] = bent["modelMag_r"] - rng.normal(0.15, 0.08, count)
    bent["shear"], bent["shear_angle"] = shear, np.degrees(angle) + 90
    return pd.concat([group, bent], ignore_index=True)


def cluster(rng: np.random.Generator, shape: tuple[int, int], count: int) -> pd.DataFrame:
    """
    Draw the stars of a globular cluster in the middle of the field.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
    shape : (ny, nx)
        Shape of the r frame.
    count : int
        Stars brighter than r = 23.5.

    Returns
    -------
    `~pandas.DataFrame`
        As of `fieldprep.simulation.population.stars`: a Plummer profile with half its stars, in projection, within a
        twelfth of the field's shorter side; giants and subgiants to a turn-off at r ~ 19, and the main sequence
        below it.

    References
    ----------
    Plummer 1911, MNRAS 71, 460.
    """
    half = min(shape) / 12
    share = rng.uniform(0, 1, count)
    radius, angle = half * np.sqrt(share / (1 - share)), rng.uniform(0, 2 * np.pi, count)
    x = (shape[1] - 1) / 2 + radius * np.cos(angle)
    y = (shape[0] - 1) / 2 + radius * np.sin(angle)
    faintest_share = 10 ** (CLUSTER_SLOPE * (BRIGHTEST_GIANT - FAINTEST))
    magnitude = FAINTEST + np.log10(rng.uniform(faintest_share, 1, count)) / CLUSTER_SLOPE
    giants = np.clip(0.45 + 0.075 * (18 - magnitude), 0.4, 0.95)
    colour_gr = np.where(magnitude < 19, giants, 0.3 + 0.09 * (magnitude - 19)) + rng.normal(0, 0.03, count)
    return stars_of(x, y, magnitude, colour_gr, 0.36 * colour_gr)
