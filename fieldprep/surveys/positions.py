"""Places on the sky as a user writes them: positions, and names of objects."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from astropy.coordinates import get_icrs_coordinates
from astropy.coordinates.name_resolve import NameResolveError, sesame_url
from astropy.utils import data

from fieldprep.errors import InputError, UsageError, one_line
from fieldprep.surveys.download import (
    NotThereError,
    TransientError,
    cache_folder,
    connection,
    patience,
    retrying,
    write_whole,
)

if TYPE_CHECKING:
    from pathlib import Path

_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_DEGREES = re.compile(rf"([-+]?(?:{_NUMBER}))(?:\s*,\s*|\s+)([-+]?(?:{_NUMBER}))")
_SEXAGESIMAL = re.compile(
    rf"(\d+)\s*[h:\s]\s*(\d+)\s*[m:\s]\s*({_NUMBER})\s*s?"
    r"(?:\s*,\s*|\s+|(?=[-+]))"
    rf"([-+]?)(\d+)\s*[d°:\s]\s*(\d+)\s*[m'′:\s]\s*({_NUMBER})\s*(?:s|\"|″)?"
)
_WITH_SIZE = re.compile(rf"(?P<where>.*\S)(?:\s*,\s*|\s+)(?P<size>[-+]?(?:{_NUMBER}))\s*(?P<unit>[^\s\d.]*)", re.DOTALL)
_UNITS = {
    **dict.fromkeys(("deg", "degree", "degrees", "°"), 1.0),
    **dict.fromkeys(("arcmin", "arcminute", "arcminutes", "'", "′"), 1 / 60),
    **dict.fromkeys(("arcsec", "arcsecond", "arcseconds", '"', "″", "''"), 1 / 3600),
}
_SESAME_TRIES = 3
_UNKNOWN = "Sesame (SIMBAD, NED, VizieR) knows no object of that name"


@dataclass(frozen=True)
class Position:
    """
    A place on the sky.

    Parameters
    ----------
    ra, dec : float
        Degrees, ICRS; right ascension from 0 to below 360.
    size_deg : float, optional
        The angle given after it, degrees.
    """

    ra: float
    dec: float
    size_deg: float | None = None


def parse_position(text: str) -> Position | None:
    """
    Read a position as a user writes it.

    Parameters
    ----------
    text : str
        Right ascension and declination in degrees (``229.54 +42.76``, ``229.54,42.76``), or in hours and degrees
        with minutes and seconds (``15h18m09.6s +42d45m36s``, ``15:18:09.6 +42:45:36``), each followed by an
        angle or not (``10arcmin``, ``0.1deg``, ``300arcsec``, ``5'``).

    Returns
    -------
    Position or None
        None if the text is no position, as the name of an object is not.

    Raises
    ------
    fieldprep.errors.UsageError
        If it is one and out of range, or its angle has no unit or is not above zero.
    """
    text = text.strip()
    whole = _place(text)
    if whole is not None:
        return whole
    sized = _WITH_SIZE.fullmatch(text)
    place = _place(sized["where"]) if sized else None
    return None if place is None or sized is None else replace(place, size_deg=_size(sized, text))


def _place(text: str) -> Position | None:
    if match := _DEGREES.fullmatch(text):
        return _in_range(float(match[1]), float(match[2]), text)
    if match := _SEXAGESIMAL.fullmatch(text):
        hours, minutes, seconds = int(match[1]), int(match[2]), float(match[3])
        degrees, arcminutes, arcseconds = int(match[5]), int(match[6]), float(match[7])
        if max(minutes, seconds, arcminutes, arcseconds) >= 60:
            raise UsageError(f"{text}: minutes and seconds go from 0 to below 60")
        sign = -1 if match[4] == "-" else 1  # of -00:30:00 too
        ra = 15 * (hours + minutes / 60 + seconds / 3600)
        return _in_range(ra, sign * (degrees + arcminutes / 60 + arcseconds / 3600), text)
    return None


def _in_range(ra: float, dec: float, text: str) -> Position:
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise UsageError(f"{text}: right ascension goes from 0 to 360 degrees, declination from -90 to 90")
    return Position(ra % 360, dec)  # 360 is what rounding makes of a little less


def _size(sized: re.Match[str], text: str) -> float:
    unit = _UNITS.get(sized["unit"].lower())
    if unit is None:
        raise UsageError(f"{text}: an angle wants its unit (deg, arcmin or arcsec), got {sized['size']}{sized['unit']}")
    if not float(sized["size"]) > 0:
        raise UsageError(f"{text}: an angle must be above zero")
    return float(sized["size"]) * unit


def resolve_name(name: str) -> Position:
    """
    Look up the position of an object by name, by CDS's Sesame; what is found is kept and not asked again.

    Parameters
    ----------
    name : str
        Name of the object (``M 101``), followed by an angle with its unit or not (``M 101 10arcmin``).

    Returns
    -------
    Position

    Raises
    ------
    fieldprep.surveys.download.NotThereError
        If no object of that name is known.
    fieldprep.errors.InputError
        If Sesame cannot be asked.
    """
    text = " ".join(name.split())
    sized = _WITH_SIZE.fullmatch(text)
    if sized and sized["unit"].lower() in _UNITS:
        return replace(resolve_name(sized["where"]), size_deg=_size(sized, text))
    kept = cache_folder() / "names" / f"{hashlib.sha256(text.lower().encode()).hexdigest()[:32]}.json"
    found = _kept_position(kept)
    if found is None:
        found = _ask_sesame(text)
        write_whole(kept, json.dumps({"name": text, "ra": found.ra, "dec": found.dec}).encode())
    return found


def _kept_position(path: Path) -> Position | None:
    try:
        entry = json.loads(path.read_text())
        return Position(float(entry["ra"]), float(entry["dec"]))
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not ours: asked anew and written over
        return None


def _ask_sesame(name: str) -> Position:
    def ask() -> Position:
        try:
            with connection(sesame_url.get()[0]), data.conf.set_temp("remote_timeout", patience().timeout_seconds):
                found = get_icrs_coordinates(name)
        except NameResolveError as error:
            # an error page with status 200 looks like an unknown name from here, so that is tried again too
            unknown = one_line(error).startswith("Unable to find coordinates")
            raise TransientError(_UNKNOWN if unknown else f"Sesame cannot be asked: {one_line(error)}") from error
        return Position(float(found.ra.deg) % 360, float(found.dec.deg))

    try:
        return retrying(ask, what=name, attempts=_SESAME_TRIES)
    except InputError as error:
        if _UNKNOWN in str(error):
            raise NotThereError(f"{name}: {_UNKNOWN}; give a position instead, as '229.54 +42.76'") from error
        raise
