"""Simulated galaxies added to a real field, for injection-recovery and training. Needs the train extra."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.io import fits

from fieldprep.catalogues import read_table
from fieldprep.census import census
from fieldprep.errors import UsageError
from fieldprep.simulation.artefacts import OF_THE_EXPOSURE, Exposure, artefact_table, mask_on_grid
from fieldprep.simulation.camera import Camera, band_planes, camera_of
from fieldprep.simulation.files import each_folder, write_artefacts, write_compressed
from fieldprep.simulation.population import LARGEST_RADIUS, galaxies_at, rows
from fieldprep.simulation.rendering import add_stamp, galaxy_stamps, measured, on_frame, truth_table
from fieldprep.simulation.simulate import generators
from fieldprep.simulation.stray_charge import draw_stray_charge
from fieldprep.simulation.stray_light import draw_stray_light

if TYPE_CHECKING:
    from pathlib import Path

    from fieldprep.fitsfile import Plane

Floats = npt.NDArray[np.float64]

APART = 20.0  # arcsec between injected galaxies: far enough that none hides another
MARGIN_PX = 20  # off the frame's edges, where some band is missing
CLEAR_RADII = 4.0  # half-light radii of a known source within which `avoid` places nothing
TRIES = 200  # places looked at for each galaxy before giving up


@dataclass(frozen=True)
class Injection:
    """
    What to add to a real field.

    Parameters
    ----------
    galaxies : int
        How many.
    magnitudes : (float, float)
        Range of r, drawn from evenly, so that every magnitude is recovered as well known.
    sizes : (float, float) or None
        Range of half-light radii in arcsec, drawn from evenly in the logarithm; None: as galaxies of the
        magnitude have.
    placing : {'random', 'grid'}
        Where: anywhere, or on a regular grid; 20 arcsec apart in either case.
    avoid : bool
        Whether to keep clear of what is in the field already. Without it some galaxies fall on real ones and
        on stars, as galaxies do, and completeness counts what is lost so.
    artefacts : tuple of str
        Of the kinds ``trail``, ``cosmic_ray``, ``hot_pixels``.
    """

    galaxies: int = 50
    magnitudes: tuple[float, float] = (17.0, 22.0)
    sizes: tuple[float, float] | None = None
    placing: str = "random"
    avoid: bool = False
    artefacts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        of_stars = [kind for kind in self.artefacts if kind not in OF_THE_EXPOSURE]
        if of_stars:
            raise UsageError(
                f"{', '.join(of_stars)} cannot be added to a real field, whose stars have their own; "
                f"there are {', '.join(OF_THE_EXPOSURE)}"
            )
        if self.sizes is not None and not 0 < self.sizes[0] <= self.sizes[1] <= LARGEST_RADIUS:
            raise UsageError(f"sizes of {self.sizes} arcsec: half-light radii go up to {LARGEST_RADIUS:g}")
        if self.placing not in {"random", "grid"}:
            raise UsageError(f"unknown placing {self.placing!r}: it is random or grid")
        if self.placing == "grid" and self.avoid:
            raise UsageError("a grid does not avoid what is in the field; place at random to avoid it")


def write_injected(
    out: Path, into: Path, *, seed: int, number: int = 1, injection: Injection | None = None
) -> list[str]:
    """
    Add galaxies to a real field, each time into a copy of it.

    Parameters
    ----------
    out : path
        The folder to make, or with more than one the folder of their folders, ``NAME-0001`` and on.
    into : path
        Folder of the real field: g, r and i frames in nanomaggies.
    seed : int
        Seed; see `fieldprep.simulation.files.write_fields`.
    number : int
        How many times.
    injection : Injection, optional
        What to add.

    Returns
    -------
    list of str
        What a reader must know of it, one line each.

    Raises
    ------
    fieldprep.errors.InputError
        If the field cannot be used.
    fieldprep.errors.UsageError
        If the galaxies do not fit.
    fieldprep.errors.OutputError
        If a folder cannot be written, or holds something else.

    Notes
    -----
    Frames keep every header and HDU of theirs. ``catalogue.csv`` holds the injected galaxies (``injected`` 1)
    and, if the field's folder has a ``catalogue.csv``, its rows (``injected`` 0), so that training on the field
    does not punish what is really there.
    """
    injection = injection or Injection()
    planes = band_planes(into)
    camera = camera_of(planes)
    known = into / "catalogue.csv"
    real = read_table(known) if known.exists() else pd.DataFrame()
    asked = {"into": str(into.resolve()), "injection": _plain(asdict(injection))}

    def render(sequence: np.random.SeedSequence, folder: Path, name: str) -> None:
        _inject(sequence, folder, name, planes, camera, injection, real)

    each_folder(out, seed, number, asked, render)
    notes = list(camera.notes)
    if real.empty:
        notes.append(f"{into}: no catalogue.csv, so the truth holds the injected galaxies alone")
    return notes


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """As JSON keeps it: tuples are lists there."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


