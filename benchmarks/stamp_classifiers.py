r"""
Train a stamp classifier by folds of sky, for its figures, and on all of them, for the file that ships.

    python benchmarks/stamp_classifiers.py star_galaxy SET... --out WORK
    python benchmarks/stamp_classifiers.py real_bogus SET... --out WORK
    python benchmarks/stamp_classifiers.py morphology DATA/gz2 DATA/gz1 --centre 0.5,1 --folds 5 --out WORK \
        --untaught gz1:spiral gz1:edge_on "gz1:smooth_round|smooth_inbetween|smooth_cigar"

SET is what `classifiers.stampsets.read_stamps` takes: what `benchmarks/stampsets.py` wrote, or a table of labels with
its images. Fields and patches of sky are dealt out to folds, all copies of a field to one. Every stamp is classified by
the network that saw nothing of its fold: ``WORK/found.parquet``. No epoch is picked by what is left out. The
temperature is fitted to all of these together, and where a recipe makes stamps fainter and coarser also to such copies
of them, ``degraded.parquet``, so that what is told of small detections is no surer than it is right; the last network,
which ships, has it too. Stamps whose label may be several classes are dealt out and classified too, but the temperature
is not of them; those of a SET and CLASS that ``--untaught`` names are classified and never trained on. ``--centre`` is
the share of each set's images that is kept about their middle. With ``--repeats`` the folds are dealt out anew so
often, each with other random weights. A training that was stopped is gone on with. ``--only-fold REPEAT FOLD`` trains
that one and ends; fold -1 is the network that ships. ``--with OTHER`` asks them together with those that another recipe
of the task left in the same folds: the mean of both. With ``--unlabelled FOLDER...`` images without labels (and what is
untaught) are learned from too, as what the network of the same fold that ``--teacher OTHER`` left says of them, which
has not seen what is told either: the fewest classes that have nine tenths of the probability, where these are no more
than three. ``FOLDER:SHARE`` keeps as much of the side of the images.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from classifiers.augmenting import degraded
from classifiers.classify import AT_ONCE, Classifier, probabilities
from classifiers.export import export_classifier, fit_temperature
from classifiers.pictures import picture_stamp
from classifiers.splits import folds
from classifiers.stampsets import StampSet, read_stamps
from classifiers.tasks import EITHER, Task
from classifiers.train import train_stamps
from fieldprep.cores import cores
from fieldprep.picturefile import PICTURE_ENDINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

ALL = -1
FOUND, DEGRADED = "found", "degraded"
TOLD, MOST = 0.9, 3  # probability that the classes of an unlabelled stamp have, and how many they may be
COPY = r"^(\d{6}-\d-\d{4})-.*$"  # of a real field, injected into


def main() -> None:
    """Train what is not trained, export, and write what each fold's network says of what it did not see."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--centre", type=lambda text: [float(part) for part in text.split(",")])
    parser.add_argument("--untaught", nargs="*", default=[], metavar="SET:CLASS")
    parser.add_argument("--told", type=int, nargs="+", help="the only folds that are left out and told, in turn")
    parser.add_argument("--with", dest="others", type=Path, help="work of another recipe of the task, asked together")
    parser.add_argument("--unlabelled", nargs="*", default=[], metavar="FOLDER[:SHARE]")
    parser.add_argument("--teacher", type=Path, help="work of earlier networks, which say what the unlabelled are")
    parser.add_argument("--only-fold", type=int, nargs=2, metavar=("REPEAT", "FOLD"))
    arguments = parser.parse_args()
    if bool(arguments.unlabelled) != bool(arguments.teacher):
        parser.error("--unlabelled and --teacher go together")
    torch.set_num_threads(cores())
    task = Task.read(arguments.task)
    centres = arguments.centre or [1.0] * len(arguments.sets)
    stamps = together(
        [
            (path.resolve().name, read_stamps(path, centre=centre).of_task(task, either=True))
            for path, centre in zip(arguments.sets, centres, strict=True)
        ]
    )
    of_set = stamps.rows["set"] + ":" + stamps.labels
    stamps = replace(stamps, rows=stamps.rows.assign(taught=~of_set.isin(arguments.untaught)))
    parts = [folds(stamps.labels, stamps.groups, arguments.folds, seed=repeat) for repeat in range(arguments.repeats)]
    if arguments.only_fold:
        repeat, fold = arguments.only_fold
        trained(task, stamps, parts[repeat], fold, arguments, repeat=repeat)
    else:
        told_and_shipped(task, stamps, parts, arguments)


