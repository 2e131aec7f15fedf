"""Classes in layers: a tree of questions whose answers are classes or lead to a further question."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Layers = Mapping[str, Sequence[str]]


def check_layers(layers: Layers, classes: Sequence[str]) -> None:
    """
    See that a tree asks for every class once.

    Parameters
    ----------
    layers : mapping of str to sequence of str
        Answers by question, the first question first; an answer is a class or another question.
    classes : sequence of str
        The classes.

    Raises
    ------
    ValueError
        If it is not such a tree.
    """
    answers = [answer for of_one in layers.values() for answer in of_one]
    twice = sorted({answer for answer in answers if answers.count(answer) > 1})
    if twice:
        raise ValueError(f"layers must lead to each answer once, {', '.join(twice)} are led to twice")
    few = sorted(question for question, of_one in layers.items() if len(of_one) < 2)
    if few:
        raise ValueError(f"layers must have two or more answers to each question, {', '.join(few)} have not")
    lacking = sorted(set(classes) - set(answers))
    if lacking:
        raise ValueError(f"layers must lead to every class, nothing leads to {', '.join(lacking)}")
    further = [answer for answer in answers if answer not in classes]
    if sorted(further) != sorted(list(layers)[1:]):
        raise ValueError(
            "answers in layers must be classes or further questions, and only the first question is no answer; "
            f"got the questions {', '.join(layers)} and the answers {', '.join(answers)}"
        )
    if set(layers) & set(classes):
        raise ValueError(f"a question must not be called as a class: {', '.join(sorted(set(layers) & set(classes)))}")


def paths(layers: Layers, classes: Sequence[str]) -> list[list[tuple[int, int]]]:
    """
    How each class is come to.

    Parameters
    ----------
    layers, classes
        As of `check_layers`.

    Returns
    -------
    list of list of (int, int)
        For each class the numbers of the questions, in their order in ``layers``, and of the answers to them.
    """
    asked = {answer: (q, a) for q, of_one in enumerate(layers.values()) for a, answer in enumerate(of_one)}
    questions = list(layers)

    def path(answer: str) -> list[tuple[int, int]]:
        question, number = asked[answer]
        before = path(questions[question]) if question else []
        return [*before, (question, number)]

    return [path(name) for name in classes]
