"""How well classes were given: accuracy, precision, recall, F1, AUC, log loss, Brier score, confusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy.stats import binom_conf_interval
from scipy.stats import rankdata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]

RESAMPLES = 200
CONFIDENCE_LEVEL = 0.6827
MEASURES = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "log_loss", "brier")
OF_A_CLASS = ("precision", "recall", "f1", "auc")
_LEAST_PROBABILITY = float(np.finfo(np.float64).eps)


def classification_scores(
    true: Sequence[str] | Texts,
    given: Sequence[str] | Texts,
    classes: Sequence[str],
    probabilities: Floats | None = None,
    *,
    groups: Texts | None = None,
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
    groups : 1D str `~numpy.ndarray`, shape (N,), optional
        What belongs together, an object or a patch of sky: intervals are told by drawing these. By default each is its
        own.

    Returns
    -------
    dict
        ``n``; ``classes``; ``confusion``: list of K rows (true) of K counts (given); ``accuracy`` (with k),
        ``balanced_accuracy`` (mean recall), ``macro_f1`` and, with probabilities, ``macro_auc`` (one class against the
        rest, mean over classes), ``log_loss``, ``brier`` (squared differences summed over the classes), each with
        ``value``, ``low``, ``high`` (68 %, bootstrapped; that of the accuracy a Jeffreys interval, or by groups no
        narrower than it), ``n`` and ``baseline``: what the commonest class for all has, with the classes' shares for
        probabilities; ``commonest``: that class; ``per_class``: by name ``precision``, ``recall``, ``f1``, ``auc``,
        ``n`` and, of each measure, ``low`` and ``high``. NaN where there is nothing to divide by; means are over the
        classes that are there.

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
    k, n = len(classes), len(t)

    def measured(chosen: Ints) -> dict[str, float]:
        return measures_of(t[chosen], g[chosen], k, None if probabilities is None else probabilities[chosen])

    found = bootstrapped(measured, n, groups)
    confusion = confusion_matrix(t, g, k)
    counts = confusion.sum(axis=1)
    commonest = int(counts.argmax()) if n else 0
    shares = None if probabilities is None else np.tile(counts / max(n, 1), (n, 1))
    baseline = measures_of(t, np.full(n, commonest), k, shares)
    out: dict[str, Any] = {"n": n, "classes": list(classes), "confusion": confusion.tolist()}
    out |= {name: entry | {"baseline": baseline[name]} for name, entry in found.items() if name in MEASURES}
    out["commonest"] = classes[commonest]
    right = int(np.trace(confusion))
    if n:
        out["accuracy"] |= {"k": right} | _of_share(out["accuracy"], right, n, grouped=groups is not None)
    out["per_class"] = {
        name: {
            **{key: found[f"{key} {i}"]["value"] for key in OF_A_CLASS},
            "n": int(counts[i]),
            **{end: {key: found[f"{key} {i}"][end] for key in OF_A_CLASS} for end in ("low", "high")},
        }
        for i, name in enumerate(classes)
    }
    return out


def bootstrapped(
    measures: Callable[[Ints], Mapping[str, float]], n: int, groups: Texts | None = None
) -> dict[str, dict[str, Any]]:
    """
    Measures of N objects with their 68 % intervals.

    Parameters
    ----------
    measures : callable
        Measures by name, of the objects of these numbers.
    n : int
        How many objects there are.
    groups : 1D str `~numpy.ndarray`, shape (N,), optional
        What is drawn together; by default each is its own.

    Returns
    -------
    dict of str to dict
        By name ``value``, ``low``, ``high`` and ``n``.
    """
    whole = measures(np.arange(n))
    draws = [measures(drawn) for drawn in resamples(n, groups)]
    ends = {name: _interval(np.array([draw[name] for draw in draws])) for name in whole}
    return {
        name: {"value": value, "low": ends[name][0], "high": ends[name][1], "n": n} for name, value in whole.items()
    }


def resamples(n: int, groups: Texts | None = None) -> Iterator[Ints]:
    """Numbers of the objects in each resample, whole groups drawn with replacement; the same each time."""
    rng = np.random.default_rng(0)
    names, group = (np.arange(n), np.arange(n)) if groups is None else np.unique(groups, return_inverse=True)
    size = np.bincount(group, minlength=len(names))
    first, members = size.cumsum() - size, np.argsort(group, kind="stable")
    for _ in range(RESAMPLES if n else 0):
        drawn = rng.integers(0, len(names), len(names))
        many = size[drawn]
        yield members[np.repeat(first[drawn] - (many.cumsum() - many), many) + np.arange(many.sum())]


def share(positive: npt.NDArray[np.bool_], groups: Texts | None = None) -> dict[str, Any]:
    """
    How many of some objects are something.

    Parameters
    ----------
    positive : 1D bool `~numpy.ndarray`, shape (N,)
        Which are.
    groups : 1D str `~numpy.ndarray`, shape (N,), optional
        What is drawn together.

    Returns
    -------
    dict
        ``k``, ``n``, ``value``, ``low`` and ``high``: a Jeffreys interval, by groups a bootstrap's no narrower than it.
    """
    n, k = len(positive), int(positive.sum())
    entry = bootstrapped(lambda chosen: {"share": _mean(positive[chosen].astype(np.float64))}, n, groups)["share"]
    return {"k": k} | entry | (_of_share(entry, k, n, grouped=groups is not None) if n else {})


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


def measures_of(true: Ints, given: Ints, classes: int, probabilities: Floats | None) -> dict[str, float]:
    """
    Measures of all, and of each class by its number, without intervals.

    Parameters
    ----------
    true, given : 1D int64 `~numpy.ndarray`, shape (N,)
        Number of the class that each object has, and of that which it is given.
    classes : int
        How many classes there are.
    probabilities : 2D float64 `~numpy.ndarray`, shape (N, K), or None
        Of each class.

    Returns
    -------
    dict of str to float
        As named in `classification_scores`; those of a class with its number behind them, as in ``recall 0``.
    """
    confusion = confusion_matrix(true, given, classes)
    precision, recall, f1 = per_class(confusion)
    auc_of = np.full(classes, np.nan) if probabilities is None else _aucs(true, probabilities)
    there = confusion.sum(axis=1) > 0
    found = {
        "accuracy": float(np.trace(confusion) / len(true)) if len(true) else float("nan"),
        "balanced_accuracy": _mean(recall[there]),
        "macro_f1": _mean(f1[there]),
    }
    if probabilities is not None:
        of_truth = probabilities[np.arange(len(true)), true]
        found["macro_auc"] = _mean(auc_of)
        found["log_loss"] = _mean(-np.log(np.clip(of_truth, _LEAST_PROBABILITY, 1)))
        found["brier"] = _mean(((probabilities - np.eye(classes)[true]) ** 2).sum(axis=1))
    for key, values in zip(OF_A_CLASS, (precision, recall, f1, auc_of), strict=True):
        found |= {f"{key} {i}": float(value) for i, value in enumerate(values)}
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


def _of_share(entry: Mapping[str, Any], k: int, n: int, *, grouped: bool) -> dict[str, float]:
    """Ends of a share's interval: without an error in it, a bootstrap would have none."""
    low, high = (float(end) for end in binom_conf_interval(k, n, CONFIDENCE_LEVEL, interval="jeffreys"))
    return {"low": min(low, entry["low"]), "high": max(high, entry["high"])} if grouped else {"low": low, "high": high}
