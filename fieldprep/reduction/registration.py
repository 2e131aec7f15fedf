"""How exposures lie on one another: by their WCSs where the stars bear them out, else by the stars. Reduce extra."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import astroalign
import numpy as np
import numpy.typing as npt
import sep
from scipy.spatial import KDTree

from fieldprep.align import affine_between, resample, warp
from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.wcs import WCS

    from fieldprep.field import BoolImage, FloatImage

Floats = npt.NDArray[np.float64]

STAR_SIGMA = 7.0
CENTROID_FLOOR_PX = 0.01  # what pixels of uneven sensitivity leave to the brightest
STARS_MATCHED = 200  # the brightest; more add time, not precision
STARS_NEEDED = 3
MATCH_PX = 1.5
MATCHED_SHARE = 0.3  # of the stars of the poorer exposure
SAME_SCALE = 0.02  # share by which the area of a pixel on the sky may differ


@dataclass(frozen=True, eq=False)
class Stars:
    """
    Stars of an exposure, the brightest first.

    Parameters
    ----------
    xy : 2D float64 `~numpy.ndarray`, shape (N, 2)
        Positions, 0-based.
    error : 1D float64 `~numpy.ndarray`, shape (N,)
        Of the positions, in pixels.
    """

    xy: Floats
    error: Floats

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(frozen=True)
class Placement:
    """
    How an exposure lies on the grid of another.

    Parameters
    ----------
    onto : callable
        Brings an image of the exposure's grid onto the other.
    shift : (float, float)
        Where the middle of the other grid is in the exposure, less that middle: x and y in pixels.
    how : str
        ``reference``, ``wcs`` or ``stars``, with what there is to say of it.
    """

    onto: Callable[[FloatImage], FloatImage]
    shift: tuple[float, float]
    how: str


def find_stars(image: FloatImage, variance: FloatImage, saturated: BoolImage) -> Stars:
    """
    Positions of the stars of an exposure.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Sky subtracted, bad pixels patched.
    variance : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Of each pixel.
    saturated : 2D bool `~numpy.ndarray`, shape (ny, nx)
        No star is taken there.

    Returns
    -------
    Stars
        At most 200, by windowed centroids.
    """
    found = sep.extract(image, STAR_SIGMA, err=np.sqrt(variance), mask=saturated, minarea=5)
    found = found[(found["flag"] & (sep.OBJ_TRUNC | sep.OBJ_SINGU)) == 0]
    found = found[np.argsort(-found["flux"])][:STARS_MATCHED]
    if len(found) == 0:
        return Stars(np.zeros((0, 2)), np.zeros(0))
    radius, _ = sep.flux_radius(image, found["x"], found["y"], 6 * found["a"], 0.5, mask=saturated)
    # the window of SExtractor: a Gaussian of the star's own half-light diameter
    x, y, flag = sep.winpos(image, found["x"], found["y"], np.clip(2 * radius / 2.35, 0.7, None), mask=saturated)
    error = np.sqrt(found["errx2"] + found["erry2"] + CENTROID_FLOOR_PX**2)
    return Stars(np.stack([x, y], axis=1)[flag == 0], error[flag == 0])


def place(
    stars: Stars,
    reference: Stars,
    shape: tuple[int, int],
    wcs: WCS | None = None,
    target: WCS | None = None,
) -> Placement:
    """
    Find how an exposure lies on the reference's grid.

    By the two WCSs where both are there and the stars bear them out: a telescope's pointing makes a WCS too,
    wrong by arcseconds. Else by the stars: the shift that most pairs of them agree on, or, where the camera has
    turned (on a mount that has crossed the meridian it is upside down), triangles of stars matched by `astroalign`;
    then a similarity fitted to all stars.

    Parameters
    ----------
    stars, reference : Stars
        Of the exposure and of the reference.
    shape : (ny, nx)
        Of the reference's grid.
    wcs, target : `~astropy.wcs.WCS`, optional
        Of the exposure and of the reference.

    Returns
    -------
    Placement

    Raises
    ------
    fieldprep.errors.InputError
        If there are too few stars, or they do not match, and no WCS; if the pixel scales differ.
    """
    how = ""
    if wcs is not None and target is not None:
        reason = _contradicted(stars.xy, reference.xy, wcs, target)
        if not reason:
            affine, _ = affine_between(wcs, target, shape)
            _check_scale(affine)
            return Placement(partial(resample, source=wcs, target=target, shape=shape), _shift(affine, shape), "wcs")
        how = f", its WCS is {reason}"
    affine, matched = _by_stars(stars, reference)
    _check_scale(affine)
    return Placement(partial(warp, affine=affine, shape=shape), _shift(affine, shape), f"{matched} stars{how}")


def _shift(affine: Floats, shape: tuple[int, int]) -> tuple[float, float]:
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    dx, dy = affine[:, :2] @ middle + affine[:, 2] - middle
    return float(dx), float(dy)


def _check_scale(affine: Floats) -> None:
    """Refuse another pixel scale: the flux of a source would change with it."""
    area = abs(float(np.linalg.det(affine[:, :2])))
    if abs(area - 1) > SAME_SCALE:
        raise InputError(f"its pixels cover {1 / area:.3f} of the sky of the others'; reduce the two apart")


def _contradicted(stars: Floats, reference: Floats, wcs: WCS, target: WCS) -> str:
    """What the stars have against two WCSs; empty if they bear them out or are too few to tell."""
    if min(len(stars), len(reference)) < STARS_NEEDED:
        return ""
    there = np.stack(target.world_to_pixel_values(*wcs.pixel_to_world_values(*stars.T)), axis=1)
    inside = np.isfinite(there).all(axis=1)
    inside &= ((there > reference.min(axis=0)) & (there < reference.max(axis=0))).all(axis=1)
    if inside.sum() < STARS_NEEDED:
        return ""
    apart, _ = KDTree(reference).query(there[inside])
    close = float(np.mean(apart < MATCH_PX))
    return "" if close >= 0.5 else f"off (it puts {close:.0%} of the stars on stars)"


def _by_stars(stars: Stars, reference: Stars) -> tuple[Floats, int]:
    """Affine from the reference's pixels to the exposure's, and how many stars it is fitted to."""
    fewest = min(len(stars), len(reference))
    if fewest < STARS_NEEDED:
        raise InputError(f"{fewest} stars to align by, where {STARS_NEEDED} are needed; a WCS in its header would do")
    for guess in (_shifted, _turned):
        affine = guess(stars.xy, reference.xy)
        for _ in range(3):
            if affine is None:
                break
            apart, nearest = KDTree(stars.xy).query(reference.xy @ affine[:, :2].T + affine[:, 2])
            pairs = apart < MATCH_PX
            enough = pairs.sum() >= max(STARS_NEEDED, MATCHED_SHARE * fewest)
            error = np.hypot(reference.error[pairs], stars.error[nearest[pairs]])
            affine = _similarity(reference.xy[pairs], stars.xy[nearest[pairs]], error) if enough else None
        if affine is not None:
            return affine, int(pairs.sum())
    raise InputError("its stars are not those of the other exposures; is it of another part of the sky?")


def _shifted(stars: Floats, reference: Floats) -> Floats:
    """Shift that most pairs of stars agree on."""
    differences = (stars[:, None] - reference[None]).reshape(-1, 2)
    agreeing = KDTree(differences).query_ball_point(differences, MATCH_PX, return_length=True)
    return np.column_stack([np.eye(2), differences[np.argmax(agreeing)]])


def _turned(stars: Floats, reference: Floats) -> Floats | None:
    """Shift and turn, by triangles of stars; None if none are alike."""
    try:
        found, _ = astroalign.find_transform(reference, stars)
    except (astroalign.MaxIterError, ValueError, TypeError):
        return None
    return np.asarray(found.params[:2], np.float64)


def _similarity(source: Floats, target: Floats, error: Floats) -> Floats:
    """Shift, turn and scale that bring points onto others, by least squares: target = a source + b, as complex."""
    z, w = source @ [1, 1j], target @ [1, 1j]
    design = np.column_stack([z, np.ones_like(z)])
    (a, b), *_ = np.linalg.lstsq(design / error[:, None], w / error, rcond=None)
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
