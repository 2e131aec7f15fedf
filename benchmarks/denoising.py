"""
Does denoising help: short exposures of Galaxy Zoo 2's galaxies, denoised by a U-Net, and then classified.

    python benchmarks/denoising.py DATA/gz2 --out WORK [--epochs 12] [--classifier-epochs 50]

The galaxies are dealt out to five folds. The U-Net is taught on four of them what pictures look like that were made
noisier, as by an exposure of a thirtieth to a third, and is held against a Gaussian, OpenCV's non-local means and
scikit-image's total variation on the fifth, by the peak signal to noise and the structural similarity. Noise that is
cut off at black lifts the sky, which the U-Net learns to undo: each of the others has a strength and, after it, one
straight line of levels, both settled by least squares on pictures of the four folds. The ConvNet for Galaxy10 is then
trained on the same four folds, on the pictures as they are, on the noisy ones and on those denoised, and tells the
fifth's.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from skimage.restoration import denoise_tv_chambolle
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from classifiers.classify import Classifier
from classifiers.denoise import denoised
from classifiers.denoising import train_denoiser
from classifiers.export import export_classifier, task_of
from classifiers.metrics import classification_scores
from classifiers.splits import folds
from classifiers.stampsets import StampSet, read_stamps
from classifiers.tasks import Task
from classifiers.train import TASK_FILE, train_stamps
from fieldprep.cores import cores
from fieldprep.errors import InputError
from fieldprep.simulation.exposures import shorter_pictures

if TYPE_CHECKING:
    from fieldprep.variants import Picture

SIDE = 128
SHARES = (1 / 30, 1 / 3)
CLEAN = ("smooth_round", "smooth_inbetween", "smooth_cigar", "edge_on", "spiral")
SETTLED_ON = 200  # pictures by which the peers' strengths are settled
STRENGTHS = {
    "no filter": (0.0,),
    "a Gaussian": (1.0, 2.0, 3.0, 4.0, 6.0, 9.0),
    "non-local means": (20.0, 40.0, 60.0, 80.0, 110.0, 150.0),
    "total variation": (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.2),
}


def main() -> None:
    """Teach, denoise, classify, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--classifier-epochs", type=int, default=50)
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    stamps = read_stamps(arguments.data, centre=0.5)
    pictures = np.stack([cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in stamps.stamps])
    left = folds(stamps.labels, stamps.groups, 5) == 0
    network = train_denoiser(pictures[~left], arguments.out / "denoiser", shares=SHARES, epochs=arguments.epochs)
    noisy = shorter_pictures(pictures, SHARES, 1234)
    clean = denoised(noisy, network)
    print("| pictures | peak signal to noise, dB | structural similarity | n |\n|---|---|---|---|")
    print(likeness("noisy", noisy[left], pictures[left]))
    print(likeness("by the U-Net", clean[left], pictures[left]))
    some = np.random.default_rng(0).permutation(np.flatnonzero(~left))[:SETTLED_ON]
    for name in STRENGTHS:
        strength, line = settled(name, noisy[some], pictures[some])
        seen = levelled(filtered(name, noisy[left], strength), line)
        told = f", strength {strength:g}" if strength else ""
        print(likeness(f"by {name}{told}, levels set right", seen, pictures[left]), flush=True)
    task = Task.read("galaxy10")
    task = replace(task, classes=CLEAN, recipe=task.recipe.lasting(arguments.classifier_epochs))
    print("\n| trained on | asked of | accuracy | macro F1 | n |\n|---|---|---|---|---|")
    kinds = {"as they are": pictures, "noisy": noisy, "denoised": clean}
    for taught, asked in (
        *(("as they are", kind) for kind in kinds),
        *(("noisy", "noisy"), ("denoised", "denoised")),
    ):
        classifier = trained(
            task, replace(stamps, stamps=kinds[taught]), left, arguments.out / taught.replace(" ", "_")
        )
        found = classifier.predict(kinds[asked][left])
        given = np.array(task.classes)[found.argmax(axis=1)]
        scores = classification_scores(stamps.labels[left], given, task.classes, found)
        cells = [
            f"{scores[k]['value']:.3f} ({scores[k]['low']:.3f}-{scores[k]['high']:.3f})"
            for k in ("accuracy", "macro_f1")
        ]
        print(f"| {taught} | {asked} | {' | '.join(cells)} | {scores['n']} |", flush=True)


def trained(task: Task, stamps: StampSet, left: np.ndarray, folder: Path) -> Classifier:
    """Classifier of what is not left out; what was trained before is taken."""
    path = folder / f"{task.name}.onnx"
    if (folder / TASK_FILE).exists() and task_of(folder / "last.ckpt") != task:
        raise InputError(f"{folder}: was trained by another recipe; name another --out, or take it away")
    if not path.exists():
        resume = (folder / "last.ckpt").exists()
        last = train_stamps(task, stamps.select(~left), stamps.select(left), folder, resume=resume)
        export_classifier([last], path)
    return Classifier.load(path)


def likeness(name: str, seen: Picture, true: Picture) -> str:
    """Row of a table."""
    a, b = (torch.from_numpy(np.moveaxis(one, 3, 1).astype(np.float32) / 255) for one in (seen, true))
    ratio = float(peak_signal_noise_ratio(a, b, data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean"))
    similarity = float(structural_similarity_index_measure(a, b, data_range=1.0))
    return f"| {name} | {ratio:.2f} | {similarity:.3f} | {len(seen)} |"


def filtered(name: str, pictures: Picture, strength: float) -> Picture:
    """Pictures by one of the filters of `STRENGTHS`; its unit is a pixel, a level of 255, or total variation's own."""
    if name == "a Gaussian":
        return np.stack([cv2.GaussianBlur(one, (0, 0), strength) for one in pictures])
    if name == "non-local means":
        return np.stack([cv2.fastNlMeansDenoisingColored(one, None, strength, strength, 5, 15) for one in pictures])
    if name == "total variation":
        return np.stack(
            [
                np.rint(255 * denoise_tv_chambolle(one / 255, weight=strength, channel_axis=-1)).astype(np.uint8)
                for one in pictures
            ]
        )
    return pictures


def levelled(pictures: Picture, line: np.ndarray) -> Picture:
    """Pictures whose levels are brought to a line's: slope and height at 0."""
    return np.rint(line[0] * pictures + line[1]).clip(0, 255).astype(np.uint8)


def settled(name: str, noisy: Picture, true: Picture) -> tuple[float, np.ndarray]:
    """Strength and line of levels of a filter by which pictures come nearest to the true ones."""
    tried = []
    for strength in STRENGTHS[name]:
        seen = filtered(name, noisy, strength)
        line = np.polyfit(seen.ravel().astype(np.float64), true.ravel().astype(np.float64), 1)
        tried.append((float(((levelled(seen, line) - true.astype(np.float64)) ** 2).mean()), strength, line))
    _, strength, line = min(tried, key=lambda one: one[0])
    return strength, line


if __name__ == "__main__":
    main()
