"""Fields from the surveys into a folder, without running anything on them."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fieldprep.errors import FullfieldError, OutputError, UsageError, one_line
from fieldprep.surveys.download import patience
from fieldprep.surveys.prefix import survey_of
from fieldprep.surveys.sdss_footprint import FRAME_SHAPE
from fullfield.catalogue import atomic
from fullfield.ledger import FAILURES_FILE, write_failures
from fullfield.sources import Source, find_sources
from fullfield.truths import SDSS, Place, fetch_catalogue, is_service

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FETCHED_FILE = "fetched.csv"


@dataclass
class Fetched:
    """
    What was fetched.

    Parameters
    ----------
    fields : dict of str to list of path
        Files of each field that is whole, those of earlier calls among them.
    failures : list of (str, str, str)
        Field, stage (``fetch`` or ``catalogue``), error.
    notes : list of str
        What was not fetched because it is at hand.
    """

    fields: dict[str, list[Path]] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fetch_fields(
    given: Sequence[str],
    out: Path,
    *,
    catalogue: str | None = None,
    progress: Callable[[str, int], None] = lambda _name, _total: None,
) -> Fetched:
    """
    Fetch and verify the files of fields; what is there from an earlier call is not asked for again.

    Parameters
    ----------
    given : sequence of str
        SOURCEs as on the command line; those that are files already are noted and passed over.
    out : path
        Folder to write: ``NAME/`` with each field's files, ``fetched.csv``, ``failures.csv``.
    catalogue : str, optional
        A catalogue to put beside each field's files: ``sdss`` or ``vizier:TABLE``.
    progress : callable
        Called with an empty name and the number of fields at the start, then with the name of each field.

    Returns
    -------
    Fetched

    Raises
    ------
    fieldprep.errors.UsageError
        If a SOURCE makes no sense.
    fieldprep.errors.OutputError
        If the folder cannot be written.
    """
    if catalogue and not is_service(catalogue):
        raise UsageError(f"--catalogue {catalogue}: a catalogue is fetched as sdss or vizier:TABLE")
    sources = find_sources(given)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); name another --out") from error
    result = Fetched()
    wanted = [source for source in sources if source.remote is not None]
    for source in sources:
        if source.error:
            result.failures.append((source.name, "fetch", source.error))
        elif source.remote is None:
            result.notes.append(f"{source.label}: at hand already, nothing to fetch")
    progress("", len(wanted))
    with ThreadPoolExecutor(patience().connections) as pool:
        futures = {pool.submit(_fetch, source, out / source.name, catalogue): source for source in wanted}
        try:
            for future in as_completed(futures):
                files, failure = future.result()
                name = futures[future].name
                if failure:
                    result.failures.append((name, *failure))
                else:
                    result.fields[name] = files
                progress(name, len(wanted))
        finally:  # an interrupted call leaves its record too; what is waiting is not begun
            pool.shutdown(wait=True, cancel_futures=True)
            order = {source.name: i for i, source in enumerate(sources)}
            result.failures.sort(key=lambda failure: order[failure[0]])
            write_failures(out / FAILURES_FILE, result.failures)
            _write_fetched(out, wanted, result)
    return result


def _fetch(source: Source, folder: Path, catalogue: str | None) -> tuple[list[Path], tuple[str, str] | None]:
    """Files of one field, or the stage and the reason of its failure."""
    stage = "fetch"
    try:
        here = source.fetched(folder)
        files = list(here.paths)
        if catalogue:
            stage = "catalogue"
            files.append(fetch_catalogue(catalogue, _place(catalogue, here), folder))
    except OutputError:
        raise
    except FullfieldError as error:
        return [], (stage, one_line(error))
    return files, None


def _place(catalogue: str, source: Source) -> Place:
    """Where a field is; the survey's own catalogue of an SDSS field goes by its id, and no pixel need be read."""
    if catalogue == SDSS and source.remote is not None and survey_of(source.key) == SDSS:
        return Place(source.name, FRAME_SHAPE, None, source.remote.name)
    return Place.of(source.read())


def _write_fetched(out: Path, wanted: Sequence[Source], result: Fetched) -> None:
    with atomic(out / FETCHED_FILE) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("field", "source", "bytes", "files"))
        for source in wanted:
            if source.name in result.fields:
                files = result.fields[source.name]
                size = sum(path.stat().st_size for path in files)
                writer.writerow((source.name, source.key, size, " ".join(path.name for path in files)))
