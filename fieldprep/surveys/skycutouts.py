"""Cutouts of the sky from the surveys' own services: HiPS, Legacy Surveys, Pan-STARRS."""

from __future__ import annotations

from fieldprep.errors import UsageError
from fieldprep.surveys.hips import HipsCutout
from fieldprep.surveys.legacysurvey import LegacyCutout
from fieldprep.surveys.panstarrs import PanstarrsCutout
from fieldprep.surveys.positions import parse_position, resolve_name

__all__ = ["HipsCutout", "LegacyCutout", "PanstarrsCutout", "parse_cutout"]

Cutout = HipsCutout | LegacyCutout | PanstarrsCutout

_FORMS = {
    "hips": "hips:SURVEY@POSITION SIZE, as hips:CDS/P/PanSTARRS/DR1/r@229.54 +42.76 10arcmin",
    "legacy": "legacy:POSITION SIZE, as legacy:229.54 +42.76 5arcmin",
    "ps1": "ps1:POSITION SIZE, as ps1:229.54 +42.76 5arcmin",
}


def parse_cutout(text: str) -> list[Cutout]:
    """
    Cutout that a SOURCE stands for.

    Parameters
    ----------
    text : str
        ``hips:SURVEY@POSITION SIZE`` with one HiPS or three, comma separated (red, green, blue),
        ``legacy:POSITION SIZE`` or ``ps1:POSITION SIZE``; the position may be the name of an object.

    Returns
    -------
    list
        One `HipsCutout`, `LegacyCutout` or `PanstarrsCutout`.

    Raises
    ------
    fieldprep.errors.UsageError
        If it is none of these.
    fieldprep.errors.InputError
        If the object is not known.
    """
    survey, _, rest = text.strip().partition(":")
    survey = survey.strip().lower()
    if survey not in _FORMS:
        raise UsageError(f"{text}: a cutout is asked for as {'; '.join(_FORMS.values())}")
    if survey != "hips":
        kind = LegacyCutout if survey == "legacy" else PanstarrsCutout
        return [kind(*_place(rest, text, _FORMS[survey]))]
    ids, _, where = rest.partition("@")
    surveys = tuple(one.strip() for one in ids.split(","))
    if not all(surveys) or len(surveys) not in {1, 3} or len(set(surveys)) != len(surveys):
        raise UsageError(f"{text}: wants one HiPS, or three for red, green and blue: {_FORMS[survey]}")
    return [HipsCutout(surveys, *_place(where, text, _FORMS[survey]))]


def _place(where: str, text: str, form: str) -> tuple[float, float, float]:
    """Right ascension, declination and size in degrees."""
    if not where.strip():
        raise UsageError(f"{text}: wants a position and a size: {form}")
    place = parse_position(where) or resolve_name(where)
    if place.size_deg is None:
        raise UsageError(f"{text}: wants a size (10arcmin, 0.1deg, 300arcsec): {form}")
    return place.ra, place.dec, place.size_deg
