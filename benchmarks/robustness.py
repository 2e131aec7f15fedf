"""
How far recall moves when the same sky is shown otherwise: rotations, zooms and stretches of one field, and shear.

    python benchmarks/robustness.py DATA --weights FILE --out DIR [--confidence C] [--arcs 25] [--fields 2]

The field is F160W of the XDF (the red channel of ``hst_xdf_west.png``; its rows 1000 to 1900), as an 8-bit grey picture
under 4 rotations x 3 zooms x 4 stretches, each made as DS9 makes it. The detector is told nothing; recall is over the
bright references, at one threshold. Then arcs on simulated fields (the train extra), by reduced shear. Writes
``robustness.json`` and ``robustness.png``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import matplotlib as mpl
import numpy as np
from instruments import at_threshold

from detector import Detector
from detector.evaluate import Share
from detector.instruments import detect_at_scale
from detector.pictures import LEAST_MATCH_PX, read_reference
from fieldprep import Field

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.pictures import Reference

mpl.use("Agg")

ROWS = slice(1000, 1900)
TURNS, ZOOMS = (0, 1, 2, 3), (0.7, 1.0, 1.4)
SHEARS = (0.0, 0.2, 0.4, 0.6, 0.8)
# of what lies between the limits, 0 to 1: the functions of DS9's Scale menu
STRETCHES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "sqrt": np.sqrt,
    "log": lambda x: np.log10(1000 * x + 1) / np.log10(1001),
    "asinh": lambda x: np.arcsinh(10 * x) / np.arcsinh(10),
}


def main() -> None:
    """Measure both, and plot them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="galaxy")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--confidence", type=float)
    parser.add_argument("--arcs", type=int, default=25)
    parser.add_argument("--fields", type=int, default=2)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    detector = Detector.load(arguments.weights)
    threshold = detector.card.confidence if arguments.confidence is None else arguments.confidence
    shown = shown_otherwise(detector, arguments.data / "hst_jwst" / "hst_xdf_west.png", threshold)
    sheared = sheared_arcs(detector, threshold, arguments.arcs, arguments.fields) if arguments.fields else []
    result = {"confidence": threshold, "spread": spread(shown), "shown": shown, "shear": sheared}
    (arguments.out / "robustness.json").write_text(json.dumps(result, indent=1))
    _plot(result, arguments.out / "robustness.png")
    print(json.dumps({"spread": result["spread"], "shear": sheared}, indent=1))


def shown_otherwise(detector: Detector, path: Path, threshold: float) -> list[dict[str, Any]]:
    """Recall and purity of each rotation, zoom and stretch."""
    image, reference = f160w(path)
    rows = []
    for stretch, zoom, turns in product(STRETCHES, ZOOMS, TURNS):
        gray = zoomed(eight_bits(image, STRETCHES[stretch]), zoom)
        turned = np.ascontiguousarray(np.rot90(gray, turns))
        field = Field("xdf", {"gray": turned}, np.zeros(turned.shape, np.bool_))
        recall, purity = at_threshold(
            detect_at_scale(detector, field), moved(reference, gray.shape, zoom, turns), threshold
        )
        rows.append({"stretch": stretch, "zoom": zoom, "degrees": 90 * turns, "recall": recall, "purity": purity})
        print(rows[-1], flush=True)
    return rows


def f160w(path: Path) -> tuple[np.ndarray, Reference]:
    """Part of the XDF in F160W, and its references there."""
    whole, reference = Field.read(path).bands["R"], read_reference(path.parent / "hst_xdf_west.reference.csv")
    inside = (reference.xy[:, 1] >= ROWS.start) & (reference.xy[:, 1] < ROWS.stop)
    kept = {name: getattr(reference, name)[inside] for name in ("reach", "bright", "ignore")}
    up = np.array([0, ROWS.start])
    circles = reference.circles - np.array([0, ROWS.start, 0])
    return whole[ROWS], replace(reference, xy=reference.xy[inside] - up, circles=circles, xyxy=None, **kept)


