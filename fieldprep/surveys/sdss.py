"""SDSS fields: which there are, their frames and their catalogue, fetched through astroquery and verified."""

from __future__ import annotations

import bz2
import io
import re
import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from astropy.io import fits
from astropy.table import Table
from astroquery.sdss import SDSSClass

from fieldprep.errors import InputError, UsageError, one_line
from fieldprep.fitsfile import SDSS_FRAME_OFFSET
from fieldprep.surveys.download import fetch, fetch_all, patience
from fieldprep.surveys.positions import parse_position
from fieldprep.surveys.sdss_catalogue import CATALOGUE_FILE, catalogue_on, fetch_field_catalogue
from fieldprep.surveys.sdss_columns import RELEASE
from fieldprep.surveys.sdss_footprint import FRAME_SHAPE, footprints_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fieldprep.surveys.positions import Position

__all__ = ["BANDS", "RELEASE", "SdssField", "catalogue_on", "fields_at", "parse_sdss", "verify_frame"]

BANDS = ("g", "r", "i")
RERUN = 301
_FIELD = re.compile(r"\s*(\d{1,6})-(\d)-(\d{1,4})\s*")
_WITH_BANDS = re.compile(r"(?P<where>.*):(?P<bands>[A-Za-z]+)\s*", re.DOTALL)


