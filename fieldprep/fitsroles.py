"""What each image of a FITS file is for: a band, its noise, its weight, its coverage, its flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fieldprep.field import BoolImage, FloatImage

_NAMES = {
    "noise": {"ERR", "ERROR", "RMS", "SIGMA", "UNCERT", "NOISE"},
    "weight": {"IVAR", "INVVAR", "WHT", "WEIGHT"},
    "flags": {"DQ"},
    "other": {
        "CTX", "CON", "MASK", "MASKBITS", "VAR", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "NSAMP", "SAMP", "TIME",
        "BKG", "AREA", "D2IMARR", "WCSDVARR",
    },
}  # fmt: skip
# what AstroDrizzle writes into the primary header of its products, and the telescopes that are drizzled
_DRIZZLE_KEYS = {"NDRIZIM", "D001VER"}
_DRIZZLED_TELESCOPES = {"HST", "JWST"}
# JWST: DO_NOT_USE and SATURATED (jwst-pipeline.readthedocs.io, "Data quality flags")
JWST_UNUSABLE = 1 | 2
# keywords of the primary header that say something of every image of the file
INHERITED = ("SURVEY", "TELESCOP", *sorted(_DRIZZLE_KEYS))


def kind_of(hdu: Any) -> str:
    """
    Kind of an image by its EXTNAME or IMAGETYP.

    Parameters
    ----------
    hdu : `~astropy.io.fits.ImageHDU` or similar
        Its header with what it inherits of the primary one (`INHERITED`).

    Returns
    -------
    str
        ``image``; its ``noise`` (one sigma), its ``weight`` (inverse variance), its ``coverage`` (a weight that is
        zero where there are no data and else says nothing of the noise), its ``flags``; ``other``.

    Notes
    -----
    WHT of a drizzled HST image is the exposure time (``final_wht_type = EXP``, the archive's default) and that of a
    JWST mosaic the inverse of the read noise alone; neither is the inverse variance, and no keyword tells when a
    user's own product is (DrizzlePac, ``outputimage.py``; jwst, step ``resample``).
    """
    labels = (hdu.name.upper(), str(hdu.header.get("IMAGETYP", "")).strip().upper())
    for label in labels:
        for kind, names in _NAMES.items():
            if label in names:
                return "coverage" if label == "WHT" and _is_drizzled(hdu.header) else kind
    return "image"


def _is_drizzled(header: Any) -> bool:
    return bool(_DRIZZLE_KEYS & set(header)) or str(header.get("TELESCOP", "")).strip().upper() in _DRIZZLED_TELESCOPES


def as_noise(image: FloatImage, kind: str) -> FloatImage:
    """
    One-sigma noise from a noise image or from a weight (inverse variance); NaN where there is none.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Noise or weight.
    kind : {'noise', 'weight'}
        Which of the two.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = image if kind == "noise" else 1 / np.sqrt(image)
    return np.where(np.isfinite(noise) & (noise > 0), noise, np.float32(np.nan)).astype(np.float32)


def flagged(flags: npt.NDArray[np.integer[Any]], telescope: str) -> BoolImage:
    """
    Pixels that a data quality image says are not to be used.

    Parameters
    ----------
    flags : 2D int `~numpy.ndarray`, shape (ny, nx)
        Bit mask.
    telescope : str
        TELESCOP. JWST sets bits on good pixels too, so there DO_NOT_USE and SATURATED count; elsewhere any bit.

    Returns
    -------
    2D bool `~numpy.ndarray`, shape (ny, nx)
    """
    bits = JWST_UNUSABLE if telescope.upper() == "JWST" else -1
    return np.asarray((flags.astype(np.int64) & bits) != 0, np.bool_)
