"""
A stand-in for the services of cutouts: hips2fits and MocServer, the Legacy Surveys' viewer, Pan-STARRS' image server.

Layouts: hips2fits as its page tells (alasky.cds.unistra.fr/hips-image-services/hips2fits: ``wcs`` is a FITS header as
JSON; errors are JSON of ``title`` and ``description`` with status 400; 50 million pixels at most) and properties as the
HiPS standard names them (IVOA REC-HIPS-1.0, section 4.4.1), through the question that astroquery.mocserver asks; the
viewer's as its source writes them (github.com/legacysurvey/imagine, ``map/views.py``, ``write_cutout``); Pan-STARRS' as
its page shows them (outerspace.stsci.edu, "PS1 Image Cutout Service"), with the headers of ``fitscut``.
"""

import io
import json
import re
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from misbehaving import Answer, not_found
from scipy.ndimage import map_coordinates, spline_filter

HIPS, MOC = "/hips2fits", "/MocServer/query"
LEGACY = "/viewer/fits-cutout"
FILENAMES, FITSCUT = "/cgi-bin/ps1filenames.py", "/cgi-bin/fitscut.cgi"
HIPS_PIXELS = 50_000_000


class Sky:
    """One band of sky, known by a real image; any other grid sees it through a cubic spline."""

    def __init__(self, image, wcs):
        self.image, self.wcs = image.astype(np.float64), wcs
        self._spline = spline_filter(self.image, order=3)

    def on(self, wcs, shape, *, order=3):
        """Image on another grid, NaN where the sky is not known."""
        y, x = np.mgrid[: shape[0], : shape[1]]
        xs, ys = self.wcs.world_to_pixel_values(*wcs.pixel_to_world_values(x, y))
        known = self._spline if order == 3 else self.image
        out = map_coordinates(known, [ys, xs], order=order, prefilter=False, cval=np.nan)
        return out.astype(np.float32)


@dataclass
class CutoutServices:
    """
    Content of a `misbehaving.Server`.

    ``skies[survey]`` and ``weights[band]`` are `Sky`; ``stacks[band]`` of Pan-STARRS an image and its WCS.
    """

    skies: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    stacks: dict = field(default_factory=dict)
    formats: dict = field(default_factory=dict)  # hips_tile_format where it is not "jpeg fits"
    colours: set = field(default_factory=set)  # HiPS that are three planes
    clip: int = 10**9  # pixels on a side that are given at most, without a word
    shift: float = 0.0  # pixels by which hips2fits answers beside what was asked
    order: int = 11
    is_closed: bool = False  # whether this client is locked out

    def __call__(self, request):
        if self.is_closed:
            return Answer(b"forbidden", 403, "text/plain")
        service = {
            HIPS: self._hips,
            MOC: self._moc,
            LEGACY: self._legacy,
            FILENAMES: self._filenames,
            FITSCUT: self._fitscut,
        }.get(request.path)
        return service(request.query) if service else not_found(request)

    def _moc(self, asked):
        wanted = re.fullmatch(r"\(ID=(.+)\)&&hips_frame=\*", asked["expr"])[1]
        rows = [
            {"ID": name, "hips_order": str(self.order), "hips_tile_format": self.formats.get(name, "jpeg fits")}
            for name in self.skies
            if name.lower() == wanted.lower()
        ]
        return Answer(json.dumps(rows).encode(), content_type="application/json")

    def _hips(self, asked):
        header = json.loads(asked["wcs"])
        nx, ny = header.pop("NAXIS1"), header.pop("NAXIS2")
        if asked["hips"] not in self.skies or nx * ny > HIPS_PIXELS:
            reason = {"title": "Bad Request", "description": "unknown HiPS, or too many pixels"}
            return Answer(json.dumps(reason).encode(), 400, "application/json")
        header["CRPIX1"] += self.shift
        nx, ny = min(nx, self.clip), min(ny, self.clip)
        image = self.skies[asked["hips"]].on(WCS(header), (ny, nx))
        keys = fits.Header(header)
        if asked["hips"] in self.colours:
            image = np.stack([image] * 3)
        return _fits([fits.PrimaryHDU(image, keys)])

    def _legacy(self, asked):
        size = min(int(asked["size"]), self.clip)
        scale = float(asked["pixscale"]) / 3600
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [float(asked["ra"]), float(asked["dec"])]
        wcs.wcs.crpix = [(size + 1) / 2] * 2
        wcs.wcs.cd = [[-scale, 0], [0, scale]]
        bands = [band for band in asked["bands"] if band in self.weights]
        if len(bands) < len(asked["bands"]):  # a band it does not have: all it has
            bands = list(self.weights)
        images = [np.nan_to_num(self.skies[band].on(wcs, (size, size))) for band in bands]
        weights = [np.nan_to_num(self.weights[band].on(wcs, (size, size), order=0)) for band in bands]
        hdus = []
        for kind, planes in (("IMAGE", images), ("INVVAR", weights)):
            header = fits.Header({"SURVEY": "LegacySurvey", "VERSION": "DR10", "IMAGETYP": kind})
            header["BANDS"] = "".join(bands)
            header.update({f"BAND{i}": band for i, band in enumerate(bands)})
            header.update(wcs.to_header())
            make = fits.ImageHDU if hdus else fits.PrimaryHDU
            hdus.append(make(np.stack(planes) if len(bands) > 1 else planes[0], header))
        return _fits(hdus if "invvar" in asked else hdus[:1])

    def _filenames(self, asked):
        lines = ["projcell subcell ra dec filter mjd type filename shortname badflag"]
        for band in asked["filters"]:
            if band in self.stacks:
                stem = f"rings.v3.skycell.2381.057.stk.{band}.unconv.fits"
                ra, dec = asked["ra"], asked["dec"]
                lines.append(f"2381 057 {ra} {dec} {band} 0 stack /rings.v3.skycell/2381/057/{stem} {stem} 0")
        return Answer("\n".join(lines).encode() + b"\n", content_type="text/plain")

    def _fitscut(self, asked):
        image, wcs = self.stacks[asked["red"].split(".stk.")[1][0]]
        size = min(int(asked["size"]), self.clip)
        x, y = (round(float(v)) - size // 2 for v in wcs.world_to_pixel_values(float(asked["x"]), float(asked["y"])))
        out = np.full((size, size), np.nan, np.float32)
        ny, nx = image.shape
        y0, y1, x0, x1 = max(y, 0), min(y + size, ny), max(x, 0), min(x + size, nx)
        out[y0 - y : y1 - y, x0 - x : x1 - x] = image[y0:y1, x0:x1]
        scale = wcs.wcs.cd[1, 1]
        header = fits.Header(
            {
                "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": wcs.wcs.crval[0], "CRVAL2": wcs.wcs.crval[1],
                "CRPIX1": wcs.wcs.crpix[0] - x, "CRPIX2": wcs.wcs.crpix[1] - y, "CDELT1": scale, "CDELT2": scale,
                "PC001001": -1.0, "PC001002": 0.0, "PC002001": 0.0, "PC002002": 1.0, "RADESYS": "FK5",
            }
        )  # fmt: skip
        return _fits([fits.PrimaryHDU(out, header)], "image/x-fits")


def _fits(hdus, content_type="image/fits"):
    out = io.BytesIO()
    fits.HDUList(hdus).writeto(out, checksum=True)
    return Answer(out.getvalue(), content_type=content_type)
