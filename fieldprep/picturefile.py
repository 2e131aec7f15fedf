"""JPEG, PNG and TIFF: 8 and 16 bit, gray or colour, with the WCS of a sidecar or of AVM where there is one."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image, UnidentifiedImageError
from pyavm import AVM

from fieldprep.errors import InputError, one_line
from fieldprep.fitsfile import Plane

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
SIDECAR_ENDINGS = (".wcs", ".hdr", ".wcs.fits")


def is_picture(path: Path) -> bool:
    """Whether a path's name ends as a picture's does."""
    return path.name.lower().endswith(PICTURE_ENDINGS)


def read_picture_planes(path: Path) -> list[Plane]:
    """
    Channels of a picture as bands R, G, B, or ``gray``.

    Parameters
    ----------
    path : path
        JPEG, PNG or TIFF. Gray pictures and colour ones whose three channels are equal give one band.
        Transparent pixels are NaN. Depth is kept: 16-bit values stay 0..65535, float TIFFs stay floats.

    Returns
    -------
    list of Plane
        Rows in the order of the file, with or without a WCS.

    Raises
    ------
    fieldprep.errors.InputError
        If the file is missing, empty or no picture.

    Notes
    -----
    The WCS comes from a sidecar (``NAME.wcs``, ``NAME.hdr``, a text or FITS header), which counts rows as the
    picture stores them, as astrometry.net solves pictures; or from Astronomy Visualization Metadata in the
    file, which count upwards from the bottom row, so that their y axis is turned to match the rows.
    """
    pixels = read_picture(path)
    return planes_of(pixels, channels_of(pixels), wcs_of(path, pixels), path)


def picture_shape(path: Path) -> tuple[int, int] | None:
    """Rows and columns of a picture, read off its header; None where that does not tell, as `read_picture` will."""
    try:
        with _any_size(), Image.open(path) as picture:
            return picture.height, picture.width
    except Exception:  # noqa: BLE001 -- what is wrong with the picture is said where it is decoded
        return None


def read_picture(path: Path) -> npt.NDArray[Any]:
    """
    Pixels of a picture as the file stores them.

    Parameters
    ----------
    path : path
        JPEG, PNG or TIFF.

    Returns
    -------
    `~numpy.ndarray`, shape (ny, nx), (ny, nx, 3) or (ny, nx, 4)
        Gray, or in OpenCV's order B, G, R, alpha.

    Raises
    ------
    fieldprep.errors.InputError
        If the file is missing, empty or no picture.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: empty; fetch or write it again")
    return _decode(path)


def channels_of(pixels: npt.NDArray[Any]) -> tuple[str, ...]:
    """Bands of a picture: R, G, B, or ``gray`` alone where there is one channel or all three are equal."""
    if pixels.ndim == 2:
        return ("gray",)
    blue, green, red = (pixels[..., k] for k in range(3))
    return ("gray",) if np.array_equal(red, green) and np.array_equal(red, blue) else ("R", "G", "B")


def wcs_of(path: Path, pixels: npt.NDArray[Any]) -> WCS | None:
    """WCS of a picture, from a sidecar or from its metadata; see `read_picture_planes`."""
    return _sidecar_wcs(path) or _avm_wcs(path, pixels.shape[0], pixels.shape[1])


def planes_of(pixels: npt.NDArray[Any], channels: tuple[str, ...], wcs: WCS | None, path: Path) -> list[Plane]:
    """
    Channels of a picture, or of a window of it, as bands.

    Parameters
    ----------
    pixels : `~numpy.ndarray`, shape (ny, nx), (ny, nx, 3) or (ny, nx, 4)
        As `read_picture` gives them.
    channels : tuple of str
        As `channels_of` gives them for the whole picture.
    wcs : `~astropy.wcs.WCS` or None
        Its WCS.
    path : path
        Its file.

    Returns
    -------
    list of Plane
        Float32, NaN where the picture is transparent.
    """
    place = {"R": 2, "G": 1, "B": 0, "gray": 2}
    bands = {name: pixels if pixels.ndim == 2 else pixels[..., place[name]] for name in channels}
    images = {name: np.ascontiguousarray(image, dtype=np.float32) for name, image in bands.items()}
    if pixels.ndim == 3 and pixels.shape[2] == 4 and pixels.dtype.kind == "u":
        for image in images.values():
            image[pixels[..., 3] == 0] = np.nan
    return [Plane(band, image, None, wcs, "", "", str(path)) for band, image in images.items()]


