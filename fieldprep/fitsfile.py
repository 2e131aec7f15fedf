"""FITS files: which of their images are bands, under what name, with which WCS and noise."""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rapidgzip
from astropy.io import fits
from astropy.wcs import WCS

from fieldprep.bands import clean_name, narrowest
from fieldprep.cores import cores
from fieldprep.errors import InputError, one_line
from fieldprep.fitsroles import INHERITED, as_noise, flagged, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fieldprep.field import BoolImage, FloatImage
    from fieldprep.tiles import Window

FITS_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fits.bz2", ".fits.fz", ".fit.gz", ".fit.bz2", ".fz")

# SDSS frames carry no saturation level. Corrected frames are in nanomaggies of NMGY a count; cores of stars
# of r ~ 14, where photometry breaks, peak at 30,000-40,000 counts (measured on the eight fields at hand).
SDSS_SATURATION_COUNTS = 30_000.0
# The sky drifts over the filters in the order r i u z g, two frames apart, and FRAME counts by filter
SDSS_FRAME_OFFSET = {"r": 0, "i": 2, "u": 4, "z": 6, "g": 8}

# Pan-STARRS stacks are stored as asinh magnitudes (STScI, "PS1 FITS keywords"): 2.5 log10 e
PS1_ASINH = 1.0857362

_BAND_KEYS = ("BAND", "BAND0", "FILTER", "FILTNAM", "FILTNAM1", "FILTER1", "FILTER2", "PUPIL")
_FILE_NAMES = {
    "noise": re.compile(r"[_.-](rms|err|sigma|unc)(?=[_.-]|$)", re.IGNORECASE),
    "weight": re.compile(r"[_.-](wht|weight|ivar|invvar)(?=[_.-]|$)", re.IGNORECASE),
    "other": re.compile(r"[_.-](dq|ctx|mask|var|flags?|segm?|psf|bkg)(?=[_.-]|$)", re.IGNORECASE),
}
_BAND_IN_NAME = re.compile(r"(?:^|[_.-])([ugrizy]|f\d{3,4}(?:lp|w2|w|m|n|x))(?=[_.-]|$)", re.IGNORECASE)
_EXTENSION = re.compile(r"^(?P<path>.+)\[(?P<ext>[\w\- ]+)\]$")


ALIGN_FIRST = "bring all bands of so large a field onto one grid first, as SWarp, reproject or AstroDrizzle do"


class NoImageError(InputError):
    """A FITS file without an image, as a catalogue is one."""


@dataclass(frozen=True, eq=False)
class Plane:
    """One image of a file: a band, or the noise of one; ``unusable`` where it is saturated or flagged."""

    band: str
    image: FloatImage
    unusable: BoolImage | None
    wcs: WCS | None
    survey: str
    field_id: str
    file: str
    noise: FloatImage | None = None
    notes: tuple[str, ...] = ()


def is_fits(path: Path) -> bool:
    """Whether a path's name ends as FITS files do (an extension in brackets is left out of account)."""
    return split_extension(str(path))[0].name.lower().endswith(FITS_ENDINGS)


def split_extension(name: str) -> tuple[Path, str | int | None]:
    """
    Path and extension of ``mosaic.fits[SCI]``; the extension is None where none is named.

    Parameters
    ----------
    name : str
        A path, with an extension's name or number in brackets or without.
    """
    match = None if os.path.exists(name) else _EXTENSION.match(name)  # noqa: PTH110 -- brackets may be the name's own
    if not match:
        return Path(name), None
    ext = match["ext"]
    return Path(match["path"]), int(ext) if ext.isdigit() else ext


def kind_by_name(path: Path) -> str:
    """Read off a file's name whether it is an ``image``, its ``noise``, its ``weight`` or something ``other``."""
    for kind, pattern in _FILE_NAMES.items():
        if pattern.search(path.name):
            return kind
    return "image"


