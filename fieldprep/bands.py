"""Bands: their names, their order in wavelength, and which are shown as red, green and blue."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fieldprep.field import Field

# effective wavelengths in nm of the bands that are named by a letter
WAVELENGTHS_NM = {
    "u": 355, "U": 365, "B": 440, "g": 475, "V": 550, "r": 622, "R": 658, "G": 530, "i": 763, "I": 806,
    "z": 905, "Y": 1020, "y": 1000, "J": 1220, "H": 1630, "K": 2190, "Ks": 2150,
    "VIS": 720, "gray": 550,
}  # fmt: skip

_HST_JWST = re.compile(r"^F(\d{3,4})(LP|W2|W|M|N|X)?$", re.IGNORECASE)
_NO_FILTER = ("CLEAR", "OPEN", "NONE", "N/A")
_PICTURE = ("R", "G", "B")


def clean_name(name: str) -> str:
    """
    Band name as fullfield writes it: ``g.MP9401`` is ``g``, ``f105w`` is ``F105W``.

    Parameters
    ----------
    name : str
        As a header gives it.

    Returns
    -------
    str
    """
    name = name.strip().split(";")[0].strip()
    if _HST_JWST.match(name):
        return name.upper()
    stem = re.split(r"[.\s_]", name)[0]
    return stem if stem in WAVELENGTHS_NM else name.replace(" ", "_")


def narrowest(filters: Iterable[str]) -> str | None:
    """
    Band of an exposure through several filters.

    Parameters
    ----------
    filters : iterable of str
        What is in the beam, as headers or archives give it: clear glass and empty names are left out, and one
        name may hold several (``CLEAR1L;F814W``).

    Returns
    -------
    str or None
        The narrowest (F162M of NIRCam is exposed through F150W2 in another wheel), the first of equals; None if
        nothing is left.
    """
    parts = [part.strip() for name in filters for part in name.split(";")]
    named = [clean_name(part) for part in parts if part and not part.upper().startswith(_NO_FILTER)]
    # a polariser, a grism or a wheel's number beside a filter of HST or JWST is not the band
    known = [name for name in named if _HST_JWST.match(name)]
    return min(known, key=_width) if known else next(iter(named), None)


def _width(name: str) -> int:
    match = _HST_JWST.match(name)
    return ("N", "M", "W", "X", "LP", "W2").index((match[2] if match and match[2] else "W").upper())


def wavelength_nm(name: str) -> float | None:
    """
    Effective wavelength of a band in nm, None if its name does not tell.

    Parameters
    ----------
    name : str
        As `clean_name` gives it. HST and JWST names carry it: F160W of WFC3 is 1600 nm, F606W 606 nm,
        F2100W of MIRI 21000 nm.
    """
    match = _HST_JWST.match(name)
    if match:
        digits = match.group(1)
        # three digits are nm in the optical channels (F435W..F850LP), tens of nm in the infrared ones
        return (
            float(digits)
            if len(digits) == 3 and (int(digits) > 210 or match.group(2) == "LP") and name.upper() not in _NIRCAM
            else 10.0 * int(digits)
        )
    return WAVELENGTHS_NM.get(name)


# filters of NIRCam, NIRISS and MIRI above F210M, whose three digits are tens of nm like those below
_NIRCAM = {
    "F250M", "F277W", "F300M", "F322W2", "F323N", "F335M", "F356W", "F360M", "F405N", "F410M", "F430M",
    "F444W", "F460M", "F466N", "F470N", "F480M",
    "F212N", "F380M", "F560W", "F770W",
}  # fmt: skip


def by_wavelength(names: Iterable[str]) -> list[str]:
    """
    Band names from the shortest wavelength to the longest.

    Parameters
    ----------
    names : iterable of str
        Bands; R, G, B of a picture come as B, G, R. Where a wavelength is unknown the given order stays.

    Returns
    -------
    list of str
    """
    given = list(names)
    if set(given) == set(_PICTURE):
        return ["B", "G", "R"]
    wavelengths = {name: wavelength_nm(name) for name in given}
    if any(value is None for value in wavelengths.values()):
        return given
    return sorted(given, key=lambda name: wavelengths[name] or 0.0)


def rgb_bands(field: Field, bands: Sequence[str] | None = None) -> tuple[str, str, str]:
    """
    Bands shown as red, green and blue.

    Parameters
    ----------
    field : Field
        Any field.
    bands : sequence of three str, optional
        The user's choice.

    Returns
    -------
    red, green, blue : str
        Longest, middle, shortest wavelength; SDSS's default is i, r, g even if u or z is there. Of one band
        all three are that band; of two ``green`` is empty and their mean is meant.

    Raises
    ------
    fieldprep.errors.InputError
        If a named band is not in the field.
    """
    have = list(field.bands)
    if bands is not None:
        missing = [band for band in bands if band not in have]
        if len(bands) != 3 or missing:
            raise InputError(
                f"{field.name}: --bands needs three of this field's bands ({', '.join(have)}), got {','.join(bands)}"
            )
        return bands[0], bands[1], bands[2]
    if {"g", "r", "i"} <= set(have):
        return "i", "r", "g"
    ordered = by_wavelength(have)
    if len(ordered) == 2:
        return ordered[1], "", ordered[0]
    return ordered[-1], ordered[len(ordered) // 2], ordered[0]
