"""Files to a Field, or to a Mosaic where they are too large to be held in memory."""

from __future__ import annotations

import gzip
import math
import shutil
import tempfile
import weakref
import zlib
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rapidgzip

from fieldprep.cores import cores
from fieldprep.errors import InputError, one_line
from fieldprep.field import Field
from fieldprep.fitsfile import ALIGN_FIRST, image_shape, kind_by_name, read_planes, split_extension
from fieldprep.mosaic import READ_PIXELS, Mosaic, Sky, every, stacked
from fieldprep.picturefile import channels_of, is_picture, picture_shape, planes_of, read_picture, wcs_of
from fieldprep.readers import (
    band_files,
    field_name,
    grid_notes,
    in_order,
    provenance_of,
    read_bands,
    read_field,
    same_grid,
    scale_of,
    unusable,
)
from fieldprep.sky import grid_step
from fieldprep.surveys.download import cache_folder
from fieldprep.tiles import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from astropy.wcs import WCS

    from fieldprep.fitsfile import Plane

WHOLE_PIXELS = 30_000_000  # a field of more is read by windows; an SDSS frame has 3 million
PACKED_BYTES = 32_000_000  # .gz and .bz2 files of more are unpacked to disk: nothing can be read from their middle
_CORNER = Window(0, 0, 2, 2)  # what is read of a mosaic to learn its bands


def open_field(
    source: str | PathLike[str] | Sequence[str | PathLike[str]], *, name: str | None = None, largest: int | None = None
) -> Sky:
    """
    Read a field, or open it as a mosaic where it is too large for that.

    Parameters
    ----------
    source : path or sequence of paths
        As of `Field.read`.
    name : str, optional
        As of `Field.read`.
    largest : int
        Pixels of the largest field that is read whole; 30 million if not given.

    Returns
    -------
    Field or Mosaic

    Raises
    ------
    fieldprep.errors.InputError
        If it cannot be read as one field; of a mosaic also if its bands are not on one grid.
    """
    given = [source] if isinstance(source, str | PathLike) else list(source)
    paths = [Path(str(part)) for part in given]
    name = name or (field_name(paths) if paths else "")
    largest = WHOLE_PIXELS if largest is None else largest
    if len(paths) == 1 and paths[0].is_dir():
        paths = band_files(paths[0])
    if len(paths) == 1 and is_picture(paths[0]):
        shape = picture_shape(paths[0])
        if shape is None or math.prod(shape) <= largest:
            return read_field(paths, name=name)
        return _mosaic(_Picture.of(paths[0]), shape, name)
    folder, files = _unpacked(paths)
    try:
        shapes = {path: _shape(path) for path in files}
        if max((math.prod(shape) for shape in shapes.values()), default=0) <= largest:
            return _named_as_given(read_field(files, name=name), files, paths)
        shape = _one_shape(shapes)
        reader = _Files(tuple(files))
        opened = _mosaic(reader, shape, name)
        if folder is not None:
            weakref.finalize(reader, shutil.rmtree, folder, ignore_errors=True)
            folder = None  # it goes when the mosaic does
        return _named_as_given(opened, files, paths)
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads windows; what kind of file of is told by `planes`."""

    def planes(self, window: Window, step: int = 1) -> list[Plane]:
        """Bands of a window, of one row in ``step``, each with the WCS of the whole."""
        raise NotImplementedError

    def __call__(self, window: Window) -> Field:
        return self._field(window, 1)

    def sample(self, shape: tuple[int, int]) -> Field:
        ny, nx = shape
        step = grid_step(ny * nx)
        # by strips, since tile compression gives no row alone
        height = max(1, READ_PIXELS // (nx * step)) * step
        strips = (self._field(Window(0, y, nx, min(y + height, ny)), step) for y in range(0, ny, height))
        return stacked([every(strip, step) for strip in strips])

    def _field(self, window: Window, step: int) -> Field:
        planes, _ = in_order(self.planes(window, step), "")
        return Field(
            name="",
            bands={plane.band: plane.image for plane in planes},
            mask=unusable(planes),
            noise={plane.band: plane.noise for plane in planes if plane.noise is not None},
        )


@dataclass(frozen=True, eq=False)
class _Files(_Reader):
    """FITS files with one field's bands, all on one grid."""

    paths: tuple[Path, ...]

    def planes(self, window: Window, step: int = 1) -> list[Plane]:
        return read_bands(self.paths, partial(read_planes, window=window, step=step))


@dataclass(frozen=True, eq=False)
class _Picture(_Reader):
    """A picture, in memory as its file stores it: three bytes a pixel where the bands take twelve."""

    path: Path
    pixels: npt.NDArray[Any]
    channels: tuple[str, ...]
    wcs: WCS | None

    @classmethod
    def of(cls, path: Path) -> _Picture:
        pixels = read_picture(path)
        return cls(path, pixels, channels_of(pixels), wcs_of(path, pixels))

    def planes(self, window: Window, step: int = 1) -> list[Plane]:
        return planes_of(self.pixels[window.rows, window.columns][::step], self.channels, self.wcs, self.path)


