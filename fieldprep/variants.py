"""
The pictures made of a field: L, LH, S, SH and Q as AstroCV makes them, and N, tied to the sky noise.

LIN, LOG, GAM and MAT, the textbook stretches and a colour matrix, are in `fieldprep.stretches`.

Each variant measures its levels (sky, noise, black point) on one flux, shape (ny, nx, 3) in the order R, G, B, and
gives the stretch they make: a pure function of a flux to a uint8 picture of the same shape, row order untouched.
``VARIANTS["N"](flux)(flux)`` is a field's picture; a mosaic's windows share one stretch, fitted to a sample of the
whole. Pixels where a channel is not finite are black in all three.

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
from fieldprep.levels import levels_of, white_of
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


class Stretch(Protocol):
    """A stretch of fixed levels: flux, shape (ny, nx, 3), to a uint8 picture."""

    def __call__(self, flux: FloatImage, /) -> Picture:
        """Make the picture."""


class Variant(Protocol):
    """A kind of stretch: the flux its levels are measured on, shape (ny, nx, 3), to the stretch."""

    def __call__(self, reference: FloatImage, /) -> Stretch:
        """Measure the levels."""


def lupton(_reference: FloatImage) -> Stretch:
    """
    L: Lupton's asinh of the mean of the three bands, colours kept (stretch 5, Q 8).

    Parameters
    ----------
    _reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in nanomaggies, sky subtracted; nothing of it is measured.

    Returns
    -------
    Stretch
        Its picture is equal to `astropy.visualization.make_lupton_rgb` at its defaults within one gray level.

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

    return lambda flux: _by_rows(flux, stretch_rows)


def lupton_high(reference: FloatImage) -> Stretch:
    """
    LH: L with its brightness doubled, then its contrast about the mean gray doubled.

    Parameters
    ----------
    reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in nanomaggies, sky subtracted.

    Returns
    -------
    Stretch
        Its picture of the reference is equal to Pillow's ``ImageEnhance.Brightness(2)`` and
        ``ImageEnhance.Contrast(2)`` on L.

    References
    ----------
    Gonzalez et al. 2018, variant LH (Lupton high).
    """
    make_low = lupton(reference)
    low = make_low(reference)
    bright = np.clip(np.arange(256) * 2, 0, 255).astype(np.uint8)
    # Pillow's luminance (ITU-R 601, 16-bit integers), whose rounded mean is the gray of no contrast
    red, green, blue = (bright[low[..., k]].astype(np.uint32) for k in range(3))
    luminance = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    gray = int(luminance.mean(dtype=np.float64) + 0.5)
    table: Picture = np.clip(2 * bright.astype(np.int32) - gray, 0, 255).astype(np.uint8)
    return lambda flux: table[make_low(flux)]


def sinh(reference: FloatImage) -> Stretch:
    """
    S: sinh of the flux, its 0.1 percentile as black, times 400.

    Parameters
    ----------
    reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in nanomaggies, sky subtracted.

    Returns
    -------
    Stretch

    References
    ----------
    Gonzalez et al. 2018, variant S. Which of the two sinh stretches the paper calls "high" it does not say;
    the first of its code is taken as S.
    """
    return _sinh(reference, percentile=0.1, scale=400)


def sinh_high(reference: FloatImage) -> Stretch:
    """
    SH: sinh of the flux, its 0.03 percentile as black, times 350.

    Parameters
    ----------
    reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in nanomaggies, sky subtracted.

    Returns
    -------
    Stretch

    References
    ----------
    Gonzalez et al. 2018, variant SH; see `sinh`.
    """
    return _sinh(reference, percentile=0.03, scale=350)


def square_root(reference: FloatImage) -> Stretch:
    """
    Q: square root over the minimum, cut at the median + 6 sigma, blue x 1.3, times 500.

    Parameters
    ----------
    reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in nanomaggies, sky subtracted.

    Returns
    -------
    Stretch
        Its 0.01 percentile is black.

    References
    ----------
    Gonzalez et al. 2018, variant Q.
    """
    finite = reference[np.isfinite(reference)]
    if finite.size == 0:
        return lambda flux: np.zeros(flux.shape, np.uint8)
    lowest = finite.min()
    cut = np.float32(np.median(finite) - lowest + 6 * finite.std(dtype=np.float64))
    gain = np.array([1, 1, 1.3], np.float32)

    def root(rows: FloatImage) -> FloatImage:
        # under the reference's lowest as well as under its own percentile: black
        return np.asarray(np.sqrt(np.clip(rows - lowest, 0, cut) * gain), np.float32)

    black = np.float32(_low_percentile(root(np.where(np.isfinite(reference), reference, np.float32(np.nan))), 0.01))
    return lambda flux: _by_rows(flux, lambda rows: (root(rows) - black) * 500)


