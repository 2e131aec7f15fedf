"""
Simulated fields with exact truth, rendered with GalSim. Needs the train extra.

A scene of galaxies and stars (`population`, `groups`) is drawn (`rendering`, `profiles`) through a camera, SDSS's or
that of a real field (`camera`, `psf`, `likeness`), with artefacts if asked (`artefacts`, `stray_light`,
`stray_charge`). What the numbers are taken from stands beside each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fieldprep.simulation import groups, population
from fieldprep.simulation.artefacts import USUAL, Exposure, artefact_table, mask_on_grid
from fieldprep.simulation.camera import Camera, sdss_camera
from fieldprep.simulation.rendering import add_stamp, draw_stars, galaxy_stamps, measured, on_frame, truth_table
from fieldprep.simulation.stray_charge import draw_stray_charge, fill_wells
from fieldprep.simulation.stray_light import draw_stray_light

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from astropy.wcs import WCS

SDSS_SHAPE = (1489, 2048)
# counts by which the sky that was subtracted changes over a frame, as in SDSS's; in steps, so that a frame compresses
SKY_DRIFT, SKY_STEPS = 0.7, 8


@dataclass(frozen=True)
class Recipe:
    """
    What to put into a simulated field.

    Parameters
    ----------
    crowding : float
        Factor on the density of stars.
    cluster : int
        Stars of a globular cluster in the middle.
    arcs : int
        Lensed galaxies around a group.
    shear : float
        Reduced shear of each arc, from 0 to below 1.
    artefacts : tuple of str
        Kinds of `fieldprep.simulation.artefacts.KINDS`.
    seeing : (float, float), optional
        Range of the FWHM in r, arcsec, that each field's is drawn from evenly; by default within 7 % of the
        survey's median. A camera that is given brings its own.
    """

    crowding: float = 1.0
    cluster: int = 0
    arcs: int = 0
    shear: float = 0.5
    artefacts: tuple[str, ...] = USUAL
    seeing: tuple[float, float] | None = None


@dataclass(frozen=True)
class Simulated:
    """
    A simulated field.

    Parameters
    ----------
    images : dict of str to 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Flux in nanomaggies by band, each on its own grid.
    camera : Camera
        What it was taken with.
    truth : `~pandas.DataFrame`
        Columns of the SDSS catalogues: ``ra, dec, x, y, type, modelMag_g, modelMag_r, modelMag_i, petroRad_r,
        petroR50_r, petroR90_r, axis_ratio, theta_deg, ignore``; ``x, y`` on the r grid. Besides, ``kind``
        (``smooth``, ``spiral``, ``merger``, ``arc``, ``star``), ``bulge_fraction`` of the r light, ``shear``,
        and ``injected`` (1: added to a real field).
    artefacts : `~pandas.DataFrame`
        See `fieldprep.simulation.artefacts.artefact_table`.
    masks : dict of str to 2D uint8 `~numpy.ndarray`, shape (ny, nx)
        Artefacts by band, as bits, on the r grid.
    """

    images: dict[str, npt.NDArray[np.float32]]
    camera: Camera
    truth: pd.DataFrame
    artefacts: pd.DataFrame
    masks: dict[str, npt.NDArray[np.uint8]]

    @property
    def wcs(self) -> dict[str, WCS]:
        """WCS of each band."""
        return {band: camera.wcs for band, camera in self.camera.bands.items()}


def simulate(
    seed: int | np.random.SeedSequence,
    shape: tuple[int, int] = SDSS_SHAPE,
    *,
    camera: Camera | None = None,
    recipe: Recipe | None = None,
) -> Simulated:
    """
    Render a field.

    Parameters
    ----------
    seed : int or `~numpy.random.SeedSequence`
        The same seed gives the same field.
    shape : (ny, nx)
        Shape of each band of SDSS's camera.
    camera : Camera, optional
        What to take it with, which brings its own shape; by default SDSS's.
    recipe : Recipe, optional
        What to put in; by default an ordinary field.

    Returns
    -------
    Simulated

    Notes
    -----
    Petrosian radii, axis ratios and angles are measured on each galaxy's own noiseless r image, seeing
    included, as a catalogue's are. ``ignore`` marks galaxies under a bright star: within their half-light
    radius there is more light of stars than of themselves; and whatever is centred where a band has no frame.
    Each of the camera, the galaxies, the stars, the group with its arcs and the exposure has a stream of random
    numbers of its own, so that asking for arcs moves no star.
    """
    recipe = recipe or Recipe()
    night, sky, crowd, lens, exposing = generators(seed, 5)
    camera = camera or sdss_camera(night, shape, seeing=recipe.seeing)
    shape, scale, density = camera.reference.shape, camera.pixel_scale, camera.density
    galaxies = population.galaxies(sky, shape, scale, density)
    if recipe.arcs:
        galaxies = pd.concat([galaxies, groups.arcs(lens, shape, scale, recipe.arcs, recipe.shear)])
    stars = population.stars(crowd, shape, scale, replace(density, stars=density.stars * recipe.crowding))
    stars = pd.concat([stars, groups.cluster(crowd, shape, recipe.cluster)])
    spike_angle = night.uniform(0, 90)
    shapes: list[tuple[float, ...]] = []
    exposures = []
    for band, part in camera.bands.items():
        exposure = Exposure(band, np.zeros(part.shape), part, scale)
        draw_stars(exposure, on_frame(stars, camera, band))
        star_light = exposure.image.copy()
        here = on_frame(galaxies, camera, band)
        for row, stamp in zip(population.rows(here), galaxy_stamps(here, part, band, scale), strict=True):
            add_stamp(exposure.image, stamp)
            if band == "r":
                shapes.append(measured(stamp, row, scale, star_light))
        draw_stray_light(exposure, recipe.artefacts, on_frame(stars, camera, band), spike_angle, exposing)
        expose(exposure, recipe.artefacts, exposing)
        exposures.append(exposure)
    return Simulated(
        {exposure.band: exposure.image.astype(np.float32) for exposure in exposures},
        camera,
        truth_table(galaxies, shapes, stars, camera),
        artefact_table(exposures, camera.reference),
        {exposure.band: mask_on_grid(exposure, camera.reference) for exposure in exposures},
    )


def generators(seed: int | np.random.SeedSequence, count: int) -> list[np.random.Generator]:
    """Independent generators of one seed, the same at every call."""
    if isinstance(seed, int):
        seed = np.random.SeedSequence(seed)
    # a sequence counts what it has given out; a copy of it starts over
    fresh = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)
    return [np.random.default_rng(child) for child in fresh.spawn(count)]


def expose(exposure: Exposure, artefacts: Sequence[str], rng: np.random.Generator) -> None:
    """
    Turn light into a frame: noise of the sky and of the light, stray charge, full wells, whole counts.

    Parameters
    ----------
    exposure : Exposure
        Its image is light; changed in place.
    artefacts : sequence of str
        Kinds to draw.
    rng : `~numpy.random.Generator`
    """
    image, camera = exposure.image, exposure.camera
    noise = np.sqrt(camera.noise**2 + np.maximum(image, 0) / camera.electrons)
    image += rng.normal(0, 1, image.shape) * noise
    draw_stray_charge(exposure, artefacts, rng)
    fill_wells(exposure, artefacts)
    if camera.count:
        # counts are whole before the sky is taken off, and the sky is not
        step = np.arange(image.shape[0])[:, None] * SKY_STEPS // image.shape[0]
        sky = rng.uniform(0, 1) + SKY_DRIFT * step / (SKY_STEPS - 1)
        image[:] = (np.rint(image / camera.count + sky) - sky) * camera.count
