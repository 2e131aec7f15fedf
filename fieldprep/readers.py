"""Files to a Field: which files belong together, and their bands onto one grid."""

from __future__ import annotations

import re
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.wcs.utils import proj_plane_pixel_scales

from fieldprep.align import resample
from fieldprep.bands import by_wavelength
from fieldprep.errors import InputError
from fieldprep.field import Field
from fieldprep.fitsfile import (
    FITS_ENDINGS,
    NoImageError,
    Plane,
    is_fits,
    kind_by_name,
    read_planes,
    split_extension,
)
from fieldprep.fitsroles import as_noise
from fieldprep.picturefile import is_picture, read_picture_planes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astropy.wcs import WCS

    from fieldprep.field import BoolImage

_SDSS_FRAME = re.compile(r"frame-[ugriz]-(\d{6}-\d-\d{4})\.")


def read_field(source: str | PathLike[str] | Sequence[str | PathLike[str]], *, name: str | None = None) -> Field:
    """
    Read one field; see `Field.read`.

    Parameters
    ----------
    source : path or sequence of paths
        A FITS file, a folder with the band files of one field, those files themselves, or a picture.
    name : str, optional
        Name of the field, instead of the survey's id or the stem.

    Returns
    -------
    Field

    Raises
    ------
    fieldprep.errors.InputError
        If it cannot be read as one field.
    """
    given = [source] if isinstance(source, str | PathLike) else list(source)
    paths = [Path(str(part)) for part in given]
    if len(paths) == 1 and paths[0].is_dir():
        paths = band_files(paths[0])
    if not paths:
        raise InputError("no files to read a field from")
    planes = read_picture_planes(paths[0]) if len(paths) == 1 and is_picture(paths[0]) else read_bands(paths)
    return _assemble(planes, name or field_name([Path(str(part)) for part in given]))


