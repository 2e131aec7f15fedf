"""The picture of a field, by window: what a detector looks at, whether the field fits into memory or not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fieldprep.averaging import block_mask, block_picture
from fieldprep.field import Field
from fieldprep.levels import white_of
from fieldprep.tiles import middle, whole
from fieldprep.variants import Picture, fitted, picture, rgb_flux

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fieldprep.field import BoolImage
    from fieldprep.mosaic import Mosaic, Sky
    from fieldprep.tiles import Window
    from fieldprep.variants import Stretch

HELD_PIXELS = 8_000_000  # a mosaic averaged down to no more is a field in memory


class View(Protocol):
    """A picture and its mask, by window."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (ny, nx)."""

    @property
    def display(self) -> bool:
        """Whether it is of a picture made for the eye, and not of measured fluxes."""

    def window(self, window: Window, /) -> tuple[Picture, BoolImage]:
        """Picture, shape (h, w, 3), and mask, shape (h, w), of a window."""

    def binned(self, factor: int, /) -> View:
        """View of the same averaged down by a whole factor; see `fieldprep.averaging`."""


@dataclass(frozen=True, eq=False)
class PictureView:
    """
    View of a picture in memory.

    Parameters
    ----------
    rgb : 3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        The picture.
    mask : 2D bool `~numpy.ndarray`, shape (ny, nx)
        True = unusable.
    """

    rgb: Picture
    mask: BoolImage

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (ny, nx)."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def display(self) -> bool:
        """False: what it was made of is not known."""
        return False

    def window(self, window: Window) -> tuple[Picture, BoolImage]:
        """Picture and mask of a window."""
        return self.rgb[window.rows, window.columns], self.mask[window.rows, window.columns]

    def binned(self, factor: int) -> View:
        """Picture averaged down."""
        return PictureView(block_picture(self.rgb, factor), block_mask(self.mask, factor))


@dataclass(frozen=True, eq=False)
class FieldView(PictureView):
    """View of a field in memory; averaged down, it is the flux that is averaged, and stretched by levels of its own."""

    field: Field
    variant: str
    bands: Sequence[str] | None

    @property
    def display(self) -> bool:
        """Whether the field is a display picture."""
        return white_of(self.field) is not None

    def binned(self, factor: int) -> View:
        """View of the field averaged down."""
        return view_of(self.field.binned(factor), self.variant, bands=self.bands)


@dataclass(frozen=True, eq=False)
class MosaicView:
    """View of a mosaic: each window is read and stretched anew, by levels of the whole."""

    mosaic: Mosaic
    variant: str
    bands: Sequence[str] | None
    stretch: Stretch
    display: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (ny, nx)."""
        return self.mosaic.shape

    def window(self, window: Window) -> tuple[Picture, BoolImage]:
        """Picture and mask of a window."""
        part = self.mosaic.window(window)
        return self.stretch(rgb_flux(part, self.bands)), part.mask

    def binned(self, factor: int) -> View:
        """View of the mosaic averaged down, stretched by levels of its own; read once where that fits into memory."""
        binned: Sky = self.mosaic.binned(factor)
        if math.prod(binned.shape) <= HELD_PIXELS:
            binned = binned.window(whole(binned.shape))
        return view_of(binned, self.variant, bands=self.bands)


def view_of(sky: Sky, variant: str = "N", *, bands: Sequence[str] | None = None) -> FieldView | MosaicView:
    """
    View of a field or of a mosaic.

    Parameters
    ----------
    sky : Field or Mosaic
        What to look at.
    variant, bands
        As of `fieldprep.variants.picture`.

    Returns
    -------
    FieldView or MosaicView
        The former holds the whole picture.

    Raises
    ------
    fieldprep.errors.UsageError
        If the variant is unknown.
    fieldprep.errors.InputError
        If a band is not there, or a file cannot be read.
    """
    if isinstance(sky, Field):
        return FieldView(picture(sky, variant, bands=bands), sky.mask, sky, variant, bands)
    sample, part = sky.sample(), sky.window(middle(sky.shape))
    white = white_of(part)
    stretch = fitted(variant, rgb_flux(sample, bands), white=white, part=rgb_flux(part, bands))
    return MosaicView(sky, variant, bands, stretch, display=white is not None)
