"""Catalogues that class the galaxies about a cluster: their positions and classes, whatever they call them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fieldprep.catalogues.columns import Columns
from fieldprep.catalogues.places import find_sky
from fieldprep.catalogues.tables import describe
from fieldprep.errors import InputError

if TYPE_CHECKING:
    from astropy.table import Table

    from fieldprep.clusters.cluster import Classes

CLASS_NAMES = ("morph", "morphology", "mtype", "morphtype", "class")
CLASS_UCDS = ("src.morph.type", "src.morph", "src.class")
STAR_OR_GALAXY = "src.class.stargalaxy"  # UCD of SDSS's 3 and 6, which could pass for classes


def classed_rows(table: Table | pd.DataFrame, name: str, classes: Classes) -> pd.DataFrame:
    """
    Positions and classes of a catalogue.

    Parameters
    ----------
    table : `~astropy.table.Table` or `~pandas.DataFrame`
        The catalogue.
    name : str
        What to call it in an error.
    classes : Classes
        Which classes there are, and in which column.

    Returns
    -------
    `~pandas.DataFrame`
        ``ra``, ``dec`` (ICRS degrees) and ``class``, text; empty where the catalogue gives none.

    Raises
    ------
    fieldprep.errors.InputError
        If it has no rows, no position or no class, a row without a position, or a class that nobody has spoken of.
    """
    columns = Columns(describe(table), name, {"class": classes.column} if classes.column else {})
    if not len(columns):
        raise InputError(f"{name}: a catalogue without rows")
    sky = find_sky(columns)
    if sky is None:
        raise InputError(f"{name}: no column for a position; it has {columns.listed()}")
    if not np.isfinite(sky).all():
        raise InputError(f"{name}: {(~np.isfinite(sky).all(axis=0)).sum()} rows without a position")
    column = _class_column(columns)
    if column is None:
        raise InputError(
            f"{name}: no column for the class of a galaxy; it has {columns.listed()}; say which: Classes(column=NAME)"
        )
    given = np.array([_code(value) for value in columns.table.rows[column]], object)
    unknown = sorted(set(given) - set(classes.known) - {""})
    if unknown:
        raise InputError(
            f"{name}: column {column} has {', '.join(unknown[:5])}{' ...' * (len(unknown) > 5)}, "
            f"and classes are spoken of as {', '.join(classes.known)}"
        )
    return pd.DataFrame({"ra": sky[0], "dec": sky[1], "class": given})


def _class_column(columns: Columns) -> str | None:
    named = columns.named(*CLASS_NAMES)
    if named and columns.table.ucds.get(named, "").lower().startswith(STAR_OR_GALAXY):
        named = None
    return columns.mapping.get("class") or named or columns.with_ucd("class", *CLASS_UCDS)


def _code(value: object) -> str:
    """A class as text, whole numbers without a point."""
    if value is None or value is pd.NA or value is np.ma.masked or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return str(value).strip()
