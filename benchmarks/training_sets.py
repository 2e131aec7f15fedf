"""
AstroCV's training sets T1 to T6 at our scale, and what the noise-tied picture N adds to them.

    python benchmarks/training_sets.py DATA --out WORK [--sets T1,T4] [--seeds 0,1] [--report]

DATA holds ``sdss/`` (fields with ``catalogue.csv``) and ``hst_jwst/`` (pictures with references). Two SDSS fields are
kept for validation; S2 is the other five, S1 three of them. Each set trains one network of its own from scratch for
1,500 passes of 640 px tiles, all its pictures alike, with ultralytics' own loss; a checkpoint every 250 passes is
exported and scored, in SDSS and on the pictures. What is there already is not done again, so a run that was stopped
goes on; ``--report`` only writes ``training_sets.md``, ``.json`` and ``.png`` of what there is.

Against the recipes: tiles at full resolution, where AstroCV trained on fields shrunk to 1024 px; no votes, so that of
the five classes taught only Unknown ever occurs; and every catalogued galaxy over 22 px is labelled, not only those
bright enough for Galaxy Zoo.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from training_sets_scores import (
    AS_IT_IS,
    CONFIDENCE,
    HELD,
    PICTURES,
    SHOWN,
    plot,
    scores,
    tables,
    with_truth,
)

from detector import Detections, Detector
from detector.cards import Card
from detector.detect import FLOOR
from fieldprep import Field
from fieldprep.cards import sha256
from fieldprep.network import load_network
from fieldprep.training.recipes import RECIPES, S1_SHARE, Recipe
from fieldprep.training.records import replace_folder
from fieldprep.training.splits import drawn_part
from fieldprep.training.trainingsets import join_fields, write_field
from fieldprep.variants import picture, rgb_flux

if TYPE_CHECKING:
    from fieldprep.variants import Picture

PASSES, EVERY = 1500, 250
STARS_ONLY = "002583-2-0136"

TILED = {
    # the validation half is only what ultralytics' log ends in: one picture is enough
    name: replace(RECIPES[name], tile=640, overlap=160, all_validated=False)
    for name in ("T1", "T2", "T3", "T4", "T5", "T6")
}
EVERYTHING = replace(TILED["T4"], name="T4+N", variants=SHOWN)
SETS: dict[str, Recipe] = {**TILED, "N": replace(TILED["T3"], name="N", variants=("N",)), "T4+N": EVERYTHING}


@dataclass(frozen=True)
class Work:
    """Where the data are and where results go."""

    data: Path
    out: Path

    def run(self, name: str, seed: int) -> Path:
        """Folder of one training."""
        return self.out / "runs" / f"{folder_name(name)}-{seed}"


def main() -> None:
    """Prepare, train and score what is missing, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    work = Work(arguments.data, arguments.out.resolve())
    if not arguments.report:
        prepare(work)
        runs = [(name, int(seed)) for seed in arguments.seeds.split(",") for name in arguments.sets.split(",")]
        for name, seed in runs:
            train(work, name, seed)
            look(work, name, seed, PASSES)
        for name, seed in runs:
            for passes in range(EVERY, PASSES, EVERY):
                look(work, name, seed, passes)
    report(work)


def prepare(work: Work) -> None:
    """Write every field once in all pictures, and join them to the sets."""
    for folder in sorted((work.data / "sdss").iterdir()):
        final, partial = work.out / "fields" / folder.name, work.out / "fields" / f".{folder.name}"
        if folder.name == STARS_ONLY or final.exists():
            continue
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_field(*with_truth(folder), EVERYTHING, partial)
        partial.rename(final)
    for name, recipe in SETS.items():
        final, partial = work.out / "sets" / name, work.out / "sets" / f".{name}"
        if not final.exists():
            shutil.rmtree(partial, ignore_errors=True)
            halves = [*((field, "train") for field in trained_on(work, recipe)), *((field, "val") for field in HELD)]
            counts = join_fields([(work.out / "fields" / field, half) for field, half in halves], partial, recipe)
            (partial / "counts.json").write_text(json.dumps(counts))
            replace_folder(partial, final)


def trained_on(work: Work, recipe: Recipe) -> list[str]:
    """Names of the fields of S1 or S2."""
    names = sorted(path.name for path in (work.out / "fields").iterdir() if path.name not in HELD)
    return sorted(drawn_part(names, S1_SHARE, 0)) if recipe.part == "S1" else names


