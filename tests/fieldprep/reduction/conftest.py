"""Raw exposures of a known sky, as a camera with known faults takes them."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

SHAPE = (240, 280)
GAIN, READ_NOISE, FULL = 1.6, 6.0, 65535
SKY = 10.0  # electrons a second and pixel
SECONDS = 60.0
SATURATED_STAR = (180.3, 70.6, 60_000.0)
DITHERS = ((0.0, 0.0), (3.4, -2.3), (-4.7, 1.2), (1.6, 5.5), (-2.2, -5.1))
PSF_ALPHA = 3.2 / (2 * np.sqrt(2 ** (1 / 3) - 1))  # Moffat, beta 3, FWHM 3.2 pixels


@dataclass(frozen=True)
class Sky:
    """Stars and two galaxies; positions in pixels of the undithered exposure, light in electrons a second."""

    stars: tuple[tuple[float, float, float], ...]
    galaxies: tuple[tuple[float, float, float, float], ...] = ((70.2, 160.7, 900.0, 5.0), (210.1, 180.3, 300.0, 3.0))

    def image(self, dither=(0.0, 0.0), degrees=0.0, shape=SHAPE):
        """Light over the sky where the camera is shifted by ``dither`` pixels and turned about its middle."""
        y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
        middle = (shape[1] - 1) / 2, (shape[0] - 1) / 2
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        x, y = x - dither[0] - middle[0], y - dither[1] - middle[1]
        x, y = cos * x + sin * y + middle[0], -sin * x + cos * y + middle[1]
        out = np.zeros(shape)
        for x0, y0, flux in self.stars:
            peak = flux * 2 / (np.pi * PSF_ALPHA**2)
            out += peak * (1 + ((x - x0) ** 2 + (y - y0) ** 2) / PSF_ALPHA**2) ** -3
        for x0, y0, flux, length in self.galaxies:
            r = np.sqrt((x - x0) ** 2 + ((y - y0) / 0.7) ** 2 + 1.5**2)
            out += flux / (2 * np.pi * 0.7 * length**2) * np.exp(-r / length)
        return out


class Camera:
    """A CCD with a structured bias, a dark current with hot pixels, an uneven sensitivity; it keeps its rays."""

    def __init__(self, seed=1, shape=SHAPE):
        rng = self.rng = np.random.default_rng(seed)
        self.shape = shape
        y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
        self.bias = 600 + 25 * x + rng.normal(0, 4, shape[1])[None] + 8 * np.sin(20 * y)
        self.dark = 0.15 + 0.6 * np.exp(-((x - 1) ** 2 + y**2) / 0.02)  # the amplifier glows
        self.hot = rng.choice(shape[0] * shape[1], shape[0] * shape[1] // 336, replace=False)
        self.dark.ravel()[self.hot] += 10 ** rng.uniform(0.5, 2.5, len(self.hot))
        flat = (1 - 0.5 * ((x - 0.5) ** 2 + (y - 0.45) ** 2)) * rng.normal(1, 0.012, shape)
        for y0, x0 in rng.uniform(0, 0.9, (8, 2)):  # the shadows of dust on the window
            flat *= 1 - 0.06 * np.exp(-(((np.hypot(y - y0, x - x0) * max(shape) - 9) / 2.5) ** 2))
        self.dead = (shape[0] * 5 // 8, slice(shape[1] // 3, shape[1] // 3 + 3))
        flat[self.dead] = 0.02
        self.flat = flat / np.median(flat)
        self.hits = []

    def expose(self, light, seconds, rays=0):
        """Counts of an exposure to ``light`` electrons a second."""
        electrons = self.rng.poisson((light * self.flat + self.dark) * seconds).astype(float)
        hit = np.zeros(self.shape, bool)
        for _ in range(rays):
            y, x, angle = self.rng.uniform(0, 1, 3) * [*self.shape, np.pi]
            steps = np.arange(self.rng.integers(1, 9))
            rows, columns = (y + steps * np.sin(angle)).astype(int), (x + steps * np.cos(angle)).astype(int)
            inside = (rows < self.shape[0]) & (columns >= 0) & (columns < self.shape[1])
            electrons[rows[inside], columns[inside]] += 10 ** self.rng.uniform(2.6, 4)
            hit[rows[inside], columns[inside]] = True
        self.hits.append(hit)
        counts = electrons / GAIN + self.bias + self.rng.normal(0, READ_NOISE / GAIN, self.shape)
        return np.clip(np.rint(counts), 0, FULL).astype(np.uint16)


def write(path, counts, kind, seconds, **extra):
    """Write a raw file; a keyword that is None is left out of its header."""
    keys = {"IMAGETYP": kind, "EXPTIME": seconds, "GAIN": GAIN, "RDNOISE": READ_NOISE, "CCD-TEMP": -20.0} | extra
    header = fits.Header({key: value for key, value in keys.items() if value is not None})
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(counts, header).writeto(path, overwrite=True)
    return path


def calibrations(folder, camera, *, n=7, band="r", seconds=SECONDS, kinds=("bias", "dark", "flat"), **extra):
    """Write ``n`` frames of each kind."""
    nothing = np.zeros(camera.shape)
    for k in range(n):
        if "bias" in kinds:
            write(folder / f"bias{k}.fits", camera.expose(nothing, 0), "Bias Frame", 0.0, **extra)
        if "dark" in kinds:
            name = f"dark{seconds:g}-{k}.fits"
            write(folder / name, camera.expose(nothing, seconds, 10), "DARK", seconds, **extra)
        if "flat" in kinds:
            counts = camera.expose(5000 + nothing, 5.0)
            write(folder / f"flat-{band}{k}.fits", counts, "Flat Field", 5.0, FILTER=band, **extra)


def lights(folder, camera, sky, *, dithers=DITHERS, turns=(), level=SKY, rays=40, band="r", seconds=SECONDS, **extra):
    """Write one light for each dither."""
    for k, dither in enumerate(dithers):
        light = sky.image(dither, turns[k] if turns else 0.0, camera.shape) + level
        keys = {"FILTER": band, "OBJECT": "M 51", "DATE-OBS": f"2026-01-01T00:{k:02d}:00"} | extra
        write(folder / f"light-{band}{k}.fits", camera.expose(light, seconds, rays), "LIGHT", seconds, **keys)


def rows_of(out):
    """``frames.csv``, by file name."""
    table = pd.read_csv(out / "frames.csv", keep_default_na=False)
    return table.set_index(table["file"].str.rsplit("/", n=1).str[-1])


@dataclass(frozen=True)
class Result:
    """A stacked frame and the sky it is of, on its own grid."""

    value: np.ndarray  # with its sky put back
    error: np.ndarray
    mask: np.ndarray
    count: np.ndarray
    header: fits.Header
    light: np.ndarray  # of the sources alone
    level: float
    dither: tuple[float, float]

    @property
    def usable(self):
        return self.mask == 0

    @property
    def empty(self):
        """Where there is next to nothing but sky."""
        return self.usable & (self.light < 0.3)

    @property
    def pulls(self):
        return (self.value - self.light - self.level) / self.error

    def flux(self, x, y, radius=7):
        """Measured over true flux, and the error of that, in a circle about a position of the undithered sky."""
        rows, columns = np.indices(self.value.shape)
        inside = np.hypot(columns - x - self.dither[0], rows - y - self.dither[1]) < radius
        true = self.light[inside].sum()
        error = np.sqrt((self.error[inside] ** 2).sum()) * self.header["NOISCORR"]
        return (self.value[inside] - self.level).sum() / true, error / true


def opened(out, sky, *, level=SKY, band="r", dithers=DITHERS):
    """Result of a reduction; the sky is drawn as the reference exposure has it."""
    with fits.open(out / "M_51" / f"M_51-{band}.fits") as hdus:
        value, error, mask, count = (np.array(hdu.data) for hdu in hdus)
        header = hdus[0].header
    table = rows_of(out)
    (reference,) = table.index[table["alignment"] == "reference"]
    dither = dithers[int(reference[-6])]
    light = sky.image(dither, shape=value.shape)
    return Result(value + header["SKYLEVEL"], error, mask, count, header, light, level, dither)


@pytest.fixture(scope="session")
def ccd():
    """What makes raw exposures and opens what became of them."""
    return SimpleNamespace(
        Sky=Sky, Camera=Camera, write=write, calibrations=calibrations, lights=lights, rows_of=rows_of, opened=opened,
        SHAPE=SHAPE, GAIN=GAIN, READ_NOISE=READ_NOISE, SECONDS=SECONDS, SKY=SKY, DITHERS=DITHERS,
    )  # fmt: skip


@pytest.fixture(scope="session")
def sky():
    """Sixty stars, one of them saturated, and two galaxies."""
    rng = np.random.default_rng(0)
    x, y, light = rng.uniform(-10, SHAPE[1] + 10, 60), rng.uniform(-10, SHAPE[0] + 10, 60), rng.uniform(1.5, 3.6, 60)
    return Sky((*zip(x.tolist(), y.tolist(), (10**light).tolist(), strict=True), SATURATED_STAR))


@pytest.fixture(scope="session")
def night(tmp_path_factory, sky):
    """Folder of raw files of one night: 7 bias, 7 darks, 7 flats and 5 dithered lights; and their camera."""
    folder = tmp_path_factory.mktemp("night")
    camera = Camera()
    calibrations(folder, camera)
    lights(folder, camera, sky)
    return folder, camera
