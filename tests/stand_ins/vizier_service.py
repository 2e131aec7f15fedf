"""
A stand-in for VizieR's ``viz-bin/votable``.

Questions are read as astroquery posts them, a parameter a line, by the rules of "Summary of ASU qualifications for
VizieR" (vizier.cds.unistra.fr/doc/asu-summary.htx) and "Extensions to ASU" (/doc/asu-ext.htx): ``-source``, ``-c``
with ``-c.r`` and a unit, ``-out.max``, ``-out.add=_RAJ2000,_DEJ2000``. Answers are laid out as those recorded in
astroquery's tests (astroquery/vizier/tests/data/viz.xml): a RESOURCE a catalogue with its COOSYS, a TABLE with the
FIELDs' names, UCDs, units and systems, no DATA where no row matches. What each further kind of answer follows stands
beside it.
"""

import os
import re
import ssl
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import trustme
from astropy.coordinates import Angle, SkyCoord
from misbehaving import Answer, Server, not_found

PATH = "/viz-bin/votable"
REACH = {"d": "deg", "m": "arcmin", "s": "arcsec"}
HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xmlns="http://www.ivoa.net/xml/VOTable/v1.3"
  xsi:schemaLocation="http://www.ivoa.net/xml/VOTable/v1.3 http://www.ivoa.net/xml/VOTable/v1.3">
<INFO ID="MaxTuples" name="-out.max" value={most}/>
"""
SYSTEMS = """  <COOSYS ID="H_2000" system="ICRS" epoch="2000.0"/>
  <COOSYS ID="J2000" system="eq_FK5" equinox="J2000"/>
