"""
Portraits: an object's colour picture as Galaxy Zoo's volunteers saw it, for classifiers that were taught on such.

References
----------
Lupton et al. 2004, PASP 116, 133: asinh of the mean of the bands, colours kept, as the survey's own pictures are
made. The softening is that of idlutils' ``nw_scale_rgb`` and ``nw_arcsinh`` (4.9 a nanomaggie, a nonlinearity of 3 of
the sum of three). The constants of the pictures that Galaxy Zoo showed are not published; gains, lift and brightness
are those by which 35 galaxies of r < 18 in seven SDSS fields have the sky and the middles of Galaxy Zoo 2's JPEGs
(medians 10, 6, 4 and 191, 154, 110 of 255 for its 6, 5, 3 and 192, 158, 115), and look like them. The picture goes
through a JPEG in its own pixels, as the survey's did, which takes the noise of single pixels away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from fieldprep.cutouts import cutouts
from fieldprep.field import Field
from fieldprep.mosaic import middle_part
from fieldprep.stamps import windows_holding
from fieldprep.tiles import Window
from fieldprep.variants import rgb_flux

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fieldprep.field import FloatImage
    from fieldprep.mosaic import Sky
    from fieldprep.variants import Picture

Floats = npt.NDArray[np.float64]

GAINS = np.array([1.0, 1.27, 2.0], np.float32)  # of i, r, g as red, green, blue
LIFT, SOFTENING, BRIGHTNESS = -0.04, 44.0, 0.125
JPEG_QUALITY, BLOCK_PX = 75, 16
SDSS = "SDSS"
SDSS_NOISE = np.array([0.0458, 0.0295, 0.0153])  # nanomaggies a pixel, i, r, g: medians of its frames
DISPLAY = ("R", "G", "B")  # bands of a picture, which is shown as it is


@dataclass(frozen=True)
class Portrait:
    """
    How an object is framed.

    Parameters
    ----------
    sides : float
        Width of the portrait in longer sides of the object's box.
    arcsec : float
        Its width on the sky, where ``sides`` is 0.
    least : float
        Longer side of a box in pixels under which an object shows too little to be classified.
    """

    sides: float = 0.0
    arcsec: float = 0.0
    least: float = 0.0

    def __post_init__(self) -> None:
        if min(self.sides, self.arcsec, self.least) < 0 or (self.sides > 0) == (self.arcsec > 0):
            raise ValueError(f"one of sides and arcsec must be over 0, least not under it, got {self}")

    def widths(self, xyxy: Floats, pixel_scale: float | None) -> Floats:
        """Widths in pixels of the portraits of boxes of shape (N, 4); NaN for arcsec where there is no pixel scale."""
        if self.sides:
            return np.asarray(self.sides * _longer(xyxy))
        return np.full(len(xyxy), np.nan if pixel_scale is None else self.arcsec / pixel_scale)

    def large_enough(self, xyxy: Floats) -> npt.NDArray[np.bool_]:
        """Which boxes of shape (N, 4) show enough."""
        return np.asarray(_longer(xyxy) >= self.least)


def _longer(xyxy: Floats) -> Floats:
    return np.asarray((xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, initial=0.0))


def sdss_picture(flux: FloatImage) -> Picture:
    """
    The picture that the survey shows of a flux.

    Parameters
    ----------
    flux : float32 `~numpy.ndarray`, shape (..., 3)
        i, r, g in nanomaggies a pixel of 0.396 arcsec, without sky.

    Returns
    -------
    uint8 `~numpy.ndarray`, shape (..., 3)
        Red, green, blue; black where a band has no data.
    """
    seen = np.isfinite(flux).all(axis=-1, keepdims=True)
    return np.asarray(np.where(seen, np.rint(255 * shown(np.where(seen, flux, 0))), 0), np.uint8)


def shown(flux: FloatImage) -> FloatImage:
    """Values from 0 to 1 that the survey's picture has, red, green and blue, of a finite flux, i, r and g; (..., 3)."""
    lifted = np.maximum(flux * GAINS + np.float32(LIFT), 0)
    mean = lifted.mean(axis=-1, keepdims=True)
    share = BRIGHTNESS * np.arcsinh(SOFTENING * mean) / np.where(mean > 0, mean, 1)
    return np.asarray(np.clip(lifted * share, 0, 1), np.float32)


