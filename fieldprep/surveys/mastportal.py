"""
Questions to MAST, the archive of HST and JWST, and answers that are whole.

What the service does is told by its help pages (mast.stsci.edu/api/v0, "MashupRequest", "CAOM Field Descriptions",
"Products Field Descriptions"): a question is a JSON object posted to ``/api/v0/invoke``; the answer says COMPLETE,
EXECUTING (ask again) or ERROR, and comes in pages that say how many rows there are in all; files come from
``/api/v0.1/Download/file?uri=``, 401 where their time of exclusive access is not over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from astropy.coordinates import SkyCoord
from astroquery.mast import ObservationsClass, conf
from astroquery.mast.discovery_portal import PortalAPI
from astroquery.query import BaseQuery

from fieldprep.bands import narrowest
from fieldprep.surveys.download import TransientError, body, check_answer, connection, is_web_page, patience, retrying

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from fieldprep.surveys.positions import Position

COLLECTIONS = ("HST", "JWST", "HLA")
MOSAIC_LEVEL = 3  # CAOM's calib_level of what is made of several exposures; 4 is contributed
ALL_FILTERS = "detection"  # what MAST calls the filter of a Hubble Advanced Product of all filters together


@dataclass(frozen=True)
class Observation:
    """
    An observation as MAST lists it.

    Parameters
    ----------
    obs_id, obsid : str
        Its name, and the number by which its products are asked for.
    telescope, instrument, proposal, target : str
        What took it, for whom, of what.
    band : str
        The filter; empty if it has none or all.
    provenance : str
        The pipeline that made it.
    level : int
        Calibration level.
    is_image : bool
        Whether it is one at all.
    is_public : bool
        Whether anyone may have it.
    release_mjd : float
        When it becomes public, NaN if that is not said.
    """

    obs_id: str
    obsid: str
    telescope: str
    instrument: str
    proposal: str
    target: str
    band: str
    provenance: str
    level: int
    is_image: bool
    is_public: bool
    release_mjd: float


@dataclass(frozen=True)
class Product:
    """A file of an observation: the observation's ``obs_id``, its ``name``, where it is (``uri``), its ``version``."""

    obs_id: str
    name: str
    uri: str
    version: str


class _Patient(BaseQuery):
    """Requests that are given up: astroquery's own to MAST have no timeout."""

    what = "MAST"

    def _request(self, *args: Any, **kwargs: Any) -> requests.Response:
        asked = kwargs | {"timeout": patience().timeout_seconds, "stream": True}
        response: requests.Response = super()._request(*args, **asked)
        response._content = body(response)  # noqa: SLF001 -- read here, where a trickle is noticed
        if response.status_code >= 400:
            check_answer(response, self.what)
        if is_web_page(response.content[:256]):
            raise TransientError("MAST answers with a web page")
        return response


class _Portal(PortalAPI, _Patient):
    """astroquery's client of the portal with the server of now: it binds that of the moment it is imported."""

    @property
    def MAST_REQUEST_URL(self) -> str:  # noqa: N802 -- astroquery's name
        return f"{conf.server}/api/v0/invoke"

    @property
    def COLUMNS_CONFIG_URL(self) -> str:  # noqa: N802 -- astroquery's name
        return f"{conf.server}/portal/Mashup/Mashup.asmx/columnsconfig"

    @property
    def TIMEOUT(self) -> float:  # noqa: N802 -- astroquery's name
        return float(conf.timeout)

    @property
    def PAGESIZE(self) -> int:  # noqa: N802 -- astroquery's name
        return int(conf.pagesize)


def file_url(uri: str) -> str:
    """Address of a file by the URI of its product."""
    return f"{conf.server}/api/v0.1/Download/file?uri={quote(uri, safe=':/')}"


