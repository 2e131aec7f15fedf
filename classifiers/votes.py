"""
Votes of Galaxy Zoo 2 as tables have them, and predictions as Kaggle takes them.

References
----------
Kaggle, Galaxy Zoo: The Galaxy Challenge (``training_solutions_rev1.csv``: GalaxyID, Class1.1 to Class11.6; images
GalaxyID.jpg). Willett et al. 2013, MNRAS 435, 2835, and Hart et al. 2016, MNRAS 461, 3663 (tables with
``t01_smooth_or_features_a01_smooth_count`` and so on, and ``total_votes``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from classifiers.galaxy_zoo_tree import ANSWERS, TREE, of_counts, places
from classifiers.metrics import bootstrapped
from fieldprep.errors import InputError, OutputError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Floats = npt.NDArray[np.float64]

KEY = "GalaxyID"
COUNT = "_count"  # ends the name of a column of counts
TOTALS = ("total_votes", "votes", "total_classifications")  # columns of how many looked at a galaxy
PUBLISHED = re.compile(r"t(\d\d)_.*_a(\d\d)_.*_count")
LEADING = tuple(TREE[0].answers)  # what a galaxy is called by its votes: smooth, featured, artifact


def columns_of(names: Iterable[Any]) -> dict[str, list[str]]:
    """
    Columns of a table that hold votes.

    Parameters
    ----------
    names : iterable of str
        All its columns.

    Returns
    -------
    dict of str to list of str
        ``fractions`` and ``counts``, 37 names each in the order of `ANSWERS`, and ``total``, one name; without those
        that are not there.
    """
    names = [str(name) for name in names]
    found: dict[str, list[str]] = {}
    if set(ANSWERS) <= set(names):
        found["fractions"] = list(ANSWERS)
    ours = [f"{answer}{COUNT}" for answer in ANSWERS]
    # by question, then by answer, the published names are in the order of the tree, the dust lane of a38 included
    published = sorted((match.groups(), name) for name in names if (match := PUBLISHED.fullmatch(name)))
    if set(ours) <= set(names):
        found["counts"] = ours
    elif [int(question) for (question, _), _ in published] == [one.number for one in TREE for _ in one.answers]:
        found["counts"] = [name for _, name in published]
    if total := next((name for name in TOTALS if name in names), None):
        found["total"] = [total]
    return found


def has_votes(names: Iterable[Any]) -> bool:
    """Whether a table of these columns has the votes for all 37 answers."""
    return bool({"fractions", "counts"} & set(columns_of(names)))


def fractions_of(rows: pd.DataFrame) -> Floats:
    """
    Cumulative vote fractions of a table.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        N rows with Kaggle's 37 columns, else with 37 of counts.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (N, 37)
        From 0 to 1.

    Raises
    ------
    fieldprep.errors.InputError
        If there are no such columns, or a value is no fraction.
    """
    columns = columns_of(rows.columns)
    if "fractions" not in columns:
        return of_counts(counts_of(rows))
    return _numbers(rows, columns["fractions"], 1.0)


def counts_of(rows: pd.DataFrame) -> Floats:
    """
    Votes for each answer.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        N rows with 37 columns of counts; or with fractions and the number of votes altogether, which they are shares
        of, rounded.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (N, 37)

    Raises
    ------
    fieldprep.errors.InputError
        If there are no such columns, or a value is no number of votes.
    """
    columns = columns_of(rows.columns)
    if "counts" in columns:
        return _numbers(rows, columns["counts"], np.inf)
    if not {"fractions", "total"} <= set(columns):
        raise InputError(
            f"no counts of votes: 37 columns Class1.1{COUNT} ... or t01_..._a01_...{COUNT}, or Class1.1 ... and "
            f"{TOTALS[0]}; there is {', '.join(map(str, rows.columns[:8]))}, ..."
        )
    return np.rint(_numbers(rows, columns["fractions"], 1.0) * _numbers(rows, columns["total"], np.inf))


def leading(fractions: Floats) -> npt.NDArray[np.str_]:
    """Leading answer of the first question, shape (N,), of fractions of shape (N, 37)."""
    return np.asarray(np.array(LEADING)[fractions[:, places(TREE[0])].argmax(axis=1)])


def rmse(found: Floats, true: Floats) -> float:
    """Root of the mean squared difference over galaxies and answers, Kaggle's measure."""
    return float(np.sqrt(np.mean((found - true) ** 2))) if np.size(true) else float("nan")


def vote_scores(found: Floats, true: Floats, groups: npt.NDArray[np.str_] | None = None) -> dict[str, Any]:
    """
    How well vote fractions were told.

    Parameters
    ----------
    found, true : 2D float64 `~numpy.ndarray`, shape (N, 37)
        As told and as voted, columns as `ANSWERS`.
    groups : 1D str `~numpy.ndarray`, shape (N,), optional
        What belongs together, for the intervals; by default each galaxy is its own.

    Returns
    -------
    dict of str to dict
        ``vote fractions``: by ``all`` and by question, as in ``4. spiral arms?``, its ``rmse`` with ``value``, ``low``,
        ``high`` (68 %, bootstrapped) and ``n``.
    """
    squares = (found - true) ** 2
    of = {"all": np.arange(len(ANSWERS))} | {f"{one.number}. {one.text}": places(one) for one in TREE}
    # one number a galaxy and question: drawing galaxies is drawing these
    means = {name: squares[:, own].mean(axis=1) for name, own in of.items()}

    def measures(drawn: npt.NDArray[np.int64]) -> dict[str, float]:
        return {name: float(np.sqrt(each[drawn].mean())) for name, each in means.items()}

    return {
        "vote fractions": {name: {"rmse": told} for name, told in bootstrapped(measures, len(found), groups).items()}
    }


def write_predictions(path: Path, names: Sequence[str] | npt.NDArray[np.str_], fractions: Floats) -> None:
    """
    Write predictions as Kaggle takes them: GalaxyID and 37 columns.

    Parameters
    ----------
    path : path
        The CSV to write; its folder must exist.
    names : sequence of str, N of them
        What the galaxies are called.
    fractions : 2D float64 `~numpy.ndarray`, shape (N, 37)
        Vote fractions, columns as `ANSWERS`.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    table = pd.DataFrame(fractions, columns=list(ANSWERS))
    table.insert(0, KEY, names)
    temporary = path.with_name(f".{path.name}.part")
    try:
        table.to_csv(temporary, index=False, float_format="%.6f")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({one_line(error)})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _numbers(rows: pd.DataFrame, columns: Sequence[str], most: float) -> Floats:
    values = rows[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = np.argwhere(~((values >= 0) & (values <= most + 1e-6) & np.isfinite(values)))
    if len(wrong):
        i, k = wrong[0]
        who = f"{KEY} {rows[KEY].iloc[i]}" if KEY in rows.columns else f"row {i + 1}"
        what = "fraction from 0 to 1" if most == 1 else "number of votes"
        raise InputError(f"{who}: {columns[k]} is {rows[columns[k]].iloc[i]}, no {what} ({len(wrong)} of the kind)")
    return np.asarray(np.minimum(values, most))
