"""Objects of one image as SEP sees and measures them, for the rivals that are SEP with cuts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sep

from detector.detections import Detections
from fieldprep.boxes import SEMI_MAJOR, clip_boxes, petrosian_boxes
from fieldprep.census import THINNEST_PX, WELL_MEASURED, Extracted
from fieldprep.sky import narrowest_quarter

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Objects:
    """
    Objects of one image.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        The image less its background.
    missing : 2D bool `~numpy.ndarray`, shape (ny, nx)
        True = no data.
    x, y : 1D `~numpy.ndarray`, shape (N,)
        Centroids, 0-based pixels.
    a, b, theta : 1D `~numpy.ndarray`, shape (N,)
        Semi-axes of the light over the threshold in pixels, angle in radians from +x towards +y.
    kron : 1D `~numpy.ndarray`, shape (N,)
        Kron radius in units of ``a``.
    isophotal, flux : 1D `~numpy.ndarray`, shape (N,)
        Light over the threshold, and within 2.5 Kron radii.
    peak : 1D `~numpy.ndarray`, shape (N,)
        Brightest pixel.
    half_light : 1D `~numpy.ndarray`, shape (N,)
        Half-light radius in pixels.
    signal_to_noise : 1D `~numpy.ndarray`, shape (N,)
        Of the light over the threshold.
    """

    image: npt.NDArray[np.float32]
    missing: Bools
    x: Floats
    y: Floats
    a: Floats
    b: Floats
    theta: Floats
    kron: Floats
    isophotal: Floats
    flux: Floats
    peak: Floats
    half_light: Floats
    signal_to_noise: Floats

    def __len__(self) -> int:
        return len(self.x)

    @property
    def stellar(self) -> float:
        """
        Half-light radius of the stars in pixels, NaN with no object.

        The mode of that of well-measured objects: the middle of the narrowest interval that holds a quarter of
        those brighter than 40 sigma.
        """
        return self._stars_have(self.half_light)

    def spread(self) -> Floats:
        """
        Light within two stellar half-light radii over that within one, against the stars' own ratio.

        Wings, halos and neighbours change it less than a half-light radius. 1 for a star, more for a galaxy and
        for a star whose core is saturated; 0 where the inner light is not positive.
        """
        inner, outer = (
            sep.sum_circle(self.image, self.x, self.y, n * self.stellar, mask=self.missing)[0] for n in (1, 2)
        )
        ratio = np.where(inner > 0, outer / np.where(inner > 0, inner, 1), 0.0)
        return np.asarray(ratio / self._stars_have(ratio), np.float64)

    def _stars_have(self, values: Floats) -> float:
        good = (self.signal_to_noise > WELL_MEASURED) & (self.half_light > 0.5)
        if good.sum() >= 8:
            return narrowest_quarter(values[good])
        return float(np.median(values)) if len(self) else float("nan")

    def detections(self, kept: Bools, kron_radii: float, shape: tuple[int, int]) -> Detections:
        """
        Some of the objects as detections.

        Parameters
        ----------
        kept : 1D bool `~numpy.ndarray`, shape (N,)
            Which.
        kron_radii : float
            Half the box in Kron radii; no side gets under 8 px.
        shape : (ny, nx)
            Shape of the field, at whose edges boxes are cut.

        Returns
        -------
        Detections
            By falling confidence, which is no probability, only the rank of the isophotal flux.
        """
        boxes = petrosian_boxes(
            self.x, self.y, kron_radii / SEMI_MAJOR * self.kron * self.a, self.b / self.a, np.degrees(self.theta)
        )
        return ranked(clip_boxes(boxes[kept], shape), self.isophotal[kept])


def ranked(boxes: Floats, brightness: npt.NDArray[Any]) -> Detections:
    """
    Boxes as detections whose confidence is the rank of their brightness.

    Parameters
    ----------
    boxes : 2D `~numpy.ndarray`, shape (N, 4)
        xyxy.
    brightness : 1D `~numpy.ndarray`, shape (N,)
        What to rank by.

    Returns
    -------
    Detections
    """
    rank = np.argsort(np.argsort(brightness)) + 1
    zeros = np.zeros(len(boxes), np.int64)
    return Detections(boxes.astype(np.float64), rank / (len(boxes) + 1), zeros, zeros).sorted()


def measured(seen: Extracted, *, apart: bool = False) -> Objects:
    """
    Measure what SEP found.

    Parameters
    ----------
    seen : Extracted
        As `fieldprep.census.extracted` gives it.
    apart : bool
        Whether each object is measured with its neighbours' pixels masked.

    Returns
    -------
    Objects
    """
    data, rows, missing, n = seen.image, seen.objects, seen.missing, len(seen.objects)
    x, y = rows["x"], rows["y"]
    a, b = (np.maximum(rows[name], THINNEST_PX) for name in ("a", "b"))
    theta = np.clip(rows["theta"], -np.pi / 2, np.pi / 2)  # rounding takes some over, which SEP then refuses
    kron = flux = half = np.zeros(n)
    if n:
        others = {"segmap": seen.segments, "seg_id": np.arange(1, n + 1)} if apart else {}
        kron, _ = sep.kron_radius(data, x, y, a, b, theta, 6.0, mask=missing, **others)
        kron = np.clip(np.nan_to_num(kron, nan=2.0), 1.5, 6.0)
        flux, _, _ = sep.sum_ellipse(data, x, y, a, b, theta, 2.5 * kron, mask=missing, subpix=1, **others)
        half, _ = sep.flux_radius(data, x, y, 6.0 * a, 0.5, normflux=flux, mask=missing, subpix=5, **others)
    return Objects(data, missing, x, y, a, b, theta, kron, rows["flux"], flux, rows["peak"], half, seen.signal_to_noise)
