"""Where the objects of a catalogue are: sky positions and pixels, whatever the catalogue calls them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy import units as u
from astropy.coordinates import FK4, FK5, ICRS, Angle, Galactic, SkyCoord

from fieldprep.errors import InputError, one_line

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from fieldprep.catalogues.columns import Columns

Floats = npt.NDArray[np.float64]

# longitude, latitude and their system, where the file does not tell it
POSITIONS = (
    ("ra", "dec", "ICRS"),
    ("RA_ICRS", "DE_ICRS", "ICRS"),
    ("_RA.icrs", "_DE.icrs", "ICRS"),
    ("RAdeg", "DEdeg", "ICRS"),
    ("right_ascension", "declination", "ICRS"),
    ("sky_centroid.ra", "sky_centroid.dec", "ICRS"),
    ("sky_centroid_icrs.ra", "sky_centroid_icrs.dec", "ICRS"),
    ("ALPHAWIN_J2000", "DELTAWIN_J2000", "ICRS"),
    ("ALPHA_J2000", "DELTA_J2000", "ICRS"),
    ("ALPHA_SKY", "DELTA_SKY", "ICRS"),
    ("raMean", "decMean", "ICRS"),
    ("raStack", "decStack", "ICRS"),
    ("MatchRA", "MatchDec", "ICRS"),
    ("RAJ2000", "DEJ2000", "ICRS"),  # FK5 by VizieR's word, which its files then give
    ("_RAJ2000", "_DEJ2000", "FK5"),
    ("_RA", "_DE", "ICRS"),
    ("RAB1950", "DEB1950", "FK4"),
    ("GLON", "GLAT", "Galactic"),
    ("_Glon", "_Glat", "Galactic"),
)
# x, y and what to add for pixels whose centres are counted from 0
PIXELS = (
    ("x", "y", 0.0),
    ("x_centroid", "y_centroid", 0.0),
    ("xcentroid", "ycentroid", 0.0),
    ("XWIN_IMAGE", "YWIN_IMAGE", -1.0),  # FITS counts from 1
    ("X_IMAGE", "Y_IMAGE", -1.0),
    ("colc", "rowc", -0.5),  # SDSS: the edges of pixels are whole (Pier et al. 2003, section 4)
    ("objc_colc", "objc_rowc", -0.5),
    ("colc_r", "rowc_r", -0.5),
)
SYSTEMS = {"icrs": ICRS(), "fk5": FK5(equinox="J2000"), "fk4": FK4(equinox="B1950"), "galactic": Galactic()}


def find_sky(columns: Columns) -> tuple[Floats, Floats] | None:
    """
    Sky positions.

    Parameters
    ----------
    columns : Columns
        The catalogue; degrees where it names no unit, hours and degrees where it is sexagesimal.

    Returns
    -------
    (ra, dec) of float64 `~numpy.ndarray`, shape (N,), or None
        Degrees in the ICRS, NaN where there is none.

    Raises
    ------
    fieldprep.errors.InputError
        If they are no angles, or there is more than one candidate.
    """
    pair = _sky_columns(columns)
    if pair is None:
        return None
    lon, lat, system = pair
    told = columns.table.frames.get(lon, "") or system
    key = told.lower().removeprefix("eq_").replace("galactic_ii", "galactic")
    if key not in SYSTEMS:
        raise InputError(f"{columns.name}: {lon} and {lat} are in {told}, which is not a system that is understood")
    degrees = [_angle(columns, lon, hours=key != "galactic"), _angle(columns, lat, hours=False)]
    good = np.isfinite(degrees[0]) & np.isfinite(degrees[1])
    if (np.abs(degrees[1][good]) > 90).any():
        raise InputError(f"{columns.name}: column {lat} must hold degrees between -90 and 90")
    if key != "icrs" and good.any():
        icrs = SkyCoord(degrees[0][good], degrees[1][good], unit="deg", frame=SYSTEMS[key]).icrs
        degrees[0][good], degrees[1][good] = icrs.ra.deg, icrs.dec.deg
    turned = "" if key == "icrs" else f", {told} turned to the ICRS"
    columns.notes.append(f"position: {lon}, {lat} (deg{turned})")
    return degrees[0], degrees[1]


def _sky_columns(columns: Columns) -> tuple[str, str, str] | None:
    systems = {lon.lower(): system for lon, _, system in POSITIONS}
    if "ra" in columns.mapping:
        lon, lat = columns.mapping["ra"], columns.mapping["dec"]
        return lon, lat, systems.get(lon.lower(), "ICRS")
    for names in POSITIONS:
        lon_found, lat_found = columns.named(names[0]), columns.named(names[1])
        if lon_found and lat_found:
            return lon_found, lat_found, names[2]
    for ours, ucds, system in (
        (("ra", "dec"), ("pos.eq.ra", "pos.eq.dec"), "ICRS"),
        (("ra", "dec"), ("pos.galactic.lon", "pos.galactic.lat"), "Galactic"),
    ):
        lon_found, lat_found = (columns.with_ucd(*which) for which in zip(ours, ucds, strict=True))
        if lon_found and lat_found:
            return lon_found, lat_found, system
    return None


def _angle(columns: Columns, column: str, *, hours: bool) -> Floats:
    """Degrees; text is a number, or sexagesimal: hours of right ascension unless its unit says degrees."""
    values = columns.table.rows[column]
    if not columns.is_text(column):
        return columns.in_unit(column, "deg", "deg")
    as_numbers = pd.to_numeric(values, errors="coerce")
    given = values.notna() & (values != "")
    if as_numbers[given].notna().all():
        return columns.in_unit(column, "deg", "deg")
    unit = u.hourangle if hours and not columns.table.units.get(column, "").strip("\"'").startswith("d") else u.deg
    out = np.full(len(values), np.nan)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 60 seconds are the next minute
            out[given] = Angle([str(value).strip() for value in values[given]], unit).deg
    except (ValueError, u.UnitsError) as error:
        raise InputError(f"{columns.name}: column {column} must hold angles ({one_line(error)})") from error
    return out


def find_pixels(columns: Columns) -> tuple[Floats, Floats] | None:
    """
    Positions on the pixels of the field.

    Parameters
    ----------
    columns : Columns
        The catalogue.

    Returns
    -------
    (x, y) of float64 `~numpy.ndarray`, shape (N,), or None
        0-based, centres of pixels whole: SExtractor's are counted from 1, SDSS's from the first pixel's corner.
    """
    offsets = {x.lower(): offset for x, _, offset in PIXELS}
    pair = (columns.mapping["x"], columns.mapping["y"]) if "x" in columns.mapping else None
    for names in () if pair else PIXELS:
        x, y = columns.named(names[0]), columns.named(names[1])
        if x and y:
            pair = x, y
            break
    if pair is None:
        return None
    offset = offsets.get(pair[0].lower(), 0.0)
    columns.notes.append(f"pixels: {pair[0]}, {pair[1]}" + (f" {offset:+g}" if offset else ""))
    return columns.numbers(pair[0]) + offset, columns.numbers(pair[1]) + offset


def footprint(wcs: WCS, shape: tuple[int, int]) -> tuple[SkyCoord, Angle]:
    """
    Circle on the sky around a field.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        WCS of the field.
    shape : (ny, nx)
        Its shape.

    Returns
    -------
    centre : `~astropy.coordinates.SkyCoord`
    reach : `~astropy.coordinates.Angle`
        To the farthest corner and 2 % beyond.
    """
    ny, nx = shape
    centre = wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2).icrs
    corners = wcs.pixel_to_world([-0.5, nx - 0.5, -0.5, nx - 0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5])
    return centre, Angle(1.02 * centre.separation(corners).max())


def scale_of(sky: tuple[Floats, Floats], pixels: tuple[Floats, Floats]) -> float | None:
    """
    Pixel scale of the image that a catalogue was made from, by its own positions.

    Parameters
    ----------
    sky : (ra, dec)
        Degrees.
    pixels : (x, y)
        Pixels.

    Returns
    -------
    float or None
        Arcsec per pixel: median over pairs of neighbouring rows; None for fewer than three.
    """
    good = np.isfinite([*sky, *pixels]).all(axis=0)
    if good.sum() < 3:
        return None
    coordinates = SkyCoord(sky[0][good], sky[1][good], unit="deg")
    apart = np.hypot(*(np.diff(axis[good]) for axis in pixels))
    ratio = coordinates[1:].separation(coordinates[:-1]).arcsec[apart > 0] / apart[apart > 0]
    return float(np.median(ratio)) if len(ratio) else None


def nearest_rows(here: SkyCoord, there: SkyCoord, limit_arcsec: float) -> npt.NDArray[np.int64]:
    """
    Which row of one table belongs to each object of another, by position.

    Parameters
    ----------
    here, there : `~astropy.coordinates.SkyCoord`, shapes (N,) and (M,)
        The objects, and the rows of the other table.
    limit_arcsec : float
        How near a row must be.

    Returns
    -------
    1D int64 `~numpy.ndarray`, shape (N,)
        Row of ``there``, -1 where there is none. A row goes to the nearest object, and of several the nearest stays.
    """
    nearest = np.full(len(here), -1)
    if not len(here) or not len(there):
        return nearest
    owner, apart, _ = there.match_to_catalog_sky(here)
    order = np.argsort(-apart.arcsec, kind="stable")  # the nearest comes last, and stays
    order = order[apart.arcsec[order] <= limit_arcsec]
    nearest[owner[order]] = order
    return nearest
