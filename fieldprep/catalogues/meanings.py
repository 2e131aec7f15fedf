"""
What the survey catalogues call things: types, magnitudes, ids, votes, redshifts.

Names are those of SDSS (PhotoObj, SpecPhoto, photoObj files), VizieR, SExtractor, photutils, the Legacy Surveys'
tractor, Pan-STARRS, Gaia, HSC, CANDELS, 3D-HST, Galaxy Zoo, and our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldprep.catalogues.columns import MAGNITUDES, VOTES
from fieldprep.catalogues.tables import EXACT

if TYPE_CHECKING:
    from fieldprep.catalogues.columns import Columns

Floats = npt.NDArray[np.float64]

GALAXY, STAR = 3, 6  # SDSS's photometric types
STELLAR = 0.5  # probability of a star from which an object is one

IDS = ("source_id", "object_id", "dr8objid", "dr7objid", "SDSS_objid", "number", "label", "id")
REDSHIFTS = ("z_spec", "zspec", "spec_z", "specz", "redshift", "zsp", "z_best")
REDSHIFT_ERRORS = ("zerr", "z_spec_err", "e_zsp", "e_z")

CODED = ("type", "objc_type", "type_r", "cl", "class")
STAR_SHARE = ("class_star", "star_prob", "p_star", "pstar", "prob_psf", "probpsf", "ps_score", "star_flag")
GALAXY_SHARE = ("extendedness", "r_extendedness_value", "i_extendedness_value", "prob_galaxy", "p_galaxy", "prob_gal")
WORDS = dict.fromkeys(("galaxy", "gal", "g", "rex", "dev", "exp", "ser", "comp", "simp"), GALAXY) | dict.fromkeys(
    ("star", "*", "psf", "qso", "quasar", "point"), STAR
)
GAIA = ("phot_g_mean_mag", "BPmag")  # Gaia's sources: points, all of them

MAGNITUDE_NAMES = (
    *("mag_{}", "{}_mag", "mag_auto_{}", "cModelMag_{}", "{}_cmodel_mag", "petroMag_{}"),
    *("{}KronMag", "{}MeanKronMag", "{}_kron_mag", "{}MeanPSFMag", "psfMag_{}"),
)
FLUX_NAMES = ("flux_{}", "modelFlux_{}", "cModelFlux_{}")
# what passes for r where there is none, the nearest in wavelength first; fluxes with their zero point
NEAR_R = (
    *("Rmag", "mag_f606w", "f606w_mag", "mag_f625w", "mag_f814w", "f814w_mag"),
    *("mag_auto", "phot_g_mean_mag", "Gmag", "mag", "magnitude"),
)
NEAR_R_FLUX = (("f_F606W", 25.0), ("ACS_F606W_FLUX", 23.9), ("f_F814W", 25.0), ("ACS_F814W_FLUX", 23.9))
NANOMAGGIES, MICROJANSKYS = 22.5, 23.9  # their zero points
NO_MAGNITUDE = 90.0  # catalogues write 99 where there is none


def find_types(columns: Columns) -> Floats:
    """
    Types in SDSS's numbers: 3 galaxy, 6 star or another point source, 0 neither.

    Parameters
    ----------
    columns : Columns
        The catalogue: SDSS's numbers, words as ``GALAXY`` or tractor's ``REX``, or the probability of a star.

    Returns
    -------
    1D float64 `~numpy.ndarray`, shape (N,)
        All galaxies where the catalogue says nothing of it, all stars for Gaia's.
    """
    given = columns.mapping.get("type")
    by_ucd = None if given else columns.with_ucd("type", "src.class.starGalaxy")
    for column in [given] if given else [*map(columns.named, CODED), by_ucd]:
        coded = _coded(columns, column) if column else None
        if coded is not None:
            columns.notes.append(f"type: {column}")
            return coded
    extended = None if given else columns.named(*GALAXY_SHARE)
    stellar = given or columns.named(*STAR_SHARE) or (None if extended else by_ucd)
    if stellar or extended:
        share = columns.numbers(stellar) if stellar else 1 - columns.numbers(str(extended))
        columns.notes.append(f"type: {stellar or extended} {'>=' if stellar else '<='} {STELLAR:g} is a star")
        # 3D-HST's flag is 2 where it cannot tell
        return np.where((share >= STELLAR) & (share <= 1), float(STAR), float(GALAXY))
    points = columns.named(*GAIA) is not None
    columns.notes.append("type: Gaia's sources are stars" if points else "type: not given, all are taken as galaxies")
    return np.full(len(columns), float(STAR if points else GALAXY))


def _coded(columns: Columns, column: str) -> Floats | None:
    """SDSS's numbers or words as numbers; None where the column holds neither."""
    values = columns.table.rows[column]
    if columns.is_text(column):
        coded = values.str.strip().str.lower().map(WORDS).to_numpy(np.float64, na_value=np.nan)
        return np.nan_to_num(coded) if np.isfinite(coded).any() else None
    if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
        return None
    numbers = columns.numbers(column)
    known = np.isin(numbers, (GALAXY, STAR))
    return np.nan_to_num(numbers) if known.any() else None


