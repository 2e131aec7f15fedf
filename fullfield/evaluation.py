"""A run held against a catalogue of what is there."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from detector.detections import Detections
from detector.evaluate import Scene, match, score
from detector.pictures import PictureScene, read_reference, score_pictures
from fieldprep.catalogues import NO_COLUMNS, NothingHereError, read_table, sources_on_field
from fieldprep.errors import InputError
from fieldprep.surveys.prefix import survey_of
from fullfield.catalogue import read_parquet, write_json
from fullfield.ledger import FIELDS_FILE
from fullfield.truths import Place, catalogue_file, catalogue_of_field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.table import Table

    from fieldprep.catalogues import Catalogue


def evaluate_run(
    out: Path, truth: str, *, columns: Mapping[str, str] = NO_COLUMNS, radius: str | None = None
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

    Returns
    -------
    dict
        ``catalogue``: scores of fields with a catalogue, as `detector.evaluate.score` gives them, pooled and
        by field, and in ``taken`` what was taken for what; ``pictures``: scores of those with a picture's
        reference, likewise; ``without_truth``: names of fields left out, those that no row lies on among them.
        Also written to ``evaluation.json``.

    Raises
    ------
    fieldprep.errors.InputError
        If the folder holds no run, or no field of it has a truth.
    """
    if not (out / FIELDS_FILE).exists():
        raise InputError(f"{out}: not the folder of a run (no {FIELDS_FILE} in it)")
    is_reference = cache(lambda path: "bright" in read_table(path).columns)
    tables: dict[str, Table] = {}
    scenes: dict[str, Scene] = {}
    taken: dict[str, str] = {}
    pictures: dict[str, PictureScene] = {}
    without: list[str] = []
    confidence = math.nan
    for path in sorted((out / "fields").glob("*/all_detections.parquet")):
        name, table = path.parent.name, read_parquet(path)
        confidence = float(table.meta["confidence"])
        found = _truth_file(truth, name, table)
        if found is None:
            without.append(name)
            continue
        if is_reference(found):
            pictures[name] = PictureScene(_detections(table), read_reference(found))
            continue
        catalogue = catalogue_of_field(found, name, columns=columns, radius=radius)
        try:
            scenes[name] = _scene(table, catalogue)
        except NothingHereError:
            without.append(name)
            continue
        tables[name], taken[str(found)] = table, "; ".join(catalogue.notes)
    if not scenes and not pictures:
        raise InputError(f"{truth}: no field of {out} has such a catalogue, or no row of it lies on one")
    result: dict[str, Any] = {"truth": truth, "confidence": confidence, "without_truth": without}
    if scenes:
        result["catalogue"] = {
            "pooled": score(list(scenes.values()), confidence),
            "fields": {name: score([scene], confidence) for name, scene in scenes.items()},
            "positions": _offsets(scenes, tables, confidence),
            "taken": taken,
        }
    if pictures:
        result["pictures"] = {
            "pooled": score_pictures(list(pictures.values()), confidence),
            "fields": {name: score_pictures([scene], confidence) for name, scene in pictures.items()},
        }
    write_json(out / "evaluation.json", _json_safe(result))
    return result


def as_text(result: dict[str, Any]) -> str:
    """
    Scores as a table to read.

    Parameters
    ----------
    result : dict
        As `evaluate_run` gives it.

    Returns
    -------
    str
    """
    lines = []
    if "catalogue" in result:
        scores = result["catalogue"]["pooled"]
        lines += [
            (
                f"{scores['fields']} field(s), {scores['galaxies']} galaxies, {scores['detections']} detections at "
                f"confidence >= {scores['confidence']:g}; 68 % intervals in brackets"
            ),
            "",
            f"{'r <':>5} {'n':>4}  {'completeness':<19} {'purity':<19} {'mean IoU':<19} {'AP50':<19} {'AP50-95':<19}",
        ]
        for limit, row in scores["limits"].items():
            cells = "  ".join(_cell(row[name]) for name in ("completeness", "purity", "mean_iou", "ap50", "ap"))
            lines.append(f"{limit:>5} {row['completeness']['n']:>4}  {cells}")
        apart = scores["unmatched"]
        lines.append(f"\nno object under them: {apart['k']} of {apart['n']} detections, {_cell(apart)}")
        offsets = result["catalogue"]["positions"]
        if offsets["n"]:
            lines.append(
                f'positions: median offset {offsets["median_arcsec"]:.3f}" over {offsets["n"]} matched galaxies'
            )
        # said once for all files that were read in one way
        ways = {notes: path for path, notes in reversed(result["catalogue"]["taken"].items())}
        lines += [f"{path}: {notes}" for notes, path in ways.items()]
    if "pictures" in result:
        scores = result["pictures"]["pooled"]
        lines.append(
            f"\n{scores['fields']} picture(s): "
            f"recall of bright rows {_cell(scores['recall']).strip()} (n {scores['recall']['n']}), "
            f"purity {_cell(scores['purity']).strip()} (n {scores['purity']['n']}), "
            f"{scores['left_out']} detections left out"
        )
    if result["without_truth"]:
        lines.append(f"without a truth, left out: {', '.join(result['without_truth'])}")
    return "\n".join(lines).strip()


def _cell(entry: dict[str, float]) -> str:
    if not entry["n"]:
        return f"{'-':<18}"
    return f"{entry['value']:.3f} [{entry['low']:.3f} {entry['high']:.3f}]"[:19].ljust(18)


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
    shape = _shape(table)
    sources = sources_on_field(catalogue, shape, wcs=_wcs(table), pixel_scale=table.meta.get("pixel_scale_arcsec"))
    return Scene(_detections(table), sources, shape)


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


def _json_safe(value: Any) -> Any:
    """NaN as null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _json_safe(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_json_safe(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
