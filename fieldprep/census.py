"""What plain SEP sees in one image: where its objects are, how large, which are stars, and how noisy its sky is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import sep
from astropy.stats import sigma_clip

from fieldprep.sky import dithered, narrowest_quarter

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DETECT_SIGMA = 1.5
LEAST_PIXELS = 5
CONTRAST = 0.005  # SEP's own
THINNEST_PX = 0.3  # semi-axis: a line one pixel wide has none, which no aperture can be made of
SUB_OBJECTS = 100_000  # pieces that one connected crowd of stars may be taken apart into
MESH_PX = 128  # of the background: a bright galaxy is not taken for sky
EXTENDED = 1.25  # half-light radius over the stars', above which an object is a galaxy: the usual cut on SDSS fields
WELL_MEASURED = 40.0  # signal to noise of the objects that show where the stars' radii lie
CLIPPED_AT_3_SIGMA = 0.9866  # standard deviation of a normal distribution cut at 3 sigma, over the whole one's


@dataclass(frozen=True, eq=False)
class Census:
    """
    Objects of one image.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        The image less its background; 0 where there is no data.
    segments : 2D int32 `~numpy.ndarray`, shape (ny, nx)
        0 for sky, k + 1 for the pixels of object k.
    missing : 2D bool `~numpy.ndarray`, shape (ny, nx)
        True = no data.
    x, y : 1D `~numpy.ndarray`, shape (N,)
        Centroids, 0-based pixels.
    flux : 1D `~numpy.ndarray`, shape (N,)
        Within 2.5 Kron radii, in the image's unit.
    peak : 1D `~numpy.ndarray`, shape (N,)
        Brightest pixel.
    half_light : 1D `~numpy.ndarray`, shape (N,)
        Half-light radius in pixels.
    signal_to_noise : 1D `~numpy.ndarray`, shape (N,)
        Of the light over the threshold.
    blended : 1D bool `~numpy.ndarray`, shape (N,)
        Whether SEP took it apart from a neighbour, or the image's edge cuts it.
    stellar : float
        The stars' half-light radius in pixels; NaN with no object.
    noise : float
        One-sigma noise of a pixel of sky.
    """

    image: npt.NDArray[np.float32]
    segments: npt.NDArray[np.int32]
    missing: Bools
    x: Floats
    y: Floats
    flux: Floats
    peak: Floats
    half_light: Floats
    signal_to_noise: Floats
    blended: Bools
    stellar: float
    noise: float

    def __len__(self) -> int:
        return len(self.x)

    @property
    def star(self) -> Bools:
        """Whether each object is as concentrated as a star, shape (N,)."""
        return self.half_light < EXTENDED * self.stellar


@dataclass(frozen=True, eq=False)
class Extracted:
    """
    What SEP finds in one image, not yet measured.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        The image less its background; 0 where there is no data.
    objects : structured `~numpy.ndarray`, shape (N,)
        As `sep.extract` gives them.
    segments : 2D int32 `~numpy.ndarray`, shape (ny, nx)
        0 for sky, k + 1 for the pixels of object k.
    missing : 2D bool `~numpy.ndarray`, shape (ny, nx)
        True = no data.
    noise : float
        One-sigma noise of a pixel, as SEP's background has it.
    """

    image: npt.NDArray[np.float32]
    objects: npt.NDArray[np.void]
    segments: npt.NDArray[np.int32]
    missing: Bools
    noise: float

    @property
    def signal_to_noise(self) -> Floats:
        """Signal to noise of each object's light over the threshold, shape (N,)."""
        pixels = np.maximum(self.objects["npix"], 1)
        return np.asarray(self.objects["flux"] / (self.noise * np.sqrt(pixels)), np.float64)


