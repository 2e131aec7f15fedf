"""How the light of one galaxy, alone and without noise, grows with radius."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

PETROSIAN_RATIO = 0.2


class Growth:
    """
    Light within circles about the middle of an image.

    Parameters
    ----------
    image : 2D `~numpy.ndarray`, shape (n, n), n odd
        A galaxy without noise.
    centre : (float, float)
        x and y of its centre, in pixels from the middle of the image.
    """

    def __init__(self, image: npt.NDArray[Any], centre: tuple[float, float] = (0.0, 0.0)) -> None:
        self.half = image.shape[0] // 2
        y, x = np.indices(image.shape) - self.half
        distance = np.hypot(x - centre[0], y - centre[1]).ravel()
        order = np.argsort(distance, kind="stable")
        self._radius = np.concatenate([[0.0], distance[order]])
        self._light = np.concatenate([[0.0], np.cumsum(image.ravel()[order], dtype=np.float64)])
        self._pixels = np.arange(len(self._light), dtype=np.float64)

    def within(self, radius: Floats | float) -> tuple[Any, Any]:
        """Light, and number of pixels, within each radius in pixels."""
        return np.interp(radius, self._radius, self._light), np.interp(radius, self._radius, self._pixels)

    def petrosian_radius(self) -> float:
        """
        Petrosian radius.

        Returns
        -------
        float
            Pixels: the radius at which the mean brightness between 0.8 and 1.25 of it is a fifth of the mean
            within it (Blanton et al. 2001, AJ 121, 2358); half the image where that is not reached.
        """
        radii = np.arange(2.0, self.half / 1.25, 0.1)
        inner, inner_pixels = self.within(0.8 * radii)
        outer, outer_pixels = self.within(1.25 * radii)
        whole, whole_pixels = self.within(radii)
        ratio = (outer - inner) / (outer_pixels - inner_pixels) / (whole / whole_pixels)
        below = np.flatnonzero(ratio < PETROSIAN_RATIO)
        return float(radii[below[0]]) if len(below) else float(self.half)

    def light_radius(self, share: float, petrosian: float) -> float:
        """
        Radius that holds a share of the Petrosian flux.

        Parameters
        ----------
        share : float
            0.5 for petroR50, 0.9 for petroR90.
        petrosian : float
            Petrosian radius in pixels; the flux is that within twice it (Blanton et al. 2001).

        Returns
        -------
        float
            Pixels.
        """
        total, _ = self.within(2 * petrosian)
        reached = np.maximum.accumulate(self._light)
        return float(np.interp(share * total, reached, self._radius))
