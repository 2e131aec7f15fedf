"""Which SDSS fields cover a place on the sky, by their footprints and not by what is catalogued there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldprep.surveys.skyserver import Column, is_short, query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fieldprep.surveys.positions import Position

Floats = npt.NDArray[np.float64]

FRAME_SHAPE = (1489, 2048)  # (ny, nx) of every frame
_HALF_DIAGONAL_DEG = 0.1400  # of a frame: half of hypot(1489, 2048) pixels of 0.396 arcsec is 0.1393
_GOODNESS = {3: 0, 2: 1}  # Field.quality: 3 good, 2 acceptable; all the rest (bad, missing, hole) come last

_COLUMNS = (
    *(Column(name, f"r.{name}", "int64") for name in ("run", "rerun", "camcol", "field")),
    Column("quality", "f.quality", "int64"),
    *(Column(name, f"r.{name}") for name in ("a", "b", "c", "d", "e", "f", "node", "incl")),
)


@dataclass(frozen=True)
class Footprint:
    """
    A field and where on the sky its r frame lies.

    Parameters
    ----------
    run, rerun, camcol, field : int
        The survey's numbers of it.
    quality : int
        1 bad, 2 acceptable, 3 good, 4 missing, 5 hole (SkyServer, FieldQuality).
    a, b, c, d, e, f : float
        Great circle coordinates of a pixel, degrees: mu = a + b row + c column, nu = d + e row + f column, rows and
        columns counted from the first pixel's corner.
    node, incl : float
        Node and inclination of that great circle, degrees (SkyServer, tables Frame and Run, function fEqFromMuNu).
    """

    run: int
    rerun: int
    camcol: int
    field: int
    quality: int
    a: float
    b: float
    c: float
    d: float
    e: float
    f: float
    node: float
    incl: float

    def sky(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
        """
        Position of pixels of the r frame.

        Parameters
        ----------
        x, y : array_like
            0-based pixel centres.

        Returns
        -------
        ra, dec : float64 `~numpy.ndarray`
            Degrees; within 0.15 pixel of the frame's own WCS (0.5 with coefficients as rounded by SkyServer).
        """
        column, row = np.asarray(x, np.float64) + 0.5, np.asarray(y, np.float64) + 0.5
        mu = np.radians(self.a + self.b * row + self.c * column - self.node)
        nu = np.radians(self.d + self.e * row + self.f * column)
        incl = math.radians(self.incl)
        across = np.sin(mu) * np.cos(nu)
        north = across * math.sin(incl) + np.sin(nu) * math.cos(incl)
        east = across * math.cos(incl) - np.sin(nu) * math.sin(incl)
        ra = np.degrees(np.arctan2(east, np.cos(mu) * np.cos(nu))) + self.node
        return ra % 360, np.degrees(np.arcsin(north))

    def pixel(self, ra: float, dec: float) -> tuple[float, float]:
        """Pixel (x, y), 0-based, of a position in degrees; inverse of `sky`."""
        x, y, z = _unit(ra - self.node, dec)
        incl = math.radians(self.incl)
        mu = math.degrees(math.atan2(y * math.cos(incl) + z * math.sin(incl), x)) + self.node
        nu = math.degrees(math.asin(max(-1.0, min(1.0, z * math.cos(incl) - y * math.sin(incl)))))
        centre = self.a + self.b * FRAME_SHAPE[0] / 2 + self.c * FRAME_SHAPE[1] / 2
        mu = centre + (mu - centre + 180) % 360 - 180  # on the frame's turn of the circle
        determinant = self.b * self.f - self.c * self.e
        row = ((mu - self.a) * self.f - self.c * (nu - self.d)) / determinant
        column = (self.b * (nu - self.d) - (mu - self.a) * self.e) / determinant
        return column - 0.5, row - 0.5

    def edge_distance(self, position: Position) -> float:
        """Pixels from a position to the frame's nearest edge, negative outside."""
        x, y = self.pixel(position.ra, position.dec)
        ny, nx = FRAME_SHAPE
        return min(x + 0.5, nx - 0.5 - x, y + 0.5, ny - 0.5 - y)

    def touches(self, position: Position) -> bool:
        """Whether the frame and the circle of radius ``size_deg`` about a position have a point in common."""
        x, y = self.pixel(position.ra, position.dec)
        ny, nx = FRAME_SHAPE
        ra, dec = self.sky(min(max(x, -0.5), nx - 0.5), min(max(y, -0.5), ny - 0.5))
        apart = math.dist(_unit(float(ra), float(dec)), _unit(position.ra, position.dec))
        return math.degrees(2 * math.asin(apart / 2)) <= (position.size_deg or 0.0)


def footprints_at(positions: Sequence[Position], *, release: int) -> list[list[Footprint]]:
    """
    Find the fields that cover positions.

    Parameters
    ----------
    positions : sequence of Position
        Where; as many are asked for in one query as it can hold.
    release : int
        Data release.

    Returns
    -------
    list of list of Footprint
        For each position without a size the fields that contain it, for each with one those that its circle
        touches: good ones first, then by falling distance of the position from the field's edge. None where the
        survey has nothing.

    Raises
    ------
    fieldprep.errors.InputError
        If the service cannot be asked.
    """
    found: list[list[Footprint]] = []
    for batch in _batches(positions):
        what = f"SDSS fields at {batch[0].ra:.5f} {batch[0].dec:+.5f}"
        what += f" and {len(batch) - 1} more positions" if len(batch) > 1 else ""
        rows = query(_COLUMNS, _rest(batch), release=release, what=what, keep=True)
        near = [Footprint(*row) for row in rows.itertuples(index=False)]
        found += [_covering(position, near) for position in batch]
    return found


def _covering(position: Position, near: list[Footprint]) -> list[Footprint]:
    """Of these the ones that cover a position, the best first."""

    def rank(footprint: Footprint) -> tuple[float, ...]:
        good = _GOODNESS.get(footprint.quality, 2)
        return (good, -footprint.edge_distance(position), footprint.run, footprint.camcol, footprint.field)

    if position.size_deg is None:
        return sorted((one for one in near if one.edge_distance(position) >= 0), key=rank)
    return sorted((one for one in near if one.touches(position)), key=rank)


def _batches(positions: Sequence[Position]) -> Iterator[list[Position]]:
    """Positions in their order, as many together as one query can hold."""
    batch: list[Position] = []
    for position in positions:
        if batch and not is_short(_COLUMNS, _rest([*batch, position])):
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def _rest(batch: Sequence[Position]) -> str:
    # a box about the unit vector knows neither the seam at 0 h nor the poles, and SkyServer has an index of them
    boxes = " OR ".join(_box(position) for position in batch)
    return f"FROM Frame AS r JOIN Field AS f ON f.fieldID=r.fieldID WHERE r.zoom=0 AND ({boxes})"


def _box(position: Position) -> str:
    angle = min((position.size_deg or 0.0) + _HALF_DIAGONAL_DEG, 180.0)
    reach = 2 * math.sin(math.radians(angle) / 2) + 5e-5  # the rounding
    sides = zip(("cx", "cy", "cz"), _unit(position.ra, position.dec), strict=True)
    return " AND ".join(f"{axis} BETWEEN {at - reach:.4f} AND {at + reach:.4f}" for axis, at in sides)


def _unit(ra: float, dec: float) -> tuple[float, float, float]:
    """Unit vector of a direction in degrees."""
    ra, dec = math.radians(ra), math.radians(dec)
    return math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)
