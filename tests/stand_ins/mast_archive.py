"""
A stand-in for MAST: questions about its observations and products, and its files.

Layouts: questions and pages as in mast.stsci.edu/api/v0 ("MashupRequest", "Mast.Caom.Filtered",
"Mast.Caom.Filtered.Position", "Mast.Caom.Products"); columns as in "CAOM Field Descriptions" and "Products Field
Descriptions"; files of HST as DrizzlePac writes them (drizzlepac, ``outputimage.py``: empty primary HDU with the
instrument's keywords, SCI, WHT, CTX), of JWST as in the pipeline's documentation ("Science products", ``i2d``: SCI,
ERR, CON, WHT, VAR_POISSON, VAR_RNOISE, VAR_FLAT).
"""

import fnmatch
import io
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from misbehaving import Answer, not_found

INVOKE = "/api/v0/invoke"
COLUMNS = "/portal/Mashup/Mashup.asmx/columnsconfig"
DOWNLOAD = "/api/v0.1/Download/file"

# of each column what the client looks at: the type tells it how to filter ("CAOM Field Descriptions")
_COLUMNS = {
    "obs_collection": {"vot.datatype": "char", "separator": ";"},
    "dataproduct_type": {"vot.datatype": "char"},
    "calib_level": {"vot.datatype": "int"},
    "obs_id": {"vot.datatype": "char"},
    "filters": {"vot.datatype": "char", "separator": ";"},
    "t_exptime": {"vot.datatype": "double", "treatNumeric": True},
}


