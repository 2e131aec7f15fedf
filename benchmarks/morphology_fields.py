"""
What `morphology` says of the bright galaxies of real fields, against what was told by eye before.

    fullfield run FIELD... --classifiers morphology --out RUN
    python benchmarks/morphology_fields.py RUN FIELDS --out DIR

FIELDS holds the fields by name. `morphology_by_eye.csv`, beside this script, has the galaxies of r < 18 in their
catalogues, with the class or the classes that each may be of, told by looking at its portrait before any network was
asked. ``DIR/gallery.png`` shows each as the classifier saw it, ``DIR/gallery.csv`` is the list.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from classifiers.cards import Card
from classifiers.metrics import share
from classifiers.tasks import EITHER
from fieldprep import Field
from fieldprep.portraits import portraits_about
from fieldprep.resources import weights_path
from fullfield.catalogue import read_parquet

BY_EYE = Path(__file__).with_name("morphology_by_eye.csv")
SIDE, FOOT, COLUMNS, GAP = 200, 50, 7, 8
BLACK, WHITE, GREEN, RED, GRAY = (0, 0, 0), (255, 255, 255), (120, 220, 120), (90, 90, 255), (170, 170, 170)


def main() -> None:
    """Match, tell, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("fields", type=Path)
    parser.add_argument("--classifier", default="morphology")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    card = Card.beside(weights_path(arguments.classifier))
    galaxies = pd.read_csv(BY_EYE, dtype={"objID": str})
    rows, panels = [], []
    for name, some in galaxies.groupby("field"):
        found = read_parquet(arguments.run / "fields" / str(name) / "all_detections.parquet").to_pandas()
        field = Field.read(arguments.fields / str(name))
        for galaxy in some.itertuples():
            row = galaxy._asdict() | detection_of(found, galaxy.x, galaxy.y)
            row["right"] = row["predicted"] in galaxy.by_eye.split(EITHER)
            rows.append(row)
            box = np.array([[row[key] for key in ("x_min", "y_min", "x_max", "y_max")]])
            centre = np.array([[row["x_found"], row["y_found"]]])
            seen = np.zeros((SIDE, SIDE, 3), np.uint8)
            if np.isfinite(box).all() and card.framing is not None:
                seen = portraits_about(field, centre, box, card.framing, SIDE)[0]
            panels.append(panel(seen, row))
    table = pd.DataFrame(rows).drop(columns="Index")
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.round(3).to_csv(arguments.out / "gallery.csv", index=False)
    cv2.imwrite(str(arguments.out / "gallery.png"), sheet(panels))
    told = share(table["right"].to_numpy(np.bool_))
    print(table[["field", "objID", "r", "by_eye", "predicted", "probability", "right"]].to_string())
    print(f"right {told['k']} of {told['n']}: {told['value']:.3f} ({told['low']:.3f}-{told['high']:.3f})")
    asked = ~table["predicted"].isin(["", "uncertain", "too_small"])
    told = share(table["right"][asked].to_numpy(np.bool_))
    print(f"of those with a class {told['k']} of {told['n']}: {told['value']:.3f}")


def detection_of(found: pd.DataFrame, x: float, y: float) -> dict[str, float | str]:
    """The nearest detection whose box holds a place or is within 3 px of it; without one no class."""
    near = np.maximum(3.0, 0.5 * np.minimum(found["x_max"] - found["x_min"], found["y_max"] - found["y_min"]))
    distance = np.hypot(found["x"] - x, found["y"] - y)
    surest = found["confidence"].where(distance < near, -1.0)
    names = ("x_min", "y_min", "x_max", "y_max", "confidence")
    if not len(found) or surest.max() < 0:
        return {"predicted": "", "probability": np.nan, "x_found": np.nan, "y_found": np.nan} | dict.fromkeys(
            names, np.nan
        )
    row = found.loc[surest.idxmax()]
    return {
        "predicted": str(row["morphology_class"]),
        "probability": float(row["morphology_probability"]),
        "x_found": float(row["x"]),
        "y_found": float(row["y"]),
        **{name: float(row[name]) for name in names},
    }


def panel(picture: np.ndarray, row: dict[str, object]) -> np.ndarray:
    """A portrait with what it was called, in green where the eye agrees."""
    out = np.zeros((SIDE + FOOT, SIDE, 3), np.uint8)
    out[:SIDE] = picture[..., ::-1]
    colour = GREEN if row["right"] else RED
    texts = (
        (f"{row['predicted'] or 'not found'} {row['probability']:.2f}", colour),
        (f"eye: {row['by_eye']}", GRAY),
        (f"{row['field']}  r {row['r']:.1f}", GRAY),
    )
    for k, (text, ink) in enumerate(texts):
        cv2.putText(out, text, (3, SIDE + 14 + 15 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.38, ink, 1, cv2.LINE_AA)
    return out


def sheet(panels: list[np.ndarray]) -> np.ndarray:
    """Panels in rows."""
    rows = -(-len(panels) // COLUMNS)
    height, width = SIDE + FOOT + GAP, SIDE + GAP
    out = np.zeros((rows * height, COLUMNS * width, 3), np.uint8)
    for k, one in enumerate(panels):
        top, left = k // COLUMNS * height, k % COLUMNS * width
        out[top : top + one.shape[0], left : left + SIDE] = one
    return out


if __name__ == "__main__":
    main()