def read_planes(name: str | Path, *, window: Window | None = None, step: int = 1) -> list[Plane]:
    """
    Bands of one FITS file, each with its noise where the file brings it.

    Plain, ``.gz``, ``.bz2`` (decompressed on all cores) and ``.fz``; image in any HDU, bands as HDUs that
    carry BAND or FILTER, or as named planes of a cube; integers with BSCALE, BZERO and BLANK; Pan-STARRS
    stacks made linear. Beside a band, named by EXTNAME or IMAGETYP: its noise (ERR, RMS, IVAR, ...), its
    coverage (WHT of HST and JWST mosaics: no data where it is zero), its flags (DQ).

    Parameters
    ----------
    name : str or path
        The file; ``mosaic.fits[SCI]`` or ``mosaic.fits[1]`` names the HDU, whose noise and flags are read with it.
    window : Window, optional
        Read no more than this of each image; the file must be plain or ``.fz``, its bands of one shape. The planes'
        WCS stays that of the whole.
    step : int
        Of a window, read one row in so many.

    Returns
    -------
    list of Plane
        In the order of the file, at least one.

    Raises
    ------
    fieldprep.errors.InputError
        If the file is missing, empty, damaged, holds no image or an ambiguous one.
    """
    path, extension = split_extension(str(name))
    with _in_our_words(path):
        content = _opened(path) if window is None else path
        with fits.open(content, memmap=False, lazy_load_hdus=False) as hdus:
            images = _images(path, hdus, extension)
            if window is not None:
                images = [_Cut(hdu, window, step) for hdu in _one_shape(path, images)]
            return _planes(path, images)


@contextmanager
def _in_our_words(path: Path) -> Iterator[None]:
    """Raise what is wrong with a FITS file as an InputError of one line."""
    try:
        with warnings.catch_warnings():
            # damaged or odd headers speak here; what matters of it is raised below, in our words
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: too large for this machine's memory") from error
    except Exception as error:
        raise InputError(f"{path}: damaged or not FITS ({one_line(error)}); fetch or write it again") from error


def image_shape(name: str | Path) -> tuple[int, int]:
    """
    Rows and columns of a FITS file's bands, read off its headers.

    Parameters
    ----------
    name : str or path
        As of `read_planes`, plain or ``.fz``.

    Returns
    -------
    (ny, nx)
        Of the largest, should they differ.

    Raises
    ------
    fieldprep.errors.InputError
        As `read_planes`.
    """
    path, extension = split_extension(str(name))
    with _in_our_words(path), fits.open(path, memmap=False, lazy_load_hdus=False) as hdus:
        return max((_shape(hdu) for hdu in _images(path, hdus, extension)), key=math.prod)


def _images(path: Path, hdus: fits.HDUList, extension: str | int | None) -> list[Any]:
    """Image HDUs in question, each with what it inherits of the primary header."""
    images = [hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2]
    _inherit(hdus[0].header, images)
    return _chosen(path, hdus, images, extension)


def _shape(hdu: Any) -> tuple[int, int]:
    return int(hdu.shape[-2]), int(hdu.shape[-1])


class _Cut:
    """An image HDU of which only a window, one row in ``step``, is read; what of it `_planes` looks at."""

    def __init__(self, hdu: Any, window: Window, step: int) -> None:
        self.header, self.name, self.ver = hdu.header, hdu.name, hdu.ver
        self.data = hdu.section[..., slice(window.y0, window.y1, step), window.columns]


def _one_shape(path: Path, hdus: list[Any]) -> list[Any]:
    """HDUs of the bands' shape, which the bands must share; a weight or error of another shape is left out, as ever."""
    shapes = {_shape(hdu) for hdu in hdus if kind_of(hdu) == "image"}
    if len(shapes) > 1:
        sizes = ", ".join(f"{ny} x {nx}" for ny, nx in sorted(shapes))
        raise InputError(f"{path}: images of {sizes} pixels; {ALIGN_FIRST}")
    return [hdu for hdu in hdus if _shape(hdu) in shapes]


def _opened(path: Path) -> io.BytesIO:
    """Contents of the file, decompressed; the checks that can be made before FITS is looked at."""
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        raise InputError(f"{path}: a folder, where a FITS file was expected")
    try:
        with path.open("rb") as handle:
            start = handle.read(6)
            if not start:
                raise InputError(f"{path}: empty; fetch or write it again")
            if start[:3] == b"BZh":
                content = _bunzip2(path)
            elif start[:2] == b"\x1f\x8b":
                content = gzip.decompress(start + handle.read())
            else:
                content = start + handle.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: truncated or corrupt gzip ({one_line(error)}); fetch it again") from error
    except PermissionError as error:
        raise InputError(f"{path}: not readable (permission denied)") from error
    if not content.startswith(b"SIMPLE"):
        raise InputError(f"{path}: not a FITS file (it does not begin with SIMPLE)")
    return io.BytesIO(content)


