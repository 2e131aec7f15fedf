"""
Real or bogus, on ZTF's triplets: our network, Negm's two, and the classical learners, by one pooled cross-validation.

    python benchmarks/real_bogus.py DATA --out WORK [--only NAME]... [--folds 5] [--ship]

DATA is a folder as `classifiers.stampsets.read_stamps` takes it. Stamps of one object are in one fold. Each classifier
gives every stamp a probability by the fold that did not see it; the classical learners are tuned by a cross-validation
inside the training side, the networks' epochs are the recipe's. What is found is kept in ``WORK/found`` and not found
again. Ours are three networks of different seeds, asked together. The table has the columns of du Buisson et al. 2015
(MNRAS 454, 2026, table 3), with balanced accuracy and recall at 1 % and 5 % false positives. With ``--ship`` ours are
then trained on all stamps, for the same epochs, and written as ``WORK/real_bogus_difference.onnx``, temperature and
thresholds from what the folds' networks said.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from classifiers.classify import Classifier, probabilities
from classifiers.export import RECALLS, export_classifier, fit_temperature
from classifiers.learners import FEATURES, LEARNERS, positive_scores, tuned
from classifiers.metrics import classification_scores, recall_at, threshold_for_recall
from classifiers.splits import folds
from classifiers.stampsets import read_stamps
from classifiers.tasks import Task
from classifiers.train import train_stamps
from fieldprep.cores import cores

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from classifiers.stampsets import StampSet

    Floats = npt.NDArray[np.float64]

# name in the table to the recipe and how many of it, of different seeds, are asked together
NETWORKS = {
    "ours": ("real_bogus_difference", 3),
    "ours, one network": ("real_bogus_difference", 1),
    "Negm, initial": ("negm", 1),
    "Negm, refined": ("negm_refined", 1),
}
LEARNERS_SEE = 32  # px, in the scaling of the noise
FALSE_POSITIVES = (0.01, 0.05)


def main() -> None:
    """Classify what is not classified, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ship", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    task = Task.read("real_bogus_difference")
    stamps = read_stamps(arguments.data).of_task(task)
    part = folds(stamps.labels, stamps.groups, arguments.folds, seed=arguments.seed)
    rows = {}
    for name, classify in entries(arguments.out).items():
        if arguments.only and not name.startswith(tuple(arguments.only)):
            continue
        found = _kept(arguments.out / "found" / f"{name}.npz", stamps, part, classify)
        rows[name] = row(stamps, found, task)
        print(name, json.dumps({k: round(v, 4) for k, v in rows[name].items() if isinstance(v, float)}), flush=True)
    print(table(rows, stamps))
    if arguments.ship:
        ship(task, stamps, part, arguments.out)


def ship(task: Task, stamps: StampSet, part: npt.NDArray[np.int64], out: Path) -> None:
    """Train on all, and export with the temperature and the thresholds of the folds' answers."""
    seeds = NETWORKS["ours"][1]
    # its log says nothing: it is of what is trained on
    checkpoints = [_trained(task, stamps, stamps, out / "trained" / task.name, "all", seed) for seed in range(seeds)]
    logits = np.zeros((len(stamps), seeds, len(task.classes)))
    for fold in range(int(part.max()) + 1):
        path = out / "trained" / task.name / str(fold) / f"{task.name}-{seeds}.onnx"
        logits[part == fold] = Classifier.load(path).logits(stamps.select(part == fold).stamps)
    temperature = fit_temperature(logits, task.numbers_of(stamps.labels), task.activation)
    calibrated = probabilities(logits, task.activation, temperature).mean(axis=1)[:, 0]
    thresholds = {
        f"{recall:g}": threshold_for_recall(stamps.labels == "real", calibrated, recall) for recall in RECALLS
    }
    counts = {str(name): int((stamps.labels == name).sum()) for name in task.classes}
    about = {"about": task.about, "stamps": counts, "objects": len(set(stamps.groups))}
    training = {**about, "recipe": task.as_table()["recipe"]}
    path = export_classifier(
        checkpoints,
        out / f"{task.name}.onnx",
        temperature=temperature,
        thresholds=thresholds,
        training=training,
    )
    print(f"{path}: temperature {temperature:.3f}, thresholds {thresholds}")


def entries(out: Path) -> dict[str, Callable[[StampSet, npt.NDArray[np.int64], int], Floats]]:
    """Classifiers: from all stamps, their folds and the fold that is left out, to the left out ones' share of real."""
    found: dict[str, Callable[[StampSet, npt.NDArray[np.int64], int], Floats]] = {
        "always real": lambda _, part, fold: np.ones(int((part == fold).sum()))
    }
    for name, (recipe, seeds) in NETWORKS.items():
        found[name] = _network(Task.read(recipe), out / "trained" / recipe, seeds)
    for name in LEARNERS:
        for features in FEATURES:
            found[f"{LEARNERS[name].title}, {features.replace('_', ' ')}"] = _learner(name, features)
    return found


