"""A run held against a catalogue of what is there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from detector.calibration import Calibration
from detector.detections import Detections
from detector.evaluate import Scene, match, score, score_in_full
from detector.pictures import PictureScene, read_reference, score_pictures, score_pictures_in_full
from fieldprep.catalogues import NO_COLUMNS, NothingHereError, Sources, read_table, sources_on_field
from fieldprep.errors import InputError
from fieldprep.surveys.prefix import survey_of
from fullfield.catalogue import read_parquet
from fullfield.chain import calls, evaluate_classes, tasks_of
from fullfield.evaluationreport import write_evaluation
from fullfield.ledger import FIELDS_FILE
from fullfield.truths import Place, catalogue_file, catalogue_of_field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.table import Table

    from fieldprep.catalogues import Catalogue


@dataclass
class _Run:
    """Fields of a run with their truth, by name."""

    tables: dict[str, Table] = field(default_factory=dict)
    scenes: dict[str, Scene] = field(default_factory=dict)
    pictures: dict[str, PictureScene] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    confidence: float = math.nan
    calibrations: dict[str, Calibration | None] = field(default_factory=dict)

    def calibration_of(self, scenes: Mapping[str, Any]) -> Calibration | None:
        """The one calibration of all these fields, None where they have none or several."""
        first, *others = {self.calibrations[name] for name in scenes}
        return None if others else first


def evaluate_run(
    out: Path,
    truth: str,
    *,
    columns: Mapping[str, str] = NO_COLUMNS,
    radius: str | None = None,
    labels: Mapping[str, str] = NO_COLUMNS,
    page: bool = True,
) -> dict[str, Any]:
    """
    Score the fields of a run against a catalogue.

    Parameters
    ----------
    out : path
        Folder of a run.
    truth : str
        A catalogue for all fields; or the name of a file that lies beside each field's frames, such as
        ``catalogue.csv``, or that is named for the field, as ``NAME.reference.csv`` (then ``reference.csv``).
    columns, radius
        What the catalogue's columns and its radius are, as of `fieldprep.catalogues.read_catalogue`.
    labels : mapping of str to str
        The truth's column of a classifier's task, where it has not the task's own name.
    page : bool
        Whether to write ``evaluation.json``, ``evaluation.html`` and, as plots, ``evaluation/`` into the folder.

    Returns
    -------
    dict
        ``catalogue``: scores of fields with a catalogue, ``pooled`` as `detector.evaluate.score_in_full` gives them, by
        field (``fields``) as `detector.evaluate.score` does, and in ``taken`` what was taken for what; ``classifiers``:
        what `fullfield.chain.evaluate_classes` gives; ``calls``: what `fullfield.chain.calls` does;
        ``pictures``: scores of those with a picture's reference, likewise; ``without_truth``: names of fields left out,
        those that no row lies on among them.

    Raises
    ------
    fieldprep.errors.InputError
        If the folder holds no run, no field of it has a truth, or a label's column is not there.
    """
    if not (out / FIELDS_FILE).exists():
        raise InputError(f"{out}: not the folder of a run (no {FIELDS_FILE} in it)")
    run = _read_run(out, truth, columns, radius)
    if not run.scenes and not run.pictures:
        raise InputError(f"{truth}: no field of {out} has such a catalogue, or no row of it lies on one")
    result: dict[str, Any] = {"truth": truth, "confidence": run.confidence, "without_truth": run.without}
    if run.scenes:
        result["catalogue"] = {
            **scores_of(run.scenes, run.confidence, run.calibration_of(run.scenes)),
            "positions": _offsets(run.scenes, run.tables, run.confidence),
            "taken": run.taken,
        }
        classified = _classified(out, list(run.scenes))
        fields = [(table, run.scenes[name].truth) for name, table in classified.items()]
        result["classifiers"] = evaluate_classes(fields, labels)
        result["calls"] = calls(fields)
    if run.pictures:
        scenes = list(run.pictures.values())
        result["pictures"] = {
            "pooled": score_pictures_in_full(scenes, run.confidence, calibration=run.calibration_of(run.pictures)),
            "fields": {name: score_pictures([scene], run.confidence) for name, scene in run.pictures.items()},
        }
    if page:
        write_evaluation(out, result)
    return result


def scores_of(scenes: Mapping[str, Scene], confidence: float, calibration: Calibration | None) -> dict[str, Any]:
    """Scores of fields by name, ``pooled`` and by field (``fields``)."""
    return {
        "pooled": score_in_full(list(scenes.values()), confidence, calibration=calibration),
        "fields": {name: score([scene], confidence) for name, scene in scenes.items()},
    }


def _read_run(out: Path, truth: str, columns: Mapping[str, str], radius: str | None) -> _Run:
    look = cache(_look)
    run = _Run()
    for path in sorted((out / "fields").glob("*/all_detections.parquet")):
        name, table = path.parent.name, read_parquet(path)
        run.confidence = float(table.meta["confidence"])
        run.calibrations[name] = Calibration.from_card(table.meta.get("calibration"))
        found = _truth_file(truth, name, table)
        if found is None:
            run.without.append(name)
            continue
        of_a_picture, empty = look(found)
        if of_a_picture:
            run.pictures[name] = PictureScene(_detections(table), read_reference(found))
            continue
        if found != Path(truth) and empty:  # the field's own, and nothing in it: nothing is there
            scale = table.meta.get("pixel_scale_arcsec")
            run.scenes[name], run.tables[name] = Scene(_detections(table), Sources.none(), _shape(table), scale), table
            continue
        catalogue = catalogue_of_field(found, name, columns=columns, radius=radius)
        try:
            run.scenes[name] = _scene(table, catalogue)
        except NothingHereError:
            run.without.append(name)
            continue
        run.tables[name], run.taken[str(found)] = table, "; ".join(catalogue.notes)
    return run


def _look(path: Path) -> tuple[bool, bool]:
    """Whether a truth is a picture's reference, and whether it has no rows."""
    table = read_table(path)
    return "bright" in table.columns, len(table) == 0


