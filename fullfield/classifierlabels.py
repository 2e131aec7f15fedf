"""Labels of a user's stamps that a classifier's task does not know, as the command line names their classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldprep.errors import UsageError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from classifiers.stampsets import StampSet
    from classifiers.tasks import Task

MOST_NAMED = 8  # labels in an error


def parse_map(text: str) -> dict[str, str]:
    """
    Read classes of labels as they stand on the command line.

    Parameters
    ----------
    text : str
        As ``S=star,G=galaxy``: a label, then its class.

    Returns
    -------
    dict of str to str
        Class by label.

    Raises
    ------
    fieldprep.errors.UsageError
        If it does not read so.
    """
    classes: dict[str, str] = {}
    for part in text.split(","):
        pair = [piece.strip() for piece in part.split("=")]
        if len(pair) != 2 or not all(pair) or pair[0] in classes:
            raise UsageError(f"--map wants each label once with its class, as in S=star,G=galaxy; got {text!r}")
        classes[pair[0]] = pair[1]
    return classes


def mapped_task(task: Task, labels: Mapping[str, str]) -> Task:
    """
    Task that knows more labels.

    Parameters
    ----------
    task : Task
        The task.
    labels : mapping of str to str
        Class by label.

    Returns
    -------
    Task

    Raises
    ------
    fieldprep.errors.UsageError
        If one is no class of the task, or a label is that of another class already.
    """
    for label, name in labels.items():
        if name not in task.classes:
            raise UsageError(f"--map {label}={name}: the classes of {task.name} are {', '.join(task.classes)}")
    try:
        return task.with_labels(labels) if labels else task
    except ValueError as error:
        raise UsageError(f"--map: {one_line(error)} ({task.name})") from error


def check_there(labels: Mapping[str, str], stamps: StampSet) -> None:
    """See that each label is that of a stamp; a `~fieldprep.errors.UsageError` if not, since it may be misspelt."""
    there = sorted(set(map(str, stamps.labels)))
    for label, name in labels.items():
        if label not in there:
            told = ", ".join(there[:MOST_NAMED]) + (", ..." if len(there) > MOST_NAMED else "")
            raise UsageError(f"--map {label}={name}: no stamp is labelled {label}; the labels are {told}")
