"""
A second night made of a real frame: its own stars as transients, other seeing, grid, zero point, sky, fresh noise.

Both nights are made of one frame, whose noise they share as if it were on the sky; each is given the noise of a whole
exposure of its own on top, so that the noise of their difference is that of two exposures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import sep
from astropy.io import fits
from scipy.ndimage import affine_transform, distance_transform_edt, shift, zoom
from scipy.signal import fftconvolve

from fieldprep import Field
from fieldprep.census import Census, census
from fieldprep.simulation.camera import FULL_WELL, SDSS_GAIN
from fieldprep.simulation.psf import psf_stars

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

BAND = "r"
PIXEL_SCALE = 0.396
ZERO_POINT = 22.5  # of nanomaggies
MAGNITUDES = (18.0, 23.0)
NUMBERS = {"blank sky": 60, "galaxy": 60, "near a bright star": 30, "variable star": 15, "moving": 15}
HOST_MAGNITUDE, HOST_RADII = 21.0, 1.5  # hosts are brighter, and their transients within so many half-light radii
BRIGHT_MAGNITUDE, NEAR_PX = 17.5, (6.0, 25.0)
MOVED_PX = 12.0  # between the nights
APART_PX, MARGIN_PX = 36.0, 45.0  # between transients, and off the frame's edges
PSF_PX = 31
STARS, MEAN_OF = 80, 7  # bright ones, and the nearest of them whose median a transient is
KERNEL_PX, KERNEL_BETA, KERNEL_THIN, KERNEL_TURN = 41, 3.5, 0.85, 35.0  # what widens a night is no round Gaussian
SHIFT_PX, TURN_DEG, TEMPLATE_UNIT = (7.3, -4.6), 0.2, 1.7  # of the template's grid against the search's, and its unit
SLOPES = {"search": (2.0, -3.0), "template": (-4.0, 1.0)}  # of the sky over the field, in sigma of its noise


@dataclass(frozen=True)
class Nights:
    """
    What one pair of nights is like.

    Parameters
    ----------
    search, template : float
        Widths of their stars over the frame's own.
    drift : float
        By how much of itself the search image's widening goes up and down over its columns.
    astray_px : float
        By how much the template's WCS is wrong.
    across : bool
        Whether each is widened along one axis only, the two at right angles.
    """

    search: float = 1.0
    template: float = 1.0
    drift: float = 0.0
    astray_px: float = 0.0
    across: bool = False


SETTINGS = {
    "alike": Nights(),
    "search 1.3 x wider": Nights(search=1.3),
    "search 1.7 x wider": Nights(search=1.7),
    "template 1.3 x wider": Nights(template=1.3),
    "template 1.7 x wider": Nights(template=1.7),
    "alike, WCS 0.3 px astray": Nights(astray_px=0.3),
    "search 1.3 x, +-10 % over the field": Nights(search=1.3, drift=0.1),
    "1.25 x each, crosswise": Nights(search=1.25, template=1.25, across=True),
}


@dataclass(frozen=True, eq=False)
class Frame:
    """A real frame, what is in it, its stars, their width, electrons a nanomaggy, and the flux of a full pixel."""

    field: Field
    seen: Census
    catalogue: pd.DataFrame
    star_places: Floats
    star_images: Floats
    fwhm: float
    electrons: float
    full: float


def read_frame(folder: Path) -> Frame:
    """Frame of an SDSS field with its catalogue."""
    path = folder / f"frame-{BAND}-{folder.name}.fits.bz2"
    header, field = fits.getheader(path), Field.read(path)
    count = float(header["NMGY"])
    return frame_of(
        field,
        pd.read_csv(folder / "catalogue.csv"),
        electrons=SDSS_GAIN[BAND][int(header["CAMCOL"]) - 1] / count,
        full=FULL_WELL * count,
    )


def frame_of(field: Field, catalogue: pd.DataFrame, *, electrons: float, full: float) -> Frame:
    """Frame of a field and the catalogue of it."""
    image = np.where(np.isfinite(field.bands[BAND]), field.bands[BAND], 0)
    seen = census(image)
    places, images = _stars(seen, full)
    mean = zoom(np.median(images, axis=0), 4, order=3)
    fwhm = np.sqrt((mean > mean.max() / 2).sum() / np.pi) / 2
    return Frame(field, seen, catalogue, places, images, float(fwhm), electrons, full)


def _stars(seen: Census, full: float) -> tuple[Floats, Floats]:
    """Places of the frame's bright stars that are alone and not full, and their images of sum 1, each centred."""
    chosen = psf_stars(seen, 0.7 * full)
    chosen = chosen[np.argsort(-seen.flux[chosen])][:STARS]
    x, y, _ = sep.winpos(seen.image, seen.x[chosen], seen.y[chosen], 0.85 * seen.stellar)
    half = PSF_PX // 2
    radius = np.hypot(*(np.mgrid[:PSF_PX, :PSF_PX] - half))
    images = []
    for cx, cy in zip(x, y, strict=True):
        row, column = round(cy), round(cx)
        part = seen.image[row - half : row + half + 1, column - half : column + half + 1].astype(float)
        image = shift(part, (row - cy, column - cx), order=5, mode="nearest")
        image = (image - np.median(image[radius > half - 2])) * np.clip((half - radius) / 3, 0, 1)
        images.append(image / image.sum())
    return np.stack([x, y], axis=1), np.stack(images)


