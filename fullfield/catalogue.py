"""The catalogue: its columns, their units and descriptions, and its files."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Column, Table
from astropy.table.meta import get_yaml_from_table

from detector.detections import FLAG_MEANINGS, Detections, Flag
from fieldprep.errors import InputError, OutputError, one_line
from fullfield.photometry import centroids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from fieldprep.mosaic import Sky

# name, unit, description, in the order of the file
Columns = tuple[tuple[str, Any, str], ...]
COLUMNS: Columns = (
    ("field", None, "name of the field"),
    ("id", None, "number in the field, 1 to N by falling confidence"),
    ("ra", u.deg, "right ascension (ICRS) of the centroid; NaN without a WCS"),
    ("dec", u.deg, "declination (ICRS) of the centroid; NaN without a WCS"),
    ("x", u.pix, "column of the light's centroid, 0-based, pixel centres at integers"),
    ("y", u.pix, "row of the light's centroid, 0-based, in the row order of the file"),
    ("x_min", u.pix, "left edge of the box"),
    ("y_min", u.pix, "low edge of the box (first row)"),
    ("x_max", u.pix, "right edge of the box"),
    ("y_max", u.pix, "high edge of the box (last row)"),
    ("radius_arcsec", u.arcsec, "half of the box's longer side; NaN without a pixel scale"),
    ("class_name", None, "class given by the detector"),
    ("confidence", None, "confidence of the detector, 0 to 1"),
    ("flags", None, "bit mask, 0 = nothing to note; the bits are named in the metadata"),
)  # fmt: skip

_FLAG_BITS = {str(int(flag)): f"{flag.name}: {FLAG_MEANINGS[flag]}" for flag in Flag}
_YAML_KEY = b"table_meta_yaml"  # where astropy looks for a Parquet table's units, descriptions and metadata


def catalogue_table(field: Sky, detections: Detections, meta: Mapping[str, Any]) -> Table:
    """
    Detections of a field as the catalogue's rows.

    Parameters
    ----------
    field : Field or Mosaic
        The field.
    detections : Detections
        Its detections, by falling confidence.
    meta : mapping
        What to keep in the file beside the names of the flags' bits.

    Returns
    -------
    `~astropy.table.Table`
        With the columns of `COLUMNS`.
    """
    xy, found = centroids(field, detections)
    n = len(detections)
    sky = np.full((2, n), np.nan)
    if field.wcs is not None and n:
        world = field.wcs.pixel_to_world(xy[:, 0], xy[:, 1]).icrs
        sky = np.array([world.ra.deg, world.dec.deg])
    sides = detections.xyxy[:, 2:] - detections.xyxy[:, :2]
    half = sides.max(axis=1, initial=0) / 2
    values = {
        "field": np.full(n, field.name, dtype=f"U{max(len(field.name), 1)}"),
        "id": np.arange(1, n + 1, dtype=np.int64),
        "ra": sky[0],
        "dec": sky[1],
        "x": xy[:, 0],
        "y": xy[:, 1],
        **{name: detections.xyxy[:, i] for i, name in enumerate(("x_min", "y_min", "x_max", "y_max"))},
        "radius_arcsec": half * (np.nan if field.pixel_scale is None else field.pixel_scale),
        "class_name": np.array(detections.classes)[detections.class_id],
        "confidence": detections.confidence,
        "flags": detections.flags | np.where(found, 0, int(Flag.NO_CENTROID)),
    }
    columns = [Column(values[name], name=name, unit=unit, description=text) for name, unit, text in COLUMNS]
    return Table(columns, meta={"flag_bits": _FLAG_BITS, **meta})


def write_parquet(path: Path, table: Table) -> None:
    """
    Write a table as Parquet, whole or not at all; astropy, pandas and TOPCAT read it.

    Parameters
    ----------
    path : path
        The file.
    table : `~astropy.table.Table`
        Units, descriptions and metadata travel in the file.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    arrow = _arrow(table)
    yaml = "\n".join(get_yaml_from_table(table)).encode()
    metadata: dict[Any, Any] = {_YAML_KEY: yaml, **_text_lengths(arrow)}
    with atomic(path) as temporary:
        pq.write_table(arrow.replace_schema_metadata(metadata), temporary)


def read_parquet(path: Path) -> Table:
    """
    Read a catalogue with its units, descriptions and metadata.

    Parameters
    ----------
    path : path
        A file `write_parquet` wrote.

    Returns
    -------
    `~astropy.table.Table`

    Raises
    ------
    fieldprep.errors.InputError
        If it is no such file.
    """
    try:
        return Table.read(path, format="parquet")
    except Exception as error:
        raise InputError(f"{path}: not a readable catalogue ({one_line(error)})") from error


def join_catalogues(paths: Iterable[Path], out: Path, meta: Mapping[str, Any], *, columns: Columns = COLUMNS) -> int:
    """
    Write many fields' catalogues as one file, one field in memory at a time.

    Parameters
    ----------
    paths : iterable of path
        The fields' catalogues.
    out : path
        The file to write.
    meta : mapping
        Metadata of the joined file.
    columns : sequence of (name, unit, description)
        Those of each.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    empty = Table(
        [Column(np.zeros(0, _dtype(name)), name=name, unit=unit, description=text) for name, unit, text in columns],
        meta={"flag_bits": _FLAG_BITS, **meta},
    )
    yaml = "\n".join(get_yaml_from_table(empty)).encode()
    schema = _arrow(empty).schema
    rows, longest = 0, _text_lengths(schema.empty_table())
    # without a copy of the Arrow schema, whose metadata would hide those that are added at the end
    with (
        atomic(out) as temporary,
        pq.ParquetWriter(temporary, schema, store_schema=False) as writer,
    ):
        for path in paths:
            part = pq.read_table(path).cast(schema)
            writer.write_table(part)
            rows += len(part)
            longest = {key: max(longest[key], value, key=int) for key, value in _text_lengths(part).items()}
        writer.add_key_value_metadata({_YAML_KEY: yaml})
        writer.add_key_value_metadata(longest)
    return rows


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON to ``path``, whole or not at all; OutputError if it cannot be."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """
    Give a temporary path that becomes ``path`` when the block ends well, and is removed when it does not.

    Parameters
    ----------
    path : path
        The file wanted; its folder must exist.

    Raises
    ------
    fieldprep.errors.OutputError
        If the file system refuses (permission, disk full).
    """
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        try:
            yield temporary
            temporary.replace(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or one_line(error)})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _arrow(table: Table) -> pa.Table:
    """Arrow table; strings are typed as such even where there is no row to tell."""
    columns = {}
    for name in table.colnames:
        data = np.asarray(table[name])
        text = data.dtype.kind in "US"
        columns[name] = pa.array(data.tolist(), pa.string()) if text else pa.array(data)
    return pa.table(columns)


def _text_lengths(table: pa.Table) -> dict[str, str]:
    """Length of the longest text of each text column, under the keys astropy reads it from."""
    return {
        f"table::len::{name}": str(max((len(text) for text in table[name].to_pylist()), default=1))
        for name, kind in zip(table.schema.names, table.schema.types, strict=True)
        if pa.types.is_string(kind)
    }


def _dtype(name: str) -> Any:
    if name in {"field", "class_name", "band"} or name.endswith("_class"):
        return "U1"
    if name == "unusable":
        return np.bool_
    return np.int64 if name in {"id", "flags", "candidate", "detection"} else np.float64
