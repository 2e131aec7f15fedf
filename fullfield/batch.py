"""Many fields: each on its own, a failed one recorded and passed over, a rerun doing what is missing."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np

from fullfield.catalogue import join_catalogues, write_json
from fullfield.ledger import RUN_FILE, Ledger
from fullfield.pipeline import STAGES, Outcome, Request, run_field
from fullfield.processes import outcomes
from fullfield.sources import Source, find_sources, with_templates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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
    candidates : int
        Rows of the joined table of candidates, where there is a template.
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
    candidates: int = 0
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
    if request.template:
        sources = with_templates(sources, request.template)
    missing = [source for source in sources if not ledger.is_done(source)]
    summary = Summary(skipped=len(sources) - len(missing))
    progress(None, len(missing))
    _write_run(ledger, request, given, workers, summary, 0.0)  # a run that is killed must remember its options
    try:
        task = partial(run_field, request=request, out=out)
        for source, outcome in outcomes(task, missing, workers=workers, died=_died):
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
    meta = {"detector_sha256": request.detector_sha256, **_small(request)}
    catalogues = ledger.files("catalogue.parquet")
    summary.galaxies = join_catalogues(catalogues, out / "catalogue.parquet", meta, columns=request.columns)
    if request.template:
        parts, path = ledger.files("candidates.parquet"), out / "candidates.parquet"
        summary.candidates = join_catalogues(parts, path, meta, columns=request.candidate_columns)
    summary.seconds = time.perf_counter() - start
    return summary


def _died(source: Source) -> Outcome:
    text = f"{source.label}: the process died (out of memory?); use fewer --workers"
    return Outcome(source.name, stage="run", error=text)


def _small(request: Request) -> dict[str, object]:
    return {"detector": request.detector, "variant": ",".join(request.variants), "confidence": request.confidence}


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
