r"""
Score `morphology` by folds: on Galaxy Zoo 2's clean classes, and on Galaxy Zoo 1's.

    python benchmarks/stamp_classifiers.py morphology DATA/gz2 DATA/gz1 --centre 0.5,1 --folds 5 --out WORK \
        --untaught gz1:spiral gz1:edge_on "gz1:smooth_round|smooth_inbetween|smooth_cigar"
    python benchmarks/morphology.py WORK [--decals DATA/decals] [--card [--gallery DIR/gallery.csv]]

``--card`` writes the scores into the card of ``WORK/morphology.onnx``, with what `benchmarks/morphology_fields.py`
found on real fields. ``--decals`` asks that file of another survey's pictures, of which it was taught none: discs with
features that are not seen from the side, for which it has one class, spiral, whether they have arms or a ring. Each
galaxy of Galaxy Zoo is told by the network that did not see it. Of Galaxy Zoo 2 the class is the likeliest of all
seven. Galaxy Zoo 1 does not tell how round a smooth galaxy is, nor what kind of narrow galaxy is seen from the side:
its ellipticals are right as any of the three smooth classes, its edge-on ones as edge-on or a cigar; our network sees a
picture and its mirror image alike, so that its two kinds of spirals are one.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from classifiers.cards import Card
from classifiers.classify import Classifier
from classifiers.metrics import classification_scores, share
from classifiers.stampsets import read_stamps
from classifiers.tasks import EITHER, Task

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

GZ1 = {
    "elliptical": ("smooth_round", "smooth_inbetween", "smooth_cigar"),
    "edge_on": ("edge_on", "smooth_cigar"),
    "spiral": ("spiral",),
    "merger": ("merger",),
    "dont_know": ("not_a_galaxy",),
}
DECALS_CENTRE = 212 / 300  # what Galaxy Zoo's central half is of the pictures of DECaLS
MEASURES = ("accuracy", "balanced_accuracy", "macro_f1")
DATA = "Galaxy Zoo 2 (Kaggle's pictures, Willett et al. 2013) and Galaxy Zoo 1 (Lintott et al. 2008), of SDSS"
LIMITS = (
    "Trained on galaxies of r < 17.8 in SDSS's pictures, half of them made fainter; of fainter ones it guesses.",
    "Mergers were learned from 89 pictures: two thirds are called something else.",
    "not_a_galaxy is Galaxy Zoo 1's 'don't know', 47 pictures of artefacts or nothing; stars were not taught.",
    "Cigars (51 to learn from) are taken for edge-on galaxies as often as not, and look like them.",
    "Fields of other surveys are brought to SDSS's noise; of such pictures only DECaLS's discs were scored.",
    "Labels are clean ones of volunteers: galaxies between two classes are not among them.",
)


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--card", action="store_true")
    parser.add_argument("--gallery", type=Path)
    parser.add_argument("--decals", type=Path)
    arguments = parser.parse_args()
    task = Task.read("morphology")
    table = pd.read_parquet(arguments.work / "found.parquet")
    clean = table[table["set"] == "gz2"].reset_index(drop=True)
    print("| Galaxy Zoo 2 | " + " | ".join(MEASURES) + " | n |\n|" + "---|" * (len(MEASURES) + 2))
    for repeat, some in clean.groupby("repeat"):
        print(line(f"folds {repeat}", scores_of(some, task)))
    scores = scores_of(clean, task)
    print(line("all", scores))
    print(of_each_class(scores, [name for name in task.classes if scores["per_class"][name]["n"]]))
    print("confusion, rows true:", *scores["confusion"][:5], sep="\n")
    print(sure_ones(clean, task, Card.beside(arguments.work / "morphology.onnx").temperature))
    others = galaxy_zoo_1(table[table["set"] == "gz1"].reset_index(drop=True))
    print(of_galaxy_zoo_1(others))
    fainter = pd.read_parquet(arguments.work / "degraded.parquet")
    fainter = scores_of(fainter[fainter["set"] == "gz2"].reset_index(drop=True), task)
    print(line("\nGalaxy Zoo 2, made fainter and coarser", fainter))
    path = arguments.work / "morphology.onnx"
    discs = None if arguments.decals is None else discs_of_decals(arguments.decals, Classifier.load(path))
    if discs is not None:
        told = f"{discs['value']:.4f} ({discs['low']:.4f}-{discs['high']:.4f}), n {discs['n']}"
        print(f"\nDECaLS's discs that are called spirals: {told}; else {discs['else']}; {discs['sure']}")
    if arguments.card:
        gallery = None if arguments.gallery is None else pd.read_csv(arguments.gallery)
        card = Card.beside(path)
        told = card_scores(scores, others, discs, gallery)
        card = replace(card, scores=told, limits=LIMITS, training={**card.training, "data": DATA})
        card.write(path.with_suffix(".json"))


def probabilities_in(table: pd.DataFrame, task: Task) -> Floats:
    """Probability of each class, shape (N, K)."""
    return np.asarray(table[[f"p_{name}" for name in task.classes]].to_numpy(np.float64))


def scores_of(table: pd.DataFrame, task: Task) -> dict[str, Any]:
    """Scores of the likeliest class; intervals by drawing galaxies, all repeats of one together."""
    found = probabilities_in(table, task)
    given = np.array(task.classes)[found.argmax(axis=1)]
    groups = table["group"].to_numpy(np.str_)
    return classification_scores(table["truth"].to_numpy(np.str_), given, task.classes, found, groups=groups)


def line(name: str, scores: dict[str, Any]) -> str:
    """Row of a table."""
    cells = [f"{scores[key]['value']:.4f} ({scores[key]['low']:.4f}-{scores[key]['high']:.4f})" for key in MEASURES]
    return f"| {name} | " + " | ".join(cells) + f" | {scores['n']} |"


def of_each_class(scores: dict[str, Any], names: list[str]) -> str:
    """Table of precision, recall and F1 by class."""
    lines = ["\n| class | precision | recall | F1 | n |", "|---|---|---|---|---|"]
    for name in names:
        of = scores["per_class"][name]
        lines.append(f"| {name} | {of['precision']:.3f} | {of['recall']:.3f} | {of['f1']:.3f} | {of['n']} |")
    return "\n".join(lines)


def sure_ones(table: pd.DataFrame, task: Task, temperature: float) -> str:
    """How many are uncertain at the temperature that ships, and how right the others are."""
    found = probabilities_in(table, task)
    logits = np.log(np.maximum(found, 1e-12))
    true = task.numbers_of(table["truth"])
    calibrated = np.exp(logits / temperature)
    calibrated /= calibrated.sum(axis=1, keepdims=True)
    highest, right = calibrated.max(axis=1), calibrated.argmax(axis=1) == true
    lines = [f"\ntemperature {temperature:.3f}; mean probability of the class given {highest.mean():.4f}"]
    for least in (task.unsure, 0.7, 0.9):
        sure, groups = highest >= least, table["group"].to_numpy(np.str_)
        of = share(right[sure], groups[sure])
        told = f"accuracy {of['value']:.4f} ({of['low']:.4f}-{of['high']:.4f}), n {of['n']}"
        lines.append(f"at a probability of {least:g} or more ({sure.mean():.1%}): {told}")
    return "\n".join(lines)


def galaxy_zoo_1(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Recall of each of Galaxy Zoo 1's classes, and what they are most often called ``else``."""
    task = Task.read("morphology")
    given = np.array(task.classes)[probabilities_in(table, task).argmax(axis=1)]
    label = table["truth"].replace({EITHER.join(GZ1["elliptical"]): "elliptical", "not_a_galaxy": "dont_know"})
    rows = {}
    for name, right_as in GZ1.items():
        of = (label == name).to_numpy()
        right = np.isin(given[of], right_as)
        told = share(right, table["group"].to_numpy(np.str_)[of])
        others = pd.Series(given[of][~right]).value_counts().head(2)
        rows[name] = told | {"else": ", ".join(f"{other} {count}" for other, count in others.items())}
    return rows


