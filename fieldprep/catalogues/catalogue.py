"""Catalogues of what is known to be in a field, and its objects as boxes on the field's pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.coordinates import SkyCoord

from fieldprep.boxes import clip_boxes, petrosian_boxes
from fieldprep.catalogues.axes import find_axes, pixel_angles
from fieldprep.catalogues.columns import STANDARD, Columns
from fieldprep.catalogues.meanings import GALAXY, STAR, find_magnitudes, find_others, find_types
from fieldprep.catalogues.places import find_pixels, find_sky, footprint, scale_of
from fieldprep.catalogues.radii import Radius, find_radius
from fieldprep.catalogues.tables import describe, load
from fieldprep.errors import InputError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from astropy.table import Table
    from astropy.wcs import WCS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DEFAULT_PIXEL_SCALE = 0.396  # SDSS's, for a catalogue on a field whose scale nobody knows
NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Catalogue:
    """
    A catalogue whose columns are known.

    Parameters
    ----------
    name : str
        What to call it in an error: its path, ``vizier:TABLE``, ``sdss``.
    rows : `~pandas.DataFrame`
        Its rows: every column that is known under our name, every other under its own. Ours, as far as the
        catalogue has them: ``ra``, ``dec`` (degrees, ICRS); ``x``, ``y`` (0-based pixels); ``petroRad_r``
        (arcsec; ``petroRad_px`` where it is known in pixels only), brought to the Petrosian radius;
        ``axis_ratio`` with ``theta_deg`` (from +x towards +y) or ``position_angle_deg`` (east of north);
        ``type`` (3 galaxy, 6 star); ``objid``; ``modelMag_u`` to ``modelMag_z``; ``petroR50_r``,
        ``petroR90_r`` (arcsec); ``ignore``; ``field``; ``p_el``, ``p_cw``, ``p_acw``, ``p_edge``, ``p_dk``,
        ``p_mg``, ``p_cs`` (Galaxy Zoo 1); ``z``, ``z_err``, ``class`` (spectroscopic).
    radius_kind : str
        What the radius was: ``petrosian``, ``kron``, ``half-light`` or ``fixed``.
    notes : tuple of str
        What was taken for what, one line each.
    """

    name: str
    rows: pd.DataFrame
    radius_kind: str
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Sources:
    """
    Objects of a catalogue on the pixels of one field.

    Parameters
    ----------
    x, y : 1D float64 `~numpy.ndarray`, shape (N,)
        Centres, 0-based pixels.
    xyxy : 2D float64 `~numpy.ndarray`, shape (N, 4)
        Boxes, clipped at the field's edge.
    galaxy : 1D bool `~numpy.ndarray`, shape (N,)
        True = galaxy, False = star or another point source.
    magnitude : 1D float64 `~numpy.ndarray`, shape (N,)
        r magnitude, NaN where the catalogue has none.
    ignore : 1D bool `~numpy.ndarray`, shape (N,)
        True = to be scored neither for nor against.
    radius : 1D float64 `~numpy.ndarray`, shape (N,)
        Petrosian radius, in pixels, that the box was made from.
    rows : `~pandas.DataFrame`, N rows
        The catalogue's own rows, index 0 to N - 1.
    """

    x: Floats
    y: Floats
    xyxy: Floats
    galaxy: Bools
    magnitude: Floats
    ignore: Bools
    radius: Floats
    rows: pd.DataFrame

    def __post_init__(self) -> None:
        n = len(self.x)
        for name in ("y", "xyxy", "galaxy", "magnitude", "ignore", "radius", "rows"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} must have {n} rows as x, got {len(getattr(self, name))}")
        if self.xyxy.shape != (n, 4):
            raise ValueError(f"xyxy must be of shape ({n}, 4), got {self.xyxy.shape}")

    def __len__(self) -> int:
        return len(self.x)

    def select(self, chosen: Bools) -> Sources:
        """Sources where ``chosen``, bool of shape (N,), is True."""
        kept = {name: getattr(self, name)[chosen] for name in self.__dataclass_fields__}
        return replace(self, **{**kept, "rows": self.rows[chosen].reset_index(drop=True)})

    @classmethod
    def none(cls) -> Sources:
        """Nothing at all."""
        none, flags = np.zeros(0), np.zeros(0, np.bool_)
        return cls(none, none, none.reshape(0, 4), flags, none, flags, none, pd.DataFrame())


class NothingHereError(InputError):
    """No row of a catalogue lies on a field."""


def read_table(path: Path) -> pd.DataFrame:
    """
    Read a table as it is: CSV, ECSV, FITS, VOTable or Parquet, by the file's ending.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    `~pandas.DataFrame`

    Raises
    ------
    fieldprep.errors.InputError
        If it is missing or cannot be read.
    """
    table = load(path)
    rows: pd.DataFrame = table if isinstance(table, pd.DataFrame) else table.to_pandas()
    return rows


def read_catalogue(path: Path, *, columns: Mapping[str, str] = NO_COLUMNS, radius: str | None = None) -> Catalogue:
    """
    Read a catalogue: CSV, ECSV, FITS, VOTable, Parquet or SExtractor's, by the file's ending.

    Parameters
    ----------
    path : path
        The file.
    columns : mapping of str to str
        The catalogue's names by ours where they cannot be found; see `fieldprep.catalogues.columns.STANDARD`.
    radius : str, optional
        The kind of radius to take, or ``fixed:ARCSEC``; see `fieldprep.catalogues.radii.find_radius`.

    Returns
    -------
    Catalogue

    Raises
    ------
    fieldprep.errors.InputError
        If it cannot be read or has not what a catalogue needs.
    fieldprep.errors.UsageError
        If ``columns`` or ``radius`` makes no sense.
    """
    return as_catalogue(load(path), name=str(path), columns=columns, radius=radius)


def as_catalogue(
    table: Table | pd.DataFrame, *, name: str, columns: Mapping[str, str] = NO_COLUMNS, radius: str | None = None
) -> Catalogue:
    """
    Find the columns of a table: those the user names, else by name, else by UCD.

    Parameters
    ----------
    table : `~astropy.table.Table` or `~pandas.DataFrame`
        The table.
    name : str
        What to call it in an error.
    columns, radius
        As of `read_catalogue`.

    Returns
    -------
    Catalogue

    Raises
    ------
    fieldprep.errors.InputError
        If it has no rows, no position or no radius, a column holds what it should not, or there are several
        candidates for one.
    fieldprep.errors.UsageError
        If ``columns`` or ``radius`` makes no sense.
    """
    described = describe(table)
    found = Columns(described, name, columns)
    if not len(found):
        raise InputError(f"{name}: a catalogue without rows")
    sky, pixels = find_sky(found), find_pixels(found)
    size = find_radius(found, radius)
    missing = [what for what, there in (("position", sky or pixels), ("radius", size)) if not there]
    types = find_types(found)
    if "radius" in missing and (types == STAR).all():
        missing.remove("radius")
        size = Radius("fixed", "none, and all are stars: the smallest box", np.zeros(len(found)), "arcsec")
    if missing or size is None:
        mend = {
            "position": "say which with --columns ra=NAME,dec=NAME or x=NAME,y=NAME",
            "radius": "say which with --columns radius=NAME, or give all the same with --radius fixed:ARCSEC",
        }
        raise InputError(
            f"{name}: no column for a {' or a '.join(missing)}; it has {found.listed()}; "
            + "; ".join(mend[what] for what in missing)
        )
    ours = dict(zip(("ra", "dec"), sky, strict=True)) if sky else {}
    ours |= dict(zip(("x", "y"), pixels, strict=True)) if pixels else {}
    scale = scale_of(sky, pixels) if sky and pixels and size.unit == "pix" else None
    if scale:
        size = size._replace(text=f"{size.text}, {scale:.4g} arcsec a pixel", radii=size.radii * scale, unit="arcsec")
    found.notes.append(f"radius: {size.text}" + (", pixels as the field's" if size.unit == "pix" else ""))
    ours |= {"petroRad_r" if size.unit == "arcsec" else "petroRad_px": size.radii, "type": types}
    ours |= find_axes(found) | find_magnitudes(found) | find_others(found)
    found.notes.extend(_lost(name, sky, pixels, size.radii))
    if described.left_out:
        found.notes.append(f"left out, more than one value a row: {', '.join(described.left_out)}")
    # a column under one of our names that was not taken for it is none
    known = {column.lower() for column in STANDARD}
    rows = described.rows.drop(columns=[column for column in described.rows if str(column).lower() in known])
    return Catalogue(name, rows.assign(**ours), size.kind, tuple(found.notes))


def _lost(
    name: str, sky: tuple[Floats, Floats] | None, pixels: tuple[Floats, Floats] | None, radius: Floats
) -> list[str]:
    """Note of the rows that cannot be used; an error if none can."""
    placed = np.any([np.isfinite(pair).all(axis=0) for pair in (sky, pixels) if pair], axis=0)
    counts = {"position": (~placed).sum(), "radius": (~np.isfinite(radius)).sum()}
    for what, count in counts.items():
        if count == len(radius):
            raise InputError(f"{name}: no row of its {count} has a {what}")
    told = [f"{count} of {len(radius)} without a {what}" for what, count in counts.items() if count]
    return [f"rows: {', '.join(told)}; left out"] if told else []


def sources_on_field(
    catalogue: Catalogue, shape: tuple[int, int], *, wcs: WCS | None, pixel_scale: float | None
) -> Sources:
    """
    Objects of a catalogue that lie on a field, with our boxes.

    Parameters
    ----------
    catalogue : Catalogue
        The catalogue.
    shape : (ny, nx)
        Shape of the field.
    wcs : `~astropy.wcs.WCS` or None
        WCS of the field; with it ``ra`` and ``dec`` place the objects, without it ``x`` and ``y``.
    pixel_scale : float or None
        Arcsec per pixel of the field; 0.396 if not known.

    Returns
    -------
    Sources
        Those whose centre lies on the field.

    Raises
    ------
    NothingHereError
        If there are none.
    fieldprep.errors.InputError
        If a needed column is missing or a column holds no numbers.
    """
    rows, by_sky = _near(catalogue, shape, wcs)
    get = _Getter(catalogue.name, rows)
    if by_sky and wcs is not None:
        x, y = (np.asarray(axis, np.float64) for axis in wcs.world_to_pixel_values(get("ra"), get("dec")))
    else:
        x, y = get("x"), get("y")
    in_pixels = "petroRad_px" in rows.columns
    radius = get("petroRad_px") if in_pixels else get("petroRad_r") / (pixel_scale or DEFAULT_PIXEL_SCALE)
    theta = _theta(get, wcs if by_sky else None)
    boxes = petrosian_boxes(x, y, radius, get("axis_ratio", 1.0), theta)
    ny, nx = shape
    with np.errstate(invalid="ignore"):
        on_field = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5) & np.isfinite(boxes).all(axis=1)
    if not on_field.any():
        raise NothingHereError(f"{catalogue.name}: none of its {len(catalogue.rows)} rows lies on the field")
    return Sources(
        x=x,
        y=y,
        xyxy=clip_boxes(boxes, shape),
        galaxy=get("type", GALAXY) == GALAXY,
        magnitude=get("modelMag_r", np.nan),
        ignore=np.nan_to_num(get("ignore", 0)) != 0,
        radius=radius,
        rows=rows,
    ).select(on_field)


def _near(catalogue: Catalogue, shape: tuple[int, int], wcs: WCS | None) -> tuple[pd.DataFrame, bool]:
    """Rows that may be on the field, and whether the sky places them."""
    rows = catalogue.rows
    sky = {"ra", "dec"} <= set(rows.columns)
    if wcs is not None and sky:
        get = _Getter(catalogue.name, rows)
        centre, reach = footprint(wcs, shape)
        ra, dec = get("ra"), get("dec")
        placed = np.isfinite(ra) & np.isfinite(dec)
        # elsewhere on the sky a projection may have no pixels, or wrong ones
        placed[placed] = SkyCoord(ra[placed], dec[placed], unit="deg").separation(centre) <= reach
        return rows[placed], True
    if not {"x", "y"} <= set(rows.columns):
        why = ", and the field has no WCS for ra, dec" if sky else ""
        raise InputError(f"{catalogue.name}: no column x, y{why}")
    return rows, False


def _theta(get: _Getter, wcs: WCS | None) -> Floats:
    """Angles of the major axes from +x towards +y, degrees; from those on the sky where the sky places the rows."""
    on_sky = "position_angle_deg" in get.rows.columns
    if on_sky and wcs is not None:
        return pixel_angles(wcs, get("ra"), get("dec"), get("position_angle_deg"))
    if on_sky and "theta_deg" not in get.rows.columns:
        raise InputError(f"{get.name}: angles east of north need a field with a WCS and positions on the sky")
    return get("theta_deg", 0.0)


@dataclass(frozen=True, eq=False)
class _Getter:
    """Columns of a catalogue's rows as floats."""

    name: str
    rows: pd.DataFrame

    def __call__(self, column: str, default: float | None = None) -> Floats:
        if column not in self.rows.columns and default is not None:
            return np.full(len(self.rows), default, np.float64)
        try:
            return self.rows[column].to_numpy(np.float64, na_value=np.nan)
        except KeyError as error:
            raise InputError(f"{self.name}: no column {column}") from error
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.name}: column {column} must hold numbers ({one_line(error)})") from error
