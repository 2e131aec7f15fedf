"""
What is kept of each field that a set is made of, until the fields are joined.

A field has a folder of its own: its pictures, ``objects.parquet`` (each labelled or ignored object once) and
``record.json``.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from fieldprep.training.splits import Footprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fieldprep.catalogues import Sources
    from fieldprep.field import Field

RECORD_FILE, OBJECTS_FILE = "record.json", "objects.parquet"


@dataclass(frozen=True)
class FieldRecord:
    """
    What was made of a field: ``record.json`` in its folder.

    Parameters
    ----------
    name : str
        Name of the field.
    footprint : Footprint
        Where it is.
    counts : dict of str to int
        What became of the catalogue's rows on it, as `Labels.counts` tells.
    left_out : str
        Why it is not in the set; empty if it is.
    tiles : list of dict
        ``window`` (x0, y0, x1, y1) of each tile and what is labelled in it, in the tile's pixels: ``xyxy``,
        ``class_id``, ``ignore``.
    about : dict
        Whatever else is worth keeping: source, catalogue, notes.
    """

    name: str
    footprint: Footprint
    counts: dict[str, int]
    left_out: str = ""
    tiles: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it to a field's folder."""
        (folder / RECORD_FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read that of a field's folder."""
        content = json.loads((folder / RECORD_FILE).read_text())
        return cls(**content | {"footprint": Footprint(**content["footprint"])})


def object_columns(field: Field, sources: Sources) -> Mapping[str, Any]:
    """
    What every table of objects begins with: ``objid``, ``ra``, ``dec``, ``x``, ``y``, ``magnitude``.

    Parameters
    ----------
    field : Field
        The field, whose WCS gives the sky positions.
    sources : Sources, N of them
        The objects.

    Returns
    -------
    mapping of str to arrays, shape (N,)
        ``objid`` as text, so that none of its digits is lost; empty where the catalogue has none.
    """
    sky = np.full((2, len(sources)), np.nan)
    if field.wcs is not None and len(sources):
        world = field.wcs.pixel_to_world(sources.x, sources.y).icrs
        sky = np.array([world.ra.deg, world.dec.deg])
    rows = sources.rows
    objid = rows["objid"].astype(str).to_numpy() if "objid" in rows.columns else np.full(len(sources), "")
    return {
        "objid": objid,
        "ra": sky[0],
        "dec": sky[1],
        "x": sources.x,
        "y": sources.y,
        "magnitude": sources.magnitude,
    }


def join_objects(fields: Sequence[tuple[Path, str]], out: Path) -> pd.DataFrame:
    """
    Join the objects of fields into ``objects.parquet``, with the half each is in.

    Parameters
    ----------
    fields : sequence of (path, {'train', 'val'})
        Folders of the fields, and the half each belongs to.
    out : path
        The set's folder.

    Returns
    -------
    `~pandas.DataFrame`
    """
    parts = [pd.read_parquet(folder / OBJECTS_FILE).assign(half=half) for folder, half in fields]
    # an empty part knows no types, and would spoil those of the others
    table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    table.to_parquet(out / OBJECTS_FILE)
    return table


def link(source: Path, target: Path) -> None:
    """Give a file a second name, which costs no space; a copy where the file system knows no second names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def replace_folder(source: Path, out: Path) -> None:
    """Move a folder to where nothing is, or an empty folder."""
    if out.exists():
        out.rmdir()
    source.replace(out)
