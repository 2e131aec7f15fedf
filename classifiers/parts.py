"""Which stamps a classifier was trained on: ``split.csv`` beside its file says so by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldprep.errors import InputError, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from classifiers.stampsets import StampSet

TRAINING, VALIDATION, TEST = range(3)
PARTS = ("train", "validate", "test")
UNLISTED = ""
COLUMN = "part"
SPLIT_FILE = "split.csv"


def parts_in(stamps: StampSet) -> npt.NDArray[np.int64] | None:
    """
    Parts that a table of labels gives its stamps, in a column ``part``: train, validate (or validation) or test.

    Parameters
    ----------
    stamps : StampSet
        The stamps.

    Returns
    -------
    1D int64 `~numpy.ndarray`, shape (N,), or None
        Number of each one's part in `PARTS`; None where there is no such column.

    Raises
    ------
    fieldprep.errors.InputError
        If one has another part, or a group stands in two.
    """
    if COLUMN not in stamps.rows:
        return None
    number = {name: i for i, name in enumerate(PARTS)} | {"validation": VALIDATION}
    given = stamps.rows[COLUMN].astype(str)
    unknown = sorted(set(given) - set(number))
    if unknown:
        raise InputError(f"column {COLUMN} must be of {', '.join(PARTS)}, got {', '.join(unknown[:3])}")
    parts = np.array([number[name] for name in given], np.int64)
    several = pd.Series(parts).groupby(stamps.groups).nunique()
    if (several > 1).any():
        names = ", ".join(map(str, several.index[several > 1][:3]))
        raise InputError(f"column {COLUMN}: {names} stand in more than one part; what belongs together goes to one")
    return parts


def write_split(stamps: StampSet, part: npt.NDArray[np.int64], out: Path) -> None:
    """Write ``split.csv`` into a folder: name, group, class and part of each stamp."""
    columns = {"name": stamps.names, "group": stamps.groups, "class": stamps.labels, "part": np.array(PARTS)[part]}
    pd.DataFrame(columns).to_csv(out / SPLIT_FILE, index=False)


def parts_of(names: npt.NDArray[np.str_], path: Path) -> npt.NDArray[np.str_]:
    """
    Part that each stamp had in the training of a classifier.

    Parameters
    ----------
    names : 1D str `~numpy.ndarray`, shape (N,)
        What the stamps are called.
    path : path
        The ``split.csv``.

    Returns
    -------
    1D str `~numpy.ndarray`, shape (N,)
        One of `PARTS`, empty for a name that is not in the file; of a name that is there twice the part that was seen
        most of.

    Raises
    ------
    fieldprep.errors.InputError
        If it is no such file.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        part = table["part"].map({name: i for i, name in enumerate(PARTS)})
        if part.isna().any():
            raise ValueError(f"part must be of {', '.join(PARTS)}")  # noqa: TRY301 -- told as the reader's errors are
        number = part.astype(int).groupby(table["name"]).min()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not the split of a training (columns name and part; {one_line(error)})") from error
    of_name = {str(name): PARTS[int(i)] for name, i in number.items()}
    return np.array([of_name.get(str(name), UNLISTED) for name in names], np.str_)
