"""
Stamps about detections, in a field's own pixels: what the classifiers look at.

Pixels are not resampled, so that a cosmic ray stays as sharp as it is, but for a stamp wider than asked for, and
where stars are brought to one size, so that seeing and pixel scale tell nothing. `fieldprep.cutouts` is for pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from fieldprep.boxes import CORNER
from fieldprep.census import census
from fieldprep.field import Field
from fieldprep.mosaic import middle_part
from fieldprep.tiles import Window
from fieldprep.variants import rgb_flux

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fieldprep.field import FloatImage
    from fieldprep.mosaic import Sky

Floats = npt.NDArray[np.float64]

CELL_PX = 2048  # side of the cells of a mosaic whose stamps are cut from one window
ZOOMS = (1 / 3, 3.0)
LARGEST_PX = 1024  # stamps of a mosaic that are wider are cut from it averaged down


@dataclass(frozen=True)
class Cut:
    """
    How wide a stamp is cut about a detection.

    Parameters
    ----------
    size : int
        Side of the stamp in its own pixels, and its least width in those of the field.
    sides : float
        Its width in longer sides of the detection's box, where that is more; 0: each is as wide.
    stars : float
        Half-light radius in the stamp's pixels that stars are brought to; 0: a pixel stays one of the field.
    """

    size: int
    sides: float = 0.0
    stars: float = 0.0

    def __post_init__(self) -> None:
        if not (self.size > 0 and self.sides >= 0 and self.stars >= 0):
            raise ValueError(
                f"size must be over 0, sides and stars not under it, got {self.size!r}, {self.sides!r}, {self.stars!r}"
            )

    def widths(self, xyxy: Floats, zoom: float = 1.0) -> npt.NDArray[np.int64]:
        """Widths in whole pixels of the stamps of boxes of shape (N, 4), a stamp's pixel ``zoom`` wide."""
        longer = (xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, initial=0.0)
        return np.asarray(np.maximum(np.rint(self.sides * longer), round(self.size * zoom)), np.int64)

    def zoom(self, sky: Sky) -> float:
        """
        Width of a stamp's pixel in those of a field.

        Parameters
        ----------
        sky : Field or Mosaic
            The field; its stars are looked for in the middle band, of a mosaic in its middle.

        Returns
        -------
        float
            From 1/3 to 3; 1 where stars are not brought to one size, or none is found.
        """
        if not self.stars:
            return 1.0
        part = middle_part(sky)
        image = _channels(part, None, single=True)[..., 0]
        found = census(np.where(part.mask, np.float32(np.nan), image)).stellar if np.isfinite(image).any() else np.nan
        return float(np.clip(found / self.stars, *ZOOMS)) if np.isfinite(found) and found > 0 else 1.0