def _bunzip2(path: Path) -> bytes:
    try:
        with rapidgzip.IndexedBzip2File(str(path), parallelization=cores()) as handle:
            return bytes(handle.read())
    except Exception as error:  # the library raises RuntimeError, ValueError and bare C++ exceptions alike
        raise InputError(f"{path}: truncated or corrupt bzip2; fetch it again") from error


def _chosen(path: Path, hdus: fits.HDUList, images: list[Any], extension: str | int | None) -> list[Any]:
    """Image HDUs in question: all, or the named one with the noise, weight and flags beside it (same EXTVER)."""
    if extension is None and not images:
        kind = "tables only" if any(not hdu.is_image for hdu in hdus) else "no image"
        raise NoImageError(f"{path}: holds {kind}, where an image was expected")
    if extension is None:
        return images
    try:
        named = hdus[extension]
    except (KeyError, IndexError) as error:
        names = ", ".join(f"{i}:{hdu.name or '-'}" for i, hdu in enumerate(hdus))
        raise InputError(f"{path}: no HDU {extension!r}; it has {names}") from error
    if not any(hdu is named for hdu in images):
        raise InputError(f"{path}: HDU {extension!r} is not an image; name one that is")
    if kind_of(named) != "image":
        return [named]
    return [named, *(hdu for hdu in images if hdu.ver == named.ver and kind_of(hdu) != "image")]


def _inherit(primary: fits.Header, hdus: list[Any]) -> None:
    """Give each HDU what HST and JWST write into the primary header alone: filter, telescope, drizzling."""
    for hdu in hdus:
        if not any(key in hdu.header for key in _BAND_KEYS):
            hdu.header.update({key: primary[key] for key in _BAND_KEYS if key in primary})
        if not {"TELESCOP", "SURVEY"} & set(hdu.header):
            hdu.header.update({key: primary[key] for key in INHERITED if key in primary})


def _planes(path: Path, hdus: list[Any]) -> list[Plane]:
    """Bands among the image HDUs, what stands beside each joined to it."""
    bands: dict[str, Plane] = {}
    unnamed = 0
    kinds = [(kind_of(hdu), hdu) for hdu in hdus]
    for kind, hdu in kinds:
        if kind == "image":
            for plane in _image_planes(path, hdu):
                if plane.band in bands:
                    unnamed += 1
                    continue
                bands[plane.band] = plane
    if unnamed:
        names = ", ".join(f"{hdu.name or hdu.header.get('BAND', '-')}" for _, hdu in kinds)
        raise InputError(
            f"{path}: {unnamed + len(bands)} images, and no telling which is which band ({names}); "
            f"name one as {path.name}[1], or give each HDU a BAND keyword"
        )
    if not bands:
        raise InputError(f"{path}: holds no science image, only weights, errors or flags")
    for kind, hdu in sorted(kinds, key=lambda pair: pair[0] == "noise"):  # an error outranks a weight, so last
        if kind not in {"image", "other"}:
            for band, data in _beside(path, hdu, bands):
                bands[band] = _joined(bands[band], kind, data, hdu.header)
    return list(bands.values())


def _beside(path: Path, hdu: Any, bands: dict[str, Plane]) -> list[tuple[str, Any]]:
    """Bands to which an image of noise, weight or flags belongs, each with its part of it."""
    data = _without_empty_axes(hdu.data)
    if data.ndim == 3:
        parts = list(zip(_cube_bands(hdu.header, data.shape[0]), data, strict=False))
    elif any(key in hdu.header for key in _BAND_KEYS) or len(bands) > 1:
        parts = [(_band(path, hdu.header), data)]
    else:
        parts = [(next(iter(bands)), data)]
    return [(band, part) for band, part in parts if band in bands and part.shape == bands[band].image.shape]


def _joined(plane: Plane, kind: str, data: Any, header: fits.Header) -> Plane:
    if kind == "flags":
        bad = flagged(data, str(header.get("TELESCOP", "")).strip())
        return replace(plane, unusable=bad if plane.unusable is None else plane.unusable | bad)
    if kind == "coverage":
        return replace(plane, image=np.where(_float(data) > 0, plane.image, np.float32(np.nan)))
    return replace(plane, noise=as_noise(_float(data), kind))


