"""
Cutouts of any survey that is a HiPS, by the CDS's service hips2fits through astroquery.

What is told by the service's page (alasky.cds.unistra.fr/hips-image-services/hips2fits) and the HiPS standard (IVOA
REC-HIPS-1.0, section 4.4.1): an image of any WCS, at most 50 million pixels; fluxes only where the HiPS has FITS tiles
(``hips_tile_format``); its pixels are those of HEALPix of order ``hips_order``, ``hips_tile_width`` to a tile. The
properties come from the CDS's MocServer (asked as astroquery.mocserver does, which itself wants mocpy).
"""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
from astropy.io import fits
from astroquery.hips2fits import conf as astroquery_conf
from astroquery.hips2fits import hips2fits

from fieldprep.bands import clean_name, wavelength_nm
from fieldprep.errors import InputError, one_line
from fieldprep.surveys.cutoutfile import Band, place_name, spelt, write_bands
from fieldprep.surveys.download import NotThereError, fetch, fetch_all
from fieldprep.surveys.fitscheck import check_fits
from fieldprep.surveys.services import ask, conf
from fieldprep.surveys.skygrid import SAME_GRID_PX, Cell, ClippedError, Grid, celestial_wcs, mosaic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fieldprep.field import FloatImage

# pixels on a side asked for at a time: a third of what the service gives, which takes it seconds rather than minutes
LARGEST_CELL = 4096


@dataclass(frozen=True)
class HipsCutout:
    """
    A square of sky in one HiPS for each band.

    Parameters
    ----------
    surveys : tuple of str
        Ids of HiPS (``CDS/P/PanSTARRS/DR1/i``), red, green, blue or one.
    ra, dec : float
        Centre, degrees.
    size_deg : float
        Side, degrees.
    """

    surveys: tuple[str, ...]
    ra: float
    dec: float
    size_deg: float

    @property
    def name(self) -> str:
        """The HiPS and the place."""
        shared = _shared(self.surveys)
        ends = "+".join("/".join(survey.split("/")[len(shared) :]) for survey in self.surveys)
        text = "_".join(filter(None, [*shared, ends, place_name(self.ra, self.dec, self.size_deg)]))
        return re.sub(r"[^\w.+-]", "_", text)

    @property
    def source(self) -> str:
        """The SOURCE that stands for this cutout."""
        return f"hips:{','.join(self.surveys)}@{spelt(self.ra, self.dec, self.size_deg)}"

    def fetch(self, folder: Path) -> list[Path]:
        """
        Fetch the cutout unless it is there.

        Parameters
        ----------
        folder : path
            Where to put it.

        Returns
        -------
        list of path
            One FITS file with an HDU for each band, all on one grid of the finest HiPS's own pixel scale.

        Raises
        ------
        fieldprep.errors.InputError
            If there is no such HiPS, it has no FITS tiles or no data there, or cannot be had.
        """
        path = folder / f"{self.name}.fits"
        if path.exists():
            return [path]
        scale = min(_pixel_scale_arcsec(survey) for survey in self.surveys)
        grid = Grid.of_size(self.ra, self.dec, self.size_deg, scale, what=self.source)
        parts = folder / f".{self.name}.parts"
        images = mosaic(
            grid, partial(self._get, grid, parts), partial(self._read, grid), largest=LARGEST_CELL, what=self.source
        )
        bands = [Band(name, image, grid.wcs()) for name, image in zip(_band_names(self.surveys), images, strict=True)]
        if any(wavelength_nm(band.name) is None for band in bands):
            bands.reverse()  # where the names do not tell, bands go from blue to red as the file has them
        try:
            write_bands(path, bands, survey="/".join(_shared(self.surveys)) or "HiPS", what=self.source)
        finally:
            shutil.rmtree(parts, ignore_errors=True)
        return [path]

    def _get(self, grid: Grid, parts: Path, cell: Cell) -> list[Path]:
        """A cell in every HiPS."""
        return fetch_all([partial(_piece, survey, grid, cell, parts) for survey in self.surveys])

    def _read(self, grid: Grid, cell: Cell, paths: Sequence[Path]) -> FloatImage:
        """Images of a cell in every HiPS, shape (n, ny, nx); their pixels are those of the grid or are refused."""
        images = []
        for survey, path in zip(self.surveys, paths, strict=True):
            with fits.open(path) as hdus:
                image, wcs = np.squeeze(hdus[0].data).astype(np.float32), celestial_wcs(hdus[0].header)
            if image.ndim != 2:
                raise InputError(f"hips:{survey}: the service gives colours, no fluxes; name a HiPS of one band")
            if image.shape != (cell.ny, cell.nx):
                raise ClippedError(min(image.shape))
            if not grid.offset_px(wcs, cell) < SAME_GRID_PX:
                raise InputError(f"hips:{survey}: the service gives another piece of sky than it was asked for")
            images.append(image)
        return np.stack(images)


def _piece(survey: str, grid: Grid, cell: Cell, parts: Path) -> Path:
    question = hips2fits.query_with_wcs(survey, grid.wcs(cell), format="fits", get_query_payload=True)
    stem = re.sub(r"[^\w.-]", "_", survey)
    return fetch(
        f"{conf.hips_server or astroquery_conf.server}?{urlencode(question)}",
        parts / f"{stem}_{cell.x0}_{cell.y0}_{cell.nx}x{cell.ny}.fits",
        what=f"hips:{survey}",
        verify=check_fits,
    )


def _pixel_scale_arcsec(survey: str) -> float:
    """Pixel scale of a HiPS at its deepest order; refused if it holds no fluxes."""
    fields = ("ID", "hips_order", "hips_tile_width", "hips_tile_format")
    question = {"get": "record", "fmt": "json", "casesensitive": "false", "fields": ", ".join(fields)}
    rows = ask(
        f"{conf.moc_server}?{urlencode(question | {'expr': f'(ID={survey})&&hips_frame=*'})}",
        what=f"hips:{survey}",
        read=json.loads,
    )
    try:
        known = next((row for row in rows if row["ID"].lower() == survey.lower()), None)
        formats = str(known["hips_tile_format"]).lower() if known else ""
        pixels = 2 ** int(known["hips_order"]) * int(known.get("hips_tile_width", 512)) if known else 1
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"hips:{survey}: its properties cannot be read ({one_line(error)}); try again later"
        ) from error
    if known is None:
        raise NotThereError(
            f"hips:{survey}: the CDS has no HiPS of that name; they are listed at aladin.cds.unistra.fr/hips"
        )
    if "fits" not in formats:
        raise InputError(
            f"hips:{survey}: has pictures only ({formats}), no FITS tiles; name a HiPS of one band that has"
        )
    return math.degrees(math.sqrt(math.pi / 3)) * 3600 / pixels


def _band_names(surveys: Sequence[str]) -> list[str]:
    """Name of each HiPS's band: the end of its id, or the whole of it where the ends are the same."""
    ends = [clean_name(survey.rsplit("/", 1)[-1]) for survey in surveys]
    return ends if len(set(ends)) == len(ends) else [survey.replace("/", "_") for survey in surveys]


def _shared(surveys: Sequence[str]) -> list[str]:
    """Parts that all ids begin with: CDS, P, PanSTARRS, DR1."""
    parts = [survey.split("/") for survey in surveys]
    alike = [len(set(together)) == 1 for together in zip(*parts, strict=False)]
    return parts[0][: [*alike, False].index(False)]