def stamps_about(
    sky: Sky,
    centres: Floats,
    xyxy: Floats,
    cut: Cut,
    *,
    zoom: float = 1.0,
    gray: bool = False,
    bands: Sequence[str] | None = None,
) -> FloatImage:
    """
    Cut a stamp about each detection.

    Parameters
    ----------
    sky : Field or Mosaic
        The field; a mosaic is read by windows.
    centres : 2D float64 `~numpy.ndarray`, shape (N, 2)
        x and y of the middle of each stamp, to a whole pixel.
    xyxy : 2D float64 `~numpy.ndarray`, shape (N, 4)
        Boxes, for the widths.
    cut : Cut
        How wide.
    zoom : float
        Width of a stamp's pixel in those of the field, as `Cut.zoom` tells it.
    gray : bool
        Whether one channel is wanted: the middle band.
    bands : sequence of three str, optional
        Bands for R, G, B, as of `fieldprep.variants.rgb_flux`.

    Returns
    -------
    4D float32 `~numpy.ndarray`, shape (N, size, size, C)
        In the field's unit, NaN where there are no data; C is 3, from the shortest wavelength to the longest (g, r, i
        in SDSS), or 1 where one is wanted or the field has but one band.
    """
    widths = cut.widths(xyxy, zoom)
    single = gray or len(sky.bands) == 1
    out = np.full((len(centres), cut.size, cut.size, 1 if single else 3), np.nan, np.float32)
    if isinstance(sky, Field):
        out[:] = plain_stamps(_channels(sky, bands, single=single), centres, widths, cut.size)
        return out
    scales = 2 ** np.ceil(np.log2(np.maximum(widths / LARGEST_PX, 1))).astype(np.int64)
    for scale in np.unique(scales):
        chosen = np.flatnonzero(scales == scale)
        scaled = sky if scale == 1 else sky.binned(int(scale))
        there, wide = (centres[chosen] + CORNER) / scale - CORNER, np.maximum(widths[chosen] // scale, 1)
        for window, inside in windows_holding(scaled.shape, there, wide):
            image = _channels(scaled.window(window), bands, single=single)
            corner = (window.x0, window.y0)
            out[chosen[inside]] = plain_stamps(image, there[inside] - corner, wide[inside], cut.size)
    return out


def plain_stamps(image: FloatImage, centres: Floats, widths: npt.NDArray[np.int64], size: int) -> FloatImage:
    """
    Cut squares of whole pixels out of an image; what is not of ``size`` is averaged down to it, or enlarged.

    Parameters
    ----------
    image : 3D float32 `~numpy.ndarray`, shape (ny, nx, C)
        The image.
    centres : 2D float64 `~numpy.ndarray`, shape (N, 2)
        x and y; the pixel that holds them is the one after the middle of a stamp of even width.
    widths : 1D int64 `~numpy.ndarray`, shape (N,)
        Sides in pixels.
    size : int
        Side of a stamp.

    Returns
    -------
    4D float32 `~numpy.ndarray`, shape (N, size, size, C)
        NaN off the image.
    """
    ny, nx, channels = image.shape
    out = np.full((len(centres), size, size, channels), np.nan, np.float32)
    for i, (centre, width) in enumerate(zip(np.rint(centres).astype(np.int64), widths.tolist(), strict=True)):
        x0, y0 = centre - width // 2
        rows = slice(min(max(y0, 0), ny), min(max(y0 + width, 0), ny))
        columns = slice(min(max(x0, 0), nx), min(max(x0 + width, 0), nx))
        stamp = out[i] if width == size else np.full((width, width, channels), np.nan, np.float32)
        stamp[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0] = image[rows, columns]
        if width != size:
            way = cv2.INTER_AREA if width > size else cv2.INTER_LINEAR
            out[i] = cv2.resize(stamp, (size, size), interpolation=way).reshape(size, size, channels)
    return out


def _channels(field: Field, bands: Sequence[str] | None, *, single: bool) -> FloatImage:
    flux = rgb_flux(field, bands)
    return flux[..., 1:2] if single else flux[..., ::-1]


def windows_holding(
    shape: tuple[int, int], centres: Floats, widths: npt.NDArray[np.int64]
) -> list[tuple[Window, npt.NDArray[np.int64]]]:
    """
    Windows of a mosaic that hold whole stamps.

    Parameters
    ----------
    shape : (ny, nx)
        Shape of the mosaic.
    centres : 2D float64 `~numpy.ndarray`, shape (N, 2)
        x and y of the stamps.
    widths : 1D `~numpy.ndarray`, shape (N,)
        Their sides in pixels.

    Returns
    -------
    list of (Window, 1D int64 `~numpy.ndarray`)
        Each with which stamps it holds.
    """
    ny, nx = shape
    cells, cell = np.unique(centres // CELL_PX, axis=0, return_inverse=True)
    found = []
    for number in range(len(cells)):
        inside = np.flatnonzero(cell.ravel() == number)
        reach = widths[inside, None] / 2 + 1
        low = np.clip(np.floor((centres[inside] - reach).min(axis=0)), 0, [nx - 1, ny - 1]).astype(int)
        high = np.clip(np.ceil((centres[inside] + reach).max(axis=0)) + 1, low + 1, [nx, ny]).astype(int)
        found.append((Window(low[0], low[1], high[0], high[1]), inside))
    return found
