"""A task for each of many items, in several processes; one that dies fails its own item and no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, TypeVar

import cv2

from fieldprep.cores import THREADS, cores
from fieldprep.errors import FullfieldError, OutputError, UsageError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


def outcomes(
    task: Callable[[Item], Result], items: Sequence[Item], *, workers: int, died: Callable[[Item], Result]
) -> Iterator[tuple[Item, Result]]:
    """
    Results of a task, as they come.

    Parameters
    ----------
    task : callable
        What to do with an item; it must not raise what is the item's own fault. It goes to other processes, so it must
        be a module's function or a `functools.partial` of one.
    items : sequence
        What to do it with.
    workers : int
        Processes; the cores are shared among them. With one, this process does it all.
    died : callable
        Result for an item whose process died, alone as it was (out of memory, a crash in a library).

    Yields
    ------
    item, result
        Each item once, in the order they are finished.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        for item in items:
            yield item, task(item)
        return
    waiting = deque(items)
    while waiting:
        in_hand: dict[Future[Result], Item] = {}
        broken: list[Item] = []
        with _pool(workers) as pool:
            try:
                while waiting or in_hand:
                    while waiting and len(in_hand) < 2 * workers:
                        in_hand[pool.submit(task, waiting[0])] = waiting[0]
                        waiting.popleft()
                    finished, _ = wait(in_hand, return_when=FIRST_COMPLETED)
                    for future in finished:
                        result = future.result()
                        yield in_hand.pop(future), result
            except BrokenProcessPool:
                # a process that dies takes the pool with it: those in hand are tried again, each alone
                broken = list(in_hand.values())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for item in broken:
            yield item, _alone(task, item, died)


def told(error: Exception, label: str) -> tuple[str, str]:
    """
    Why an item failed, for its record: many items survive the fault of one, ours included.

    Parameters
    ----------
    error : Exception
        What was raised.
    label : str
        What to call the item.

    Returns
    -------
    reason : str
        One line.
    details : str
        Traceback of an error that is ours, not the input's; else empty.

    Raises
    ------
    fieldprep.errors.OutputError, fieldprep.errors.UsageError
        If the error is one of these, which no other item would survive either.
    """
    if isinstance(error, OutputError | UsageError):
        raise error
    if isinstance(error, FullfieldError):
        return one_line(error), ""
    if isinstance(error, MemoryError):
        return f"{label}: not enough memory for a field of this size; use fewer --workers", ""
    reason = f"{label}: unexpected {type(error).__name__}: {one_line(error)}; please report it"
    return reason, "".join(traceback.format_exception(error))


def _alone(task: Callable[[Item], Result], item: Item, died: Callable[[Item], Result]) -> Result:
    with _pool(1) as pool:
        try:
            return pool.submit(task, item).result()
        except BrokenProcessPool:
            return died(item)


def _pool(workers: int) -> ProcessPoolExecutor:
    # fork would copy OpenVINO's and OpenCV's threads in an undefined state
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_process,
        initargs=(max(1, cores() // workers),),
    )


def _start_process(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    os.environ[THREADS] = str(threads)
    cv2.setNumThreads(threads)
