"""A trained classifier held against labelled stamps: every score with its interval, curves, where it is unsure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype

from classifiers.classify import probabilities
from classifiers.curves import curves
from classifiers.metrics import bootstrapped, classification_scores, recall_at, share, threshold_for_recall
from classifiers.splits import split
from fieldprep.errors import UsageError
from fieldprep.reliability import reliability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from classifiers.classify import Classifier
    from classifiers.metrics import Ints
    from classifiers.stampsets import StampSet

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

FALSE_POSITIVES = (0.01, 0.05)
RECALL = 0.99
MAGNITUDES = ("modelMag_r", "petroMag_r", "psfMag_r", "magpsf", "magnitude", "mag", "r")  # the first that is there
STEPS = 40  # of a histogram of scores
HALVES = 2
FEW_GROUPS = 10  # an interval that is told by drawing fewer is rough


@dataclass(frozen=True, eq=False)
class Judged:
    """
    Stamps and what a classifier says of them.

    Parameters
    ----------
    stamps : StampSet
        With the classifier's classes for labels.
    classes : tuple of str
        Names of its K classes.
    votes : 3D float64 `~numpy.ndarray`, shape (N, M, K)
        Probabilities by each of its networks.
    uncalibrated : 2D float64 `~numpy.ndarray`, shape (N, K)
        Probabilities without the card's temperature.
    """

    stamps: StampSet
    classes: tuple[str, ...]
    votes: Floats
    uncalibrated: Floats

    def __len__(self) -> int:
        return len(self.votes)

    @classmethod
    def of(cls, classifier: Classifier, stamps: StampSet) -> Judged:
        """
        Run a classifier on stamps.

        Parameters
        ----------
        classifier : Classifier
            The classifier.
        stamps : StampSet
            With its classes for labels.

        Returns
        -------
        Judged

        Raises
        ------
        fieldprep.errors.InputError
            If a stamp is none that it takes.
        """
        card, logits = classifier.card, classifier.logits(stamps.stamps)
        votes = probabilities(logits, card.activation, card.temperature)
        return cls(stamps, classifier.classes, votes, probabilities(logits, card.activation).mean(axis=1))

    def select(self, chosen: Bools) -> Judged:
        """Those of a bool mask."""
        return Judged(self.stamps.select(chosen), self.classes, self.votes[chosen], self.uncalibrated[chosen])

    @property
    def probabilities(self) -> Floats:
        """Of each class, the mean of the networks, shape (N, K)."""
        return np.asarray(self.votes.mean(axis=1))

    @property
    def true(self) -> Ints:
        """Number of the class that each has, shape (N,)."""
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array([number[str(label)] for label in self.stamps.labels], np.int64)

    @property
    def given(self) -> Ints:
        """Number of the class that each is given, shape (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def right(self) -> Bools:
        """Which are given their class, shape (N,)."""
        return np.asarray(self.given == self.true)

    @property
    def spread(self) -> Floats:
        """Standard deviation of the networks' probabilities of the class that is given, shape (N,); 0 of one."""
        return np.asarray(self.votes[np.arange(len(self)), :, self.given].std(axis=1))

    def table(self, magnitude: str | None = None) -> pd.DataFrame:
        """
        What is said of each stamp.

        Parameters
        ----------
        magnitude : str, optional
            Column of its magnitude, as of `magnitudes`.

        Returns
        -------
        `~pandas.DataFrame`
            A row a stamp: ``name``, ``group``, ``label`` (its class), ``given``, ``p_CLASS`` for each class; ``spread``
            where there are several networks, ``magnitude`` where a column tells it, NaN where it has none.
        """
        columns: dict[str, npt.NDArray[Any]] = {
            "name": self.stamps.names,
            "group": self.stamps.groups,
            "label": self.stamps.labels,
            "given": np.array(self.classes)[self.given],
            **{f"p_{name}": self.probabilities[:, i] for i, name in enumerate(self.classes)},
        }
        if self.votes.shape[1] > 1:
            columns["spread"] = self.spread
        told = magnitudes(self.stamps.rows, magnitude)
        return pd.DataFrame(columns if told is None else columns | {"magnitude": told[1]})


def evaluate(
    judged: Judged, *, validation: Judged | None = None, recall: float = RECALL, magnitude: str | None = None
) -> dict[str, Any]:
    """
    Scores of a classifier.

    Parameters
    ----------
    judged : Judged
        What is scored.
    validation : Judged, optional
        What a threshold is chosen on; by default one half of the groups, and the other is what it is scored on.
    recall : float
        Recall that the threshold is chosen for, of two classes.
    magnitude : str, optional
        Column of the stamps' table; by default the first of `MAGNITUDES` that is there.

    Returns
    -------
    dict
        What `classifiers.metrics.classification_scores` gives, by groups, and ``groups``, how many there are, of all
        and of each class;
        ``recall_at``: by class and share of false positives; ``threshold``: see `threshold_scores`, of two classes;
        ``curves``: by class what `classifiers.curves.curves` gives; ``calibration``: ``given`` and, where a temperature
        changes them, ``raw``, without it: what `fieldprep.reliability.reliability` gives of the class given;
        ``histograms``: by class the numbers of its stamps (``own``) and the others (``others``) in `STEPS` steps of its
        probability; ``magnitudes``: see `by_magnitude`; ``disagreement``: mean spread of ``right`` and ``wrong``
        answers, where there are several ``networks``.

    Raises
    ------
    fieldprep.errors.UsageError
        As of `magnitudes`.
    """
    groups, found, true = judged.stamps.groups, judged.probabilities, judged.true
    out: dict[str, Any] = {
        **classification_scores(
            judged.stamps.labels, np.array(judged.classes)[judged.given], judged.classes, found, groups=groups
        ),
        "groups": len(np.unique(groups)),
        "networks": judged.votes.shape[1],
        "recall_at": {},
        "curves": {},
        "histograms": {},
    }
    for i, name in enumerate(judged.classes):
        own, value = true == i, found[:, i]
        out["per_class"][name]["groups"] = len(np.unique(groups[own]))
        if own.any():  # the mean over the classes is over those that are there
            out["recall_at"][name] = {f"{rate:g}": _recall_at(own, value, rate, groups) for rate in FALSE_POSITIVES}
            out["curves"][name] = curves(own, value)
        steps = np.linspace(0, 1, STEPS + 1)
        sides = {"own": own, "others": ~own}
        out["histograms"][name] = {key: np.histogram(value[side], steps)[0].tolist() for key, side in sides.items()}
    out["calibration"] = {"given": reliability(found.max(axis=1), judged.right)}
    if not np.array_equal(found, judged.uncalibrated):
        raw = judged.uncalibrated
        out["calibration"]["raw"] = reliability(raw.max(axis=1), np.asarray(raw.argmax(axis=1) == true))
    if len(judged.classes) == 2:
        out["threshold"] = threshold_scores(judged, validation, recall)
    told = by_magnitude(judged, magnitude)
    if told:
        out["magnitudes"] = told
    if judged.votes.shape[1] > 1:
        kinds = {"right": judged.right, "wrong": ~judged.right}
        out["disagreement"] = {name: _mean_of(judged.spread[kind], groups[kind]) for name, kind in kinds.items()}
    return out


def threshold_scores(judged: Judged, validation: Judged | None, recall: float) -> dict[str, Any]:
    """
    What a threshold gives that was chosen for a recall of the first of two classes, on other stamps.

    Parameters
    ----------
    judged : Judged
        What it is scored on.
    validation : Judged or None
        What it is chosen on; one half of the groups of ``judged`` if None, and the other is scored.
    recall : float
        The recall wanted.

    Returns
    -------
    dict
        ``class``, ``wanted``, ``chosen_on`` ('validation' or 'half'), ``chosen_n``, ``groups`` (how many are scored),
        ``value``, and ``recall``, ``false_positives`` (share of the other class) and ``precision`` with their
        intervals; without a ``value`` where one of the halves would lack a class.
    """
    told: dict[str, Any] = {
        "class": judged.classes[0],
        "wanted": recall,
        "chosen_on": "half" if validation is None else "validation",
    }
    if validation is None:
        if len(np.unique(judged.stamps.groups)) < HALVES:
            return told
        half = split(judged.stamps.labels, judged.stamps.groups, (1.0,) * HALVES)
        validation, judged = judged.select(half == 0), judged.select(half == 1)
    if any(len(set(part.true.tolist())) < 2 for part in (validation, judged)):
        return told
    value = threshold_for_recall(validation.true == 0, validation.probabilities[:, 0], recall)
    own, taken, groups = judged.true == 0, judged.probabilities[:, 0] >= value, judged.stamps.groups
    return told | {
        "chosen_n": len(validation),
        "groups": len(np.unique(groups)),
        "value": value,
        "recall": share(taken[own], groups[own]),
        "false_positives": share(taken[~own], groups[~own]),
        "precision": share(own[taken], groups[taken]),
    }


def by_magnitude(judged: Judged, column: str | None = None) -> dict[str, Any] | None:
    """
    Scores by magnitude.

    Parameters
    ----------
    judged : Judged
        What is scored.
    column : str, optional
        Column of its table; by default the first of `MAGNITUDES` that is there.

    Returns
    -------
    dict or None
        ``column``; ``without``, how many have no magnitude; ``bins`` of a magnitude each: ``low``, ``high``, ``n``,
        ``groups``, and ``accuracy``, ``balanced_accuracy``, ``macro_auc`` with their
        intervals, the last two NaN in a bin of one class; those without a stamp left out. None without such a column.

    Raises
    ------
    fieldprep.errors.UsageError
        As of `magnitudes`.
    """
    found = magnitudes(judged.stamps.rows, column)
    if found is None:
        return None
    name, values = found
    known, bins = np.isfinite(values), []
    for low in sorted({int(value) for value in np.floor(values[known])}):
        some = judged.select(known & (np.floor(values) == low))
        given = np.array(some.classes)[some.given]
        told = classification_scores(
            some.stamps.labels, given, some.classes, some.probabilities, groups=some.stamps.groups
        )
        entries = {key: told[key] for key in ("accuracy", "balanced_accuracy", "macro_auc")}
        if len(set(some.stamps.labels)) < 2:  # its one recall is no balance of two
            entries["balanced_accuracy"] = told["balanced_accuracy"] | dict.fromkeys(
                ("value", "low", "high"), float("nan")
            )
        drawn = len(np.unique(some.stamps.groups))
        bins.append({"low": low, "high": low + 1, "n": len(some), "groups": drawn, **entries})
    return {"column": name, "without": int((~known).sum()), "bins": bins}


def magnitudes(rows: pd.DataFrame, column: str | None = None) -> tuple[str, Floats] | None:
    """
    Magnitudes of stamps.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        Their table, N rows.
    column : str, optional
        Its column of magnitudes; by default the first of `MAGNITUDES` that is there.

    Returns
    -------
    (str, 1D float64 `~numpy.ndarray`, shape (N,)) or None
        The column and the magnitudes, NaN where there is none; None where no column is named and none is found.

    Raises
    ------
    fieldprep.errors.UsageError
        If the column that is named is not there, or there is no number in it.
    """
    name = column or next((name for name in MAGNITUDES if name in rows.columns), None)
    if name is None:
        return None
    if name not in rows.columns:
        raise UsageError(f"no column {name} to bin scores by; there is {', '.join(map(str, rows.columns))}")
    there = rows[name].dropna()
    numbers = pd.to_numeric(rows[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if column and len(there) and (is_bool_dtype(there) or not np.isfinite(numbers).any()):
        raise UsageError(f"column {name} to bin scores by is not numeric: {there.iloc[0]} is no magnitude")
    known = np.isfinite(numbers) & (numbers > -99) & (numbers < 99)  # surveys write 99 and -999 for none
    return name, np.where(known, numbers, np.nan)


def _recall_at(own: Bools, value: Floats, rate: float, groups: npt.NDArray[np.str_]) -> dict[str, Any]:
    def measures(chosen: Ints) -> Mapping[str, float]:
        return {"recall": recall_at(own[chosen], value[chosen], rate)}

    entry = bootstrapped(measures, len(own), groups)["recall"]
    return entry | {"n": int(own.sum()), "negatives": int((~own).sum())}


def _mean_of(values: Floats, groups: npt.NDArray[np.str_]) -> dict[str, Any]:
    def measures(chosen: Ints) -> Mapping[str, float]:
        return {"mean": float(values[chosen].mean()) if len(chosen) else float("nan")}

    return bootstrapped(measures, len(values), groups)["mean"]
