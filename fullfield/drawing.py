"""The annotated picture of a field: boxes, scale bar, compass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import cv2
import numpy as np
import numpy.typing as npt

from detector.detections import Flag
from fieldprep.boxes import CORNER
from fieldprep.errors import OutputError
from fieldprep.tiles import whole
from fieldprep.variants import picture
from fieldprep.views import FieldView
from fullfield.catalogue import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.table import Table

    from fieldprep.mosaic import Sky
    from fieldprep.variants import Picture
    from fieldprep.views import MosaicView

# B, G, R, as OpenCV draws
BOX = (80, 255, 120)
DOUBTED = (40, 160, 255)  # a box that a classifier calls a star or an artefact
CHANGED = (255, 120, 255)  # a candidate of a change
INK = (255, 255, 255)
SHADOW = (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX
LONGEST_SIDE_PX = 4000  # of the picture of a mosaic
MARGIN_PX = 2  # the line runs outside the box, so that an 8-pixel galaxy is not painted over
COMPASS_SHARE = 0.03  # length of an arrow, of the shorter side
LABELLED_SIDE_PX = 14  # smaller boxes carry no number: it would be larger than the galaxy
CHANGED_PX = 9  # radius of the ring about it
_BAR_LENGTHS_ARCSEC = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


def shown_picture(view: FieldView | MosaicView) -> tuple[Picture, int]:
    """
    Picture on which to draw a field's detections.

    Parameters
    ----------
    view : FieldView or MosaicView
        As the detector has looked at it.

    Returns
    -------
    rgb : 3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        The picture; of a mosaic, averaged down to at most `LONGEST_SIDE_PX` a side.
    shrunk : int
        By how much.
    """
    if isinstance(view, FieldView):
        return view.rgb, 1
    shrunk = -(-max(view.shape) // LONGEST_SIDE_PX)
    small = view.mosaic.binned(shrunk)
    return picture(small.window(whole(small.shape)), view.variant, bands=view.bands), shrunk


def draw_detections(
    rgb: Picture,
    catalogue: Table,
    field: Sky,
    *,
    row_0_at_bottom: bool,
    shrunk: int = 1,
    changed: Table | None = None,
) -> Picture:
    """
    Picture of a field with its catalogue drawn on it.

    Parameters
    ----------
    rgb : 3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        The picture, rows in the field's order.
    catalogue : `~astropy.table.Table`
        Rows to draw, each as a box with its ``id``; another colour where a classifier calls it a star or an artefact.
    field : Field or Mosaic
        For the scale bar (pixel scale) and the compass (WCS); each is left out where it is not known.
    row_0_at_bottom : bool
        Draw as DS9 shows a FITS image; False keeps a picture file's own order.
    shrunk : int
        How many of the field's pixels one of the picture's is wide.
    changed : `~astropy.table.Table`, optional
        Candidates of a change, each a ring.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        Blue, green, red, as OpenCV writes it.
    """
    ny = len(rgb)
    image = np.ascontiguousarray(rgb[::-1, :, ::-1] if row_0_at_bottom else rgb[..., ::-1])
    # first, so that no box is drawn under their dark panels
    if field.pixel_scale:
        _scale_bar(image, field.pixel_scale * shrunk)
    if field.wcs is not None:
        _compass(image, _sky_directions(field), row_0_at_bottom=row_0_at_bottom)
    for row in catalogue:
        low_x, low_y, high_x, high_y = (
            (row[name] + CORNER) / shrunk - CORNER for name in ("x_min", "y_min", "x_max", "y_max")
        )
        if row_0_at_bottom:
            low_y, high_y = ny - 1 - high_y, ny - 1 - low_y
        x0, y0 = round(low_x + CORNER) - MARGIN_PX, round(low_y + CORNER) - MARGIN_PX
        x1, y1 = round(high_x - CORNER) + MARGIN_PX, round(high_y - CORNER) + MARGIN_PX
        cv2.rectangle(image, (x0 - 1, y0 - 1), (x1 + 1, y1 + 1), SHADOW, 1)
        doubted = "flags" in catalogue.colnames and row["flags"] & (Flag.CALLED_STAR | Flag.CALLED_BOGUS)
        colour = DOUBTED if doubted else BOX
        cv2.rectangle(image, (x0, y0), (x1, y1), colour, 1)
        if min(x1 - x0, y1 - y0) >= LABELLED_SIDE_PX + 2 * MARGIN_PX:
            _text(image, str(row["id"]), (x0, y0 - 4 if y0 > 14 else y1 + 13), 0.4, colour)
    for row in () if changed is None else changed:
        x, y = ((row[axis] + CORNER) / shrunk - CORNER for axis in "xy")
        at = round(x), round(ny - 1 - y if row_0_at_bottom else y)
        cv2.circle(image, at, CHANGED_PX, SHADOW, 3, cv2.LINE_AA)
        cv2.circle(image, at, CHANGED_PX, CHANGED, 1, cv2.LINE_AA)
    return image


def write_png(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """
    Write a picture as PNG, whole or not at all.

    Parameters
    ----------
    path : path
        The file.
    image : 3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        Blue, green, red.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    # sky noise does not compress: level 1 is as small as level 9 within 3 %, and four times faster
    ok, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise OutputError(f"{path}: the picture cannot be encoded")
    with atomic(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _text(image: Picture, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, at, FONT, size, SHADOW, 3, cv2.LINE_AA)
    cv2.putText(image, text, at, FONT, size, colour, 1, cv2.LINE_AA)


def _panel(image: Picture, x0: int, y0: int, x1: int, y1: int) -> None:
    """Darken a corner, so that what is written there can be read over boxes and stars."""
    ny, nx = image.shape[:2]
    part = image[max(0, y0) : min(ny, y1), max(0, x0) : min(nx, x1)]
    part[:] = part // 3


def _scale_bar(image: Picture, pixel_scale: float) -> None:
    ny, nx = image.shape[:2]
    fitting = [length for length in _BAR_LENGTHS_ARCSEC if length / pixel_scale <= nx / 4]
    length = fitting[-1] if fitting else nx / 8 * pixel_scale
    label = f"{length / 60:g}'" if length >= 60 else f'{length:.3g}"'
    unit = max(1, round(min(nx, ny) / 700))
    start, y = round(nx * 0.02), ny - round(ny * 0.03)
    end = start + round(length / pixel_scale)
    _panel(image, start - 8 * unit, y - 22 * unit, end + 8 * unit, y + 8 * unit)
    for colour, thickness in ((SHADOW, 3 * unit + 2), (INK, unit + 1)):
        cv2.line(image, (start, y), (end, y), colour, thickness)
    _text(image, label, (start, y - 6 * unit), 0.45 * unit + 0.1, INK)


def _sky_directions(field: Sky) -> dict[str, tuple[float, float]]:
    """Unit vectors of north and east in pixels (x, y) at the middle of the field."""
    ny, nx = field.shape
    wcs = field.wcs
    if wcs is None:
        return {}
    middle = wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2).icrs
    step = (field.pixel_scale or 1.0) / 3600
    out = {}
    for name, angle in (("N", 0.0), ("E", 90.0)):
        there = middle.directional_offset_by(angle * u.deg, step * 10 * u.deg)
        x, y = wcs.world_to_pixel(there)
        dx, dy = float(x) - (nx - 1) / 2, float(y) - (ny - 1) / 2
        out[name] = (dx / np.hypot(dx, dy), dy / np.hypot(dx, dy))
    return out


def _compass(image: Picture, directions: dict[str, tuple[float, float]], *, row_0_at_bottom: bool) -> None:
    ny, nx = image.shape[:2]
    unit = max(1, round(min(nx, ny) / 700))
    length = round(min(nx, ny) * COMPASS_SHARE)
    centre = (nx - 2 * length, ny - 2 * length)
    reach = round(1.6 * length)
    _panel(image, centre[0] - reach, centre[1] - reach, centre[0] + reach, centre[1] + reach)
    for name, (dx, dy) in directions.items():
        turned = -dy if row_0_at_bottom else dy
        tip = (round(centre[0] + dx * length), round(centre[1] + turned * length))
        for colour, thickness in ((SHADOW, unit + 3), (INK, unit)):
            cv2.arrowedLine(image, centre, tip, colour, thickness, cv2.LINE_AA, tipLength=0.2)
        at = (round(centre[0] + dx * length * 1.35) - 5 * unit, round(centre[1] + turned * length * 1.35) + 5 * unit)
        _text(image, name, at, 0.4 * unit + 0.1, INK)
