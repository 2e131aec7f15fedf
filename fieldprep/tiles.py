"""Windows that cover a field."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Window:
    """
    A rectangle of pixels: rows ``y0 .. y1 - 1``, columns ``x0 .. x1 - 1``.

    Parameters
    ----------
    x0, y0, x1, y1 : int
        First pixel in, first pixel out.
    """

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def rows(self) -> slice:
        """Slice of the rows."""
        return slice(self.y0, self.y1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (ny, nx)."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def columns(self) -> slice:
        """Slice of the columns."""
        return slice(self.x0, self.x1)


@dataclass(frozen=True)
class Tile:
    """
    A window and the part of it that no other window speaks for.

    Parameters
    ----------
    window : Window
        What is looked at.
    core : Window
        What it owns; the cores of all tiles cover the field once.
    """

    window: Window
    core: Window


MIDDLE_PX = 1024


def middle(shape: tuple[int, int]) -> Window:
    """Window of the middle of a field of shape (ny, nx), 1024 px a side or the whole side where that is less."""
    ny, nx = shape
    y0, x0 = max(0, (ny - MIDDLE_PX) // 2), max(0, (nx - MIDDLE_PX) // 2)
    return Window(x0, y0, min(nx, x0 + MIDDLE_PX), min(ny, y0 + MIDDLE_PX))


def whole(shape: tuple[int, int]) -> Window:
    """Window of a whole field of shape (ny, nx)."""
    return Window(0, 0, shape[1], shape[0])


def tiles(shape: tuple[int, int], size: int, overlap: int) -> list[Tile]:
    """
    Windows as `windows` gives them, each with its core: neighbours meet in the middle of their overlap.

    Parameters
    ----------
    shape, size, overlap
        As of `windows`.

    Returns
    -------
    list of Tile
        Row by row.
    """
    found = windows(shape, size, overlap)
    across = _cores(sorted({(one.x0, one.x1) for one in found}))
    down = _cores(sorted({(one.y0, one.y1) for one in found}))
    return [Tile(one, Window(across[one.x0][0], down[one.y0][0], across[one.x0][1], down[one.y0][1])) for one in found]


def _cores(spans: list[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """First and last of each core along one axis, by the start of its window."""
    seams = [(before[1] + after[0]) // 2 for before, after in pairwise(spans)]
    ends = pairwise([spans[0][0], *seams, spans[-1][1]])
    return {start: core for (start, _), core in zip(spans, ends, strict=True)}


def windows(shape: tuple[int, int], size: int, overlap: int) -> list[Window]:
    """
    Windows of one size that cover a field, neighbours overlapping by at least ``overlap``.

    Parameters
    ----------
    shape : (ny, nx)
        Shape of the field.
    size : int
        Side of a window in pixels; a field smaller than that in a direction has one window there, cut to it.
    overlap : int
        Least overlap of neighbours in pixels, under ``size``.

    Returns
    -------
    list of Window
        Row by row; the last of each row and column ends at the field's edge.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"overlap must be at least 0 and less than the size {size}, got {overlap}")
    ny, nx = shape
    return [
        Window(x0, y0, min(x0 + size, nx), min(y0 + size, ny))
        for y0 in _starts(ny, size, overlap)
        for x0 in _starts(nx, size, overlap)
    ]


def _starts(length: int, size: int, overlap: int) -> list[int]:
    if length <= size:
        return [0]
    count = -(-(length - overlap) // (size - overlap))
    return [round(i * (length - size) / (count - 1)) for i in range(count)]
