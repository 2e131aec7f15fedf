"""
Cutouts of Pan-STARRS, by the image server of STScI.

What is told by the server's page (outerspace.stsci.edu, "PS1 Image Cutout Service"): ``ps1filenames.py`` lists the
stacked images of the sky cell around a position, one for each filter, as text in columns; ``fitscut.cgi`` cuts ``size``
pixels of 0.25" about a position out of one of them, in linear flux (the stacks themselves are stored as asinh
magnitudes), blank where that reaches over the cell's edge. Cells are 0.4 degrees wide and overlap a little.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fieldprep.errors import InputError
from fieldprep.fitsfile import read_planes
from fieldprep.surveys.cutoutfile import Band, place_name, spelt, write_bands
from fieldprep.surveys.download import fetch, fetch_all
from fieldprep.surveys.fitscheck import check_fits
from fieldprep.surveys.services import ask, conf

if TYPE_CHECKING:
    from pathlib import Path

PIXEL_SCALE_ARCSEC = 0.25
LARGEST_SIDE = 6000  # pixels: of a cutout that one sky cell may hold


@dataclass(frozen=True)
class PanstarrsCutout:
    """
    A square of sky in Pan-STARRS.

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
        """The survey, the bands and the place."""
        return f"ps1_{conf.ps1_bands}_{place_name(self.ra, self.dec, self.size_deg)}"

    @property
    def source(self) -> str:
        """The SOURCE that stands for this cutout."""
        return f"ps1:{spelt(self.ra, self.dec, self.size_deg)}"

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
            One FITS file with an HDU for each band, in the survey's own pixels (0.25"); what reaches over the
            edge of the survey's sky cell is NaN, which a note tells.

        Raises
        ------
        fieldprep.errors.InputError
            If it is too large for a sky cell, the survey has no image there, or it cannot be had.
        """
        path = folder / f"{self.name}.fits"
        if path.exists():
            return [path]
        side = math.ceil(round(self.size_deg * 3600 / PIXEL_SCALE_ARCSEC, 6))
        if side > LARGEST_SIDE:
            raise InputError(
                f"{self.source}: {side} px of 0.25 arcsec on a side; a cutout of Pan-STARRS may have {LARGEST_SIDE} "
                "(25 arcmin); hips:CDS/P/PanSTARRS/DR1/i@... gives larger ones"
            )
        stacks = self._stacks()
        parts = folder / f".{self.name}.parts"
        files = fetch_all([partial(self._get, name, stack, side, parts) for name, stack in stacks.items()])
        try:
            bands = [self._read(name, file, side) for name, file in zip(stacks, files, strict=True)]
            missing = [f"no image in band {name}" for name in conf.ps1_bands if name not in stacks]
            write_bands(path, bands, survey="Pan-STARRS1", what=self.source, notes=missing)
        finally:
            shutil.rmtree(parts, ignore_errors=True)
        return [path]

    def _stacks(self) -> dict[str, str]:
        """Stacked image of each filter."""
        question = urlencode({"ra": self.ra, "dec": self.dec, "filters": conf.ps1_bands, "type": "stack"})
        rows = ask(f"{conf.ps1_server}/ps1filenames.py?{question}", what=self.source, read=_rows)
        stacks: dict[str, str] = {}
        for row in rows:  # the cell whose centre is nearest comes first
            stacks.setdefault(row["filter"], row["filename"])
        if not stacks:
            raise InputError(f"{self.source}: Pan-STARRS has no image there; it covers the sky north of -30 degrees")
        return stacks

    def _get(self, name: str, stack: str, side: int, parts: Path) -> Path:
        question = {"red": stack, "format": "fits", "x": self.ra, "y": self.dec, "size": side, "wcs": 1}
        return fetch(
            f"{conf.ps1_server}/fitscut.cgi?{urlencode(question)}",
            parts / f"{name}_{side}.fits",
            what=f"{self.source} ({name})",
            verify=check_fits,
        )

    def _read(self, name: str, file: Path, side: int) -> Band:
        (plane,) = read_planes(file)
        ny, nx = plane.image.shape
        if (ny, nx) != (side, side):
            raise InputError(f"{self.source}: the service gives {nx} x {ny} px of the {side} asked for; ask for less")
        if plane.wcs is None:
            raise InputError(f"{self.source}: the service gives an image without a place on the sky")
        return Band(name, plane.image, plane.wcs)


def _rows(text: str) -> list[dict[str, str]]:
    """Rows of a list of images; a ValueError where it is none, or one that breaks off within a row."""
    header, *rows = [line.split() for line in text.splitlines() if line.strip()] or [[]]
    if not {"filter", "filename"} <= set(header):
        raise ValueError(f"no list of images: {text[:80]!r}")
    return [dict(zip(header, row, strict=True)) for row in rows]
