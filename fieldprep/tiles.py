"""Windows that cover a field."""

from __future__ import annotations

from dataclasses import dataclass


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
    def columns(self) -> slice:
        """Slice of the columns."""
        return slice(self.x0, self.x1)


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
