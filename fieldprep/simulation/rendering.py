"""Galaxies and stars onto a band's pixels, and what is measured of each galaxy's own image. Needs the train extra."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import galsim
import numpy as np
import pandas as pd

from fieldprep.simulation.growth import Growth
from fieldprep.simulation.population import flux, rows
from fieldprep.simulation.profiles import bulge_share, galaxy_profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from fieldprep.simulation.artefacts import Exposure
    from fieldprep.simulation.camera import BandCamera, Camera

    Floats = npt.NDArray[np.float64]

EFFECTIVE = "no_pixel"  # the PSF is that measured on frames, so the pixel is in it already
STAMP_RADII = 8.0  # half-side of a galaxy's stamp, in half-light radii and another arcsec for the seeing
STAR_EDGE = 0.02  # of the sky noise: a star is drawn out to where it is fainter
SMALLEST_STAR_PX, LARGEST_STAR_PX = 20, 400
GALAXY, STAR = 3, 6
MEASURED = ("petroRad_r", "petroR50_r", "petroR90_r", "axis_ratio", "theta_deg", "bulge_fraction", "ignore")
TRUTH_COLUMNS = (
    *("ra", "dec", "x", "y", "type", "kind", "modelMag_g", "modelMag_r", "modelMag_i"),
    *MEASURED[:-1],
    *("shear", "injected", "ignore"),
)


def on_frame(objects: pd.DataFrame, camera: Camera, band: str) -> pd.DataFrame:
    """Objects with ``x, y`` moved from the r frame to a band's, by the two WCSs."""
    if band == "r":
        return objects
    x, y = camera.bands[band].wcs.world_to_pixel_values(
        *camera.reference.wcs.pixel_to_world_values(objects["x"].to_numpy(), objects["y"].to_numpy())
    )
    return objects.assign(x=x, y=y)


def draw_stars(exposure: Exposure, stars: pd.DataFrame) -> None:
    """
    Add stars to a frame.

    Parameters
    ----------
    exposure : Exposure
        Changed in place.
    stars : `~pandas.DataFrame`
        Stars of `fieldprep.simulation.population.stars`, ``x, y`` in this frame.
    """
    camera, scale = exposure.camera, exposure.pixel_scale
    radii = np.arange(SMALLEST_STAR_PX, LARGEST_STAR_PX, dtype=np.float64)
    profile = camera.psf.value(radii * scale) * scale**2
    for star in rows(stars):
        light = flux(getattr(star, f"modelMag_{exposure.band}"))
        bright = int(np.sum(light * profile > STAR_EDGE * camera.noise))
        part = exposure.around(star.x, star.y, SMALLEST_STAR_PX + bright)
        y, x = np.ogrid[part]
        exposure.image[part] += light * scale**2 * camera.psf.at((x - star.x) * scale, (y - star.y) * scale)


def galaxy_stamps(galaxies: pd.DataFrame, camera: BandCamera, band: str, pixel_scale: float) -> Iterator[Any]:
    """
    Draw the image of each galaxy, seeing included.

    Parameters
    ----------
    galaxies : `~pandas.DataFrame`
        Galaxies of `fieldprep.simulation.population.galaxies`, ``x, y`` in this band's frame.
    camera : BandCamera
        The band.
    band : {'g', 'r', 'i'}
        Its name.
    pixel_scale : float
        Arcsec per pixel.

    Yields
    ------
    `galsim.Image`
        Nanomaggies a pixel, square, of odd side, about the galaxy's centre in the frame's own pixels; it may
        reach over the frame's edge.
    """
    psf = camera.psf.profile()
    for row in rows(galaxies):
        stretch = math.sqrt((1 + row.shear) / (1 - row.shear))
        half = math.ceil(STAMP_RADII * (row.radius * stretch + 1) / pixel_scale)
        stamp = galsim.ImageD(_square(round(row.x), round(row.y), half), scale=pixel_scale)
        light = galsim.Convolve(galaxy_profile(row, band), psf)
        light.drawImage(stamp, center=galsim.PositionD(row.x, row.y), method=EFFECTIVE)
        yield stamp


def add_stamp(image: Floats, stamp: Any) -> None:
    """Add a stamp to a frame, ``image`` of shape (ny, nx), what reaches over its edge left out."""
    canvas = galsim.ImageD(image, xmin=0, ymin=0)
    overlap = stamp.bounds & canvas.bounds
    if overlap.isDefined():
        canvas[overlap] += stamp[overlap]


