"""Raw CCD exposures: what each file is by its header, and its counts. Needs the reduce extra."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ccdproc
import numpy as np
from astropy.io import fits
from astropy.modeling.models import Chebyshev1D
from astropy.nddata import CCDData

from fieldprep.errors import InputError, UsageError, one_line
from fieldprep.fitsfile import is_fits
from fieldprep.reduction.rawheaders import (
    KIND_KEYS,
    READ_NOISE_KEYS,
    SATURATION_KEYS,
    SECONDS_KEYS,
    TEMPERATURE_KEYS,
    celestial_wcs,
    first_number,
    full_scale,
    gain_of,
    joined_header,
    kind_of,
    section,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_OVERSCAN_DEGREE = 3  # bias levels drift slowly along the readout; the noise of single rows is not followed


@dataclass(frozen=True)
class Reduction:
    """
    How raw exposures are reduced.

    Parameters
    ----------
    gain, read_noise : float or None
        Electrons a count, and electrons; None: as each header says.
    saturation : float or None
        Counts from which a pixel is saturated; None: as each header says, else the largest the file can hold.
    bias, dark, flat : bool
        Whether each correction is made. One that is to be made and cannot be, for want of frames, is an error.
    cosmic_rays : bool
        Whether cosmic rays are looked for in each exposure.
    temperature_tolerance : float
        Kelvin by which a dark may differ from the exposure it is subtracted from.
    """

    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    bias: bool = True
    dark: bool = True
    flat: bool = True
    cosmic_rays: bool = True
    temperature_tolerance: float = 2.0


@dataclass(frozen=True)
class Camera:
    """What two exposures must share to be subtracted or divided."""

    instrument: str
    shape: tuple[int, int]
    binning: str
    gain: float
    overscan: str
    trim: str

    def __str__(self) -> str:
        words = [f"{self.shape[0]} x {self.shape[1]} pixels", f"gain {self.gain:g}"]
        words += [f"binning {self.binning}"] if self.binning else []
        words += [self.instrument] if self.instrument else []
        words += [f"overscan {self.overscan}"] if self.overscan else []
        words += [f"trimmed to {self.trim}"] if self.trim else []
        return ", ".join(words)


@dataclass(frozen=True)
class Exposure:
    """
    One raw exposure, by its header.

    Parameters
    ----------
    path : path
        The file.
    hdu : int
        Which of its HDUs is the image.
    kind : {'bias', 'dark', 'flat', 'light'}
        What it is.
    target, band : str
        OBJECT (the folder's name where there is none) and FILTER; ``band`` is empty where there is none.
    seconds : float
        Exposure time.
    temperature : float or None
        Of the detector, in the unit of the header.
    camera : Camera
        What it must share with its calibration frames.
    read_noise : float
        Electrons.
    saturation : float
        Counts.
    sky_flat : bool
        Whether a flat is one of the sky, with stars in it.
    date : str
        DATE-OBS, empty where there is none.
    """

    path: Path
    hdu: int
    kind: str
    target: str
    band: str
    seconds: float
    temperature: float | None
    camera: Camera
    read_noise: float
    saturation: float
    sky_flat: bool
    date: str

    @property
    def gain(self) -> float:
        """Electrons a count."""
        return self.camera.gain


def raw_files(given: Sequence[str | Path], out: Path) -> list[Path]:
    """
    FITS files that RAW folders and files stand for.

    Parameters
    ----------
    given : sequence of path
        Folders, looked through with all their subfolders, and files.
    out : path
        Folder of the results; what lies in it is not raw.

    Returns
    -------
    list of path
        Each once, in the order of their names.

    Raises
    ------
    fieldprep.errors.UsageError
        If one does not exist, or there is no FITS file at all.
    """
    results = out.resolve()
    found: dict[Path, Path] = {}
    for name in given:
        path = Path(name)
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        inside = sorted(file for file in path.rglob("*") if file.is_file() and is_fits(file))
        for file in inside if path.is_dir() else [path]:
            full = file.resolve()
            if results not in full.parents and not file.name.startswith("."):
                found.setdefault(full, file)
    if not found:
        raise UsageError(f"no FITS file in {', '.join(map(str, given))}")
    return list(found.values())


def read_exposure(path: Path, reduction: Reduction) -> Exposure | str:
    """
    Read what a file is off its header.

    Parameters
    ----------
    path : path
        A FITS file.
    reduction : Reduction
        Where the header is silent or wrong about gain, read noise and saturation.

    Returns
    -------
    Exposure or str
        Or why it is left out: a frame of a kind that takes no part (an arc, a master).

    Raises
    ------
    fieldprep.errors.UsageError
        If neither the header nor the user tells the gain or the read noise.
    fieldprep.errors.InputError
        If the file is damaged or its header lacks what no option gives.
    """
    number, header, shape = _image_header(path)
    kind, sky_flat = kind_of(header)
    if not kind:
        said = ", ".join(f"{key} = {header[key]}" for key in KIND_KEYS if key in header)
        return f"no raw bias, dark, flat or light by its header ({said or 'no IMAGETYP, no OBSTYPE'})"
    if "BAYERPAT" in header:
        raise InputError(f"{path}: one-shot colour (BAYERPAT = {header['BAYERPAT']}); write one file a colour first")
    seconds = first_number(header, SECONDS_KEYS)
    if seconds is None or (seconds <= 0 and kind != "bias"):
        if kind != "bias":
            raise InputError(f"{path}: a {kind} without an exposure time; add EXPTIME (seconds) to its header")
        seconds = 0.0
    gain = reduction.gain or gain_of(path, header)
    read_noise = reduction.read_noise or first_number(header, READ_NOISE_KEYS)
    if read_noise is None:
        raise UsageError(f"{path}: no read noise in the header ({', '.join(READ_NOISE_KEYS)}); give --read-noise")
    overscan, trim = (section(path, header, key, shape) for key in ("BIASSEC", "TRIMSEC"))
    trim = trim or section(path, header, "DATASEC", shape)
    if overscan and not trim:
        raise InputError(f"{path}: an overscan (BIASSEC) and no TRIMSEC; add it, or the overscan stays in the image")
    binning = [str(header[key]) for key in ("XBINNING", "YBINNING") if key in header]
    return Exposure(
        path=path,
        hdu=number,
        kind=kind,
        target=" ".join(str(header.get("OBJECT", "")).split()) or path.resolve().parent.name,
        band=" ".join(str(header.get("FILTER", "")).split()),
        seconds=seconds,
        temperature=first_number(header, TEMPERATURE_KEYS),
        camera=Camera(
            str(header.get("INSTRUME", "")).strip(), shape, "x".join(binning), gain, overscan or "", trim or ""
        ),
        read_noise=read_noise,
        saturation=reduction.saturation or first_number(header, SATURATION_KEYS) or full_scale(header),
        sky_flat=sky_flat,
        date=f"{header.get('DATE-OBS', '')}".strip(),
    )


def read_counts(exposure: Exposure) -> CCDData:
    """
    Counts of an exposure: overscan subtracted, trimmed.

    Parameters
    ----------
    exposure : Exposure
        As `read_exposure` gives it.

    Returns
    -------
    `~astropy.nddata.CCDData`, shape (ny, nx)
        In counts, float32; its mask is True where saturated, its WCS follows the trim (None without one).

    Raises
    ------
    fieldprep.errors.InputError
        If the file is damaged.
    """
    path, camera = exposure.path, exposure.camera
    try:
        with warnings.catch_warnings():
            # headers of raw files are seldom to the letter of the standard; what is needed of them was checked
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False) as hdus:
                data, header = np.asarray(hdus[exposure.hdu].data, np.float32), joined_header(hdus, exposure.hdu)
            ccd = CCDData(data, unit="adu", mask=data >= exposure.saturation, wcs=celestial_wcs(header))
            if camera.overscan:
                drift = Chebyshev1D(_OVERSCAN_DEGREE)
                ccd = ccdproc.subtract_overscan(
                    ccd, fits_section=camera.overscan, overscan_axis=None, median=True, model=drift
                )
            if camera.trim:
                ccd = ccdproc.trim_image(ccd, fits_section=camera.trim)
    except Exception as error:
        raise InputError(f"{path}: damaged or not FITS ({one_line(error)}); copy it again") from error
    ccd.data = ccd.data.astype(np.float32)
    return ccd


def read_header(exposure: Exposure) -> fits.Header:
    """Header of an exposure: its image's, with what only the primary one says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `read_counts`
        with fits.open(exposure.path, memmap=False) as hdus:
            return joined_header(hdus, exposure.hdu)


def _image_header(path: Path) -> tuple[int, fits.Header, tuple[int, int]]:
    """Number, header and shape (ny, nx) of the one image in a file."""
    shape: tuple[int, ...] = ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `read_counts`
            with fits.open(path, memmap=False) as hdus:
                images = [i for i, hdu in enumerate(hdus) if hdu.is_image and len(hdu.shape) >= 2]
                header = joined_header(hdus, images[0]) if images else None
                shape = hdus[images[0]].shape if images else shape
    except Exception as error:
        raise InputError(f"{path}: damaged or not FITS ({one_line(error)}); copy it again") from error
    if header is None:
        raise InputError(f"{path}: holds no image")
    if len(images) > 1:
        raise InputError(f"{path}: holds {len(images)} images; write one file for each chip or amplifier")
    if len(shape) != 2:
        raise InputError(f"{path}: an image of {' x '.join(map(str, shape))}; a raw exposure has two axes")
    return images[0], header, (shape[0], shape[1])