def train(work: Work, name: str, seed: int) -> None:
    """Train a set, from its beginning if it was stopped; a checkpoint every 250 passes."""
    from detector import train as training  # noqa: PLC0415 -- reporting needs no torch

    folder = work.run(name, seed)
    if (folder / "done").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    training.PASSES_PER_EPOCH = EVERY
    how = training.Training(
        passes=PASSES,
        seed=seed,
        variant_weights={},
        large_weight=1.0,
        one_band=0.0,
        whole_confidence=False,
        settings={"save_period": 1, "val": False},
    )
    training.train([work.out / "sets" / name], folder, how)
    (folder / "done").touch()


def look(work: Work, name: str, seed: int, passes: int) -> None:
    """Export a checkpoint and keep what it finds; the last one looks longer and at every picture, not only its own."""
    from detector.export import export  # noqa: PLC0415 -- needs torch

    folder, recipe = work.run(name, seed), SETS[name]
    path = folder / f"found-{passes}.npz"
    if path.exists():
        return
    weights = export(folder / "weights" / f"epoch{passes // EVERY - 1}.pt", folder / f"{passes}.onnx")
    card = Card(name, "detect", "yolo11n", recipe.classes, recipe.variants[0], 32, CONFIDENCE, sha256(weights))
    detector = Detector(load_network(weights), card)
    last, found = passes == PASSES, {}
    for image, view in shown_at(recipe, last=last):
        boxes = detector.detect_picture(*shown_as(work, image, view), confidence=FLOOR if last else CONFIDENCE)
        found[f"{image}/{view}"] = np.column_stack([boxes.xyxy, boxes.confidence])
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, **found)
    partial.rename(path)


def shown_at(recipe: Recipe, *, last: bool) -> list[tuple[str, str]]:
    """Images, and the pictures of them, that a checkpoint looks at; those of one size one after another."""
    own = [recipe.variants[0], *(["N"] if "N" in recipe.variants[1:] else [])]
    away = [AS_IT_IS, *(["N"] if "N" in recipe.variants or last else [])]
    images = [name for names in PICTURES.values() for name in names]
    return [(field, view) for field in HELD for view in (SHOWN if last else own)] + [
        (image, view) for image in images for view in away
    ]


@cache
def shown_as(work: Work, image: str, view: str) -> tuple[Picture, Any]:
    """Picture (ny, nx, 3) of an image, and its mask (ny, nx)."""
    field = with_truth(work.data / "sdss" / image)[0] if image in HELD else Field.read(work.data / "hst_jwst" / image)
    if view == AS_IT_IS:
        return np.clip(np.nan_to_num(rgb_flux(field)), 0, 255).astype(np.uint8), field.mask
    return picture(field, view), field.mask


def detections(path: Path) -> dict[str, Detections]:
    """What a checkpoint found, by ``IMAGE/VIEW``."""
    kept = {}
    for key, rows in np.load(path).items():
        none = np.zeros(len(rows), np.int64)
        kept[key] = Detections(rows[:, :4], rows[:, 4], none, none)
    return kept


def report(work: Work) -> None:
    """Write the tables, all scores as JSON, and the plot, of what there is."""
    rows: list[dict[str, Any]] = []
    for name, recipe in SETS.items():
        counts = json.loads((work.out / "sets" / name / "counts.json").read_text())
        for folder in sorted((work.out / "runs").glob(f"{folder_name(name)}-*")):
            row = {"set": name, "seed": int(folder.name.rpartition("-")[2]), "variants": recipe.variants}
            row |= {"fields": trained_on(work, recipe), **counts, "scores": {}}
            for passes in range(EVERY, PASSES + 1, EVERY):
                if (folder / f"found-{passes}.npz").exists():
                    row["scores"][passes] = scores(work.data, detections(folder / f"found-{passes}.npz"))
            rows += [row] if row["scores"] else []
    (work.out / "training_sets.json").write_text(json.dumps(rows, indent=1))
    text = tables([row for row in rows if PASSES in row["scores"]], PASSES)
    (work.out / "training_sets.md").write_text(text)
    plot(rows, work.out / "training_sets.png")
    print(text)


def folder_name(name: str) -> str:
    """Name of a set as a part of a folder's."""
    return name.replace("+", "")


if __name__ == "__main__":
    main()
