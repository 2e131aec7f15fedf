"""A pixel grid on the sky, filled from cutouts of a service that gives only so many pixels at a time."""

from __future__ import annotations

import math
import shutil
import warnings
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from astropy.wcs import WCS

from fieldprep.align import resample
from fieldprep.errors import InputError
from fieldprep.surveys.download import fetch_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astropy.io import fits

    from fieldprep.field import FloatImage

LARGEST_SIDE = 10_000  # pixels of a cutout: 400 MB a band
SMALLEST_CELL = 64  # pixels; a service that gives less at a time is not put together
SAME_GRID_PX = 1e-3  # what two headers of one grid may differ by


@dataclass(frozen=True)
class Cell:
    """A rectangle of a grid: its first column and row, its width and height."""

    x0: int
    y0: int
    nx: int
    ny: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.y0, self.y0 + self.ny), slice(self.x0, self.x0 + self.nx)


@dataclass(frozen=True)
class Grid:
    """
    A square of sky on the plane tangent to its centre (TAN), north up, east left.

    Parameters
    ----------
    ra, dec : float
        Centre, degrees (ICRS).
    scale_arcsec : float
        Pixel scale.
    side : int
        Pixels along each side.
    """

    ra: float
    dec: float
    scale_arcsec: float
    side: int

    @classmethod
    def of_size(cls, ra: float, dec: float, size_deg: float, scale_arcsec: float, *, what: str) -> Grid:
        """
        Grid that holds a square of a given size.

        Parameters
        ----------
        ra, dec : float
            Centre, degrees.
        size_deg : float
            Side of the square, degrees.
        scale_arcsec : float
            Pixel scale.
        what : str
            What it is for, as an error is to name it.

        Returns
        -------
        Grid
            Its numbers rounded (to 1e-8 degrees and arcsec), so that a header gives them back exactly.

        Raises
        ------
        fieldprep.errors.InputError
            If that is too large, or no image.
        """
        side = math.ceil(round(size_deg * 3600 / scale_arcsec, 6))
        if not 2 <= side <= LARGEST_SIDE:
            raise InputError(
                f"{what}: {side} px of {scale_arcsec:.3g} arcsec on a side; a cutout may have from 2 to {LARGEST_SIDE}"
            )
        return cls(round(ra, 8), round(dec, 8), round(scale_arcsec, 8), side)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (ny, nx)."""
        return self.side, self.side

    def wcs(self, cell: Cell | None = None) -> WCS:
        """WCS of the grid, or of a cell of it: the same, its origin moved by whole pixels."""
        cell = cell or Cell(0, 0, self.side, self.side)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = [self.ra, self.dec]
        wcs.wcs.crpix = [(self.side + 1) / 2 - cell.x0, (self.side + 1) / 2 - cell.y0]
        # twelve digits are what a header keeps
        step = float(f"{self.scale_arcsec / 3600:.11e}")
        wcs.wcs.cdelt = [-step, step]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.set()
        wcs.pixel_shape = (cell.nx, cell.ny)
        return wcs

    def cells(self, largest: int) -> list[Cell]:
        """Rectangles of nearly one size, at most ``largest`` pixels on a side, that cover the grid once."""
        edges = np.linspace(0, self.side, math.ceil(self.side / largest) + 1).round().astype(int).tolist()
        spans = list(pairwise(edges))
        return [Cell(x0, y0, x1 - x0, y1 - y0) for y0, y1 in spans for x0, x1 in spans]

    def offset_px(self, wcs: WCS, cell: Cell) -> float:
        """Largest distance in pixels between a WCS and that of a cell, over the cell's corners."""
        x, y = np.array([0, cell.nx - 1, 0, cell.nx - 1]), np.array([0, 0, cell.ny - 1, cell.ny - 1])
        xs, ys = wcs.world_to_pixel_values(*self.wcs(cell).pixel_to_world_values(x, y))
        distance = np.hypot(xs - x, ys - y)
        return float(distance.max()) if np.isfinite(distance).all() else math.inf

    def onto(self, cell: Cell, image: FloatImage, wcs: WCS) -> FloatImage:
        """Image of a cell: as it is if its pixels are the cell's own, else resampled."""
        shape = (cell.ny, cell.nx)
        if image.shape == shape and self.offset_px(wcs, cell) < SAME_GRID_PX:
            return image
        if not np.isfinite(image).any():
            return np.full(shape, np.nan, np.float32)
        return resample(image, wcs, self.wcs(cell), shape)


class ClippedError(Exception):
    """The service gives fewer pixels on a side than it was asked for, and does not say so."""

    def __init__(self, side: int) -> None:
        super().__init__(f"only {side} pixels on a side")
        self.side = side


def mosaic(
    grid: Grid,
    get: Callable[[Cell], list[Path]],
    read: Callable[[Cell, list[Path]], FloatImage],
    *,
    largest: int,
    what: str,
) -> FloatImage:
    """
    Fill a grid piece by piece.

    Parameters
    ----------
    grid : Grid
        What to fill.
    get : callable
        Fetches the files of a `Cell` into a folder that holds nothing else; called for several at once.
    read : callable
        Gives the images in those files, shape (..., ny, nx); raises `ClippedError` if the service gave less.
    largest : int
        Pixels on a side to try first. Where the service turns out to give less, that is asked for.
    what : str
        What is fetched, as an error is to name it.

    Returns
    -------
    float32 `~numpy.ndarray`, shape (..., side, side)

    Raises
    ------
    fieldprep.errors.InputError
        If the service gives next to nothing at a time.
    """
    while True:
        cells = grid.cells(largest)
        files = fetch_all([partial(get, cell) for cell in cells])
        try:
            # not in the threads that fetch: what reads FITS silences warnings, and those are of the whole process
            pieces = [read(cell, paths) for cell, paths in zip(cells, files, strict=True)]
        except ClippedError as clipped:
            if not SMALLEST_CELL <= clipped.side < largest:
                raise InputError(f"{what}: the service gives only {clipped.side} px on a side at a time") from clipped
            largest = clipped.side
            continue
        except InputError:
            shutil.rmtree(files[0][0].parent, ignore_errors=True)  # what cannot be used must not be found again
            raise
        whole = np.full((*pieces[0].shape[:-2], *grid.shape), np.nan, np.float32)
        for cell, images in zip(cells, pieces, strict=True):
            whole[(..., *cell.slices)] = images
        return whole


def celestial_wcs(header: fits.Header) -> WCS:
    """WCS of the sky that a cutout's header gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old spellings of keywords, which are understood
        return WCS(header).celestial
