"""
Which confidence to put on a detector's card: the best F1 (of completeness and purity) brighter than r = 21.

    python benchmarks/threshold.py FIELD... [--detector NAME]

Use fields that the detector is not scored on: its training fields, or simulated ones (``fullfield simulate``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from detector import Detector
from detector.evaluate import Scene, score
from fieldprep import Field
from fieldprep.catalogues import read_catalogue, sources_on_field

LIMIT = 21.0


def main() -> None:
    """Print completeness, purity and F1 against the threshold, the best one marked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", nargs="+", type=Path)
    parser.add_argument("--detector", default="galaxy")
    arguments = parser.parse_args()
    detector = Detector.load(arguments.detector)
    scenes = []
    for folder in arguments.fields:
        field = Field.read(folder)
        catalogue = read_catalogue(folder / "catalogue.csv")
        truth = sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)
        scenes.append(Scene(detector.detect(field), truth, field.shape))
    rows = []
    for threshold in np.arange(0.1, 0.61, 0.02):
        row = score(scenes, float(threshold), limits=(LIMIT,), ap=False)["limits"][f"{LIMIT:g}"]
        completeness, purity = row["completeness"]["value"], row["purity"]["value"]
        rows.append((threshold, completeness, purity, 2 * completeness * purity / (completeness + purity)))
    best = max(row[3] for row in rows)
    print("| confidence | completeness | purity | F1 |\n|---|---|---|---|")
    for threshold, completeness, purity, f1 in rows:
        mark = " <- best" if f1 == best else ""
        print(f"| {threshold:.2f} | {completeness:.3f} | {purity:.3f} | {f1:.3f} |{mark}")


if __name__ == "__main__":
    main()
