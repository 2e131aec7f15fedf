"""What the header of a raw exposure says, in the many ways that cameras say it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from astropy.wcs import WCS

from fieldprep.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from astropy.io import fits

KIND_KEYS = ("IMAGETYP", "IMGTYPE", "FRAMETYP", "OBSTYPE", "ESO DPR TYPE")
# in this order: a "dark flat" is a dark, and "twilight" ends in light
_KINDS = (
    ("", re.compile(r"master|super|stack|combin|integrat")),
    ("dark", re.compile(r"dark")),
    ("flat", re.compile(r"flat|twilight|dome")),
    ("bias", re.compile(r"bias|zero")),
    ("light", re.compile(r"light|object|science|target|standard|^(sci|obj|std)$")),
)
_SKY_FLAT = re.compile(r"sky|twi|dusk|dawn")
SECONDS_KEYS = ("EXPTIME", "EXPOSURE", "EXP_TIME", "ITIME")
TEMPERATURE_KEYS = ("CCD-TEMP", "CCDTEMP", "SET-TEMP", "DET-TEMP")
READ_NOISE_KEYS = ("RDNOISE", "READNOIS", "RON", "ENOISE")
SATURATION_KEYS = ("SATURATE", "SATLEVEL")
# some acquisition programs write the gain setting of the camera (100, 139, ...) as GAIN, and EGAIN in electrons
LARGEST_GAIN = 20.0
_SECTION = re.compile(r"^\[(\d+):(\d+),(\d+):(\d+)\]$")


def kind_of(header: fits.Header) -> tuple[str, bool]:
    """
    What a frame is by IMAGETYP, OBSTYPE or their like, in any of their many spellings.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of the file.

    Returns
    -------
    kind : str
        ``bias``, ``dark``, ``flat``, ``light``; empty where it is none of them or has been combined already.
    sky_flat : bool
        Whether it is called a flat of the sky.
    """
    for key in KIND_KEYS:
        text = re.sub(r"[^a-z]", "", str(header.get(key, "")).lower())
        for kind, pattern in _KINDS:
            if pattern.search(text):
                return kind, kind == "flat" and _SKY_FLAT.search(text) is not None
    return "", False


def joined_header(hdus: fits.HDUList, number: int) -> fits.Header:
    """
    Header of an HDU, with what only the primary one says.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        Of the file.
    number : int
        Which HDU.
    """
    header = hdus[number].header.copy()
    for card in hdus[0].header.cards:
        if number and card.keyword and card.keyword not in header and card.keyword not in {"SIMPLE", "EXTEND"}:
            header.append(card)
    return header


def first_number(header: fits.Header, keys: Sequence[str]) -> float | None:
    """
    Value of the first of some keywords that holds a finite number; None if none does.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of the file.
    keys : sequence of str
        Spellings of one thing.
    """
    for key in keys:
        try:
            value = float(header[key])
        except (KeyError, TypeError, ValueError):
            continue
        if np.isfinite(value):
            return value
    return None


def gain_of(path: Path, header: fits.Header) -> float:
    """
    Electrons a count: EGAIN, or GAIN where it can be one.

    Parameters
    ----------
    path : path
        The file, for the error.
    header : `~astropy.io.fits.Header`
        Of the file.

    Raises
    ------
    fieldprep.errors.UsageError
        If neither tells.
    """
    exact, loose = first_number(header, ("EGAIN",)), first_number(header, ("GAIN",))
    if exact is not None and exact > 0:
        return exact
    if loose is not None and 0 < loose <= LARGEST_GAIN:
        return loose
    said = "no EGAIN or GAIN in the header" if loose is None else f"GAIN = {loose:g} is no number of electrons a count"
    raise UsageError(f"{path}: {said}; give --gain")


def section(path: Path, header: fits.Header, key: str, shape: tuple[int, int]) -> str | None:
    """
    Section of the image as FITS writes it, ``[x1:x2,y1:y2]``; None where there is none, or it is the whole.

    Parameters
    ----------
    path : path
        The file, for the error.
    header : `~astropy.io.fits.Header`
        Of the file.
    key : str
        BIASSEC, TRIMSEC or DATASEC.
    shape : (ny, nx)
        Of the image.

    Raises
    ------
    fieldprep.errors.InputError
        If it is no section of the image.
    """
    text = str(header.get(key, "")).replace(" ", "")
    if not text:
        return None
    match = _SECTION.match(text)
    x1, x2, y1, y2 = map(int, match.groups()) if match else (0, 0, 0, 0)
    if match and x2 == y2 == 0:  # written by cameras that have none
        return None
    if not (1 <= x1 <= x2 <= shape[1] and 1 <= y1 <= y2 <= shape[0]):
        raise InputError(f"{path}: {key} = {text} is no section of {shape[1]} columns and {shape[0]} rows; mend it")
    return text if (x1, x2, y1, y2) != (1, shape[1], 1, shape[0]) else None


def full_scale(header: fits.Header) -> float:
    """
    Largest count that the file's integers can hold; infinite for floats.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        As in the file, before its image was read.
    """
    bits = int(header["BITPIX"])
    if bits < 0:
        return float("inf")
    largest = 255 if bits == 8 else 2 ** (bits - 1) - 1
    return largest * float(header.get("BSCALE", 1)) + float(header.get("BZERO", 0))


def celestial_wcs(header: fits.Header) -> WCS | None:
    """
    WCS of the sky; None where there is none, or none that can be read (the stars align the exposure then).

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of the image.
    """
    try:
        wcs = WCS(header).celestial
    except Exception:  # noqa: BLE001 -- whatever is wrong with it, it is of no use
        return None
    return wcs if wcs.has_celestial else None