@dataclass
class Archive:
    """
    Content of a `misbehaving.Server`.

    ``observations`` are rows of CAOM; ``products`` rows of products; ``files`` bytes by URI.
    """

    observations: list = field(default_factory=list)
    products: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    executing: int = 0  # answers that say EXECUTING before one is given
    lost_rows: int = 0  # rows that the pages do not bring though they are counted
    is_exclusive: bool = False  # whether files are kept from whoever is not logged in

    def add(self, obs_id, band, content, **keys):
        """Put in an observation with one mosaic; `keys` go to its CAOM row, ``suffix`` and ``version`` to its file."""
        suffix, version = keys.pop("suffix", "drz"), keys.pop("version", None)
        row = {
            "obs_collection": "HST",
            "provenance_name": "HAP",
            "dataproduct_type": "image",
            "calib_level": 3,
            "instrument_name": "WFC3/IR",
            "proposal_id": "11563",
            "target_name": "HUDF",
            "s_ra": 53.1575,
            "s_dec": -27.8035,
            "t_exptime": 1000.0,
            "t_obs_release": 55000.5,
            "dataRights": "PUBLIC",
            "intentType": "science",
        } | keys
        row |= {"obs_id": obs_id, "filters": band, "obsid": str(2000000 + len(self.observations))}
        self.observations.append(row)
        if content is not None:
            self.add_product(row, f"{obs_id}_{suffix}.fits", content, version=version)
        # what stands among the products of every observation and is not wanted
        self.add_product(row, f"{obs_id}_thumb.jpg", b"jpeg", kind="PREVIEW")
        self.add_product(row, f"{obs_id}_point-cat.ecsv", b"# ecsv", kind="SCIENCE")
        exposure = {**row, "obs_id": f"{obs_id}a1q", "calib_level": 2}
        self.add_product(exposure, f"{obs_id}a1q_{suffix}.fits", b"a single exposure", parent=row)
        return row

    def add_product(self, row, name, content, *, version=None, kind="SCIENCE", parent=None):
        collection = row["obs_collection"]
        uri = f"mast:{collection}/product/{name}"
        if collection == "HLA":  # a query string within a URI
            uri = f"mast:HLA/url/cgi-bin/getdata.cgi?dataset={name}"
        if version:
            uri += f"?version={version}"
        self.products.append(
            {
                "obsID": row["obsid"],
                "parent_obsid": (parent or row)["obsid"],
                "obs_collection": collection,
                "dataproduct_type": "image",
                "obs_id": row["obs_id"],
                "productFilename": name,
                "dataURI": uri,
                "productType": kind,
                "productSubGroupDescription": name.rsplit("_", 1)[1].split(".")[0].upper(),
                "prvversion": version,
                "calib_level": row["calib_level"],
                "size": len(content),
            }
        )
        self.files[uri] = content

    def __call__(self, request):
        if request.path == COLUMNS:
            return _json(_COLUMNS)
        if request.path == DOWNLOAD:
            return self._file(request.query["uri"])
        if request.path == INVOKE:
            return self._invoked(parse_qs(request.body.decode()))
        return not_found(request)

    def _file(self, uri):
        if uri not in self.files:
            return not_found(None)
        if self.is_exclusive:
            return Answer(b"unauthorized", 401, "text/plain")
        return Answer(self.files[uri], content_type="application/fits")

    def _invoked(self, posted):
        if "request" not in posted:
            return _json({"status": "ERROR", "msg": "no request"})
        if self.executing:
            self.executing -= 1
            return _json({"status": "EXECUTING"})
        request = json.loads(posted["request"][0])
        rows = {
            "Mast.Caom.Filtered": self._filtered,
            "Mast.Caom.Filtered.Position": self._near,
            "Mast.Caom.Products": self._products_of,
        }[request["service"]](request["params"])
        return self._page(rows, request["pagesize"], request["page"])

    def _page(self, rows, size, page):
        part = rows[(page - 1) * size : page * size]
        answer = {
            "status": "COMPLETE",
            "msg": "",
            "fields": [{"name": name, "type": "string"} for name in (rows[0] if rows else ())],
            "data": part[: len(part) - self.lost_rows],
            "paging": {
                "page": page,
                "pageSize": size,
                "pagesFiltered": -(-len(rows) // size),
                "rows": len(part),
                "rowsFiltered": len(rows),
                "rowsTotal": len(rows),
            },
        }
        return _json(answer)

    def _filtered(self, params):
        return [row for row in self.observations if all(_passes(row, one) for one in params["filters"])]

    def _near(self, params):
        ra, dec, radius = map(float, params["position"].split(","))
        here = SkyCoord(ra, dec, unit="deg")
        return [
            {**row, "distance": 0.0}
            for row in self._filtered(params)
            if here.separation(SkyCoord(row["s_ra"], row["s_dec"], unit="deg")).deg <= radius + 0.02
        ]

    def _products_of(self, params):
        obsids = params["obsid"].split(",")
        return [row for row in self.products if row["parent_obsid"] in obsids]


def _json(told):
    return Answer(json.dumps(told).encode(), content_type="application/json")


def _passes(row, one):
    """Filter of "MashupRequest": values, or free text in which % is any text and _ any letter."""
    value = str(row[one["paramName"]]).lower()
    if "freeText" in one:
        return fnmatch.fnmatchcase(value, one["freeText"].lower().replace("_", "?").replace("%", "*"))
    return value in [str(accepted).lower() for accepted in one["values"]]


def hst_mosaic(science, wcs, band, *, exposure, error=None, flags=None):
    """HST image as DrizzlePac writes it; ``exposure`` is its WHT (seconds), ERR and DQ come after if given."""
    primary = fits.PrimaryHDU()
    primary.header.update(
        TELESCOP="HST", INSTRUME="WFC3", DETECTOR="IR", FILTER=band, EXPTIME=float(exposure.max()), NDRIZIM=4,
        PROD_VER="DrizzlePac 3.5.0", D001VER="3.5.0", D001OUUN="cps",
    )  # fmt: skip
    planes = {"SCI": science, "WHT": exposure, "CTX": np.ones(science.shape, np.int32), "ERR": error, "DQ": flags}
    return _content(primary, planes, wcs, "ELECTRONS/S")


def jwst_mosaic(science, error, wcs, band, *, pupil="CLEAR", weight=None):
    """JWST level-3 image as its pipeline writes it, in MJy/sr."""
    primary = fits.PrimaryHDU()
    primary.header.update(TELESCOP="JWST", INSTRUME="NIRCAM", DETECTOR="MULTIPLE", FILTER=band, PUPIL=pupil)
    planes = {
        "SCI": science,
        "ERR": error,
        "CON": np.ones((1, *science.shape), np.int32),
        "WHT": np.full(science.shape, 7.5, np.float32) if weight is None else weight,
        "VAR_POISSON": error**2 / 2,
        "VAR_RNOISE": error**2 / 2,
        "VAR_FLAT": np.zeros_like(error),
    }
    return _content(primary, planes, wcs, "MJy/sr")


def _content(primary, planes, wcs, unit):
    hdus = [primary]
    for name, data in planes.items():
        if data is not None:
            hdus.append(fits.ImageHDU(data, wcs.to_header(), name=name))
    hdus[1].header["BUNIT"] = unit
    out = io.BytesIO()
    fits.HDUList(hdus).writeto(out, checksum=True)
    return out.getvalue()
