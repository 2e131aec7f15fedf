"""Artefacts that are light: spikes and halos of bright stars, and trails of satellites."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fieldprep.simulation.artefacts import FRAME_PIXELS, Exposure
from fieldprep.simulation.population import flux, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]

# shares of a star's light, and sizes in arcsec, after SDSS frames: spikes and reflections of stars whose wings tell
# that they are of r = 9 to 11, the aureoles of a stack of those of 14 < r < 16.6
SPIKE_SHARE, SPIKE_SCALE = 0.004, 20.0
GHOST_SHARE, GHOST_RADIUS, GHOST_OFFSET = 0.003, 24.0, 2.0
AUREOLE_SHARE, AUREOLE_SCALE = {"g": 0.03, "r": 0.03, "i": 0.10}, 8.5
FAINTEST_SHOWN = 17.0
TRAILS = 0.7  # a band and SDSS frame, far more than there are: they are here to be learned
TRAIL_PEAK = (3.0, 50.0)  # of the sky noise


def draw_stray_light(
    exposure: Exposure, kinds: Sequence[str], stars: pd.DataFrame, spike_angle: float, rng: np.random.Generator
) -> None:
    """
    Add spikes, halos and trails, on top of the stars' own light.

    Parameters
    ----------
    exposure : Exposure
        Changed in place; noise comes after.
    kinds : sequence of str
        Kinds to draw.
    stars : `~pandas.DataFrame`
        Stars, ``x, y`` in this frame.
    spike_angle : float
        Degrees from +x of one of a star's two spikes; the telescope's, so one for a field.
    rng : `~numpy.random.Generator`
    """
    for star in rows(stars[stars[f"modelMag_{exposure.band}"] < FAINTEST_SHOWN]):
        light = flux(getattr(star, f"modelMag_{exposure.band}")) * exposure.pixel_scale**2
        if "spike" in kinds:
            for turn in (0.0, 90.0):
                _spike(exposure, light, (star.x, star.y), spike_angle + turn)
        if "halo" in kinds:
            shift = rng.uniform(-GHOST_OFFSET, GHOST_OFFSET, 2) / exposure.pixel_scale
            _halo(exposure, light, (star.x, star.y), shift)
    if "trail" in kinds:
        for _ in range(rng.poisson(TRAILS * exposure.image.size / FRAME_PIXELS)):
            _trail(exposure, rng)


def _spike(exposure: Exposure, light: float, at: tuple[float, float], angle: float) -> None:
    """Line through a star, as wide as the PSF, fading exponentially to both sides."""
    width, scale = exposure.camera.psf.line_spread, SPIKE_SCALE / exposure.pixel_scale
    peak = light * SPIKE_SHARE / (2 * SPIKE_SCALE) * float(width(np.zeros(1))[0])
    if peak <= exposure.visible:
        return
    reach = scale * math.log(peak / exposure.visible)
    part = exposure.around(*at, reach + 4 * scale)
    along, across = _turned(part, at, angle)
    added = light * SPIKE_SHARE / (2 * SPIKE_SCALE) * np.exp(-np.abs(along) / scale)
    added = added * width(np.abs(across) * exposure.pixel_scale)
    exposure.image[part] += added
    exposure.tell("spike", part, added, at=at, angle=angle, length=2 * reach)


def _halo(exposure: Exposure, light: float, at: tuple[float, float], shift: Floats) -> None:
    """Aureole, exponential, and an out-of-focus reflection: a disc with a brighter rim, a little off the star."""
    scale, radius = AUREOLE_SCALE / exposure.pixel_scale, GHOST_RADIUS / exposure.pixel_scale
    middle = light * AUREOLE_SHARE[exposure.band] / (2 * math.pi * AUREOLE_SCALE**2)
    if middle <= exposure.visible:
        return
    part = exposure.around(*at, max(10 * scale, radius + float(np.abs(shift).max()) + 2))
    distance = np.hypot(*_turned(part, at, 0.0))
    added = middle * np.exp(-distance / scale)
    apart = np.hypot(*_turned(part, (at[0] + shift[0], at[1] + shift[1]), 0.0))
    rim = np.where(apart > 0.85 * radius, 1.5, 0.8) * np.clip(radius + 0.5 - apart, 0, 1)
    added += light * GHOST_SHARE / (math.pi * GHOST_RADIUS**2) * rim
    exposure.image[part] += added
    visible = distance[added > exposure.visible]
    exposure.tell("halo", part, added, at=at, length=2 * float(visible.max(initial=0.0)))


def _trail(exposure: Exposure, rng: np.random.Generator) -> None:
    """Straight line across the frame, of even brightness, as wide as the PSF."""
    ny, nx = exposure.image.shape
    through, angle = (rng.uniform(0, nx - 1), rng.uniform(0, ny - 1)), rng.uniform(0, 180)
    low, high = np.log10(TRAIL_PEAK)
    peak = exposure.camera.noise * 10 ** rng.uniform(low, high)
    part = (slice(0, ny), slice(0, nx))
    _, across = _turned(part, through, angle)
    width = exposure.camera.psf.line_spread
    added = peak * width(np.abs(across) * exposure.pixel_scale) / width(np.zeros(1))[0]
    exposure.image += added
    start, end = _crossing(through, angle, (ny, nx))
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    exposure.tell("trail", part, added, at=middle, angle=angle, length=math.dist(start, end))


def _turned(part: tuple[slice, slice], at: tuple[float, float], angle: float) -> tuple[Floats, Floats]:
    """Offsets of a part's pixels from a point, along a direction in degrees and across it."""
    y, x = np.ogrid[part]
    dx, dy = x - at[0], y - at[1]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return cos * dx + sin * dy, cos * dy - sin * dx


def _crossing(
    through: tuple[float, float], angle: float, shape: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a line enters and leaves a frame."""
    ends = []
    for sign in (-1.0, 1.0):
        steps = []
        for at, towards, size in (
            (through[0], sign * math.cos(math.radians(angle)), shape[1]),
            (through[1], sign * math.sin(math.radians(angle)), shape[0]),
        ):
            if towards:
                steps.append(((size - 0.5 if towards > 0 else -0.5) - at) / towards)
        step = min(steps) * sign
        ends.append(
            (through[0] + step * math.cos(math.radians(angle)), through[1] + step * math.sin(math.radians(angle)))
        )
    return ends[0], ends[1]