def find_magnitudes(columns: Columns) -> dict[str, Floats]:
    """
    Magnitudes by our names: those in u, g, r, i, z that there are, and for r what is nearest to it.

    Parameters
    ----------
    columns : Columns
        The catalogue; fluxes are in nanomaggies unless their unit is a jansky.

    Returns
    -------
    dict of str to 1D float64 `~numpy.ndarray`, shape (N,)
    """
    found = {}
    for ours, band in zip(MAGNITUDES, "ugriz", strict=True):
        column = columns.mapping.get(ours) or (columns.mapping.get("magnitude") if band == "r" else None)
        column = column or columns.named(ours) or columns.exactly(f"{band}mag")
        column = column or columns.named(*(name.format(band) for name in MAGNITUDE_NAMES))
        # as SkyServer abbreviates them; on its own z is a redshift
        if column is None and columns.exactly("g") and columns.exactly("r") and columns.exactly("i"):
            column = columns.exactly(band)
        flux = None if column else columns.named(*(name.format(band) for name in FLUX_NAMES))
        if column is None and flux is None and band == "r":
            column = columns.with_ucd(ours, "phot.mag;em.opt.r") or columns.named(*NEAR_R)
        if column:
            found[ours] = columns.numbers(column)
        elif flux:
            column = flux
            found[ours] = _from_flux(columns, flux)
        if band == "r" and column:
            columns.notes.append(f"magnitude: {column}")
    if "modelMag_r" not in found:
        found |= _near_r(columns)
    return {ours: np.where(np.abs(values) < NO_MAGNITUDE, values, np.nan) for ours, values in found.items()}


def _near_r(columns: Columns) -> dict[str, Floats]:
    for name, zero_point in NEAR_R_FLUX:
        column = columns.named(name)
        if column:
            columns.notes.append(f"magnitude: {column}, zero point {zero_point:g}")
            return {"modelMag_r": _magnitudes(columns.numbers(column), zero_point)}
    columns.notes.append("magnitude: none")
    return {}


def _from_flux(columns: Columns, column: str) -> Floats:
    """AB magnitudes from fluxes in nanomaggies, or in janskys where the unit says so."""
    if columns.unit(column, "nmgy").is_equivalent("Jy"):
        return _magnitudes(columns.in_unit(column, "uJy", "uJy"), MICROJANSKYS)
    return _magnitudes(columns.in_unit(column, "nmgy", "nmgy"), NANOMAGGIES)


def _magnitudes(flux: Floats, zero_point: float) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flux > 0, zero_point - 2.5 * np.log10(flux), np.nan)


def find_others(columns: Columns) -> dict[str, Any]:
    """
    Ids, ignore flags, field names, votes, redshifts and spectroscopic classes that there are, by our names.

    Parameters
    ----------
    columns : Columns
        The catalogue.

    Returns
    -------
    dict of str to 1D array, shape (N,)
        Ids are whole numbers to the last bit (`~pandas.UInt64Dtype` or `~pandas.Int64Dtype` with gaps), or text.
    """
    rows, found = columns.table.rows, dict[str, Any]()
    ids = columns.find("objid", *IDS) or _one(columns, "meta.id")
    if ids and pd.api.types.is_float_dtype(rows[ids].dtype) and not _whole(rows[ids]):
        columns.notes.append(f"ids: {ids} holds floats that are no exact ids; left out")
    elif ids:
        found["objid"] = exact_ids(rows[ids])
    for ours in ("ignore", *VOTES, "petroR50_r", "petroR90_r"):
        column = columns.find(ours)
        if column:
            unit = ("arcsec", "arcsec") if ours.startswith("petro") else None
            found[ours] = columns.in_unit(column, *unit) if unit else columns.numbers(column)
    field = columns.find("field")
    if field:
        found["field"] = rows[field]
    redshift = columns.mapping.get("z") or columns.named(*REDSHIFTS)
    if redshift is None and not (columns.exactly("g") and columns.exactly("r") and columns.exactly("i")):
        redshift = columns.named("z") or _one(columns, "src.redshift")
    if redshift:
        found["z"] = columns.numbers(redshift)
    error = columns.find("z_err", *REDSHIFT_ERRORS)
    if error:
        found["z_err"] = columns.numbers(error)
    kind = columns.find("class", "spectype", "specClass")
    if kind and columns.is_text(kind):
        found["class"] = rows[kind].str.strip()
    return found


def _one(columns: Columns, ucd: str) -> str | None:
    """Find the one column with this UCD; what nothing hangs on is left where it is if there are several."""
    found = columns.all_with_ucd(ucd)
    main = [column for column in found if "meta.main" in columns.table.ucds[column].lower()]
    found = main or found
    return found[0] if len(found) == 1 else None


def _whole(values: pd.Series[Any]) -> bool:
    given = values.dropna()
    return bool((given % 1 == 0).all() and (given.abs() < EXACT).all())


def exact_ids(values: pd.Series[Any]) -> pd.Series[Any]:
    """
    Ids as whole numbers where they are such, else as text.

    Parameters
    ----------
    values : `~pandas.Series`
        Whole numbers with or without gaps, whole floats below 2**53, or text.

    Returns
    -------
    `~pandas.Series`
        int64 or uint64, the nullable kind of these where ids are missing, or text.
    """
    if pd.api.types.is_integer_dtype(values.dtype):
        return values
    given = values.notna() & (values != "")
    text = values[given].astype("int64") if pd.api.types.is_float_dtype(values.dtype) else values[given]
    whole = [int(value) for value in text if str(value).isdecimal() and str(int(value)) == str(value)]
    if len(whole) < len(text) or not whole or max(whole) >= 2**64:
        return values
    large = max(whole) >= 2**63
    kind = pd.UInt64Dtype() if large else pd.Int64Dtype()
    exact = dict(zip(values.index[given], whole, strict=True))
    out: pd.Series[Any] = pd.Series(pd.array([exact.get(i) for i in values.index], dtype=kind), index=values.index)
    return out.astype("uint64" if large else "int64") if given.all() else out
