"""Whether a FITS file that came over a network is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astropy.io import fits

from fieldprep.errors import InputError, one_line

if TYPE_CHECKING:
    from pathlib import Path


def check_fits(path: Path, *, extension: str | None = None) -> None:
    """
    See that a file is FITS, as long as its headers say, and as its checksums say where it has any.

    Parameters
    ----------
    path : path
        The file, not compressed.
    extension : str, optional
        EXTNAME of an image it must hold; any image if not given.

    Raises
    ------
    fieldprep.errors.InputError
        If it is not so.
    """
    try:
        _check_length(path)
        with fits.open(path, lazy_load_hdus=False) as hdus:
            images = {hdu.name.upper() for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2}
            # both give 0 for a wrong sum, 2 where there is none
            wrong = [i for i, hdu in enumerate(hdus) if not (hdu.verify_datasum() and hdu.verify_checksum())]
    except InputError:
        raise
    except Exception as error:  # astropy raises what it likes on bytes that are no FITS
        raise InputError(f"{path}: no FITS file ({one_line(error)})") from error
    if wrong:
        raise InputError(f"{path}: the checksum of HDU {wrong[0]} is wrong")
    if not images or (extension and extension not in images):
        raise InputError(f"{path}: holds no image{f' {extension}' if extension else ''}")


def _check_length(path: Path) -> None:
    """Walk from header to header: astropy only warns of a file that breaks off, and warnings are no thread's own."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        if handle.read(6) != b"SIMPLE":
            raise InputError(f"{path}: no FITS file (it does not begin with SIMPLE)")
        handle.seek(0)
        while handle.tell() < size:
            header = fits.Header.fromfile(handle)
            handle.seek(header.data_size_padded, 1)
        if handle.tell() > size:
            raise InputError(f"{path}: breaks off after {size} bytes")