def eight_bits(image: np.ndarray, stretch: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Picture as DS9 makes it, between the 0.5 percentile and the brightest pixel; whole numbers, still float32."""
    low, high = np.percentile(image, 0.5), image.max()
    return np.rint(255 * stretch(np.clip((image - low) / (high - low), 0, 1))).astype(np.float32)


def zoomed(gray: np.ndarray, zoom: float) -> np.ndarray:
    """8-bit picture enlarged or shrunk."""
    size = round(gray.shape[1] * zoom), round(gray.shape[0] * zoom)
    way = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    return np.rint(cv2.resize(gray, size, interpolation=way)).clip(0, 255).astype(np.float32)


def moved(reference: Reference, shape: tuple[int, ...], zoom: float, turns: int) -> Reference:
    """Reference of the zoomed picture, of this shape, after quarter turns as of `numpy.rot90`."""
    xy, circles = (reference.xy + 0.5) * zoom - 0.5, reference.circles * zoom
    circles[:, :2] = (reference.circles[:, :2] + 0.5) * zoom - 0.5
    for turn in range(turns):
        width = shape[1] if turn % 2 == 0 else shape[0]
        xy = np.stack([xy[:, 1], width - 1 - xy[:, 0]], axis=1)
        circles = np.stack([circles[:, 1], width - 1 - circles[:, 0], circles[:, 2]], axis=1)
    return replace(reference, xy=xy, circles=circles, reach=np.maximum(LEAST_MATCH_PX, reference.reach * zoom))


def spread(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Least, median, greatest recall, and its standard deviation: of all, and of each stretch, zoom and rotation."""
    parts = {"all": rows}
    for key in ("stretch", "zoom", "degrees"):
        for value in dict.fromkeys(row[key] for row in rows):
            parts[f"{key} {value}"] = [row for row in rows if row[key] == value]
    table = {}
    for name, part in parts.items():
        recall = np.array([row["recall"] for row in part])
        purity = float(np.median([row["purity"] for row in part]))
        values = {"n": len(part), "min": recall.min(), "median": np.median(recall), "max": recall.max()}
        table[name] = {k: round(float(v), 3) for k, v in {**values, "std": recall.std(), "purity": purity}.items()}
    return table


def sheared_arcs(detector: Detector, threshold: float, arcs: int, fields: int) -> list[dict[str, Any]]:
    """Recall of arcs around groups by their reduced shear, the same sky otherwise."""
    from fieldprep.simulation.simulate import Recipe, simulate  # noqa: PLC0415 -- needs the train extra

    rows = []
    for shear in SHEARS:
        found = wanted = 0
        for seed in range(fields):
            made = simulate(7000 + seed, (600, 600), recipe=Recipe(arcs=arcs, shear=shear))
            camera = made.camera.reference
            field = _on_r_grid(made, camera.shape)
            centres = detect_at_scale(detector, field, confidence=threshold).centres
            arc = made.truth[(made.truth["kind"] == "arc") & (made.truth["ignore"] == 0)]
            xy = arc[["x", "y"]].to_numpy(np.float64)
            semi = 1.05 * arc["petroRad_r"].to_numpy() * arc["axis_ratio"].to_numpy() / made.camera.pixel_scale
            inside = ((xy > 5) & (xy < 595)).all(axis=1)
            near = np.linalg.norm(xy[:, None] - centres[None], axis=2) <= np.maximum(3, semi)[:, None]
            found += int(near.any(axis=1)[inside].sum())
            wanted += int(inside.sum())
        rows.append({"shear": shear, **vars(Share(found, wanted))})
        print(rows[-1], flush=True)
    return rows


def _on_r_grid(made: Any, shape: tuple[int, int]) -> Field:
    """Simulated field as a reader would make it."""
    from fieldprep.align import resample  # noqa: PLC0415 -- as `simulate`

    wcs = made.wcs
    bands = {b: image if b == "r" else resample(image, wcs[b], wcs["r"], shape) for b, image in made.images.items()}
    mask = ~np.isfinite(np.stack(list(bands.values()))).all(axis=0)
    return Field("arcs", bands, mask, pixel_scale=made.camera.pixel_scale)


def _plot(result: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot as plt  # noqa: PLC0415 -- after the backend is set

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for k, stretch in enumerate(STRETCHES):
        rows = [row for row in result["shown"] if row["stretch"] == stretch]
        at = [k + 0.2 * (ZOOMS.index(row["zoom"]) - 1) for row in rows]
        left.scatter(at, [row["recall"] for row in rows], c=[row["degrees"] for row in rows], cmap="viridis", s=18)
    left.set_xticks(range(len(STRETCHES)), list(STRETCHES))
    left.set(
        ylim=(0, 1), ylabel="recall of bright references", title="F160W; zoom 0.7, 1, 1.4 from the left; colour: turn"
    )
    if result["shear"]:
        value, low, high = (np.array([row[k] for row in result["shear"]]) for k in ("value", "low", "high"))
        right.errorbar(SHEARS, value, [value - low, high - value], fmt="o-")
    right.set(
        ylim=(0, 1), xlabel="reduced shear", ylabel="recall of arcs", title="simulated SDSS fields, 68 % intervals"
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
