"""What a catalogue says of the object in the middle of a stamp: its size, its shape, how its light is concentrated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import sep

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.float64]

APERTURES_PX = (1.5, 2.5, 4.0, 7.5)
THRESHOLD = 1.5  # of the noise of the sky
FARTHEST_PX = 6.0  # of an object from the middle
RING = 8  # the sky is that of the outermost eighth of a stamp's side
CATALOGUE_FEATURES = (
    "concentration",
    "half_light",
    "radii_ratio",
    "magnitude",
    "major",
    "minor",
    "ellipticity",
    "sharpness",
    "pixels",
    "signal_to_noise",
)


def catalogue_features(stamps: npt.NDArray[Any] | Sequence[npt.NDArray[Any]]) -> Floats:
    """
    Measure the object in the middle of each stamp, as SExtractor does.

    Parameters
    ----------
    stamps : sequence of N 3D `~numpy.ndarray`, shape (ny, nx, C)
        Stamps; the middle channel is measured.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (N, 10)
        What `CATALOGUE_FEATURES` names: share of the light within 7.5 px that is within 2.5 px, radius of half of it in
        px, ratio of the radii of 80 and 20 %, its magnitude (zero point 0), semi-major and semi-minor axis in px and
        ellipticity by second moments over 1.5 sigma, the highest pixel's share of the light, pixels over 1.5 sigma, and
        the light over its noise. NaN where there is no object.

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393, by `sep`.
    """
    return np.array([_of_stamp(np.asarray(stamp)) for stamp in stamps]).reshape(len(stamps), len(CATALOGUE_FEATURES))


def _of_stamp(stamp: npt.NDArray[Any]) -> list[float]:
    plane = stamp[..., stamp.shape[2] // 2].astype(np.float64)
    ny, nx = plane.shape
    wide = max(1, min(ny, nx) // RING)
    ring = np.ones(plane.shape, np.bool_)
    ring[wide:-wide, wide:-wide] = False
    around = plane[ring & np.isfinite(plane)]
    nothing = [np.nan] * len(CATALOGUE_FEATURES)
    if not len(around):
        return nothing
    sky = np.median(around)
    noise = max(1.4826 * np.median(np.abs(around - sky)), 1e-3 * np.nanmax(np.abs(plane - sky)), 1e-12)
    image = np.ascontiguousarray(np.nan_to_num(plane - sky))
    found = sep.extract(image, THRESHOLD * noise, minarea=3)
    distance = np.hypot(found["x"] - (nx - 1) / 2, found["y"] - (ny - 1) / 2)
    if not len(found) or distance.min() > FARTHEST_PX:
        return nothing
    one = found[int(distance.argmin())]
    x, y = float(one["x"]), float(one["y"])
    light = [float(sep.sum_circle(image, [x], [y], radius)[0][0]) for radius in APERTURES_PX]
    total = max(light[-1], noise)
    radii = sep.flux_radius(image, [x], [y], [APERTURES_PX[-1]], [0.2, 0.5, 0.8], normflux=[total], subpix=5)[0][0]
    return [
        light[1] / total,
        float(radii[1]),
        float(radii[2] / max(radii[0], 1e-3)),
        float(-2.5 * np.log10(total)),
        float(one["a"]),
        float(one["b"]),
        float(1 - one["b"] / one["a"]),
        float(one["peak"] / total),
        float(one["npix"]),
        float(total / (noise * np.sqrt(np.pi) * APERTURES_PX[-1])),
    ]
