"""
Trainings of the detector by three sky folds, each scored on the fields it was not trained on.

    python benchmarks/folds.py prepare DATA SIMULATED --out WORK
    python benchmarks/folds.py train DATA --out WORK --line NAME [--fold K] ...
    python benchmarks/folds.py score DATA --out WORK --line NAME ...

DATA holds ``sdss/`` (eight fields, seven with ``catalogue.csv``) and ``hst_jwst/`` (pictures with references);
SIMULATED holds what ``benchmarks/simulations.sh`` renders. A LINE is one of `LINES`: what was changed against the
recipe, in one word.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd

from detector import Detections, Detector
from detector.evaluate import Scene, score
from detector.pictures import PictureScene, read_reference, score_pictures
from fieldprep import Field
from fieldprep.boxes import petrosian_boxes
from fieldprep.catalogues import Sources, read_catalogue, read_table, sources_on_field
from fieldprep.census import census
from fieldprep.training.recipes import RECIPES
from fieldprep.training.trainingsets import join_fields, write_field

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDS = (
    ("001737-5-0039", "001043-5-0025"),
    ("008162-6-0080", "007264-3-0111"),
    ("001035-6-0017", "002820-3-0122", "003184-2-0169"),
)
PICTURES = (
    ("jwst_ceers.png", "jwst_leda2046648.jpg"),
    ("hst_xdf_west.png",),
    ("jwst_rxj2129.jpg", "jwst_sdssj1226_2149.jpg"),
)
STARS_ONLY, TRAINED_COLUMNS = "002583-2-0136", 1024  # M2: its left half is trained on
ZOOMS = (0.7, 1.0, 1.4)  # of the pictures
FAINTEST = 22.0


@dataclass(frozen=True)
class Line:
    """One line of the table of ablations: what is trained on, and what of `detector.train.Training` differs."""

    what: str
    recipe: str = "galaxies-stars"
    shares: dict[str, float] = field(default_factory=lambda: {"real": 1.0})
    training: dict[str, Any] = field(default_factory=dict)
    passes: int = 2400
    start: str = ""  # a line trained before, whose checkpoint of the same fold this one starts from


FULL = {"real": 0.45, "injected": 0.25, "simulated": 0.2, "space": 0.1}
LINES = {
    "plain": Line("stars as background, confidence = overlap", "galaxies", training={"whole_confidence": False}),
    "stars": Line("stars as a class", training={"whole_confidence": False}),
    "whole": Line("and confidence = a galaxy is here"),
    "whole1": Line("stars as background, confidence = a galaxy is here", "galaxies"),
    "N": Line(
        "and no picture but N",
        training={"variant_weights": {"N": 1.0, **dict.fromkeys(("L", "LH", "S", "SH", "Q"), 0.0)}},
    ),
    "injected": Line("and injections", shares={"real": 0.6, "injected": 0.4}),
    "simulated": Line("and simulated fields", shares={"real": 0.5, "injected": 0.3, "simulated": 0.2}),
    "space": Line("and HST and JWST pictures", shares=FULL),
    "zoom": Line("and zoomed by up to 30 %", shares=FULL, training={"settings": {"scale": 0.3}}),
}


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("prepare", "train", "score"))
    parser.add_argument("data", type=Path)
    parser.add_argument("simulated", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--line", action="append", default=[])
    parser.add_argument("--fold", type=int, action="append", default=[])
    arguments = parser.parse_args()
    if arguments.do == "prepare":
        for recipe in ("galaxies-stars", "galaxies"):
            prepare(arguments.data, arguments.simulated, arguments.out, recipe)
    for line in arguments.line:
        for fold in arguments.fold or range(len(FOLDS)):
            if arguments.do == "train":
                train_fold(arguments.out, line, fold)
                detect_fold(arguments.data, arguments.out, line, fold)
        print(line, json.dumps(summary(arguments.data, arguments.out, line)))


def prepare(data: Path, simulated: Path, out: Path, recipe_name: str) -> None:
    """Write every field once, and join them to the sets of each fold."""
    recipe = replace(RECIPES[recipe_name], faintest=FAINTEST)
    only_n = replace(recipe, variants=("N",))
    fields = out / "fields" / recipe_name
    for kind, name, field_, sources in _fields(data, simulated):
        folder = fields / kind / name
        if folder.exists():
            continue
        folder.mkdir(parents=True)
        write_field(replace(field_, name=name), sources, recipe if kind == "real" else only_n, folder)
    for fold, held in enumerate(FOLDS):
        sets = out / "sets" / recipe_name / str(fold)
        real = sorted((fields / "real").iterdir())
        halves = [(folder, "val" if folder.name in held else "train") for folder in real]
        join_fields(halves, sets / "real", recipe)
        injected = [f for f in sorted((fields / "injected").iterdir()) if f.name[:13] not in held]
        join_fields([(folder, "train") for folder in injected], sets / "injected", only_n)
        join_fields(
            [(folder, "train") for folder in sorted((fields / "simulated").iterdir())], sets / "simulated", only_n
        )
        left_out = {Path(name).stem for name in PICTURES[fold]}
        space = [f for f in sorted((fields / "space").iterdir()) if f.name.rpartition("_")[0] not in left_out]
        join_fields([(folder, "train") for folder in space], sets / "space", only_n)


def _fields(data: Path, simulated: Path) -> Iterator[tuple[str, str, Field, Sources]]:
    for folder in sorted((data / "sdss").iterdir()):
        if folder.name == STARS_ONLY:
            field_ = half_of_m2(Field.read(folder))
            yield "real", folder.name, field_, stars_of(field_)
        else:
            yield "real", folder.name, *with_truth(folder)
    for folder in sorted((simulated / "inj").glob("*/*")):
        yield "injected", folder.name, *with_truth(folder)
    for folder in sorted((simulated / "sim").glob("*/*")):
        yield "simulated", folder.name, *with_truth(folder)
    for name in (name for names in PICTURES for name in names):
        for zoom in ZOOMS:
            yield (
                "space",
                f"{Path(name).stem}_{zoom:g}".replace(".", "p"),
                *picture_with_truth(data / "hst_jwst" / name, zoom),
            )


def with_truth(folder: Path) -> tuple[Field, Sources]:
    """Field of a folder, and what its ``catalogue.csv`` has on it."""
    field_ = Field.read(folder)
    catalogue = read_catalogue(folder / "catalogue.csv")
    return field_, sources_on_field(catalogue, field_.shape, wcs=field_.wcs, pixel_scale=field_.pixel_scale)


def half_of_m2(field_: Field) -> Field:
    """Part of the globular cluster's field that is trained on."""
    part = slice(0, TRAINED_COLUMNS)
    bands = {band: np.ascontiguousarray(image[:, part]) for band, image in field_.bands.items()}
    return replace(field_, bands=bands, noise={}, mask=np.ascontiguousarray(field_.mask[:, part]), wcs=None)


