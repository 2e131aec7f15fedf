"""A network of Galaxy Zoo's votes held against galaxies, or asked of them: predictions, errors, the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers.classify import Classifier
from classifiers.parts import PARTS, SPLIT_FILE, TEST, UNLISTED, VALIDATION, parts_of
from classifiers.stampsets import has_table, read_pictures, read_stamps
from classifiers.votes import fractions_of, has_votes, rmse, vote_scores, write_predictions
from fieldprep.errors import InputError
from fieldprep.resources import weights_path
from fullfield.evaluationtext import number
from fullfield.pages import cell, document, image, paragraph, plain, table, write_page
from fullfield.votegallery import answer_sheet, encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from classifiers.stampsets import StampSet
    from classifiers.tasks import Task

PREDICTIONS_FILE = "predictions.csv"
GALLERY = "gallery"


def evaluate_votes(
    task: Task,
    data: Path,
    *,
    classifier: str | None = None,
    images: Path | None = None,
    group: str | None = None,
    split_file: Path | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """
    Ask a network of votes of galaxies, and score it where their votes are known.

    Parameters
    ----------
    task : Task
        Of votes.
    data : path
        A table of votes, a folder that holds one, or a folder of nothing but images.
    classifier : str, optional
        Name of shipped weights, or the path of an ``.onnx``; by default the shipped weights of the task's name.
    images, group
        As of `classifiers.stampsets.read_stamps`.
    split_file : path, optional
        The ``split.csv`` of its training; by default the one beside its file, where there is one.
    out : path, optional
        Folder for ``predictions.csv`` in Kaggle's layout, ``evaluation.html``, ``evaluation.json`` and
        ``evaluation/gallery.png``.

    Returns
    -------
    dict
        ``task``, ``classifier``, ``n``, ``words`` (what is scored); where votes are known ``vote fractions``, see
        `classifiers.votes.vote_scores`, and ``always the mean votes``, the error of these galaxies' own mean.

    Raises
    ------
    fieldprep.errors.InputError
        If the classifier says no votes, there is no galaxy, or a file cannot be read.
    """
    name = classifier or task.name
    model = Classifier.load(name)
    if not model.card.of_votes:
        raise InputError(f"{name}: says {', '.join(model.classes)}, where {task.name} is of Galaxy Zoo's votes")
    if data.is_dir() and not has_table(data):
        galaxies = read_pictures(data, centre=task.centre)
        words = f"{len(galaxies)} galaxies whose votes are not known: nothing is scored."
    else:
        labelled = read_stamps(data, group=group, images=images, centre=task.centre)
        galaxies, words = _scored(labelled, split_file, weights_path(name).with_name(SPLIT_FILE))
    found = model.predict(galaxies.stamps)
    result: dict[str, Any] = {"task": task.name, "classifier": model.card.what(), "n": len(galaxies), "words": words}
    if has_votes(galaxies.rows.columns):
        true = fractions_of(galaxies.rows)
        result |= vote_scores(found, true, galaxies.groups)
        result["always the mean votes"] = rmse(np.broadcast_to(true.mean(axis=0), true.shape), true)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_predictions(out / PREDICTIONS_FILE, [Path(str(one)).stem for one in galaxies.names], found)
        plots = {GALLERY: encoded(answer_sheet(galaxies.stamps, found))}
        write_page(out, result, _page(result, plots), plots)
    return result


def _scored(stamps: StampSet, given: Path | None, beside: Path) -> tuple[StampSet, str]:
    """Galaxies that a network was not trained on, where a file tells, and what they are in words."""
    path = given or beside
    if given is None and not beside.is_file():
        return stamps, f"All {len(stamps)} galaxies. It is not known which of them the network was trained on."
    part = parts_of(stamps.names, path)
    for wanted, said in ((TEST, "none of them seen in training"), (VALIDATION, "by which its epoch was chosen")):
        if (part == PARTS[wanted]).any():
            some = stamps.select(part == PARTS[wanted])
            return some, f"Of {len(stamps)} galaxies the {len(some)} of part {PARTS[wanted]} in {path}, {said}."
    others = stamps.select(part == UNLISTED)
    if not len(others):
        raise InputError(f"{path}: all {len(stamps)} galaxies are those that the network was trained on")
    return others, f"Of {len(stamps)} galaxies the {len(others)} that {path} does not name."


def as_text(result: Mapping[str, Any]) -> str:
    """
    Scores of votes as lines to read in a terminal.

    Parameters
    ----------
    result : mapping
        As `evaluate_votes` gives it.

    Returns
    -------
    str
    """
    lines = [result["classifier"], result["words"]]
    if scores := result.get("vote fractions"):
        always = result["always the mean votes"]
        lines.append(f"rmse {number(scores['all']['rmse'])} (68 %), n {result['n']}; always their mean: {always:.3f}")
        lines += [f"  {name} {number(row['rmse'])}" for name, row in scores.items() if name != "all"]
    return "\n".join(lines)


def _page(result: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    parts = [paragraph(result["classifier"]), paragraph(result["words"])]
    if scores := result.get("vote fractions"):
        always = plain(result["always the mean votes"])
        parts += [
            "<h2>Error of the vote fractions</h2>",
            paragraph(
                "Root of the mean squared difference over galaxies and answers, as in the challenge; in brackets 68 % "
                f"intervals, in grey n. These galaxies' own mean votes, said of all of them, have {always}."
            ),
            table(("question", "rmse"), [(name, cell(row["rmse"])) for name, row in scores.items()]),
        ]
    parts += [
        "<h2>Galaxies of each answer</h2>",
        image(GALLERY, plots, "galaxies with the highest vote fraction of each answer"),
    ]
    return document(f"Evaluation of {result['task']}", parts)
