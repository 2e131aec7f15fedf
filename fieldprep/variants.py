"""
The pictures made of a field: L, LH, S, SH and Q as AstroCV makes them, and N, tied to the sky noise.

LIN, LOG, GAM and MAT, the textbook stretches and a colour matrix, are in `fieldprep.stretches`.

Each variant is a pure function of the flux, shape (ny, nx, 3) in the order R, G, B, to a uint8 picture of the
same shape, row order untouched. Pixels where a channel is not finite are black in all three.

References
----------
Gonzalez, Munoz & Hernandez 2018, "Galaxy detection and identification using deep learning and data
augmentation", Astronomy and Computing 25, 103, section 3.2 and the conversion notebook of its code.
Lupton et al. 2004, PASP 116, 133.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from fieldprep.bands import rgb_bands
from fieldprep.errors import UsageError
from fieldprep.sky import sky_level_and_noise
from fieldprep.stretches import colour_matrix, gamma, linear, logarithm, warmer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fieldprep.field import Field, FloatImage

Picture = npt.NDArray[np.uint8]

ROWS_AT_ONCE = 64  # a block of rows stays in the processor's cache through all the steps of a stretch
NOISE_SOFTENING = 2.0  # N: asinh turns from linear to logarithmic at this many sigma
NOISE_BLACK = -2.0  # N: sigma under the sky that are black
NOISE_WHITE = 1000.0  # N: sigma over the sky that are white; in an SDSS r frame, 20 mag arcsec-2 is at 75


class Variant(Protocol):
    """A stretch: flux, shape (ny, nx, 3), to a uint8 picture."""

    def __call__(self, flux: FloatImage, /) -> Picture:
        """Make the picture."""


def lupton(flux: FloatImage) -> Picture:
    """
    L: Lupton's asinh of the mean of the three bands, colours kept (stretch 5, Q 8).

    Parameters
    ----------
    flux : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in nanomaggies, sky subtracted.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        Equal to `astropy.visualization.make_lupton_rgb` at its defaults within one gray level.

    References
    ----------
    Lupton et al. 2004, PASP 116, 133, section 2. Gonzalez et al. 2018, variant L.
    """
    stretch, q, fraction = 5.0, 8.0, 0.1
    soften = np.float32(q / stretch)
    slope = np.float32(fraction / np.arcsinh(fraction * q))

    def stretch_rows(rows: FloatImage) -> FloatImage:
        intensity = rows.mean(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = np.where(intensity > 0, np.arcsinh(intensity * soften) * slope / intensity, np.float32(0))
        colour: FloatImage = np.maximum(rows * factor[..., None], 0)
        levels: FloatImage = 255 * colour / np.maximum(colour.max(axis=-1, keepdims=True), 1)
        return levels

    return _by_rows(flux, stretch_rows)


def lupton_high(flux: FloatImage) -> Picture:
    """
    LH: L with its brightness doubled, then its contrast about the mean gray doubled.

    Parameters
    ----------
    flux : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in nanomaggies, sky subtracted.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        Equal to Pillow's ``ImageEnhance.Brightness(2)`` and ``ImageEnhance.Contrast(2)`` on L.

    References
    ----------
    Gonzalez et al. 2018, variant LH (Lupton high).
    """
    low = lupton(flux)
    bright = np.clip(np.arange(256) * 2, 0, 255).astype(np.uint8)
    # Pillow's luminance (ITU-R 601, 16-bit integers), whose rounded mean is the gray of no contrast
    red, green, blue = (bright[low[..., k]].astype(np.uint32) for k in range(3))
    luminance = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    gray = int(luminance.mean(dtype=np.float64) + 0.5)
    table: Picture = np.clip(2 * bright.astype(np.int32) - gray, 0, 255).astype(np.uint8)
    return table[low]


def sinh(flux: FloatImage) -> Picture:
    """
    S: sinh of the flux, its 0.1 percentile as black, times 400.

    Parameters
    ----------
    flux : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in nanomaggies, sky subtracted.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)

    References
    ----------
    Gonzalez et al. 2018, variant S. Which of the two sinh stretches the paper calls "high" it does not say;
    the first of its code is taken as S.
    """
    return _sinh(flux, percentile=0.1, scale=400)


def sinh_high(flux: FloatImage) -> Picture:
    """
    SH: sinh of the flux, its 0.03 percentile as black, times 350.

    Parameters
    ----------
    flux : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in nanomaggies, sky subtracted.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)

    References
    ----------
    Gonzalez et al. 2018, variant SH; see `sinh`.
    """
    return _sinh(flux, percentile=0.03, scale=350)


def square_root(flux: FloatImage) -> Picture:
    """
    Q: square root over the minimum, cut at the median + 6 sigma, blue x 1.3, times 500.

    Parameters
    ----------
    flux : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in nanomaggies, sky subtracted.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        Its 0.01 percentile is black.

    References
    ----------
    Gonzalez et al. 2018, variant Q.
    """
    finite = flux[np.isfinite(flux)]
    if finite.size == 0:
        return np.zeros(flux.shape, np.uint8)
    lowest = finite.min()
    cut = np.median(finite) - lowest + 6 * finite.std(dtype=np.float64)
    gain = np.array([1, 1, 1.3], np.float32)
    with np.errstate(invalid="ignore"):  # of minus infinity: NaN, and black
        root: FloatImage = np.sqrt(np.minimum(flux - lowest, np.float32(cut)) * gain)
    black = np.float32(_low_percentile(root, 0.01))
    return _by_rows(root, lambda rows: (rows - black) * 500)


def noise_scaled(flux: FloatImage) -> Picture:
    """
    N: asinh of the flux over the noise of the sky, each band by its own.

    A source at a given multiple of the sky noise reaches the network at the same gray level whatever the
    instrument, the exposure or the unit. Black is 2 sigma under the sky, white 1000 sigma over it; the
    stretch is linear to 2 sigma (16 gray levels a sigma there) and logarithmic above.

    Parameters
    ----------
    flux : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in any unit, with or without a sky level.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)

    References
    ----------
    Ours; the stretch is that of Lupton, Gunn & Szalay 1999, AJ 118, 1406, softened at 2 sigma.
    """
    levels = [sky_level_and_noise(flux[..., k]) for k in range(3)]
    sky = np.array([level for level, _ in levels], np.float32)
    width = np.array([noise * NOISE_SOFTENING for _, noise in levels], np.float32)
    low = np.arcsinh(np.float32(NOISE_BLACK / NOISE_SOFTENING))
    scale = 255 / (np.arcsinh(np.float32(NOISE_WHITE / NOISE_SOFTENING)) - low)
    return _by_rows(flux, lambda rows: (np.arcsinh((rows - sky) / width) - low) * scale)


VARIANTS: Mapping[str, Variant] = {
    "L": lupton,
    "LH": lupton_high,
    "S": sinh,
    "SH": sinh_high,
    "Q": square_root,
    "N": noise_scaled,
    "LIN": linear,
    "LOG": logarithm,
    "GAM": gamma,
    "MAT": warmer,
}
# made of each training field unless others are asked for
TRAINING_VARIANTS = ("L", "LH", "S", "SH", "Q", "N")


def picture(
    field: Field,
    variant: str = "N",
    *,
    bands: Sequence[str] | None = None,
    matrix: npt.ArrayLike | None = None,
) -> Picture:
    """
    Picture of a field.

    Parameters
    ----------
    field : Field
        Any field.
    variant : {'N', 'L', 'LH', 'S', 'SH', 'Q', 'LIN', 'LOG', 'GAM', 'MAT'}
        The stretch.
    bands : sequence of three str, optional
        Bands for R, G, B; by default longest, middle and shortest wavelength (i, r, g in SDSS).
    matrix : array-like, shape (3, 3), optional
        Turns the colours of the finished picture; see `fieldprep.stretches.colour_matrix`.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B with the row order of the field.

    Raises
    ------
    fieldprep.errors.UsageError
        If the variant is unknown.
    fieldprep.errors.InputError
        If the field lacks a band.
    """
    if variant not in VARIANTS:
        raise UsageError(f"unknown variant {variant!r}: it is one of {', '.join(VARIANTS)}")
    shown = VARIANTS[variant](rgb_flux(field, bands))
    return shown if matrix is None else np.clip(colour_matrix(shown, matrix), 0, 255).astype(np.uint8)


def rgb_flux(field: Field, bands: Sequence[str] | None = None) -> FloatImage:
    """
    Flux of the three bands shown as R, G, B.

    Parameters
    ----------
    field : Field
        Any field; one band serves all three channels, of two the mean is G.
    bands : sequence of three str, optional
        Bands for R, G, B.

    Returns
    -------
    3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
    """
    red, green, blue = rgb_bands(field, bands)
    top, low = field.bands[red], field.bands[blue]
    middle = field.bands[green] if green else (top + low) / np.float32(2)
    return np.stack([top, middle, low], axis=-1)


def _by_rows(flux: FloatImage, stretch_rows: Callable[[FloatImage], FloatImage]) -> Picture:
    """Stretch blocks of rows to uint8; black where a channel is not finite."""
    out = np.empty(flux.shape, np.uint8)
    for start in range(0, flux.shape[0], ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        with np.errstate(invalid="ignore", over="ignore"):
            levels = np.clip(stretch_rows(flux[rows]), 0, 255)
        # NaN survives the clip and an infinite flux does not, so the flux itself is asked
        levels[~np.isfinite(flux[rows]).all(axis=-1)] = 0
        out[rows] = levels
    return out


def _sinh(flux: FloatImage, *, percentile: float, scale: float) -> Picture:
    with np.errstate(over="ignore"):  # the core of a bright star is infinite, and white
        stretched: FloatImage = np.sinh(flux)
    black = np.float32(_low_percentile(stretched, percentile))
    bounded = np.nan_to_num(stretched, nan=np.nan, posinf=1e30, neginf=-1e30)
    return _by_rows(bounded, lambda rows: (rows - black) * np.float32(scale))


def _low_percentile(values: FloatImage, percentile: float) -> float:
    """Percentile of the finite values, as `numpy.nanpercentile` gives it; 0 if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percentile)) if finite.size else 0.0