def band_files(folder: Path) -> list[Path]:
    """
    FITS files of a folder that hold one field.

    Parameters
    ----------
    folder : path
        A folder.

    Returns
    -------
    list of path
        Sorted by name.

    Raises
    ------
    fieldprep.errors.InputError
        If the folder holds no FITS file.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and is_fits(path))
    if not files:
        raise InputError(f"{folder}: no FITS file in it")
    return files


def sdss_id(path: Path) -> str | None:
    """Run-camcol-field of an SDSS frame by its file name, None for any other file."""
    match = _SDSS_FRAME.match(path.name)
    return match[1] if match else None


def field_name(paths: Sequence[Path]) -> str:
    """
    Name of a field by its files: the survey's id, else the stem of the folder or the file.

    Parameters
    ----------
    paths : sequence of path
        The folder, the file, or the band files of one folder.

    Returns
    -------
    str
    """
    first = split_extension(str(paths[0]))[0]
    ids = {sdss_id(path) for path in paths}
    if len(ids) == 1 and None not in ids:
        return str(ids.pop())
    if len(paths) > 1:
        return first.resolve().parent.name
    if first.is_dir():
        return first.resolve().name
    for ending in sorted(FITS_ENDINGS, key=len, reverse=True):
        if first.name.lower().endswith(ending):
            return first.name[: -len(ending)]
    return first.stem


def read_bands(paths: Sequence[Path], read: Callable[[Path], list[Plane]] = read_planes) -> list[Plane]:
    """
    Bands of several FITS files, each with the noise that a file beside it brings.

    Parameters
    ----------
    paths : sequence of path
        The files of one field.
    read : callable
        Gives the planes of a file; see `fieldprep.fitsfile.read_planes`.

    Returns
    -------
    list of Plane
        In the order of the files.

    Raises
    ------
    fieldprep.errors.InputError
        If there is none, or one band twice.
    """
    bands: dict[str, Plane] = {}
    noise: list[tuple[str, Path]] = []
    for path in paths:
        kind = kind_by_name(path) if len(paths) > 1 else "image"
        if kind in {"noise", "weight"}:
            noise.append((kind, path))
        elif kind == "image":
            try:
                planes = read(path)
            except NoImageError:
                if len(paths) == 1:
                    raise
                continue  # a catalogue beside the frames
            for plane in planes:
                if plane.band in bands:
                    raise InputError(
                        f"{path}: band {plane.band} is in {Path(bands[plane.band].file).name} too; put each field "
                        "into a folder of its own, and name each band by FILTER in its header"
                    )
                bands[plane.band] = plane
    if not bands:
        raise InputError(f"{paths[0].parent}: no science image, only weights, errors or flags")
    for kind, path in noise:
        plane = read(path)[0]
        if plane.band in bands and bands[plane.band].image.shape == plane.image.shape:
            bands[plane.band] = replace(bands[plane.band], noise=as_noise(plane.image, kind))
    return list(bands.values())


def _assemble(planes: list[Plane], name: str) -> Field:
    """Planes onto one grid, unusable pixels masked."""
    planes, reference = in_order(planes, name)
    shape = reference.image.shape
    if min(shape) < 2:
        raise InputError(f"{reference.file}: an image of {shape[0]} x {shape[1]} pixels is no field")
    for plane in planes:
        if not np.isfinite(plane.image).any():
            raise InputError(f"{plane.file}: no finite pixel in band {plane.band}")
    notes = grid_notes(planes, reference, name)
    aligned = [_aligned(plane, reference) for plane in planes]
    mask = unusable(aligned)
    if mask.all():
        raise InputError(f"{name}: no pixel is usable in every band ({', '.join(p.band for p in planes)})")
    return Field(
        name=name,
        bands={plane.band: plane.image for plane in aligned},
        mask=mask,
        survey=planes[0].survey,
        wcs=reference.wcs,
        pixel_scale=scale_of(reference),
        noise={plane.band: plane.noise for plane in aligned if plane.noise is not None},
        provenance=provenance_of(planes, notes),
    )


def in_order(planes: list[Plane], name: str) -> tuple[list[Plane], Plane]:
    """Planes of one field from the shortest wavelength to the longest, and the one whose grid is the field's."""
    ids = {plane.field_id for plane in planes if plane.field_id}
    if len(ids) > 1:
        raise InputError(f"{name}: the bands are of different fields ({', '.join(sorted(ids))})")
    order = by_wavelength([plane.band for plane in planes])
    planes = sorted(planes, key=lambda plane: order.index(plane.band))
    sdss_r = (plane for plane in planes if planes[0].survey == "SDSS" and plane.band == "r")
    return planes, next(sdss_r, planes[len(planes) // 2])


def unusable(planes: Sequence[Plane]) -> BoolImage:
    """Mask of planes on one grid: a band is missing, not finite, saturated or flagged there, or has no noise."""
    mask = np.zeros(planes[0].image.shape, np.bool_)
    for plane in planes:
        mask |= ~np.isfinite(plane.image)
        if plane.unusable is not None:
            mask |= plane.unusable
        if plane.noise is not None:
            mask |= ~np.isfinite(plane.noise)
    return mask


def scale_of(plane: Plane) -> float | None:
    """Arcsec per pixel; None without a WCS."""
    return None if plane.wcs is None else float(np.mean(proj_plane_pixel_scales(plane.wcs)) * 3600)


def provenance_of(planes: Sequence[Plane], notes: Sequence[str]) -> dict[str, Any]:
    """Provenance of a field made of these planes; see `Field`."""
    ids = {plane.field_id for plane in planes if plane.field_id}
    return {"files": sorted({plane.file for plane in planes}), "id": "".join(ids), "notes": list(notes)}


def grid_notes(planes: Sequence[Plane], reference: Plane, name: str) -> list[str]:
    """What the files themselves note, and what there is to note of the WCS; without one bands must be of one shape."""
    own = list(dict.fromkeys(f"{name}: {note}" for plane in planes for note in plane.notes))
    without = [plane for plane in planes if plane.wcs is None]
    for plane in planes:
        if plane.image.shape != reference.image.shape and (plane in without or reference in without):
            raise InputError(
                f"{plane.file}: band {plane.band} is {plane.image.shape[0]} x {plane.image.shape[1]} pixels, "
                f"band {reference.band} {reference.image.shape[0]} x {reference.image.shape[1]}, and without a "
                "WCS in both they cannot be brought onto one grid"
            )
    if not without:
        return own
    if reference in without:
        return [f"{name}: no WCS, so no sky positions", *own]
    bands = ", ".join(plane.band for plane in without)
    return [f"{name}: no WCS in band {bands}, taken to be on the grid of band {reference.band}", *own]


def same_grid(first: WCS, second: WCS) -> bool:
    """Whether two WCSs are one, distortion included."""
    if not first.wcs.compare(second.wcs, tolerance=1e-9):
        return False
    if first.sip is None or second.sip is None:
        return first.sip is second.sip
    return np.array_equal(first.sip.a, second.sip.a) and np.array_equal(first.sip.b, second.sip.b)


def _aligned(plane: Plane, reference: Plane) -> Plane:
    """Plane on the reference's grid; its own grid where either lacks a WCS or both are the same."""
    if plane is reference or plane.wcs is None or reference.wcs is None:
        return plane
    shape = (reference.image.shape[0], reference.image.shape[1])
    if plane.image.shape == shape and same_grid(plane.wcs, reference.wcs):
        return plane
    if min(plane.image.shape) < 2:
        raise InputError(f"{plane.file}: an image of {plane.image.shape} pixels is no field")
    try:
        image = resample(plane.image, plane.wcs, reference.wcs, shape)
        noise = None if plane.noise is None else resample(plane.noise, plane.wcs, reference.wcs, shape)
    except InputError as error:
        raise InputError(f"{plane.file}: {error} ({plane.band} against {reference.band})") from error
    unusable = None
    if plane.unusable is not None and plane.unusable.any():
        moved = resample(plane.unusable.astype(np.float32), plane.wcs, reference.wcs, shape)
        unusable = np.nan_to_num(moved) > 0.1  # a pixel touched by an unusable one is no better
    return replace(plane, image=image, unusable=unusable, wcs=reference.wcs, noise=noise)
