"""
SDSS-like fields with exact truth, rendered with GalSim. Needs the train extra.

Galaxies are a Sersic bulge (n = 4) and an exponential disc, stars a Moffat PSF with an aureole and
diffraction spikes; sky noise, photon noise, saturation, the quantisation and the offsets of the bands are those of
SDSS frames. What the numbers are taken from stands beside each.
"""

from __future__ import annotations

import bz2
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import galsim
import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS

from fieldprep.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

Floats = npt.NDArray[np.float64]

BANDS = ("g", "r", "i")
PIXEL_SCALE = 0.396  # arcsec
ZERO_POINT = 22.5  # of nanomaggies
SKY_NOISE = {"g": 0.0155, "r": 0.0290, "i": 0.0430}  # nmgy a pixel: medians of eight SDSS fields
COUNT = {"g": 0.0042, "r": 0.0053, "i": 0.0064}  # nmgy a count: headers of the same fields
GAIN = {"g": 3.9, "r": 4.8, "i": 5.6}  # electrons a count: SDSS opECalib, mean of the camera columns
SATURATION = 45_000  # counts
SEEING = {"g": 1.42, "r": 1.30, "i": 1.22}  # arcsec, FWHM: SDSS medians (York et al. 2000; DR7)
BAND_OFFSET_PX = {"g": (9.6, 1.3), "r": (0.0, 0.0), "i": (-2.9, 0.6)}  # x, y against r, as in the same fields
EFFECTIVE = "no_pixel"  # the seeing is that measured on frames, so the pixel is in it already

FAINTEST = 23.5
GALAXIES_AT_20 = 1120.0  # a square degree brighter than r = 20: mean of the seven labelled fields
GALAXY_SLOPE = 0.42  # dex a magnitude, between r = 19 and 21 in the same fields
STARS_AT_20 = 2440.0  # a square degree brighter than r = 20: median of the same fields (two are crowded)
STAR_SLOPE = 0.14
COMPANIONS = 0.08  # share of galaxies with another placed beside them


@dataclass(frozen=True)
class Simulated:
    """
    A simulated field.

    Parameters
    ----------
    images : dict of str to 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Flux in nanomaggies by band, each on its own grid.
    wcs : dict of str to `~astropy.wcs.WCS`
        WCS of each.
    truth : `~pandas.DataFrame`
        Columns of the SDSS catalogues: ``ra, dec, x, y, type, modelMag_g, modelMag_r, modelMag_i,
        petroRad_r, axis_ratio, theta_deg, ignore``; ``x, y`` on the r grid.
    """

    images: dict[str, npt.NDArray[np.float32]]
    wcs: dict[str, WCS]
    truth: pd.DataFrame


def simulate(
    seed: int, shape: tuple[int, int] = (1489, 2048), *, centre_deg: tuple[float, float] = (150.0, 30.0)
) -> Simulated:
    """
    Render a field.

    Parameters
    ----------
    seed : int
        The same seed gives the same field.
    shape : (ny, nx)
        Shape of each band.
    centre_deg : (float, float)
        RA and Dec of the middle.

    Returns
    -------
    Simulated

    Notes
    -----
    Petrosian radii, axis ratios and angles are measured on each galaxy's own noiseless r image, seeing
    included, as a catalogue's are. ``ignore`` marks galaxies under a bright star: within their half-light
    radius there is more light of stars than of themselves.
    """
    rng = np.random.default_rng(seed)
    galaxies, stars = _galaxies(rng, shape), _stars(rng, shape)
    wcs = {band: _wcs(band, shape, centre_deg) for band in BANDS}
    psf = {band: galsim.Moffat(beta=3.5, fwhm=SEEING[band] * rng.uniform(0.93, 1.07)) for band in BANDS}
    images = {}
    star_light = np.zeros(shape)
    for band in BANDS:
        shift = BAND_OFFSET_PX[band]
        canvas = galsim.ImageD(shape[1], shape[0], xmin=0, ymin=0, scale=PIXEL_SCALE)
        _draw_stars(canvas, stars, band, psf[band], shift)
        if band == "r":
            star_light = canvas.array.copy()
        for i in range(len(galaxies)):
            _draw(canvas, galsim.Convolve(_profile(galaxies.iloc[i], band), psf[band]), galaxies.iloc[i], shift)
        images[band] = _exposed(canvas.array, band, rng)
    truth = _truth(galaxies, stars, psf["r"], star_light)
    truth["ra"], truth["dec"] = wcs["r"].pixel_to_world_values(truth["x"], truth["y"])
    return Simulated(images, wcs, truth)


