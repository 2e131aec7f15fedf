"""Fields too large to be held in memory: known by their headers, read a window at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fieldprep.averaging import binned_shape
from fieldprep.field import Field
from fieldprep.sky import grid_step
from fieldprep.tiles import Window, middle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.wcs import WCS

READ_PIXELS = 16_000_000  # pixels of a band in memory at a time while a mosaic is averaged down
STRIPS = 24  # in which a sample of a mosaic averaged down is read


class Reader(Protocol):
    """What reads windows of a mosaic, as fields without name and WCS."""

    def __call__(self, window: Window, /) -> Field:
        """Bands, mask and noise of a window."""

    def sample(self, shape: tuple[int, int], /) -> Field:
        """Bands and mask of some pixels of a mosaic of this shape; see `Mosaic.sample`."""


@dataclass(frozen=True, eq=False)
class Mosaic:
    """
    One field of sky, every band on the same pixel grid, of which only windows are in memory.

    Parameters
    ----------
    name : str
        As of `Field`.
    shape : (ny, nx)
        Rows and columns.
    bands : tuple of str
        Names of the bands, from the shortest wavelength to the longest.
    reader : Reader
        Reads a window.
    survey, wcs, pixel_scale, provenance
        As of `Field`.
    """

    name: str
    shape: tuple[int, int]
    bands: tuple[str, ...]
    reader: Reader
    survey: str = ""
    wcs: WCS | None = None
    pixel_scale: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What a reader of this field's catalogue must know, one line each."""
        return list(self.provenance.get("notes", ()))

    def window(self, window: Window) -> Field:
        """
        Part of the mosaic, read from its files.

        Parameters
        ----------
        window : Window
            Which pixels, all of them within the mosaic.

        Returns
        -------
        Field
            With the WCS of its own pixels; what `Field.window` gives of the whole.

        Raises
        ------
        fieldprep.errors.InputError
            If a file is damaged there.
        """
        wcs = None if self.wcs is None else self.wcs.slice((window.rows, window.columns))
        return self._named(self.reader(window), wcs)

    def sample(self) -> Field:
        """
        Some 200,000 pixels of the mosaic, on which the levels of its pictures are measured.

        Returns
        -------
        Field
            The regular grid of pixels that `fieldprep.sky.sky_level_and_noise` looks at in a whole image, so that
            sky and noise come out the same; of a mosaic averaged down, columns of strips all over it. Its pixels
            are no neighbours, and it has no WCS.
        """
        return self._named(self.reader.sample(self.shape), None)

    def _named(self, part: Field, wcs: WCS | None) -> Field:
        return replace(
            part,
            name=self.name,
            survey=self.survey,
            wcs=wcs,
            pixel_scale=self.pixel_scale,
            provenance=self.provenance,
        )

    def binned(self, factor: int) -> Mosaic:
        """
        Mosaic averaged down, for finding and showing what is large; it has neither noise nor WCS.

        Parameters
        ----------
        factor : int
            Side in pixels of the blocks that become one; see `fieldprep.averaging`.

        Returns
        -------
        Mosaic
            Each of its windows is read from the files anew.
        """
        scale = None if self.pixel_scale is None else self.pixel_scale * factor
        reader = _Binned(self, factor)
        return replace(self, shape=binned_shape(self.shape, factor), reader=reader, wcs=None, pixel_scale=scale)


Sky = Field | Mosaic


def middle_part(sky: Sky) -> Field:
    """The field itself, or the middle of a mosaic: neighbouring pixels to measure by."""
    return sky.window(middle(sky.shape)) if isinstance(sky, Mosaic) else sky


@dataclass(frozen=True, eq=False)
class _Binned:
    """Reads a window of a mosaic averaged down, a few million pixels of the mosaic at a time."""

    mosaic: Mosaic
    factor: int

    def __call__(self, window: Window) -> Field:
        ny, nx = self.mosaic.shape
        columns = window.x0 * self.factor, min(window.x1 * self.factor, nx)
        at_once = max(1, READ_PIXELS // ((columns[1] - columns[0]) * self.factor))
        parts = []
        for start in range(window.y0, window.y1, at_once):
            rows = start * self.factor, min(min(start + at_once, window.y1) * self.factor, ny)
            parts.append(self.mosaic.reader(Window(columns[0], rows[0], columns[1], rows[1])).binned(self.factor))
        return stacked(parts)

    def sample(self, shape: tuple[int, int]) -> Field:
        ny, nx = shape
        step = grid_step(ny * nx)
        height = -(-ny // (step * STRIPS))
        strips = (self(Window(0, y, nx, min(y + height, ny))) for y in range(0, ny, step * height))
        return stacked([every(strip, step) for strip in strips])


def every(part: Field, step: int) -> Field:
    """One column of a field in ``step``; a copy, so that the rest is let go."""
    return replace(
        part,
        bands={band: image[:, ::step].copy() for band, image in part.bands.items()},
        mask=part.mask[:, ::step].copy(),
        noise={},
    )


def stacked(parts: Sequence[Field]) -> Field:
    """Fields one above the other; noise is left out."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        bands={band: np.concatenate([part.bands[band] for part in parts]) for band in parts[0].bands},
        mask=np.concatenate([part.mask for part in parts]),
        noise={},
    )
