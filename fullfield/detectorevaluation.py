"""A detector held against fields with catalogues, or against the validation half of a training set, tile by tile."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from detector.cards import Card
from detector.detect import FLOOR
from detector.evaluate import Scene, score, score_in_full
from fieldprep.boxes import SEMI_MAJOR, clip_boxes, read_coco
from fieldprep.catalogues import NO_COLUMNS, Sources
from fieldprep.errors import InputError, one_line
from fieldprep.resources import weights_path
from fieldprep.training.records import OBJECTS_FILE
from fieldprep.training.splits import VALIDATION
from fullfield.batch import run
from fullfield.evaluation import evaluate_run
from fullfield.evaluationreport import write_evaluation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from detector.detect import Detector
    from fullfield.pipeline import Outcome, Request

_TILE = re.compile(r"^(?P<field>.+)-(?P<variant>[A-Z]+)-(?P<x0>\d+)-(?P<y0>\d+)$")
_SAME_BOX_PX = 0.01


def evaluate_fields(
    data: Path,
    request: Request,
    truth: str,
    *,
    out: Path | None = None,
    columns: Mapping[str, str] = NO_COLUMNS,
    radius: str | None = None,
    workers: int = 1,
    progress: Callable[[Outcome | None, int], None] = lambda _outcome, _total: None,
) -> tuple[dict[str, Any], list[Outcome]]:
    """
    Run a detector on fields and score it, as ``fullfield run`` and ``fullfield evaluate run`` do.

    Parameters
    ----------
    data : path
        A field, or a folder of fields.
    request : Request
        The detector, and how it is run.
    truth, columns, radius
        As of `fullfield.evaluation.evaluate_run`.
    out : path, optional
        Folder for the run and the page; nothing is kept if not given.
    workers, progress
        As of `fullfield.batch.run`.

    Returns
    -------
    dict
        As `fullfield.evaluation.evaluate_run` gives it.
    list of Outcome
        The fields that failed.

    Raises
    ------
    fieldprep.errors.InputError
        If no field could be run, or none has a truth.
    fieldprep.errors.UsageError
        If ``out`` holds a run with other options.
    """
    with TemporaryDirectory() as nowhere:
        folder = out or Path(nowhere)
        summary = run([str(data)], folder, request, workers=workers, progress=progress)
        if not summary.done + summary.skipped:
            raise InputError(summary.failures[0].error)
        result = evaluate_run(folder, truth, columns=columns, radius=radius, page=out is not None)
    return {**result, "detector": Card.beside(weights_path(request.detector)).name}, summary.failures


def annotations_of(data: Path) -> Path:
    """Where a training set keeps what is in its validation pictures."""
    return data / "annotations" / f"{VALIDATION}.json"


def evaluate_validation(
    data: Path, detector: Detector, *, confidence: float | None = None, out: Path | None = None
) -> dict[str, Any]:
    """
    Score a detector on the validation pictures of a training set.

    Parameters
    ----------
    data : path
        The set, as ``fullfield prepare`` writes it. Crowds in its annotations are ignored, and black in its pictures.
    detector : Detector
        The detector; where the set holds pictures of its card's variant, these alone are scored.
    confidence : float, optional
        Threshold; the card's if not given.
    out : path, optional
        Where to write page, plots and JSON.

    Returns
    -------
    dict
        As `fullfield.evaluation.evaluate_run` gives it, ``fields`` by the fields that the tiles are of. An object in
        the overlap of two tiles counts in both.

    Raises
    ------
    fieldprep.errors.InputError
        If the set or one of its pictures cannot be read.
    """
    path = annotations_of(data)
    try:
        known = read_coco(path)
        classes = [entry["name"] for entry in json.loads(path.read_text())["categories"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a COCO file ({one_line(error)}); fullfield prepare writes one") from error
    chosen = _of_variant(list(known), detector.card.variant)
    if not chosen:
        raise InputError(f"{path}: no picture in it")
    magnitudes = _Magnitudes(data)
    fields: dict[str, list[Scene]] = {}
    for name in chosen:
        scene = _scene(data / "images" / VALIDATION / name, known[name], classes, detector, magnitudes)
        fields.setdefault(_parts(name).get("field", name), []).append(scene)
    threshold = detector.card.confidence if confidence is None else confidence
    scenes = [scene for some in fields.values() for scene in some]
    result = {
        "truth": str(path),
        "detector": detector.card.name,
        "confidence": threshold,
        "without_truth": [],
        "notes": [
            (
                f"{len(scenes)} validation pictures of {len(fields)} field(s), scored one by one: an object where two "
                "overlap counts in both."
                + ("" if "star" in classes else " There are no stars among the labels: purity does not tell of them.")
            )
        ],
        "catalogue": {
            "pooled": score_in_full(scenes, threshold, calibration=detector.card.calibration_of(display=False)),
            "fields": {name: score(some, threshold) for name, some in fields.items()},
            "positions": {"n": 0},
            "taken": {},
        },
    }
    if out is not None:
        write_evaluation(out, result)
    return result


class _Magnitudes:
    """Magnitudes of labels, which the annotations do not hold, from the set's table of objects by their boxes."""

    def __init__(self, data: Path) -> None:
        path = data / OBJECTS_FILE
        table = pd.read_parquet(path) if path.is_file() else pd.DataFrame({"field": []})
        self.fields = {str(name): rows for name, rows in table.groupby("field")}

    def of(self, name: str, xyxy: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
        """Give the r magnitude of each box of a picture, NaN where it is not known."""
        tile = _parts(name)
        rows = self.fields.get(tile.get("field", ""))
        if rows is None or len(xyxy) == 0:
            return np.full(len(xyxy), np.nan)
        corner = np.tile([float(tile["x0"]), float(tile["y0"])], 2)
        boxes = clip_boxes(rows[["x_min", "y_min", "x_max", "y_max"]].to_numpy(np.float64) - corner, shape)
        distance, nearest = cKDTree(boxes).query(xyxy)
        return np.where(distance < _SAME_BOX_PX, rows["magnitude"].to_numpy(np.float64)[nearest], np.nan)


def _scene(
    path: Path,
    known: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.bool_]],
    classes: Sequence[str],
    detector: Detector,
    magnitudes: _Magnitudes,
) -> Scene:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path}: no readable picture, but the annotations name it; prepare the set again")
    shape = image.shape[0], image.shape[1]
    found = detector.detect_picture(
        np.ascontiguousarray(image[..., ::-1], np.uint8), np.zeros(shape, np.bool_), confidence=FLOOR
    )
    xyxy, class_id, ignore = known
    names = np.array(classes)[class_id]
    truth = Sources(
        x=(xyxy[:, 0] + xyxy[:, 2]) / 2,
        y=(xyxy[:, 1] + xyxy[:, 3]) / 2,
        xyxy=xyxy,
        galaxy=np.asarray(names != "star", np.bool_),
        magnitude=magnitudes.of(path.name, xyxy, shape),
        ignore=ignore,
        radius=(xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, initial=0) / 2 / SEMI_MAJOR,
        rows=pd.DataFrame({"class_name": names}),
    )
    return Scene(found, truth, shape)


def _of_variant(names: Sequence[str], variant: str) -> list[str]:
    own = [name for name in names if _parts(name).get("variant") == variant]
    return own or list(names)


def _parts(name: str) -> dict[str, str]:
    """Field, variant and corner of a tile from its file's name; none for another's file."""
    found = _TILE.match(name.rsplit(".", 1)[0])
    return found.groupdict() if found else {}
