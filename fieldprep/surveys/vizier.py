"""Catalogues from VizieR, through astroquery: whole, from the table that is meant, or not at all."""

from __future__ import annotations

import io
import os
import re
import warnings
from typing import TYPE_CHECKING

from astropy.io import votable
from astroquery.vizier import Vizier, conf

from fieldprep.catalogues import NO_COLUMNS, as_catalogue
from fieldprep.catalogues.places import footprint
from fieldprep.catalogues.tables import table_of
from fieldprep.errors import InputError, one_line
from fieldprep.surveys.courtesy import connection, patience, take_turn
from fieldprep.surveys.download import NotThereError, TransientError, check_answer, is_web_page, retrying, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from astropy.coordinates import Angle, SkyCoord
    from astropy.table import Table
    from astropy.wcs import WCS

    from fieldprep.catalogues import Catalogue

SERVER = "FULLFIELD_VIZIER"  # environment variable: the server to ask; astroquery knows a fixed list of mirrors
UNLIMITED = -1
POSITIONS = ("_RAJ2000", "_DEJ2000")  # that VizieR computes, for a table whose own are in no usable form
TRUNCATED = "truncated result"  # in its warning, beside the overflow of the standard (IVOA's DALI 1.1, 4.4.1)
_OWN = {"META", "METAobj", "ReadMeObj"}  # VizieR's tables about its tables


def vizier_catalogue(
    table_id: str,
    centre: SkyCoord,
    reach: Angle,
    *,
    columns: Mapping[str, str] = NO_COLUMNS,
    radius: str | None = None,
    timeout: float | None = None,
) -> Catalogue:
    """
    Fetch the rows of a VizieR table that lie in a circle on the sky.

    Parameters
    ----------
    table_id : str
        VizieR's name of the table, as ``V/147/sdss12``; that of a catalogue does if it has one table.
    centre : `~astropy.coordinates.SkyCoord`
        Middle of the circle; `fieldprep.catalogues.places.footprint` gives that of a field, and its reach.
    reach : `~astropy.coordinates.Angle`
        Radius of the circle.
    columns, radius
        As of `fieldprep.catalogues.read_catalogue`.
    timeout : float, optional
        Seconds of silence after which a try is given up; `fieldprep.surveys.courtesy.Patience.timeout_seconds` by
        default.

    Returns
    -------
    Catalogue
        Named ``vizier:TABLE``.

    Raises
    ------
    fieldprep.surveys.download.NotThereError
        If there is no such table, or no row of it in the circle.
    fieldprep.errors.InputError
        If the service cannot be had, cuts its answer short, has several tables of that name, or the table
        has not what a catalogue needs.
    """
    table = vizier_table(table_id, centre, reach, timeout=timeout)
    return as_catalogue(table, name=f"vizier:{table_id}", columns=columns, radius=radius)


def vizier_table(table_id: str, centre: SkyCoord, reach: Angle, *, timeout: float | None = None) -> Table:
    """
    Fetch the rows of a VizieR table that lie in a circle on the sky, columns as VizieR has them.

    Parameters
    ----------
    table_id, centre, reach, timeout
        As of `vizier_catalogue`.

    Returns
    -------
    `~astropy.table.Table`

    Raises
    ------
    fieldprep.surveys.download.NotThereError, fieldprep.errors.InputError
        As of `vizier_catalogue`.
    """
    return table_in(_fetch(table_id, centre, reach, timeout), f"vizier:{table_id}")


def fetch_table(table_id: str, wcs: WCS, shape: tuple[int, int], folder: Path) -> Path:
    """
    Fetch the rows of a VizieR table around a field into a file, unless it is there.

    Parameters
    ----------
    table_id : str
        As of `vizier_catalogue`.
    wcs : `~astropy.wcs.WCS`
        WCS of the field.
    shape : (ny, nx)
        Its shape.
    folder : path
        Where to write.

    Returns
    -------
    path
        VizieR's own VOTable, which `fieldprep.catalogues.read_catalogue` reads.

    Raises
    ------
    fieldprep.errors.InputError
        As of `vizier_catalogue`.
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    path = folder / f"vizier-{re.sub(r'[^A-Za-z0-9.+-]', '_', table_id)}.vot"
    if not path.exists():
        write_whole(path, _fetch(table_id, *footprint(wcs, shape), None))
    return path


def _fetch(table_id: str, centre: SkyCoord, reach: Angle, timeout: float | None) -> bytes:
    """Answer of VizieR, seen to be whole."""
    name = f"vizier:{table_id}"

    def ask() -> bytes:
        server = os.environ.get(SERVER) or conf.server
        url = f"https://{server}"
        # astroquery has bound its settings when it was imported; its cache keeps whatever the service answers
        client = Vizier(
            columns=["**", *POSITIONS],
            row_limit=UNLIMITED,
            timeout=timeout or patience().timeout_seconds,
            vizier_server=server,
        )
        take_turn(url)
        with connection(url):
            answer = client.query_region_async(centre, radius=reach, catalog=table_id, cache=False)
        check_answer(answer, name)
        table_in(answer.content, name)
        content: bytes = answer.content
        return content

    return retrying(ask, what=name)


def table_in(content: bytes, name: str) -> Table:
    """
    Table in an answer of VizieR.

    Parameters
    ----------
    content : bytes
        The answer.
    name : str
        What was asked for, for the error.

    Returns
    -------
    `~astropy.table.Table`

    Raises
    ------
    fieldprep.surveys.download.TransientError
        If it is no whole VOTable.
    fieldprep.surveys.download.NotThereError, fieldprep.errors.InputError
        As of `vizier_catalogue`.
    """
    if is_web_page(content[:256]):
        raise TransientError("the service answers with a web page")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of VizieR's own units
            tree = votable.parse(io.BytesIO(content))
    except Exception as error:
        raise TransientError(f"the answer is no whole VOTable ({one_line(error)[:120]})") from error
    told = [
        (str(info.name).upper(), str(info.value), " ".join((info.content or "").split())) for info in tree.iter_info()
    ]
    if any((info, value) == ("QUERY_STATUS", "OVERFLOW") or TRUNCATED in value for info, value, _ in told):
        raise InputError(f"{name}: VizieR gives only part of the rows; ask for a smaller piece of sky")
    tables = [table for table in tree.iter_tables() if table.fields and table.name not in _OWN]
    if len(tables) > 1:
        names = ", ".join(str(table.name) for table in tables)
        raise InputError(f"{name}: {len(tables)} tables of that name; ask for one of {names}")
    if not tables or not len(tables[0].array):
        errors = [f"{value} {text}".strip() for info, value, text in told if info.startswith("ERROR")]
        raise NotThereError(
            f"{name}: no such table, or no row of it there" + "".join(f" ({why})" for why in errors[:1])
        )
    return table_of(tables[0], tree)
