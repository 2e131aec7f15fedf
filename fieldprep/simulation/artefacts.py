"""
Artefacts: what is in a frame but not in the sky. Which there are, and how a frame tells of its own.

Spikes, halos and trails are light and come before the noise (`fieldprep.simulation.stray_light`); cosmic rays and hot
pixels are charge and come after it, in one band only and never blurred; bleeding and saturation are last
(`fieldprep.simulation.stray_charge`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldprep.align import affine_between
from fieldprep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fieldprep.simulation.camera import BandCamera

Floats = npt.NDArray[np.float64]
Part = tuple[slice, slice]

OF_STARS = ("saturation", "bleed", "spike", "halo")
OF_THE_EXPOSURE = ("trail", "cosmic_ray", "hot_pixels")
KINDS = (*OF_STARS, *OF_THE_EXPOSURE)
BITS = {kind: 1 << k for k, kind in enumerate(KINDS)}
USUAL = ("saturation", "spike", "halo")  # what SDSS's corrected frames show; the rest is mended in them
COLUMNS = ("kind", "band", "x", "y", "x_min", "y_min", "x_max", "y_max", "angle", "length", "peak")
VISIBLE = 0.5  # of the sky noise: fainter light of an artefact is not told
FRAME_PIXELS = 1489 * 2048  # of an SDSS frame, to which rates are given


@dataclass(eq=False)
class Exposure:
    """
    One band's frame as it is taken, and what is wrong with it.

    Parameters
    ----------
    band : str
        Band.
    image : 2D float64 `~numpy.ndarray`, shape (ny, nx)
        Nanomaggies a pixel.
    camera : BandCamera
        What it is taken with.
    pixel_scale : float
        Arcsec per pixel.
    mask : 2D uint8 `~numpy.ndarray`, shape (ny, nx)
        Bits of `BITS`.
    rows : list of dict
        Artefacts, with `COLUMNS`, in pixels of this frame.
    """

    band: str
    image: Floats
    camera: BandCamera
    pixel_scale: float
    mask: npt.NDArray[np.uint8] = field(init=False)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mask = np.zeros(self.image.shape, np.uint8)

    @property
    def visible(self) -> float:
        """Nanomaggies a pixel from which light is told."""
        return VISIBLE * self.camera.noise

    def around(self, x: float, y: float, reach: float) -> Part:
        """Rows and columns within a reach of a point in pixels, as slices; empty where that is off the frame."""
        ny, nx = self.image.shape
        low, high = np.floor([y - reach, x - reach]).astype(int), np.ceil([y + reach, x + reach]).astype(int) + 1
        rows, columns = (slice(max(0, a), max(0, a, min(n, b))) for a, b, n in zip(low, high, (ny, nx), strict=True))
        return rows, columns

    def tell(
        self,
        kind: str,
        part: Part,
        light: Floats,
        where: npt.NDArray[np.bool_] | None = None,
        *,
        at: tuple[float, float] | None = None,
        angle: float = 0.0,
        length: float = 0.0,
    ) -> None:
        """
        Tell of one artefact.

        Parameters
        ----------
        kind : str
            One of `KINDS`.
        part : (slice, slice)
            Rows and columns it lies in.
        light : 2D `~numpy.ndarray`
            Its light in that part; the brightest pixel is the row's peak.
        where : 2D bool `~numpy.ndarray`, shape of ``light``, optional
            Its pixels; by default those of visible light.
        at : (float, float), optional
            x and y of its middle; by default the mean of its pixels.
        angle, length : float
            Degrees from +x towards +y, and pixels.
        """
        where = light > self.visible if where is None else where
        y, x = np.nonzero(where)
        if len(x) == 0:
            return
        self.mask[part][where] |= BITS[kind]
        x, y = x + part[1].start, y + part[0].start
        middle = at or (float(x.mean()), float(y.mean()))
        box = (x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5)
        values = (kind, self.band, *middle, *map(float, box), angle % 180, length, float(light[where].max()))
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))


def artefact_kinds(text: str) -> tuple[str, ...]:
    """
    Kinds named on the command line.

    Parameters
    ----------
    text : str
        ``all``, ``none`` or kinds joined by commas.

    Returns
    -------
    tuple of str

    Raises
    ------
    fieldprep.errors.UsageError
        If one is unknown.
    """
    if text in {"all", "none"}:
        return KINDS if text == "all" else ()
    kinds = tuple(part.strip() for part in text.split(","))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise UsageError(f"unknown artefact {', '.join(unknown)}: it is one of {', '.join(KINDS)}, or all, or none")
    return kinds


def artefact_table(exposures: Sequence[Exposure], reference: BandCamera) -> pd.DataFrame:
    """
    Artefacts of all bands on the field's grid.

    Parameters
    ----------
    exposures : sequence of Exposure
        A frame a band.
    reference : BandCamera
        The band whose frame is the field's grid.

    Returns
    -------
    `~pandas.DataFrame`
        Columns `COLUMNS` and ``ra, dec``; ``x, y`` and the box moved onto the field's grid, as the truth's are.
    """
    rows = pd.DataFrame([row for e in exposures for row in e.rows], columns=list(COLUMNS))
    rows["ra"], rows["dec"] = np.nan, np.nan
    for exposure in exposures:
        own = rows["band"] == exposure.band
        rows.loc[own, "ra"], rows.loc[own, "dec"] = exposure.camera.wcs.pixel_to_world_values(
            rows.loc[own, "x"].to_numpy(float), rows.loc[own, "y"].to_numpy(float)
        )
    x, y = reference.wcs.world_to_pixel_values(rows["ra"].to_numpy(float), rows["dec"].to_numpy(float))
    for axis, moved in (("x", x), ("y", y)):
        shift = moved - rows[axis].to_numpy(float)
        for name in (axis, f"{axis}_min", f"{axis}_max"):
            rows[name] = rows[name] + shift
    return rows


def mask_on_grid(exposure: Exposure, reference: BandCamera) -> npt.NDArray[np.uint8]:
    """
    Mask of a band brought onto the field's grid, each pixel from the nearest.

    Parameters
    ----------
    exposure : Exposure
        The band.
    reference : BandCamera
        The band whose frame is the field's grid.

    Returns
    -------
    2D uint8 `~numpy.ndarray`, shape (ny, nx) of the field
    """
    ny, nx = reference.shape
    affine, _ = affine_between(exposure.camera.wcs, reference.wcs, reference.shape)
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST
    return np.asarray(cv2.warpAffine(exposure.mask, affine, (nx, ny), flags=flags), np.uint8)
