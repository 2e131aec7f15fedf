"""The field: bands on one pixel grid, what is unusable in them, and where on the sky they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fieldprep.errors import InputError
from fieldprep.sky import sky_level_and_noise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from astropy.wcs import WCS

    from fieldprep.tiles import Window

FloatImage = npt.NDArray[np.float32]
BoolImage = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Field:
    """
    One field of sky: every band on the same pixel grid.

    Arrays are in numpy's order, (row, column) = (y, x), with the row order of the file; pixel centres are
    integers, so pixel (0, 0) covers -0.5 .. 0.5 in x and y.

    Parameters
    ----------
    name : str
        The survey's id, else the stem of the folder or file.
    bands : mapping of str to 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Flux by band, from the shortest wavelength to the longest; NaN where a band has no data.
    mask : 2D bool `~numpy.ndarray`, shape (ny, nx)
        True = unusable: a band is missing, not finite or saturated there. Saturated pixels keep their
        value in ``bands``.
    survey : str
        Name of the survey, empty if unknown.
    wcs : `~astropy.wcs.WCS` or None
        Celestial WCS of the grid, 0-based in `pixel_to_world_values`.
    pixel_scale : float or None
        Arcsec per pixel.
    noise : mapping of str to 2D float32 `~numpy.ndarray`, shape (ny, nx)
        One-sigma noise by band, where the source brought it.
    provenance : mapping
        Where it came from: ``files``, ``id`` (the survey's, if the files tell), ``notes`` (one line each, what a
        reader of the catalogue must know).
    """

    name: str
    bands: Mapping[str, FloatImage]
    mask: BoolImage
    survey: str = ""
    wcs: WCS | None = None
    pixel_scale: float | None = None
    noise: Mapping[str, FloatImage] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.bands:
            raise InputError(f"{self.name}: a field needs at least one band, got none")
        for kind, images in (("band", self.bands), ("noise of band", self.noise)):
            for band, image in images.items():
                if image.dtype != np.float32 or image.shape != self.mask.shape:
                    raise InputError(
                        f"{self.name}: {kind} {band} must be float32 of shape {self.mask.shape}, "
                        f"got {image.dtype} of shape {image.shape}"
                    )
        if self.mask.dtype != np.bool_ or self.mask.ndim != 2:
            raise InputError(f"{self.name}: the mask must be 2D bool, got {self.mask.dtype} {self.mask.shape}")
        for attribute in ("bands", "noise", "provenance"):
            object.__setattr__(self, attribute, MappingProxyType(dict(getattr(self, attribute))))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (ny, nx)."""
        ny, nx = self.mask.shape
        return ny, nx

    @cached_property
    def sky_levels(self) -> dict[str, tuple[float, float]]:
        """Level and noise of the sky by band, unusable pixels left out; measured once."""
        return {band: sky_level_and_noise(image, self.mask) for band, image in self.bands.items()}

    @property
    def notes(self) -> list[str]:
        """What a reader of this field's catalogue must know, one line each."""
        return list(self.provenance.get("notes", ()))

    def window(self, window: Window) -> Field:
        """
        Part of the field, as a field of its own; the arrays are views.

        Parameters
        ----------
        window : Window
            Which pixels; see `fieldprep.tiles`.

        Returns
        -------
        Field
            With the WCS of its own pixels.
        """
        cut = window.rows, window.columns
        return replace(
            self,
            bands={band: image[cut] for band, image in self.bands.items()},
            mask=self.mask[cut],
            noise={band: image[cut] for band, image in self.noise.items()},
            wcs=None if self.wcs is None else self.wcs.slice(cut),
        )

    def binned(self, factor: int) -> Field:
        """
        Field averaged down, for finding and showing what is large; it has neither noise nor WCS.

        Parameters
        ----------
        factor : int
            Side in pixels of the blocks that become one; see `fieldprep.averaging`.

        Returns
        -------
        Field
        """
        from fieldprep.averaging import block_mask, block_means  # noqa: PLC0415 -- loads OpenCV; --help does without

        return replace(
            self,
            bands={band: block_means(image, factor) for band, image in self.bands.items()},
            mask=block_mask(self.mask, factor),
            noise={},
            wcs=None,
            pixel_scale=None if self.pixel_scale is None else self.pixel_scale * factor,
        )

    @classmethod
    def read(cls, source: str | PathLike[str] | Sequence[str | PathLike[str]], *, name: str | None = None) -> Field:
        """
        Read a field from a FITS file, a folder of band files, a list of band files, or a picture.

        Parameters
        ----------
        source : path or sequence of paths
            What to read; a FITS file may name an extension, as in ``mosaic.fits[SCI]``.
        name : str, optional
            Name of the field, instead of the survey's id or the stem.

        Returns
        -------
        Field

        Raises
        ------
        fieldprep.errors.InputError
            If it cannot be read as one field; the text names the file, what is wrong and what mends it.
        """
        from fieldprep.readers import read_field  # noqa: PLC0415 -- readers build on Field

        return read_field(source, name=name)
