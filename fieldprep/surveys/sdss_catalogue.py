"""
The SDSS catalogue of a field: photometry, Galaxy Zoo votes and spectra, as one table.

Columns are those of SkyServer's tables PhotoObjAll, zooSpec, zooNoSpec, zoo2MainSpecz and SpecObj (schema browser of
data release 17); flags are those of its table PhotoFlags.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.coordinates import SkyCoord, UnitSphericalRepresentation
from astropy.table import Table

from fieldprep.catalogues.places import footprint, nearest_rows
from fieldprep.surveys.download import NotThereError, write_whole
from fieldprep.surveys.sdss_columns import (
    FLAGS,
    PHOTO,
    RELEASE,
    SPECTRA,
    VOTE_PLACE,
    VOTES,
    VOTES_2,
    described,
    is_ignored,
    names_of,
)
from fieldprep.surveys.skyserver import Column, query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from astropy.wcs import WCS

MISSING = -9999.0  # where the survey measured nothing
CATALOGUE_FILE = "catalogue.ecsv"
_EMPTY: dict[str, str | float] = {"str": "", "uint64": 0}
SAME_ARCSEC = 2.0  # a vote or a spectrum this near to an object is the object's


def fetch_field_catalogue(run: int, camcol: int, field: int, *, rerun: int, release: int, path: Path) -> Path:
    """
    Fetch the catalogue of an SDSS field, unless it is there.

    Every detection of the field counts once: neither blends that were taken apart nor a bright object's second entry
    (``nChild = 0``), and, unlike in SkyServer's view PhotoObj, also those in the strips that the field shares with
    its neighbours, which belong to its frames all the same.

    Parameters
    ----------
    run, camcol, field, rerun, release : int
        The survey's numbers of it.
    path : path
        The file to write, ECSV.

    Returns
    -------
    path

    Raises
    ------
    fieldprep.surveys.download.NotThereError
        If the survey has no such field.
    fieldprep.errors.InputError
        If the catalogue cannot be had.
    """
    if path.exists():
        return path
    what = f"SDSS catalogue of {run}-{camcol}-{field}"
    where = f"run={run} AND p.camcol={camcol} AND p.field={field} AND p.rerun={rerun}"
    rest = f"FROM PhotoObjAll AS p WHERE p.{where} AND p.nChild=0 AND (p.flags & {FLAGS['BRIGHT']})=0"
    objects = query(PHOTO, rest, release=release, what=what)
    if objects.empty:
        known = query((Column("field", "p.field"),), f"FROM Field AS p WHERE p.{where}", release=release, what=what)
        if known.empty:
            raise NotThereError(f"{what}: the survey has no such field in data release {release}")
    # rows and columns count from the first pixel's corner: its centre is 0.5 there and 0 here
    objects = objects.assign(x=objects["colc"] - 0.5, y=objects["rowc"] - 0.5)
    return _write(_with_votes(objects, release, what), path, what)


def catalogue_on(name: str, wcs: WCS, shape: tuple[int, int], folder: Path, *, release: int = RELEASE) -> Path:
    """
    Fetch the SDSS catalogue of a field that is not an SDSS frame, unless it is there.

    Parameters
    ----------
    name : str
        Name of the field, for errors.
    wcs : `~astropy.wcs.WCS`
        Its celestial WCS.
    shape : (ny, nx)
        Its shape.
    folder : path
        Where to write ``catalogue.ecsv``: the survey's primary objects on the field, ``x`` and ``y`` by its WCS.
    release : int
        Data release.

    Returns
    -------
    path

    Raises
    ------
    fieldprep.errors.InputError
        If the catalogue cannot be had.
    """
    path = folder / CATALOGUE_FILE
    if path.exists():
        return path
    what = f"SDSS catalogue of {name}"
    ny, nx = shape
    centre, reach = footprint(wcs, shape)
    rest = (
        f"FROM dbo.fGetNearbyObjEq({centre.ra.deg:.6f},{centre.dec.deg:.6f},{reach.arcmin:.4f}) AS n "
        "JOIN PhotoPrimary AS p ON p.objID=n.objID"
    )
    objects = query(PHOTO, rest, release=release, what=what)
    x, y = wcs.world_to_pixel_values(objects["ra"].to_numpy(), objects["dec"].to_numpy())
    inside = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    return _write(_with_votes(objects.assign(x=x, y=y)[inside], release, what), path, what)


def _with_votes(objects: pd.DataFrame, release: int, what: str) -> pd.DataFrame:
    """
    Objects with votes and spectra beside them.

    They are joined by position: the survey joins them to an object's primary detection, and a frame may hold another.
    """
    objects = objects.replace(MISSING, np.nan).sort_values("objid", ignore_index=True)
    where = dict[str, str]()
    if len(objects):
        ra, dec, radius = _circle(objects["ra"].to_numpy(), objects["dec"].to_numpy())
        radius += SAME_ARCSEC / 3600
        where = dict.fromkeys(("zooSpec", "zooNoSpec", "zoo2MainSpecz"), f"WHERE {_box(ra, dec, radius)}")
        circle = f"dbo.fGetNearbySpecObjEq({ra:.6f},{dec:.6f},{60 * radius:.4f})"
        where["SpecObj"] = f"JOIN {circle} AS n ON n.specObjID=v.specObjID"
    for columns, tables in ((VOTES, ("zooSpec", "zooNoSpec")), (VOTES_2, ("zoo2MainSpecz",)), (SPECTRA, ("SpecObj",))):
        found = [
            query((*VOTE_PLACE, *columns), f"FROM {table} AS v {where[table]}", release=release, what=what)
            for table in tables
            if table in where
        ]
        objects = _joined(objects, columns, pd.concat(found, ignore_index=True) if found else pd.DataFrame())
    return objects


def _joined(objects: pd.DataFrame, columns: Sequence[Column], extra: pd.DataFrame) -> pd.DataFrame:
    """Objects with the columns of the nearest row of another table beside them, where one is near enough."""
    nearest = np.full(len(objects), -1)
    if len(extra):
        there = SkyCoord(extra["vote_ra"].to_numpy(), extra["vote_dec"].to_numpy(), unit="deg")
        here = SkyCoord(objects["ra"].to_numpy(), objects["dec"].to_numpy(), unit="deg")
        nearest = nearest_rows(here, there, SAME_ARCSEC)
    found = nearest >= 0
    for column in columns:
        empty = _EMPTY.get(column.dtype, np.nan)
        values = np.full(len(objects), empty, object if column.dtype == "str" else column.dtype)
        if found.any():
            values[found] = extra[column.name].fillna(empty).to_numpy()[nearest[found]]
        objects = objects.assign(**{column.name: values})
    return objects


def _write(objects: pd.DataFrame, path: Path, what: str) -> Path:
    """ECSV of the objects, with units and what the columns are."""
    flags, kind = objects["flags"].to_numpy(np.uint64), objects["type"].to_numpy(np.int64)
    ignore = is_ignored(flags, kind, objects["petroRad_r"].to_numpy())
    objects = objects.assign(flag_names=names_of(flags), ignore=ignore.astype(np.int64))
    table = Table()
    for name in objects.columns:
        column = described(name)
        table[name] = objects[name].to_numpy().astype(np.str_ if column.dtype == "str" else column.dtype)
        table[name].description, table[name].unit = column.description, column.unit or None
    table.meta["about"] = what
    out = io.StringIO()
    table.write(out, format="ascii.ecsv")
    write_whole(path, out.getvalue().encode())
    return path


def _circle(ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Centre and radius, degrees, of a circle about positions."""
    places = SkyCoord(ra, dec, unit="deg")
    centre = SkyCoord(places.cartesian.mean(), representation_type="cartesian").represent_as(
        UnitSphericalRepresentation
    )
    radius = places.separation(SkyCoord(centre)).deg.max()
    return float(centre.lon.deg), float(centre.lat.deg), float(radius)


def _box(ra: float, dec: float, radius: float) -> str:
    """SQL of the box in ra and dec about a circle: across the seam at 0 h in two parts, at a pole all round."""
    south, north = dec - radius, dec + radius
    box = f"v.dec BETWEEN {south:.5f} AND {north:.5f}"
    if max(abs(south), abs(north)) >= 90:
        return box
    half = float(np.degrees(np.arcsin(np.sin(np.radians(radius)) / np.cos(np.radians(dec)))))
    west, east = (ra - half) % 360, (ra + half) % 360
    joint = "AND" if west < east else "OR"
    return f"{box} AND (v.ra>={west:.5f} {joint} v.ra<={east:.5f})"
