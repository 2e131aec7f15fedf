"""A classifier held against labelled stamps: what is scored, whether it was trained on it, the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers.against import COMPARED, compared
from classifiers.classify import Classifier
from classifiers.evaluate import FEW_GROUPS, RECALL, Judged, evaluate, magnitudes
from classifiers.parts import PARTS, SPLIT_FILE, TEST, UNLISTED, VALIDATION, parts_of
from fieldprep.errors import InputError
from fieldprep.resources import weights_path
from fullfield.classifierlabels import check_there, mapped_task
from fullfield.classifierreport import write_classifier_evaluation
from fullfield.clusterplots import by_region, in_regions, of_a_cluster
from fullfield.evaluationtext import number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from classifiers.stampsets import StampSet
    from classifiers.tasks import Task

_SHOWN = {"balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "macro_auc": "macro AUC"}


@dataclass(frozen=True, eq=False)
class Scored:
    """
    What of labelled stamps is scored.

    Parameters
    ----------
    stamps : StampSet
        These.
    validation : StampSet or None
        What the classifier was validated on, where that is known: a threshold may be chosen on it.
    unseen : bool
        Whether it is known that it was not trained on any that is scored.
    words : str
        The same in a sentence or two.
    """

    stamps: StampSet
    validation: StampSet | None
    unseen: bool
    words: str


def evaluate_classifier(
    task: Task,
    stamps: StampSet,
    *,
    classifier: str | None = None,
    split_file: Path | None = None,
    recall: float = RECALL,
    labels: Mapping[str, str] | None = None,
    magnitude: str | None = None,
    against: str | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """
    Score a classifier on labelled stamps, and write the page.

    Parameters
    ----------
    task : Task
        What the labels answer; its ``labels`` say what they are called.
    stamps : StampSet
        As `classifiers.stampsets.read_stamps` gives them.
    classifier : str, optional
        Name of shipped weights, or the path of an ``.onnx``; by default the shipped weights of the task's name.
    split_file : path, optional
        The ``split.csv`` of its training; by default the one beside its file, where there is one.
    recall : float
        That a threshold is chosen for, of two classes.
    labels : mapping of str to str, optional
        Class by label, of labels that the task does not know.
    magnitude : str, optional
        Column that scores are binned by; by default the first of `classifiers.evaluate.MAGNITUDES` that is there.
    against : str, optional
        Another classifier of the same classes that it is held against.
    out : path, optional
        Folder for ``evaluation.html``, ``evaluation.json``, ``evaluation.csv`` and the plots.

    Returns
    -------
    dict
        What `classifiers.evaluate.evaluate` gives, and ``task``, ``classifier``, ``network``, ``temperature``,
        ``scored_on``: ``unseen`` and ``words`` as of `Scored`, ``labels`` as given, ``other_labels``, how many stamps
        have labels that are none; ``notes``, see `notes_of`; of a cluster's members ``regions``, see
        `fullfield.clusterplots.by_region`; ``against``: what `classifiers.against.compared` gives of another
        classifier, its ``classifier`` and ``words`` of what both are scored on, and of a cluster the same by
        ``regions``.

    Raises
    ------
    fieldprep.errors.InputError
        If the classifier tells other classes than the task, a stamp is none that it takes, or fewer than two classes
        are left to score.
    fieldprep.errors.UsageError
        If ``labels`` has one that no stamp has, or a class that the task has not; if ``magnitude`` is no column of
        numbers.
    """
    task = mapped_task(task, labels or {})
    check_there(labels or {}, stamps)
    name = classifier or task.name
    model = _loaded(name, task)
    rival = None if against is None else _loaded(against, task)
    labelled = stamps.of_task(task)
    magnitudes(labelled.rows, magnitude)  # a wrong column is told before the classifier has run
    scored = scored_of(labelled, split_file, weights_path(name).with_name(SPLIT_FILE))
    judged = Judged.of(model, scored.stamps)
    validation = None if scored.validation is None else Judged.of(model, scored.validation)
    result = {
        "task": task.name,
        "classifier": model.card.what(),
        "network": model.card.network,
        "temperature": model.card.temperature,
        "scored_on": {
            "unseen": scored.unseen,
            "words": scored.words,
            "labels": dict(labels or {}),
            "other_labels": len(stamps) - sum(task.class_of(str(label)) is not None for label in stamps.labels),
        },
        **evaluate(judged, validation=validation, recall=recall, magnitude=magnitude),
    }
    if of_a_cluster(judged):
        result["regions"] = by_region(judged)
    if rival is not None and against is not None:
        result["against"] = _held_against(rival, judged, weights_path(against).with_name(SPLIT_FILE))
    result["notes"] = notes_of(result)
    if out is not None:
        write_classifier_evaluation(out, result, judged, model, weights_path(name))
    return result


def _loaded(name: str, task: Task) -> Classifier:
    """Classifier of a name or path, which tells the classes of the task."""
    model = Classifier.load(name)
    if set(model.classes) != set(task.classes):
        raise InputError(
            f"{name}: tells {', '.join(model.classes)}, where the classes of {task.name} are {', '.join(task.classes)}"
        )
    return model


def _held_against(rival: Classifier, judged: Judged, split_file: Path) -> dict[str, Any]:
    """What another classifier says of what is scored, as far as it was not trained on it."""
    scored = scored_of(judged.stamps, None, split_file)
    ours = judged.select(np.isin(judged.stamps.names, scored.stamps.names))
    theirs = Judged.of(rival, ours.stamps)
    out = {"classifier": rival.card.what(), "words": scored.words, **compared(ours, theirs)}
    if of_a_cluster(ours):
        regions = in_regions(ours).items()
        out["regions"] = {name: compared(ours.select(inside), theirs.select(inside)) for name, inside in regions}
    return out


def notes_of(result: Mapping[str, Any]) -> list[str]:
    """
    What to keep in mind of scores.

    Parameters
    ----------
    result : mapping
        As `classifiers.evaluate.evaluate` gives it.

    Returns
    -------
    list of str
        A sentence where intervals are told by few groups, naming those; else none.
    """
    groups = {"all scores": result["groups"]}
    groups |= {name: row["groups"] for name, row in result["per_class"].items() if row["n"]}
    if "value" in result.get("threshold", {}):
        groups["the threshold"] = result["threshold"]["groups"]
    few = ", ".join(
        f"{name} ({count} group{'s' * (count != 1)})" for name, count in groups.items() if count < FEW_GROUPS
    )
    if not few:
        return []
    return [f"Intervals told by drawing fewer than {FEW_GROUPS} groups are rough, and rather too narrow. Here: {few}."]


def scored_of(stamps: StampSet, given: Path | None, beside: Path) -> Scored:
    """
    Leave out what a classifier was trained or validated on, where a file tells.

    Parameters
    ----------
    stamps : StampSet
        Labelled stamps.
    given : path or None
        The ``split.csv`` that a user names.
    beside : path
        Where one would be otherwise.

    Returns
    -------
    Scored

    Raises
    ------
    fieldprep.errors.InputError
        If a file is no split, one that a user names knows none of the stamps, or fewer than two classes are left.
    """
    path = given or beside
    if given is None and not beside.is_file():
        words = (
            f"It is not known which of these stamps the classifier was trained on: there is no {SPLIT_FILE} beside it. "
            "If it was trained on some, all figures here are better than they should be."
        )
        return Scored(stamps, None, unseen=False, words=f"All {len(stamps)} labelled stamps are scored. {words}")
    part = parts_of(stamps.names, path)
    if not (part != UNLISTED).any():
        if given is not None:
            raise InputError(f"{path}: names none of the {len(stamps)} stamps")
        words = (
            f"{path} names none of them, so the classifier was not trained on stamps of these names; whether it was "
            "trained on the same objects under other names is not known."
        )
        return Scored(stamps, None, unseen=False, words=f"All {len(stamps)} labelled stamps are scored. {words}")
    test = stamps.select(part == PARTS[TEST])
    if len(set(test.labels)) < 2:
        raise InputError(f"{path}: the stamps of part {PARTS[TEST]} are of fewer than two classes (n {len(test)})")
    validation = stamps.select(part == PARTS[VALIDATION])
    counts = {name: int((part == name).sum()) for name in (*PARTS[:TEST], UNLISTED)}
    left = ", ".join(f"{count} {name or 'that are not named in it'}" for name, count in counts.items() if count)
    shared = len(set(test.groups) & set(stamps.select(part == PARTS[0]).groups))
    words = f"Of {len(stamps)} labelled stamps the {len(test)} of part {PARTS[TEST]} in {path} are scored" + (
        f"; left out: {left}. " if left else ". "
    )
    if shared:
        words += f"They have {shared} of their groups in common with stamps that the classifier was trained on."
    else:
        words += "The classifier was trained, validated and calibrated on none of them, nor on others of their groups."
    known = validation if len(set(validation.labels)) > 1 else None
    return Scored(test, known, unseen=not shared, words=words)


def as_text(result: Mapping[str, Any]) -> str:
    """
    Scores of a classifier as lines to read in a terminal.

    Parameters
    ----------
    result : mapping
        As `evaluate_classifier` gives it.

    Returns
    -------
    str
    """
    baseline = result["accuracy"]["baseline"]
    lines = [
        result["classifier"],
        result["scored_on"]["words"],
        f"{result['n']} stamps, {result['groups']} groups; 68 % intervals in brackets",
        *result["notes"],
        f"accuracy {number(result['accuracy'])}; always {result['commonest']}: {baseline:.3f}",
        ", ".join(f"{words} {number(result[name])}" for name, words in _SHOWN.items()),
    ]
    for name, row in result["recall_at"].items():
        told = ", ".join(f"{number(entry)} at {float(rate):.0%} false positives" for rate, entry in row.items())
        lines.append(f"{name}: recall {told}")
    threshold = result.get("threshold", {})
    if "value" in threshold:
        lines.append(
            f"threshold of {threshold['class']} for a recall of {threshold['wanted']:g}: {threshold['value']:.4f}, "
            f"which gives recall {number(threshold['recall'])}, false positives {number(threshold['false_positives'])}"
        )
    for region, row in result.get("regions", {}).items():
        told = ", ".join(f"{name} {number(entry)}" for name, entry in row.items() if entry["n"])
        lines.append(f"{region}: {told}")
    if told_of := result.get("against"):
        lines += [f"against {told_of['classifier']}", told_of["words"], _line_against(told_of, "all")]
        for region, row in told_of.get("regions", {}).items():
            lines.append(_line_against(row, region))
    if binned := result.get("magnitudes"):
        bins = (f"{row['low']}-{row['high']} {row['accuracy']['value']:.3f} (n {row['n']})" for row in binned["bins"])
        lines.append(f"accuracy by {binned['column']}: {', '.join(bins) or 'no stamp has a magnitude in it'}")
    return "\n".join(lines)


def _line_against(told: Mapping[str, Any], name: str) -> str:
    sides = "; ".join(f"{_SHOWN.get(key, key)} {_sides(told[key])}" for key in COMPARED)
    alone = f"only this one right {told['only_one']}, only the other {told['only_other']}"
    return f"{name} (n {told['n']}): {sides}; {alone}"


def _sides(row: Mapping[str, Any]) -> str:
    return f"{number(row['one'])}, {number(row['other'])}, difference {number(row['difference'])}"
