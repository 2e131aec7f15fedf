"""The file of a cutout: its bands as HDUs, its name, the SOURCE that stands for it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from fieldprep.errors import InputError
from fieldprep.surveys.download import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from astropy.wcs import WCS

    from fieldprep.field import FloatImage


@dataclass(frozen=True, eq=False)
class Band:
    """One band of a cutout: its name, its image, where that lies, and its noise if there is one."""

    name: str
    image: FloatImage
    wcs: WCS
    noise: FloatImage | None = None


def write_bands(path: Path, bands: Sequence[Band], *, survey: str, what: str, notes: Sequence[str] = ()) -> Path:
    """
    Write the bands of a cutout as one file, one HDU for each; those without a single pixel are left out.

    Parameters
    ----------
    path : path
        FITS file; appears whole or not at all.
    bands : sequence of Band
        Bands.
    survey : str
        Name of the survey.
    what : str
        What the cutout is, as an error is to name it.
    notes : sequence of str
        What a reader must know, one line each; they come back as notes of the field.

    Returns
    -------
    path

    Raises
    ------
    fieldprep.errors.InputError
        If no band has a pixel.
    """
    filled = [band for band in bands if np.isfinite(band.image).any()]
    if not filled:
        raise InputError(f"{what}: the survey has no image there; it may not cover that part of the sky")
    said = [*notes, *_blanks(bands)]
    primary = fits.PrimaryHDU()
    primary.header["SURVEY"] = survey
    hdus = [primary]
    for band in filled:
        keys = band.wcs.to_header()
        keys.update(BAND=band.name, FILTER=band.name, SURVEY=survey)
        image = fits.ImageHDU(np.asarray(band.image, np.float32), keys, name=band.name)
        if said:
            image.header["NOTE"] = "; ".join(said)
        hdus.append(image)
        if band.noise is not None:
            hdus.append(fits.ImageHDU(np.asarray(band.noise, np.float32), keys, name="ERR"))
    out = io.BytesIO()
    fits.HDUList(hdus).writeto(out, checksum=True)
    write_whole(path, out.getvalue())
    return path


def _blanks(bands: Sequence[Band]) -> list[str]:
    """Notes on pixels without data."""
    shares = {band.name: 1 - float(np.isfinite(band.image).mean()) for band in bands}
    notes = [f"no image in band {name}" for name, share in shares.items() if share == 1]
    partly = [f"{name} {100 * share:.1f} %" for name, share in shares.items() if 0.001 < share < 1]
    return [*notes, *([f"blank pixels: {', '.join(partly)}"] if partly else [])]


def spelt(ra: float, dec: float, size_deg: float) -> str:
    """A place and a size as a SOURCE has them: ``229.54 +42.76 10arcmin``, to 1e-8 degrees."""
    sign = "-" if round(dec, 8) < 0 else "+"
    return f"{_plain(round(ra, 8) % 360)} {sign}{_plain(abs(dec))} {_angle(size_deg)}"


def place_name(ra: float, dec: float, size_deg: float) -> str:
    """A place and a size as a name has them: ``229.54000+42.76000_10arcmin``."""
    return f"{ra:.5f}{dec:+.5f}_{_angle(size_deg)}"


def _angle(size_deg: float) -> str:
    arcsec = round(size_deg * 3600, 4)
    return f"{_plain(arcsec / 60)}arcmin" if arcsec % 6 == 0 else f"{_plain(arcsec)}arcsec"


def _plain(number: float) -> str:
    """A number without an exponent."""
    return f"{number:.8f}".rstrip("0").rstrip(".")