def two_nights(frame: Frame, nights: Nights, seed: int) -> tuple[Field, Field, pd.DataFrame]:
    """
    Search image and template of one frame, and what differs.

    Parameters
    ----------
    frame : Frame
        The real frame.
    nights : Nights
        What they are like.
    seed : int
        Of transients and noise.

    Returns
    -------
    search, template : Field
        On two grids, in two units.
    truth : `~pandas.DataFrame`
        A row for each thing that differs: ``x``, ``y`` (search image), ``flux`` (its unit; negative where the
        template is brighter), ``magnitude``, ``kind``, and of a host ``host_magnitude`` and ``offset`` (half-light
        radii).
    """
    draw, exposing = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    truth = transients(frame, draw)
    image = np.where(np.isfinite(frame.field.bands[BAND]), frame.field.bands[BAND], 0).astype(np.float64)
    gone = (truth["kind"] == "moving") & (truth["flux"] < 0)
    new = _widened(image + _light(frame, truth[~gone]), frame, nights, "search")
    old = _widened(image - _light(frame, truth[gone]), frame, nights, "template")
    search = _exposed(new, frame, "search", exposing)
    template = _exposed(_on_other_grid(old), frame, "template", exposing)
    wcs = _other_wcs(frame.field.wcs, nights.astray_px)
    fields = (
        Field("search", {BAND: search}, frame.field.mask | (search >= frame.full), wcs=frame.field.wcs),
        Field(
            "template",
            {BAND: (TEMPLATE_UNIT * template).astype(np.float32)},
            (_on_other_grid(frame.field.mask.astype(float), order=1) > 0) | (template >= frame.full),
            wcs=wcs,
        ),
    )
    return *fields, truth


def transients(frame: Frame, rng: np.random.Generator) -> pd.DataFrame:
    """What differs between the nights; see `two_nights`."""
    ny, nx = frame.field.shape
    taken = np.zeros((0, 2))
    rows = []
    for kind, number in NUMBERS.items():
        n = 0
        for row in _places(frame, kind, rng):
            at = np.array([row["x"], row["y"]])
            inside = (at > MARGIN_PX).all() and (at < (nx - MARGIN_PX, ny - MARGIN_PX)).all()
            if not inside or (len(taken) and np.hypot(*(taken - at).T).min() < APART_PX):
                continue
            taken = np.vstack([taken, at])
            rows += _changes(row, kind, rng)
            n += 1
            if n == number:
                break
    return pd.DataFrame(rows)


def _changes(row: dict[str, float], kind: str, rng: np.random.Generator) -> list[dict[str, float | str]]:
    magnitude = float(rng.uniform(*MAGNITUDES))
    flux = 10 ** (0.4 * (ZERO_POINT - magnitude))
    new = row | {"kind": kind, "magnitude": magnitude, "flux": flux}
    if kind == "variable star":
        sign = 1 if flux > 0.8 * row["star_flux"] else rng.choice([-1, 1])  # none fades to less than nothing
        return [new | {"flux": sign * flux}]
    if kind == "moving":
        turn = rng.uniform(0, 2 * np.pi)
        there = {"x": row["x"] + MOVED_PX * np.cos(turn), "y": row["y"] + MOVED_PX * np.sin(turn)}
        return [new, new | there | {"flux": -flux}]
    return [new]


def _places(frame: Frame, kind: str, rng: np.random.Generator) -> list[dict[str, float]]:
    """Where transients of a kind may be, more than are wanted if there are, in random order."""
    ny, nx = frame.field.shape
    table, seen = frame.catalogue, frame.seen
    if kind in {"blank sky", "moving"}:
        free = distance_transform_edt(seen.segments == 0)
        at = rng.uniform(0, (nx - 1, ny - 1), (2000, 2))
        at = at[free[np.rint(at[:, 1]).astype(int), np.rint(at[:, 0]).astype(int)] > 2 * MOVED_PX]
        return [{"x": x, "y": y} for x, y in at]
    if kind == "galaxy":
        hosts = table[(table["type"] == 3) & (table["ignore"] == 0) & (table["modelMag_r"] < HOST_MAGNITUDE)]
        hosts = hosts.sample(frac=1, random_state=rng)
        offset = rng.uniform(0, HOST_RADII, len(hosts))
        reach, turn = offset * hosts["petroR50_r"] / PIXEL_SCALE, rng.uniform(0, 2 * np.pi, len(hosts))
        x, y = hosts["x"] + reach * np.cos(turn), hosts["y"] + reach * np.sin(turn)
        return pd.DataFrame({"x": x, "y": y, "host_magnitude": hosts["modelMag_r"], "offset": offset}).to_dict(
            "records"
        )
    if kind == "variable star":
        chosen = rng.permutation(np.flatnonzero(seen.star & ~seen.blended & (seen.signal_to_noise > 20)))
        return [{"x": seen.x[k], "y": seen.y[k], "star_flux": seen.flux[k]} for k in chosen]
    stars = table[(table["type"] == 6) & (table["modelMag_r"] < BRIGHT_MAGNITUDE)].sample(frac=1, random_state=rng)
    away, turn = rng.uniform(*NEAR_PX, len(stars)), rng.uniform(0, 2 * np.pi, len(stars))
    x, y = stars["x"] + away * np.cos(turn), stars["y"] + away * np.sin(turn)
    return pd.DataFrame({"x": x, "y": y, "host_magnitude": stars["modelMag_r"], "offset": away}).to_dict("records")