def stars_of(field_: Field) -> Sources:
    """Everything SEP sees in a field of nothing but stars, each as large as the point spread function."""
    found = census(field_.bands["r"])
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = 22.5 - 2.5 * np.log10(found.flux)
    kept = magnitude < FAINTEST
    n = int(kept.sum())
    radius = np.full(n, 2.1 * found.stellar)  # Petrosian over half-light radius of the simulated point spread functions
    x, y, ones = found.x[kept], found.y[kept], np.ones(n)
    none = np.zeros(n, np.bool_)
    boxes = petrosian_boxes(x, y, radius, ones, 0 * ones)
    return Sources(x, y, boxes, none, magnitude[kept], none, radius, pd.DataFrame(index=range(n)))


def picture_with_truth(path: Path, zoom: float) -> tuple[Field, Sources]:
    """Picture enlarged by a factor, and the rows of its reference; circles left out are black."""
    field_ = Field.read(path)
    table = read_table(path.parent / f"{path.stem}.reference.csv")
    rows = table[["x", "y", "x_min", "y_min", "x_max", "y_max"]].to_numpy(np.float64)
    ignore = table["ignore"].to_numpy() != 0
    circles = read_table(path.parent / f"{path.stem}.ignore.csv")[["x", "y", "radius"]].to_numpy(np.float64)
    boxes = np.concatenate(
        [
            rows[:, 2:],
            np.stack(
                [
                    circles[:, 0] - circles[:, 2],
                    circles[:, 1] - circles[:, 2],
                    circles[:, 0] + circles[:, 2],
                    circles[:, 1] + circles[:, 2],
                ],
                axis=1,
            ),
        ]
    )
    xy = np.concatenate([rows[:, :2], circles[:, :2]])
    ignore = np.concatenate([ignore, np.ones(len(circles), np.bool_)])
    size = (round(field_.shape[1] * zoom), round(field_.shape[0] * zoom))
    way = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    bands = {band: cv2.resize(image, size, interpolation=way) for band, image in field_.bands.items()}
    mask = cv2.resize(field_.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    n = len(xy)
    sources = Sources(
        (xy[:, 0] + 0.5) * zoom - 0.5,
        (xy[:, 1] + 0.5) * zoom - 0.5,
        np.clip((boxes + 0.5) * zoom - 0.5, -0.5, np.array([*size, *size]) - 0.5),
        np.ones(n, np.bool_),
        np.full(n, np.nan),
        ignore,
        (boxes[:, 2] - boxes[:, 0]) / 2 * zoom,
        pd.DataFrame(index=range(n)),
    )
    return replace(field_, bands=bands, mask=mask, noise={}), sources


def train_fold(out: Path, name: str, fold: int) -> None:
    """Train a line on a fold, if that is not done."""
    from detector.train import Training, train_and_export  # noqa: PLC0415 -- scoring needs no torch

    line, folder = LINES[name], out / "lines" / name / str(fold)
    if list(folder.glob("*.onnx")):
        return
    sets = [out / "sets" / line.recipe / str(fold) / kind for kind in line.shares]
    start = {"network": str(out / "lines" / line.start / str(fold) / "weights" / "last.pt")} if line.start else {}
    training = Training(passes=line.passes, shares=tuple(line.shares.values()), **{**start, **line.training})
    train_and_export(sets, folder, training)


def detect_fold(data: Path, out: Path, name: str, fold: int) -> None:
    """Detect in what the fold was not trained on, and keep what was found."""
    folder = out / "lines" / name / str(fold)
    detector = Detector.load(next(folder.glob("*.onnx")))
    for held in FOLDS[fold]:
        _keep(detector.detect(Field.read(data / "sdss" / held)), folder / f"{held}.npz")
    for held in PICTURES[fold]:
        _keep(detector.detect(Field.read(data / "hst_jwst" / held)), folder / f"{Path(held).stem}.npz")
    _keep(detector.detect(Field.read(data / "sdss" / STARS_ONLY)), folder / f"{STARS_ONLY}.npz")


def _keep(found: Detections, path: Path) -> None:
    np.savez_compressed(path, xyxy=found.xyxy, confidence=found.confidence, class_id=found.class_id, flags=found.flags)


def kept(path: Path) -> Detections:
    """Galaxies among detections that were kept."""
    content = np.load(path)
    galaxy = content["class_id"] == 0
    return Detections(*(content[name][galaxy] for name in ("xyxy", "confidence", "class_id", "flags")))


def summary(data: Path, out: Path, name: str) -> dict[str, Any]:
    """Scores pooled over the folds, each at the threshold that serves the other folds best."""
    scenes: list[list[Scene]] = []
    pictures: list[list[PictureScene]] = []
    stars = []
    for fold, held in enumerate(FOLDS):
        folder = out / "lines" / name / str(fold)
        if not (folder / f"{STARS_ONLY}.npz").exists():
            continue
        scenes.append([Scene(kept(folder / f"{h}.npz"), *truth_of(data, h)) for h in held])
        pictures.append(
            [
                PictureScene(
                    kept(folder / f"{Path(h).stem}.npz"),
                    read_reference(data / "hst_jwst" / f"{Path(h).stem}.reference.csv"),
                )
                for h in PICTURES[fold]
            ]
        )
        stars.append(kept(folder / f"{STARS_ONLY}.npz"))
    pooled = [scene for fold in scenes for scene in fold]
    best, result = -1.0, {}
    for threshold in np.arange(0.1, 0.8, 0.02):
        row = score(pooled, float(threshold), limits=(20, 21), ap=False)["limits"]
        values = [row[m][k]["value"] for m in ("20", "21") for k in ("completeness", "purity")]
        if sum(values) > best:
            best, chosen = sum(values), float(threshold)
            result = {"threshold": round(chosen, 2), "C20 P20 C21 P21": [round(v, 3) for v in values]}
    full = score(pooled, chosen, limits=(19, 20.5, 21))
    result["C19 P19"] = [round(full["limits"]["19"][k]["value"], 3) for k in ("completeness", "purity")]
    result["iou"] = round(full["limits"]["20.5"]["mean_iou"]["value"], 3)
    result["ap50"] = [round(full["limits"][m]["ap50"]["value"], 3) for m in ("20.5", "21")]
    result["ap"] = round(full["limits"]["21"]["ap"]["value"], 3)
    result["nothing"] = round(full["unmatched"]["value"], 3)
    result["m2"] = [int(((s.confidence >= chosen) & (s.centres[:, 0] >= TRAINED_COLUMNS)).sum()) for s in stars]
    for kind, chosen_pictures in (
        ("hst", [p for k, f in enumerate(pictures) for p in f if k == 1]),
        ("jwst", [p for k, f in enumerate(pictures) for p in f if k != 1]),
    ):
        if not chosen_pictures:
            continue
        rows = [(t, score_pictures(chosen_pictures, t)) for t in (chosen, 0.1, 0.2, 0.3, 0.4, 0.5)]
        result[kind] = [(round(t, 2), round(r["recall"]["value"], 2), round(r["purity"]["value"], 2)) for t, r in rows]
    return result


@cache
def truth_of(data: Path, name: str) -> tuple[Sources, tuple[int, int]]:
    """What is known to be on a field, and its shape."""
    field_, sources = with_truth(data / "sdss" / name)
    return sources, field_.shape


if __name__ == "__main__":
    main()
