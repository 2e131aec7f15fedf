"""
The class a detector gives or the class of a crop? AstroCV's question, on the same galaxies.

    python benchmarks/detector_classes.py DATA/gz2 DATA/gz1 --crops CROPS --out WORK [--passes N]

CROPS is what `benchmarks/stamp_classifiers.py` wrote for `morphology` with at least fold 0 told: the galaxies of that
fold are what is scored here, its network is the one that is asked of crops, and neither it nor the detector saw them.

No field with Galaxy Zoo's classes is at hand, so fields are made of its pictures: their stretch is undone, they are
brought to the size that a galaxy has whose box is 16 to 100 px, turned, dimmed and laid on sky of SDSS's noise with
stars, in three bands, as large as SDSS's. On fields of the training side a YOLO nano learns AstroCV's classes with
AstroCV's boxes, from the detector's first training on (`benchmarks/first.npz`). On those of the other side galaxies are
found by it, or by the detector that ships, and told by its own class, or by the crop's.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
import torch
from folds import KEPT, checkpoint_of
from stamp_classifiers import together

from classifiers.classify import Classifier
from classifiers.metrics import classification_scores, share
from classifiers.splits import folds
from classifiers.stampsets import read_stamps
from classifiers.tasks import Task
from detector import Detector
from detector.evaluate.matching import match
from detector.instruments import detect_at_scale
from detector.train import Training, train_and_export
from fieldprep import Field
from fieldprep.catalogues import as_catalogue, sources_on_field
from fieldprep.cores import cores
from fieldprep.errors import InputError
from fieldprep.portraits import SDSS, SDSS_NOISE, portraits_about, sky_flux_of
from fieldprep.training.recipes import ASTROCV_CLASSES, EXTENDED_FACTOR, RECIPES
from fieldprep.training.trainingsets import write_training_set

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from classifiers.stampsets import StampSet
    from fieldprep.catalogues import Sources

    Floats = npt.NDArray[np.float64]

SHAPE = (1489, 2048)
ARCSEC = 0.396  # a pixel
WHOLE = 424  # side of Galaxy Zoo 2's pictures; what is read is the middle of them
BOX = WHOLE / 2 / 2.14  # side of a galaxy's box in such a picture, as `morphology`'s portraits are framed
KEPT_SHARE = 0.7  # of the side of a picture that is laid on a field
SIDES = (16.0, 100.0)  # of boxes on the field, pixels
FAINTEST = 0.3  # share of a galaxy's light
GALAXIES, STARS = 80, 150  # of a field
TRAINING_FIELDS, PLACED = 60, 2  # how often each galaxy that is scored is laid on a field
SEEING = 3.3  # FWHM of stars, pixels
FLOOR = 0.1  # confidence, AstroCV's
BINS = ((16, 24), (24, 40), (40, 64), (64, 100))
# classes of Galaxy Zoo by AstroCV's; votes that make AstroCV's recipe give each
OURS = {
    "smooth_round": "Elliptical",
    "smooth_inbetween": "Elliptical",
    "smooth_cigar": "Elliptical",
    "spiral": "Spiral",
    "edge_on": "Edge-on",
    "not_a_galaxy": "Unknown",
    "merger": "Merge",
}
VOTES = {"Elliptical": "p_el", "Spiral": "p_cw", "Edge-on": "p_edge", "Unknown": "p_dk", "Merge": "p_mg"}


def main() -> None:
    """Make fields, train, find, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs=2)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--passes", type=int, default=8000)
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    seen, left = galaxies(arguments.sets)
    training = arguments.out / "set"
    if not training.exists():
        recipe = replace(
            RECIPES["T2"], variants=("N", "LH"), all_validated=False, least_side=0.0, tile=640, overlap=160
        )
        many = made(seen, np.random.default_rng(0), TRAINING_FIELDS * GALAXIES)
        last = f"made-{TRAINING_FIELDS - 1:04d}"  # what the log is of
        write_training_set(((field, sources) for field, sources in many), training, validation={last}, recipe=recipe)
    folder = arguments.out / "detector"
    if not (folder / "done").exists():
        start = checkpoint_of(KEPT, arguments.out / "first.pt")
        options = Training(
            network=str(start),
            passes=arguments.passes,
            variant_weights={},
            large_weight=1.0,
            one_band=0.0,
            settings={"val": False},
        )
        train_and_export([training], folder, options, resume=(folder / "weights" / "last.pt").exists())
        (folder / "done").touch()
    classed, shipped = Detector.load(folder / "first.onnx"), Detector.load()
    crops = Classifier.load(arguments.crops / "0" / "morphology.onnx")
    rows = []
    for field, sources in made(left, np.random.default_rng(1), PLACED * len(left)):
        rows.append(asked(field, sources, classed, shipped, crops))
        print(f"{field.name}: {len(sources)} galaxies", flush=True)
    table = pd.concat(rows, ignore_index=True)
    table.to_csv(arguments.out / "told.csv", index=False)
    report(table)