def _image_planes(path: Path, hdu: Any) -> list[Plane]:
    header = hdu.header
    data = _linear(_without_empty_axes(_float(hdu.data)), header)
    if data.ndim == 2:
        return [_plane(path, _band(path, header), data, header)]
    if data.ndim == 3:
        names = _cube_bands(header, data.shape[0])
        if names:
            return [_plane(path, name, plane, header) for name, plane in zip(names, data, strict=True)]
    shape = " x ".join(map(str, data.shape))
    raise InputError(
        f"{path}: a cube of {shape} whose planes are not named; add the keywords BAND1, BAND2, ... "
        "(one a plane) to its header, or write one file a band"
    )


def _without_empty_axes(data: Any) -> Any:
    """Data without axes of length 1 before the last two, which may be a window of one row or column."""
    return np.squeeze(data, axis=tuple(axis for axis in range(data.ndim - 2) if data.shape[axis] == 1))


def _cube_bands(header: fits.Header, planes: int) -> list[str]:
    """Band names of a cube's planes from BAND1.., BAND0.., FILTER1.. or BANDS = 'grz'; empty if not all are there."""
    for stem, first in (("BAND", 1), ("BAND", 0), ("FILTER", 1), ("FILTER", 0)):
        keys = [f"{stem}{first + i}" for i in range(planes)]
        if all(key in header for key in keys):
            names = [clean_name(str(header[key])) for key in keys]
            return names if len(set(names)) == planes else []
    together = str(header.get("BANDS", "")).replace(",", "").strip()
    return list(together) if len(together) == planes == len(set(together)) else []


def _band(path: Path, header: fits.Header) -> str:
    """Band of an image: BAND, else of the filters in the beam the narrowest; else by file name."""
    stated = {key: str(header.get(key, "")).strip() for key in _BAND_KEYS}
    if str(header.get("TELESCOP", "")).strip() != "JWST":  # elsewhere PUPIL is no filter
        del stated["PUPIL"]
    found = clean_name(stated.pop("BAND") or stated.pop("BAND0")) or narrowest(stated.values())
    if found:
        return found
    match = _BAND_IN_NAME.search(path.name)
    return clean_name(match[1]) if match else "gray"


def _plane(path: Path, band: str, image: FloatImage, header: fits.Header) -> Plane:
    survey, field_id = _survey(header)
    limit = header.get("SATURATE")
    if survey == "SDSS" and "NMGY" in header:
        limit = SDSS_SATURATION_COUNTS * float(header["NMGY"])
    saturated = None
    if isinstance(limit, int | float) and limit > 0:
        with np.errstate(invalid="ignore"):
            saturated = image >= limit
    notes = tuple(note for note in str(header.get("NOTE", "")).split("; ") if note)
    return Plane(band, image, saturated, _wcs(header), survey, field_id, str(path), notes=notes)


def _survey(header: fits.Header) -> tuple[str, str]:
    """Survey and field id (SDSS: run, camcol, field), empty where the header does not tell."""
    if {"RUN", "CAMCOL", "FRAME"} <= set(header):
        number = int(header["FRAME"]) - SDSS_FRAME_OFFSET.get(str(header.get("FILTER", "")).strip(), 0)
        return "SDSS", f"{int(header['RUN']):06d}-{int(header['CAMCOL'])}-{number:04d}"
    return str(header.get("SURVEY") or header.get("TELESCOP") or "").strip(), ""


def _wcs(header: fits.Header) -> WCS | None:
    try:
        celestial = WCS(header).celestial
    except Exception:  # noqa: BLE001 -- a WCS that cannot be read is no WCS; the field says so in its notes
        return None
    return celestial if celestial.has_celestial else None


def _linear(image: FloatImage, header: fits.Header) -> FloatImage:
    """Linear flux of an image that is stored as asinh magnitudes; any other image as it is."""
    if not {"BSOFTEN", "BOFFSET"} <= set(header):
        return image
    flux = float(header["BOFFSET"]) + 2 * float(header["BSOFTEN"]) * np.sinh(image / np.float32(PS1_ASINH))
    return np.asarray(flux, np.float32)


def _float(data: Any) -> FloatImage:
    """Native float32; a masked or scaled integer comes from astropy as float already."""
    if data is None or data.dtype.kind not in "fiu":
        raise InputError("the image holds no numbers")
    return np.ascontiguousarray(data, dtype=np.float32)