def told_and_shipped(
    task: Task, stamps: StampSet, parts: Sequence[npt.NDArray[np.int64]], arguments: argparse.Namespace
) -> None:
    """What each fold's network says, and the file that ships."""
    sure = stamps.rows["taught"].to_numpy(np.bool_) & ~np.char.count(stamps.labels, EITHER).astype(np.bool_)
    told = arguments.told or list(range(arguments.folds))
    tables: dict[str, list[pd.DataFrame]] = {FOUND: [], **({DEGRADED: []} if task.recipe.degrades else {})}
    scored = []
    for repeat, part in enumerate(parts):
        number = 1 if arguments.others is None else 2
        logits = {name: np.zeros((len(stamps), number, len(task.classes))) for name in tables}
        for fold in told:
            folder, left = arguments.out / _name(repeat, fold), part == fold
            checkpoint = trained(task, stamps, part, fold, arguments, repeat=repeat)
            both = checkpoints_of(checkpoint, arguments.others)
            classifier = Classifier.load(export_classifier(both, folder / f"{task.name}.onnx"))
            own = stamps.select(left).stamps
            logits[FOUND][left] = classifier.logits(own)
            if DEGRADED in logits:
                logits[DEGRADED][left] = of_fainter(classifier, task, own)
        seen = np.isin(part, told)
        for which, of in logits.items():
            table = tabled(task, stamps, of).assign(repeat=repeat, fold=part)
            tables[which].append(table[seen])
            given = table[[f"p_{name}" for name in task.classes]].to_numpy().argmax(axis=1)
            right = np.array(task.classes)[given] == stamps.labels
            told_of = f"accuracy {right[sure & seen].mean():.4f}, n {(sure & seen).sum()}"
            print(f"repeat {repeat}, {which}: {told_of}", flush=True)
            scored.append((of[sure & seen], task.numbers_of(stamps.labels[sure & seen])))
    temperature = fit_temperature(*(np.concatenate(rows) for rows in zip(*scored, strict=True)), task.activation)
    for which, parts_of_it in tables.items():
        pd.concat(parts_of_it, ignore_index=True).to_parquet(arguments.out / f"{which}.parquet")
    taught = stamps.rows["taught"].to_numpy(np.bool_)
    counts = stamps.rows[taught].assign(truth=stamps.labels[taught]).groupby(["set", "truth"]).size()
    about = {
        "about": task.about,
        "stamps": {f"{where} {label}": int(count) for (where, label), count in counts.to_dict().items()},
        "objects, fields and patches of sky": len(np.unique(stamps.groups[taught])),
        "recipe": task.as_table()["recipe"],
    }
    print(f"temperature {temperature:.3f}")
    checkpoint = trained(task, stamps, parts[0], ALL, arguments, repeat=0)
    both = checkpoints_of(checkpoint, arguments.others)
    export_classifier(both, arguments.out / f"{task.name}.onnx", temperature=temperature, training=about)


def checkpoints_of(checkpoint: Path, others: Path | None) -> list[Path]:
    """A checkpoint and that of the same fold in another folder, where there is one."""
    return [checkpoint] if others is None else [checkpoint, others / checkpoint.parent.name / checkpoint.name]