def _light(frame: Frame, rows: pd.DataFrame) -> Floats:
    """Median image of the stars nearest to each row's place, there."""
    image = np.zeros(frame.field.shape)
    half = PSF_PX // 2
    for x, y, flux in rows[["x", "y", "flux"]].itertuples(index=False):
        cx, cy = round(x), round(y)
        part = np.s_[cy - half : cy + half + 1, cx - half : cx + half + 1]
        near = np.argsort(np.hypot(*(frame.star_places - (x, y)).T))[:MEAN_OF]
        star = shift(np.median(frame.star_images[near], axis=0), (y - cy, x - cx), order=5)
        image[part] += flux * star / star.sum()
    return image


def _widened(image: Floats, frame: Frame, nights: Nights, which: str) -> Floats:
    """Image as a night of worse seeing has it."""
    ratio = getattr(nights, which)
    if ratio == 1:
        return image
    if nights.across:
        return fftconvolve(image, _streak(frame.fwhm * np.sqrt(ratio**2 - 1), which), mode="same")
    drift = nights.drift if which == "search" else 0.0
    widths = [frame.fwhm * np.sqrt((ratio * (1 + d)) ** 2 - 1) for d in ((-drift, drift) if drift else (0,))]
    parts = [fftconvolve(image, _kernel(width), mode="same") for width in widths]
    if len(parts) == 1:
        return parts[0]
    along = np.linspace(0, 1, image.shape[1])
    return (1 - along) * parts[0] + along * parts[1]


def _kernel(fwhm: float) -> Floats:
    """An elliptical Moffat of sum 1."""
    y, x = np.mgrid[:KERNEL_PX, :KERNEL_PX] - KERNEL_PX // 2
    cos, sin = np.cos(np.radians(KERNEL_TURN)), np.sin(np.radians(KERNEL_TURN))
    along, over = x * cos + y * sin, (y * cos - x * sin) / KERNEL_THIN
    alpha = fwhm / np.sqrt(KERNEL_THIN) / (2 * np.sqrt(2 ** (1 / KERNEL_BETA) - 1))
    kernel = (1 + (along**2 + over**2) / alpha**2) ** -KERNEL_BETA
    return np.asarray(kernel / kernel.sum())


def _streak(fwhm: float, which: str) -> Floats:
    """A Gaussian along the columns or the rows."""
    line = np.exp(-4 * np.log(2) * (np.arange(KERNEL_PX) - KERNEL_PX // 2) ** 2 / fwhm**2)
    line /= line.sum()
    return line[None] if which == "search" else line[:, None]


def _affine(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Matrix and offset from (row, column) of the template's grid to those of the search's."""
    turn = np.radians(TURN_DEG)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    middle = (np.array(shape) - 1) / 2
    return matrix, middle - matrix @ middle + np.array(SHIFT_PX[::-1])


def _on_other_grid(image: Floats, order: int = 5) -> Floats:
    matrix, offset = _affine(image.shape)
    # what lies beyond the frame is mirrored: a telescope does not stop seeing there
    return np.asarray(affine_transform(image, matrix, offset, order=order, mode="mirror"))


def _other_wcs(wcs: object, astray_px: float) -> object:
    """WCS of the template's grid."""
    other = wcs.deepcopy()
    matrix, offset = _affine(wcs.array_shape)
    in_xy = matrix[::-1, ::-1]
    other.wcs.crpix = np.linalg.solve(in_xy, wcs.wcs.crpix - 1 - offset[::-1]) + 1 + astray_px * np.array([0.8, -0.6])
    other.wcs.cd = wcs.wcs.cd @ in_xy
    other.wcs.set()
    return other


def _exposed(scene: Floats, frame: Frame, which: str, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Sky of the night, its noise and that of the light; a full pixel holds no more."""
    light = np.maximum(scene, 0)
    noisy = scene + rng.poisson(light * frame.electrons) / frame.electrons - light
    noisy += rng.normal(0, frame.seen.noise, scene.shape)
    y, x = np.mgrid[: scene.shape[0], : scene.shape[1]] / np.array(scene.shape).reshape(2, 1, 1)
    a, b = SLOPES[which]
    sky = frame.seen.noise * (a * x + b * y + 1.5 * x * y)
    return np.minimum(noisy + sky, frame.full).astype(np.float32)
