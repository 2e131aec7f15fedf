"""
Train Galaxy Zoo's vote fractions on real galaxies, with votes drawn by what is known of them.

    python benchmarks/votes.py GZ2 --out WORK
    python benchmarks/votes.py GZ2 --out WORK --size 64 --epochs 20 --network compact --rate 0.002

GZ2 is a folder with ``labels.csv`` (GalaxyID and one of five clean classes) and ``images/GalaxyID.jpg``, 424 px. The
challenge's own table of votes is not there, so 40 volunteers a galaxy are drawn through the tree, each answer with a
probability that goes with the class: what comes out measures the whole way from folder to file, not how well a network
does in the challenge. Without a way to ImageNet's weights there is nothing worth freezing: the first phase is left out
unless ``--pretrained`` is given, or ``--frozen-epochs`` asks for it all the same. What was stopped is gone on with.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from classifiers.galaxy_zoo_tree import ANSWERS, TREE, of_counts, places
from classifiers.splits import SHARES
from classifiers.stampsets import read_stamps
from classifiers.tasks import Task
from classifiers.training import train_and_export
from classifiers.votes import write_predictions
from fieldprep.cores import cores

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

VOTERS = 40
SURE = 0.82  # share of the answer that goes with the class; the others have the rest alike
SCATTER = 30.0  # of galaxies about it: concentration of a Dirichlet distribution
GOES_WITH = {
    "smooth_round": ("Class1.1", "Class7.1"),
    "smooth_inbetween": ("Class1.1", "Class7.2"),
    "smooth_cigar": ("Class1.1", "Class7.3"),
    "edge_on": ("Class1.2", "Class2.1", "Class9.1"),
    "spiral": ("Class1.2", "Class2.2", "Class4.1", "Class3.2", "Class5.2", "Class10.2", "Class11.2"),
}
SOLUTIONS, IMAGES = "training_solutions_rev1.csv", "images_training_rev1"


def main() -> None:
    """Make the folder, train, and say what the card says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gz2", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", default="gz2", help="a task of votes, or the path of one")
    parser.add_argument("--network", help="another than the task's")
    parser.add_argument("--size", type=int, help="side of the input in pixels, another than the task's")
    parser.add_argument("--rate", type=float, help="learning rate, another than the task's")
    parser.add_argument("--epochs", type=int, help="of each phase, fewer or more than the task's")
    parser.add_argument("--frozen-epochs", type=int, help="of the first phase, over random weights")
    parser.add_argument("--most", type=int, help="galaxies, drawn from all; by default all")
    parser.add_argument("--pretrained", action="store_true", help="fetch ImageNet's weights, and train in two phases")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    folder = challenge_of(arguments.gz2, arguments.out / "challenge", seed=arguments.seed, most=arguments.most)
    task = Task.read(arguments.task)
    recipe = replace(task.recipe, shares=SHARES, rate=arguments.rate or task.recipe.rate)
    recipe = recipe.lasting(arguments.epochs) if arguments.epochs else recipe
    frozen = recipe.frozen_epochs if arguments.pretrained else 0
    recipe = replace(recipe, frozen_epochs=frozen if arguments.frozen_epochs is None else arguments.frozen_epochs)
    stamps = replace(task.stamps, size=arguments.size or task.stamps.size)
    network = arguments.network or task.network
    task = replace(task, recipe=recipe, stamps=stamps, network=network, pretrained=arguments.pretrained)
    trained = arguments.out / "trained"
    begun = any((trained / part / "last.ckpt").exists() for part in ("", "frozen"))
    galaxies = read_stamps(folder, centre=task.centre)
    path = train_and_export(task, galaxies, trained, seed=arguments.seed, resume=begun, data="drawn votes")
    print(path.with_suffix(".json").read_text())


def challenge_of(gz2: Path, out: Path, *, seed: int = 0, most: int | None = None) -> Path:
    """Folder in the challenge's layout: links to the images, and the table of drawn votes."""
    labels = pd.read_csv(gz2 / "labels.csv")
    if most is not None:
        labels = labels.sample(min(most, len(labels)), random_state=seed)
    labels = labels.sort_values("GalaxyID")
    (out / IMAGES).mkdir(parents=True, exist_ok=True)
    for galaxy in labels["GalaxyID"]:
        link = out / IMAGES / f"{galaxy}.jpg"
        if not link.exists():
            link.symlink_to((gz2 / "images" / link.name).resolve())
    votes = drawn_votes(labels["label"].to_numpy(np.str_), np.random.default_rng(seed))
    write_predictions(out / SOLUTIONS, labels["GalaxyID"].astype(str).tolist(), votes)
    return out


def drawn_votes(labels: npt.NDArray[np.str_], random: np.random.Generator, voters: int = VOTERS) -> Floats:
    """Cumulative vote fractions of volunteers who go through the tree, shape (N, 37), of classes in `GOES_WITH`."""
    return of_counts(drawn_counts(labels, random, voters))


def drawn_counts(labels: npt.NDArray[np.str_], random: np.random.Generator, voters: int = VOTERS) -> Floats:
    """Votes for each answer, shape (N, 37): each question is asked of those whose answer led to it."""
    counts = np.zeros((len(labels), len(ANSWERS)))
    for i, label in enumerate(labels):
        for question in TREE:
            own = places(question)
            asked = sum(counts[i, ANSWERS.index(one)] for one in question.after) if question.after else voters
            counts[i, own] = random.multinomial(
                int(asked), random.dirichlet(SCATTER * _shares(question.columns, label))
            )
    return counts


def _shares(columns: tuple[str, ...], label: str) -> Floats:
    """Mean share of each answer of a question; alike where the class does not tell, nothing odd."""
    wanted = [column in {*GOES_WITH[label], "Class6.2"} for column in columns]
    if not any(wanted):
        return np.full(len(columns), 1 / len(columns))
    return np.where(wanted, SURE, (1 - SURE) / (len(columns) - 1))


if __name__ == "__main__":
    main()
