"""
Columns of a catalogue: which is which, by the user's word, else by name, else by UCD.

UCDs are those of the IVOA's list (UCD1+, Preite Martinez et al. 2018). Of several columns with one UCD the one
flagged ``meta.main`` is meant; where none is, the user is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy import units as u

from fieldprep.errors import InputError, UsageError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fieldprep.catalogues.tables import Described

Floats = npt.NDArray[np.float64]

VOTES = ("p_el", "p_cw", "p_acw", "p_edge", "p_dk", "p_mg", "p_cs")
MAGNITUDES = tuple(f"modelMag_{band}" for band in "ugriz")
# what a mapping may name
STANDARD = (
    *("objid", "ra", "dec", "x", "y", "type", "radius", "petroRad_r", "petroR50_r", "petroR90_r", "axis_ratio"),
    *("theta_deg", "position_angle_deg", "magnitude", *MAGNITUDES, "ignore", "field", *VOTES, "z", "z_err", "class"),
)
MISSING = (-9999.0, -999.0)  # what SDSS and Pan-STARRS write where nothing was measured
LISTED = 12  # columns named in an error
# spellings that astropy does not know
_UNITS = {
    "degrees": "deg",
    "degree": "deg",
    "arcsecs": "arcsec",
    "arcseconds": "arcsec",
    "arcsecond": "arcsec",
    "pixels": "pix",
    "pixel": "pix",
    "hours": "hourangle",
    "hour": "hourangle",
    "h": "hourangle",
    "nanomaggies": "nmgy",
    "nanomaggy": "nmgy",
}


def parse_columns(text: str) -> dict[str, str]:
    """
    Read a mapping of columns as it stands on the command line.

    Parameters
    ----------
    text : str
        As ``ra=RAJ2000,radius=Rpet``: our name, then the catalogue's.

    Returns
    -------
    dict of str to str
        The catalogue's names by ours.

    Raises
    ------
    fieldprep.errors.UsageError
        If it does not read so, or names something that is not wanted of a catalogue.
    """
    columns: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        ours, equals, theirs = (piece.strip() for piece in part.partition("="))
        if not (ours and equals and theirs) or ours in columns:
            raise UsageError(f"--columns wants each of our names once, as ra=RAJ2000,radius=Rpet; got {text}")
        columns[ours] = theirs
    check_mapping(columns)
    return columns


def check_mapping(columns: Mapping[str, str]) -> None:
    """See that a mapping has none but our names on its left; a `~fieldprep.errors.UsageError` if not."""
    unknown = sorted(set(columns) - set(STANDARD))
    if unknown:
        raise UsageError(f"no {', '.join(unknown)} is wanted of a catalogue: it is one of {', '.join(STANDARD)}")
    for one, other in (("ra", "dec"), ("x", "y")):
        if (one in columns) != (other in columns):
            raise UsageError(f"{one} and {other} go together: name the columns of both")


class Columns:
    """
    Columns of one catalogue.

    Parameters
    ----------
    table : Described
        The catalogue.
    name : str
        What to call it in an error.
    mapping : mapping of str to str
        The catalogue's names by ours, as the user says; a name is looked for as it is, then in any case.

    Attributes
    ----------
    notes : list of str
        What has been taken for what.
    """

    def __init__(self, table: Described, name: str, mapping: Mapping[str, str]) -> None:
        check_mapping(mapping)
        self.table, self.name, self.notes = table, name, list[str]()
        twice = table.rows.columns[table.rows.columns.duplicated()]
        if len(twice):
            raise InputError(f"{name}: two columns are called {twice[0]}")
        # of two names that differ in case alone the first is meant
        self._lower = {str(column).lower(): str(column) for column in reversed(table.rows.columns)}
        self.mapping: dict[str, str] = {}
        for ours, theirs in mapping.items():
            column = self.named(theirs)
            if column is None:
                raise InputError(f"{name}: no column {theirs} for {ours}; it has {self.listed()}")
            self.mapping[ours] = column

    def __len__(self) -> int:
        return len(self.table.rows)

    def named(self, *names: str) -> str | None:
        """Return the first of these names that the catalogue has, in whatever case."""
        for name in names:
            if name in self.table.rows.columns:
                return name
        return next((self._lower[name.lower()] for name in names if name.lower() in self._lower), None)

    def exactly(self, *names: str) -> str | None:
        """Return the first of these names that the catalogue has in just this case: Gaia's G is not g."""
        return next((name for name in names if name in self.table.rows.columns), None)

    def with_ucd(self, wanted: str, *ucds: str, but: tuple[str, ...] = ("stat.",)) -> str | None:
        """
        Column that has one of these UCDs.

        Parameters
        ----------
        wanted : str
            Our name of it, for the error.
        *ucds : str
            UCDs: a column's own must begin with all words of one.
        but : tuple of str
            A column with a further word that begins so is another thing: an error, a ratio.

        Returns
        -------
        str or None

        Raises
        ------
        fieldprep.errors.InputError
            If there are several and none or more than one is the main one.
        """
        found = self.all_with_ucd(*ucds, but=but)
        main = [column for column in found if "meta.main" in _words(self.table.ucds[column])]
        found = main or found
        if len(found) > 1:
            self.ambiguous(wanted, found)
        return found[0] if found else None

    def all_with_ucd(self, *ucds: str, but: tuple[str, ...] = ("stat.",)) -> list[str]:
        """All columns that have one of these UCDs; see `with_ucd`."""
        found = []
        for column, ucd in self.table.ucds.items():
            words = _words(ucd)
            fits = any(words[: len(_words(one))] == _words(one) for one in ucds)
            if fits and not any(word.startswith(but) for word in words[1:]):
                found.append(column)
        return found

    def find(self, wanted: str, *names: str) -> str | None:
        """Return the column for ``wanted``, one of our names: the user's, else by name."""
        return self.mapping.get(wanted) or self.named(wanted, *names)

    def is_text(self, column: str) -> bool:
        """Whether a column holds text, as far as it holds anything."""
        values = self.table.rows[column]
        if pd.api.types.is_object_dtype(values.dtype):
            return all(isinstance(value, str) for value in values.dropna())
        return pd.api.types.is_string_dtype(values.dtype)

    def numbers(self, column: str) -> Floats:
        """
        Values of a column as floats, NaN where there is none.

        Raises
        ------
        fieldprep.errors.InputError
            If it holds something else than numbers.
        """
        values = self.table.rows[column]
        kind = values.dtype
        worded = self.is_text(column) or pd.api.types.is_object_dtype(kind) or isinstance(kind, pd.CategoricalDtype)
        if not worded and (not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind)):
            raise InputError(f"{self.name}: column {column} must hold numbers (it holds {kind})")
        try:
            out = (pd.to_numeric(values) if worded else values).to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.name}: column {column} must hold numbers ({one_line(error)})") from error
        return np.where(np.isin(out, MISSING), np.nan, out)

    def unit(self, column: str, default: str = "") -> u.UnitBase:
        """
        Unit of a column, ``default`` where the file gives none.

        Raises
        ------
        fieldprep.errors.InputError
            If the file gives one that is not understood.
        """
        text = self.table.units.get(column, "").strip().strip("\"'") or default
        for spelling in (_UNITS.get(text.lower(), text), text.lower()):
            unit = u.Unit(spelling, parse_strict="silent")
            if not isinstance(unit, u.UnrecognizedUnit):
                return unit
        raise InputError(f"{self.name}: column {column} is in {text}, a unit that is not understood")

    def in_unit(self, column: str, unit: str, default: str) -> Floats:
        """
        Values of a column in a unit.

        Parameters
        ----------
        column : str
            Its name.
        unit, default : str
            What is wanted, and what it is in if the file does not say.

        Returns
        -------
        1D float64 `~numpy.ndarray`, shape (N,)

        Raises
        ------
        fieldprep.errors.InputError
            If it does not hold numbers, or its unit is of another kind.
        """
        given = self.unit(column, default)
        try:
            factor = given.to(u.Unit(unit))
        except u.UnitConversionError as error:
            raise InputError(f"{self.name}: column {column} is in {given}, not an angle or {default}") from error
        values: Floats = self.numbers(column) * factor
        return values

    def ambiguous(self, wanted: str, candidates: list[str]) -> NoReturn:
        """Raise the error that asks which column is meant."""
        could_be = " or ".join(candidates)
        raise InputError(f"{self.name}: {wanted} could be {could_be}; say which: --columns {wanted}={candidates[0]}")

    def listed(self) -> str:
        """Return the names of the columns, cut short where there are many."""
        names = [str(name) for name in self.table.rows.columns]
        more = f", ... ({len(names)} in all)" if len(names) > LISTED else ""
        return ", ".join(names[:LISTED]) + more


def _words(ucd: str) -> list[str]:
    return [word.strip() for word in ucd.lower().split(";")]
