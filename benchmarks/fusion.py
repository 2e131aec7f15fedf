"""
What several looks at a field buy, fused, and what they cost: zooms and variants, on SDSS fields and on pictures.

    python benchmarks/fusion.py DATA --weights FILE --fields NAME... --pictures NAME... --out FILE

Use fields and pictures that the weights were not trained on. The threshold of the SDSS fields is for each line the
one that is best for it (the sum of completeness and purity at r < 20 and r < 21), so that what differs is the order
of the detections; of pictures the recall at purity 0.85 is given.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from folds import truth_of
from instruments import working_point

from detector import Detector
from detector.evaluate import Scene, score
from detector.fusion import fused
from detector.instruments import detect_at_scale
from detector.pictures import read_reference
from fieldprep import Field
from fieldprep.scale import zoom_factor

LOOKS = (("N", 1.0), ("N", 0.8), ("N", 1.25), ("L", 1.0))
LINES = {"N": (0,), "N at 0.8, 1, 1.25": (0, 1, 2), "N + L": (0, 3), "N at 0.8, 1, 1.25, + L": (0, 1, 2, 3)}


def main() -> None:
    """Look once in each way, fuse in several."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="galaxy")
    parser.add_argument("--fields", nargs="*", default=[])
    parser.add_argument("--pictures", nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    detector = Detector.load(arguments.weights)
    table: dict[str, dict[str, Any]] = {name: {} for name in LINES}
    seen = {name: _looks(detector, Field.read(arguments.data / "sdss" / name)) for name in arguments.fields}
    for line, chosen in LINES.items():
        if not seen:
            break
        scenes = [
            Scene(fused([looks[k][0] for k in chosen]), *truth_of(arguments.data, name)) for name, looks in seen.items()
        ]
        seconds = sum(looks[k][1] for looks in seen.values() for k in chosen)
        once = sum(looks[0][1] for looks in seen.values())
        table[line]["sdss"] = {**_best(scenes), "times_one_look": round(seconds / once, 2)}
        print(line, json.dumps(table[line]), flush=True)
    for name in arguments.pictures:
        looks = _looks(detector, Field.read(arguments.data / "hst_jwst" / name))
        reference = read_reference(arguments.data / "hst_jwst" / f"{Path(name).stem}.reference.csv")
        for line, chosen in LINES.items():
            table[line][name] = working_point(fused([looks[k][0] for k in chosen]), reference)
            print(name, line, json.dumps(table[line][name]), flush=True)
    arguments.out.write_text(json.dumps(table, indent=1))


def _looks(detector: Detector, field: Field) -> list[tuple[Any, float]]:
    """Detections of each look, and its seconds."""
    own = zoom_factor(field)
    made = []
    for variant, zoom in LOOKS:
        start = time.perf_counter()
        made.append((detect_at_scale(detector, field, zoom=own * zoom, variant=variant), time.perf_counter() - start))
    return made


def _best(scenes: list[Scene]) -> dict[str, Any]:
    """Scores at the threshold that is best for them, and average precision."""
    rows = {
        float(threshold): [
            score(scenes, float(threshold), limits=(20, 21), ap=False)["limits"][m][k]["value"]
            for m in ("20", "21")
            for k in ("completeness", "purity")
        ]
        for threshold in np.arange(0.06, 0.8, 0.04)
    }
    threshold = max(rows, key=lambda t: sum(rows[t]))
    full = score(scenes, threshold, limits=(20.5, 21))["limits"]
    return {
        "threshold": round(threshold, 2),
        "C20 P20 C21 P21": [round(value, 3) for value in rows[threshold]],
        "mean_iou": round(full["20.5"]["mean_iou"]["value"], 3),
        "ap50": [round(full[m]["ap50"]["value"], 3) for m in ("20.5", "21")],
        "n": full["21"]["completeness"]["n"],
    }


if __name__ == "__main__":
    main()
