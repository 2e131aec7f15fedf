"""
Questions to SkyServer, the SDSS catalogue service, and answers that are whole.

What the service does is told by its help pages (skyserver.sdss.org/dr17, "Query Limits", "Schema Browser") and by its
source (github.com/sciserver/SkyServerWS, github.com/sciserver/sqlloader): a query goes as the query string of an
address, which may have 2048 characters; there may be 60 a minute; an answer has 500,000 rows at most; it is text
that begins with ``#Table1``, whole numbers exact, floats to 15 digits (``real`` columns to 7); what goes wrong comes
with status 500 and a JSON message, as a table of the one column ``error_message``, or as a web page.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pandas as pd
from astroquery.sdss import SDSSClass, conf

from fieldprep.surveys.courtesy import connection, patience, take_turn
from fieldprep.surveys.download import (
    TransientError,
    body,
    cache_folder,
    check_answer,
    is_web_page,
    retrying,
    write_whole,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LONGEST_QUERY = 1950  # characters of the encoded query: 2048 less the other parameters
_ALL_ROWS = "n_rows"
_SIGN = "#Table1"
_TOO_MANY = "queries allowed per minute"


class _Client(SDSSClass):
    """astroquery's client, leaving the body to be read by us: it would wait for ever on one that trickles."""

    def _request(self, *args: Any, **kwargs: Any) -> Any:
        return super()._request(*args, **kwargs, stream=True)


@dataclass(frozen=True)
class Column:
    """
    A column to ask for.

    Parameters
    ----------
    name : str
        What we call it.
    expression : str
        SQL that gives it.
    dtype : str
        Its type; ``uint64`` for ids, which are exact.
    unit : str
        As astropy spells it, empty if it has none.
    description : str
        What it is.
    """

    name: str
    expression: str
    dtype: str = "float64"
    unit: str = ""
    description: str = ""


def is_short(columns: Sequence[Column], rest: str) -> bool:
    """Whether a query is short enough to be asked."""
    return len(urlencode({"cmd": _sql(columns, rest)})) <= LONGEST_QUERY


def query(columns: Sequence[Column], rest: str, *, release: int, what: str, keep: bool = False) -> pd.DataFrame:
    """
    Ask SkyServer.

    Parameters
    ----------
    columns : sequence of Column
        What to select.
    rest : str
        The query from its FROM on.
    release : int
        The data release asked.
    what : str
        What is asked for, as an error is to name it.
    keep : bool
        Keep the answer in the cache folder: a data release does not change, so the same question is asked once.

    Returns
    -------
    `~pandas.DataFrame`
        All rows there are, columns as asked, in no order.

    Raises
    ------
    fieldprep.errors.InputError
        If no whole answer can be had.
    """
    sql = _sql(columns, rest)
    if not is_short(columns, rest):
        raise ValueError(f"a query of {len(sql)} characters is too long for SkyServer: {sql}")
    kept = cache_folder() / "skyserver" / f"dr{release}" / f"{hashlib.sha256(sql.encode()).hexdigest()}.csv"
    rows = _kept(kept, columns) if keep else None
    if rows is None:
        text = retrying(partial(_ask, sql, columns, release, what), what=what)
        rows = _rows(text, columns)
        if keep:
            write_whole(kept, text.encode())
    return rows


def _sql(columns: Sequence[Column], rest: str) -> str:
    """SQL whose every row says how many there are in all, so that none can be lost unnoticed."""
    selected = [f"{column.expression} AS {column.name}" for column in columns]
    return f"SELECT {','.join([*selected, f'COUNT(*) OVER () AS {_ALL_ROWS}'])} {' '.join(rest.split())}"


def _kept(path: Path, columns: Sequence[Column]) -> pd.DataFrame | None:
    try:
        return _rows(path.read_text(), columns)
    except (OSError, UnicodeDecodeError, TransientError):  # not there or damaged: asked anew and written over
        return None


def _ask(sql: str, columns: Sequence[Column], release: int, what: str) -> str:
    """One try; the text of an answer that is whole."""
    with connection(conf.skyserver_baseurl):
        take_turn(conf.skyserver_baseurl)
        with _Client().query_sql_async(
            sql, timeout=patience().timeout_seconds, data_release=release, cache=False
        ) as response:
            content = body(response)
            if response.status_code >= 500 and (message := _message(content)):
                raise TransientError(f"SkyServer answers {response.status_code}: {message}")
            check_answer(response, what)
    if is_web_page(content):
        raise TransientError("SkyServer answers with a web page")
    text = content.decode("utf-8", "replace")
    _rows(text, columns)
    return text


def _message(content: bytes) -> str:
    """What SkyServer says of an error, empty if it says nothing."""
    try:
        return str(json.loads(content)["ErrorMessage"])
    except (ValueError, KeyError, TypeError):
        return ""


def _rows(text: str, columns: Sequence[Column]) -> pd.DataFrame:
    """Rows of an answer; a TransientError if it is none, or not whole."""
    if _TOO_MANY in text:
        raise TransientError("SkyServer has been asked too often this minute", retry_after=60)
    sign, _, table = text.partition("\n")
    names = [*(column.name for column in columns), _ALL_ROWS]
    header = table.partition("\n")[0].strip().split(",")
    if sign.strip() != _SIGN or header != names:
        raise TransientError(f"SkyServer answers: {' '.join(text[:300].split())}")
    dtypes = {column.name: column.dtype for column in columns} | {_ALL_ROWS: "int64"}
    try:
        rows = pd.read_csv(io.StringIO(table), dtype=dtypes, keep_default_na=False, na_values=["", "null"])
    except ValueError as error:  # a row that breaks off has cells without a number
        raise TransientError("SkyServer's answer breaks off") from error
    if not table.endswith("\n") or (rows[_ALL_ROWS] != len(rows)).any():
        there = rows[_ALL_ROWS].max() if len(rows) else "some"
        raise TransientError(f"SkyServer gives {len(rows)} of {there} rows")
    return rows.drop(columns=_ALL_ROWS)
