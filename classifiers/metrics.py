"""How well classes were given: accuracy, precision, recall, F1, AUC, log loss, Brier score, confusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy.stats import binom_conf_interval
from scipy.stats import rankdata

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RESAMPLES = 200
CONFIDENCE_LEVEL = 0.6827
_LEAST_PROBABILITY = float(np.finfo(np.float64).eps)


def classification_scores(
    true: Sequence[str] | npt.NDArray[np.str_],
    given: Sequence[str] | npt.NDArray[np.str_],
    classes: Sequence[str],
    probabilities: Floats | None = None,
) -> dict[str, Any]:
    """
    Scores of classes given to objects whose class is known.

    Parameters
    ----------
    true, given : sequence of str, N of them
        Class of each object as it is known, and as it was given.
    classes : sequence of str
        Names of the K classes.
    probabilities : 2D float64 `~numpy.ndarray`, shape (N, K), optional
        Probability of each class.

    Returns
    -------
    dict
        ``n``; ``classes``; ``confusion``: list of K rows (true) of K counts (given); ``accuracy`` (with k and a
        Jeffreys interval), ``balanced_accuracy`` (mean recall), ``macro_f1`` and, with probabilities, ``macro_auc``
        (one class against the rest, mean over classes), ``log_loss``, ``brier`` (squared differences summed over the
        classes), each with ``value``, ``low``, ``high`` (68 %, bootstrapped) and ``n``; ``per_class``: by name
        ``precision``, ``recall``, ``f1``, ``auc`` and ``n``. NaN where there is nothing to divide by; means are over
        the classes that are there.

    Raises
    ------
    ValueError
        If a class is not one of ``classes``, or the lengths differ.
    """
    index = {name: i for i, name in enumerate(classes)}
    unknown = sorted({*map(str, true), *map(str, given)} - set(index))
    if unknown:
        raise ValueError(f"classes must be of {', '.join(classes)}, got {', '.join(unknown)}")
    t, g = (np.array([index[str(name)] for name in names], np.int64) for names in (true, given))
    if len(t) != len(g) or (probabilities is not None and probabilities.shape != (len(t), len(classes))):
        raise ValueError(f"true, given and probabilities must be of one length, got {len(t)} and {len(g)}")
    k = len(classes)
    confusion = confusion_matrix(t, g, k)
    whole = _measures(t, g, k, probabilities)
    rng = np.random.default_rng(0)
    draws: list[dict[str, float]] = []
    for _ in range(RESAMPLES if len(t) else 0):
        drawn = rng.integers(0, len(t), len(t))
        draws.append(_measures(t[drawn], g[drawn], k, None if probabilities is None else probabilities[drawn]))
    out: dict[str, Any] = {"n": len(t), "classes": list(classes), "confusion": confusion.tolist()}
    for name, value in whole.items():
        low, high = _interval(np.array([draw[name] for draw in draws]))
        out[name] = {"value": value, "low": low, "high": high, "n": len(t)}
    right = int(np.trace(confusion))
    if len(t):
        low, high = binom_conf_interval(right, len(t), CONFIDENCE_LEVEL, interval="jeffreys")
        out["accuracy"] |= {"k": right, "low": float(low), "high": float(high)}
    auc = np.full(k, np.nan) if probabilities is None else _aucs(t, probabilities)
    columns = dict(zip(("precision", "recall", "f1"), per_class(confusion), strict=True)) | {"auc": auc}
    out["per_class"] = {
        name: {**{key: float(values[i]) for key, values in columns.items()}, "n": int(confusion[i].sum())}
        for i, name in enumerate(classes)
    }
    return out


def confusion_matrix(true: Ints, given: Ints, classes: int) -> Ints:
    """Counts by true class (rows) and given class (columns), shape (K, K)."""
    counts: Ints = np.bincount(true * classes + given, minlength=classes**2).reshape(classes, classes).astype(np.int64)
    return counts


def per_class(confusion: Ints) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each class, shape (K,); NaN where there is nothing to divide by."""
    hits, given, true = np.diag(confusion).astype(np.float64), confusion.sum(axis=0), confusion.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return hits / given, hits / true, 2 * hits / (given + true)


def auc(positive: npt.NDArray[np.bool_], value: Floats) -> float:
    """
    Area under the receiver's curve: how often a positive's value is above a negative's, ties counted half.

    Parameters
    ----------
    positive : 1D bool `~numpy.ndarray`, shape (N,)
        Which are positive.
    value : 1D float64 `~numpy.ndarray`, shape (N,)
        What ranks them.

    Returns
    -------
    float
        NaN without a positive or without a negative.
    """
    n = int(positive.sum())
    if n in {0, len(positive)}:
        return float("nan")
    ranks = rankdata(value)[positive].sum()
    return float((ranks - n * (n + 1) / 2) / (n * (len(positive) - n)))


