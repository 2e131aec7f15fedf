"""Square stamps cut out of an image, each resampled to the same number of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from fieldprep.align import warp

if TYPE_CHECKING:
    from fieldprep.field import FloatImage
    from fieldprep.variants import Picture

Floats = npt.NDArray[np.float64]

_KERNEL = 5  # pixels that Lanczos reaches, and one
LEAST_COVER = 0.5  # a stamp's pixel has a value where at least so much of its weight lies on data


@dataclass(frozen=True, eq=False)
class Cutouts:
    """
    Stamps of objects.

    Parameters
    ----------
    stamps : 4D `~numpy.ndarray`, shape (N, size, size, C)
        In the type of the image they were cut from. Where there are no data: NaN in a float image, 0 in a picture.
    covered : 1D float64 `~numpy.ndarray`, shape (N,)
        Share of each stamp's pixels that have data: under 1 at the edge of the field and over its gaps.
    """

    stamps: npt.NDArray[Any]
    covered: Floats

    def __len__(self) -> int:
        return len(self.stamps)


def cutouts(
    image: FloatImage | Picture,
    x: Floats,
    y: Floats,
    width_px: Floats,
    size: int,
    *,
    conserve_flux: bool = False,
    angles_deg: Floats | None = None,
) -> Cutouts:
    """
    Cut squares out of an image and resample them.

    A stamp's pixel is the mean, over the area it covers, of the surface that runs linearly between the image's pixel
    centres: bilinear interpolation where the stamp is finer than the image, an average over areas where it is coarser.

    Parameters
    ----------
    image : 2D or 3D float32 or uint8 `~numpy.ndarray`, shape (ny, nx) or (ny, nx, C)
        The image; pixels that are not finite in a channel have no data in any.
    x, y : 1D float64 `~numpy.ndarray`, shape (N,)
        Centres, 0-based pixels; the middle of a stamp is exactly there.
    width_px : 1D float64 `~numpy.ndarray`, shape (N,)
        Sides of the squares in pixels of the image.
    size : int
        Side of a stamp in its own pixels.
    conserve_flux : bool
        Multiply by the area of a stamp's pixel, so that the sum over an object stays its flux; else the value per pixel
        of the image is kept, as a picture wants it.
    angles_deg : 1D float64 `~numpy.ndarray`, shape (N,), optional
        Degrees that each stamp is turned about its middle, from +x towards +y; the square is cut turned, so its corners
        show what the image has there. Turned stamps are resampled once more, by Lanczos at the image's own scale, which
        leaves the noise nearly as sharp as it is.

    Returns
    -------
    Cutouts

    Raises
    ------
    ValueError
        If a centre, a width or an angle is not a finite number, or a width is not positive.
    """
    angles = np.zeros(len(x)) if angles_deg is None else angles_deg
    if not (np.isfinite([x, y, width_px]).all() and (np.asarray(width_px) > 0).all()):
        raise ValueError("centres must be finite and widths positive")
    if not np.isfinite(angles).all():
        raise ValueError("angles must be finite")
    channels = image.reshape(*image.shape[:2], -1)
    stamps = np.empty((len(x), size, size, channels.shape[2]), image.dtype)
    covered = np.empty(len(x))
    for i, (cx, cy, width, angle) in enumerate(zip(x, y, width_px, angles, strict=True)):
        if angle % 360:
            patch, middle = _turned(channels, cx, cy, width, size, angle)
            stamp, cover = _stamp(patch, middle, middle, width, size)
        else:
            stamp, cover = _stamp(channels, cx, cy, width, size)
        seen = cover >= LEAST_COVER
        with np.errstate(invalid="ignore", divide="ignore"):
            stamp = stamp / cover[..., None] * ((width / size) ** 2 if conserve_flux else 1)
        if image.dtype == np.uint8:
            stamps[i] = np.where(seen[..., None], np.rint(np.nan_to_num(stamp)).clip(0, 255), 0)  # Lanczos overshoots
        else:
            stamps[i] = np.where(seen[..., None], stamp, np.nan)
        covered[i] = seen.mean()
    return Cutouts(stamps, covered)


def _turned(
    image: npt.NDArray[Any], x: float, y: float, width: float, size: int, angle: float
) -> tuple[npt.NDArray[Any], float]:
    """Surroundings of a place turned about it, in the image's own scale, NaN off the image; and where the place is."""
    # pixels of the patch lie on those of a stamp of the same scale, which then averages the noise the least
    middle = float(np.ceil(width / 2)) + 2 + (0.0 if size % 2 else 0.5)
    side = int(2 * middle) + 1
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    reach = middle * (abs(cos) + abs(sin)) + _KERNEL
    rows = slice(*np.clip([int(np.floor(y - reach)), int(np.ceil(y + reach)) + 1], 0, image.shape[0]).tolist())
    columns = slice(*np.clip([int(np.floor(x - reach)), int(np.ceil(x + reach)) + 1], 0, image.shape[1]).tolist())
    patch = np.full((side, side, image.shape[2]), np.nan, np.float32)
    part = image[rows, columns].astype(np.float32)
    good = np.isfinite(part).all(axis=-1)
    if good.any():
        back = np.array([[cos, sin], [-sin, cos]])
        affine = np.column_stack([back, [x - columns.start, y - rows.start] - back @ [middle, middle]])
        # what is not there counts as 0 under the kernel: so 0 is to be the sky
        sky = np.median(part[good], axis=0)
        part[~good] = np.nan
        for channel in range(image.shape[2]):
            turned = warp(part[..., channel] - sky[channel], affine, patch.shape[:2])
            patch[..., channel] = turned + sky[channel]
    return patch, middle


def _stamp(image: npt.NDArray[Any], x: float, y: float, width: float, size: int) -> tuple[Floats, Floats]:
    """One stamp, shape (size, size, C), with nothing where there are no data, and the share of data in each pixel."""
    rows, row_weights = _weights(y, width, size, image.shape[0])
    columns, column_weights = _weights(x, width, size, image.shape[1])
    part = image[rows, columns].astype(np.float64)
    good = np.asarray(np.isfinite(part).all(axis=-1))
    part[~good] = 0
    part = np.concatenate([part, good[..., None]], axis=-1)
    ny, nx, n = part.shape
    part = (row_weights @ part.reshape(ny, nx * n)).reshape(size, nx, n)
    part = (column_weights @ part.swapaxes(0, 1).reshape(nx, size * n)).reshape(size, size, n).swapaxes(0, 1)
    return part[..., :-1], part[..., -1]


def _weights(centre: float, width: float, size: int, length: int) -> tuple[slice, csr_array]:
    """Pixels of the image along one axis, and their weights in each of a stamp's, shape (size, pixels)."""
    # OpenCV's warps round positions to 1/32 px, which a stamp finer than the image would show
    edges = centre + (np.arange(size + 1) / size - 0.5) * width
    first, last = int(np.floor(edges[0])) - 1, int(np.ceil(edges[-1])) + 2
    pixels = slice(min(max(first, 0), length), max(min(last, length), 0))
    # integral of the hat of linear interpolation around each pixel's centre, up to each edge
    t = np.clip(edges[:, None] - np.arange(length)[pixels], -1, 1)
    integral = 0.5 + t - np.sign(t) * t**2 / 2
    return pixels, csr_array(np.diff(integral, axis=0) * size / width)
