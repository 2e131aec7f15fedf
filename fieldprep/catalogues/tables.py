"""Tables as files hold them, ids exact to the last bit, with the units and UCDs that the files give."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow.parquet as pq
from astropy.io import fits, votable
from astropy.table import Table
from astropy.table.serialize import represent_mixins_as_columns

from fieldprep.errors import InputError, one_line
from fieldprep.fitsfile import is_fits, split_extension

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SDSS_BANDS = "ugriz"  # the second axis of SDSS's own tables
EXACT = 2**53  # whole numbers from here on do not fit a float
FRAME = "frame"  # metadata of a column: coordinate system of a position
_LDAC = "LDAC_OBJECTS"  # HDU in which SExtractor's FITS_LDAC keeps its objects


@dataclass(frozen=True, eq=False)
class Described:
    """
    A table and what its file says of the columns.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        The table.
    units, ucds, descriptions, frames : dict of str to str
        By column, where there are any.
    left_out : tuple of str
        Columns that hold more than one value a row.
    """

    rows: pd.DataFrame
    units: dict[str, str] = field(default_factory=dict)
    ucds: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    frames: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def load(path: Path) -> Table | pd.DataFrame:
    """
    Read a table of any kind: CSV, ECSV, FITS, VOTable, Parquet, SExtractor's, by the file's ending.

    Parameters
    ----------
    path : path
        The file; a FITS extension may stand in brackets, as in ``catalogue.fits[OBJECTS]``.

    Returns
    -------
    `~astropy.table.Table` or `~pandas.DataFrame`
        Whole numbers too large for a float stay whole, also in a column with gaps.

    Raises
    ------
    fieldprep.errors.InputError
        If it is missing, cannot be read, or holds several tables.
    """
    file, extension = split_extension(str(path))
    if not file.exists():
        raise InputError(f"{path}: no such catalogue")
    readers: dict[str, Callable[[Path], Table | pd.DataFrame]] = {
        ".csv": _read_csv,
        ".parquet": _read_parquet,
        ".vot": _read_votable,
        ".votable": _read_votable,
        ".xml": _read_votable,
        ".cat": _read_sextractor,
    }
    try:
        with warnings.catch_warnings():
            # a unit or a UCD that astropy does not know is looked at where the column is used
            warnings.simplefilter("ignore")
            if is_fits(file):
                return _read_fits(file, extension)
            return readers.get(file.suffix.lower(), Table.read)(file)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not a catalogue that can be read ({one_line(error)})") from error


def describe(table: Table | pd.DataFrame) -> Described:
    """
    Table with its columns' units, UCDs and coordinate systems.

    Parameters
    ----------
    table : `~astropy.table.Table` or `~pandas.DataFrame`
        Coordinates and quantities become plain columns, five values a row one column for each SDSS band.

    Returns
    -------
    Described
    """
    if isinstance(table, pd.DataFrame):
        names = [str(name).strip().lstrip("#").strip() for name in table.columns]
        return Described(table.set_axis(names, axis=1).reset_index(drop=True))
    plain = Table(represent_mixins_as_columns(table), copy=False)
    out = Table(masked=plain.masked)
    left_out = []
    for column in plain.itercols():
        if column.ndim == 1:
            out.add_column(column, copy=False)
        elif column.shape[1:] == (len(SDSS_BANDS),):
            for i, band in enumerate(SDSS_BANDS):
                out.add_column(column[:, i], name=f"{column.name}_{band}", copy=False)
        else:
            left_out.append(column.name)
    out.convert_bytestring_to_unicode()

    def told(what: Callable[[Any], Any]) -> dict[str, str]:
        return {column.name: str(what(column)) for column in out.itercols() if what(column)}

    return Described(
        out.to_pandas(),
        units=told(lambda column: column.unit),
        ucds=told(lambda column: column.meta.get("ucd") or column.meta.get("UCD")),
        descriptions=told(lambda column: column.description),
        frames=told(lambda column: column.meta.get(FRAME)),
        left_out=tuple(left_out),
    )


def table_of(element: votable.tree.TableElement, tree: votable.tree.VOTableFile) -> Table:
    """
    Table of a VOTable, under its columns' names, with the coordinate system that a position refers to.

    Parameters
    ----------
    element : `~astropy.io.votable.tree.TableElement`
        The table.
    tree : `~astropy.io.votable.tree.VOTableFile`
        The file it is from.

    Returns
    -------
    `~astropy.table.Table`
    """
    systems = {system.ID: _system(system) for system in tree.iter_coosys()}
    table = element.to_table(use_names_over_ids=True)
    for name, column in zip(table.colnames, element.fields, strict=True):
        if column.ref in systems:
            table[name].meta[FRAME] = systems[column.ref]
    return table


def _system(system: votable.tree.CooSys) -> str:
    """Name of a coordinate system, with its equinox unless that is the usual one."""
    usual = str(system.equinox or "").upper().lstrip("JB") in {"", "2000", "2000.0", "1950", "1950.0"}
    return str(system.system) if usual else f"{system.system} {system.equinox}"


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        title = next(lines, "").startswith("#Table")  # SkyServer writes the name of the table above the columns

    def read(**options: Any) -> pd.DataFrame:
        rows: pd.DataFrame = pd.read_csv(path, skiprows=int(title), float_precision="round_trip", **options)
        return rows

    return _exact(read(), read)


def _read_parquet(path: Path) -> Table | pd.DataFrame:
    if b"table_meta_yaml" in (pq.read_schema(path).metadata or {}):
        return Table.read(path, format="parquet")
    return _exact(pd.read_parquet(path), lambda **options: pd.read_parquet(path, **options))


def _exact(rows: pd.DataFrame, read: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Rows with large whole numbers read again as such, where gaps have made floats of them."""
    floats = rows.select_dtypes("float64")
    doubtful = [str(name) for name in floats.columns if floats[name].isna().any() and floats[name].abs().max() >= EXACT]
    if not doubtful:
        return rows
    again = read(dtype_backend="numpy_nullable")[doubtful]
    for name in doubtful:
        if pd.api.types.is_integer_dtype(again[name]):
            rows[name] = again[name]
    return rows


def _read_votable(path: Path) -> Table:
    tree = votable.parse(path)
    elements = [element for element in tree.iter_tables() if element.fields]
    if len(elements) != 1:
        names = ", ".join(str(element.name or element.ID) for element in elements)
        raise InputError(f"{path}: holds {len(elements)} tables ({names}); keep the one that is meant")
    return table_of(elements[0], tree)


def _read_sextractor(path: Path) -> Table:
    with path.open("rb") as file:
        binary = file.read(6) == b"SIMPLE"
    return _read_fits(path, None) if binary else Table.read(path, format="ascii.sextractor")


def _read_fits(path: Path, extension: str | int | None) -> Table:
    with fits.open(path) as hdus:
        tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        if extension is not None:
            tables = [hdus.index_of(extension)]
        elif _LDAC in hdus:
            tables = [hdus.index_of(_LDAC)]
        if len(tables) != 1:
            names = ", ".join(f"{i}: {hdus[i].name or 'no name'}" for i in tables)
            raise InputError(f"{path}: holds {len(tables)} tables ({names}); name one, as in {path.name}[1]")
        header = hdus[tables[0]].header
    table = Table.read(path, format="fits", hdu=tables[0])
    for i, name in enumerate(table.colnames, 1):
        if f"TUCD{i}" in header:  # how STILTS, TOPCAT and the archives keep UCDs
            table[name].meta["ucd"] = header[f"TUCD{i}"]
    return table
