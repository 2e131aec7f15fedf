"""Axis ratios and angles of a catalogue's objects, whatever the catalogue calls and counts them by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.coordinates import SkyCoord

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from fieldprep.catalogues.columns import Columns

Floats = npt.NDArray[np.float64]

RATIOS = ("b/a", "ba", "BA", "q", "axrat", "axratio", "axial_ratio", "b_over_a")  # in this case: Q is a quality
AXES = (
    *(("A_IMAGE", "B_IMAGE"), ("A_WORLD", "B_WORLD"), ("semimajor_axis", "semiminor_axis")),
    ("semimajor_sigma", "semiminor_sigma"),
)
RATIO_UCDS = ("phys.size.axisRatio", "phys.angSize;arith.ratio")
POSITION_ANGLES = ("THETA_J2000", "THETA_SKY", "position_angle", "pos_angle", "posang", "PA")


def find_axes(columns: Columns) -> dict[str, Any]:
    """
    Axis ratios and angles, as far as the catalogue has both.

    Parameters
    ----------
    columns : Columns
        The catalogue.

    Returns
    -------
    dict of str to 1D float64 `~numpy.ndarray`, shape (N,)
        ``axis_ratio``, and ``theta_deg`` (from +x towards +y) or ``position_angle_deg`` (east of north) or both.
        Where either is missing the ratio is 1, and the box a square.
    """
    ratio, angles = _ratio(columns), _angles(columns)
    if ratio is None or not angles:
        columns.notes.append("axes: no axis ratio with an angle; boxes are squares")
        return {}
    values, name = ratio
    known = np.isfinite([values, *(angle for angle, _ in angles.values())]).all(axis=0)
    lost = f"; {(~known).sum()} rows without, their boxes are squares" if not known.all() else ""
    columns.notes.append(f"axes: {name}; {', '.join(text for _, text in angles.values())}{lost}")
    return {
        "axis_ratio": np.where(known, values, 1.0),
        **{ours: np.where(known, np.nan_to_num(angle), 0.0) for ours, (angle, _) in angles.items()},
    }


def _ratio(columns: Columns) -> tuple[Floats, str] | None:
    column = columns.find("axis_ratio")
    if column:
        return columns.numbers(column), column
    fitted = likelier(columns, ("expAB_r", "ab_exp_r"), ("deVAB_r", "ab_dev_r"))
    if fitted:
        return fitted
    e1, e2 = columns.named("shape_e1"), columns.named("shape_e2")
    if e1 and e2:  # (a - b) / (a + b), as the Legacy Surveys define it
        e = np.hypot(columns.numbers(e1), columns.numbers(e2))
        return (1 - e) / (1 + e), f"{e1}, {e2}"
    for major, minor in AXES:
        a, b = columns.named(major), columns.named(minor)
        if a and b:
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = columns.numbers(b) / columns.numbers(a)
            return np.where(np.isfinite(ratio), ratio, np.nan), f"{b} / {a}"
    column = columns.named("ellipticity", "elongation")
    if column:
        values = columns.numbers(column)
        flat = column.lower() == "ellipticity"
        return (1 - values if flat else 1 / np.maximum(values, 1)), f"{column} turned to b/a"
    column = columns.exactly(*RATIOS) or columns.with_ucd("axis_ratio", *RATIO_UCDS)
    return (columns.numbers(column), column) if column else None


def _angles(columns: Columns) -> dict[str, tuple[Floats, str]]:
    found = {}
    theta = columns.find("theta_deg", "THETA_IMAGE", "orientation")
    if theta:
        found["theta_deg"] = columns.in_unit(theta, "deg", "deg"), f"{theta} from +x towards +y"
    fitted = likelier(columns, ("expPhi_r", "phi_exp_deg_r"), ("deVPhi_r", "phi_dev_deg_r"))
    e1, e2 = columns.named("shape_e1"), columns.named("shape_e2")
    column = columns.find("position_angle_deg")
    if column is None and fitted:
        found["position_angle_deg"] = fitted[0], f"{fitted[1]} east of north"
    elif column is None and e1 and e2:  # as legacypipe makes them of a position angle
        angle = np.degrees(np.arctan2(columns.numbers(e2), columns.numbers(e1))) / 2
        found["position_angle_deg"] = angle, "the angle of these east of north"
    else:
        column = column or columns.named(*POSITION_ANGLES)
        column = column or (None if theta else columns.with_ucd("position_angle_deg", "pos.posAng"))
        if column:
            found["position_angle_deg"] = columns.in_unit(column, "deg", "deg"), f"{column} east of north"
    return found


def likelier(columns: Columns, exponential: tuple[str, ...], vaucouleurs: tuple[str, ...]) -> tuple[Floats, str] | None:
    """
    SDSS's measure of the profile that fits better in r.

    Parameters
    ----------
    columns : Columns
        The catalogue.
    exponential, vaucouleurs : tuple of str
        Names of the measure for either profile.

    Returns
    -------
    (values, name) or None
        The exponential's where nothing tells which fits better.
    """
    exp, dev = columns.named(*exponential), columns.named(*vaucouleurs)
    if not (exp and dev):
        one = exp or dev
        return (columns.numbers(one), one) if one else None
    share = columns.named("fracDeV_r", "fracdev_r")
    lnl_exp, lnl_dev = columns.named("lnLExp_r", "exp_lnl_r"), columns.named("lnLDeV_r", "dev_lnl_r")
    with np.errstate(invalid="ignore"):
        if share:
            better = columns.numbers(share) > 0.5
        elif lnl_exp and lnl_dev:
            better = columns.numbers(lnl_dev) > columns.numbers(lnl_exp)
        else:
            return columns.numbers(exp), exp
    return np.where(better, columns.numbers(dev), columns.numbers(exp)), f"{exp} or {dev} of the likelier profile"


def pixel_angles(wcs: WCS, ra: Floats, dec: Floats, position_angle_deg: Floats) -> Floats:
    """
    Angles on the pixels of a field.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        WCS of the field, of either parity.
    ra, dec : 1D float64 `~numpy.ndarray`, shape (N,)
        Positions, degrees.
    position_angle_deg : 1D float64 `~numpy.ndarray`, shape (N,)
        Angles from north towards east.

    Returns
    -------
    1D float64 `~numpy.ndarray`, shape (N,)
        Degrees from +x towards +y: the direction of a step of one arcsec.
    """
    here = SkyCoord(ra, dec, unit="deg")
    there = here.directional_offset_by(position_angle_deg * u.deg, 1 * u.arcsec)
    x, y = wcs.world_to_pixel_values(ra, dec)
    x_there, y_there = wcs.world_to_pixel_values(there.ra.deg, there.dec.deg)
    angles: Floats = np.degrees(np.arctan2(y_there - y, x_there - x))
    return angles
