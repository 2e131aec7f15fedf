"""Shares of stamps that stand apart: by object or by patch of sky, never by stamp, each class in its proportion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Ints = npt.NDArray[np.int64]

SHARES = (0.7, 0.15, 0.15)  # to train on, to validate and calibrate on, to score on
NEGM = (0.525, 0.225, 0.25)  # a quarter to test on, then 30 % of the rest to validate on; Negm 2021, section 3.1


def split(
    labels: npt.NDArray[np.str_], groups: npt.NDArray[np.str_], shares: Sequence[float], *, seed: int = 0
) -> Ints:
    """
    Deal groups out to parts of these shares, each class in its proportion as nearly as whole groups allow.

    Parameters
    ----------
    labels, groups : 1D str `~numpy.ndarray`, shape (N,)
        Class and group of each stamp.
    shares : sequence of float
        Of each part; they are brought to a sum of 1.
    seed : int
        Of the order in which groups are dealt.

    Returns
    -------
    1D int64 `~numpy.ndarray`, shape (N,)
        Part of each stamp.

    Raises
    ------
    fieldprep.errors.InputError
        If there are fewer groups than parts.
    """
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < len(shares):
        raise InputError(f"{len(names)} objects or patches of sky cannot be dealt out to {len(shares)} parts")
    _, label = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), label.max(initial=0) + 1))
    np.add.at(counts, (group, label), 1)
    wanted = np.asarray(shares, np.float64)[:, None] / np.sum(shares) * counts.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]  # the large ones first, while there is room
    held, part_of = np.zeros_like(wanted), np.zeros(len(names), np.int64)
    weight = 1 / np.maximum(counts.sum(axis=0), 1)  # a rare class counts as much as a common one
    for number, one in enumerate(order):
        lack = ((wanted - held) * weight * (counts[one] > 0)).sum(axis=1) / np.sqrt(wanted.sum(axis=1))
        empty = np.flatnonzero(held.sum(axis=1) == 0)
        left = len(order) - number
        part = int(empty[0]) if left <= len(empty) else int(np.argmax(lack))  # no part is left empty
        part_of[one] = part
        held[part] += counts[one]
    return np.asarray(part_of[group], np.int64)


def folds(labels: npt.NDArray[np.str_], groups: npt.NDArray[np.str_], number: int, *, seed: int = 0) -> Ints:
    """
    Deal groups out to folds of equal shares; see `split`.

    Parameters
    ----------
    labels, groups
        As of `split`.
    number : int
        How many folds.
    seed : int
        As of `split`.

    Returns
    -------
    1D int64 `~numpy.ndarray`, shape (N,)
        Fold of each stamp.
    """
    return split(labels, groups, [1.0] * number, seed=seed)
