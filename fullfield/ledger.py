"""What is done in a run's folder, so that a rerun does what is missing and only that."""

from __future__ import annotations

import csv
import json
import os
from typing import TYPE_CHECKING, Any

from fieldprep.errors import OutputError, UsageError
from fullfield.catalogue import atomic
from fullfield.pipeline import STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fullfield.pipeline import Outcome
    from fullfield.sources import Source

FIELDS_FILE = "fields.csv"
FAILURES_FILE = "failures.csv"
ERRORS_FILE = "errors.log"  # tracebacks of unexpected errors, for a report
RUN_FILE = "run.json"
_HEADER = ("field", "source", "galaxies", "detections", *(f"{stage}_seconds" for stage in STAGES))


class Ledger:
    """
    Record of the fields done in a folder: ``fields.csv``, a line added as each is finished.

    Parameters
    ----------
    out : path
        Folder of the run; made if it is not there.
    options : mapping
        What is asked of every field; must be what the folder's earlier fields were run with.

    Raises
    ------
    fieldprep.errors.OutputError
        If the folder cannot be written.
    fieldprep.errors.UsageError
        If its earlier fields were run with other options.
    """

    def __init__(self, out: Path, options: Mapping[str, Any]) -> None:
        self.out = out
        try:
            (out / "fields").mkdir(parents=True, exist_ok=True)
            if not os.access(out, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise OutputError(f"{out}: cannot be written ({error.strerror}); name another --out") from error
        self._clear_up()
        self.rows = {row["field"]: row for row in self._read()}
        if self.rows:
            self._check_options(options)

    def is_done(self, source: Source) -> bool:
        """Whether a source's field is recorded and its catalogue there."""
        row = self.rows.get(source.name)
        path = self.out / "fields" / source.name / "catalogue.parquet"
        return row is not None and row["source"] == source.key and path.exists()

    def taken(self) -> dict[str, str]:
        """Names in use, with the key of the source each is of."""
        return {name: row["source"] for name, row in self.rows.items()}

    def add(self, source: Source, outcome: Outcome) -> None:
        """Record a finished field."""
        row = {
            "field": outcome.field,
            "source": source.key,
            "galaxies": str(outcome.galaxies),
            "detections": str(outcome.detections),
            **{f"{stage}_seconds": f"{outcome.seconds.get(stage, 0):.3f}" for stage in STAGES},
        }
        path = self.out / FIELDS_FILE
        try:
            new = not path.exists() or path.stat().st_size == 0
            with path.open("a", newline="") as handle:
                writer = csv.DictWriter(handle, _HEADER)
                if new:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
        self.rows[outcome.field] = row

    def files(self, file: str) -> list[Path]:
        """One file of each of the fields that are done, such as ``catalogue.parquet``, by name of the field."""
        paths = (self.out / "fields" / name / file for name in sorted(self.rows))
        return [path for path in paths if path.exists()]

    def write_failures(self, failures: Sequence[Outcome]) -> None:
        """Write ``failures.csv`` (field, stage, error), and ``errors.log`` where an error was ours."""
        rows = [(failure.field, failure.stage, failure.error) for failure in failures]
        write_failures(self.out / FAILURES_FILE, rows)
        write_traces(self.out / ERRORS_FILE, [(failure.field, failure.details) for failure in failures])

    def _check_options(self, options: Mapping[str, Any]) -> None:
        path = self.out / RUN_FILE
        if not path.exists():
            return
        try:
            earlier = json.loads(path.read_text()).get("options", {})
        except (OSError, ValueError):
            return
        now = json.loads(json.dumps(options))
        changed = sorted(key for key in now if key in earlier and earlier[key] != now[key])
        if changed:
            was = ", ".join(f"{key} {earlier[key]}" for key in changed)
            raise UsageError(f"{self.out}: its fields were run with {was}; name another --out, or use those options")

    def _clear_up(self) -> None:
        """Remove what a run leaves that was killed while it wrote: half files, and a line cut short."""
        for name in ("catalogue.parquet", "candidates.parquet", FAILURES_FILE, RUN_FILE):
            stem, _, ending = name.partition(".")
            for stale in self.out.glob(f".{stem}-*.{ending}"):
                stale.unlink(missing_ok=True)
        path = self.out / FIELDS_FILE
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):  # its field is run again
                os.truncate(path, whole)

    def _read(self) -> list[dict[str, str]]:
        path = self.out / FIELDS_FILE
        if not path.exists():
            return []
        with path.open(newline="") as handle:
            reader = csv.DictReader(handle)
            if reader.fieldnames and tuple(reader.fieldnames) != _HEADER:
                raise UsageError(f"{path}: not written by this version of fullfield; name another --out")
            return [row for row in reader if None not in row and all(row.values())]


def write_failures(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """
    Write the record of what failed.

    Parameters
    ----------
    path : path
        The file, ``failures.csv``.
    rows : sequence of (str, str, str)
        Field, stage, error; none where all went well.
    """
    with atomic(path) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("field", "stage", "error"))
        writer.writerows(rows)


def write_traces(path: Path, traces: Sequence[tuple[str, str]]) -> None:
    """
    Write the tracebacks of errors that were ours; no file where there are none.

    Parameters
    ----------
    path : path
        The file, ``errors.log``.
    traces : sequence of (str, str)
        Field, traceback; the latter empty where the error was the input's.
    """
    texts = [f"{field}\n{details}\n" for field, details in traces if details]
    if texts:
        with atomic(path) as temporary:
            temporary.write_text("\n".join(texts))