def _classified(out: Path, names: list[str]) -> dict[str, Table]:
    """Each field's catalogue; its rows of the joined one where only that has classes."""
    paths = {name: out / "fields" / name / "catalogue.parquet" for name in names}
    own = {name: read_parquet(path) for name, path in paths.items() if path.exists()}
    joined = out / "catalogue.parquet"
    if any(tasks_of(table.colnames) for table in own.values()) or not joined.exists():
        return own
    table = read_parquet(joined)
    return {name: table[np.asarray(table["field"]) == name] for name in names} if tasks_of(table.colnames) else own


def _truth_file(truth: str, name: str, table: Table) -> Path | None:
    place = Place(name, _shape(table), _wcs(table), table.meta.get("sdss_id", ""))
    source = str(table.meta["source"])
    first = Path(source.split("|", maxsplit=1)[0])
    beside: list[Path] = []
    if not survey_of(source):
        folder = first if first.is_dir() else first.parent
        beside = [folder / truth, folder / f"{name}.{truth}", folder / f"{first.stem}.{truth}"]
    return catalogue_file(truth, place, beside)


def _shape(table: Table) -> tuple[int, int]:
    ny, nx = table.meta["shape"]
    return int(ny), int(nx)


def _scene(table: Table, catalogue: Catalogue) -> Scene:
    shape, scale = _shape(table), table.meta.get("pixel_scale_arcsec")
    return Scene(
        _detections(table), sources_on_field(catalogue, shape, wcs=_wcs(table), pixel_scale=scale), shape, scale
    )


def _wcs(table: Table) -> WCS | None:
    header = table.meta.get("wcs")
    return WCS(fits.Header(header)).celestial if header else None


def _detections(table: Table) -> Detections:
    xyxy = np.stack([np.asarray(table[name]) for name in ("x_min", "y_min", "x_max", "y_max")], axis=1)
    n = len(table)
    zeros = np.zeros(n, np.int64)
    return Detections(xyxy.reshape(n, 4), np.asarray(table["confidence"], np.float64), zeros, zeros)


def _offsets(scenes: dict[str, Scene], tables: dict[str, Table], confidence: float) -> dict[str, float]:
    """Distance on the sky between catalogue positions and those of the matched galaxies."""
    distances = []
    for name, scene in scenes.items():
        table, wcs = tables[name], _wcs(tables[name])
        if wcs is None:
            continue
        kept = np.flatnonzero(scene.detections.confidence >= confidence)
        to = match(scene.detections.centres[kept], scene.truth)
        galaxy = np.append(scene.truth.galaxy & ~scene.truth.ignore, False)  # the last is for -1, no object
        good = galaxy[to]
        there = wcs.pixel_to_world(scene.truth.x[to[good]], scene.truth.y[to[good]]).icrs
        ours = SkyCoord(table["ra"][kept[good]], table["dec"][kept[good]], unit="deg")
        distances.append(ours.separation(there).arcsec)
    offsets = np.concatenate(distances) if distances else np.zeros(0)
    median = float(np.median(offsets)) if len(offsets) else math.nan
    return {"median_arcsec": median, "n": len(offsets)}