def measured(stamp: Any, row: Any, pixel_scale: float, star_light: Floats) -> tuple[float, ...]:
    """
    Measure one galaxy on its own noiseless r image.

    Parameters
    ----------
    stamp : `galsim.Image`
        Its image in r.
    row : named tuple
        The galaxy.
    pixel_scale : float
        Arcsec per pixel.
    star_light : 2D `~numpy.ndarray`, shape (ny, nx)
        Light of the stars in the r frame.

    Returns
    -------
    tuple of float
        `MEASURED`: Petrosian radius, and those of half and nine tenths of the Petrosian flux (arcsec), axis
        ratio, angle (degrees from +x towards +y), share of the bulge, and 1 where the stars are brighter
        within the half-light radius.
    """
    growth = Growth(stamp.array, centre=(row.x - stamp.center.x, row.y - stamp.center.y))
    petrosian = growth.petrosian_radius()
    half_light = growth.light_radius(0.5, petrosian)
    moments = stamp.FindAdaptiveMom(guess_centroid=galsim.PositionD(row.x, row.y), strict=False)
    shape = moments.observed_shape if moments.moments_status == 0 else galsim.Shear()
    inner = _square(row.x, row.y, half_light) & galsim.ImageD(star_light, xmin=0, ymin=0).bounds & stamp.bounds
    outshone = False
    if inner.isDefined():
        stars = star_light[inner.ymin : inner.ymax + 1, inner.xmin : inner.xmax + 1]
        outshone = bool(stars.sum() > stamp[inner].array.sum())
    radii = (petrosian, half_light, growth.light_radius(0.9, petrosian))
    return (
        *(radius * pixel_scale for radius in radii),
        shape.q,
        shape.beta.deg,
        bulge_share(row, "r"),
        float(outshone),
    )


def truth_table(
    galaxies: pd.DataFrame, shapes: Sequence[tuple[float, ...]], stars: pd.DataFrame, camera: Camera
) -> pd.DataFrame:
    """
    Truth of a field.

    Parameters
    ----------
    galaxies, stars : `~pandas.DataFrame`
        What was drawn, ``x, y`` on the r frame.
    shapes : sequence of tuple of float
        `MEASURED` of each galaxy.
    camera : Camera
        What it was drawn through.

    Returns
    -------
    `~pandas.DataFrame`
        `TRUTH_COLUMNS`, the brightest first; objects centred off the r frame are left out, and those off another
        band's are ignored.
    """
    truth = galaxies.copy()
    truth["type"] = GALAXY
    truth[list(MEASURED)] = np.array(shapes).reshape(-1, len(MEASURED))
    point = stars.copy()
    size = 2 * SMALLEST_STAR_PX + 1
    star = camera.reference.psf.profile().drawImage(nx=size, ny=size, scale=camera.pixel_scale, method=EFFECTIVE)
    growth = Growth(star.array)
    petrosian = growth.petrosian_radius()
    radii = (petrosian, growth.light_radius(0.5, petrosian), growth.light_radius(0.9, petrosian))
    point["type"], point["kind"], point["shear"] = STAR, "star", 0.0
    point[list(MEASURED)] = [*(radius * camera.pixel_scale for radius in radii), 1.0, 0.0, np.nan, 0.0]
    both = pd.concat([truth, point], ignore_index=True).astype({"ignore": int})
    both["injected"] = 0
    both = both[_inside(both, camera.reference.shape)]
    both.loc[~_in_all_bands(both, camera), "ignore"] = 1
    both["ra"], both["dec"] = camera.reference.wcs.pixel_to_world_values(both["x"], both["y"])
    return both.sort_values("modelMag_r", ignore_index=True)[list(TRUTH_COLUMNS)]


def _in_all_bands(objects: pd.DataFrame, camera: Camera) -> npt.NDArray[np.bool_]:
    """Whether objects are centred on every band's frame: where one is missing, a field has no usable pixels."""
    there = np.ones(len(objects), np.bool_)
    for band, part in camera.bands.items():
        there &= _inside(on_frame(objects, camera, band), part.shape)
    return there


def _inside(objects: pd.DataFrame, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Whether objects are centred on a frame of this shape."""
    ny, nx = shape
    return (objects["x"].between(-0.5, nx - 0.5) & objects["y"].between(-0.5, ny - 0.5)).to_numpy()


def _square(x: float, y: float, reach: float) -> Any:
    """Pixels whose centres are within a reach of a point, along both axes."""
    return galsim.BoundsI(*(round(v) for v in (x - reach, x + reach, y - reach, y + reach)))