def write_field(folder: Path, *, seed: int, shape: tuple[int, int] = (1489, 2048)) -> Path:
    """
    Render a field and write it as one folder: three ``.fits.bz2`` and ``catalogue.csv``.

    Parameters
    ----------
    folder : path
        The folder to make; must not exist or be empty.
    seed : int
        Seed of the field.
    shape : (ny, nx)
        Shape of each band.

    Returns
    -------
    path
        The folder.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OutputError(f"{folder}: not empty; name a new folder")
        simulated = simulate(seed, shape)
        for band, image in simulated.images.items():
            header = simulated.wcs[band].to_header()
            header["FILTER"] = band
            header["SURVEY"] = "simulation"
            header["BUNIT"] = "nanomaggy"
            header["SATURATE"] = 0.9 * SATURATION * COUNT[band]
            header["SEED"] = seed
            content = io.BytesIO()
            fits.PrimaryHDU(image, header).writeto(content)
            (folder / f"{folder.resolve().name}-{band}.fits.bz2").write_bytes(bz2.compress(content.getvalue()))
        simulated.truth.round(6).to_csv(folder / "catalogue.csv", index=False)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
    return folder


def _wcs(band: str, shape: tuple[int, int], centre_deg: tuple[float, float]) -> WCS:
    """TAN, axes turned by 42 degrees against north as a camera column's are, shifted by the band's offset."""
    wcs = WCS(naxis=2)
    dx, dy = BAND_OFFSET_PX[band]
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = list(centre_deg)
    wcs.wcs.crpix = [(shape[1] + 1) / 2 + dx, (shape[0] + 1) / 2 + dy]
    angle, scale = math.radians(41.7), PIXEL_SCALE / 3600
    wcs.wcs.cd = scale * np.array([[math.cos(angle), math.sin(angle)], [math.sin(angle), -math.cos(angle)]])
    return wcs


def _magnitudes(rng: np.random.Generator, at_20: float, slope: float, brightest: float, area: float) -> Floats:
    """Magnitudes of a power law in flux, 10^(slope m) a magnitude, ``at_20`` a square degree under 20."""
    count = rng.poisson(at_20 * 10 ** (slope * (FAINTEST - 20)) * area)
    share = rng.uniform(10 ** (slope * (brightest - FAINTEST)), 1, count)
    return FAINTEST + np.log10(share) / slope


def _area_deg2(shape: tuple[int, int]) -> float:
    return shape[0] * shape[1] * (PIXEL_SCALE / 3600) ** 2


def _galaxies(rng: np.random.Generator, shape: tuple[int, int]) -> pd.DataFrame:
    magnitude = _magnitudes(rng, GALAXIES_AT_20, GALAXY_SLOPE, 15.5, _area_deg2(shape))
    n = len(magnitude)
    x, y = rng.uniform(-0.5, shape[1] - 0.5, n), rng.uniform(-0.5, shape[0] - 0.5, n)
    beside = np.flatnonzero(rng.uniform(size=n) < COMPANIONS)
    for i in beside[beside > 0]:
        j, angle, distance = rng.integers(i), rng.uniform(0, 2 * np.pi), rng.uniform(2.0, 8.0) / PIXEL_SCALE
        x[i], y[i] = x[j] + distance * np.cos(angle), y[j] + distance * np.sin(angle)
    # half-light radius against magnitude: r50 of SDSS galaxies, 2.3" at r = 17.8 (Shen et al. 2003)
    radius = np.clip(2.3 * 10 ** (-0.165 * (magnitude - 17.8) + rng.normal(0, 0.17, n)), 0.15, 30)
    bulge = np.clip(rng.beta(0.8, 1.6, n), 0, 1)
    red = rng.normal(0, 1, n)
    # g-r of the seven fields' galaxies: 0.75 at r = 18.5, 1.1 at 20.5, scatter 0.35
    colour_gr = 0.65 + 0.3 * bulge + 0.12 * np.clip(magnitude - 19, -3, 2) + 0.3 * red
    inclination = np.sqrt(rng.uniform(0, 1, n) ** 2 * (1 - 0.2**2) + 0.2**2)  # axis ratio of a disc 0.2 thick
    return pd.DataFrame(
        {
            "x": x,
            "y": y,
            "modelMag_r": magnitude,
            "modelMag_g": magnitude + colour_gr,
            "modelMag_i": magnitude - (0.2 + 0.22 * colour_gr + 0.05 * rng.normal(0, 1, n)),
            "radius": radius,
            "bulge": bulge,
            "bulge_q": rng.uniform(0.6, 1.0, n),
            "disc_q": inclination,
            "angle": rng.uniform(0, 180, n),
        }
    )


def _stars(rng: np.random.Generator, shape: tuple[int, int]) -> pd.DataFrame:
    magnitude = _magnitudes(rng, STARS_AT_20, STAR_SLOPE, 11.0, _area_deg2(shape))
    n = len(magnitude)
    # the stellar locus: bluer halo stars and redder dwarfs (Covey et al. 2007, table 3)
    colour_gr = np.where(rng.uniform(size=n) < 0.55, rng.normal(0.5, 0.15, n), rng.normal(1.35, 0.1, n))
    colour_ri = np.where(colour_gr < 1.1, 0.35 * colour_gr, rng.uniform(0.4, 1.6, n))
    return pd.DataFrame(
        {
            "x": rng.uniform(-0.5, shape[1] - 0.5, n),
            "y": rng.uniform(-0.5, shape[0] - 0.5, n),
            "modelMag_r": magnitude,
            "modelMag_g": magnitude + colour_gr,
            "modelMag_i": magnitude - colour_ri,
        }
    )


def _flux(row: Any, band: str) -> float:
    return float(10 ** (0.4 * (ZERO_POINT - row[f"modelMag_{band}"])))


def _profile(row: Any, band: str) -> Any:
    """Bulge and disc; the bulge holds more of the light in the redder bands."""
    share = min(1.0, max(0.0, row["bulge"] * {"g": 0.85, "r": 1.0, "i": 1.08}[band]))
    angle = row["angle"] * galsim.degrees
    parts = []
    if share > 0.02:
        bulge = galsim.DeVaucouleurs(half_light_radius=max(0.1, 0.6 * row["radius"]), trunc=8 * row["radius"])
        parts.append(share * bulge.shear(q=row["bulge_q"], beta=angle))
    if share < 0.98:
        disc = galsim.Exponential(half_light_radius=1.15 * row["radius"])
        parts.append((1 - share) * disc.shear(q=row["disc_q"], beta=angle))
    return galsim.Sum(parts).withFlux(_flux(row, band))


def _draw(canvas: Any, profile: Any, row: Any, shift: tuple[float, float]) -> None:
    """Add a profile to the canvas at a position of the r grid, moved by the band's offset."""
    at = galsim.PositionD(row["x"] + shift[0], row["y"] + shift[1])
    stamp = profile.drawImage(center=at, scale=PIXEL_SCALE, method=EFFECTIVE, dtype=float)
    overlap = stamp.bounds & canvas.bounds
    if overlap.isDefined():
        canvas[overlap] += stamp[overlap]


