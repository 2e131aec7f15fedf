"""What a cluster of galaxies is to us: a place, a window of redshifts, and the catalogue that classes its galaxies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.coordinates import Angle, SkyCoord

from fieldprep.clusters.regions import ColourRegions
from fieldprep.errors import UsageError

MEMBER, BACKGROUND, STAR = "member", "background", "star"


@dataclass(frozen=True)
class Classes:
    """
    What the classes of a catalogue say of membership.

    Parameters
    ----------
    member, background, dropped : tuple of str
        Classes as the catalogue writes them, numbers too. Rows of the last are left out.
    column : str
        The catalogue's column of the class; empty: it is looked for by name, then by UCD.
    """

    member: tuple[str, ...]
    background: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    column: str = ""

    def __post_init__(self) -> None:
        if not self.member or not self.background:
            raise UsageError("classes of members and of the background are wanted, at least one of each")
        twice = sorted({name for name in self.known if self.known.count(name) > 1})
        if twice:
            raise UsageError(f"class {', '.join(twice)} cannot be two things at once")

    @property
    def known(self) -> tuple[str, ...]:
        """All classes that are spoken of."""
        return (*self.member, *self.background, *self.dropped)


# Pruitt and Romanowsky's reading of the seven classes: of them 3 and 5 are likely and possible early types of the
# cluster, 4 is a merging system, 0 and 2 are late types and edge-on discs "of cluster or background"
WITTMANN = Classes(member=("3", "5"), background=("0", "1", "2", "6"), dropped=("4",))


@dataclass(frozen=True)
class Cluster:
    """
    A cluster of galaxies.

    Parameters
    ----------
    name : str
        What to call it.
    ra, dec : float
        Its middle, ICRS degrees.
    radius_deg : float
        How far from it objects are looked for.
    redshifts : (low, high)
        Members lie from the one to the other; what is nearer is a star (or, rarely, a foreground galaxy), what is
        farther is background.
    table : str
        VizieR's name of a catalogue that classes its galaxies; empty: redshifts alone tell members.
    classes : Classes
        What that catalogue's classes say.
    regions : ColourRegions, optional
        Its red sequence; by default it is fitted to the members that have redshifts.
    """

    name: str
    ra: float
    dec: float
    radius_deg: float
    redshifts: tuple[float, float]
    table: str = ""
    classes: Classes = WITTMANN
    regions: ColourRegions | None = None

    def __post_init__(self) -> None:
        low, high = self.redshifts
        if not (0 <= self.ra <= 360 and -90 <= self.dec <= 90):
            raise UsageError(
                f"{self.name}: right ascension goes from 0 to 360 degrees, declination from -90 to 90, "
                f"got {self.ra:g} and {self.dec:g}"
            )
        if not 0 < self.radius_deg <= 90:
            raise UsageError(f"{self.name}: a radius of over 0 and up to 90 degrees is wanted, got {self.radius_deg:g}")
        if not 0 <= low < high:
            raise UsageError(
                f"{self.name}: a window of redshifts goes from 0 or above to more, as 0.01 to 0.033, "
                f"got {low:g} to {high:g}"
            )

    @property
    def centre(self) -> SkyCoord:
        """Its middle."""
        return SkyCoord(self.ra, self.dec, unit="deg")

    @property
    def reach(self) -> Angle:
        """Its radius."""
        return Angle(self.radius_deg, "deg")

    def kinds(self, z: npt.NDArray[np.float64]) -> npt.NDArray[np.object_]:
        """
        What objects are by their redshifts.

        Parameters
        ----------
        z : 1D float64 `~numpy.ndarray`, shape (N,)
            Redshifts.

        Returns
        -------
        1D object `~numpy.ndarray`, shape (N,)
            ``star``, ``member``, ``background``; empty where there is no redshift.
        """
        low, high = self.redshifts
        return np.select([z < low, z <= high, z > high], [STAR, MEMBER, BACKGROUND], "").astype(object)


# in the middle NGC 1275. The window of redshifts is Pruitt and Romanowsky's; how wide they searched they do not say:
# one degree is 1.3 Mpc there
PERSEUS = Cluster(
    "Perseus", 49.9507, 41.5117, 1.0, (0.01, 0.033), table="J/ApJS/245/10", classes=WITTMANN, regions=ColourRegions()
)
