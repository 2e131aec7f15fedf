"""The light of one simulated galaxy, as a GalSim object: bulge and disc, spiral arms, mergers, sheared arcs."""

from __future__ import annotations

import math
from typing import Any

import galsim
import numpy as np
import numpy.typing as npt
from scipy.special import ive

from fieldprep.simulation.population import flux

Floats = npt.NDArray[np.float64]

BULGE_SHARE = {"g": 0.85, "r": 1.0, "i": 1.08}  # of the r band's: bulges are redder than discs
ARM_STRENGTH = {"g": 1.0, "r": 0.85, "i": 0.7}  # arms are bluer than discs, and their knots more so
KNOT_SHARE = {"g": 0.16, "r": 0.10, "i": 0.07}
TAIL_SHARE = {"g": 0.30, "r": 0.26, "i": 0.23}  # of each disc's light in its tidal tail
TRUNCATION = 13.0  # half-light radii; one ratio for all bulges, whose transform GalSim then keeps
FINEST_SAMPLE, SAMPLES = 0.25, 160  # arcsec, and samples a side, of a painted disc


def galaxy_profile(row: Any, band: str) -> Any:
    """
    Light of a galaxy above the atmosphere.

    Parameters
    ----------
    row : named tuple
        A galaxy of `fieldprep.simulation.population.galaxies`.
    band : {'g', 'r', 'i'}
        Band.

    Returns
    -------
    `galsim.GSObject`
        In arcsec, with the flux of the row's magnitude in nanomaggies. A spiral's or a merger's centroid in r
        is its origin.
    """
    light = _smooth(row, band) if row.kind in {"smooth", "arc"} else _painted(row, band)
    if row.shear:
        light = light.shear(g=row.shear, beta=row.shear_angle * galsim.degrees)
    return light.withFlux(flux(getattr(row, f"modelMag_{band}")))


def bulge_share(row: Any, band: str) -> float:
    """Share of a galaxy's light in its bulge."""
    return float(min(1.0, max(0.0, row.bulge * BULGE_SHARE[band])))


def _smooth(row: Any, band: str) -> Any:
    share = bulge_share(row, band)
    parts = []
    if share > 0.02:
        parts.append(share * _bulge(row))
    if share < 0.98:
        disc = galsim.Exponential(half_light_radius=1.15 * row.radius)
        parts.append((1 - share) * disc.shear(q=row.disc_q, beta=row.angle * galsim.degrees))
    return galsim.Sum(parts)


def _bulge(row: Any) -> Any:
    half_light = max(0.1, 0.6 * row.radius)
    bulge = galsim.DeVaucouleurs(half_light_radius=half_light, trunc=TRUNCATION * half_light)
    return bulge.shear(q=row.bulge_q, beta=row.angle * galsim.degrees)


def _painted(row: Any, band: str) -> Any:
    """A spiral or a merger: what is not smooth painted on a fine grid, the bulge as any other's."""
    paint = _merger if row.kind == "merger" else _spiral
    light = paint(row, band)
    centroid = (light if band == "r" else paint(row, "r")).centroid * (1 - bulge_share(row, "r"))
    share = bulge_share(row, band)
    if share > 0:
        light = share * _bulge(row) + (1 - share) * light
    return light.shift(-centroid)


def _grid(row: Any, reach: float) -> tuple[Floats, Floats, float]:
    """Offsets in arcsec along the disc's major and (deprojected) minor axis, and the sampling."""
    step = max(FINEST_SAMPLE, 2 * reach / SAMPLES)
    half = math.ceil(reach / step)
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * step
    cos, sin = math.cos(math.radians(row.angle)), math.sin(math.radians(row.angle))
    return cos * x + sin * y, (cos * y - sin * x) / row.disc_q, step


def _spiral(row: Any, band: str) -> Any:
    """
    Exponential disc with logarithmic arms and knots of star formation along them.

    References
    ----------
    Arms, their number and pitch: Savchenko et al. 2020, MNRAS 493, 390 (two-armed mostly, pitch 10 to 30 deg).
    """
    rng = np.random.default_rng(row.seed)
    scale = 1.15 * row.radius / 1.678
    arms = rng.choice([2, 2, 2, 3, 4])
    winding = arms * rng.choice([-1, 1]) / math.tan(math.radians(rng.uniform(10, 30)))
    start, strength, sharpness = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.95), rng.uniform(1.0, 2.5)
    along, across, step = _grid(row, 5 * scale)
    radius, angle = np.hypot(along, across) / scale, np.arctan2(across, along)
    phase = arms * angle - winding * np.log(radius + 0.1) - start
    arm = np.exp(sharpness * (np.cos(phase) - 1)) / ive(0, sharpness)  # of mean 1 around a circle
    contrast = ARM_STRENGTH[band] * strength * (1 - np.exp(-(radius**2)))  # no arms in the middle
    light = np.exp(-radius) * (1 + contrast * (arm - 1))
    # knots: as far out as the disc's own light, on an arm's crest but for a scatter
    count = int(rng.integers(12, 40))
    where = rng.gamma(2.0, 1.0, count).clip(0.4, 4.5)
    crest = (start + winding * np.log(where + 0.1) + 2 * np.pi * rng.integers(arms, size=count)) / arms
    crest += rng.normal(0, 0.15, count)
    knots = _blobs(along, across, where * scale, crest, rng.exponential(1.0, count), 0.35 + 0.04 * scale)
    share = KNOT_SHARE[band]
    return _image((1 - share) * light / light.sum() + share * knots / knots.sum(), step)


def _merger(row: Any, band: str) -> Any:
    """Two discs in contact, a tidal tail from each; neither has a bulge."""
    rng = np.random.default_rng(row.seed)
    scale = 0.8 * row.radius / 1.678
    along, across, step = _grid(row, 9 * scale)
    apart, ratio = rng.uniform(2.0, 4.5) * scale, rng.uniform(0.25, 1.0)
    turn = rng.choice([-1, 1])
    light = np.zeros_like(along)
    for side, weight in ((-0.5, 1.0), (0.5, ratio)):
        tilt, flattening = rng.uniform(0, np.pi), rng.uniform(0.4, 1.0)
        x, y = along - side * apart, across
        u, v = np.cos(tilt) * x + np.sin(tilt) * y, (np.cos(tilt) * y - np.sin(tilt) * x) / flattening
        disc = np.exp(-np.hypot(u, v) / (scale * weight**0.35))
        steps = np.linspace(0.8, rng.uniform(5.0, 8.0), 40)
        bend = (np.pi if side < 0 else 0.0) + turn * rng.uniform(0.25, 0.45) * steps
        tail = _blobs(along, across, steps * scale, bend, np.exp(-steps / 5), 0.4 * scale)
        share = TAIL_SHARE[band]
        light += weight * ((1 - share) * disc / disc.sum() + share * tail / tail.sum())
    return _image(light, step)


def _blobs(along: Floats, across: Floats, radius: Floats, angle: Floats, weight: Floats, sigma: float) -> Floats:
    """Sum of round Gaussians in the plane of the disc."""
    light = np.zeros_like(along)
    for r, a, w in zip(radius, angle, weight, strict=True):
        square = (along - r * np.cos(a)) ** 2 + (across - r * np.sin(a)) ** 2
        light += w * np.exp(-square / (2 * sigma**2))
    return light


def _image(light: Floats, step: float) -> Any:
    image = galsim.Image(np.ascontiguousarray(light), scale=step)
    # linear suffices: the samples are finer than the seeing, which smooths whatever it leaves
    return galsim.InterpolatedImage(image, x_interpolant="linear", normalization="flux", flux=1.0)
