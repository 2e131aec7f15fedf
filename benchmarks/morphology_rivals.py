"""
Galaxy Zoo 2's five clean classes by other networks than what ships, on the same galaxies and folds.

    python benchmarks/morphology_rivals.py DATA/gz2 --out WORK [--only NAME]... [--folds 5] [--repeats 1]
    python benchmarks/morphology_rivals.py DATA/gz2 --out WORK --only "the ConvNet for Galaxy10" --denoise
    python benchmarks/morphology_rivals.py DATA/gz2 --out WORK --only ResNet-18 --share 0.1 --share 0.3 --share 1

Each network says what the galaxies of each fold are (of ``--only-fold K`` alone, where it is given), trained on the
others, or, with ``--share``, on a random part of them: how it gets better with more. ``--repeats`` deals them out
anew, with other weights; intervals are by drawing galaxies, all repeats of one together. Splits are by galaxy, no epoch
is picked by what is left out. With ``--denoise`` each network also gets a line on pictures that a U-Net took the noise
from, in training and after; the U-Net is taught on the same training side, its time is not in the line.

Recipes are those of the papers where they have one (`classifiers/recipes`). ResNet-18, ConvNeXt, the EfficientNets and
"compact" have that of `morphology`, less what makes pictures fainter and coarser for the sake of small detections,
which "ours" has as it ships: here all pictures are as Galaxy Zoo showed them. "smooth or featured" tells two classes,
so that its figures do not stand beside the others'. What was stopped is gone on with; what is found is kept in
``WORK``, and refused there for another recipe.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from classifiers.classify import Classifier
from classifiers.denoise import denoised
from classifiers.denoising import train_denoiser
from classifiers.export import export_classifier, task_of
from classifiers.metrics import classification_scores
from classifiers.networks import network_of, parameters
from classifiers.splits import folds
from classifiers.stampsets import read_stamps
from classifiers.tasks import Task
from classifiers.train import TASK_FILE, train_stamps
from fieldprep.cores import cores
from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from classifiers.stampsets import StampSet

    Floats = npt.NDArray[np.float64]

CLEAN = ("smooth_round", "smooth_inbetween", "smooth_cigar", "edge_on", "spiral")
MEASURES = ("accuracy", "balanced_accuracy", "macro_f1")
SIDE = 128  # of a picture that is denoised
MIXUP = 0.2


@dataclass(frozen=True)
class Part:
    """What one network of a line was trained on: all folds but one of a dealing out, or a share of them."""

    repeat: int
    fold: int
    share: float

    def __str__(self) -> str:
        return f"{self.repeat}-{self.fold}-{self.share:g}"

    def sides(self, stamps: StampSet, fold_of: npt.NDArray[np.int64]) -> tuple[StampSet, StampSet]:
        """What is trained on, and what is left out."""
        seen = np.flatnonzero(fold_of != self.fold)
        drawn = np.random.default_rng((self.repeat, self.fold)).permutation(seen)[: round(self.share * len(seen))]
        return stamps.select(np.sort(drawn)), stamps.select(fold_of == self.fold)


def rivals() -> dict[str, Task]:
    """Tasks by their name in the table."""
    ours = Task.read("morphology")
    ours = replace(ours, classes=CLEAN, labels={name: name for name in CLEAN})
    as_shown = replace(ours, recipe=replace(ours.recipe, faintest=1.0, coarsest=1.0))
    convnet = replace(Task.read("galaxy10"), classes=CLEAN, portrait=ours.portrait)
    layered = Task.read("morphology_layered")
    compact = replace(as_shown, network="compact")
    return {
        "ours": ours,
        "the ConvNet for Galaxy10": convnet,
        "the ConvNet without colour": replace(convnet, stamps=replace(convnet.stamps, averaged=True)),
        "layered ConvNets": layered,
        "compact": compact,
        "layered compact": replace(compact, layers=layered.layers, unweighted=False),
        "compact with mixup": replace(compact, recipe=replace(compact.recipe, mixup=MIXUP)),
        "ResNet-18": replace(as_shown, network="timm:resnet18"),
        "ConvNeXt-Atto": replace(as_shown, network="timm:convnext_atto"),
        "EfficientNetV2-B0": replace(as_shown, network="timm:tf_efficientnetv2_b0"),
        "EfficientNet-B0": replace(as_shown, network="efficientnet_b0"),
        "smooth or featured": Task.read("smooth_featured"),
    }


def main() -> None:
    """Train what is not trained, then write the table."""
    known = rivals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=list(known))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only-fold", type=int, action="append", metavar="K")
    parser.add_argument("--share", type=float, action="append")
    parser.add_argument("--denoise", action="store_true")
    parser.add_argument("--epochs", type=int, help="others than the recipe's")
    arguments = parser.parse_args()
    chosen = arguments.only_fold or list(range(arguments.folds))
    if not set(chosen) <= set(range(arguments.folds)):
        parser.error(f"--only-fold: there are {arguments.folds} folds, 0 to {arguments.folds - 1}")
    torch.set_num_threads(cores())
    stamps = read_stamps(arguments.data, centre=0.5)
    stamps = stamps.select(np.isin(stamps.labels, CLEAN))
    dealt = [folds(stamps.labels, stamps.groups, arguments.folds, seed=repeat) for repeat in range(arguments.repeats)]
    print("| network | parameters | trained on | " + " | ".join(MEASURES) + " | n | CPU ms a picture and epoch |")
    print("|" + "---|" * (len(MEASURES) + 5))
    for name in arguments.only or list(known):
        task = known[name]
        if arguments.epochs:
            task = replace(task, recipe=task.recipe.lasting(arguments.epochs))
        for share in arguments.share or [1.0]:
            parts = [Part(repeat, fold, share) for repeat in range(arguments.repeats) for fold in chosen]
            for denoise in [False, True] if arguments.denoise else [False]:
                print(row(name, task, stamps, dealt, parts, arguments.out, denoise=denoise), flush=True)


def row(
    name: str,
    task: Task,
    stamps: StampSet,
    dealt: Sequence[npt.NDArray[np.int64]],
    parts: Sequence[Part],
    out: Path,
    *,
    denoise: bool = False,
) -> str:
    """Line of the table: a network trained and asked for each part, by the fold of each stamp in each dealing out."""
    name = f"{name}, denoised" if denoise else name
    true, groups, found, took, numbers = [], [], [], [], []
    for part in parts:
        seen, left = part.sides(stamps, dealt[part.repeat])
        folder = out / name.replace(" ", "_") / str(part)
        if denoise and not (folder / "found.npz").exists():
            seen, left = without_noise(seen, left, out / "denoiser" / str(part))
        seen, left = seen.of_task(task), left.of_task(task)
        probabilities, milliseconds = kept(folder, task, seen, left, seed=part.repeat)
        true.append(left.labels)
        groups.append(left.groups)
        found.append(probabilities)
        took.append(milliseconds)
        numbers.append(len(seen))
    p = np.concatenate(found)
    given = np.array(task.classes)[p.argmax(axis=1)]
    scores = classification_scores(np.concatenate(true), given, task.classes, p, groups=np.concatenate(groups))
    cells = [f"{scores[key]['value']:.3f} ({scores[key]['low']:.3f}-{scores[key]['high']:.3f})" for key in MEASURES]
    counts = [name, str(parameters(network_of(replace(task, pretrained=False)))), f"{np.mean(numbers):.0f}"]
    known = [one for one in took if math.isfinite(one)]
    return "| " + " | ".join([*counts, *cells, str(scores["n"]), f"{np.mean(known):.1f}" if known else "-"]) + " |"


def without_noise(seen: StampSet, left: StampSet, folder: Path) -> tuple[StampSet, StampSet]:
    """Both sides, their noise taken by a U-Net that was taught on the first."""
    small = [
        np.stack([cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in side.stamps])
        for side in (seen, left)
    ]
    network = folder / "denoiser.onnx"
    if not network.exists():
        train_denoiser(small[0], folder)
    return replace(seen, stamps=denoised(small[0], network)), replace(left, stamps=denoised(small[1], network))


class _Epochs(Callback):
    """How many epochs were trained in this run, and what they took, less the validation at the end of each."""

    def __init__(self) -> None:
        self.number, self.took = 0, 0.0
        self.started = math.nan

    def on_train_epoch_start(self, *_: Any) -> None:
        self.started = time.process_time()

    def on_validation_start(self, *_: Any) -> None:
        self.number += 1
        self.took += time.process_time() - self.started


def kept(folder: Path, task: Task, seen: StampSet, left: StampSet, *, seed: int) -> tuple[Floats, float]:
    """Probabilities of what is left out, shape (N, K), and milliseconds of processor time a picture and epoch."""
    path = folder / "found.npz"
    if (folder / TASK_FILE).exists() and task_of(folder / "last.ckpt") != task:
        raise InputError(f"{folder}: was trained by another recipe; name another --out, or take it away")
    if not path.exists():
        epochs = _Epochs()
        resume = (folder / "last.ckpt").exists()
        last = train_stamps(task, seen, left, folder, seed=seed, resume=resume, callbacks=(epochs,))
        took = 1e3 * epochs.took / (epochs.number * len(seen)) if epochs.number else math.nan
        classifier = Classifier.load(export_classifier([last], folder / f"{task.name}.onnx"))
        np.savez_compressed(path, found=classifier.predict(left.stamps), took=took)
    with np.load(path) as content:
        return np.asarray(content["found"], np.float64), float(content["took"])


if __name__ == "__main__":
    main()