def flux_of(values: FloatImage) -> FloatImage:
    """
    What a picture of the survey was made of, as far as it tells: the inverse of `shown`.

    Parameters
    ----------
    values : float32 `~numpy.ndarray`, shape (..., 3)
        Red, green, blue from 0 to 1.

    Returns
    -------
    float32 `~numpy.ndarray`, shape (..., 3)
        i, r, g in nanomaggies; too little where the picture is burnt out, and no less than the lift.
    """
    mean = values.mean(axis=-1, keepdims=True)
    lifted = values * np.sinh(mean / BRIGHTNESS) / (SOFTENING * np.where(mean > 0, mean, 1))
    return np.asarray((lifted - np.float32(LIFT)) / GAINS, np.float32)


def sky_flux_of(values: FloatImage) -> FloatImage:
    """
    The same for adding to a sky of its own: black, which was cut off at the lift, is no light.

    Parameters
    ----------
    values : float32 `~numpy.ndarray`, shape (..., 3)
        Red, green, blue from 0 to 1.

    Returns
    -------
    float32 `~numpy.ndarray`, shape (..., 3)
        i, r, g in nanomaggies: `flux_of` where it is twice the lift or more, and from there evenly to 0 at black.
    """
    flux, black = flux_of(values), np.float32(-LIFT) / GAINS
    return np.asarray(np.where(flux < 2 * black, 2 * (flux - black), flux), np.float32)


def portraits_about(
    sky: Sky, centres: Floats, xyxy: Floats, portrait: Portrait, size: int, bands: Sequence[str] | None = None
) -> Picture:
    """
    Portraits of detections.

    Parameters
    ----------
    sky : Field or Mosaic
        The field; of SDSS it is taken at its word, any other is brought to SDSS's noise; a picture stays as it is.
    centres : 2D float64 `~numpy.ndarray`, shape (N, 2)
        x and y of the middle of each.
    xyxy : 2D float64 `~numpy.ndarray`, shape (N, 4)
        Boxes, for the widths.
    portrait : Portrait
        How they are framed.
    size : int
        Side in pixels.
    bands : sequence of three str, optional
        Bands for R, G, B.

    Returns
    -------
    4D uint8 `~numpy.ndarray`, shape (N, size, size, 3)
        Red, green, blue; rows as the field stores them, black off the field.
    """
    out = np.zeros((len(centres), size, size, 3), np.uint8)
    widths = portrait.widths(xyxy, sky.pixel_scale)
    known = np.flatnonzero(np.isfinite(widths) & (widths > 0))
    if not len(known):
        return out
    shown = tuple(sky.bands) == DISPLAY
    levels, gains = (np.zeros(3), np.ones(3)) if shown else _to_nanomaggies(sky, bands)
    for part, at, width, chosen in _parts(sky, centres[known], widths[known]):
        flux = (rgb_flux(part, bands) - levels.astype(np.float32)) * gains.astype(np.float32)
        picture = np.rint(np.nan_to_num(flux)).clip(0, 255).astype(np.uint8) if shown else _as_jpeg(sdss_picture(flux))
        out[known[chosen]] = cutouts(picture, at[:, 0], at[:, 1], width, size).stamps
    return out


def _as_jpeg(picture: Picture) -> Picture:
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def _parts(sky: Sky, centres: Floats, widths: Floats) -> list[tuple[Field, Floats, Floats, npt.NDArray[np.int64]]]:
    """Fields that hold whole portraits, places and widths in them, and which these are."""
    if isinstance(sky, Field):
        return [(sky, centres, widths, np.arange(len(centres)))]
    parts = []
    for window, inside in windows_holding(sky.shape, centres, np.ceil(widths).astype(np.int64)):
        # whole blocks of a JPEG, so that it comes out as that of the whole field would
        x0, y0 = (low // BLOCK_PX * BLOCK_PX for low in (window.x0, window.y0))
        x1, y1 = (-(-high // BLOCK_PX) * BLOCK_PX for high in (window.x1, window.y1))
        part = sky.window(Window(x0, y0, min(x1, sky.shape[1]), min(y1, sky.shape[0])))
        parts.append((part, centres[inside] - (x0, y0), widths[inside], inside))
    return parts


def _to_nanomaggies(sky: Sky, bands: Sequence[str] | None) -> tuple[Floats, Floats]:
    """Level of the sky in R, G, B, and what brings a field's flux to SDSS's unit, or to its noise."""
    levels, noise = np.zeros(3), np.ones(3)
    if sky.survey == SDSS:
        return levels, noise
    flux = rgb_flux(middle_part(sky), bands)
    for k in range(3):
        finite = flux[..., k][np.isfinite(flux[..., k])]
        if finite.size:
            levels[k] = np.median(finite)
            noise[k] = 1.4826 * np.median(np.abs(finite - levels[k]))
    return levels, SDSS_NOISE / np.where(noise > 0, noise, 1)
