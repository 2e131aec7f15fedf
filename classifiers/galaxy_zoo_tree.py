"""
The decision tree of Galaxy Zoo 2 as data: eleven questions, 37 answers, and which question follows which answer.

A vote fraction in Kaggle's table is cumulative: the answers of a question sum to the fractions of the answers that lead
to it, those of the first and the sixth question to 1.

References
----------
Willett et al. 2013, MNRAS 435, 2835, table 2 and figure 1; Kaggle, Galaxy Zoo: The Galaxy Challenge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_CONCENTRATED = 100.0  # over 1, of a Dirichlet distribution's concentrations


@dataclass(frozen=True)
class Question:
    """
    A question of the tree.

    Parameters
    ----------
    number : int
        Its number, 1 to 11.
    text : str
        What is asked.
    answers : tuple of str
        Short names, in the order of the columns ``ClassNUMBER.1``, ``ClassNUMBER.2``, ...
    after : tuple of str
        Columns of the answers that lead to it; none where everybody is asked.
    """

    number: int
    text: str
    answers: tuple[str, ...]
    after: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns in Kaggle's table."""
        return tuple(f"Class{self.number}.{i}" for i in range(1, len(self.answers) + 1))


_ODD = ("ring", "lens", "disturbed", "irregular", "other", "merger", "dust_lane")
# the fourth question has two ways in, both through the third; every way through it ends in the fifth
TREE = (
    Question(1, "smooth, or features or a disk?", ("smooth", "featured", "artifact")),
    Question(2, "a disk seen edge-on?", ("edge_on", "not_edge_on"), ("Class1.2",)),
    Question(3, "a bar?", ("bar", "no_bar"), ("Class2.2",)),
    Question(4, "spiral arms?", ("spiral", "no_spiral"), ("Class2.2",)),
    Question(5, "how prominent a bulge?", ("no_bulge", "noticeable", "obvious", "dominant"), ("Class2.2",)),
    Question(6, "anything odd?", ("odd", "not_odd")),
    Question(7, "how round?", ("round", "inbetween", "cigar"), ("Class1.1",)),
    Question(8, "what is odd?", _ODD, ("Class6.1",)),
    Question(9, "shape of the bulge seen edge-on?", ("rounded", "boxy", "no_bulge"), ("Class2.1",)),
    Question(10, "how tightly wound?", ("tight", "medium", "loose"), ("Class4.1",)),
    Question(11, "how many arms?", ("1", "2", "3", "4", "more", "cannot_tell"), ("Class4.1",)),
)  # fmt: skip
ANSWERS = tuple(column for question in TREE for column in question.columns)
_PLACE = {column: i for i, column in enumerate(ANSWERS)}


def places(question: Question) -> npt.NDArray[np.int64]:
    """Columns of a question's answers among the 37, shape (its answers,)."""
    return np.array([_PLACE[column] for column in question.columns])


def totals(fractions: Floats) -> Floats:
    """
    What the answers of each question should sum to.

    Parameters
    ----------
    fractions : 2D float64 `~numpy.ndarray`, shape (N, 37)
        Cumulative vote fractions, columns as `ANSWERS`.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (N, 11)
    """
    return np.stack(
        [
            fractions[:, [_PLACE[one] for one in question.after]].sum(axis=1)
            if question.after
            else np.ones(len(fractions))
            for question in TREE
        ],
        axis=1,
    )


def obeying(fractions: Floats) -> Floats:
    """
    Fractions that obey the tree, nearest to given ones in their proportions.

    Parameters
    ----------
    fractions : 2D float64 `~numpy.ndarray`, shape (N, 37)
        What a network says, columns as `ANSWERS`; negative values count as 0.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (N, 37)
        From the first question on, the answers of each share out what leads to it in the proportions given; where none
        is given anything, alike.
    """
    given = np.maximum(np.asarray(fractions, np.float64), 0)
    out = np.zeros_like(given)
    for k, question in enumerate(TREE):  # those that lead to a question stand before it
        own = places(question)
        sums = given[:, own].sum(axis=1, keepdims=True)
        share = np.where(sums > 0, given[:, own] / np.where(sums > 0, sums, 1), 1 / len(own))
        out[:, own] = share * totals(out)[:, k : k + 1]
    return out


def conditional(fractions: Floats) -> Floats:
    """
    Fractions of those who were asked each question, shape (N, 37); NaN where nobody was.

    Parameters
    ----------
    fractions : 2D float64 `~numpy.ndarray`, shape (N, 37)
        Cumulative vote fractions.
    """
    asked = totals(fractions)
    out = np.empty_like(fractions)
    for k, question in enumerate(TREE):
        of = asked[:, k : k + 1]
        out[:, places(question)] = np.where(of > 0, fractions[:, places(question)] / np.where(of > 0, of, 1), np.nan)
    return out


def cumulative(conditionals: Floats) -> Floats:
    """
    The other way: fractions of those who were asked to cumulative ones, shape (N, 37).

    Parameters
    ----------
    conditionals : 2D float64 `~numpy.ndarray`, shape (N, 37)
        Fractions of each question's answers, which sum to 1; NaN counts as 0.
    """
    given = np.nan_to_num(conditionals)
    out = np.zeros_like(given)
    for k, question in enumerate(TREE):
        out[:, places(question)] = given[:, places(question)] * totals(out)[:, k : k + 1]
    return out


def expected(shares: Floats) -> Floats:
    """
    Cumulative fractions to be expected of a Dirichlet distribution a question.

    Parameters
    ----------
    shares : float64 `~numpy.ndarray`, shape (..., 37)
        Of the concentrations: 0 is one of 1, 1 is one of 1 + `MOST_CONCENTRATED`.

    Returns
    -------
    float64 `~numpy.ndarray`, shape (..., 37)
        They obey the tree.

    References
    ----------
    Walmsley et al. 2022, MNRAS 509, 3966, section 4.1: concentrations from 1 to 101.
    """
    concentrations = 1 + MOST_CONCENTRATED * np.asarray(shares, np.float64).reshape(-1, len(ANSWERS))
    return of_counts(concentrations).reshape(np.shape(shares))


def of_counts(counts: Floats) -> Floats:
    """
    Cumulative fractions of counts of votes.

    Parameters
    ----------
    counts : 2D float64 `~numpy.ndarray`, shape (N, 37)
        Votes for each answer, columns as `ANSWERS`.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (N, 37)
        0 for the answers of a question that nobody was asked.
    """
    shares = np.zeros(np.shape(counts))
    for question in TREE:
        own = places(question)
        asked = counts[:, own].sum(axis=1, keepdims=True)
        shares[:, own] = np.where(asked > 0, counts[:, own] / np.where(asked > 0, asked, 1), 0)
    return cumulative(shares)