def _network(task: Task, out: Path, seeds: int) -> Callable[[StampSet, npt.NDArray[np.int64], int], Floats]:
    def classify(stamps: StampSet, part: npt.NDArray[np.int64], fold: int) -> Floats:
        left = stamps.select(part == fold)
        seen = stamps.select(part != fold)
        checkpoints = [_trained(task, seen, left, out, str(fold), seed) for seed in range(seeds)]
        path = export_classifier(checkpoints, checkpoints[0].with_name(f"{task.name}-{seeds}.onnx"))
        return Classifier.load(path).predict(left.stamps)[:, 0]

    return classify


def _trained(task: Task, training: StampSet, left: StampSet, out: Path, name: str, seed: int) -> Path:
    """Checkpoint after the recipe's epochs, none of which is picked by what is left out."""
    folder = out / (f"{name}-{seed}" if seed else name)
    if not (folder / "done").exists():
        train_stamps(task, training, left, folder, seed=seed, resume=(folder / "last.ckpt").exists())
        (folder / "done").touch()
    return folder / "last.ckpt"


def _learner(name: str, features: str) -> Callable[[StampSet, npt.NDArray[np.int64], int], Floats]:
    prepare = replace(Task.read("real_bogus_difference").stamps, size=LEARNERS_SEE, scaling=("noise",))

    def classify(stamps: StampSet, part: npt.NDArray[np.int64], fold: int) -> Floats:
        seen, left = stamps.select(part != fold), stamps.select(part == fold)
        fitted = tuned(LEARNERS[name], features, prepare(seen.stamps), seen.labels, seen.groups, jobs=cores())
        print(name, features, f"fold {fold}", fitted.best_params_, flush=True)
        scores = positive_scores(fitted, prepare(left.stamps), "real")
        return scores if hasattr(fitted, "predict_proba") else 0.5 * (1 + np.tanh(scores))  # the border at 0.5

    return classify


def _kept(
    path: Path,
    stamps: StampSet,
    part: npt.NDArray[np.int64],
    classify: Callable[[StampSet, npt.NDArray[np.int64], int], Floats],
) -> Floats:
    if not path.exists():
        found = np.zeros(len(stamps))
        for fold in range(int(part.max()) + 1):
            found[part == fold] = classify(stamps, part, fold)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, found=found)
    with np.load(path) as content:
        return np.asarray(content["found"], np.float64)


def row(stamps: StampSet, real: Floats, task: Task) -> dict[str, Any]:
    """Scores of a classifier, ``real`` counted as positive as the papers do."""
    given = np.where(real >= 0.5, "real", "bogus")
    scores = classification_scores(stamps.labels, given, task.classes, np.stack([real, 1 - real], axis=1))
    positive = scores["per_class"]["real"]
    at = {f"recall at {rate:.0%}": recall_at(stamps.labels == "real", real, rate) for rate in FALSE_POSITIVES}
    return {
        "AUC": positive["auc"],
        "accuracy": scores["accuracy"]["value"],
        "recall": positive["recall"],
        "precision": positive["precision"],
        "F1": positive["f1"],
        "balanced accuracy": scores["balanced_accuracy"]["value"],
        **at,
        "scores": scores,
        "real": real,
    }


def table(rows: dict[str, dict[str, Any]], stamps: StampSet) -> str:
    """Markdown table, a row a classifier."""
    columns = [name for name in next(iter(rows.values())) if name not in {"scores", "real"}]
    lines = ["| classifier | " + " | ".join(columns) + " | confusion (real: real, bogus; bogus: real, bogus) |"]
    lines.append("|" + "---|" * (len(columns) + 2))
    for name, found in rows.items():
        confusion = "; ".join(", ".join(map(str, counts)) for counts in found["scores"]["confusion"])
        cells = []
        for column in columns:
            of = {"AUC": "macro_auc", "accuracy": "accuracy", "balanced accuracy": "balanced_accuracy"}.get(column)
            entry = found["scores"].get(of) if of else None
            around = "" if entry is None else f" ({entry['low']:.3f}-{entry['high']:.3f})"
            cells.append(f"{found[column]:.3f}{around}")
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {confusion} |")
    counts = {str(name): int((stamps.labels == name).sum()) for name in sorted(set(stamps.labels))}
    return "\n".join([*lines, "", f"n: {counts}; objects: {len(set(stamps.groups))}"])


if __name__ == "__main__":
    main()
