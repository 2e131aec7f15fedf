"""SOURCEs that name a piece of sky, to what fetches its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fieldprep.errors import FullfieldError, InputError, one_line
from fieldprep.surveys.mast import parse_mast
from fieldprep.surveys.positions import Position, parse_position, resolve_name
from fieldprep.surveys.prefix import survey_of
from fieldprep.surveys.sdss import fields_at, parse_sdss
from fieldprep.surveys.skycutouts import parse_cutout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_PARSERS: dict[str, Callable[[str], Sequence[Remote]]] = {
    "sdss": parse_sdss,
    "mast": parse_mast,
    "hips": parse_cutout,
    "legacy": parse_cutout,
    "ps1": parse_cutout,
}


class Remote(Protocol):
    """A field that a survey's service has."""

    @property
    def name(self) -> str:
        """Name of the field."""

    @property
    def source(self) -> str:
        """The SOURCE that stands for this field and no other, as ``sdss:3184-2-169``."""

    def fetch(self, folder: Path) -> list[Path]:
        """Fetch what is missing of its files into a folder; gives the files that are the field."""


def find_remotes(texts: Sequence[str]) -> list[Sequence[Remote] | FullfieldError]:
    """
    Fields that SOURCEs on the sky stand for.

    Parameters
    ----------
    texts : sequence of str
        Each a survey's prefix and what it wants (``sdss:3184-2-169``, ``mast:OBSERVATION``), a position, or
        the name of an object; the last two mean the SDSS field there.

    Returns
    -------
    list of (sequence of Remote or FullfieldError)
        For each text its fields, or why there are none. Positions are asked for together, so that a long
        list of them costs few questions.
    """
    found: list[Sequence[Remote] | FullfieldError | Position] = [_parsed(text) for text in texts]
    places = [i for i, entry in enumerate(found) if isinstance(entry, Position)]
    answers = _at([entry for entry in found if isinstance(entry, Position)])
    for i, answer in zip(places, answers, strict=True):
        found[i] = answer or InputError(f"{texts[i]}: SDSS has no field there")
    return [entry for entry in found if not isinstance(entry, Position)]


def _parsed(text: str) -> Sequence[Remote] | FullfieldError | Position:
    try:
        survey = survey_of(text)
        if survey:
            return _PARSERS[survey](text) or InputError(f"{text}: the survey has no field there")
        if position := parse_position(text):
            return position
    except FullfieldError as error:
        return error
    try:
        return resolve_name(text)
    except FullfieldError as error:
        return InputError(f"{text}: no such file or folder; and {one_line(error).removeprefix(f'{text}: ')}")


def _at(positions: list[Position]) -> Sequence[Sequence[Remote] | FullfieldError]:
    try:
        return fields_at(positions) if positions else []
    except FullfieldError as error:
        return [error] * len(positions)
