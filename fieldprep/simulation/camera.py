"""What a simulated field is taken with: each band's grid, noise, gain and PSF; SDSS's, or those of a real field."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from fieldprep.census import Census, census
from fieldprep.errors import InputError
from fieldprep.fitsfile import SDSS_SATURATION_COUNTS, Plane, kind_by_name, read_planes
from fieldprep.readers import band_files
from fieldprep.simulation.population import BANDS, Density
from fieldprep.simulation.psf import Psf, measure_psf

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PIXEL_SCALE = 0.396  # arcsec
SKY_NOISE = {"g": 0.0155, "r": 0.0282, "i": 0.0430}  # nmgy a pixel: medians of eight SDSS fields
COUNT = {"g": 0.0039, "r": 0.0052, "i": 0.0066}  # nmgy a count: headers of the same fields
# electrons a count by camera column, 1 to 6: SDSS data model, "frame". The variance of the sky in eight fields, less
# that of the sky's own electrons, is then the same dark variance throughout; but for i of column 2, listed as 6.565,
# whose noise asks for 5.2 in both fields at hand
SDSS_GAIN = {
    "g": (3.32, 3.855, 3.845, 3.995, 4.05, 4.035),
    "r": (4.71, 4.6, 4.72, 4.76, 4.725, 4.895),
    "i": (5.165, 5.2, 4.86, 4.885, 4.64, 4.76),
}
GAIN = {band: float(np.mean(columns)) for band, columns in SDSS_GAIN.items()}
FULL_WELL = 45_000.0  # counts
SATURATED_SHARE = 0.9  # of the full well, above which a header calls a pixel saturated
SEEING = {"g": 1.42, "r": 1.30, "i": 1.22}  # arcsec, FWHM: SDSS medians (York et al. 2000; DR7)
MEDIAN_NIGHTS = (0.93, 1.07)  # of the medians
# the rest of the PSF: medians of what `measure_psf` finds in the eight fields, three bands each
PSF_WING, PSF_WING_RATIO = 0.66, 1.18
PSF_SHAPE, PSF_SHAPE_OF_BAND = 0.05, 0.03  # reduced shear of a night, and how far a band's is from it
CORE_SHARE = 0.9286  # the core's FWHM over the whole's, for those wings
BAND_OFFSET_PX = {"g": (0.4, 10.6), "r": (0.0, 0.0), "i": (1.2, 2.8)}  # x, y against r: medians of the same fields


@dataclass(frozen=True, eq=False)
class BandCamera:
    """
    One band of a camera.

    Parameters
    ----------
    shape : (ny, nx)
        Shape of the frame.
    wcs : `~astropy.wcs.WCS`
        WCS of the frame.
    psf : Psf
        Point spread function, the pixel in it.
    noise : float
        One-sigma noise of a pixel of sky, nanomaggies.
    count : float
        Nanomaggies a count; 0 where the values are not whole counts.
    electrons : float
        Electrons a nanomaggy.
    full_well : float
        Nanomaggies at which a pixel is full.
    """

    shape: tuple[int, int]
    wcs: WCS
    psf: Psf
    noise: float
    count: float
    electrons: float
    full_well: float


@dataclass(frozen=True, eq=False)
class Camera:
    """
    What a field is taken with.

    Parameters
    ----------
    bands : mapping of str to BandCamera
        By band; r is among them, and its frame is the field's grid.
    density : Density
        How many galaxies and stars there are.
    notes : tuple of str
        What could not be measured and was taken from elsewhere, one line each.
    """

    bands: Mapping[str, BandCamera]
    density: Density = field(default_factory=Density)
    notes: tuple[str, ...] = ()

    @property
    def reference(self) -> BandCamera:
        """The r band."""
        return self.bands["r"]

    @property
    def pixel_scale(self) -> float:
        """Arcsec per pixel of the r frame."""
        return float(np.mean(proj_plane_pixel_scales(self.reference.wcs)) * 3600)


def sdss_camera(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    centre_deg: tuple[float, float] = (150.0, 30.0),
    seeing: tuple[float, float] | None = None,
) -> Camera:
    """
    SDSS's camera, by default on a median night.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Draws the seeing and the PSF's shape.
    shape : (ny, nx)
        Shape of each band.
    centre_deg : (float, float)
        RA and Dec of the middle of the r frame.
    seeing : (float, float), optional
        Range of the FWHM in r, arcsec; by default within 7 % of the median.

    Returns
    -------
    Camera
    """
    least, most = MEDIAN_NIGHTS if seeing is None else (fwhm / SEEING["r"] for fwhm in seeing)
    night, shape_of_night = rng.uniform(least, most), rng.normal(0, PSF_SHAPE, 2)
    bands = {}
    for band in BANDS:
        core = CORE_SHARE * SEEING[band] * night * rng.uniform(0.97, 1.03)
        g1, g2 = shape_of_night + rng.normal(0, PSF_SHAPE_OF_BAND, 2)
        bands[band] = BandCamera(
            shape=shape,
            wcs=_sdss_wcs(band, shape, centre_deg),
            psf=Psf(core, PSF_WING, PSF_WING_RATIO * core, g1=float(g1), g2=float(g2)),
            noise=SKY_NOISE[band],
            count=COUNT[band],
            electrons=GAIN[band] / COUNT[band],
            full_well=FULL_WELL * COUNT[band],
        )
    return Camera(bands)


def camera_like(folder: Path) -> Camera:
    """
    Camera of a real field.

    Parameters
    ----------
    folder : path
        Folder of the field's band files, in nanomaggies, r among them.

    Returns
    -------
    Camera
        Of those of the bands g, r and i that are there. WCS, noise and PSF are measured or read in each; gain
        and count are SDSS's where the header is, else the header's GAIN, else SDSS's medians, with a note;
        a band without enough stars for a PSF has that of the survey's median seeing, with a note. The density
        is the usual one: for the field's own see `fieldprep.simulation.likeness.matched`.

    Raises
    ------
    fieldprep.errors.InputError
        If there is no r band, a file cannot be read, lacks a WCS or is not in nanomaggies.
    """
    return camera_of(band_planes(folder))


def camera_of(planes: Mapping[Path, Plane]) -> Camera:
    """Camera of a real field's bands, as `band_planes` gives them; see `camera_like`."""
    notes: list[str] = []
    bands = {}
    for path, plane in planes.items():
        bands[plane.band], told = _like(path, plane, census(plane.image))
        notes += told
    return Camera({band: bands[band] for band in BANDS if band in bands}, notes=tuple(notes))


