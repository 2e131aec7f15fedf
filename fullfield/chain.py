"""
The whole chain against the truth: what was found and given its right class, what was given another, what was missed.

A run's catalogue has ``TASK_class`` for each classifier, and may have ``TASK_probability`` and ``TASK_p_CLASS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from classifiers.galaxy_zoo_tree import ANSWERS
from classifiers.metrics import classification_scores
from classifiers.votes import LEADING
from detector.evaluate import ALL, Share, match
from detector.evaluate.precision import brighter
from fieldprep.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from astropy.table import Table

    from fieldprep.catalogues import Sources

_CLASS = "_class"
LIMITS = (20.0, 21.0, ALL)
OUTCOMES = ("right", "misclassified", "unclassified", "missed")
UNDER = ("galaxies", "stars", "nothing")
_TYPES = {"galaxy", "star"}

Texts = npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class _Matched:
    """Labelled objects of one field or more for one task; empty texts where there is none."""

    label: Texts
    given: Texts
    galaxy: npt.NDArray[np.bool_]
    found: npt.NDArray[np.bool_]
    magnitude: npt.NDArray[np.float64]
    probabilities: pd.DataFrame  # a column a class, NaN where there is none


def tasks_of(columns: Iterable[str]) -> list[str]:
    """Tasks whose classes a catalogue has: ``star_galaxy`` for a column ``star_galaxy_class``."""
    return [name.removesuffix(_CLASS) for name in columns if name.endswith(_CLASS) and name != _CLASS]


def parse_labels(text: str) -> dict[str, str]:
    """
    Read labels as in ``morphology=gz_class,star_galaxy=type``.

    Parameters
    ----------
    text : str
        The truth's column by task; nothing is none.

    Returns
    -------
    dict of str to str

    Raises
    ------
    fieldprep.errors.UsageError
        If it is no such list.
    """
    pairs = [part.split("=") for part in text.split(",") if part]
    if not all(len(pair) == 2 and all(word.strip() for word in pair) for pair in pairs):
        raise UsageError(f"--labels wants TASK=COLUMN, as in morphology=gz_class; got {text}")
    return {task.strip(): column.strip() for task, column in pairs}


def evaluate_classes(fields: Sequence[tuple[Table, Sources]], labels: Mapping[str, str]) -> dict[str, Any]:
    """
    Score every classifier of a run on the objects that its detections match.

    Parameters
    ----------
    fields : sequence of (Table, Sources)
        Each field's catalogue, with its boxes, and the truth.
    labels : mapping of str to str
        The truth's column of a task, where it has not the task's own name. Without either, a task of stars and galaxies
        is held against the truth's types.

    Returns
    -------
    dict
        By task: what `classifiers.metrics.classification_scores` gives, of matched objects with a label that is one of
        the classes; ``chain``: for galaxies brighter than 20, 21 and ``all`` that have a label, the shares ``right``,
        ``misclassified``, ``unclassified`` and ``missed``; ``other_labels``: counts of labels that are none of the
        classes, left out; ``label_column``.

    Raises
    ------
    fieldprep.errors.InputError
        If a column named for a task, or the task itself, is not there.
    """
    tasks = sorted({task for table, _ in fields for task in tasks_of(table.colnames)})
    for task in labels:
        if task not in tasks:
            raise InputError(f"--labels {task}={labels[task]}: no column {task}{_CLASS} in the run's catalogue")
    scores = {}
    for task in tasks:
        wanted = labels.get(task, task)
        if task in labels and not any(wanted in truth.rows.columns for _, truth in fields):
            known = ", ".join(map(str, fields[0][1].rows.columns))
            raise InputError(f"--labels {task}={wanted}: no such column in the truth; it has {known}")
        if found := _evaluate(task, wanted, fields):
            scores[task] = found
    return scores


def calls(fields: Sequence[tuple[Table, Sources]]) -> dict[str, Any]:
    """
    What the classifiers of a run call its detections, by what is under them.

    Parameters
    ----------
    fields : sequence of (Table, Sources)
        As of `evaluate_classes`.

    Returns
    -------
    dict
        By task, then for ``galaxies``, ``stars`` and ``nothing`` (no object of the truth) the share of its detections
        that is given each class; detections on ignored objects are left out.
    """
    found: dict[str, Any] = {}
    for task in sorted({task for table, _ in fields for task in tasks_of(table.colnames)}):
        classes = _classes(task, fields)
        given, under = [], []
        for table, truth in fields:
            to = match(_centres(table), truth)
            kind = np.where(truth.ignore, "ignored", np.where(truth.galaxy, "galaxies", "stars"))
            under.append(np.append(kind, "nothing")[to])
            given.append(_texts(table, f"{task}{_CLASS}"))
        of_all, below = np.concatenate(given), np.concatenate(under)
        found[task] = {
            name: {
                one: vars(Share(int(((below == name) & (of_all == one)).sum()), int((below == name).sum())))
                for one in classes
            }
            for name in UNDER
        }
    return found


def _centres(table: Table) -> npt.NDArray[np.float64]:
    boxes = np.stack([np.asarray(table[name], np.float64) for name in ("x_min", "y_min", "x_max", "y_max")], axis=1)
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2)


def _evaluate(task: str, wanted: str, fields: Sequence[tuple[Table, Sources]]) -> dict[str, Any] | None:
    classes = _classes(task, fields)
    by_type = set(classes) <= _TYPES and not any(wanted in truth.rows.columns for _, truth in fields)
    parts = [
        part
        for table, truth in fields
        if f"{task}{_CLASS}" in table.colnames
        and (part := _matched(task, "type" if by_type else wanted, classes, table, truth)) is not None
    ]
    if not parts:
        return None
    label, given, galaxy, found, magnitude = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("label", "given", "galaxy", "found", "magnitude")
    )
    probabilities = pd.concat([part.probabilities for part in parts])[classes].to_numpy(np.float64)
    other, counts = np.unique(label[~np.isin(label, classes)].astype(str), return_counts=True)
    known = np.isin(label, classes)
    scored = known & found & (given != "")
    with_p = np.isfinite(probabilities[scored]).all() and scored.any()
    return {
        **classification_scores(
            label[scored].tolist(), given[scored].tolist(), classes, probabilities[scored] if with_p else None
        ),
        "chain": _chain(label, given, known & galaxy, found, magnitude),
        "label_column": "the truth's types" if by_type else wanted,
        "other_labels": {str(name): int(count) for name, count in zip(other, counts, strict=True) if name},
    }


def _classes(task: str, fields: Sequence[tuple[Table, Sources]]) -> list[str]:
    """Classes of a task: those with a column of probabilities, else those given."""
    prefix = f"{task}_p_"
    named = dict.fromkeys(
        name.removeprefix(prefix) for table, _ in fields for name in table.colnames if name.startswith(prefix)
    )
    if set(named) == set(ANSWERS):  # of votes, the leading answer of the first question is given
        return list(LEADING)
    if named:  # what else is said in place of a class is no class
        return list(named)
    return sorted({text for table, _ in fields for text in _texts(table, f"{task}{_CLASS}") if text})


def _matched(task: str, column: str, classes: Sequence[str], table: Table, truth: Sources) -> _Matched | None:
    if column == "type":
        label = np.where(truth.galaxy, "galaxy", "star").astype(object)
    elif column in truth.rows.columns:
        label = _as_texts(truth.rows[column].tolist())
    else:
        return None
    to = match(_centres(table), truth)
    detection = np.full(len(truth), -1)
    detection[to[to >= 0]] = np.flatnonzero(to >= 0)
    texts = _texts(table, f"{task}{_CLASS}")
    given = np.append(np.where(np.isin(texts, list(classes)), texts, ""), "")[detection]
    probabilities = pd.DataFrame(
        {
            name: np.append(np.asarray(table[f"{task}_p_{name}"], np.float64), np.nan)[detection]
            if f"{task}_p_{name}" in table.colnames
            else np.full(len(truth), np.nan)
            for name in classes
        }
    )
    wanted = (label != "") & ~truth.ignore
    return _Matched(
        label[wanted],
        given[wanted],
        truth.galaxy[wanted],
        (detection >= 0)[wanted],
        truth.magnitude[wanted],
        probabilities[wanted],
    )


def _chain(
    label: Texts,
    given: Texts,
    wanted: npt.NDArray[np.bool_],
    found: npt.NDArray[np.bool_],
    magnitude: npt.NDArray[np.float64],
) -> dict[str, Any]:
    """What became of labelled galaxies, by magnitude limit."""
    outcome = np.where(~found, 3, np.where(given == "", 2, np.where(given == label, 0, 1)))
    rows = {}
    for limit in LIMITS:
        chosen = wanted & brighter(magnitude, limit)
        counts = np.bincount(outcome[chosen], minlength=len(OUTCOMES))
        n = int(chosen.sum())
        rows["all" if limit == ALL else f"{limit:g}"] = {
            name: vars(Share(int(count), n)) for name, count in zip(OUTCOMES, counts, strict=True)
        }
    return rows


def _texts(table: Table, name: str) -> Texts:
    if name not in table.colnames:
        return np.full(len(table), "", object)
    column = table[name]
    values = column.filled("") if hasattr(column, "filled") else column
    return _as_texts(values.tolist())


def _as_texts(values: Sequence[Any]) -> Texts:
    """Labels as text: whole numbers without a point, nothing for what is missing."""
    texts = np.empty(len(values), object)
    for i, value in enumerate(values):
        if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
            texts[i] = ""
        elif isinstance(value, float) and value.is_integer():
            texts[i] = str(int(value))
        else:
            texts[i] = str(value).strip()
    return texts
