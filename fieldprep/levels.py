"""
Levels of a picture N on any instrument: which pixels are sky at all, their level, and the noise that counts.

The noise that hides a faint galaxy is that of a patch as large as the galaxy. In an SDSS frame, whose pixels
are independent, it follows from the noise of a pixel; in a drizzled mosaic, whose pixels share their photons,
it is about twice that, and in a smoothed press picture four times. A display picture has one more floor: its
white is where its maker wanted it, some sigma of what is worth seeing over the sky.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from fieldprep.averaging import block_means
from fieldprep.sky import sky_level_and_noise
from fieldprep.tiles import middle

if TYPE_CHECKING:
    from fieldprep.field import BoolImage, Field, FloatImage

BLANK_PX = 15  # side of the smallest square of one value that is no sky
HARDLY_BLANK = 0.01  # share of equal neighbours under which no blank part is worth looking for
MOSTLY_BLANK = 0.9  # share above which there is too little else to tell the sky from
PATCH_PX = 4  # side of the patches whose noise counts: the diameter of a small galaxy
INDEPENDENT = 1.3  # noise of patches over that of independent pixels; up to 1.16 in SDSS, 1.2 in CFHTLS
WHITE_SIGMA = 6.0  # sigma at which a display picture is white, at most; see benchmarks/instruments.py
DISPLAY_WHITE = 255.0
DISPLAY_BANDS = {"R", "G", "B", "gray"}


def blank(flux: FloatImage) -> BoolImage:
    """
    Where an image holds nothing but one value: outside the footprint of a mosaic, or a sky cut off at black.

    Parameters
    ----------
    flux : float32 `~numpy.ndarray`, shape (ny, nx) or (ny, nx, C)
        Flux in any unit; blank is what is so in every channel.

    Returns
    -------
    2D bool `~numpy.ndarray`, shape (ny, nx)
        True in all squares of 15 px, and over, of one value; NaN is not blank.
    """
    planes = flux[..., None] if flux.ndim == 2 else flux
    first = planes[:-1, :-1]
    same = (first == planes[1:, :-1]) & (first == planes[:-1, 1:]) & (first == planes[1:, 1:])
    corners = same.all(axis=-1).astype(np.uint8)
    if min(corners.shape, default=0) < BLANK_PX - 1:
        return np.zeros(planes.shape[:2], np.bool_)
    found = np.zeros(planes.shape[:2], np.uint8)
    # a square of N px has (N - 1) x (N - 1) corners inside; eroded to its middle, then grown to all of it
    core = cv2.erode(
        corners, np.ones((BLANK_PX - 1, BLANK_PX - 1), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    found[:-1, :-1] = core
    grown = cv2.dilate(found, np.ones((BLANK_PX, BLANK_PX), np.uint8), anchor=(BLANK_PX - 1 - (BLANK_PX - 1) // 2,) * 2)
    return np.asarray(grown > 0, np.bool_)


def white_of(field: Field) -> float | None:
    """
    White of a display picture, None for a field in physical units.

    Parameters
    ----------
    field : Field
        Any field.

    Returns
    -------
    float or None
        What ``provenance["white"]`` says; else 255 for a picture whose values are whole numbers up to 255.
    """
    if "white" in field.provenance:
        white: Any = field.provenance["white"]
        return None if white is None else float(white)
    if not set(field.bands) <= DISPLAY_BANDS:
        return None
    return DISPLAY_WHITE if all(_eight_bit(image) for image in field.bands.values()) else None


def levels_of(
    flux: FloatImage, *, white: float | None = None, part: FloatImage | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """
    Level of the sky and the noise that counts, by channel.

    Parameters
    ----------
    flux : 3D float32 `~numpy.ndarray`, shape (ny, nx, C)
        Flux in any unit.
    white : float, optional
        White of a display picture; its noise is taken to be no less than a sixth of it.
    part : 3D float32 `~numpy.ndarray`, shape (ny, nx, C), optional
        Neighbouring pixels on which the noise of patches is told; by default those in the middle of ``flux``. Where
        ``flux`` is but a sample of a mosaic, its pixels are no neighbours.

    Returns
    -------
    sky, noise : 1D float64 `~numpy.ndarray`, shape (C,)
        In the unit of ``flux``. On frames of independent pixels what `fieldprep.sky.sky_level_and_noise` gives.
    """
    if part is None:
        window = middle((flux.shape[0], flux.shape[1]))
        part = flux[window.rows, window.columns]
    empty, empty_part = (blank_parts(image) for image in (flux, part))
    measured = []
    for k in range(flux.shape[-1]):
        level, noise = sky_level_and_noise(np.ascontiguousarray(flux[..., k]), empty if empty.any() else None)
        measured.append((level, noise * _excess(np.ascontiguousarray(part[..., k]), empty_part)))
    sky, noises = (np.array(column, np.float64) for column in zip(*measured, strict=True))
    return sky, noises if white is None else np.maximum(noises, white / WHITE_SIGMA)


def blank_parts(flux: FloatImage) -> BoolImage:
    """
    Blank parts of an image that is worth the search: one with equal neighbours, and with something else beside them.

    Parameters
    ----------
    flux : 3D float32 `~numpy.ndarray`, shape (ny, nx, C)
        Flux in any unit.

    Returns
    -------
    2D bool `~numpy.ndarray`, shape (ny, nx)
        As `blank` gives it; all False where under a hundredth of the neighbours are equal, and where nine tenths of
        the image are blank.
    """
    none = np.zeros(flux.shape[:2], np.bool_)
    rows = flux[::BLANK_PX]
    if (rows[:, 1:] == rows[:, :-1]).all(axis=-1).mean(dtype=np.float64) < HARDLY_BLANK:
        return none
    empty = blank(flux)
    return none if empty.mean(dtype=np.float64) > MOSTLY_BLANK else empty


def _excess(image: FloatImage, empty: BoolImage) -> float:
    """Noise of patches over that of independent pixels, 1 where they are as good as independent."""
    patches = block_means(np.where(empty, np.float32(np.nan), image), PATCH_PX)
    values = patches[np.isfinite(patches)]
    if values.size == 0 or values.min() == values.max():  # nothing there whose noise could be told
        return 1.0
    pixels = sky_level_and_noise(image, empty if empty.any() else None)[1]
    excess = PATCH_PX * sky_level_and_noise(patches)[1] / pixels
    return excess if excess > INDEPENDENT else 1.0


def _eight_bit(image: FloatImage) -> bool:
    values = image[np.isfinite(image)]
    return (
        bool(values.size)
        and bool(0 <= values.min() <= values.max() <= DISPLAY_WHITE)
        and bool(np.array_equal(values, np.rint(values)))
    )