def recall_at(positive: npt.NDArray[np.bool_], value: Floats, false_positives: float) -> float:
    """
    Largest recall at no more than a share of false positives.

    Parameters
    ----------
    positive : 1D bool `~numpy.ndarray`, shape (N,)
        Which are positive.
    value : 1D float64 `~numpy.ndarray`, shape (N,)
        What ranks them, positives higher.
    false_positives : float
        Share of the negatives that may be taken.

    Returns
    -------
    float
        NaN without a positive or without a negative.
    """
    negatives = np.sort(value[~positive])[::-1]
    if not len(negatives) or not positive.any():
        return float("nan")
    allowed = int(np.floor(false_positives * len(negatives) + 1e-9))
    # over the highest negative that may not be taken
    least = negatives[allowed] if allowed < len(negatives) else -np.inf
    return float((value[positive] > least).mean())


def threshold_for_recall(positive: npt.NDArray[np.bool_], value: Floats, recall: float) -> float:
    """
    Highest threshold at which the recall is at least what is wanted; what is at it or over it is taken.

    Parameters
    ----------
    positive : 1D bool `~numpy.ndarray`, shape (N,)
        Which are positive.
    value : 1D float64 `~numpy.ndarray`, shape (N,)
        What ranks them, positives higher.
    recall : float
        Share of the positives that is to be taken, over 0, up to 1.

    Returns
    -------
    float
        The value of a positive; NaN without one.

    Raises
    ------
    ValueError
        If the recall is not of that range.
    """
    if not 0 < recall <= 1:
        raise ValueError(f"recall must be over 0, up to 1, got {recall!r}")
    positives = np.sort(value[positive])[::-1]
    if not len(positives):
        return float("nan")
    return float(positives[int(np.ceil(recall * len(positives) - 1e-9)) - 1])  # 0.9 x 10 is a hair over 9


def rates_at(positive: npt.NDArray[np.bool_], value: Floats, threshold: float) -> dict[str, dict[str, Any]]:
    """
    Recall and false-positive rate where what is at a threshold or over it is taken.

    Parameters
    ----------
    positive : 1D bool `~numpy.ndarray`, shape (N,)
        Which are positive.
    value : 1D float64 `~numpy.ndarray`, shape (N,)
        What ranks them.
    threshold : float
        From which on they are taken.

    Returns
    -------
    dict
        ``recall`` and ``false_positive_rate``, each with ``value``, ``low``, ``high`` (68 %, Jeffreys), ``k`` and
        ``n``; NaN where there is nothing to divide by.
    """
    taken = value >= threshold
    rates: dict[str, dict[str, Any]] = {}
    for name, of in (("recall", positive), ("false_positive_rate", ~positive)):
        k, n = int((taken & of).sum()), int(of.sum())
        low, high = binom_conf_interval(k, n, CONFIDENCE_LEVEL, interval="jeffreys") if n else (np.nan, np.nan)
        rates[name] = {"value": k / n if n else float("nan"), "low": float(low), "high": float(high), "k": k, "n": n}
    return rates


def _measures(true: Ints, given: Ints, classes: int, probabilities: Floats | None) -> dict[str, float]:
    confusion = confusion_matrix(true, given, classes)
    _, recall, f1 = per_class(confusion)
    there = confusion.sum(axis=1) > 0
    found = {
        "accuracy": float(np.trace(confusion) / len(true)) if len(true) else float("nan"),
        "balanced_accuracy": _mean(recall[there]),
        "macro_f1": _mean(f1[there]),
    }
    if probabilities is not None:
        of_truth = probabilities[np.arange(len(true)), true]
        found["macro_auc"] = _mean(_aucs(true, probabilities))
        found["log_loss"] = _mean(-np.log(np.clip(of_truth, _LEAST_PROBABILITY, 1)))
        found["brier"] = _mean(((probabilities - np.eye(classes)[true]) ** 2).sum(axis=1))
    return found


def _aucs(true: Ints, probabilities: Floats) -> Floats:
    return np.array([auc(true == i, probabilities[:, i]) for i in range(probabilities.shape[1])])


def _mean(values: Floats) -> float:
    """Mean of those that are known."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _interval(draws: Floats) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [16, 84])
    return float(low), float(high)
