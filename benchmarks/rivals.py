"""
Every rival and our detector on the same fields by the same rules: one table.

    python benchmarks/rivals.py DATA --out WORK [--line NAME]... [--simulated DIR] [--injected DIR] [--only NAME]...

DATA and WORK are those of `folds.py`; the lines named are of its trainings (``WORK/lines``), the Faster R-CNN is that
of `two_stage.py`. What is found is kept in ``WORK/rivals/found``, with the processor seconds it took, and is not looked
for again; ``table.md`` and ``table.json`` are written beside it. SIMULATED holds folders of fields with exact truth and
``artefacts.csv``, INJECTED one folder for each real field, in which only the injected galaxies count, for completeness.

A learned rival sees each field by the training that was kept from it. Each is scored at the confidence that serves it
best (the highest sum of completeness and purity at r < 20 and r < 21 on the real fields).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
import torch
from folds import FOLDS, LINES, STARS_ONLY, TRAINED_COLUMNS, kept, truth_of, with_truth

from detector import Detector
from detector.evaluate import Scene, match, score
from detector.instruments import detect_at_scale
from detector.rivals import sep_detect
from detector.rivals.sahi_slices import Sahi
from detector.rivals.segmentation import photutils_detect
from detector.rivals.tuned_sep import tuned_sep_detect
from detector.rivals.two_stage import TwoStage
from detector.rivals.ultralytics_predict import UltralyticsPredict
from fieldprep import Field
from fieldprep.catalogues import read_table
from fieldprep.cores import cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from detector.detections import Detections
    from fieldprep.catalogues import Sources

LIMITS = (20.0, 20.5, 21.0)
THRESHOLDS = (0.0, *np.arange(0.02, 0.96, 0.02).round(2).tolist())
BRIGHT_STAR, NEAR_STAR_PX, FAINT = 15.0, 150.0, (20.0, 21.5)
BLENDED_WITH = 21.5  # r magnitude down to which an object in a galaxy's box makes a blend of it
CROWDED = 10.0, 33, 0.5  # sigma, px, share: the cluster's core is where so many pixels are so bright
HEAD = (
    "rival",
    "passes",
    "fields",
    "threshold",
    "C / P r<20",
    "C / P r<20.5",
    "C / P r<21",
    ">22 px recall, IoU (r<21)",
    "AP50 r<20.5",
    "AP50-95 r<20.5",
    "nothing under",
    "M2",
    "injected r<20.5, r<21",
    "simulated C / P r<21",
    "blends",
    "on artefacts",
    "faint near stars",
    "s a field",
)
ON_ARTEFACTS = ("halo", "spike", "bleed", "trail", "saturation")


class Rival(Protocol):
    """What is compared."""

    def __call__(self, field: Field, /) -> Detections:
        """Galaxies of a field."""


@dataclass(frozen=True)
class Entry:
    """A row of the table: how the rival of a fold is loaded (None while that is not trained), and its passes."""

    load: Callable[[int], Rival | None]
    passes: str = "none"


def main() -> None:
    """Detect what is not yet detected, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--line", action="append", default=[])
    parser.add_argument("--simulated", type=Path)
    parser.add_argument("--injected", type=Path)
    parser.add_argument("--only", action="append", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    places = Places(arguments.data, arguments.out, arguments.simulated, arguments.injected)
    rows = {}
    for name, entry in entries(arguments.out, arguments.line).items():
        if arguments.only and not any(part in name for part in arguments.only):
            continue
        detect_all(entry, places, places.found / name.replace(" ", "_").replace("/", "-"))
        row = scores(places, places.found / name.replace(" ", "_").replace("/", "-"))
        if row is not None:
            rows[name] = {"passes": entry.passes, **row}
            print(name, flush=True)
    (places.found.parent / "table.json").write_text(json.dumps(rows, indent=2))
    (places.found.parent / "table.md").write_text(table(rows) + "\n")
    print(table(rows))


def entries(out: Path, lines: list[str]) -> dict[str, Entry]:
    """Rows of the table."""
    rows = {
        "SEP": Entry(lambda _: sep_detect),
        "SEP, tuned": Entry(lambda _: tuned_sep_detect),
        "photutils": Entry(lambda _: photutils_detect),
        "Faster R-CNN": Entry(partial(_two_stage, out), _passes_of_two_stage(out)),
    }
    for line in lines:
        passes = str(LINES[line].passes) if line in LINES else "see its training.json"
        rows[f"{line}: ours"] = Entry(partial(_ours, out, line), passes)
        for name, load in {
            "ultralytics predict": UltralyticsPredict.load,
            "ultralytics predict, whole": partial(UltralyticsPredict.load, whole=True),
            "SAHI 640": Sahi.load,
            "SAHI 512": partial(Sahi.load, slice_px=512),
        }.items():
            rows[f"{line}: {name}"] = Entry(partial(_checkpoint, out, line, load), passes)
    return rows


def _ours(out: Path, line: str, fold: int) -> Rival | None:
    weights = sorted((out / "lines" / line / str(fold)).glob("*.onnx"))
    variant = LINES[line].variant if line in LINES else None
    return partial(detect_at_scale, Detector.load(weights[0]), variant=variant) if weights else None


def _checkpoint(out: Path, line: str, load: Callable[[Path], Any], fold: int) -> Rival | None:
    folder = out / "lines" / line / str(fold)
    checkpoint = folder / "weights" / "last.pt"
    # the export is written last: until then the training is under way
    return load(checkpoint).detect if list(folder.glob("*.onnx")) and checkpoint.exists() else None


def _two_stage(out: Path, fold: int) -> Rival | None:
    checkpoint = out / "rivals" / "fasterrcnn" / str(fold) / "last.pt"
    return TwoStage.load(checkpoint).detect if checkpoint.exists() else None


def _passes_of_two_stage(out: Path) -> str:
    logs = [out / "rivals" / "fasterrcnn" / str(fold) / "log.jsonl" for fold in range(len(FOLDS))]
    done = [json.loads(log.read_text().splitlines()[-1])["passes"] if log.exists() else 0 for log in logs]
    return str(done[0]) if len(set(done)) == 1 else " + ".join(map(str, done))


@dataclass(frozen=True)
class Places:
    """Where the fields are, and where what is found goes."""

    data: Path
    out: Path
    simulated: Path | None
    injected: Path | None

    @property
    def found(self) -> Path:
        """Folder of what was found, a folder a rival."""
        return self.out / "rivals" / "found"

    def fields(self) -> Iterator[tuple[int, str, Path]]:
        """Fold whose training was kept from it, kind, folder of each field; simulated fields go to the first fold."""
        for fold, held in enumerate(FOLDS):
            for name in held:
                yield fold, "real", self.data / "sdss" / name
                if self.injected is not None:
                    yield fold, "injected", self.injected / name
            yield fold, f"m2-{fold}", self.data / "sdss" / STARS_ONLY
        for folder in sorted(self.simulated.iterdir()) if self.simulated is not None else ():
            yield 0, "simulated", folder


def detect_all(entry: Entry, places: Places, to: Path) -> None:
    """Detect in every field that has not been, and keep what was found and the processor seconds it took."""
    loaded: dict[int, Rival | None] = {}
    for fold, kind, folder in places.fields():
        path = to / f"{kind}-{folder.name}.npz"
        # what was not trained says the same of the cluster for every fold
        if path.exists() or (fold and kind.startswith("m2") and entry.passes == "none"):
            continue
        if fold not in loaded:
            loaded[fold] = entry.load(fold)
        rival = loaded[fold]
        if rival is None:
            continue
        field = _field(folder)
        start = time.process_time()
        found = rival(field)
        seconds = time.process_time() - start
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {name: getattr(found, name) for name in ("xyxy", "confidence", "class_id", "flags")}
        np.savez_compressed(path, seconds=seconds, **columns)


@cache
def _field(folder: Path) -> Field:
    return Field.read(folder)


def scores(places: Places, found: Path) -> dict[str, Any] | None:
    """Row of one rival, None where no real field has been detected in."""
    scenes: dict[str, list[Scene]] = {"real": [], "injected": [], "simulated": []}
    artefacts, seconds, stars = [], [], []
    for _, kind, folder in places.fields():
        path = found / f"{kind}-{folder.name}.npz"
        if not path.exists():
            continue
        if kind == "real":
            seconds.append(float(np.load(path)["seconds"]))
            scenes[kind].append(Scene(kept(path), *truth_of(places.data, folder.name)))
        elif kind in scenes:
            truth, shape = _truth(folder)
            scenes[kind].append(Scene(kept(path), truth, shape))
            if kind == "simulated":
                artefacts.append(folder / "artefacts.csv")
        else:
            stars.append(kept(path))
    if not scenes["real"]:
        return None
    threshold = best_threshold(scenes["real"])
    row: dict[str, Any] = {"threshold": threshold, "seconds": float(np.median(seconds))}
    row["real"] = score(scenes["real"], threshold, limits=LIMITS)
    row["m2"] = [_in_m2(one, threshold, places.data / "sdss" / STARS_ONLY) for one in stars]
    if scenes["injected"]:
        injected = [replace(scene, truth=_only_injected(scene.truth)) for scene in scenes["injected"]]
        row["injected"] = {f"{m:g}": _completeness(injected, threshold, _brighter(m)) for m in LIMITS}
    if scenes["simulated"]:
        row["simulated"] = score(scenes["simulated"], threshold, limits=LIMITS)
        row["simulated"]["blends"] = _completeness(scenes["simulated"], threshold, _blended)
        row["simulated"]["faint_near_stars"] = _completeness(scenes["simulated"], threshold, _faint_near_star)
        pairs = zip(scenes["simulated"], artefacts, strict=True)
        row["simulated"]["on_artefacts"] = sum(_on_artefacts(scene, threshold, path) for scene, path in pairs)
    return row


def best_threshold(scenes: list[Scene]) -> float:
    """Confidence with the highest sum of completeness and purity at r < 20 and r < 21."""

    def sum_at(threshold: float) -> float:
        rows = score(scenes, threshold, limits=(20, 21), ap=False)["limits"].values()
        return float(np.nansum([row[kind]["value"] for row in rows for kind in ("completeness", "purity")]))

    return float(max(THRESHOLDS, key=sum_at))


@cache
def _truth(folder: Path) -> tuple[Sources, tuple[int, int]]:
    field, sources = with_truth(folder)
    return sources, field.shape


def _only_injected(truth: Sources) -> Sources:
    return replace(truth, ignore=truth.ignore | (truth.rows["injected"].to_numpy() != 1))


def _brighter(limit: float) -> Callable[[Sources], Any]:
    return lambda truth: truth.magnitude < limit


def _blended(truth: Sources) -> Any:
    """Galaxies at r < 21 with another object's centre, r < 21.5, in their box."""
    xy = np.stack([truth.x, truth.y], axis=1)
    visible = truth.magnitude < BLENDED_WITH
    inside = ((xy[None] > truth.xyxy[:, None, :2]) & (xy[None] < truth.xyxy[:, None, 2:])).all(axis=2)
    return (truth.magnitude < LIMITS[-1]) & ((inside & visible[None]).sum(axis=1) > visible)


def _faint_near_star(truth: Sources) -> Any:
    """Galaxies of r = 20 to 21.5 within 150 px of a star brighter than r = 15."""
    star = ~truth.galaxy & (truth.magnitude < BRIGHT_STAR)
    distance = np.hypot(truth.x[:, None] - truth.x[star], truth.y[:, None] - truth.y[star])
    near = distance.min(axis=1, initial=np.inf) < NEAR_STAR_PX
    return near & (truth.magnitude >= FAINT[0]) & (truth.magnitude < FAINT[1])


def _completeness(scenes: list[Scene], threshold: float, which: Callable[[Sources], Any]) -> dict[str, float]:
    k = n = 0
    for scene in scenes:
        truth = scene.truth
        found = scene.detections.select(scene.detections.confidence >= threshold)
        wanted = truth.galaxy & ~truth.ignore & which(truth)
        hit = match(found.centres, truth)
        n += int(wanted.sum())
        k += int(np.isin(np.flatnonzero(wanted), hit).sum())
    return {"k": k, "n": n, "value": k / n if n else float("nan")}


def _on_artefacts(scene: Scene, threshold: float, path: Path) -> int:
    """Detections with no object under them whose centre lies in the box of a halo, a spike, a trail or a bleed."""
    found = scene.detections.select(scene.detections.confidence >= threshold)
    nothing = found.centres[match(found.centres, scene.truth) < 0]
    rows = read_table(path)
    boxes = rows.loc[rows["kind"].isin(ON_ARTEFACTS), ["x_min", "y_min", "x_max", "y_max"]].to_numpy(np.float64)
    inside = (nothing[:, None] > boxes[None, :, :2]) & (nothing[:, None] < boxes[None, :, 2:])
    return int(inside.all(axis=2).any(axis=1).sum())


def _in_m2(found: Detections, threshold: float, folder: Path) -> int:
    """Galaxies claimed in the half of the cluster's field that was not trained on, outside the core."""
    x, y = np.rint(found.centres).astype(int).T
    wanted = (found.confidence >= threshold) & (x >= TRAINED_COLUMNS) & ~_core(folder)[y, x]
    return int(wanted.sum())


@cache
def _core(folder: Path) -> Any:
    """The cluster's core: where half of all pixels are brighter than ten sigma of the field."""
    sigmas, side, share = CROWDED
    image = np.nan_to_num(_field(folder).bands["r"])
    sigma = 1.4826 * np.median(np.abs(image[:, TRAINED_COLUMNS:] - np.median(image[:, TRAINED_COLUMNS:])))
    return cv2.blur((image > sigmas * sigma).astype(np.float32), (side, side)) > share


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for name, row in rows.items():
        limits = row["real"]["limits"]
        cells = [f"{limits[m]['completeness']['value']:.3f} / {limits[m]['purity']['value']:.3f}" for m in _names()]
        faintest = limits[_names()[-1]]
        cells += [
            f"{faintest['completeness_over_22_px']['value']:.3f}, {faintest['mean_iou_over_22_px']['value']:.3f}",
            *(f"{limits['20.5'][kind]['value']:.3f}" for kind in ("ap50", "ap")),
            f"{row['real']['unmatched']['value']:.3f}",
            ", ".join(map(str, row["m2"])),
            ", ".join(f"{row['injected'][m]['value']:.3f}" for m in _names()[1:]) if "injected" in row else "",
            *_simulated(row.get("simulated")),
            f"{row['seconds']:.2f}",
        ]
        start = [name, row["passes"], str(row["real"]["fields"]), f"{row['threshold']:.2f}"]
        lines.append(f"| {' | '.join([*start, *cells])} |")
    return "\n".join(lines)


def _names() -> list[str]:
    return [f"{limit:g}" for limit in LIMITS]


def _simulated(scored: dict[str, Any] | None) -> list[str]:
    if scored is None:
        return [""] * 4
    faintest = scored["limits"][_names()[-1]]
    return [
        f"{faintest['completeness']['value']:.3f} / {faintest['purity']['value']:.3f}",
        "{k} of {n}".format(**scored["blends"]),
        str(scored["on_artefacts"]),
        "{k} of {n}".format(**scored["faint_near_stars"]),
    ]


if __name__ == "__main__":
    main()
