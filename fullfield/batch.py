"""Many fields: each on its own, a failed one recorded and passed over, a rerun doing what is missing."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fieldprep.cores import THREADS, cores
from fullfield.catalogue import join_catalogues, write_json
from fullfield.ledger import RUN_FILE, Ledger
from fullfield.pipeline import STAGES, Outcome, Request, run_field
from fullfield.sources import Source, find_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_LIBRARIES = ("fullfield", "numpy", "astropy", "opencv-python", "openvino", "pandas", "pyarrow", "reproject", "sep")


@dataclass
class Summary:
    """
    What a run did.

    Parameters
    ----------
    done, skipped, failed : int
        Fields finished now, finished in an earlier run, failed.
    galaxies : int
        Rows of the joined catalogue.
    seconds : float
        Time of the whole run.
    failures : list of Outcome
        The failed fields.
    notes : list of str
        What the finished fields' readers must know.
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    galaxies: int = 0
    seconds: float = 0.0
    failures: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run(
    given: Sequence[str],
    out: Path,
    request: Request,
    *,
    workers: int = 1,
    progress: Callable[[Outcome | None, int], None] = lambda _outcome, _total: None,
) -> Summary:
    """
    Run all fields that the given SOURCEs stand for.

    Parameters
    ----------
    given : sequence of str
        SOURCEs as on the command line.
    out : path
        Folder to write.
    request : Request
        What to do with each field.
    workers : int
        Processes; the cores are shared among them.
    progress : callable
        Called with None and the number of fields to do at the start, then with each outcome.

    Returns
    -------
    Summary

    Raises
    ------
    fieldprep.errors.UsageError
        If the request makes no sense, or the folder's earlier fields were run with other options.
    fieldprep.errors.OutputError
        If the output cannot be written; what was finished stays and a rerun goes on from there.
    """
    start = time.perf_counter()
    ledger = Ledger(out, request.options())
    sources = find_sources(given, ledger.taken())
    missing = [source for source in sources if not ledger.is_done(source)]
    summary = Summary(skipped=len(sources) - len(missing))
    progress(None, len(missing))
    _write_run(ledger, request, given, workers, summary, 0.0)  # a run that is killed must remember its options
    try:
        for source, outcome in _outcomes(missing, request, out, workers):
            if outcome.error:
                summary.failed += 1
                summary.failures.append(outcome)
            else:
                ledger.add(source, outcome)
                summary.done += 1
                summary.notes += outcome.notes
            progress(outcome, len(missing))
    finally:
        # an interrupted or stopped run leaves its record too, as far as the disk allows
        order = {source.name: i for i, source in enumerate(sources)}
        summary.failures.sort(key=lambda failure: order[failure.field])
        ledger.write_failures(summary.failures)
        _write_run(ledger, request, given, workers, summary, time.perf_counter() - start)
    summary.galaxies = join_catalogues(
        ledger.catalogues(), out / "catalogue.parquet", {"detector_sha256": request.detector_sha256, **_small(request)}
    )
    summary.seconds = time.perf_counter() - start
    return summary


def _outcomes(sources: Sequence[Source], request: Request, out: Path, workers: int) -> Iterator[tuple[Source, Outcome]]:
    if workers <= 1 or len(sources) <= 1:
        for source in sources:
            yield source, run_field(source, request, out)
        return
    yield from _in_processes(sources, request, out, min(workers, len(sources)))


def _in_processes(
    sources: Sequence[Source], request: Request, out: Path, workers: int
) -> Iterator[tuple[Source, Outcome]]:
    """
    Run in processes, two fields a process in hand at a time.

    A process that dies (out of memory, a crash in a library) takes the whole pool with it. The fields in hand
    are then tried again, each alone in a process of its own, so that the one to blame is found and fails, and
    the others do not.
    """
    waiting = deque(sources)
    while waiting:
        in_hand: dict[Future[Outcome], Source] = {}
        broken: list[Source] = []
        with _pool(workers) as pool:
            try:
                while waiting or in_hand:
                    while waiting and len(in_hand) < 2 * workers:
                        in_hand[pool.submit(run_field, waiting[0], request, out)] = waiting[0]
                        waiting.popleft()
                    finished, _ = wait(in_hand, return_when=FIRST_COMPLETED)
                    for future in finished:
                        outcome = future.result()
                        yield in_hand.pop(future), outcome
            except BrokenProcessPool:
                broken = list(in_hand.values())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for source in broken:
            yield source, _alone(source, request, out)


def _alone(source: Source, request: Request, out: Path) -> Outcome:
    with _pool(1) as pool:
        try:
            return pool.submit(run_field, source, request, out).result()
        except BrokenProcessPool:
            text = f"{source.label}: the process died (out of memory?); use fewer --workers"
            return Outcome(source.name, stage="run", error=text)


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


def _small(request: Request) -> dict[str, object]:
    return {"detector": request.detector, "variant": request.variant, "confidence": request.confidence}


def _write_run(
    ledger: Ledger, request: Request, given: Sequence[str], workers: int, summary: Summary, seconds: float
) -> None:
    by_stage = {}
    for stage in STAGES:
        values = [float(row[f"{stage}_seconds"]) for row in ledger.rows.values()]
        by_stage[stage] = {
            "median": round(float(np.median(values)), 3) if values else None,
            "total": round(float(np.sum(values)), 3),
        }
    write_json(
        ledger.out / RUN_FILE,
        {
            "sources": list(given),
            "options": request.options(),
            "workers": workers,
            "fields": {"done": len(ledger.rows), "done_now": summary.done, "failed": summary.failed},
            "seconds": round(seconds, 3),
            "seconds_by_stage": by_stage,
            "versions": {"python": platform.python_version(), **_versions()},
            "platform": platform.platform(),
        },
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
