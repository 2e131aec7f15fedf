"""
Several epochs of one object as one input: the latest of them in time order, with the time between them.

A network of several epochs takes two inputs: the stamps, shape (N, E, C, size, size), and one number for each of them,
shape (N, E): the time since the one before on a logarithmic scale, 0 for the first, -1 where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from classifiers.preparing import FloatArray, Preparation

Stamp = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

NO_EPOCH = -1.0
SHORTEST = 1e-3  # days, a minute and a half: gaps well under it are all alike
OBJECTS = ("objectId", "object")  # columns that tell which stamps are of one object
TIMES = ("jd", "mjd", "time")  # columns of a time in days, from whatever day on
CANDIDATE = "candid"  # of a ZTF alert: its first digits are its time
FIRST_NIGHT = 2457754.5  # Julian date of 2017 January 1, from which ZTF counts


@dataclass(frozen=True, eq=False)
class Series:
    """
    Stamps of one object at several times.

    Parameters
    ----------
    stamps : sequence of E 3D `~numpy.ndarray`, shape (ny, nx, C)
        At least one; they may differ in shape.
    times : 1D float64 `~numpy.ndarray`, shape (E,)
        When, in days from whatever day on, in any order.

    Raises
    ------
    fieldprep.errors.InputError
        If there are none, as many times as stamps are not there, or a time is not finite.
    """

    stamps: Sequence[Stamp]
    times: Floats

    def __post_init__(self) -> None:
        times = np.asarray(self.times, np.float64)
        if times.shape != (len(self.stamps),) or not len(times):
            raise InputError(f"a series must have a time for each of its stamps, got {times.shape} times of them")
        if not np.isfinite(times).all():
            raise InputError(f"a series must have finite times, got {', '.join(f'{time:g}' for time in times)}")
        object.__setattr__(self, "times", times)

    def __len__(self) -> int:
        return len(self.stamps)

    def latest(self, epochs: int) -> Series:
        """The latest of them, in time order; as many as told, or all."""
        order = np.argsort(self.times, kind="stable")[-epochs:]
        return Series([self.stamps[int(i)] for i in order], self.times[order])


def gaps(times: Floats) -> FloatArray:
    """
    Time between epochs as the network has it: the logarithm of one and the thousandths of a day.

    Parameters
    ----------
    times : 1D float64 `~numpy.ndarray`, shape (E,)
        In days, in order.

    Returns
    -------
    1D float32 `~numpy.ndarray`, shape (E,)
        0 for the first; 1.6 for an hour, 3 for a day, 4.5 for a month, 6 for three years.
    """
    return np.log10(1 + np.diff(times, prepend=times[:1]) / SHORTEST).astype(np.float32)


def network_inputs(
    prepare: Preparation, stamps: Stamp | Sequence[Stamp | Series], *, first: int = 0
) -> tuple[FloatArray, ...]:
    """
    Prepare what a network takes: stamps, or series of them with their gaps.

    Parameters
    ----------
    prepare : Preparation
        How stamps are prepared, and how many epochs there may be.
    stamps : 4D `~numpy.ndarray`, shape (N, ny, nx, C), or sequence of N 3D `~numpy.ndarray` or `Series`
        Where there may be several epochs, those of a series that are over the number are left out, the earliest first,
        and a stamp by itself is a series of one.
    first : int
        Number of the first stamp, for messages.

    Returns
    -------
    tuple of float32 `~numpy.ndarray`
        One of shape (N, C, size, size); or two, of shapes (N, E, C, size, size) and (N, E).

    Raises
    ------
    fieldprep.errors.InputError
        If a stamp cannot be prepared, or a series is given where one epoch is taken.
    """
    if prepare.epochs == 1:
        of_several = next((i for i, one in enumerate(stamps) if isinstance(one, Series)), None)
        if of_several is not None:
            raise InputError(f"stamp {first + of_several}: a series, where the classifier takes single stamps")
        return (prepare(stamps, first=first),)  # type: ignore[arg-type] # no series among them
    shape = (len(stamps), prepare.epochs)
    prepared = np.zeros((*shape, prepare.inputs, prepare.size, prepare.size), np.float32)
    apart = np.full(shape, NO_EPOCH, np.float32)
    for i, one in enumerate(stamps):
        series = (one if isinstance(one, Series) else Series([one], np.zeros(1))).latest(prepare.epochs)
        try:
            prepared[i, : len(series)] = prepare(series.stamps)
        except InputError as error:
            raise InputError(f"series {first + i}, {error}") from error
        apart[i, : len(series)] = gaps(series.times)
    return prepared, apart


def times_of(rows: pd.DataFrame) -> Floats:
    """
    Times of a table's rows, in days.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        With one of the columns that `TIMES` names, or with ZTF's ``candid``.

    Returns
    -------
    1D float64 `~numpy.ndarray`, shape (N,)

    Raises
    ------
    fieldprep.errors.InputError
        If there is no such column, or a row has no time in it.

    References
    ----------
    ZTF numbers candidates by their time: all but the last nine digits are millionths of a day since 2017 January 1.
    """
    column = next((name for name in (*TIMES, CANDIDATE) if name in rows.columns), None)
    if column is None:
        raise InputError(f"no column {', '.join(TIMES)} that tells when a stamp was taken")
    times = np.full(len(rows), np.nan)
    for i, value in enumerate(rows[column]):
        try:
            times[i] = FIRST_NIGHT + int(value) // 10**9 / 1e6 if column == CANDIDATE else float(value)
        except (ValueError, TypeError):
            continue
    unknown = np.flatnonzero(~np.isfinite(times))
    if len(unknown):
        given = rows[column].iloc[int(unknown[0])]
        raise InputError(f"column {column}: {len(unknown)} of {len(rows)} are no time in days (the first: {given})")
    return times


def objects_of(rows: pd.DataFrame) -> npt.NDArray[np.str_]:
    """
    Which object each row is of.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        With one of the columns that `OBJECTS` names.

    Returns
    -------
    1D str `~numpy.ndarray`, shape (N,)

    Raises
    ------
    fieldprep.errors.InputError
        If there is no such column, or a row has no object in it.
    """
    column = next((name for name in OBJECTS if name in rows.columns), None)
    if column is None:
        raise InputError(f"no column {' or '.join(OBJECTS)} that tells which stamps are of one object")
    without = int((rows[column].isna() | (rows[column].astype(str) == "")).sum())
    if without:  # they would all be of one
        raise InputError(f"column {column}: {without} of {len(rows)} stamps are of no object")
    return rows[column].astype(str).to_numpy(np.str_)
