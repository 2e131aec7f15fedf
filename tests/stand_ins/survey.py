"""
A stand-in for SDSS: its frames under their own paths, its catalogue service over real tables, and Sesame.

Frames (``/sas/drN/.../frame-B-RRRRRR-C-FFFF.fits.bz2``): the real files, or made ones (`made_frame`).

SkyServer (``/drN/en/tools/search/x_results.aspx``): the SQL is truly run, by SQLite over tables with the survey's own
names and columns (schema browser of data release 17; github.com/sciserver/sqlloader, schema/sql). Of T-SQL it
translates ``dbo.``, ``TOP n`` and the functions fGetNearbyObjEq and fGetNearbySpecObjEq. Like the service it

- refuses a query string of more than 2048 characters (ASP.NET, httpRuntime maxQueryStringLength),
- refuses a second SELECT that stands in no bracket, and whatever is no SELECT (sqlloader, spExecuteSQLMax),
- answers CSV as text/plain: ``#Table1``, the header, the rows; floats with 15 digits, ``real`` ones with 7, nothing
  for NULL (SkyServerWS, OutputUtils.writeCSV; .NET's ToString),
- stops at a number of rows without a word ("Query Limits": 500,000),
- answers a client's 61st query in a minute with an error in place of a table (spExecuteSQLMax),
- answers an error with status 500 and JSON (SkyServerWS, CustomFilter).

Sesame (``/cgi-bin/nph-sesame/SNV?NAME``): text with a ``%J`` line, or ``#!SIMBAD: Nothing found`` and the like (Sesame
service, "Description of the output").
"""

import bz2
import json
import math
import re
import sqlite3
import threading
import time
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from astropy.io import fits
from misbehaving import Answer, not_found
from survey_tables import RERUN, Tables, unit

FRAME_OFFSET = {"r": 0, "i": 2, "u": 4, "z": 6, "g": 8}  # FRAME of a header counts by filter
ROW_LIMIT = 500_000
REAL = (  # columns, as they are asked for, that SkyServer keeps and prints in single precision
    *("rowc", "colc", "petroRad_r", "petroRadErr_r", "petroR50_r", "petroR90_r", "extinction_r", "fracDeV_r"),
    *("axis_ratio", "position_angle_deg", "z", "z_err", *(f"modelMag_{band}" for band in "ugriz")),
)
_FRAME_PATH = re.compile(r"/sas/dr17/eboss/photoObj/frames/(\d+)/(\d+)/(\d)/(frame-[ugriz]-\d{6}-\d-\d{4}\.fits\.bz2)")
_QUERY_PATH = "/dr17/en/tools/search/x_results.aspx"
_SESAME_PATH = "/cgi-bin/nph-sesame/SNV"
_NEARBY = re.compile(r"dbo\.fGetNearby(Obj|SpecObj)Eq\(([^,()]+),([^,()]+),([^,()]+)\)", re.IGNORECASE)


class Survey:
    """
    Content of a `misbehaving.Server`.

    Parameters
    ----------
    folders : iterable of path
        Folders of real fields, as ``003184-2-0169``, with their frames and ``catalogue.csv``.
    """

    def __init__(self, folders=()):
        self.frames = {}
        self.names = {"m 101": (210.802429, 54.348750)}
        self.row_limit, self.queries_a_minute = ROW_LIMIT, math.inf
        self._asked, self._guard = [], threading.Lock()
        self._base = sqlite3.connect(":memory:", check_same_thread=False)
        self._base.create_function("apart_arcmin", 4, _apart_arcmin, deterministic=True)
        tables = Tables()
        for folder in map(Path, folders):
            self.frames |= {path.name: path for path in folder.glob("frame-*.fits.bz2")}
            tables.add(folder)
        tables.write(self._base)

    def add_frame(self, name, content):
        """Serve a made frame."""
        self.frames[name] = content

    def change(self, sql, *parameters):
        """Change the tables."""
        with self._guard:
            self._base.execute(sql, parameters)

    def fill(self, name, rows):
        """Put these rows, dicts of the same columns, in the place of a table."""
        columns = list(rows[0])
        with self._guard:
            self._base.execute(f"DROP TABLE {name}")
            self._base.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
            marks = ", ".join("?" * len(columns))
            self._base.executemany(
                f"INSERT INTO {name} VALUES ({marks})",  # noqa: S608 -- a test's own names
                [tuple(row.values()) for row in rows],
            )

    def __call__(self, request):
        if match := _FRAME_PATH.fullmatch(request.path):
            return self._frame(match)
        if request.path == _QUERY_PATH:
            return self._query(request)
        if request.path == _SESAME_PATH:
            return self._sesame(next(iter(request.query), ""))
        return not_found(request)

    def _frame(self, match):
        rerun, run, camcol, name = match.groups()
        content = self.frames.get(name)
        if content is None or rerun != str(RERUN) or f"-{int(run):06d}-{camcol}-" not in name:
            return not_found(None)
        if isinstance(content, Path):
            content = content.read_bytes()
        return Answer(content, content_type="application/x-bzip2")

    def _query(self, request):
        if len(urlencode(request.query)) > 2048:
            return Answer(b"<html><body>Bad Request</body></html>", 400, "text/html")
        sql = request.query["cmd"]
        with self._guard:
            now = time.monotonic()
            self._asked = [then for then in self._asked if then > now - 60] + [now]
            if len(self._asked) > self.queries_a_minute:
                return _table(
                    ["error_message"], [(f"ERROR: Maximum 60 queries allowed per minute. Rejected query: {sql}",)]
                )
        if refusal := _refusal(sql):
            return _table(["error_message"], [(f"{refusal}{sql}",)])
        try:
            with self._guard:
                cursor = self._base.execute(_translated(sql))
                rows = cursor.fetchmany(self.row_limit)
        except sqlite3.Error as error:
            text = {"ErrorCode": 500, "ErrorType": "InternalServerError", "ErrorMessage": str(error)}
            return Answer(json.dumps(text).encode(), 500, "application/json")
        return _table([column[0] for column in cursor.description], rows)

    def _sesame(self, name):
        head = f"# {name}\t#Q1\n"
        found = self.names.get(" ".join(name.split()).lower())
        if found is None:
            return Answer(
                f"{head}#=S=Simbad\n#!SIMBAD: Nothing found\n#!NED: Nothing found\n".encode(), 200, "text/plain"
            )
        text = f"{head}#=S=Simbad (CDS, via client/server):    1\n%@ 1\n%C.0 G\n%J {found[0]} {found[1]} = ...\n"
        return Answer(text.encode(), 200, "text/plain")


