"""
What `real_bogus_difference` says of another survey's changes: SDSS nights with transients put in, cut in three ways.

    python benchmarks/changes.py FIELD... --out WORK [--classifier real_bogus_difference]

Pairs of nights are made as for `benchmarks/differencing.py`, by other seeds, and subtracted by ours and without
kernels, which leaves more that is bogus. A candidate is real within 3 px of a change of its sign, bogus over 8 px from
any. Its stamp is in the field's own pixels, or its stars are brought to the size that the card says, and what has gone
is then asked as what has come, seen from the other night, as `fullfield run --template` does. Writes ``changes.csv``
and prints a table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import differencing
import epochs
import numpy as np
import pandas as pd
from astropy.stats import binom_conf_interval
from sklearn.metrics import roc_auc_score

from classifiers.classify import Classifier
from fieldprep.differencing import Difference, subtract, triplets

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

METHODS = ("ours", "no kernel")
CUTS = ("own pixels", "stars of one size", "and what has gone as what has come")


def main() -> None:
    """Ask the classifier of every candidate, in each way, and write what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--classifier", default="real_bogus_difference")
    parser.add_argument("--seed", type=int, default=5000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    classifier = Classifier.load(arguments.classifier)
    parts = []
    for folder in arguments.fields:
        frame = epochs.read_frame(folder)
        for s, (setting, nights) in enumerate(epochs.SETTINGS.items()):
            search, template, truth = epochs.two_nights(frame, nights, arguments.seed + s)
            for method in METHODS:
                difference = subtract(search, template, kernels=differencing.METHODS[method])
                told = told_of(classifier, frame, truth, difference)
                parts.append(told.assign(field=folder.name, setting=setting, method=method))
            print(folder.name, setting, flush=True)
    table = pd.concat(parts, ignore_index=True)
    table.to_csv(arguments.out / "changes.csv", index=False)
    print(as_markdown(table))


def told_of(classifier: Classifier, frame: epochs.Frame, truth: pd.DataFrame, difference: Difference) -> pd.DataFrame:
    """Probability of being real of the candidates of a difference, a column a way to cut."""
    found = differencing.scored(frame, truth, difference, keep=False)
    hit = found["truth"][found["truth"]["found"]]
    real = pd.DataFrame({"x": hit["found_x"], "y": hit["found_y"], "positive": hit["flux"] > 0, "kind": hit["kind"]})
    bogus = found["false"][["x", "y", "positive"]].assign(kind="bogus")
    table = pd.concat([real, bogus], ignore_index=True)
    x, y, gone = table["x"].to_numpy(float), table["y"].to_numpy(float), ~table["positive"].to_numpy(bool)
    for name in CUTS:
        stamps = triplets(difference, x, y, stars=0.0 if name == CUTS[0] else classifier.card.stars)
        stamps[gone, ..., 2] *= -1
        if name == CUTS[2]:
            stamps[gone] = stamps[gone][..., [1, 0, 2]]
        table[name] = probabilities(classifier, stamps)
    return table


def probabilities(classifier: Classifier, stamps: npt.NDArray[np.float32]) -> Floats:
    """Probability of the first class, NaN where a stamp has no data."""
    there = np.isfinite(stamps).any(axis=(1, 2, 3))
    out = np.full(len(stamps), np.nan)
    if there.any():
        out[there] = classifier.predict(stamps[there])[:, 0]
    return out


def as_markdown(table: pd.DataFrame) -> str:
    """Area under the curve and shares at a half, a row a way to cut and a method."""
    lines = ["| nights subtracted | stamps | area under the curve | real called real | bogus called bogus |"]
    lines.append("|" + "---|" * 5)
    for method in METHODS:
        of_method = table[table["method"] == method]
        real = (of_method["kind"] != "bogus").to_numpy()
        for name in CUTS:
            p = of_method[name].fillna(0).to_numpy()
            shares = [_share(p[real] >= 0.5), _share(p[~real] < 0.5)]
            lines.append(f"| {method} | {name} | {roc_auc_score(real, p):.3f} | {shares[0]} | {shares[1]} |")
    return "\n".join(lines)


def _share(hit: npt.NDArray[np.bool_]) -> str:
    low, high = binom_conf_interval(int(hit.sum()), len(hit), interval="wilson")
    return f"{hit.mean():.3f} ({low:.3f}-{high:.3f}, n {len(hit)})"


if __name__ == "__main__":
    main()
