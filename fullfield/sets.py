"""
Training sets and cutout sets of many fields.

Each field is prepared on its own into a hidden folder beside the set; when all are done the sky is split, the fields
are joined, and the set appears whole. The same command after a stop does what is missing.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pandas as pd

from fieldprep.errors import InputError, OutputError, UsageError, one_line
from fieldprep.training.cutoutsets import CutoutRecipe, join_cutouts
from fieldprep.training.recipes import S1_SHARE, Recipe
from fieldprep.training.records import RECORD_FILE, FieldRecord, replace_folder
from fieldprep.training.splits import LEFT_OUT, TRAIN, VALIDATION, Place, drawn_part, split, undivided
from fieldprep.training.trainingsets import join_fields
from fieldprep.variants import VARIANTS
from fullfield.catalogue import write_json
from fullfield.ledger import ERRORS_FILE, FAILURES_FILE, FIELDS_FILE, write_failures, write_traces
from fullfield.preparation import Asked, Outcome, prepare_field
from fullfield.processes import outcomes
from fullfield.setreport import write_report
from fullfield.sources import Source, find_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

PREPARATION_FILE, SPLIT_FILE = "preparation.json", "split.csv"
PETROSIAN = "petrosian"  # the kind of radius that boxes are defined by
_LIBRARIES = ("fullfield", "numpy", "astropy", "astropy-healpix", "opencv-python", "pandas", "reproject")


@dataclass(frozen=True)
class Division:
    """
    How fields are chosen and shared out; see `fieldprep.training.splits.split`.

    Parameters
    ----------
    validation : collection of str
        Names of the fields kept for validation; drawn from the seed if none are named.
    share : float
        Share of the fields to draw for it.
    seed : int
        Seed of all draws.
    block_deg : float
        Size of a block of sky in degrees.
    fields : collection of str, optional
        Names of the only fields to use. Without them a recipe of S1 draws its part of those given.
    """

    validation: Collection[str] = ()
    share: float = 0.2
    seed: int = 0
    block_deg: float = 2.0
    fields: Collection[str] | None = None


@dataclass
class Prepared:
    """
    What was prepared.

    Parameters
    ----------
    counts : dict of str to int
        Fields, pictures and boxes (or stamps) of each half.
    left_out : dict of str to str
        Why each of the fields that are not in the set is not.
    failures : list of Outcome
        The fields that failed.
    notes : list of str
        What a user of the set must know.
    """

    counts: dict[str, int]
    left_out: dict[str, str]
    failures: list[Outcome]
    notes: list[str]


def prepare_set(
    given: Sequence[str],
    out: Path,
    asked: Asked,
    division: Division = Division(),
    *,
    workers: int = 1,
    progress: Callable[[Outcome | None, int], None] = lambda _outcome, _total: None,
) -> Prepared:
    """
    Make a training set or a cutout set of SOURCEs.

    Parameters
    ----------
    given : sequence of str
        SOURCEs as on the command line.
    out : path
        Folder to write: what `fieldprep.training.trainingsets.join_fields` or
        `fieldprep.training.cutoutsets.join_cutouts` writes,
        ``split.csv`` (each field's half and block), ``fields.csv`` (all fields given, and what became of their
        objects), ``failures.csv``, ``preparation.json`` and the report.
    asked : Asked
        What to make of each field.
    division : Division
        Which fields, and which of them for validation.
    workers : int
        Processes.
    progress : callable
        Called with None and the number of fields to do at the start, then with each outcome.

    Returns
    -------
    Prepared

    Raises
    ------
    fieldprep.errors.UsageError
        If the request makes no sense, or what was prepared before was asked for otherwise.
    fieldprep.errors.InputError
        If no set can be made of these fields; what was prepared is kept.
    fieldprep.errors.OutputError
        If the output cannot be written; what was prepared is kept.
    """
    sources = find_sources(given)
    chosen, left_out = _chosen(sources, asked, division)
    partial_folder = out.absolute().with_name(f".{out.absolute().name}-partial")
    failures: list[Outcome] = []
    try:
        if out.exists() and any(out.iterdir()):
            raise OutputError(f"{out}: exists and is not empty; name a new folder")
        _begin(partial_folder, asked)
        missing = [source for source in chosen if not _is_done(partial_folder, source)]
        progress(None, len(missing))
        task = partial(prepare_field, asked=asked, out=partial_folder / "fields")
        for _, outcome in outcomes(task, missing, workers=workers, died=_died):
            failures += [outcome] if outcome.error else []
            progress(outcome, len(missing))
        order = {source.name: i for i, source in enumerate(sources)}
        failures.sort(key=lambda failure: order[failure.field])
        prepared = _join(partial_folder, sources, asked, division, left_out, failures)
        replace_folder(partial_folder / "set", out)
        shutil.rmtree(partial_folder)
    except OSError as error:
        raise OutputError(f"{error.filename or out}: cannot be written ({error.strerror})") from error
    return prepared


def read_names(path: Path) -> list[str]:
    """
    Read names of fields: the first column of a file of lines, as ``split.csv`` is one.

    Parameters
    ----------
    path : path
        The file; a first line that says ``field``, ``name`` or ``source`` is a header.

    Returns
    -------
    list of str

    Raises
    ------
    fieldprep.errors.UsageError
        If it cannot be read or names none.
    """
    try:
        names = [line.split(",")[0].strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a list of fields that can be read ({one_line(error)})") from error
    if names and names[0] in {"field", "name", "source"}:
        del names[0]
    if not names:
        raise UsageError(f"{path}: names no field")
    return names


def _chosen(sources: Sequence[Source], asked: Asked, division: Division) -> tuple[list[Source], dict[str, str]]:
    """Fields to prepare, and why each of the others is left out."""
    unknown = sorted(set(asked.recipe.variants) - set(VARIANTS))
    if unknown:
        raise UsageError(f"unknown variant {', '.join(unknown)}: it is one of {', '.join(VARIANTS)}")
    names = [source.name for source in sources]
    missing = sorted({*division.validation, *asked.empty, *(division.fields or ())} - set(names))
    if missing:
        raise UsageError(f"no field {', '.join(missing)} among {', '.join(names)}")
    wanted, reason = set(names), ""
    if division.fields is not None:
        wanted, reason = set(division.fields), "not among --fields"
    elif isinstance(asked.recipe, Recipe) and asked.recipe.part == "S1":
        wanted = drawn_part(names, S1_SHARE, division.seed) | set(division.validation)
        reason = f"not drawn for S1 (7,397 of 12,171 fields, seed {division.seed})"
    return [source for source in sources if source.name in wanted], {
        name: reason for name in names if name not in wanted
    }


def _begin(folder: Path, asked: Asked) -> None:
    """Make the hidden folder, or see that what is in it was asked for likewise."""
    (folder / "fields").mkdir(parents=True, exist_ok=True)
    path, options = folder / PREPARATION_FILE, asked.options()
    if not path.exists():
        write_json(path, options)
    earlier = json.loads(path.read_text())
    changed = [name for name in options if earlier.get(name) != options[name]]
    if changed:
        raise UsageError(f"{folder}: begun with another {', '.join(changed)}; remove that folder, or ask for the same")


def _is_done(folder: Path, source: Source) -> bool:
    path = folder / "fields" / source.name
    return (path / RECORD_FILE).exists() and FieldRecord.read(path).about["source"] == source.key


def _died(source: Source) -> Outcome:
    return Outcome(source.name, f"{source.label}: the process died (out of memory?); use fewer --workers")


def _join(
    folder: Path,
    sources: Sequence[Source],
    asked: Asked,
    division: Division,
    left_out: dict[str, str],
    failures: list[Outcome],
) -> Prepared:
    chosen = {source.name for source in sources} - set(left_out) - {failure.field for failure in failures}
    paths = (folder / "fields" / source.name for source in sources if source.name in chosen)
    # without the tiles: those of many fields would not fit into memory
    records = {record.name: replace(record, tiles=[]) for record in map(FieldRecord.read, paths)}
    left_out |= {name: record.left_out for name, record in records.items() if record.left_out}
    kept = [record for record in records.values() if not record.left_out]
    if not kept:
        reasons = [*left_out.values(), *(failure.error for failure in failures)]
        raise InputError(f"no field to make a set of: {reasons[0]}")
    places = _places(kept, asked, division)
    left_out |= {place.footprint.name: place.reason for place in places if place.half == LEFT_OUT}
    used = [place for place in places if place.half != LEFT_OUT]
    out = folder / "set"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    joined = [(folder / "fields" / place.footprint.name, place.half) for place in used]
    if isinstance(asked.recipe, Recipe):
        counts = join_fields(joined, out, asked.recipe)
    else:
        counts = join_cutouts(joined, out, asked.recipe)
    fields = _fields_table(sources, records, places, left_out, failures)
    notes = _notes([records[place.footprint.name] for place in used])
    _write_tables(out, fields, used, division, failures)
    write_json(out / PREPARATION_FILE, _told(asked, division, counts))
    write_report(out, asked.recipe, fields, records, notes)
    sizes = {f"{half}_fields": sum(place.half == half for place in used) for half in (TRAIN, VALIDATION)}
    return Prepared(sizes | counts, left_out, failures, notes)


def _places(kept: Sequence[FieldRecord], asked: Asked, division: Division) -> list[Place]:
    footprints = [record.footprint for record in kept]
    if isinstance(asked.recipe, CutoutRecipe) and asked.recipe.shared_out:
        return undivided(footprints, block_deg=division.block_deg)
    return split(
        footprints,
        [record.counts["labelled"] for record in kept],
        validation=division.validation,
        share=division.share,
        seed=division.seed,
        block_deg=division.block_deg,
    )


def _fields_table(
    sources: Sequence[Source],
    records: Mapping[str, FieldRecord],
    places: Sequence[Place],
    left_out: Mapping[str, str],
    failures: Sequence[Outcome],
) -> pd.DataFrame:
    """All fields given, in their order, and what became of them and of their objects."""
    placed = {place.footprint.name: place for place in places}
    errors = {failure.field: failure.error for failure in failures}
    rows = []
    for source in sources:
        name, record, place = source.name, records.get(source.name), placed.get(source.name)
        rows.append(
            {
                "field": name,
                "source": source.key,
                "half": "failed" if name in errors else LEFT_OUT if name in left_out else place.half if place else "",
                "reason": errors.get(name, left_out.get(name, "")),
                "block": place.block if place else "",
                **({"ra": record.footprint.ra, "dec": record.footprint.dec} if record else {}),
                **({key: record.about.get(key, "") for key in ("catalogue", "radius_kind")} if record else {}),
                **(record.counts if record else {}),
            }
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(_count_names(records), "Int64"))


def _count_names(records: Mapping[str, FieldRecord]) -> list[str]:
    return list(dict.fromkeys(name for record in records.values() for name in record.counts))


def _write_tables(
    out: Path, fields: pd.DataFrame, places: Sequence[Place], division: Division, failures: Sequence[Outcome]
) -> None:
    fields.to_csv(out / FIELDS_FILE, index=False)
    rows = [
        {
            "field": place.footprint.name,
            "half": place.half,
            "block": place.block,
            "ra": place.footprint.ra,
            "dec": place.footprint.dec,
            "radius_deg": place.footprint.radius_deg,
            "chosen": "by name" if division.validation else f"seed {division.seed}",
        }
        for place in places
    ]
    pd.DataFrame(rows).to_csv(out / SPLIT_FILE, index=False)
    write_failures(out / FAILURES_FILE, [(failure.field, "prepare", failure.error) for failure in failures])
    write_traces(out / ERRORS_FILE, [(failure.field, failure.details) for failure in failures])


def _notes(records: Sequence[FieldRecord]) -> list[str]:
    """What a user of the set must know, one line each."""
    totals = Counter[str]()
    for record in records:
        totals.update(record.counts)
    kinds = Counter(record.about.get("radius_kind", PETROSIAN) for record in records)
    unplaced = sum(not record.footprint.placed for record in records)
    unknown = f"{totals['without_votes']} of {totals['labelled']} labelled galaxies have no votes and are Unknown"
    texts = {
        f"{unknown}; AstroCV's all have votes, and are brighter than r = 17.77 (--faintest)": totals["without_votes"],
        f"{unplaced} of {len(records)} fields have no WCS: the same sky under two names would not be noticed": unplaced,
        f"{totals['in_no_tile']} labelled objects are too large for any tile": totals["in_no_tile"],
        **{f"{n} of {len(records)} fields: the radius is {kind}": n for kind, n in kinds.items() if kind != PETROSIAN},
    }
    taken = dict.fromkeys(text for record in records for text in record.about.get("taken", ()))
    return [text for text, count in texts.items() if count] + list(taken)


def _told(asked: Asked, division: Division, counts: Mapping[str, int]) -> dict[str, Any]:
    chosen = asdict(division)
    return {
        "options": asked.options(),
        "division": {name: sorted(value) if isinstance(value, set) else value for name, value in chosen.items()},
        "counts": dict(counts),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
    }
