"""Detection on any instrument: a field is brought to the scale and the level the network knows, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.detect import FLOOR
from detector.outlines import outlined
from fieldprep.boxes import CORNER, clip_boxes
from fieldprep.levels import blank_parts
from fieldprep.mosaic import Mosaic, middle_part
from fieldprep.scale import resampled, zoom_factor
from fieldprep.variants import rgb_flux
from fieldprep.views import view_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from detector.detect import Detector
    from detector.detections import Detections
    from fieldprep.field import BoolImage
    from fieldprep.mosaic import Sky
    from fieldprep.views import View

BLANK_SHARE = 0.5  # a box with more of it blank is of nothing


def detect_at_scale(
    detector: Detector,
    sky: Sky,
    *,
    zoom: float | None = None,
    variant: str | None = None,
    bands: Sequence[str] | None = None,
    confidence: float = FLOOR,
    tile: int | None = None,
    view: View | None = None,
    measured: bool = True,
) -> Detections:
    """
    Find the objects of a field of any instrument.

    Parameters
    ----------
    detector : Detector
        The detector.
    sky : Field or Mosaic
        The field: FITS with or without a pixel scale, one band or several, a display picture.
    zoom : float, optional
        Factor by which the field is enlarged for the network; by default as its own objects ask for, see
        `fieldprep.scale.zoom_factor`. A mosaic is only ever averaged down, by the nearest whole factor.
    variant, bands, confidence, tile
        As of `detector.Detector.detect`.
    view : View, optional
        The field's picture, where it is made already; used where nothing is to be resampled.
    measured : bool
        Whether boxes are those of the light, by `detector.outlines.outlined`, or the network's.

    Returns
    -------
    Detections
        In the field's own pixels, by falling confidence; none that lies mostly where a field in memory is blank.
    """
    variant = variant or detector.card.variant
    factor = own_zoom(sky) if zoom is None else zoom
    if isinstance(sky, Mosaic):
        view = view_of(sky, variant, bands=bands) if view is None else view
        found = _averaged_down(detector, view, max(1, round(1 / factor)), confidence, tile)
    else:
        scaled = resampled(sky, factor)
        if view is None or scaled is not sky:
            view = view_of(scaled, variant, bands=bands)
        found = in_pixels_of(detector.detect_view(view, confidence=confidence, tile=tile), scaled.shape, sky.shape)
        found = found.select(_blank_share(found.xyxy, blank_parts(rgb_flux(sky, bands))) <= BLANK_SHARE)
    return outlined(sky, found) if measured else found


def own_zoom(sky: Sky) -> float:
    """
    Factor by which a field's own objects ask it to be enlarged.

    Parameters
    ----------
    sky : Field or Mosaic
        Any field; of a mosaic its middle is looked at.

    Returns
    -------
    float
        See `fieldprep.scale.zoom_factor`.
    """
    return zoom_factor(middle_part(sky))


def _averaged_down(detector: Detector, view: View, factor: int, confidence: float, tile: int | None) -> Detections:
    if factor == 1:
        return detector.detect_view(view, confidence=confidence, tile=tile)
    found = detector.detect_view(view.binned(factor), confidence=confidence, tile=tile)
    # the last block of a row or column may reach over the edge
    return replace(found, xyxy=clip_boxes((found.xyxy + CORNER) * factor - CORNER, view.shape))


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
