"""
The galaxies that a line of `folds.py` missed, and the stars and empty places it took for galaxies, to look at.

    python benchmarks/foldsheets.py DATA --out WORK --line NAME [--limit 20]

writes ``missed.png`` and ``taken.png`` into ``WORK/lines/NAME``: 64 px about each, catalogued boxes green, ours yellow,
with field, position, magnitude and confidence. The folds are calibrated and cut as in the table of `folds.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from folds import FOLDS, operating_on, scenes_of

from detector.evaluate import match
from fieldprep import Field
from fieldprep.variants import picture

if TYPE_CHECKING:
    from detector.evaluate import Scene

SIDE, ENLARGED, ACROSS = 64, 4, 8
GREEN, YELLOW, WHITE = (0, 220, 0), (0, 220, 255), (255, 255, 255)
CAPTION = 30


def main() -> None:
    """Draw both sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--line", required=True)
    parser.add_argument("--limit", type=float, default=20.0)
    arguments = parser.parse_args()
    of_line = arguments.data, arguments.out, arguments.line
    sheets: dict[str, list[np.ndarray]] = {"missed": [], "taken": []}
    for fold, names in enumerate(FOLDS):
        operating = operating_on(*of_line, [other for other in range(len(FOLDS)) if other != fold])
        for name, scene in zip(names, scenes_of(*of_line, fold), strict=True):
            found = scene.detections.select(operating.at_half(scene.detections.confidence) >= 0.5)
            missed, taken = wrong(scene, found.centres, arguments.limit)
            rgb = picture(Field.read(arguments.data / "sdss" / name), "N")
            print(f"{name}: {len(missed)} missed, {len(taken)} taken for galaxies")
            for what, places in (("missed", missed), ("taken", taken)):
                sheets[what] += [stamp(rgb, scene, found.xyxy, *place, name) for place in places]
    for what, stamps in sheets.items():
        if stamps:
            filled = [*stamps, *[np.zeros_like(stamps[0])] * (-len(stamps) % ACROSS)]
            rows = [np.hstack(filled[k : k + ACROSS]) for k in range(0, len(filled), ACROSS)]
            cv2.imwrite(str(arguments.out / "lines" / arguments.line / f"{what}.png"), np.vstack(rows))


Place = tuple[float, float, str]


def wrong(scene: Scene, centres: np.ndarray, limit: float) -> tuple[list[Place], list[Place]]:
    """Galaxies brighter than the limit that are missed; detections on stars as bright, and on nothing."""
    truth, of = scene.truth, match(centres, scene.truth)
    wanted = truth.galaxy & ~truth.ignore & (truth.magnitude < limit)
    missed = np.setdiff1d(np.flatnonzero(wanted), of)
    star = (of >= 0) & ~truth.galaxy[of] & ~truth.ignore[of] & (truth.magnitude[of] < limit)
    taken = [(*centres[k], f"star {truth.magnitude[of[k]]:.1f}") for k in np.flatnonzero(star)]
    nothing = [(*centres[k], "nothing") for k in np.flatnonzero(of < 0)]
    return [(truth.x[k], truth.y[k], f"r {truth.magnitude[k]:.1f}") for k in missed], taken + nothing


def stamp(rgb: np.ndarray, scene: Scene, ours: np.ndarray, x: float, y: float, text: str, name: str) -> np.ndarray:
    """Picture of a place with the boxes on it and a caption under it, BGR."""
    ny, nx = rgb.shape[:2]
    x0, y0 = (int(np.clip(round(c) - SIDE // 2, 0, n - SIDE)) for c, n in ((x, nx), (y, ny)))
    part = np.ascontiguousarray(rgb[y0 : y0 + SIDE, x0 : x0 + SIDE, ::-1])
    drawn = cv2.resize(part, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_NEAREST)
    for boxes, colour in ((scene.truth.xyxy[scene.truth.galaxy], GREEN), (ours, YELLOW)):
        for box in np.rint((boxes - [x0, y0, x0, y0] + 0.5) * ENLARGED).astype(int).tolist():
            cv2.rectangle(drawn, tuple(box[:2]), tuple(box[2:]), colour, 1)
    under = np.zeros((CAPTION, drawn.shape[1], 3), np.uint8)
    caption = f"{name} {x:.0f},{y:.0f} {text}"
    cv2.putText(under, caption, (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.4, WHITE, 1, cv2.LINE_AA)
    return np.vstack([drawn, under])


if __name__ == "__main__":
    main()
