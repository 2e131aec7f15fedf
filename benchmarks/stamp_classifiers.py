"""
Train a stamp classifier by folds of sky, for its figures, and on all of them, for the file that ships.

    python benchmarks/stamp_classifiers.py star_galaxy SET... --out WORK
    python benchmarks/stamp_classifiers.py real_bogus SET... --out WORK

SET is what `classifiers.stampsets.read_stamps` takes: what `benchmarks/stampsets.py` wrote, or a table of labels with
its images. Fields and patches of sky are dealt out to folds, all copies of a field to one. Every stamp is classified by
the network that saw nothing of its fold: ``WORK/found.parquet``. No epoch is picked by what is left out. The
temperature is fitted to all of these together; the last network, which ships, has it too. A training that was stopped
is gone on with.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from classifiers.classify import Classifier, probabilities
from classifiers.export import export_classifier, fit_temperature
from classifiers.splits import folds
from classifiers.stampsets import StampSet, read_stamps
from classifiers.tasks import Task
from classifiers.train import train_stamps
from fieldprep.cores import cores

if TYPE_CHECKING:
    import numpy.typing as npt

ALL = -1
COPY = r"^(\d{6}-\d-\d{4})-.*$"  # of a real field, injected into


def main() -> None:
    """Train what is not trained, export, and write what each fold's network says of what it did not see."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    task = Task.read(arguments.task)
    stamps = together([(path.resolve().name, read_stamps(path).of_task(task)) for path in arguments.sets])
    part = folds(stamps.labels, stamps.groups, arguments.folds)
    logits = np.zeros((len(stamps), 1, len(task.classes)))
    for fold in range(arguments.folds):
        folder, left = arguments.out / str(fold), part == fold
        checkpoint = trained(task, stamps, part, fold, folder)
        path = export_classifier([checkpoint], folder / f"{task.name}.onnx")
        logits[left] = Classifier.load(path).logits(stamps.select(left).stamps)
    found = probabilities(logits, task.activation).mean(axis=1)
    temperature = fit_temperature(logits, task.numbers_of(stamps.labels), task.activation)
    table = stamps.rows.assign(name=stamps.names, group=stamps.groups, truth=stamps.labels, fold=part)
    for k, name in enumerate(task.classes):
        table[f"p_{name}"] = found[:, k]
    table.to_parquet(arguments.out / "found.parquet")
    about = {
        "about": task.about,
        "stamps": {
            f"{where} {label}": int(count)
            for (where, label), count in table.groupby(["set", "truth"]).size().to_dict().items()
        },
        "fields and patches of sky": len(np.unique(stamps.groups)),
        "recipe": task.as_table()["recipe"],
    }
    print(
        f"temperature {temperature:.3f}; accuracy {(found.argmax(axis=1) == task.numbers_of(stamps.labels)).mean():.4f}"
    )
    checkpoint = trained(task, stamps, part, ALL, arguments.out / "all")
    export_classifier([checkpoint], arguments.out / f"{task.name}.onnx", temperature=temperature, training=about)


def trained(task: Task, stamps: StampSet, part: npt.NDArray[np.int64], fold: int, folder: Path) -> Path:
    """Checkpoint of the network that saw all folds but one, or `ALL` (its log is then of stamps that it saw)."""
    last = folder / "last.ckpt"
    if not (folder / "done").exists():
        left = part == fold
        logged = stamps.select(part == 0 if fold == ALL else left)
        last = train_stamps(task, stamps.select(~left), logged, folder, resume=last.exists())
        (folder / "done").touch()
    return last


def together(sets: list[tuple[str, StampSet]]) -> StampSet:
    """Stamps of several sets, their rows with ``set``; copies of a field are one group."""
    rows = pd.concat([one.rows.assign(set=name) for name, one in sets], ignore_index=True)
    groups = pd.Series(np.concatenate([one.groups for _, one in sets])).str.replace(COPY, r"\1", regex=True)
    return StampSet(
        [stamp for _, one in sets for stamp in one.stamps],
        np.concatenate([one.labels for _, one in sets]),
        groups.to_numpy(np.str_),
        np.concatenate([one.names for _, one in sets]),
        rows,
    )


if __name__ == "__main__":
    main()