def observations_named(pattern: str, what: str) -> list[Observation]:
    """
    Observations by name.

    Parameters
    ----------
    pattern : str
        Observation id, ``*`` for any characters.
    what : str
        What is asked for, as an error is to name it.

    Returns
    -------
    list of Observation
        Of any kind and level; may be more than the pattern means, since the service takes ``_`` for any letter.

    Raises
    ------
    fieldprep.errors.InputError
        If no whole answer can be had.
    """
    return [_observation(row) for row in _ask(lambda archive: archive.query_criteria_async(obs_id=pattern), what)]


def mosaics_at(position: Position, radius_deg: float, what: str) -> list[Observation]:
    """
    Mosaics of HST and JWST whose footprint comes within a radius of a position.

    Parameters
    ----------
    position : Position
        Where.
    radius_deg : float
        Radius in degrees.
    what : str
        What is asked for, as an error is to name it.

    Returns
    -------
    list of Observation

    Raises
    ------
    fieldprep.errors.InputError
        If no whole answer can be had.
    """
    rows = _ask(
        lambda archive: archive.query_criteria_async(
            coordinates=SkyCoord(position.ra, position.dec, unit="deg"),
            radius=radius_deg,
            obs_collection=list(COLLECTIONS),
            dataproduct_type="image",
            calib_level=[MOSAIC_LEVEL, MOSAIC_LEVEL + 1],
        ),
        what,
    )
    return [_observation(row) for row in rows]


def products_of(observations: list[Observation], what: str) -> list[Product]:
    """
    Files of observations.

    Parameters
    ----------
    observations : list of Observation
        At least one.
    what : str
        What is asked for, as an error is to name it.

    Returns
    -------
    list of Product
        Each file once, those of single exposures, previews and catalogues among them.

    Raises
    ------
    fieldprep.errors.InputError
        If no whole answer can be had.
    """
    obsids = [one.obsid for one in observations]
    rows = _ask(lambda archive: archive.get_product_list_async(obsids), what)
    found = [
        Product(_text(row, "obs_id"), _text(row, "productFilename"), _text(row, "dataURI"), _text(row, "prvversion"))
        for row in rows
    ]
    return list({product.uri: product for product in found}.values())


def _ask(question: Callable[[ObservationsClass], list[requests.Response]], what: str) -> list[dict[str, Any]]:
    def ask() -> list[dict[str, Any]]:
        archive = ObservationsClass()
        portal = archive._portal_api_connection = _Portal()  # noqa: SLF001 -- the only way to another server
        portal.what = what
        with connection(conf.server):
            return _rows(question(archive))

    return retrying(ask, what=what)


def _rows(pages: list[requests.Response]) -> list[dict[str, Any]]:
    """Rows of an answer; a TransientError if it is none, or not whole."""
    rows: list[dict[str, Any]] = []
    there = 0
    for page in pages:
        answer = page.json()
        if not isinstance(answer, dict) or answer.get("status") != "COMPLETE":
            said = answer.get("msg") if isinstance(answer, dict) else ""
            raise TransientError(f"MAST answers: {' '.join(str(said or 'nothing it can be understood by').split())}")
        rows += answer.get("data") or []
        there = (answer.get("paging") or {}).get("rowsFiltered", len(rows))
    if len(rows) != there:
        raise TransientError(f"MAST gives {len(rows)} of {there} rows")
    return rows


def _observation(row: dict[str, Any]) -> Observation:
    filters = _text(row, "filters")
    collection = _text(row, "obs_collection")
    return Observation(
        obs_id=_text(row, "obs_id"),
        obsid=_text(row, "obsid"),
        telescope="HST" if collection == "HLA" else collection,
        instrument=_text(row, "instrument_name"),
        proposal=_text(row, "proposal_id"),
        target=_text(row, "target_name"),
        band="" if filters.lower() == ALL_FILTERS else narrowest([filters]) or "",
        provenance=_text(row, "provenance_name") or collection,
        level=int(row.get("calib_level") or 0),
        is_image=_text(row, "dataproduct_type").lower() == "image",
        is_public=_text(row, "dataRights").upper() in {"", "PUBLIC"},
        release_mjd=float(row.get("t_obs_release") or "nan"),
    )


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value).strip()
