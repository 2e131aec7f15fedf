"""photutils with a cut on concentration: background, threshold, deblending and a catalogue, as its manual does it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from astropy.convolution import convolve_fft
from photutils.background import Background2D, MedianBackground
from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources, make_2dgaussian_kernel

from detector.rivals.sep_objects import ranked
from fieldprep.boxes import SEMI_MAJOR, clip_boxes, petrosian_boxes
from fieldprep.sky import dithered, narrowest_quarter

if TYPE_CHECKING:
    from detector.detections import Detections
    from fieldprep.field import Field

MESH_PX = 64
DETECT_SIGMA = 1.5
LEAST_PIXELS = 10
SMOOTHED_PX = 3.0  # full width at half maximum of the kernel
EXTENDED = 1.25
KRON_RADII = 1.7


def photutils_detect(field: Field, band: str | None = None, *, extended: float = EXTENDED) -> Detections:
    """
    Galaxies by photutils: segments of one band, deblended, those less concentrated than the stars kept.

    Parameters
    ----------
    field : Field
        The field.
    band : str, optional
        Band to detect in; by default the middle one.
    extended : float
        Least half-light radius of a galaxy, in stellar half-light radii of the field.

    Returns
    -------
    Detections
        By falling confidence; the confidence is no probability, only the rank of the segment's flux. The box is
        that of an ellipse of 1.7 Kron radii, no side under 8 px.

    References
    ----------
    Bradley et al., photutils, doi:10.5281/zenodo.596036; its manual, "Image Segmentation".
    """
    name = band or list(field.bands)[len(field.bands) // 2]
    catalogue, noise = _catalogue(field.bands[name])
    if catalogue is None:
        return ranked(np.zeros((0, 4)), np.zeros(0))
    flux = np.atleast_1d(catalogue.segment_flux)
    half = np.nan_to_num(np.atleast_1d(catalogue.flux_radius(0.5).value))
    bright = (flux > 40 * noise * np.sqrt(np.atleast_1d(catalogue.area.value))) & (half > 0.5)
    stellar = narrowest_quarter(half[bright]) if bright.sum() >= 8 else float(np.median(half))
    galaxy = half > extended * stellar
    return ranked(clip_boxes(_boxes(catalogue)[galaxy], field.shape), flux[galaxy])


def _catalogue(image: npt.NDArray[np.float32]) -> tuple[SourceCatalog | None, float]:
    """Catalogue of one image, None where nothing is seen; and the noise of a pixel."""
    missing = ~np.isfinite(image)
    data = dithered(np.where(missing, np.float32(0), image))
    if not data.any():
        return None, 0.0
    mesh = (min(MESH_PX, data.shape[0]), min(MESH_PX, data.shape[1]))
    background = Background2D(data, mesh, mask=missing, bkg_estimator=MedianBackground())
    data = data - background.background
    kernel = make_2dgaussian_kernel(SMOOTHED_PX, size=5)
    smooth = convolve_fft(data, kernel, mask=missing, normalize_kernel=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no source, or a blend it cannot take apart by its exponential levels
        segments = detect_sources(smooth, DETECT_SIGMA * background.background_rms, LEAST_PIXELS, mask=missing)
        if segments is None:
            return None, background.background_rms_median
        segments = deblend_sources(smooth, segments, LEAST_PIXELS, progress_bar=False)
    catalogue = SourceCatalog(data, segments, convolved_data=smooth, mask=missing)
    return catalogue, float(background.background_rms_median)


def _boxes(catalogue: SourceCatalog) -> npt.NDArray[np.float64]:
    x, y, kron, major, minor, angle = (
        np.atleast_1d(getattr(value, "value", value)).astype(np.float64)
        for value in (
            catalogue.x_centroid,
            catalogue.y_centroid,
            catalogue.kron_radius,
            catalogue.semimajor_axis,
            catalogue.semiminor_axis,
            catalogue.orientation,
        )
    )
    radius = KRON_RADII / SEMI_MAJOR * np.nan_to_num(kron, nan=2.0) * major
    return petrosian_boxes(x, y, radius, minor / np.maximum(major, 1e-6), angle)