def _mosaic(reader: _Reader, shape: tuple[int, int], name: str) -> Mosaic:
    """Mosaic of what a reader reads, its bands checked for one grid."""
    planes, reference = in_order(reader.planes(_CORNER), name)
    notes = grid_notes(planes, reference, name)
    for plane in planes:
        if plane.wcs is not None and reference.wcs is not None and not same_grid(plane.wcs, reference.wcs):
            raise InputError(f"{plane.file}: band {plane.band} is on another grid than {reference.band}; {ALIGN_FIRST}")
    mosaic = Mosaic(
        name=name,
        shape=shape,
        bands=tuple(plane.band for plane in planes),
        reader=reader,
        survey=planes[0].survey,
        wcs=reference.wcs,
        pixel_scale=scale_of(reference),
        provenance=provenance_of(planes, notes),
    )
    _check_some_pixels(mosaic)
    return mosaic


def _check_some_pixels(mosaic: Mosaic) -> None:
    """What a field that is read whole is refused for, as far as a sample tells."""
    sample = mosaic.sample()
    for band, image in sample.bands.items():
        if not np.isfinite(image).any():
            raise InputError(f"{mosaic.name}: no finite pixel in band {band}, of {image.size} looked at")
    if sample.mask.all():
        bands = ", ".join(mosaic.bands)
        raise InputError(f"{mosaic.name}: no pixel is usable in every band ({bands}), of {sample.mask.size} looked at")


def _shape(path: Path) -> tuple[int, int]:
    """Rows and columns of a file's bands; none of what holds no band, or cannot be read by windows as it is."""
    file = split_extension(str(path))[0]
    if kind_by_name(file) != "image" or not file.is_file() or _packed(file):
        return 0, 0
    try:
        return image_shape(path)
    except InputError:  # said where the field is read
        return 0, 0


def _one_shape(shapes: dict[Path, tuple[int, int]]) -> tuple[int, int]:
    """Shape of all bands of a mosaic."""
    images = {path: shape for path, shape in shapes.items() if math.prod(shape)}
    largest = max(images.values(), key=math.prod)
    for path, shape in images.items():
        if shape != largest:
            sizes = f"{shape[0]} x {shape[1]} pixels, another file {largest[0]} x {largest[1]}"
            raise InputError(f"{path}: {sizes}; {ALIGN_FIRST}")
    return largest


def _packed(path: Path) -> str:
    """Kind of compression of a file as a whole, empty if there is none."""
    with path.open("rb") as handle:
        start = handle.read(3)
    return "bzip2" if start == b"BZh" else "gzip" if start[:2] == b"\x1f\x8b" else ""


def _unpacked(paths: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """Files that can be read by windows: large packed ones are unpacked into a folder of their own in the cache."""
    files = [split_extension(str(path))[0] for path in paths]
    large = [file.is_file() and file.stat().st_size > PACKED_BYTES and bool(_packed(file)) for file in files]
    if not any(large):
        return None, list(paths)
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="unpacked-", dir=cache))
    out: list[Path] = []
    try:
        for path, file, is_large in zip(paths, files, large, strict=True):
            target = folder / f"{len(out)}" / file.name.removesuffix(".gz").removesuffix(".bz2")
            if is_large:
                _unpack(file, target)
            out.append(Path(str(path).replace(str(file), str(target), 1)) if is_large else path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder, out


def _unpack(file: Path, target: Path) -> None:
    target.parent.mkdir()
    try:
        with _stream(file) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 24)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{file}: truncated or corrupt gzip ({one_line(error)}); fetch it again") from error
    except OSError as error:
        reason = f"cannot be unpacked into {target.parent} ({error.strerror or one_line(error)})"
        raise InputError(f"{file}: {reason}; unpack it yourself, or set FULLFIELD_CACHE to a roomy folder") from error
    except Exception as error:  # rapidgzip raises RuntimeError, ValueError and bare C++ exceptions alike
        raise InputError(f"{file}: truncated or corrupt bzip2; fetch it again") from error


def _stream(file: Path) -> Any:
    if _packed(file) == "gzip":
        return gzip.open(file)
    return rapidgzip.IndexedBzip2File(str(file), parallelization=cores())


def _named_as_given(sky: Sky, files: Sequence[Path], given: Sequence[Path]) -> Sky:
    """The files in a field's provenance by the names they were given under, where they had to be unpacked."""
    pairs = zip(files, given, strict=True)
    names = {str(split_extension(str(file))[0]): str(split_extension(str(path))[0]) for file, path in pairs}
    unpacked = [name for name in names if name != names[name]]
    if not unpacked:
        return sky
    note = f"{sky.name}: unpacked to be read by windows; an unpacked file or tile compression (.fz) is read faster"
    provenance = {
        **sky.provenance,
        "files": sorted(names.get(file, file) for file in sky.provenance["files"]),
        "notes": [*sky.notes, note],
    }
    return replace(sky, provenance=provenance)