def tabled(task: Task, stamps: StampSet, logits: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Rows of stamps with the probability of each class."""
    table = stamps.rows.assign(name=stamps.names, group=stamps.groups, truth=stamps.labels)
    found = probabilities(logits, task.activation).mean(axis=1)
    return table.assign(**{f"p_{name}": found[:, k] for k, name in enumerate(task.classes)})


def of_fainter(classifier: Classifier, task: Task, stamps: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    """Logits of stamps made fainter and coarser as half of a batch is in training, the same each time."""
    torch.manual_seed(0)
    found = []
    for start in range(0, len(stamps), AT_ONCE):
        pictures = torch.from_numpy(task.stamps(stamps[start : start + AT_ONCE]))
        fainter = degraded(torch.cat([pictures, pictures]), task.recipe)[: len(pictures)]
        found.append(classifier.logits(np.ascontiguousarray(fainter.permute(0, 2, 3, 1).numpy())))
    return np.concatenate(found)


def _name(repeat: int, fold: int) -> str:
    if fold == ALL:
        return "all"
    return f"{repeat}-{fold}" if repeat else str(fold)


def trained(
    task: Task,
    stamps: StampSet,
    part: npt.NDArray[np.int64],
    fold: int,
    arguments: argparse.Namespace,
    *,
    repeat: int,
) -> Path:
    """Checkpoint of the network that saw all folds but one, or `ALL` (its log is then of stamps that it saw)."""
    folder = arguments.out / _name(repeat, fold)
    last = folder / "last.ckpt"
    if not (folder / "done").exists():
        left = part == fold
        taught = stamps.rows["taught"].to_numpy(np.bool_)
        sure = np.array([EITHER not in label for label in stamps.labels])
        logged = stamps.select(sure & (part == 0 if fold == ALL else left))
        seen = stamps.select(taught & ~left)
        if arguments.teacher is not None:
            more = together(
                [
                    ("untaught", stamps.select(~taught & ~left)),
                    *((name, unlabelled(name)) for name in arguments.unlabelled),
                ]
            )
            teacher = Classifier.load(teacher_of(arguments.teacher, task, repeat, fold))
            seen = together([("labelled", seen), ("told", as_told(more, teacher, task))])
        last = train_stamps(task, seen, logged, folder, seed=repeat, resume=last.exists())
        (folder / "done").touch()
    return last


def teacher_of(work: Path, task: Task, repeat: int, fold: int) -> Path:
    """File of the earlier networks that saw the same."""
    return work / ("" if fold == ALL else _name(repeat, fold)) / f"{task.name}.onnx"


def unlabelled(name: str) -> StampSet:
    """Images of ``FOLDER`` or ``FOLDER:SHARE``."""
    folder, _, share = name.partition(":")
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix in PICTURE_ENDINGS)
    names = np.array([path.stem for path in paths], np.str_)
    stamps = [picture_stamp(path, float(share or 1)) for path in paths]
    return StampSet(stamps, np.full(len(names), ""), names, names, pd.DataFrame({"name": names}))


def as_told(stamps: StampSet, teacher: Classifier, task: Task) -> StampSet:
    """Stamps with the fewest classes that have `TOLD` of the probability for labels, less those of over `MOST`."""
    chances = probabilities(teacher.logits(stamps.stamps), task.activation).mean(axis=1)
    order = np.argsort(-chances, axis=1)
    number = 1 + (np.cumsum(np.take_along_axis(chances, order, 1), axis=1) < TOLD).sum(axis=1)
    classes = np.array(task.classes)
    labels = [EITHER.join(classes[np.sort(row[:n])]) for row, n in zip(order, number, strict=True)]
    kept = number <= MOST
    told = pd.Series(labels)[kept].value_counts()
    print(f"{len(stamps)} told by {teacher.card.name}, {kept.sum()} kept:\n{told.to_string()}", flush=True)
    return replace(stamps, labels=np.array(labels, np.str_)).select(kept)


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
