"""
The three regions of a cluster's colour-magnitude diagram: blue cloud, red sequence, red shoulder.

Pruitt and Romanowsky, whose talk on Perseus names them, give no lines: they find the red sequence plainest in r against
g - z, and show a diagram after Gavazzi et al. 2010 (A&A 517, A73), whose red sequence is a straight line in colour
against magnitude. So the sequence here is such a line with a width; what is bluer is the blue cloud (the green valley
with it), what is redder the red shoulder, where galaxies behind the cluster stand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import siegelslopes

from fieldprep.errors import InputError, UsageError

Floats = npt.NDArray[np.float64]

BLUE_CLOUD, RED_SEQUENCE, RED_SHOULDER = REGIONS = ("blue cloud", "red sequence", "red shoulder")
LEAST = 10  # members that a line is fitted to
NARROWEST = 0.05  # magnitudes: the error of a g - z alone
_SIGMA_OF_MAD = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class ColourRegions:
    """
    A red sequence in r against g - z, and with it the three regions.

    Magnitudes are SDSS's model magnitudes as the survey gives them, Galactic extinction not taken off.

    Parameters
    ----------
    colour : float
        g - z of the sequence at ``magnitude``. The default is for the Perseus cluster: about 1.35 for early types of
        M_r = -19, 0.35 of reddening and 0.05 of redshift. It is a plain choice: `fitted` takes it from members.
    magnitude : float
        r magnitude there.
    slope : float
        Change of colour by magnitude.
    half_width : float
        How far from the line the sequence reaches, in magnitudes of g - z, both edges with it.
    """

    colour: float = 1.75
    magnitude: float = 16.0
    slope: float = -0.06
    half_width: float = 0.2

    def __post_init__(self) -> None:
        numbers = (self.colour, self.magnitude, self.slope, self.half_width)
        if not (np.isfinite(numbers).all() and self.half_width > 0):
            raise UsageError(f"a red sequence wants four numbers, its half width over 0; got {numbers}")

    def line(self, r: Floats) -> Floats:
        """
        Colour of the middle of the sequence.

        Parameters
        ----------
        r : 1D float64 `~numpy.ndarray`, shape (N,)
            Magnitudes.

        Returns
        -------
        1D float64 `~numpy.ndarray`, shape (N,)
        """
        return np.asarray(self.colour + self.slope * (r - self.magnitude), np.float64)

    def of(self, r: Floats, g_z: Floats) -> npt.NDArray[np.object_]:
        """
        Region of each object.

        Parameters
        ----------
        r, g_z : 1D float64 `~numpy.ndarray`, shape (N,)
            Magnitudes and colours.

        Returns
        -------
        1D object `~numpy.ndarray`, shape (N,)
            One of `REGIONS`, empty where a magnitude is missing.
        """
        off = g_z - self.line(r)
        conditions = [off < -self.half_width, off <= self.half_width, off > self.half_width]
        return np.asarray(np.select(conditions, REGIONS, "").astype(object))

    @classmethod
    def fitted(cls, r: Floats, g_z: Floats, *, sigmas: float = 2.0) -> ColourRegions:
        """
        Fit the sequence to members.

        Parameters
        ----------
        r, g_z : 1D float64 `~numpy.ndarray`, shape (N,)
            Magnitudes and colours of members; those that are not finite are passed over.
        sigmas : float
            Half width in units of the scatter about the line.

        Returns
        -------
        ColourRegions
            The line of repeated medians, which up to half of the members may lie off; its scatter is their median
            distance from it.

        Raises
        ------
        fieldprep.errors.InputError
            If there are fewer than ten members, or all are of one magnitude.

        References
        ----------
        Siegel 1982, Biometrika 69, 242.
        """
        good = np.isfinite(r) & np.isfinite(g_z)
        r, g_z = r[good], g_z[good]
        if len(r) < LEAST or not np.ptp(r) > 0:
            raise InputError(
                f"a red sequence wants {LEAST} members with r, g and z of more than one magnitude to be fitted to, "
                f"there are {len(r)}; give its line"
            )
        middle = float(np.median(r))
        slope, colour = siegelslopes(g_z, r - middle)
        scatter = _SIGMA_OF_MAD * float(np.median(np.abs(g_z - colour - slope * (r - middle))))
        return cls(float(colour), middle, float(slope), max(sigmas * scatter, NARROWEST))
