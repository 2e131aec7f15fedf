"""
Which fields are trained on and which are kept for validation, so that no sky is on both sides.

Fields that touch on the sky (overlapping, adjacent, or the same sky again) are a group. The sky is cut into HEALPix
cells; a group narrower than a cell goes whole to the cell of its middle, and a cell goes to one half. A group wider
than a cell, such as a stripe, has to be cut: there, training fields that touch a validation field are left out.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
import numpy.typing as npt
from astropy.coordinates import CartesianRepresentation, SkyCoord, UnitSphericalRepresentation, search_around_sky
from astropy_healpix import HEALPix, pixel_resolution_to_nside
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from fieldprep.field import Field

Floats = npt.NDArray[np.float64]

TRAIN, VALIDATION, LEFT_OUT = "train", "val", "left out"
BUFFER_ARCMIN = 1.0  # fields this near to each other touch: a galaxy's outskirts reach so far


@dataclass(frozen=True)
class Footprint:
    """
    Where a field is.

    Parameters
    ----------
    name : str
        Name of the field.
    ra, dec, radius_deg : float
        Circle on the sky (ICRS degrees) that holds the field; NaN where the field has no WCS.
    content : str
        Checksum of its pixels where it has no WCS, so that the same picture twice is noticed.
    """

    name: str
    ra: float = np.nan
    dec: float = np.nan
    radius_deg: float = np.nan
    content: str = ""

    @property
    def placed(self) -> bool:
        """Whether its place on the sky is known."""
        return bool(np.isfinite(self.radius_deg))


@dataclass(frozen=True)
class Place:
    """
    What a split says of a field.

    Parameters
    ----------
    footprint : Footprint
        The field.
    block : str
        What goes to one half together: a cell as ``NSIDE/INDEX``, or the field itself where it is not placed.
    half : {'train', 'val', 'left out'}
        Where it goes.
    reason : str
        Why it is left out.
    """

    footprint: Footprint
    block: str
    half: str
    reason: str = ""


def footprint_of(field: Field) -> Footprint:
    """
    Circle on the sky that holds a field.

    Parameters
    ----------
    field : Field
        The field.

    Returns
    -------
    Footprint
        Without a place if the field has no WCS, or its WCS has none for a corner.
    """
    ny, nx = field.shape
    if field.wcs is not None:
        x, y = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5]), np.array([-0.5, -0.5, ny - 0.5, ny - 0.5])
        corners = field.wcs.pixel_to_world(x, y).icrs
        middle = SkyCoord(corners.cartesian.mean(), frame="icrs").spherical
        if np.isfinite(middle.lon.deg):
            centre = SkyCoord(middle.lon, middle.lat, frame="icrs")
            radius = float(corners.separation(centre).deg.max())
            return Footprint(field.name, float(centre.ra.deg), float(centre.dec.deg), radius)
    checksum = hashlib.blake2b(digest_size=16)
    for band, image in field.bands.items():
        checksum.update(band.encode() + np.ascontiguousarray(image).tobytes())
    return Footprint(field.name, content=checksum.hexdigest())


def split(
    fields: Sequence[Footprint],
    labelled: Sequence[int],
    *,
    validation: Collection[str] = (),
    share: float = 0.2,
    seed: int = 0,
    block_deg: float = 2.0,
) -> list[Place]:
    """
    Share fields out between training and validation.

    Parameters
    ----------
    fields : sequence of Footprint
        All fields of the set.
    labelled : sequence of int
        How many objects are labelled on each. Cells without any are shared out too, but do not count.
    validation : collection of str
        Names of the validation fields; drawn from the seed if none are named.
    share : float
        Share of the fields to draw; a cell is drawn whole, so this is met as nearly from below as cells allow,
        with one cell at least.
    seed : int
        Of the draw. It depends on the seed and the cells, not on the order of the fields or on what is made of them.
    block_deg : float
        Size of a cell in degrees; the nearest of HEALPix's is taken.

    Returns
    -------
    list of Place
        In the order of ``fields``. No training field touches a validation field.

    Raises
    ------
    fieldprep.errors.InputError
        If either half would be without a labelled object; the text says what to do.
    """
    pairs = touching(fields)
    cells = blocks(fields, pairs, block_deg)
    if validation:
        chosen = np.array([field.name in validation for field in fields], np.bool_)
    else:
        drawn = _drawn(cells, labelled, share, seed)
        chosen = np.array([cell in drawn for cell in cells], np.bool_)
    neighbour: dict[int, str] = {}
    for i, j in pairs:
        if chosen[i] != chosen[j]:
            neighbour[j if chosen[i] else i] = fields[i if chosen[i] else j].name
    places = []
    for i, (field, cell) in enumerate(zip(fields, cells, strict=True)):
        half = VALIDATION if chosen[i] else LEFT_OUT if i in neighbour else TRAIN
        reason = f"touches {neighbour[i]}, which is kept for validation" if i in neighbour else ""
        places.append(Place(field, cell, half, reason))
    _check(places, labelled, by_name=bool(validation))
    return places


def undivided(fields: Sequence[Footprint], *, block_deg: float = 2.0) -> list[Place]:
    """
    Fields that are not shared out, because their objects are: all are for training.

    Parameters
    ----------
    fields, block_deg
        As of `split`.

    Returns
    -------
    list of Place
        In the order of ``fields``.
    """
    cells = blocks(fields, touching(fields), block_deg)
    return [Place(field, cell, TRAIN, "") for field, cell in zip(fields, cells, strict=True)]


def touching(fields: Sequence[Footprint], buffer_arcmin: float = BUFFER_ARCMIN) -> list[tuple[int, int]]:
    """
    Pairs of fields that lie on the same sky or beside each other.

    Parameters
    ----------
    fields : sequence of Footprint
        The fields.
    buffer_arcmin : float
        How near their circles must come.

    Returns
    -------
    list of (int, int)
        Indices, the lower one first, each pair once. Of fields without a place only the same pixels are noticed.
    """
    by_content = defaultdict(list)
    for i, field in enumerate(fields):
        by_content[field.content].append(i)
    same = [(members[0], other) for content, members in by_content.items() if content for other in members[1:]]
    placed = np.array([i for i, field in enumerate(fields) if field.placed], np.int64)
    if len(placed) < 2:
        return same
    radius = np.array([fields[i].radius_deg for i in placed])
    sky = SkyCoord([fields[i].ra for i in placed], [fields[i].dec for i in placed], unit="deg")
    limit = min(180.0, 2 * radius.max() + buffer_arcmin / 60)
    one, other, distance, _ = search_around_sky(sky, sky, limit * u.deg)
    near = (one < other) & (distance.deg <= radius[one] + radius[other] + buffer_arcmin / 60)
    return same + list(zip(placed[one[near]].tolist(), placed[other[near]].tolist(), strict=True))


def blocks(fields: Sequence[Footprint], pairs: Iterable[tuple[int, int]], block_deg: float) -> list[str]:
    """
    Cell of each field.

    Parameters
    ----------
    fields : sequence of Footprint
        The fields.
    pairs : iterable of (int, int)
        Those that touch, as `touching` gives them.
    block_deg : float
        Size of a cell in degrees.

    Returns
    -------
    list of str
        ``NSIDE/INDEX`` (ring order), or the name of the group's first field where it has no place. Fields that touch
        have the same cell unless their group is wider than one.
    """
    cells = HEALPix(int(pixel_resolution_to_nside(block_deg * u.deg, round="nearest")))
    group = _groups(len(fields), pairs)
    at = _unit_vectors(fields)
    middle = np.zeros((len(fields), 3))
    np.add.at(middle, group, np.nan_to_num(at))
    middle /= np.maximum(np.linalg.norm(middle, axis=1, keepdims=True), 1e-300)
    # chords, the same as angles at this size
    wide = np.linalg.norm(at - middle[group], axis=1) > cells.pixel_resolution.to_value(u.rad) / 2
    cut = np.isin(group, group[wide])
    vectors = CartesianRepresentation(np.where(cut[:, None], at, middle[group]), xyz_axis=1)
    sky = vectors.represent_as(UnitSphericalRepresentation)
    placed = np.asarray(np.isfinite(at).all(axis=1))
    index = np.full(len(fields), -1)
    index[placed] = cells.lonlat_to_healpix(sky.lon[placed], sky.lat[placed])
    first = {number: field.name for number, field in reversed(list(zip(group.tolist(), fields, strict=True)))}
    return [
        f"{cells.nside}/{cell}" if known else first[number]
        for cell, known, number in zip(index.tolist(), placed.tolist(), group.tolist(), strict=True)
    ]


def drawn_part(names: Sequence[str], share: float, seed: int) -> set[str]:
    """
    Draw a share of fields by name, one at least.

    Parameters
    ----------
    names : sequence of str
        Names of the fields.
    share : float
        Share to draw.
    seed : int
        Of the draw, which depends on it and the names alone, not on their order.

    Returns
    -------
    set of str
    """
    return set(sorted(names, key=lambda name: _rank(seed, name))[: max(1, round(share * len(names)))])


def _groups(n: int, pairs: Iterable[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Number of the connected group of each of 0 .. n - 1."""
    one, other = np.array(list(pairs), np.int64).reshape(-1, 2).T
    _, group = connected_components(coo_array((np.ones(len(one)), (one, other)), shape=(n, n)), directed=False)
    return np.asarray(group, np.int64)


