"""Image files as a sequence of stamps, read when they are asked for: a survey of them need not fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from classifiers.galaxy10 import middle
from fieldprep.picturefile import read_picture

if TYPE_CHECKING:
    from pathlib import Path

Stamp = npt.NDArray[Any]


def picture_stamp(path: Path, centre: float = 1.0) -> Stamp:
    """
    Stamp of an image file.

    Parameters
    ----------
    path : path
        The image.
    centre : float
        Share of its side that is kept about its middle.

    Returns
    -------
    3D `~numpy.ndarray`, shape (ny, nx, C)
        Red first.

    Raises
    ------
    fieldprep.errors.InputError
        If it cannot be read.
    """
    pixels = read_picture(path)  # blue first
    stamp = pixels[..., None] if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 2::-1])
    return np.asarray(middle(stamp[None], centre)[0])


class Pictures(Sequence[Stamp]):
    """
    Stamps of image files, each read anew whenever it is asked for.

    Parameters
    ----------
    paths : sequence of path
        The images.
    centre : float
        As of `picture_stamp`.
    """

    def __init__(self, paths: Sequence[Path], centre: float = 1.0) -> None:
        self.paths = list(paths)
        self.centre = centre

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Stamp: ...

    @overload
    def __getitem__(self, index: slice) -> list[Stamp]: ...

    def __getitem__(self, index: int | slice) -> Stamp | list[Stamp]:
        if isinstance(index, slice):
            return [picture_stamp(path, self.centre) for path in self.paths[index]]
        return picture_stamp(self.paths[index], self.centre)

    def select(self, index: npt.NDArray[np.int64]) -> Pictures:
        """Those of these numbers, unread."""
        return Pictures([self.paths[int(i)] for i in index], self.centre)
