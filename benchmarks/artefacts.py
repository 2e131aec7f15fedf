"""
Real or bogus, of detections: how much of each artefact is rejected where 99 % of galaxies are kept.

    python benchmarks/artefacts.py WORK [--runs RUN...]

WORK is what ``benchmarks/stamp_classifiers.py real_bogus SET --out WORK`` wrote: each stamp is told by the network that
saw nothing of its field. RUN is the folder of a ``fullfield run``: how many of its detections are called bogus, by
confidence.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy.stats import binom_conf_interval

from classifiers.metrics import auc
from fullfield.catalogue import read_parquet

if TYPE_CHECKING:
    import numpy.typing as npt

KEPT = (0.99, 0.995)
MAGNITUDES = (0.0, 19.0, 20.0, 21.0, 21.5, 22.0)
CONFIDENCES = (0.59, 0.3, 0.1, 0.01)


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    table = pd.read_parquet(arguments.work / "found.parquet")
    result: dict[str, Any] = {"at": {}, "auc": auc((table["truth"] == "real").to_numpy(), table["p_real"].to_numpy())}
    galaxies = table[table["kind"] == "galaxy"]
    for kept in KEPT:
        threshold = float(np.quantile(galaxies["p_real"], 1 - kept))
        result["at"][str(kept)] = of_threshold(table, threshold)
        print(f"\n{kept:.1%} of galaxies kept, p_real >= {threshold:.4f}\n" + as_text(result["at"][str(kept)]))
    result["at"]["half"] = of_threshold(table, 0.5)
    print("\np_real >= 0.5\n" + as_text(result["at"]["half"]))
    for run in arguments.runs:
        for path in sorted(run.glob("fields/*/all_detections.parquet")):
            print(path.parent.name, of_run(read_parquet(path).to_pandas()))
    (arguments.work / "scores.json").write_text(json.dumps(result, indent=2))


def of_threshold(table: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """Shares rejected at a threshold, by kind, origin and magnitude, with 68 % intervals."""
    rejected = (table["p_real"] < threshold).to_numpy()
    parts: dict[str, npt.NDArray[np.bool_]] = {}
    for origin, kind in sorted(set(zip(table["origin"], table["kind"], strict=True))):
        parts[f"{kind}, {origin}"] = ((table["origin"] == origin) & (table["kind"] == kind)).to_numpy()
    real = table["truth"] == "real"
    for low, high in pairwise(MAGNITUDES):
        parts[f"galaxy, r {low:g} to {high:g}"] = (
            (table["kind"] == "galaxy") & table["modelMag_r"].between(low, high, inclusive="left")
        ).to_numpy()
    one_band = table["band"] != "all"
    for name, of_name in (("real", real), ("bogus", ~real)):
        parts[f"{name}, one band"] = (of_name & one_band).to_numpy()
        parts[f"{name}, three bands"] = (of_name & ~one_band).to_numpy()
    return {"threshold": threshold} | {name: share(rejected[part]) for name, part in parts.items() if part.any()}


def share(rejected: npt.NDArray[np.bool_]) -> list[float]:
    """Share, its interval, and of how many."""
    k, n = int(rejected.sum()), len(rejected)
    low, high = binom_conf_interval(k, n, 0.6827, interval="jeffreys")
    return [k / n, float(low), float(high), n]


def as_text(rows: dict[str, Any]) -> str:
    """Lines of a table."""
    told = [(name, row) for name, row in rows.items() if name != "threshold"]
    return "\n".join(f"| {name} | {value:.3f} ({low:.3f}-{high:.3f}) | {n} |" for name, (value, low, high, n) in told)


def of_run(table: pd.DataFrame) -> str:
    """Counts of a run's detections, and of those called bogus and called stars."""
    cells = []
    for confidence in CONFIDENCES:
        some = table[table["confidence"] >= confidence]
        bogus, star = (some["real_bogus_class"] == "bogus").sum(), (some["star_galaxy_class"] == "star").sum()
        cells.append(f">= {confidence:g}: {len(some)}, bogus {bogus}, star {star}")
    return "; ".join(cells)


if __name__ == "__main__":
    main()
