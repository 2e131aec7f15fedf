"""What is known of a field, by the name of a catalogue: a file, the SDSS catalogue, a table of VizieR."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fieldprep.catalogues import NO_COLUMNS, read_catalogue
from fieldprep.errors import InputError
from fieldprep.fitsfile import split_extension
from fieldprep.surveys.download import cache_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.wcs import WCS

    from fieldprep.catalogues import Catalogue
    from fieldprep.mosaic import Sky

SDSS, VIZIER = "sdss", "vizier:"


@dataclass(frozen=True)
class Place:
    """
    Where a field is, without its pixels.

    Parameters
    ----------
    name : str
        Name of the field.
    shape : (ny, nx)
        Its shape.
    wcs : `~astropy.wcs.WCS` or None
        Its WCS.
    sdss_id : str
        The survey's id, as ``003184-2-0169``, if the field is an SDSS frame's; else empty.
    """

    name: str
    shape: tuple[int, int]
    wcs: WCS | None
    sdss_id: str = ""

    @property
    def key(self) -> str:
        """Name that no other place has: two fields of one name may be two pieces of sky."""
        where = "" if self.wcs is None else self.wcs.to_header_string(relax=True)
        digest = hashlib.sha256(f"{where}{self.shape}".encode()).hexdigest()
        return self.sdss_id or f"{self.name}-{digest[:12]}"

    @classmethod
    def of(cls, field: Sky) -> Self:
        """Place of a field."""
        return cls(field.name, field.shape, field.wcs, str(field.provenance.get("id", "")))


def is_service(catalogue: str) -> bool:
    """Whether a catalogue is asked of a service, and is no file."""
    return catalogue == SDSS or catalogue.startswith(VIZIER)


def catalogue_file(catalogue: str, place: Place, beside: Sequence[Path]) -> Path | None:
    """
    File that holds a field's catalogue.

    Parameters
    ----------
    catalogue : str
        A file, the name of one beside the field's own, ``sdss`` or ``vizier:TABLE``.
    place : Place
        The field.
    beside : sequence of path
        Where a file of that name may lie; the name as it stands comes last.

    Returns
    -------
    path or None
        None where there is no such file. What a service has is fetched into the cache folder.

    Raises
    ------
    fieldprep.errors.InputError
        If it cannot be had of the service.
    """
    if is_service(catalogue):
        return fetch_catalogue(catalogue, place, cache_folder() / "catalogues" / place.key)
    return next((path for path in (*beside, Path(catalogue)) if split_extension(str(path))[0].is_file()), None)


def catalogue_of_field(
    path: Path, name: str, *, columns: Mapping[str, str] = NO_COLUMNS, radius: str | None = None
) -> Catalogue:
    """
    Read a field's catalogue.

    Parameters
    ----------
    path : path
        The file.
    name : str
        Name of the field.
    columns, radius
        As of `fieldprep.catalogues.read_catalogue`.

    Returns
    -------
    Catalogue
        Of one that names the fields of its rows only the field's own.

    Raises
    ------
    fieldprep.errors.InputError
        If it cannot be read.
    """
    changed = split_extension(str(path))[0].stat().st_mtime_ns
    found = _read(path, changed, tuple(columns.items()), radius)
    if "field" not in found.rows.columns:
        return found
    own = found.rows["field"].astype(str) == name
    # SDSS's own `field` is a number, and its rows are placed by sky; pixels are those of the field that is named
    anywhere = not own.any() and "ra" in found.rows.columns
    return found if anywhere else replace(found, rows=found.rows[own])


@lru_cache(maxsize=2)
def _read(path: Path, _changed: int, columns: tuple[tuple[str, str], ...], radius: str | None) -> Catalogue:
    """Read a catalogue once a process: many fields may share it."""
    return read_catalogue(path, columns=dict(columns), radius=radius)


def fetch_catalogue(catalogue: str, place: Place, folder: Path) -> Path:
    """
    Fetch a service's catalogue of a field, unless it is there.

    Parameters
    ----------
    catalogue : str
        ``sdss`` or ``vizier:TABLE``.
    place : Place
        The field.
    folder : path
        Where to write.

    Returns
    -------
    path
        The file, which `fieldprep.catalogues.read_catalogue` reads.

    Raises
    ------
    fieldprep.errors.InputError
        If it cannot be had.
    """
    from fieldprep.surveys.sdss import catalogue_on, parse_sdss  # noqa: PLC0415 -- a file needs no client of a service
    from fieldprep.surveys.vizier import fetch_table  # noqa: PLC0415 -- as above

    if catalogue == SDSS and place.sdss_id:
        return parse_sdss(f"sdss:{place.sdss_id}")[0].fetch_catalogue(folder)
    if place.wcs is None:
        raise InputError(f"{place.name}: no WCS, so {catalogue} cannot be asked what lies on it")
    if catalogue == SDSS:
        return catalogue_on(place.name, place.wcs, place.shape, folder)
    return fetch_table(catalogue.removeprefix(VIZIER), place.wcs, place.shape, folder)
