"""
Galaxy10 as published: the HDF5 files of DECaLS (256 px) and of SDSS (69 px), each with ten classes.

References
----------
Leung & Bovy 2021, astroNN, Galaxy10 DECals (17,736 images; arrays ``images``, ``ans``, ``ra``, ``dec``, ``redshift``,
``pxscale``) and Galaxy10 SDSS (21,785 images; ``images``, ``ans``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldprep.errors import InputError, one_line

if TYPE_CHECKING:
    from pathlib import Path

ENDINGS = (".h5", ".hdf5")
AT_ONCE = 512  # images read and cropped at a time: the whole file is 3.5 GB
DECALS = (
    "disturbed", "merging", "smooth_round", "smooth_inbetween", "smooth_cigar",
    "spiral_barred", "spiral_tight", "spiral_loose", "edge_on_without_bulge", "edge_on_with_bulge",
)  # fmt: skip
SDSS = (
    "disk_without_spiral", "smooth_round", "smooth_inbetween", "smooth_cigar", "edge_on_rounded_bulge",
    "edge_on_boxy_bulge", "edge_on_without_bulge", "spiral_tight", "spiral_medium", "spiral_loose",
)  # fmt: skip
SDSS_PX = 69


def read_galaxy10(path: Path, *, centre: float = 1.0) -> tuple[npt.NDArray[np.uint8], pd.DataFrame]:
    """
    Read a Galaxy10 file.

    Parameters
    ----------
    path : path
        The ``.h5``.
    centre : float
        Share of the side that is kept about the middle: 0.5 makes 128 px of 256.

    Returns
    -------
    images : 4D uint8 `~numpy.ndarray`, shape (N, ny, nx, 3)
        Red, green, blue.
    table : `~pandas.DataFrame`
        ``label``, the class's name (`SDSS` for images of 69 px, else `DECALS`); ``name``, its number in the file;
        ``object``, its place on the sky to an arcsec where the file tells it, so that copies are not split; and the
        file's other columns.

    Raises
    ------
    fieldprep.errors.InputError
        If it is no such file.
    """
    import h5py  # noqa: PLC0415 -- of the train extra, and of these files only

    try:
        with h5py.File(path, "r") as content:
            images, answers = content["images"], np.asarray(content["ans"])
            _check(path, images, answers)
            kept = [middle(images[start : start + AT_ONCE], centre) for start in range(0, len(images), AT_ONCE)]
            told = {name: np.asarray(content[name]) for name in ("ra", "dec", "redshift", "pxscale") if name in content}
            names = SDSS if images.shape[1] == SDSS_PX else DECALS
    except InputError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, ValueError, RuntimeError by what is broken
        raise InputError(f"{path}: not a Galaxy10 file with arrays images and ans ({one_line(error)})") from error
    table = pd.DataFrame({"name": np.arange(len(answers)).astype(str), "label": np.array(names)[answers], **told})
    if {"ra", "dec"} <= set(told):
        table["object"] = [f"{ra:.4f}{dec:+.4f}" for ra, dec in zip(table["ra"], table["dec"], strict=True)]
    return np.concatenate(kept), table


def _check(path: Path, images: Any, answers: npt.NDArray[Any]) -> None:
    if len(images.shape) != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise InputError(f"{path}: images are {images.dtype} of shape {images.shape}, not uint8 (N, ny, nx, 3)")
    if answers.shape != (len(images),) or answers.dtype.kind not in "iu":
        raise InputError(f"{path}: {len(images)} images, and answers of shape {answers.shape}")
    if answers.min() < 0 or answers.max() >= len(DECALS):
        raise InputError(
            f"{path}: answers run from {answers.min()} to {answers.max()}, where the ten classes are 0 to 9"
        )


def middle(images: npt.NDArray[Any], share: float) -> npt.NDArray[Any]:
    """
    Middle of images.

    Parameters
    ----------
    images : 4D `~numpy.ndarray`, shape (N, ny, nx, C)
        The images.
    share : float
        Share of their sides that is kept.

    Returns
    -------
    4D `~numpy.ndarray`, shape (N, share x ny, share x nx, C)
    """
    ny, nx = images.shape[1:3]
    height, width = (max(1, round(share * side)) for side in (ny, nx))
    y, x = (ny - height) // 2, (nx - width) // 2
    return images[:, y : y + height, x : x + width]
