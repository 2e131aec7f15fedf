"""How far confidences are from being probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15


def reliability(probability: npt.ArrayLike, true: npt.ArrayLike, bins: int = BINS) -> dict[str, Any]:
    """
    How far confidences are from being probabilities.

    Parameters
    ----------
    probability : 1D array_like, shape (N,)
        Confidences.
    true : 1D array_like, shape (N,)
        1 where it is so: the detection is of a galaxy, the class is right.
    bins : int
        Bins of equal width.

    Returns
    -------
    dict
        ``ece``: expected calibration error, the mean over them of the distance between a bin's mean confidence
        and its share of true ones; ``brier``: mean squared difference; ``n``; ``bins``: list of ``low``, ``high``,
        ``n``, ``true``, ``mean_confidence``, empty ones left out.

    References
    ----------
    Naeini et al. 2015, AAAI, 2901; Guo et al. 2017, ICML, 1321, equation 3.
    """
    values, truth = np.asarray(probability, np.float64), np.asarray(true, np.float64)
    n = len(values)
    if n == 0:
        return {"ece": math.nan, "brier": math.nan, "n": 0, "bins": []}
    index = np.minimum((values * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    trues, sums = (np.bincount(index, weights, minlength=bins) for weights in (truth, values))
    rows = [
        {
            "low": i / bins,
            "high": (i + 1) / bins,
            "n": int(count[i]),
            "true": int(trues[i]),
            "mean_confidence": float(sums[i] / count[i]),
        }
        for i in np.flatnonzero(count)
    ]
    ece = float(np.abs(sums - trues).sum() / n)
    return {"ece": ece, "brier": float(((values - truth) ** 2).mean()), "n": n, "bins": rows}