def _refusal(sql):
    """What spExecuteSQLMax says of a query that it does not run."""
    text = " ".join(sql.lower().split())
    if not text.startswith("select "):
        return "error: must be a select statement: "
    others = [match.start() for match in re.finditer(r"select ", text)][1:]
    if ";" in text or any(text[at - 1] != "(" for at in others):
        return "error: Incorrect syntax near '#'. "
    return ""


def _translated(sql):
    """T-SQL as SQLite has it."""
    table = {"obj": ("PhotoPrimary", "objID"), "specobj": ("SpecObj", "specObjID")}

    def nearby(match):
        name, key = table[match[1].lower()]
        where = f"WHERE apart_arcmin(ra, dec, {match[2]}, {match[3]}) < {match[4]}"
        return f"(SELECT {key} FROM {name} {where})"  # noqa: S608 -- that is what the client sends

    sql = _NEARBY.sub(nearby, sql)
    if top := re.match(r"\s*select\s+top\s+(\d+)\s", sql, re.IGNORECASE):
        sql = f"SELECT {sql[top.end() :]} LIMIT {top[1]}"
    return sql.replace("dbo.", "")


def _apart_arcmin(ra, dec, ra_0, dec_0):
    ra, dec, ra_0, dec_0 = map(math.radians, (ra, dec, ra_0, dec_0))
    chord = math.dist(unit(ra, dec), unit(ra_0, dec_0))
    return math.degrees(2 * math.asin(chord / 2)) * 60


def _table(names, rows):
    lines = ["#Table1", ",".join(names)]
    lines += [",".join(_cell(value, name) for value, name in zip(row, names, strict=True)) for row in rows]
    return Answer(("\n".join(lines) + "\n").encode(), 200, "text/plain")


def _cell(value, name):
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.7g}" if name in REAL else f"{value:.15g}"
    return f'"{value}"' if isinstance(value, str) and "," in value else str(value)


def frame_name(field, band):
    """Name of a frame of a field, as the survey has it."""
    return f"frame-{band}-{field.name}.fits.bz2"


def frame_path(field, band):
    """Path of a frame on the server (datamodel, "frame"; astroquery, IMAGING_URL_SUFFIX)."""
    return f"/sas/dr17/eboss/photoObj/frames/{RERUN}/{field.run}/{field.camcol}/{frame_name(field, band)}"


def made_survey(fields):
    """Survey of made frames, those of the fields' bands."""
    survey = Survey()
    for field in fields:
        for band in field.bands:
            survey.frames[frame_name(field, band)] = made_frame(field.run, field.camcol, field.field, band)
    return survey


def made_frame(run, camcol, field, band, *, shape=(1489, 2048)):
    """
    A frame that is one by its header: empty sky and a patch of noise, 20 kB when compressed.

    The header is a stream of its own, so that two hundred frames cost one compression of the pixels.
    """
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0]})
    header["RUN"], header["CAMCOL"], header["FRAME"], header["FILTER"] = run, camcol, field + FRAME_OFFSET[band], band
    header["RERUN"] = str(RERUN)
    return bz2.compress(header.tostring().encode()) + _pixels(shape)


@cache
def _pixels(shape):
    image = np.zeros(shape, ">f4")
    image[100:164, 100:164] = np.random.default_rng(1).normal(size=(64, 64))
    return bz2.compress(image.tobytes() + bytes(-image.nbytes % 2880))