def _unit_vectors(fields: Sequence[Footprint]) -> Floats:
    """Directions of the fields' middles, shape (N, 3); NaN where a field has no place."""
    ra, dec = np.array([[field.ra for field in fields], [field.dec for field in fields]])
    vectors: Floats = UnitSphericalRepresentation(ra * u.deg, dec * u.deg).to_cartesian().get_xyz(xyz_axis=1).value
    return vectors


def _drawn(cells: Sequence[str], labelled: Sequence[int], share: float, seed: int) -> set[str]:
    """Cells for validation: in the seed's order, each that fits; the smallest if none does."""
    size = Counter(cell for cell, count in zip(cells, labelled, strict=True) if count)
    order = sorted(size, key=lambda cell: _rank(seed, cell))
    wanted, taken, drawn = share * sum(size.values()), 0, set()
    for cell in order:
        if taken + size[cell] <= wanted:
            drawn.add(cell)
            taken += size[cell]
    if not drawn and len(order) > 1:
        drawn.add(min(order, key=lambda cell: size[cell]))
    return drawn | {cell for cell in cells if cell not in size and _rank(seed, cell) < share * 2**64}


def _rank(seed: int, text: str) -> int:
    """Number from 0 to 2^64 that looks drawn at random."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest())


def _check(places: Sequence[Place], labelled: Sequence[int], *, by_name: bool) -> None:
    counts = Counter[str]()
    for place, count in zip(places, labelled, strict=True):
        counts[place.half] += count
    if not sum(counts.values()):
        raise InputError("no field has a labelled object: nothing to train on or to validate with")
    empty = [half for half in (TRAIN, VALIDATION) if not counts[half]]
    if not empty:
        return
    text = f"no labelled object would be left for the {' and the '.join(empty)} half"
    if by_name:
        near = sum(place.half == LEFT_OUT for place in places)
        text += f" (fields that touch those named for validation: {near})"
        mend = "name other fields for validation, or give more"
    else:
        text += f" (fields: {len(places)}, blocks of sky: {len({place.block for place in places})})"
        mend = "give fields elsewhere on the sky, or smaller blocks; fields that touch are never on both sides"
    raise InputError(f"{text}; {mend}")
