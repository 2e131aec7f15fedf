"""Simulated fields as the command line asks for them. Needs the train extra."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fieldprep.errors import UsageError
from fieldprep.simulation.artefacts import USUAL, artefact_kinds
from fieldprep.simulation.files import write_fields
from fieldprep.simulation.injection import Injection, write_injected
from fieldprep.simulation.population import LARGEST_RADIUS
from fieldprep.simulation.simulate import SDSS_SHAPE, Recipe

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST_SIDE = 64  # pixels: less than a large galaxy, and no sky to speak of


def simulate_fields(
    out: Path,
    *,
    seed: int,
    number: int = 1,
    shape: str | None = None,
    like: Path | None = None,
    crowding: float = 1.0,
    cluster: int = 0,
    arcs: int = 0,
    shear: float = 0.5,
    seeing: str | None = None,
    artefacts: str | None = None,
) -> list[str]:
    """
    Render fields; see `fieldprep.simulation.files.write_fields`.

    Parameters
    ----------
    out : path
        Folder to write.
    seed, number : int
        Seed, and how many fields.
    shape : str, optional
        Rows and columns, as in ``1489x2048``.
    like : path, optional
        Folder of a real field to be like.
    crowding, cluster, arcs, shear
        See `fieldprep.simulation.simulate.Recipe`.
    seeing : str, optional
        Range of the FWHM in r, arcsec, as in ``1.0:2.0``.
    artefacts : str, optional
        Kinds joined by commas, ``all`` or ``none``.

    Returns
    -------
    list of str
        What a reader must know of it, one line each.

    Raises
    ------
    fieldprep.errors.UsageError
        If an option makes no sense, alone or beside another.
    """
    if like is not None and shape is not None:
        raise UsageError("--shape beside --like: the fields have the shape of the one they are like; leave --shape out")
    if like is not None and seeing is not None:
        raise UsageError("--seeing beside --like: the fields have the seeing of the one they are like; leave it out")
    recipe = Recipe(
        crowding,
        cluster,
        arcs,
        shear,
        USUAL if artefacts is None else artefact_kinds(artefacts),
        _range("--seeing", seeing, 0.5, 5) if seeing else None,
    )
    return write_fields(
        out, seed=seed, number=number, shape=_shape(shape) if shape else SDSS_SHAPE, like=like, recipe=recipe
    )


def inject_fields(
    out: Path,
    into: Path,
    *,
    seed: int,
    number: int = 1,
    galaxies: int = 50,
    magnitudes: str = "17:22",
    sizes: str | None = None,
    placing: str = "random",
    avoid: bool = False,
    artefacts: str | None = None,
) -> list[str]:
    """
    Add galaxies to a real field; see `fieldprep.simulation.injection.write_injected`.

    Parameters
    ----------
    out, into : path
        Folder to write, and that of the real field.
    seed, number : int
        Seed, and how many times.
    galaxies, placing, avoid
        See `fieldprep.simulation.injection.Injection`.
    magnitudes, sizes : str
        Ranges, as in ``17:22``: r magnitudes, and half-light radii in arcsec.
    artefacts : str, optional
        Kinds joined by commas, or ``none``.

    Returns
    -------
    list of str
        What a reader must know of it, one line each.

    Raises
    ------
    fieldprep.errors.UsageError
        If an option makes no sense, alone or beside another.
    """
    injection = Injection(
        galaxies,
        _range("--magnitudes", magnitudes, 10, 28),
        _range("--sizes", sizes, 0.05, LARGEST_RADIUS) if sizes else None,
        placing,
        avoid,
        () if artefacts is None else artefact_kinds(artefacts),
    )
    return write_injected(out, into, seed=seed, number=number, injection=injection)


def _shape(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdigit() and columns.isdigit()):
        raise UsageError(f"--shape wants rows x columns, as in 1489x2048; got {text}")
    if min(int(rows), int(columns)) < SMALLEST_SIDE:
        raise UsageError(f"--shape {text}: no side may be under {SMALLEST_SIDE} pixels")
    return int(rows), int(columns)


def _range(option: str, text: str, least: float, most: float) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        ends = (float(low), float(high))
    except ValueError:
        ends = (math.nan, math.nan)
    if not least <= ends[0] <= ends[1] <= most:
        raise UsageError(f"{option} wants LOW:HIGH between {least:g} and {most:g}; got {text}")
    return ends
