"""The camera of a real field with as many objects as are in it. Needs the train extra."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fieldprep.census import census
from fieldprep.simulation.camera import Camera, band_planes, camera_of
from fieldprep.simulation.population import Density, area_deg2
from fieldprep.simulation.simulate import Recipe, simulate

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

TRIAL_SEED = 0
RICHEST = (
    4.0  # times the usual density of galaxies; what looks like more is stars run together, as in a globular cluster
)


def matched(folder: Path) -> Camera:
    """
    Camera of a real field, its density such that a simulation shows as many objects.

    Parameters
    ----------
    folder : path
        Folder of the field's band files; see `fieldprep.simulation.camera.camera_like`.

    Returns
    -------
    Camera

    Raises
    ------
    fieldprep.errors.InputError
        If the field cannot be used.

    Notes
    -----
    What SEP calls a star or a galaxy is not always one: in poor seeing small galaxies pass for stars, in a
    crowd stars run together and pass for galaxies. So the r frame is simulated once with the density that is
    seen, and what is then seen of it, against what was put in, corrects the density. More galaxies than any
    field has are taken to be stars run together: the usual density is put in their place, with a note.
    """
    planes = band_planes(folder)
    camera = camera_of(planes)
    image = next(plane.image for plane in planes.values() if plane.band == "r")
    seen, usual = seen_density(image, camera.pixel_scale), Density()
    if seen.galaxies > RICHEST * usual.galaxies:
        note = f"{folder}: crowded with stars, which hides its galaxies; as many as are usual are put in"
        density = replace(_corrected(replace(seen, galaxies=usual.galaxies), camera), galaxies=usual.galaxies)
        return replace(camera, density=density, notes=(*camera.notes, note))
    return replace(camera, density=_corrected(seen, camera))


def _corrected(seen: Density, camera: Camera) -> Density:
    """Density by what is seen of a trial frame, and what was put into it."""
    trial = simulate(TRIAL_SEED, camera=Camera({"r": camera.reference}, seen), recipe=Recipe())
    stars = (trial.truth["kind"] == "star").to_numpy()
    area = area_deg2(camera.reference.shape, camera.pixel_scale)
    given = Density.of(trial.truth["modelMag_r"].to_numpy(), stars, area)
    found = seen_density(trial.images["r"], camera.pixel_scale)
    return Density(
        seen.galaxies * given.galaxies / found.galaxies if found.galaxies else seen.galaxies,
        seen.stars * given.stars / found.stars if found.stars else seen.stars,
    )


def seen_density(image: npt.NDArray[np.float32], pixel_scale: float) -> Density:
    """
    Density of objects as SEP sees them in an r frame.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Nanomaggies.
    pixel_scale : float
        Arcsec per pixel.

    Returns
    -------
    Density
    """
    objects = census(image)
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = 22.5 - 2.5 * np.log10(objects.flux)
    return Density.of(magnitude, objects.star, area_deg2((image.shape[0], image.shape[1]), pixel_scale))