@dataclass(frozen=True)
class SdssField:
    """
    One field of the SDSS imaging survey.

    Parameters
    ----------
    run, camcol, field : int
        The survey's numbers of it.
    bands : tuple of str
        Which of u, g, r, i, z.
    release : int
        Data release.
    rerun : int
        Processing; all frames since data release 8 are of 301.
    """

    run: int
    camcol: int
    field: int
    bands: tuple[str, ...] = BANDS
    release: int = RELEASE
    rerun: int = RERUN

    def __post_init__(self) -> None:
        if not (self.run > 0 and 1 <= self.camcol <= 6 and self.field > 0):
            raise UsageError(
                f"sdss:{self.run}-{self.camcol}-{self.field}: no such field; it wants RUN-CAMCOL-FIELD, camcol 1 to 6"
            )
        _check_bands(self.bands, self.source)

    @property
    def name(self) -> str:
        """The survey's id, as in the names of its files: ``003184-2-0169``."""
        return f"{self.run:06d}-{self.camcol}-{self.field:04d}"

    @property
    def source(self) -> str:
        """What a user writes for this field and no other: ``sdss:3184-2-169``."""
        bands = "" if self.bands == BANDS else f":{''.join(self.bands)}"
        return f"sdss:{self.run}-{self.camcol}-{self.field}{bands}"

    def fetch(self, folder: Path) -> list[Path]:
        """
        Fetch the frames that are not there.

        Parameters
        ----------
        folder : path
            Where to; each frame has the survey's own name and its own bytes.

        Returns
        -------
        list of path
            The frames, in the order of the bands.

        Raises
        ------
        fieldprep.surveys.download.NotThereError
            If the survey has no such frame.
        fieldprep.errors.InputError
            If a frame cannot be had whole; the others are there all the same.
        """
        frames = zip(self.bands, self._addresses(), strict=True)
        return fetch_all([partial(self._fetch_frame, band, address, folder) for band, address in frames])

    def _fetch_frame(self, band: str, address: str, folder: Path) -> Path:
        return fetch(
            address,
            folder / address.rpartition("/")[2],
            what=f"SDSS frame {band} of {self.name}",
            verify=partial(verify_frame, field=self, band=band),
        )

    def _addresses(self) -> list[str]:
        """Addresses of the frames, by astroquery's rules for each release; nothing is transferred."""
        row = Table(
            {"run": [self.run], "rerun": [self.rerun], "camcol": [self.camcol], "field": [self.field]},
        )
        found = SDSSClass().get_images_async(
            matches=row,
            band=list(self.bands),
            timeout=patience().timeout_seconds,
            cache=False,
            data_release=self.release,
            show_progress=False,
        )
        # its own transfer holds a frame in memory, decompressed, and knows no second try
        return [str(container._target) for container in found]  # noqa: SLF001 -- no other way to the address

    def fetch_catalogue(self, folder: Path) -> Path:
        """
        Fetch the catalogue, with votes and spectra, unless it is there.

        Parameters
        ----------
        folder : path
            Where ``catalogue.ecsv`` is to be.

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
        return fetch_field_catalogue(
            *(self.run, self.camcol, self.field),
            rerun=self.rerun,
            release=self.release,
            path=folder / CATALOGUE_FILE,
        )


def verify_frame(path: Path, *, field: SdssField, band: str) -> None:
    """
    See that a file is the frame asked for, whole.

    Parameters
    ----------
    path : path
        The file as the survey keeps it, bzip2.
    field : SdssField
        The field asked for.
    band : str
        The band asked for.

    Raises
    ------
    fieldprep.errors.InputError
        If it is damaged (bzip2 keeps checksums of all it holds), no FITS file, or another frame.
    """
    try:
        content = _decompressed(path)
        with warnings.catch_warnings(), fits.open(io.BytesIO(content), memmap=False) as hdus:
            warnings.simplefilter("ignore")  # what matters of an odd header is raised below
            header, shape = hdus[0].header, hdus[0].shape
            found = (
                *(int(header["RUN"]), int(header["CAMCOL"])),
                int(header["FRAME"]) - SDSS_FRAME_OFFSET[str(header["FILTER"]).strip()],
                str(header["FILTER"]).strip(),
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no whole SDSS frame ({one_line(error)})") from error
    wanted = (field.run, field.camcol, field.field, band)
    if found != wanted:
        raise InputError(f"{path}: frame {'-'.join(map(str, found))}, where {'-'.join(map(str, wanted))} was asked for")
    if tuple(shape) != FRAME_SHAPE:
        raise InputError(f"{path}: {' x '.join(map(str, shape))} pixels, where a frame has 1489 x 2048")


def _decompressed(path: Path) -> bytes:
    """Content of a bzip2 file of one stream or several; an OSError or EOFError if it is not whole."""
    rest, parts = path.read_bytes(), list[bytes]()
    while rest or not parts:
        stream = bz2.BZ2Decompressor()
        parts.append(stream.decompress(rest))
        if not stream.eof:
            raise EOFError("the file breaks off")
        rest = stream.unused_data
    return b"".join(parts)


def parse_sdss(text: str) -> list[SdssField]:
    """
    Fields that an ``sdss:`` source stands for.

    Parameters
    ----------
    text : str
        ``sdss:RUN-CAMCOL-FIELD`` (zeros in front or not), or ``sdss:POSITION``, with an angle as the radius of a
        circle or without; after either ``:BANDS`` or not, as ``sdss:3184-2-169:ugriz``.

    Returns
    -------
    list of SdssField
        For a position the best field there, for a circle every field it touches; empty where the survey has none.

    Raises
    ------
    fieldprep.errors.UsageError
        If it makes no sense.
    fieldprep.errors.InputError
        If the survey cannot be asked.
    """
    prefix, colon, rest = text.partition(":")
    if not colon or prefix.strip().lower() != "sdss":
        raise UsageError(f"{text}: wants sdss:RUN-CAMCOL-FIELD or sdss:POSITION")
    bands = BANDS
    if (match := _WITH_BANDS.fullmatch(rest)) is not None:
        rest, bands = match["where"], tuple(match["bands"].lower())
        _check_bands(bands, text)
    if match := _FIELD.fullmatch(rest):
        return [SdssField(int(match[1]), int(match[2]), int(match[3]), bands)]
    position = parse_position(rest)
    if position is None:
        raise UsageError(
            f"{text}: neither RUN-CAMCOL-FIELD (as sdss:3184-2-169) nor a position (as 'sdss:229.54 +42.76 10arcmin')"
        )
    return [replace(field, bands=bands) for field in fields_at([position])[0]]


def _check_bands(bands: tuple[str, ...], source: str) -> None:
    if not bands or len(set(bands)) < len(bands) or not set(bands) <= set("ugriz"):
        raise UsageError(f"{source}: bands are u, g, r, i, z, each once")


def fields_at(positions: Sequence[Position], *, release: int = RELEASE) -> list[list[SdssField]]:
    """
    Fields that cover positions, by their footprints: a position needs no catalogued object.

    Parameters
    ----------
    positions : sequence of Position
        Where; many are asked for in one query.
    release : int
        Data release.

    Returns
    -------
    list of list of SdssField
        For each position without a size the one best field: it contains the position, is of good quality if any
        is, and has it farthest from its edge. With a size every field that the circle of that radius touches,
        the best first. Empty where the survey has none.

    Raises
    ------
    fieldprep.errors.InputError
        If the survey cannot be asked.
    """
    found = footprints_at(positions, release=release)
    wanted = [near if at.size_deg else near[:1] for at, near in zip(positions, found, strict=True)]
    return [
        [SdssField(one.run, one.camcol, one.field, release=release, rerun=one.rerun) for one in near] for near in wanted
    ]
