"""Detection on any instrument: a field is brought to the scale and the level the network knows, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.detect import FLOOR
from fieldprep.boxes import CORNER, clip_boxes
from fieldprep.levels import blank, levels_of, white_of
from fieldprep.scale import resampled, zoom_factor
from fieldprep.variants import noise_stretch, picture, rgb_flux

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from detector.detect import Detector
    from detector.detections import Detections
    from fieldprep.field import BoolImage, Field
    from fieldprep.variants import Picture

BLANK_SHARE = 0.5  # a box with more of it blank is of nothing


def detect_at_scale(
    detector: Detector,
    field: Field,
    *,
    zoom: float | None = None,
    variant: str | None = None,
    bands: Sequence[str] | None = None,
    confidence: float = FLOOR,
    tile: int | None = None,
) -> Detections:
    """
    Find the objects of a field of any instrument.

    Parameters
    ----------
    detector : Detector
        The detector.
    field : Field
        The field: FITS with or without a pixel scale, one band or several, a display picture.
    zoom : float, optional
        Factor by which the field is enlarged for the network; by default as its own objects ask for, see
        `fieldprep.scale.zoom_factor`.
    variant, bands, confidence, tile
        As of `detector.Detector.detect`.

    Returns
    -------
    Detections
        In the field's own pixels, by falling confidence; none that lies mostly where the field is blank.
    """
    factor = zoom_factor(field) if zoom is None else zoom
    scaled = resampled(field, factor)
    rgb = level_picture(scaled, variant or detector.card.variant, bands=bands)
    empty = blank(rgb_flux(field, bands))
    found = detector.detect_picture(rgb, scaled.mask, confidence=confidence, tile=tile)
    found = in_pixels_of(found, scaled.shape, field.shape)
    return found.select(_blank_share(found.xyxy, empty) <= BLANK_SHARE)


def level_picture(field: Field, variant: str = "N", *, bands: Sequence[str] | None = None) -> Picture:
    """
    Picture of a field, N by the levels that suit its instrument.

    Parameters
    ----------
    field : Field
        Any field.
    variant, bands
        As of `fieldprep.variants.picture`, which makes all others than N.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B; see `fieldprep.levels.levels_of`.
    """
    if variant != "N":
        return picture(field, variant, bands=bands)
    flux = rgb_flux(field, bands)
    return noise_stretch(*levels_of(flux, white=white_of(field)))(flux)


def in_pixels_of(found: Detections, shape: tuple[int, int], wanted: tuple[int, int]) -> Detections:
    """
    Detections of a resampled field in the pixels of the field itself.

    Parameters
    ----------
    found : Detections
        Of a field of shape ``shape``.
    shape, wanted : (ny, nx)
        Shape of the resampled field, and of the field.

    Returns
    -------
    Detections
        Boxes clipped at the field's edge.
    """
    if shape == wanted:
        return found
    ratio = np.array([wanted[1] / shape[1], wanted[0] / shape[0]] * 2)
    return replace(found, xyxy=clip_boxes((found.xyxy + CORNER) * ratio - CORNER, wanted))


def _blank_share(xyxy: npt.NDArray[np.float64], empty: BoolImage) -> npt.NDArray[np.float64]:
    """Share of each box that is blank, shape (N,)."""
    if not empty.any():
        return np.zeros(len(xyxy))
    ny, nx = empty.shape
    total = cv2.integral(empty.astype(np.uint8))
    x0, y0 = np.clip(np.rint(xyxy[:, :2] + CORNER).astype(int), 0, [nx - 1, ny - 1]).T
    x1, y1 = np.maximum(np.clip(np.rint(xyxy[:, 2:] + CORNER).astype(int), 0, [nx, ny]).T, [x0 + 1, y0 + 1])
    inside = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    return np.asarray(inside / ((x1 - x0) * (y1 - y0)), np.float64)