def discs_of_decals(folder: Path, classifier: Classifier) -> dict[str, Any]:
    """Share of DECaLS's discs that are called spirals, what others are called, and how many of those with a class."""
    stamps = read_stamps(folder, label="ring", centre=DECALS_CENTRE)
    found = classifier.predict(stamps.stamps)
    given, highest = np.array(classifier.classes)[found.argmax(axis=1)], found.max(axis=1)
    sure = highest >= classifier.card.unsure
    counts = pd.Series(given[given != "spiral"]).value_counts()
    of_sure = f"of {sure.sum()} that are given a class {(given[sure] == 'spiral').sum()}"
    told = share(given == "spiral", stamps.groups)
    return told | {"else": ", ".join(f"{name} {count}" for name, count in counts.items()), "sure": of_sure}


def of_galaxy_zoo_1(rows: dict[str, dict[str, Any]]) -> str:
    """Table of Galaxy Zoo 1's classes."""
    lines = ["\n| Galaxy Zoo 1 | recall | n | most often else |", "|---|---|---|---|"]
    for name, told in rows.items():
        cell = f"{told['value']:.3f} ({told['low']:.3f}-{told['high']:.3f})"
        lines.append(f"| {name} | {cell} | {told['n']} | {told['else']} |")
    mean, n = np.mean([told["value"] for told in rows.values()]), sum(told["n"] for told in rows.values())
    return "\n".join([*lines, f"\nbalanced accuracy {mean:.3f}, n {n}"])


def card_scores(
    scores: dict[str, Any],
    others: dict[str, dict[str, Any]],
    discs: dict[str, Any] | None,
    gallery: pd.DataFrame | None,
) -> dict[str, Any]:
    """Scores as the card keeps them."""
    by_class = {
        name: {
            key: _rounded({"value": row[key], "low": row["low"][key], "high": row["high"][key], "n": row["n"]})
            for key in ("precision", "recall", "f1")
        }
        for name, row in scores["per_class"].items()
        if row["n"]
    }
    out = {
        "measured on": "Galaxy Zoo 2's clean classes by folds of galaxies, each told by a network of the same "
        "recipe that did not see it; of Galaxy Zoo 1 the recall of its own, less clean classes",
        "Galaxy Zoo 2": {"all": {key: _rounded(scores[key]) for key in MEASURES}},
        "by class": by_class,
        "Galaxy Zoo 1": {name: {"recall": _rounded(told)} for name, told in others.items()},
    }
    if discs is not None:
        out["discs with features of DECaLS, seen from above"] = {"all": {"called spiral": _rounded(discs)}}
    if gallery is not None:
        given = gallery["predicted"].fillna("")
        asked = ~given.isin(["", "uncertain", "too_small"])
        counts = {"given a class": asked, "right": asked & gallery["right"], "uncertain": given == "uncertain"}
        counts |= {"too small": given == "too_small", "not found": given == ""}
        out["galaxies of r < 18 in seven SDSS fields, by eye"] = {key: int(of.sum()) for key, of in counts.items()}
    return out


def _rounded(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: round(entry[key], 4) for key in ("value", "low", "high", "n")}


if __name__ == "__main__":
    main()
