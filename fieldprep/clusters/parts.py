"""
Parts of a cluster's sample: a quarter to test on, a quarter of the rest to validate on, and turned copies for training.

Copies are made of what is trained on, after the split, so none crosses it. Pruitt and Romanowsky turn first and split
then: their 230 objects are 3,450 pictures on all three sides, ours are 129 x 15 to train on, 43 and 58 as they are.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fieldprep.clusters.cluster import BACKGROUND, MEMBER
from fieldprep.errors import InputError, UsageError

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Parts:
    """
    How a sample is shared out.

    Parameters
    ----------
    test : float
        Share of all objects that is tested on.
    validation : float
        Share of the rest that is validated on.
    together_arcsec : float
        Objects this near to each other go to one part, and so do chains of them: each is in the other's picture. The
        default is half the side of 200 pixels of SDSS. Outskirts of pictures may still show the same sky: twice its
        diagonal, 112 arcsec, rules that out.
    copies : int
        Angles that each object of training is turned by, evenly about the circle from 0.
    seed : int
        Of the draw, which depends on it and the objects alone, not on their order.
    """

    test: float = 0.25
    validation: float = 0.25
    together_arcsec: float = 40.0
    copies: int = 15
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.test < 1 and 0 <= self.validation < 1):
            raise UsageError(f"shares go from 0 to below 1, got {self.test:g} and {self.validation:g}")
        if not (0 <= self.together_arcsec <= 3600 and self.copies >= 1):
            raise UsageError(
                "objects up to 3600 arcsec apart may go together, and each has one copy at least; "
                f"got {self.together_arcsec:g} and {self.copies}"
            )

    @property
    def angles_deg(self) -> tuple[float, ...]:
        """Angles of the copies, degrees."""
        return tuple(360 * i / self.copies for i in range(self.copies))


def shared_out(rows: pd.DataFrame, parts: Parts | None = None) -> pd.DataFrame:
    """
    Share objects out.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        With ``name``, ``ra``, ``dec`` (ICRS degrees) and ``label``.
    parts : Parts, optional
        How; by default 75 % and 25 %, twice.

    Returns
    -------
    `~pandas.DataFrame`
        With ``group`` (name of the first of those that go together), ``part`` (train, validation or test) and
        ``angles_deg``, a tuple: all angles in training, 0 alone elsewhere. A share is met exactly as far as whole
        groups allow and never exceeded, and each label has its proportion in it as nearly.

    Raises
    ------
    fieldprep.errors.InputError
        If a part that is wanted would have no member or no background.
    """
    parts = parts or Parts()
    groups, label = _groups(rows, parts.together_arcsec), rows["label"].to_numpy(object)
    part = np.full(len(rows), TRAIN, object)
    for name, share in ((TEST, parts.test), (VALIDATION, parts.validation)):
        left = part == TRAIN
        # as the rest rounds down: 58 of 230, 43 of 172
        wanted = math.ceil(round(share * int(left.sum()), 6))
        part[left & np.isin(groups, _drawn(groups[left], label[left], wanted, f"{parts.seed}:{name}"))] = name
    for name, share in ((TRAIN, 1.0), (VALIDATION, parts.validation), (TEST, parts.test)):
        lacking = [kind for kind in (MEMBER, BACKGROUND) if share and not ((part == name) & (label == kind)).any()]
        if lacking:
            raise InputError(
                f"no {' and no '.join(lacking)} would be left for {name} of {len(rows)} objects; "
                "take a wider circle or fainter objects, another seed, or fewer that go together"
            )
    angles = np.empty(len(rows), object)
    angles[:] = [parts.angles_deg if name == TRAIN else (0.0,) for name in part]
    return rows.assign(group=groups, part=part, angles_deg=angles)


def turned_copies(rows: pd.DataFrame) -> pd.DataFrame:
    """
    One row a picture instead of one an object.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        As of `shared_out`.

    Returns
    -------
    `~pandas.DataFrame`
        ``angle_deg`` in the place of ``angles_deg``; copies of an object follow each other.
    """
    copies = rows.explode("angles_deg", ignore_index=True).rename(columns={"angles_deg": "angle_deg"})
    return copies.astype({"angle_deg": "float64"})


def _groups(rows: pd.DataFrame, together_arcsec: float) -> npt.NDArray[np.object_]:
    """Name of the group of each object: the first, by name, of those that go together."""
    names = rows["name"].to_numpy(object)
    if len(rows) < 2:
        return names
    sky = SkyCoord(rows["ra"].to_numpy(np.float64), rows["dec"].to_numpy(np.float64), unit="deg")
    one, other, *_ = search_around_sky(sky, sky, together_arcsec * u.arcsec)
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(len(rows), len(rows)))
    _, number = connected_components(graph, directed=False)
    first = pd.Series(names).groupby(number).min()
    return np.asarray(first.to_numpy(object)[number], object)


def _drawn(groups: npt.NDArray[np.object_], labels: npt.NDArray[np.object_], wanted: int, seed: str) -> list[str]:
    """Groups that look drawn at random, until so many objects are drawn: first those that fit label by label."""
    table = pd.crosstab(groups, labels)
    sizes = dict(zip(map(str, table.index), table.to_numpy(), strict=True))
    order = sorted(sizes, key=lambda name: hashlib.blake2b(f"{seed}:{name}".encode()).digest())
    drawn, taken = list[str](), np.zeros(table.shape[1], np.int64)
    of_label = _proportional(table.to_numpy().sum(axis=0), wanted)
    for room in (of_label, np.full(len(taken), wanted)):
        for name in order:
            held = taken + sizes[name]
            if name not in drawn and (held <= room).all() and held.sum() <= wanted:
                drawn.append(name)
                taken = held
    return drawn


def _proportional(counts: npt.NDArray[np.int64], wanted: int) -> npt.NDArray[np.int64]:
    """So many in all, of each label its proportion; what rounding leaves goes to the largest remainders."""
    exact = counts * wanted / max(int(counts.sum()), 1)
    whole = np.floor(exact).astype(np.int64)
    order = np.argsort(whole - exact, kind="stable")
    whole[order[: wanted - int(whole.sum())]] += 1
    return whole