def _draw_stars(canvas: Any, stars: pd.DataFrame, band: str, psf: Any, shift: tuple[float, float]) -> None:
    for i in range(len(stars)):
        row = stars.iloc[i]
        flux = _flux(row, band)
        profile = psf
        if row["modelMag_r"] < 16:  # fainter stars' aureoles and spikes drown in the noise
            aureole = galsim.Moffat(beta=1.6, half_light_radius=9.0, trunc=90.0)
            spikes = [galsim.Gaussian(sigma=5.0).shear(q=0.03, beta=(45 + k * 90) * galsim.degrees) for k in range(2)]
            profile = 0.965 * psf + 0.03 * aureole + 0.0025 * (spikes[0] + spikes[1])
        _draw(canvas, profile.withFlux(flux), row, shift)


def _exposed(light: Floats, band: str, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise of the sky and of the light, saturation, whole counts."""
    electrons_per_nmgy = GAIN[band] / COUNT[band]
    noise = np.sqrt(SKY_NOISE[band] ** 2 + np.maximum(light, 0) / electrons_per_nmgy)
    counts = (light + rng.normal(0, 1, light.shape) * noise) / COUNT[band]
    # a saturated core stays at full well, as the survey's pipeline leaves it
    return (np.rint(np.minimum(counts, SATURATION)) * COUNT[band]).astype(np.float32)


def _truth(galaxies: pd.DataFrame, stars: pd.DataFrame, psf: Any, star_light: Floats) -> pd.DataFrame:
    shapes = [_measured(galaxies.iloc[i], psf, star_light) for i in range(len(galaxies))]
    columns = ["x", "y", "modelMag_g", "modelMag_r", "modelMag_i"]
    truth = galaxies[columns].copy()
    truth["type"] = 3
    truth[["petroRad_r", "axis_ratio", "theta_deg", "ignore"]] = np.array(shapes).reshape(-1, 4)
    point = stars[columns].copy()
    point["type"] = 6
    star = psf.drawImage(nx=41, ny=41, scale=PIXEL_SCALE, method=EFFECTIVE).array
    point["petroRad_r"] = petrosian_radius(star) * PIXEL_SCALE
    point["axis_ratio"], point["theta_deg"], point["ignore"] = 1.0, 0.0, 0
    both = pd.concat([truth, point], ignore_index=True).astype({"ignore": int})
    ny, nx = star_light.shape
    inside = both["x"].between(-0.5, nx - 0.5) & both["y"].between(-0.5, ny - 0.5)
    return both[inside].sort_values("modelMag_r", ignore_index=True)


def _measured(row: Any, psf: Any, star_light: Floats) -> tuple[float, float, float, float]:
    """Petrosian radius (arcsec), axis ratio, angle and the ignore flag of one galaxy, noiseless, in r."""
    size = 2 * math.ceil(8 * (row["radius"] + 1) / PIXEL_SCALE) + 1
    stamp = galsim.Convolve(_profile(row, "r"), psf).drawImage(nx=size, ny=size, scale=PIXEL_SCALE, method=EFFECTIVE)
    radius = petrosian_radius(stamp.array)
    moments = stamp.FindAdaptiveMom(strict=False)
    shape = moments.observed_shape if moments.moments_status == 0 else galsim.Shear()
    reach = max(2, round(0.5 * radius))
    x, y = round(row["x"]), round(row["y"])
    around = star_light[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
    middle = size // 2
    own = stamp.array[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1].sum()
    return radius * PIXEL_SCALE, shape.q, shape.beta.deg, float(around.sum() > own)


def petrosian_radius(image: npt.NDArray[Any]) -> float:
    """
    Petrosian radius of a galaxy alone in the middle of an image without noise.

    Parameters
    ----------
    image : 2D `~numpy.ndarray`, shape (n, n), n odd
        The galaxy, centred on the middle pixel.

    Returns
    -------
    float
        Pixels: the radius at which the mean brightness between 0.8 and 1.25 of it is a fifth of the mean
        within it (Blanton et al. 2001, AJ 121, 2358); half the image where that is not reached.
    """
    middle = image.shape[0] // 2
    y, x = np.indices(image.shape) - middle
    distance = np.hypot(x, y).ravel()
    order = np.argsort(distance, kind="stable")
    light = np.concatenate([[0.0], np.cumsum(image.ravel()[order])])
    pixels = np.arange(len(light), dtype=np.float64)
    edges = np.concatenate([[0.0], distance[order]])
    radii = np.arange(2.0, middle / 1.25, 0.1)

    def within(radius: Floats) -> tuple[Floats, Floats]:
        return np.interp(radius, edges, light), np.interp(radius, edges, pixels)

    inner, inner_pixels = within(0.8 * radii)
    outer, outer_pixels = within(1.25 * radii)
    whole, whole_pixels = within(radii)
    ratio = (outer - inner) / (outer_pixels - inner_pixels) / (whole / whole_pixels)
    below = np.flatnonzero(ratio < 0.2)
    return float(radii[below[0]]) if len(below) else float(middle)
