"""From labelled stamps to a trained classifier in one file: split, train, calibrate, export, score. Needs torch."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers.classify import Classifier
from classifiers.export import export_classifier, task_of
from classifiers.metrics import classification_scores, rates_at
from classifiers.parts import PARTS, TEST, TRAINING, VALIDATION, parts_in, write_split
from classifiers.splits import split
from classifiers.tasks import EITHER
from classifiers.train import TASK_FILE, train_stamps
from classifiers.votes import fractions_of, rmse, vote_scores
from fieldprep.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from classifiers.stampsets import StampSet
    from classifiers.tasks import Task

    Floats = npt.NDArray[np.float64]


def train_and_export(
    task: Task, stamps: StampSet, out: Path, *, seed: int = 0, resume: bool = False, data: str = ""
) -> Path:
    """
    Train a classifier, and write it as one ONNX file whose card has its scores on stamps it never saw.

    Parameters
    ----------
    task : Task
        What it is.
    stamps : StampSet
        Labelled stamps, with the labels that their files have, or with votes. Objects, or patches of sky, are dealt out
        by the recipe's shares to train on, to validate and calibrate on, and to score on, unless a column ``part`` says
        which is which; ``split.csv`` tells. A
        stamp whose label may be several classes is only trained on.
    out : path
        Folder for the checkpoints, the log and ``TASK.onnx`` with its card.
    seed : int
        Of the split, the weights and what is drawn.
    resume : bool
        Go on with a training that was stopped.
    data : str
        Where the stamps come from, for the card.

    Returns
    -------
    path
        ``out/TASK.onnx``.

    Raises
    ------
    fieldprep.errors.InputError
        If there are too few objects or classes, nothing to resume, or what is resumed had another task or split.
    """
    of_task = stamps.of_task(task)
    shares = [share for share in task.recipe.shares if share]  # without a last one nothing is left to score on
    given = parts_in(of_task)
    part = split(of_task.labels, of_task.groups, shares, seed=seed) if given is None else given
    if resume:
        _check_same(task, seed, out)
    parts = [of_task.select(part == k) for k in (TRAINING, VALIDATION, TEST)]
    for name, one in zip(PARTS, parts, strict=True):
        if len(set(one.labels)) < 2 and not task.of_votes:
            raise InputError(f"{task.name}: too few objects or patches of sky to {name} on two classes")
    seen = _with_either(task, stamps, of_task, parts[TRAINING])
    checkpoint = train_stamps(task, seen, parts[VALIDATION], out, seed=seed, resume=resume)
    write_split(of_task, part, out)
    about: dict[str, Any] = {
        "about": task.about,
        "data": data,
        "stamps": {name: len(one) for name, one in zip(PARTS, [seen, *parts[VALIDATION:]], strict=True)},
        **_epochs(task, of_task),
        "recipe": task.as_table()["recipe"],
        "seed": seed,
    }
    path = export_classifier([checkpoint], out / f"{task.name}.onnx", validation=parts[VALIDATION], training=about)
    if task.of_votes:
        seen, unseen = parts[VALIDATION], parts[TEST]
        on = "galaxies that it was not trained or validated on"
        if not len(unseen):
            unseen, on = seen, "galaxies that it was not trained on, but its epoch was chosen by"
        _with_vote_scores(path, unseen, f"{len(unseen)} {on}", fractions_of(parts[TRAINING].rows).mean(axis=0))
    else:
        _with_scores(path, parts[TEST])
    return path


def _with_either(task: Task, stamps: StampSet, of_task: StampSet, training: StampSet) -> StampSet:
    """What is trained on: besides, stamps that may be of several classes, if nothing of their group is scored."""
    if not any(EITHER in classes for classes in task.labels.values()):
        return training
    either = stamps.of_task(task, either=True)
    scored = set(of_task.groups) - set(training.groups)
    return either.select(np.array([group not in scored for group in either.groups], np.bool_))


def _epochs(task: Task, stamps: StampSet) -> dict[str, Any]:
    """How many series have how many epochs, and what was left out of the longest."""
    if task.stamps.epochs == 1:
        return {}
    lengths = np.array([len(one) for one in stamps.stamps])
    counts = {str(number): int((lengths == number).sum()) for number in np.unique(lengths)}
    over = int(np.maximum(lengths - task.stamps.epochs, 0).sum())
    return {"series by number of epochs": counts, "epochs left out, the earliest of longer series": over}


def _check_same(task: Task, seed: int, out: Path) -> None:
    path = out / TASK_FILE
    if not path.is_file():
        raise InputError(f"{out}: no training to resume (no {TASK_FILE} in it)")
    if (task_of(path), json.loads(path.read_text()).get("seed")) != (task, seed):
        raise InputError(f"{out}: was begun as another task or with another seed; name another --out, or use those")


def _with_vote_scores(path: Path, galaxies: StampSet, measured_on: str, mean: Floats) -> None:
    """Put the root mean squared error of the vote fractions into the card, beside that of the mean votes for all."""
    classifier = Classifier.load(path)
    scores = vote_scores(classifier.predict(galaxies.stamps), fractions_of(galaxies.rows), galaxies.groups)
    always = rmse(np.broadcast_to(mean, (len(galaxies), len(mean))), fractions_of(galaxies.rows))
    told = {"measured on": measured_on, **scores, "always the mean votes": {"rmse": round(always, 5)}}
    replace(classifier.card, scores=told).write(path.with_suffix(".json"))


def _with_scores(path: Path, test: StampSet) -> None:
    """Put the scores on stamps that nothing was chosen by into the card."""
    classifier = Classifier.load(path)
    found = classifier.predict(test.stamps)
    given = np.array(classifier.classes)[found.argmax(axis=1)]
    scores = classification_scores(test.labels, given, classifier.classes, found, groups=test.groups)
    what = "series" if classifier.card.preparation.epochs > 1 else "stamps"
    told: dict[str, Any] = {
        "measured on": f"{len(test)} {what} of objects that it was not trained, validated or calibrated on"
    }
    first, recalls = classifier.classes[0], classifier.card.thresholds
    positive = test.labels == first
    at = {f"recall of {recall}": rates_at(positive, found[:, 0], value) for recall, value in recalls.items()}
    measures = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")
    rows = {"all": {name: {k: scores[name][k] for k in ("value", "low", "high", "n")} for name in measures}}
    told |= {
        "all stamps": rows,
        "always the commonest class": round(scores["accuracy"]["baseline"], 3),
        "confusion": scores["confusion"],
    }
    if at:
        told[f"{first} at the thresholds"] = at
    replace(classifier.card, scores=told).write(path.with_suffix(".json"))
