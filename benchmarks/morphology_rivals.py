"""
Galaxy Zoo 2's five clean classes by other networks than ours, on the same galaxies and folds.

    python benchmarks/morphology_rivals.py DATA/gz2 --out WORK [--only NAME]... [--fold K]... [--share S]...

Each network says what the galaxies of the folds that are named are (by default all five), trained on the others, or,
with ``--share``, on a random part of them: how it gets better with more. Splits are by galaxy, no epoch is picked by
what is left out. Recipes are those of the papers where they have one (`classifiers/recipes`), else ours. What was
stopped is gone on with; what is found is kept in ``WORK``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from classifiers.classify import Classifier
from classifiers.export import export_classifier
from classifiers.metrics import classification_scores
from classifiers.networks import network_of, parameters
from classifiers.splits import folds
from classifiers.stampsets import read_stamps
from classifiers.tasks import Task
from classifiers.train import train_stamps
from fieldprep.cores import cores

if TYPE_CHECKING:
    import numpy.typing as npt

    from classifiers.stampsets import StampSet

    Floats = npt.NDArray[np.float64]

FOLDS = 5
CLEAN = ("smooth_round", "smooth_inbetween", "smooth_cigar", "edge_on", "spiral")
MEASURES = ("accuracy", "balanced_accuracy", "macro_f1")


def rivals() -> dict[str, Task]:
    """Tasks by their name in the table."""
    ours = Task.read("morphology")
    ours = replace(ours, classes=CLEAN, labels={name: name for name in CLEAN})
    convnet = replace(Task.read("galaxy10"), classes=CLEAN, portrait=ours.portrait)
    layered = Task.read("morphology_layered")
    return {
        "ours": ours,
        "the ConvNet for Galaxy10": convnet,
        "layered ConvNets": layered,
        "ours, layered": replace(ours, layers=layered.layers, network="compact", unweighted=False),
        "ours with mixup": replace(ours, recipe=replace(ours.recipe, mixup=0.2)),
        "ResNet-18": replace(ours, network="timm:resnet18"),
        "EfficientNet-B0": replace(ours, network="efficientnet_b0"),
        "smooth or featured": Task.read("smooth_featured"),
    }


def main() -> None:
    """Train what is not trained, then write the table."""
    known = rivals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=list(known))
    parser.add_argument("--fold", type=int, action="append", choices=range(FOLDS))
    parser.add_argument("--share", type=float, action="append")
    parser.add_argument("--epochs", type=int, help="others than the recipe's")
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    print("| network | parameters | trained on | " + " | ".join(MEASURES) + " | n | CPU ms a picture and epoch |")
    print("|" + "---|" * (len(MEASURES) + 5))
    for name in arguments.only or list(known):
        task = known[name]
        if arguments.epochs:
            task = replace(task, recipe=task.recipe.lasting(arguments.epochs))
        stamps = read_stamps(arguments.data, centre=task.centre)
        part = folds(stamps.labels, stamps.groups, FOLDS)
        for share in arguments.share or [1.0]:
            chosen = arguments.fold or list(range(FOLDS))
            print(row(name, task, stamps.of_task(task), part, chosen, share, arguments.out), flush=True)


def row(
    name: str, task: Task, stamps: StampSet, part: npt.NDArray[np.int64], chosen: list[int], share: float, out: Path
) -> str:
    """Line of the table."""
    true, found, took, numbers = [], [], [], []
    for fold in chosen:
        left = stamps.select(part == fold)
        seen = np.flatnonzero(part != fold)
        seen = np.sort(np.random.default_rng(fold).permutation(seen)[: round(share * len(seen))])
        folder = out / name.replace(" ", "_") / f"{fold}-{share:g}"
        probabilities, milliseconds = _kept(folder, task, stamps.select(seen), left)
        true.append(left.labels)
        found.append(probabilities)
        took.append(milliseconds)
        numbers.append(len(seen))
    p = np.concatenate(found)
    given = np.array(task.classes)[p.argmax(axis=1)]
    scores = classification_scores(np.concatenate(true), given, task.classes, p)
    cells = [f"{scores[key]['value']:.3f} ({scores[key]['low']:.3f}-{scores[key]['high']:.3f})" for key in MEASURES]
    counts = [name, str(parameters(network_of(replace(task, pretrained=False)))), f"{np.mean(numbers):.0f}"]
    return "| " + " | ".join([*counts, *cells, str(scores["n"]), f"{np.mean(took):.1f}"]) + " |"


def _kept(folder: Path, task: Task, seen: StampSet, left: StampSet) -> tuple[Floats, float]:
    """Probabilities of what is left out, shape (N, K), and milliseconds of processor time a picture and epoch."""
    path = folder / "found.npz"
    if not path.exists():
        started: Any = time.process_time()
        last = train_stamps(task, seen, left, folder, resume=(folder / "last.ckpt").exists())
        took = (time.process_time() - started) * 1e3 / (task.recipe.epochs * len(seen))
        classifier = Classifier.load(export_classifier([last], folder / f"{task.name}.onnx"))
        np.savez_compressed(path, found=classifier.predict(left.stamps), took=took)
    with np.load(path) as content:
        return np.asarray(content["found"], np.float64), float(content["took"])


if __name__ == "__main__":
    main()
