"""Simulated fields as folders: each appears whole or not at all, and is not rendered again where it is done."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import shutil
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from fieldprep.errors import OutputError
from fieldprep.simulation.artefacts import BITS
from fieldprep.simulation.camera import SATURATED_SHARE
from fieldprep.simulation.likeness import matched
from fieldprep.simulation.simulate import SDSS_SHAPE, Recipe, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from fieldprep.simulation.camera import BandCamera
    from fieldprep.simulation.simulate import Simulated

REQUEST = "simulation.json"  # in each folder: what was asked for, so that a rerun knows its own


def write_field(folder: Path, *, seed: int, shape: tuple[int, int] = SDSS_SHAPE, recipe: Recipe | None = None) -> Path:
    """
    Render one field of SDSS's camera into a folder; see `write_fields`.

    Parameters
    ----------
    folder : path
        The folder to make; must not exist or be empty.
    seed : int
        Seed of the field.
    shape : (ny, nx)
        Shape of each band.
    recipe : Recipe, optional
        What to put in.

    Returns
    -------
    path
        The folder.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    write_fields(folder, seed=seed, shape=shape, recipe=recipe)
    return folder


def write_fields(
    out: Path,
    *,
    seed: int,
    number: int = 1,
    shape: tuple[int, int] = SDSS_SHAPE,
    like: Path | None = None,
    recipe: Recipe | None = None,
) -> list[str]:
    """
    Render fields, each as a folder: a ``.fits.bz2`` a band, ``catalogue.csv``, and what tells of artefacts.

    Parameters
    ----------
    out : path
        The folder of the field, or with more than one the folder of their folders, ``NAME-0001`` and on.
    seed : int
        Seed; of several fields each has its own, spawned from it, whatever their number.
    number : int
        How many fields.
    shape : (ny, nx)
        Shape of each band, without ``like``.
    like : path, optional
        Folder of a real field whose grid, noise, PSF and counts the fields are to have.
    recipe : Recipe, optional
        What to put in.

    Returns
    -------
    list of str
        What a reader must know of it, one line each.

    Raises
    ------
    fieldprep.errors.InputError
        If ``like`` cannot be used.
    fieldprep.errors.OutputError
        If a folder cannot be written, or holds something else.
    """
    recipe = recipe or Recipe()
    camera = matched(like) if like else None
    asked = {
        "shape": list(shape) if like is None else None,
        "like": str(like.resolve()) if like else None,
        "recipe": asdict(recipe) | {"artefacts": list(recipe.artefacts)},
    }

    def render(sequence: np.random.SeedSequence, folder: Path, name: str) -> None:
        _write(simulate(sequence, shape, camera=camera, recipe=recipe), folder, name, seed)

    each_folder(out, seed, number, asked, render)
    return list(camera.notes) if camera else []


def each_folder(
    out: Path,
    seed: int,
    number: int,
    asked: Mapping[str, Any],
    render: Callable[[np.random.SeedSequence, Path, str], None],
) -> None:
    """
    Render each field that is not there yet into a folder that appears when it is whole.

    Parameters
    ----------
    out : path
        As of `write_fields`.
    seed, number : int
        As of `write_fields`.
    asked : mapping
        What was asked for; kept in ``simulation.json``.
    render : callable
        Given the field's seed, a folder to fill and the field's name.

    Raises
    ------
    fieldprep.errors.OutputError
        If a folder cannot be written, or holds something else than was asked for.
    """
    root = np.random.SeedSequence(seed)
    name = out.resolve().name
    for k, sequence in enumerate([root] if number == 1 else root.spawn(number), start=1):
        folder = out if number == 1 else out / f"{name}-{k:04d}"
        request = {"seed": seed, "field": None if number == 1 else k, **asked}
        if _done(folder, request):
            continue
        with _whole(folder) as partial:
            render(sequence, partial, folder.resolve().name)
            (partial / REQUEST).write_text(json.dumps(request, indent=2) + "\n")


def _done(folder: Path, request: Mapping[str, Any]) -> bool:
    """Whether the folder holds this very field; an error where it holds anything else."""
    try:
        if not folder.exists() or not any(folder.iterdir()):
            return False
        kept = folder / REQUEST
        if kept.exists() and json.loads(kept.read_text()) == json.loads(json.dumps(request)):  # a tuple is a list there
            return True
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
    except ValueError as error:
        raise OutputError(f"{folder / REQUEST}: damaged; remove the folder and simulate it again") from error
    raise OutputError(f"{folder}: not empty, and not what is asked for now; name a new folder")


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Give a folder that takes its name when the block ends well, and is removed when it does not."""
    partial = folder.with_name(f".{folder.resolve().name}-partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            folder.rmdir()
        partial.replace(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(simulated: Simulated, folder: Path, name: str, seed: int) -> None:
    for band, image in simulated.images.items():
        header = _header(simulated.camera.bands[band], band)
        header["SEED"] = seed
        write_compressed(folder / f"{name}-{band}.fits.bz2", fits.HDUList([fits.PrimaryHDU(image, header)]))
    simulated.truth.round(6).to_csv(folder / "catalogue.csv", index=False)
    write_artefacts(folder, name, simulated.artefacts, simulated.masks)


def _header(camera: BandCamera, band: str) -> fits.Header:
    header = camera.wcs.to_header()
    header["FILTER"] = band
    header["SURVEY"] = "simulation"
    header["BUNIT"] = "nanomaggy"
    header["NMGY"] = (camera.count, "nanomaggies a count; 0: not whole counts")
    header["GAIN"] = (camera.electrons * (camera.count or 1), "electrons a count (a nanomaggy if NMGY is 0)")
    header["SATURATE"] = SATURATED_SHARE * camera.full_well
    header["SEEING"] = (round(camera.psf.fwhm, 4), "FWHM of the point spread function, arcsec")
    header["SKYNOISE"] = (camera.noise, "one sigma of a pixel, nanomaggies")
    return header


def write_compressed(path: Path, hdus: fits.HDUList) -> None:
    """Write HDUs as a ``.fits.bz2`` or ``.fits.gz``, the same bytes for the same HDUs."""
    content = io.BytesIO()
    hdus.writeto(content)
    plain = content.getvalue()
    path.write_bytes(bz2.compress(plain) if path.suffix == ".bz2" else gzip.compress(plain, mtime=0))


def write_artefacts(
    folder: Path, name: str, artefacts: pd.DataFrame, masks: Mapping[str, npt.NDArray[np.uint8]]
) -> None:
    """
    Write ``artefacts.csv``, and if there are any ``NAME-mask.fits.gz``.

    Parameters
    ----------
    folder : path
        The field's folder.
    name : str
        The field's name.
    artefacts : `~pandas.DataFrame`
        See `fieldprep.simulation.artefacts.artefact_table`.
    masks : mapping of str to 2D uint8 `~numpy.ndarray`, shape (ny, nx)
        Bits by band on the r grid: an HDU a band, its header naming the bits. A stamp cut from the aligned
        field is cut from the mask by the same rows and columns.
    """
    artefacts.round(4).to_csv(folder / "artefacts.csv", index=False)
    if len(artefacts) == 0:
        return
    hdus = [fits.PrimaryHDU()]
    for band, mask in masks.items():
        hdu = fits.ImageHDU(mask, name=band)
        hdu.header.update({f"BIT{bit.bit_length() - 1}": kind for kind, bit in BITS.items()})
        hdus.append(hdu)
    write_compressed(folder / f"{name}-mask.fits.gz", fits.HDUList(hdus))