def _inject(
    sequence: np.random.SeedSequence,
    folder: Path,
    name: str,
    planes: dict[Path, Plane],
    camera: Camera,
    injection: Injection,
    real: pd.DataFrame,
) -> None:
    drawing, exposing = generators(sequence, 2)
    by_band = {plane.band: (path, plane) for path, plane in planes.items()}
    reference = by_band["r"][1].image
    galaxies = _galaxies(drawing, reference, camera, injection)
    no_stars = galaxies.iloc[:0]
    shapes: list[tuple[float, ...]] = []
    exposures = []
    for band, part in camera.bands.items():
        path, plane = by_band[band]
        exposure = Exposure(band, np.zeros(part.shape), part, camera.pixel_scale)
        here = on_frame(galaxies, camera, band)
        for row, stamp in zip(rows(here), galaxy_stamps(here, part, band, camera.pixel_scale), strict=True):
            add_stamp(exposure.image, stamp)
            if band == "r":
                shapes.append(measured(stamp, row, camera.pixel_scale, np.zeros(part.shape)))
        draw_stray_light(exposure, injection.artefacts, no_stars, 0.0, exposing)
        # the field's own noise is there already: the light brings its own photons' and no more
        photons = exposing.poisson(np.maximum(exposure.image, 0) * part.electrons)
        exposure.image[:] = photons / part.electrons
        draw_stray_charge(exposure, injection.artefacts, exposing)
        _write_frame(folder / f"{name}-{band}.fits.bz2", path, _added(plane, exposure))
        exposures.append(exposure)
    truth = truth_table(galaxies, shapes, no_stars, camera).assign(injected=1)
    truth["ignore"] = _unusable(reference, by_band["r"][1].unusable, truth)
    _with_real(truth, real).round(6).to_csv(folder / "catalogue.csv", index=False)
    if injection.artefacts:
        masks = {exposure.band: mask_on_grid(exposure, camera.reference) for exposure in exposures}
        write_artefacts(folder, name, artefact_table(exposures, camera.reference), masks)


def _galaxies(
    rng: np.random.Generator, image: npt.NDArray[np.float32], camera: Camera, injection: Injection
) -> pd.DataFrame:
    x, y = _places(rng, image, camera.pixel_scale, injection)
    magnitude = rng.uniform(*injection.magnitudes, len(x))
    radius = None
    if injection.sizes is not None:
        low, high = np.log(injection.sizes)
        radius = np.exp(rng.uniform(low, high, len(x)))
    return galaxies_at(rng, x, y, magnitude, radius)


def _places(
    rng: np.random.Generator, image: npt.NDArray[np.float32], pixel_scale: float, injection: Injection
) -> tuple[Floats, Floats]:
    """Centres in pixels of the r frame, as many as asked for."""
    ny, nx = image.shape
    apart = APART / pixel_scale
    low, high = np.full(2, float(MARGIN_PX)), np.array([nx, ny]) - 1.0 - MARGIN_PX
    if injection.placing == "grid":
        columns = max(1, round(np.sqrt(injection.galaxies * nx / ny)))
        rows = -(-injection.galaxies // columns)
        step = (high - low) / (columns, rows)
        cell = np.stack(np.divmod(np.arange(injection.galaxies), columns)[::-1], axis=1)
        # off the pixels' centres, each differently, or every galaxy would be sampled alike
        candidates = low + (cell + 0.5) * step + rng.uniform(-0.5, 0.5, (injection.galaxies, 2))
    else:
        candidates = rng.uniform(low, high, (TRIES * injection.galaxies, 2))
    if injection.avoid:
        candidates = candidates[_clear(candidates, image)]
    chosen = _spread(candidates, apart, injection.galaxies)
    if len(chosen) < injection.galaxies:
        raise UsageError(
            f"{injection.galaxies} galaxies do not fit into {ny} x {nx} pixels {APART:g} arcsec apart, "
            f"{len(chosen)} do; ask for fewer, and for more fields with --number"
        )
    return chosen[:, 0], chosen[:, 1]


def _clear(candidates: Floats, image: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether each place is clear of what SEP sees in the r frame."""
    known = census(image)
    offsets = candidates[:, None] - np.stack([known.x, known.y], axis=1)[None]
    clear: npt.NDArray[np.bool_] = (np.hypot(*offsets.T) > (CLEAR_RADII * known.half_light)[:, None]).all(axis=0)
    return clear


def _spread(candidates: Floats, apart: float, count: int) -> Floats:
    """As many candidates as wanted, the first ones that keep their distance."""
    chosen = np.zeros((0, 2))
    for candidate in candidates:
        if len(chosen) == count:
            break
        if not (np.hypot(*(chosen - candidate).T) < apart).any():
            chosen = np.vstack([chosen, candidate])
    return chosen


def _added(plane: Plane, exposure: Exposure) -> npt.NDArray[np.float32]:
    """Frame with the light on it: no pixel over its full well, and a saturated one as it was."""
    full = np.maximum(plane.image, exposure.camera.full_well)
    image = np.minimum(plane.image + exposure.image, full)
    if plane.unusable is not None:
        image = np.where(plane.unusable, plane.image, image)
    return image.astype(np.float32)


def _write_frame(path: Path, original: Path, image: npt.NDArray[np.float32]) -> None:
    """Write a frame as it was but for the image."""
    with fits.open(original) as hdus:
        own = next(hdu for hdu in hdus if hdu.is_image and hdu.shape == image.shape)
        own.data = image
        own.header["HISTORY"] = "simulated galaxies added by fullfield simulate --into"
        write_compressed(path, hdus)


def _unusable(
    image: npt.NDArray[np.float32], unusable: npt.NDArray[np.bool_] | None, truth: pd.DataFrame
) -> npt.NDArray[np.int64]:
    """1 for a galaxy whose middle lies on a saturated or missing pixel."""
    bad = ~np.isfinite(image)
    if unusable is not None:
        bad |= unusable
    flags: npt.NDArray[np.int64] = bad[np.rint(truth["y"]).astype(int), np.rint(truth["x"]).astype(int)].astype(int)
    return flags


def _with_real(truth: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    if real.empty:
        return truth
    ignore = real.get("ignore", 0)
    return pd.concat([truth, real.assign(kind="real", injected=0, ignore=ignore)], ignore_index=True)