def band_planes(folder: Path) -> dict[Path, Plane]:
    """
    Bands g, r and i of a real field, each from its own file and on its own grid.

    Parameters
    ----------
    folder : path
        Folder of the field's band files.

    Returns
    -------
    dict of path to Plane
        Other bands are left out.

    Raises
    ------
    fieldprep.errors.InputError
        See `camera_like`.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name one that holds a field's g, r and i frames")
    planes: dict[Path, Plane] = {}
    for path in band_files(folder):
        if kind_by_name(path) != "image":
            continue
        found = read_planes(path)
        if len(found) > 1:
            raise InputError(f"{path}: {len(found)} bands in one file; write one file a band")
        if found[0].band in BANDS:
            planes[path] = found[0]
    if "r" not in {plane.band for plane in planes.values()}:
        names = ", ".join(path.name for path in band_files(folder))
        raise InputError(f"{folder}: no r band among {names}; a simulation is made after g, r and i frames")
    for path, plane in planes.items():
        if plane.wcs is None:
            raise InputError(f"{path}: no WCS, which a simulation needs to place its objects; write one into it")
        unit = str(fits.getheader(path).get("BUNIT", "")).strip().lower()
        if unit not in {"nanomaggy", "nanomaggies", "nmgy"}:
            raise InputError(f"{path}: in {unit or 'no named unit'} (BUNIT), not in nanomaggies; calibrate it")
    return planes


def _like(path: Path, plane: Plane, objects: Census) -> tuple[BandCamera, list[str]]:
    """One band as it was measured, and what could not be."""
    notes = []
    header = fits.getheader(path)
    count, gain = float(header.get("NMGY", 0)), header.get("GAIN")
    if "CAMCOL" in header:
        gain = SDSS_GAIN[plane.band][int(header["CAMCOL"]) - 1]
    elif gain is None:
        gain = GAIN[plane.band]
        notes.append(f"{path.name}: no gain in the header; SDSS's mean of {gain:.2f} electrons a count is taken")
    saturation, full_well = _saturation(header, plane.band, count)
    scale = _scale(plane.wcs)
    try:
        psf = measure_psf(objects, scale, saturation=saturation)
    except InputError as error:
        core = CORE_SHARE * SEEING[plane.band]
        psf = Psf(core, PSF_WING, PSF_WING_RATIO * core)
        notes.append(f"{path.name}: {error}; SDSS's median seeing of {SEEING[plane.band]} arcsec is taken")
    noise = objects.noise if math.isfinite(objects.noise) and objects.noise > 0 else SKY_NOISE[plane.band]
    if noise != objects.noise:
        notes.append(f"{path.name}: no empty sky to measure the noise on; SDSS's median is taken")
    shape = (plane.image.shape[0], plane.image.shape[1])
    electrons = float(gain) / (count or COUNT[plane.band])
    return BandCamera(shape, plane.wcs, psf, noise, count, electrons, full_well), notes


def _saturation(header: fits.Header, band: str, count: float) -> tuple[float, float]:
    """Nanomaggies above which a pixel is called saturated, and at which it is full."""
    if "CAMCOL" in header:
        return SDSS_SATURATION_COUNTS * count, FULL_WELL * count
    full_well = float(header.get("SATURATE", SATURATED_SHARE * FULL_WELL * COUNT[band])) / SATURATED_SHARE
    return SATURATED_SHARE * full_well, full_well


def _scale(wcs: WCS) -> float:
    return float(np.mean(proj_plane_pixel_scales(wcs)) * 3600)


def _sdss_wcs(band: str, shape: tuple[int, int], centre_deg: tuple[float, float]) -> WCS:
    """TAN, axes turned by 42 degrees against north as a camera column's are, shifted by the band's offset."""
    wcs = WCS(naxis=2)
    dx, dy = BAND_OFFSET_PX[band]
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = list(centre_deg)
    wcs.wcs.crpix = [(shape[1] + 1) / 2 + dx, (shape[0] + 1) / 2 + dy]
    angle, scale = math.radians(41.7), PIXEL_SCALE / 3600
    wcs.wcs.cd = scale * np.array([[math.cos(angle), math.sin(angle)], [math.sin(angle), -math.cos(angle)]])
    return wcs