def extracted(
    image: npt.NDArray[np.float32], *, sigma: float = DETECT_SIGMA, mesh_px: int = MESH_PX, contrast: float = CONTRAST
) -> Extracted:
    """
    Detect the objects of one image.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Any unit; NaN where there is no data.
    sigma : float
        Threshold of a pixel, in sigma of the sky.
    mesh_px : int
        Mesh of the background.
    contrast : float
        Least share of the light of a piece that is taken for an object of its own.

    Returns
    -------
    Extracted

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393; Barbary 2016, JOSS 1, 58.
    """
    missing = ~np.isfinite(image)
    data = np.where(missing, np.float32(0), image).astype(np.float32)
    mesh = min(mesh_px, *image.shape)
    background = sep.Background(dithered(data), mask=missing, bw=mesh, bh=mesh)
    data -= background.back()
    data[missing] = 0
    # a crowded field overflows SEP's defaults, and stops
    sep.set_extract_pixstack(max(sep.get_extract_pixstack(), data.size))
    sep.set_sub_object_limit(max(sep.get_sub_object_limit(), SUB_OBJECTS))
    objects, segments = sep.extract(
        data,
        sigma,
        err=background.globalrms,
        mask=missing,
        minarea=LEAST_PIXELS,
        deblend_cont=contrast,
        segmentation_map=True,
    )
    return Extracted(data, objects, segments, missing, background.globalrms)


def census(image: npt.NDArray[np.float32]) -> Census:
    """
    Detect and measure the objects of one image.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Any unit; NaN where there is no data.

    Returns
    -------
    Census

    Notes
    -----
    The stars' half-light radius is the mode of that of well-measured objects: the middle of the narrowest
    interval that holds a quarter of them.
    """
    seen = extracted(image)
    data, objects, segments, missing = seen.image, seen.objects, seen.segments, seen.missing
    flux, half = _light(data, objects, segments, missing)
    strength = seen.signal_to_noise
    good = (strength > WELL_MEASURED) & (half > 0.5)
    stellar = (
        narrowest_quarter(half[good]) if good.sum() >= 8 else float(np.median(half)) if len(half) else float("nan")
    )
    return Census(
        image=data,
        segments=segments,
        missing=missing,
        x=objects["x"],
        y=objects["y"],
        flux=flux,
        peak=objects["peak"].astype(np.float64),
        half_light=half,
        signal_to_noise=strength,
        blended=objects["flag"] != 0,
        stellar=stellar,
        noise=pixel_noise(data, (segments > 0) | missing),
    )


def pixel_noise(image: npt.NDArray[np.float32], covered: Bools) -> float:
    """
    One-sigma noise of a pixel of empty sky.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Flux in any unit.
    covered : 2D bool `~numpy.ndarray`, shape (ny, nx)
        True = source or no data.

    Returns
    -------
    float
        In the unit of ``image``; NaN where no two neighbours are free.

    Notes
    -----
    From the differences of neighbours along the rows, five pixels away from any source: neither faint
    galaxies nor a slope of the sky enter. The spread is a clipped standard deviation, since on quantised
    frames the median absolute deviation itself comes in steps, of a tenth of the noise on SDSS ones.
    """
    near = cv2.dilate(covered.astype(np.uint8), np.ones((11, 11), np.uint8)).astype(bool)
    free = ~near[:, 1:] & ~near[:, :-1]
    differences = (image[:, 1:] - image[:, :-1])[free]
    if differences.size < 2:
        return float("nan")
    kept = sigma_clip(differences, sigma=3, maxiters=10, masked=False)
    return float(np.std(kept) / np.sqrt(2) / CLIPPED_AT_3_SIGMA)


def _light(
    data: npt.NDArray[np.float32], objects: npt.NDArray[np.void], segments: npt.NDArray[np.int32], missing: Bools
) -> tuple[Floats, Floats]:
    """Kron fluxes and half-light radii, neighbours' pixels left out."""
    if len(objects) == 0:
        return np.zeros(0), np.zeros(0)
    x, y, a, b = objects["x"], objects["y"], *(np.maximum(objects[name], THINNEST_PX) for name in ("a", "b"))
    theta = np.clip(objects["theta"], -np.pi / 2, np.pi / 2)  # rounding takes some over, which SEP then refuses
    own = {"mask": missing, "segmap": segments, "seg_id": np.arange(1, len(objects) + 1)}
    kron, _ = sep.kron_radius(data, x, y, a, b, theta, 6.0, **own)
    kron = np.clip(np.nan_to_num(kron, nan=2.0), 1.4, 8.0)
    flux, _, _ = sep.sum_ellipse(data, x, y, a, b, theta, 2.5 * kron, subpix=1, **own)
    half, _ = sep.flux_radius(data, x, y, 6.0 * a, 0.5, normflux=flux, subpix=5, **own)
    return flux, half