"""
# ours: its name at CDS, UCD, datatype, unit, system, description
FIELDS = {
    "objID": ("objID", "meta.id;meta.main", "long", "", "", "SDSS unique object identifier"),
    "ra": ("RA_ICRS", "pos.eq.ra;meta.main", "double", "deg", "H_2000", "Right Ascension (ICRS)"),
    "dec": ("DE_ICRS", "pos.eq.dec;meta.main", "double", "deg", "H_2000", "Declination (ICRS)"),
    "type": ("class", "src.class.starGalaxy", "short", "", "", "Type of object (3=galaxy, 6=star)"),
    "modelMag_r": ("rmag", "phot.mag;em.opt.R", "double", "mag", "", "Model magnitude in r filter"),
    "petroRad_r": ("petroRad", "phys.angSize.smajAxis", "double", "arcsec", "", "Petrosian radius in r"),
    "petroR50_r": ("petroR50", "phys.angSize", "double", "arcsec", "", "Radius with 50% of the Petrosian flux in r"),
    "axis_ratio": ("b/a", "phys.angSize;arith.ratio", "double", "", "", "Axis ratio"),
    "theta_deg": ("theta_deg", "", "double", "deg", "", "Angle of the major axis on the frame"),
    "morphology": ("Morph", "src.morph.type", "short", "", "", "Morphological class"),
    "ignore": ("ignore", "meta.code", "short", "", "", "Artefact, blend or edge"),
}


@dataclass
class VizierServer:
    """
    ``tables`` holds our tables by VizieR's names; ``most`` is the largest number of rows an answer has.

    ``asked`` are the parameters of the questions so far; ``server`` is the `Server` that misbehaves.
    """

    tables: dict
    most: int = 2**31
    asked: list = field(default_factory=list)

    def answer(self, request):
        if request.path != PATH or request.method != "POST":
            return not_found(request)
        asked = dict(line.split("=", 1) for line in request.body.decode().splitlines() if "=" in line)
        self.asked.append(asked)
        wanted = asked["-source"]
        found = {name: rows for name, rows in self.tables.items() if name == wanted or name.startswith(f"{wanted}/")}
        body = HEAD.format(most=quoteattr(asked["-out.max"]))
        if not found:  # as VizieR words it, with status 200
            body += '<INFO ID="Errors" name="Error" value="No catalogue or table was specified or found."/>\n'
        for name, rows in found.items():
            body += f"<RESOURCE ID={_id(name)} name={quoteattr(name.rsplit('/', 1)[0])}>\n{SYSTEMS}"
            body += f"  <TABLE ID={_id(name)} name={quoteattr(name)}>\n{self._table(rows, asked)}</RESOURCE>\n"
        return Answer(f"{body}</VOTABLE>\n".encode(), content_type="text/xml")

    def _table(self, rows, asked):
        lon, sign, lat = re.fullmatch(r"([\d.]+)([+-])([\d.]+)", asked["-c"]).groups()
        centre = SkyCoord(float(lon), float(f"{sign}{lat}"), unit="deg", frame="fk5")
        here = SkyCoord(rows["ra"], rows["dec"], unit="deg")
        reach = next(Angle(f"{asked[f'-c.r{unit}']} {name}") for unit, name in REACH.items() if f"-c.r{unit}" in asked)
        inside = here.separation(centre) <= reach
        rows, here = rows[inside], here[inside]
        limit = self.most if asked["-out.max"] == "unlimited" else min(self.most, int(asked["-out.max"]))
        columns = {name: FIELDS[name] for name in rows.colnames if name in FIELDS}
        fields = "".join(_field(*described) for described in columns.values())
        cells = [rows[name][:limit] for name in columns]
        if asked.get("-out.add") == "_RAJ2000,_DEJ2000":  # computed by VizieR, in FK5; asu-ext.htx, section 1
            fields += _field("_RAJ2000", "pos.eq.ra", "double", "deg", "J2000", "Right ascension (FK5, J2000)")
            fields += _field("_DEJ2000", "pos.eq.dec", "double", "deg", "J2000", "Declination (FK5, J2000)")
            cells += [here.fk5.ra.deg[:limit], here.fk5.dec.deg[:limit]]
        data = "".join(
            f"<TR>{''.join(f'<TD>{_cell(value)}</TD>' for value in row)}</TR>\n" for row in zip(*cells, strict=True)
        )
        out = f"{fields}<DATA><TABLEDATA>\n{data}</TABLEDATA></DATA>\n</TABLE>\n" if data else f"{fields}</TABLE>\n"
        if len(rows) > limit:  # both ways of telling it, as CDS's own reader documents them (cds-votable, README)
            out += f'<INFO name="Warning" value="truncated result (maxtup={limit})"/>\n'
            out += f'<INFO name="QUERY_STATUS" value="OVERFLOW">truncated result (maxtup={limit})</INFO>\n'
        return out


def _id(name):
    return quoteattr(re.sub(r"\W", "_", name))


def _cell(value):
    return "" if value is np.ma.masked else escape(str(value))


def _field(name, ucd, datatype, unit, system, description):
    told = {"name": name, "ucd": ucd, "datatype": datatype, "unit": unit, "ref": system}
    attributes = "".join(f" {key}={quoteattr(value)}" for key, value in told.items() if value)
    return f"    <FIELD{attributes}><DESCRIPTION>{escape(description)}</DESCRIPTION></FIELD>\n"


@contextmanager
def vizier(tables, folder):
    """Serve these tables over TLS, which astroquery insists on, with a certificate in ``folder`` that it trusts."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    standin = VizierServer(tables)
    standin.server = Server(standin.answer)
    standin.server._http.socket = context.wrap_socket(standin.server._http.socket, server_side=True)
    port = standin.server._http.server_address[1]
    bundle = Path(folder) / f"{port}.pem"
    authority.cert_pem.write_to_path(bundle)
    # astroquery's own setting takes none but the mirrors it knows
    settings = {"FULLFIELD_VIZIER": f"127.0.0.1:{port}", "REQUESTS_CA_BUNDLE": str(bundle)}
    with standin.server, mock.patch.dict(os.environ, settings):
        yield standin
