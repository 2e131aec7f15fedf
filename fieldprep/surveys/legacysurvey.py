"""
Cutouts of the DESI Legacy Imaging Surveys, by their viewer's service.

What is told by the service's page (legacysurvey.org/viewer/urls) and its source (github.com/legacysurvey/imagine,
``map/views.py``, ``get_cutout`` and ``write_cutout``): ``size`` pixels of ``pixscale`` on the plane tangent to the
asked position; more than a limit (512, once 3000) is cut to it without a word; the bands are planes of one image, named
by BANDS and BAND0, BAND1, ...; with ``invvar`` their inverse variances follow, zero where there are no data; bands that
a layer lacks change the answer to those it has.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
from astropy.io import fits

from fieldprep.errors import InputError
from fieldprep.fitsfile import read_planes
from fieldprep.surveys.cutoutfile import Band, place_name, spelt, write_bands
from fieldprep.surveys.download import fetch
from fieldprep.surveys.fitscheck import check_fits
from fieldprep.surveys.services import conf
from fieldprep.surveys.skygrid import Cell, ClippedError, Grid, mosaic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fieldprep.field import FloatImage
    from fieldprep.fitsfile import Plane

PIXEL_SCALE_ARCSEC = 0.262
LARGEST_CUTOUT = 3000  # pixels on a side to try first
# pixels around a piece of several: each lies on a plane of its own, and the resampling reaches over its edge
MARGIN = 8


@dataclass(frozen=True)
class LegacyCutout:
    """
    A square of sky in the Legacy Surveys.

    Parameters
    ----------
    ra, dec : float
        Centre, degrees.
    size_deg : float
        Side, degrees.
    """

    ra: float
    dec: float
    size_deg: float

    @property
    def name(self) -> str:
        """The survey's layer, the bands and the place."""
        return f"{conf.legacy_layer}_{conf.legacy_bands}_{place_name(self.ra, self.dec, self.size_deg)}"

    @property
    def source(self) -> str:
        """The SOURCE that stands for this cutout."""
        return f"legacy:{spelt(self.ra, self.dec, self.size_deg)}"

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
            One FITS file with an HDU for each band and one for its noise, in the survey's own pixels (0.262").

        Raises
        ------
        fieldprep.errors.InputError
            If the survey has no image there, or it cannot be had.
        """
        path = folder / f"{self.name}.fits"
        if path.exists():
            return [path]
        grid = Grid.of_size(self.ra, self.dec, self.size_deg, PIXEL_SCALE_ARCSEC, what=self.source)
        parts = folder / f".{self.name}.parts"
        names = list(conf.legacy_bands)
        images, noises = mosaic(
            grid,
            partial(self._get, grid, parts, names),
            partial(_read, grid, names),
            largest=LARGEST_CUTOUT - 2 * MARGIN,
            what=self.source,
        )
        bands = [Band(names[i], images[i], grid.wcs(), noises[i]) for i in range(len(names))]
        try:
            write_bands(path, bands, survey="LegacySurvey", what=self.source)
        finally:
            shutil.rmtree(parts, ignore_errors=True)
        return [path]

    def _get(self, grid: Grid, parts: Path, names: list[str], cell: Cell) -> list[Path]:
        size = _asked_size(grid, cell)
        ra, dec = grid.wcs(cell).pixel_to_world_values((cell.nx - 1) / 2, (cell.ny - 1) / 2)
        question = {
            "ra": float(ra), "dec": float(dec), "layer": conf.legacy_layer, "pixscale": PIXEL_SCALE_ARCSEC,
            "bands": "".join(names), "size": size, "invvar": "",
        }  # fmt: skip
        piece = fetch(
            f"{conf.legacy_server}?{urlencode(question)}",
            parts / f"{cell.x0}_{cell.y0}_{size}.fits",
            what=self.source,
            verify=_check,
        )
        return [piece]


def _check(path: Path) -> None:
    """See that each image has its inverse variance after it: a file that ends in between is FITS too."""
    check_fits(path)
    with fits.open(path) as hdus:
        if sum(hdu.is_image and hdu.header["NAXIS"] >= 2 for hdu in hdus) % 2:
            raise InputError(f"{path}: holds an image without its inverse variance")


def _asked_size(grid: Grid, cell: Cell) -> int:
    """Pixels on a side to ask for: the grid alone as it is, one cell of several with a margin."""
    return grid.side if (cell.ny, cell.nx) == grid.shape else max(cell.nx, cell.ny) + 2 * MARGIN


def _read(grid: Grid, names: list[str], cell: Cell, paths: Sequence[Path]) -> FloatImage:
    """Images and noises of a cell, shape (2, n, ny, nx)."""
    size = _asked_size(grid, cell)
    images = np.full((2, len(names), cell.ny, cell.nx), np.nan, np.float32)
    for plane in read_planes(paths[0]):
        if plane.image.shape != (size, size):
            # what is asked for next has a margin
            raise ClippedError(min(plane.image.shape) - 2 * MARGIN)
        if plane.band in names and plane.wcs is not None:
            both = images[:, names.index(plane.band)]
            both[0] = grid.onto(cell, _filled(plane), plane.wcs)
            if plane.noise is not None:
                both[1] = grid.onto(cell, plane.noise, plane.wcs)
    return images


def _filled(plane: Plane) -> FloatImage:
    """Image with NaN where the survey has no data; it gives zeros there."""
    has_data = plane.image != 0 if plane.noise is None else np.isfinite(plane.noise)
    return np.where(has_data, plane.image, np.float32(np.nan))