def galaxies(sets: Sequence[Path]) -> tuple[StampSet, StampSet]:
    """Galaxies of the five clean classes, mergers and what is none, of all folds but the first and of the first."""
    task = Task.read("morphology")
    parts = zip(sets, (1.0, 1.0), strict=True)
    stamps = together([(path.name, read_stamps(path, centre=part).of_task(task, either=True)) for path, part in parts])
    fold = folds(stamps.labels, stamps.groups, 5, seed=0)
    clean = stamps.rows["set"].to_numpy(np.str_) == sets[0].name
    known = clean | np.isin(stamps.labels, ("merger", "not_a_galaxy"))
    return stamps.select(known & (fold != 0)), stamps.select(known & (fold == 0))


def made(stamps: StampSet, rng: np.random.Generator, number: int) -> Iterator[tuple[Field, Sources]]:
    """Fields of so many galaxies in all, each as often as the others."""
    order = np.concatenate([rng.permutation(len(stamps)) for _ in range(-(-number // len(stamps)))])[:number]
    for k, chosen in enumerate(np.array_split(order, -(-number // GALAXIES))):
        yield made_field(f"made-{k:04d}", stamps.select(chosen), rng)


def made_field(name: str, stamps: StampSet, rng: np.random.Generator) -> tuple[Field, Sources]:
    """A field of sky and stars with galaxies laid on it, the largest first, and what is on it."""
    flux = rng.normal(0, SDSS_NOISE, (*SHAPE, 3)).astype(np.float32)
    add_stars(flux, rng)
    sides = np.sort(np.exp(rng.uniform(*np.log(SIDES), len(stamps))))[::-1]
    rows, places = [], np.zeros((0, 3))
    for stamp, side, label, galaxy in zip(stamps.stamps, sides, stamps.labels, stamps.names, strict=True):
        x, y = free_place(places, side, rng)
        places = np.vstack([places, (x, y, side)])
        lay(flux, light_of(stamp, side, rng), round(x), round(y))
        kind = OURS[str(label)]
        rows.append({"x": round(x), "y": round(y), "side": side, "galaxy": galaxy, "label": label, "kind": kind})
    table = pd.DataFrame(rows)
    spiral = table["kind"] == "Spiral"
    table["petroRad_r"] = ARCSEC * table["side"] / 2.1 / np.where(spiral, EXTENDED_FACTOR, 1.0)
    table = table.assign(type=3, axis_ratio=1.0, theta_deg=0.0, p_acw=0.0, p_cs=spiral.astype(float))
    for kind, vote in VOTES.items():
        table[vote] = (table["kind"] == kind).astype(float)
    bands = {band: np.ascontiguousarray(flux[..., k]) for band, k in (("g", 2), ("r", 1), ("i", 0))}
    field = Field(name, bands, np.zeros(SHAPE, np.bool_), survey=SDSS, pixel_scale=ARCSEC)
    return field, sources_on_field(as_catalogue(table, name=name), SHAPE, wcs=None, pixel_scale=ARCSEC)


def light_of(stamp: npt.NDArray[np.uint8], side: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Flux (n, n, 3) in i, r, g of a picture whose galaxy has a box of this side, dimmed and turned; 0 at its edge."""
    margin = round((len(stamp) - KEPT_SHARE * WHOLE) / 2)
    picture = stamp[margin : len(stamp) - margin, margin : len(stamp) - margin] if margin > 0 else stamp
    flux = sky_flux_of(picture.astype(np.float32) / 255)
    n = max(8, round(side / BOX * len(picture)))
    flux = cv2.resize(flux, (n, n), interpolation=cv2.INTER_AREA)
    off = np.hypot(*(np.indices((n, n)) - (n - 1) / 2)) / (n / 2)
    flux *= np.clip((1 - off) / 0.2, 0, 1)[..., None].astype(np.float32)
    flux = np.rot90(flux, rng.integers(4))
    return np.asarray(flux * np.float32(np.exp(rng.uniform(np.log(FAINTEST), 0))), np.float32)


def free_place(places: Floats, side: float, rng: np.random.Generator) -> tuple[float, float]:
    """Where a box touches none that is there, as far as two hundred throws find such a place."""
    margin = 0.6 * side
    best, most = (0.0, 0.0), -np.inf
    for _ in range(200):
        x, y = rng.uniform(margin, SHAPE[1] - margin), rng.uniform(margin, SHAPE[0] - margin)
        away = np.hypot(places[:, 0] - x, places[:, 1] - y) / (places[:, 2] + side)
        if (nearest := away.min(initial=np.inf)) > most:
            best, most = (x, y), nearest
        if most > 0.75:
            break
    return best


def lay(flux: npt.NDArray[np.float32], light: npt.NDArray[np.float32], x: int, y: int) -> None:
    """Add light about a place, as far as it is on the field."""
    n = len(light)
    x0, y0 = x - (n - 1) // 2, y - (n - 1) // 2
    left, top = max(0, -x0), max(0, -y0)
    part = light[top : SHAPE[0] - y0, left : SHAPE[1] - x0]
    flux[y0 + top : y0 + top + part.shape[0], x0 + left : x0 + left + part.shape[1]] += part


def add_stars(flux: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
    """Stars of r = 14 to 22, evenly, with the colours of stars, as Gaussians."""
    half = 20
    grid = np.arange(-half, half + 1)
    sigma = SEEING / 2.355
    for _ in range(STARS):
        x, y = rng.uniform(half, SHAPE[1] - half), rng.uniform(half, SHAPE[0] - half)
        r = rng.uniform(14, 22)
        g_r = rng.uniform(0.2, 1.4)
        total = 10 ** (0.4 * (22.5 - np.array([r - 0.4 * g_r, r, r + g_r])))  # i, r, g
        dx, dy = grid - (x - round(x)), grid - (y - round(y))
        shape = np.exp(-0.5 * (dx[None, :] ** 2 + dy[:, None] ** 2) / sigma**2)
        lay(flux, (shape[..., None] / shape.sum() * total).astype(np.float32), round(x), round(y))


def asked(field: Field, sources: Sources, classed: Detector, shipped: Detector, crops: Classifier) -> pd.DataFrame:
    """What each galaxy of a field is called, empty where it was not found."""
    table = sources.rows[["galaxy", "label", "kind", "side"]].copy()
    for variant in ("N", "LH"):
        found = classed.detect(field, variant=variant, confidence=FLOOR)
        of = match(found.centres, sources, confidence=found.confidence)
        table[f"detector, {variant}"] = told(of, np.array(ASTROCV_CLASSES)[found.class_id], len(table))
        table[f"its crops, {variant}"] = told(of, called(field, found.centres, found.xyxy, crops), len(table))
    found = detect_at_scale(shipped, field, zoom=1.0, confidence=FLOOR)
    of = match(found.centres, sources, confidence=found.confidence)
    table["shipped detector's crops"] = told(of, called(field, found.centres, found.xyxy, crops), len(table))
    return table


def called(field: Field, centres: Floats, xyxy: Floats, crops: Classifier) -> npt.NDArray[np.str_]:
    """AstroCV's class of each crop, whatever its size."""
    framing = crops.card.framing
    if framing is None:
        raise InputError(f"{crops.card.name}: its card does not say how a detection is framed")
    found = crops.predict(portraits_about(field, centres, xyxy, framing, crops.card.preparation.size))
    of_kind = np.stack(
        [found[:, [OURS[name] == kind for name in crops.classes]].sum(axis=1) for kind in ASTROCV_CLASSES],
        axis=1,
    )
    return np.array(ASTROCV_CLASSES)[of_kind.argmax(axis=1)]


def told(of: npt.NDArray[np.int64], given: npt.NDArray[np.str_], number: int) -> npt.NDArray[np.str_]:
    """What each object is called by what was found, empty where nothing was."""
    out = np.full(number, "", given.dtype if given.dtype.itemsize else "U1")
    out[of[of >= 0]] = given[of >= 0]
    return out


def report(table: pd.DataFrame) -> None:
    """Lines of the table, of galaxies that all found, and by the size of their boxes."""
    ways = list(table.columns[4:])
    all_found = (table[ways] != "").all(axis=1).to_numpy(np.bool_)
    print("| told by | found | accuracy | balanced accuracy | macro F1 | " + " | ".join(f"{a}-{b} px" for a, b in BINS))
    print("|" + "---|" * (5 + len(BINS)))
    same, groups = table[all_found], table["galaxy"].to_numpy(np.str_)
    for way in ways:
        found = share((table[way] != "").to_numpy(np.bool_), groups)
        scores = classification_scores(
            same["kind"].to_numpy(np.str_), same[way].to_numpy(np.str_), ASTROCV_CLASSES, groups=groups[all_found]
        )
        cells = [_cell(found), *(_cell(scores[key]) for key in ("accuracy", "balanced_accuracy", "macro_f1"))]
        right = (same[way] == same["kind"]).to_numpy(np.bool_)
        for low, high in BINS:
            inside = ((same["side"] >= low) & (same["side"] < high)).to_numpy(np.bool_)
            cells.append(_cell(share(right[inside], groups[all_found][inside])))
        print(f"| {way} | " + " | ".join(cells) + " |")
    counts = same["kind"].value_counts().to_dict()
    print(f"n {len(same)} of {len(table)}, {len(set(groups[all_found]))} galaxies; {counts}")
    for way in ways:
        scores = classification_scores(same["kind"].to_numpy(np.str_), same[way].to_numpy(np.str_), ASTROCV_CLASSES)
        recalls = ", ".join(f"{kind} {row['recall']:.3f}" for kind, row in scores["per_class"].items() if row["n"])
        print(f"{way}: recall {recalls}")


def _cell(entry: dict[str, float]) -> str:
    return f"{entry['value']:.3f} ({entry['low']:.3f}-{entry['high']:.3f})"


if __name__ == "__main__":
    main()