def noise_scaled(reference: FloatImage) -> Stretch:
    """
    N: asinh of the flux over the noise of the sky, each band by its own.

    A source at a given multiple of the sky noise reaches the network at the same gray level whatever the
    instrument, the exposure or the unit. Black is 2 sigma under the sky, white 1000 sigma over it; the
    stretch is linear to 2 sigma (16 gray levels a sigma there) and logarithmic above.

    Parameters
    ----------
    reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B in any unit, with or without a sky level.

    Returns
    -------
    Stretch

    References
    ----------
    Ours; the stretch is that of Lupton, Gunn & Szalay 1999, AJ 118, 1406, softened at 2 sigma.
    """
    levels = [sky_level_and_noise(reference[..., k]) for k in range(3)]
    return noise_stretch([level for level, _ in levels], [noise for _, noise in levels])


def noise_stretch(sky: npt.ArrayLike, noise: npt.ArrayLike) -> Stretch:
    """
    N with levels that are known; see `noise_scaled`.

    Parameters
    ----------
    sky, noise : array-like, shape (3,)
        Level and noise of the sky in R, G, B.

    Returns
    -------
    Stretch
    """
    sky = np.asarray(sky, np.float32)
    width = np.asarray(noise, np.float32) * np.float32(NOISE_SOFTENING)
    low = np.arcsinh(np.float32(NOISE_BLACK / NOISE_SOFTENING))
    scale = 255 / (np.arcsinh(np.float32(NOISE_WHITE / NOISE_SOFTENING)) - low)
    return lambda flux: _by_rows(flux, lambda rows: (np.arcsinh((rows - sky) / width) - low) * scale)


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
    flux = rgb_flux(field, bands)
    shown = fitted(variant, flux, white=white_of(field))(flux)
    return shown if matrix is None else np.clip(colour_matrix(shown, matrix), 0, 255).astype(np.uint8)


def variant_of(name: str) -> Variant:
    """Variant by its name; UsageError if there is none of that name."""
    if name not in VARIANTS:
        raise UsageError(f"unknown variant {name!r}: it is one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def fitted(
    variant: str, reference: FloatImage, *, white: float | None = None, part: FloatImage | None = None
) -> Stretch:
    """
    Stretch of a field of any instrument.

    Parameters
    ----------
    variant : str
        As of `picture`.
    reference : 3D float32 `~numpy.ndarray`, shape (ny, nx, 3)
        R, G, B of the field, or of a sample of it.
    white, part
        As of `fieldprep.levels.levels_of`, which gives the levels of N.

    Returns
    -------
    Stretch

    Raises
    ------
    fieldprep.errors.UsageError
        If the variant is unknown.
    """
    made = variant_of(variant)
    return noise_stretch(*levels_of(reference, white=white, part=part)) if made is noise_scaled else made(reference)


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
        finite = np.isfinite(flux[rows])
        levels[~(finite[..., 0] & finite[..., 1] & finite[..., 2])] = 0  # all(axis=-1), ten times as fast
        out[rows] = levels
    return out


def _sinh(reference: FloatImage, *, percentile: float, scale: float) -> Stretch:
    def stretched(rows: FloatImage) -> FloatImage:
        with np.errstate(over="ignore"):  # the core of a bright star is infinite, and white
            return np.asarray(np.sinh(rows), np.float32)

    black = np.float32(_low_percentile(stretched(reference), percentile))
    return lambda flux: _by_rows(flux, lambda rows: (stretched(rows) - black) * np.float32(scale))


def _low_percentile(values: FloatImage, percentile: float) -> float:
    """Percentile of the finite values, as `numpy.nanpercentile` gives it; 0 if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percentile)) if finite.size else 0.0
