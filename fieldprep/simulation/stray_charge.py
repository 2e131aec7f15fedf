"""Artefacts that are charge: cosmic rays, hot pixels, and the wells of the detector running over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from fieldprep.simulation.artefacts import FRAME_PIXELS, Exposure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

COSMIC_RAYS, HOT_PIXELS, HOT_COLUMNS = 30.0, 30.0, 1.5  # a band and SDSS frame, on average
COSMIC_RAY_ELECTRONS, COSMIC_RAY_PX = 1500.0, 4.0  # median charge, mean length
HOT_PIXEL, HOT_COLUMN = (6.0, 300.0), (3.0, 20.0)  # of the sky noise
_TOUCHING = np.ones((3, 3), bool)


def draw_stray_charge(exposure: Exposure, kinds: Sequence[str], rng: np.random.Generator) -> None:
    """
    Add cosmic rays and hot pixels.

    Parameters
    ----------
    exposure : Exposure
        Noise included; changed in place.
    kinds : sequence of str
        Kinds to draw.
    rng : `~numpy.random.Generator`
    """
    share = exposure.image.size / FRAME_PIXELS
    ny, nx = exposure.image.shape
    if "cosmic_ray" in kinds:
        for _ in range(rng.poisson(COSMIC_RAYS * share)):
            _cosmic_ray(exposure, rng)
    if "hot_pixels" in kinds:
        for rate, long, levels in ((HOT_PIXELS, False, HOT_PIXEL), (HOT_COLUMNS, True, HOT_COLUMN)):
            for _ in range(rng.poisson(rate * share)):
                x, y = int(rng.integers(nx)), int(rng.integers(ny))
                charge = exposure.camera.noise * 10 ** rng.uniform(*np.log10(levels))
                # a hot column is one from its trap to the end it is not read out at
                _hot(exposure, (slice(y, ny if long else y + 1), slice(x, x + 1)), charge)


def fill_wells(exposure: Exposure, kinds: Sequence[str]) -> None:
    """
    Cut pixels at the full well, and let the charge over it bleed along their columns.

    Parameters
    ----------
    exposure : Exposure
        Changed in place.
    kinds : sequence of str
        ``bleed`` moves the charge, half up and half down; without it the charge is lost, and without
        ``saturation`` too the image stays as it is.
    """
    full_well = exposure.camera.full_well
    over = exposure.image > full_well
    if not over.any() or not {"bleed", "saturation"} & set(kinds):
        return
    excess = np.where(over, exposure.image - full_well, 0.0)
    np.minimum(exposure.image, full_well, out=exposure.image)
    if "saturation" in kinds:
        _tell_regions(exposure, "saturation", over)
    if "bleed" in kinds:
        bled = np.zeros_like(over)
        for x in np.flatnonzero(over.any(axis=0)):
            _bleed(exposure.image[:, x], excess[:, x], bled[:, x], full_well)
        _tell_regions(exposure, "bleed", bled)


def _cosmic_ray(exposure: Exposure, rng: np.random.Generator) -> None:
    """Charge along a straight track, in the pixels it crosses and no others."""
    ny, nx = exposure.image.shape
    length, angle = 0.5 + rng.exponential(COSMIC_RAY_PX), rng.uniform(0, 180)
    at = rng.uniform(-0.5, nx - 0.5), rng.uniform(-0.5, ny - 0.5)
    along = np.linspace(-length / 2, length / 2, math.ceil(length / 0.05))
    x = np.rint(at[0] + along * math.cos(math.radians(angle))).astype(int)
    y = np.rint(at[1] + along * math.sin(math.radians(angle))).astype(int)
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    charge = COSMIC_RAY_ELECTRONS * rng.lognormal(0, 0.7) / exposure.camera.electrons
    part = exposure.around(*at, length / 2 + 1)
    added = np.zeros(exposure.image[part].shape)
    np.add.at(added, (y[inside] - part[0].start, x[inside] - part[1].start), charge / len(along))
    exposure.image[part] += added
    exposure.tell("cosmic_ray", part, added, added > 0, angle=angle, length=length)


def _hot(exposure: Exposure, part: tuple[slice, slice], charge: float) -> None:
    added = np.full(exposure.image[part].shape, charge)
    exposure.image[part] += added
    exposure.tell("hot_pixels", part, added, angle=90.0, length=float(added.size))


def _bleed(column: Floats, excess: Floats, bled: Bools, full_well: float) -> None:
    """Half the charge of each full run up, half down, filling pixel after pixel; off the end it is lost."""
    labels, runs = ndimage.label(excess > 0)
    for run in range(1, runs + 1):
        rows = np.flatnonzero(labels == run)
        for step, row in ((-1, rows[0]), (1, rows[-1])):
            left, at = excess[rows].sum() / 2, row + step
            while left > 0 and 0 <= at < len(column):
                moved = min(left, full_well - column[at])
                bled[at] |= moved > 0
                column[at] += moved
                left -= moved
                at += step


def _tell_regions(exposure: Exposure, kind: str, where: Bools) -> None:
    """Tell of each connected region apart."""
    labels, _ = ndimage.label(where, _TOUCHING)
    for number, part in enumerate(ndimage.find_objects(labels), start=1):
        rows, _ = part
        length = float(rows.stop - rows.start)
        angle = 90.0 if kind == "bleed" else 0.0
        exposure.tell(kind, part, exposure.image[part], labels[part] == number, angle=angle, length=length)
