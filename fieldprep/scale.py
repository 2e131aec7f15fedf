"""From a field's own objects to the scale the networks know: by how much to shrink or enlarge it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fieldprep.census import census
from fieldprep.levels import blank, white_of
from fieldprep.sky import sky_level_and_noise

if TYPE_CHECKING:
    import numpy.typing as npt

    from fieldprep.field import BoolImage, Field, FloatImage

TYPICAL_PX = 2.15  # median half-light radius of what SEP sees on an SDSS field
TRAINED_ARCSEC = (0.33, 0.46)  # pixel scales, SDSS's among them, at which a field is taken as it is
AS_IT_IS = 0.1  # a factor so near to 1 is not worth the resampling
LEAST_OBJECTS = 10
LEAST_STRENGTH = 5.0  # signal to noise of the objects that count
LIMITS = (0.1, 2.0)
LOOKED_AT_PX = 2048  # side of the part of a large field that is measured


def zoom_factor(field: Field) -> float:
    """
    Factor by which a field is to be enlarged to look as the fields do that the networks are trained on.

    Parameters
    ----------
    field : Field
        Any field, with or without a pixel scale.

    Returns
    -------
    float
        2.15 px over the median half-light radius of the field's objects, stars and galaxies, 0.1 to 2. Exactly 1
        where the pixel scale is SDSS's or near it, where the factor would be within a tenth of 1, and where there
        are under ten objects to tell by.

    Notes
    -----
    The median speaks for the seeing where the objects are mostly stars or unresolved, and for the galaxies' sizes
    where they are resolved; it needs neither a star nor a pixel scale.
    """
    if field.pixel_scale is not None and TRAINED_ARCSEC[0] <= field.pixel_scale <= TRAINED_ARCSEC[1]:
        return 1.0
    sizes = _half_light_radii(field)
    if len(sizes) < LEAST_OBJECTS:
        return 1.0
    factor = float(np.clip(TYPICAL_PX / np.median(sizes), *LIMITS))
    return 1.0 if abs(factor - 1) <= AS_IT_IS else factor


def resampled(field: Field, zoom: float) -> Field:
    """
    Field enlarged or shrunk.

    Parameters
    ----------
    field : Field
        Any field.
    zoom : float
        Factor; 1 gives the field itself.

    Returns
    -------
    Field
        The flux by area averages (shrunk) or cubic (enlarged), not finite where a pixel in reach is not; no WCS,
        no noise. A display picture is still known as one: its white is in ``provenance``.
    """
    if zoom == 1:
        return field
    ny, nx = field.shape
    size = max(1, round(nx * zoom)), max(1, round(ny * zoom))
    way = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    empty = _resized(blank(np.stack(list(field.bands.values()), axis=-1)).astype(np.float32), size, cv2.INTER_AREA) == 1
    bands = {}
    for band, image in field.bands.items():
        # a mean of equal values is not equal to them to the last digit, and blank would no longer be known as such
        bands[band] = np.where(empty, _resized(image, size, cv2.INTER_NEAREST), _resized(image, size, way))
    share = _resized(field.mask.astype(np.float32), size, cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    return replace(
        field,
        bands=bands,
        mask=np.asarray(share >= 0.5, np.bool_),
        noise={},
        wcs=None,
        pixel_scale=None if field.pixel_scale is None else field.pixel_scale / zoom,
        provenance={**field.provenance, "white": white_of(field)},
    )


def _resized(image: FloatImage, size: tuple[int, int], way: int) -> FloatImage:
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=way), np.float32)


def _half_light_radii(field: Field) -> npt.NDArray[np.float64]:
    """Half-light radii in pixels of what SEP sees in the middle of a field, all bands together."""
    ny, nx = field.shape
    y0, x0 = max(0, (ny - LOOKED_AT_PX) // 2), max(0, (nx - LOOKED_AT_PX) // 2)
    part = slice(y0, y0 + LOOKED_AT_PX), slice(x0, x0 + LOOKED_AT_PX)
    bands = [image[part] for image in field.bands.values()]
    nothing: BoolImage = blank(np.stack(bands, axis=-1)) | field.mask[part]
    if nothing.all():
        return np.zeros(0)
    levels = [sky_level_and_noise(image, nothing) for image in bands]
    summed = np.sum([(image - level) / noise for image, (level, noise) in zip(bands, levels, strict=True)], axis=0)
    seen = census(np.where(nothing, np.nan, summed).astype(np.float32))
    sizes: npt.NDArray[np.float64] = seen.half_light[(seen.signal_to_noise > LEAST_STRENGTH) & (seen.half_light > 0.5)]
    return sizes
