"""What a threshold on a classifier's score does: the receiver's curve, precision and recall."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.metrics import auc

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

POINTS = 400  # of a curve that is kept


def curves(positive: Bools, value: Floats) -> dict[str, Any]:
    """
    Curves of a class against the others.

    Parameters
    ----------
    positive : 1D bool `~numpy.ndarray`, shape (N,)
        Which are of the class.
    value : 1D float64 `~numpy.ndarray`, shape (N,)
        What ranks them, those of the class higher.

    Returns
    -------
    dict
        ``threshold``, ``recall``, ``false_positives`` (share of the others) and ``precision``: lists of what is taken
        at or above each value, none of it first, in at most `POINTS` steps of even number and the last; ``auc``,
        ``average_precision``, ``n``, ``positives``.
    """
    told = operating_points(positive, value)
    kept = _thinned(len(told["threshold"]))
    return {
        **{name: column[kept].tolist() for name, column in told.items()},
        "auc": auc(positive, value),
        "average_precision": average_precision(positive, value),
        "n": len(value),
        "positives": int(positive.sum()),
    }


def operating_points(positive: Bools, value: Floats) -> dict[str, Floats]:
    """
    What is taken at or above each value that occurs, from the highest down, after the point where nothing is.

    Parameters
    ----------
    positive, value
        As of `curves`.

    Returns
    -------
    dict of str to 1D float64 `~numpy.ndarray`
        ``threshold`` (infinite first), ``recall``, ``false_positives``, ``precision`` (1 where nothing is taken). NaN
        where there is nothing to divide by.
    """
    order = np.argsort(-value, kind="stable")
    ranked, of_class = value[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.zeros(0, np.int64)
    true, taken = np.append(0, of_class.cumsum()[last]), np.append(0, last + 1)
    with np.errstate(invalid="ignore"):
        return {
            "threshold": np.append(np.inf, ranked[last]),
            "recall": true / np.float64(positive.sum()),
            "false_positives": (taken - true) / np.float64((~positive).sum()),
            "precision": np.append(1.0, true[1:] / taken[1:]),
        }


def average_precision(positive: Bools, value: Floats) -> float:
    """
    Precision at each step of recall, weighted by the step.

    Parameters
    ----------
    positive, value
        As of `curves`.

    Returns
    -------
    float
        NaN without a positive.
    """
    told = operating_points(positive, value)
    return float((np.diff(told["recall"]) * told["precision"][1:]).sum()) if positive.any() else float("nan")


def _thinned(n: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, POINTS)).round().astype(np.int64))