@contextmanager
def _any_size() -> Iterator[None]:
    """Without Pillow's limit on pixels, which takes a mosaic for an attack."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _decode(path: Path) -> npt.NDArray[Any]:
    """Pixels as stored: (ny, nx) or (ny, nx, 3 or 4) in OpenCV's order B, G, R, alpha."""
    try:
        with _any_size(), Image.open(path) as picture:
            picture.verify()  # notices a damaged PNG; a JPEG is only noticed when decoded
            size = picture.size
        with _any_size(), Image.open(path) as picture:
            if picture.mode in {"RGB", "L", "RGBA", "CMYK", "P", "1", "LA"}:
                picture.load()  # raises where the data end early, which OpenCV fills with gray
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, ImportError) as error:  # ultralytics has Pillow ask for a HEIF reader first
        if not path.name.lower().endswith((".tif", ".tiff")):
            raise InputError(f"{path}: not a JPEG, PNG or TIFF picture") from error
        size = None  # a TIFF of a kind Pillow has no mode for; OpenCV may
    except Exception as error:
        raise InputError(f"{path}: damaged picture ({one_line(error)}); fetch or write it again") from error
    encoded = np.fromfile(path, np.uint8)
    try:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:  # more pixels than it takes, or damage it stumbles over
        raise InputError(f"{path}: cannot be decoded ({one_line(error)}); write it again, as FITS if large") from error
    if pixels is None:
        raise InputError(f"{path}: damaged or not a picture of a kind that can be read; fetch or write it again")
    if pixels.dtype.kind not in "fu" or (size is not None and pixels.shape[:2] != (size[1], size[0])):
        raise InputError(f"{path}: pixels of an unsupported kind ({pixels.dtype})")
    return np.asarray(pixels)


def _sidecar_wcs(path: Path) -> WCS | None:
    for ending in SIDECAR_ENDINGS:
        for sidecar in (path.with_suffix(ending), path.with_name(path.name + ending)):
            if not sidecar.exists():
                continue
            try:
                if sidecar.read_bytes()[:6] == b"SIMPLE" and b"\n" not in sidecar.read_bytes()[:81]:
                    header = fits.getheader(sidecar)
                else:
                    header = fits.Header.fromtextfile(sidecar)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    wcs = WCS(header).celestial
            except Exception as error:
                raise InputError(f"{sidecar}: not a readable FITS header ({one_line(error)})") from error
            return wcs if wcs.has_celestial else None
    return None


def _avm_wcs(path: Path, rows: int, columns: int) -> WCS | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            avm = AVM.from_image(str(path))
            wcs = avm.to_wcs()
            spatial = avm.Spatial
            if spatial.CDMatrix is None and spatial.Rotation is not None and spatial.Scale[0] > 0 > spatial.Scale[1]:
                # pyavm writes half of all angles so, and its to_wcs forces the signs without turning the angle
                wcs.wcs.crota = np.asarray(wcs.wcs.crota) + 180
            size = spatial.ReferenceDimension or (columns, rows)
            shrunk = columns / size[0]
            if abs(size[1] * shrunk / rows - 1) > 0.01:  # cropped: no telling where
                return None
            turned = _downwards(wcs.celestial, round(size[1]))
    except Exception:  # noqa: BLE001 -- most pictures carry none; then the field has no WCS, and its notes say so
        return None
    if turned is not None and shrunk != 1:  # press pictures of all sizes carry the metadata of the largest
        turned.wcs.crpix = (turned.wcs.crpix - 0.5) * shrunk + 0.5
        turned.wcs.pc = turned.wcs.get_pc() / shrunk
        turned.wcs.set()
    return turned


def _downwards(wcs: WCS, rows: int) -> WCS | None:
    """Same sky for rows counted from the top: y' = rows - 1 - y."""
    if not wcs.has_celestial or wcs.sip is not None:
        return None
    turned = wcs.deepcopy()
    turned.wcs.crpix[1] = rows + 1 - turned.wcs.crpix[1]
    matrix = wcs.pixel_scale_matrix.copy()
    matrix[:, 1] *= -1
    if turned.wcs.has_cd():
        del turned.wcs.cd
    if turned.wcs.has_crota():
        del turned.wcs.crota
    turned.wcs.cdelt = [1, 1]
    turned.wcs.pc = matrix
    turned.wcs.set()
    return turned
