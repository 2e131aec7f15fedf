"""Shares and means with their 68 % intervals, and resampling by blocks of sky."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy.stats import binom_conf_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CONFIDENCE_LEVEL = 0.6827
RESAMPLES = 200
BLOCKS = 4  # a field is resampled in 4 x 4 blocks of sky
MANY_FIELDS = 100  # with more of them whole fields are resampled


@dataclass(frozen=True)
class Share:
    """A share k / n with its 68 % interval (Jeffreys)."""

    k: int
    n: int
    value: float = field(init=False)
    low: float = field(init=False)
    high: float = field(init=False)

    def __post_init__(self) -> None:
        low, high = (np.nan, np.nan)
        if self.n:
            low, high = binom_conf_interval(self.k, self.n, CONFIDENCE_LEVEL, interval="jeffreys")
        for name, value in (("value", self.k / self.n if self.n else np.nan), ("low", low), ("high", high)):
            object.__setattr__(self, name, float(value))


@dataclass(frozen=True)
class Blocks:
    """
    Blocks of sky that a bootstrap draws from, those of all fields numbered through.

    Parameters
    ----------
    fields : int
        How many fields there are.
    """

    fields: int

    @property
    def side(self) -> int:
        """Blocks along a side of a field."""
        return BLOCKS if self.fields <= MANY_FIELDS else 1

    def __len__(self) -> int:
        return self.fields * self.side**2

    def of(self, xy: Floats, shape: tuple[int, int], number: int) -> Ints:
        """Block of each position, shape (N, 2), in the field of that number, shape (N,)."""
        cell = np.clip(((xy + 0.5) / np.array([shape[1], shape[0]]) * self.side).astype(np.int64), 0, self.side - 1)
        block: Ints = number * self.side**2 + cell[:, 1] * self.side + cell[:, 0]
        return block

    def draws(self) -> Iterator[Ints]:
        """How often each block is drawn, shape (blocks,), in each resample; the same each time."""
        rng = np.random.default_rng(0)
        for _ in range(RESAMPLES):
            yield rng.multinomial(len(self), np.full(len(self), 1 / len(self)))


def interval(draws: Floats) -> tuple[float, float]:
    """68 % interval of resampled values, NaN ones left out; NaN if there are no others."""
    known = draws[np.isfinite(draws)]
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [16, 84])
    return float(low), float(high)


def resampled_shares(group: Ints, hit: Bools, block: Ints, groups: int, blocks: Blocks) -> list[dict[str, Any]]:
    """
    Share of hits in each of several groups, bootstrapped over blocks of sky.

    Parameters
    ----------
    group : 1D int64 `~numpy.ndarray`, shape (N,)
        Group of each, 0 to ``groups`` - 1; -1 for none.
    hit : 1D bool `~numpy.ndarray`, shape (N,)
        What is counted.
    block : 1D int64 `~numpy.ndarray`, shape (N,)
        Block of sky of each.
    groups : int
        How many groups there are.
    blocks : Blocks
        What is resampled.

    Returns
    -------
    list of dict
        ``k``, ``n``, ``value``, ``low``, ``high`` and ``interval``: ``bootstrap``, or ``jeffreys`` where all
        resamples agree, as they do on none or all.
    """
    chosen = group >= 0
    cell = group[chosen] * len(blocks) + block[chosen]
    size = groups * len(blocks)
    n = np.bincount(cell, minlength=size).reshape(groups, -1)
    k = np.bincount(cell[hit[chosen]], minlength=size).reshape(groups, -1)
    with np.errstate(invalid="ignore"):
        draws = np.array([(k @ weight) / (n @ weight) for weight in blocks.draws()]).reshape(-1, groups)
    shares = []
    for i in range(groups):
        share = dict(vars(Share(int(k[i].sum()), int(n[i].sum()))), interval="jeffreys")
        low, high = interval(draws[:, i])
        if low < high:
            share |= {"low": low, "high": high, "interval": "bootstrap"}
        shares.append(share)
    return shares


def mean(values: Floats) -> dict[str, Any]:
    """Mean with a bootstrapped 68 % interval and n."""
    if len(values) == 0:
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    rng = np.random.default_rng(0)
    low, high = interval(np.array([rng.choice(values, len(values)).mean() for _ in range(RESAMPLES)]))
    return {"value": float(values.mean()), "low": low, "high": high, "n": len(values)}
