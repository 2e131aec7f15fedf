"""
Star or galaxy: our network by the folds that did not see a stamp, a concentration cut and a random forest beside it.

    python benchmarks/star_galaxy.py WORK SET...

WORK is what ``benchmarks/stamp_classifiers.py star_galaxy SET... --out WORK`` wrote, from the same sets. The rivals see
what a catalogue says of each stamp (`classifiers.measures`) and are fitted to the same folds: the cut to the balanced
accuracy, as it is and against the median of the more concentrated half of the stamp's own field, which is that of its
stars; the forest tuned inside the training side. Given by origin and magnitude: ARIES's labels are SDSS's types, those
of simulated fields are exact, those of real fields come from a concentration cut (agreement, not accuracy).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold
from stamp_classifiers import together

from classifiers.measures import CATALOGUE_FEATURES, catalogue_features
from classifiers.metrics import auc
from classifiers.stampsets import read_stamps
from classifiers.tasks import Task
from fieldprep.cores import cores

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

MAGNITUDES = (0.0, 18.0, 19.0, 20.0, 20.5, 21.0, 21.5, 22.0)
BLENDED_PX = 10.0  # from a neighbour not two magnitudes fainter
RESAMPLES = 200
GRID = {"min_samples_leaf": [3, 10]}
NAMES = ("ours", "concentration", "concentration against the field's", "random forest")


def main() -> None:
    """Measure, fit, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("sets", type=Path, nargs="+")
    arguments = parser.parse_args()
    task = Task.read("star_galaxy")
    stamps = together([(path.resolve().name, read_stamps(path).of_task(task)) for path in arguments.sets])
    found = pd.read_parquet(arguments.work / "found.parquet")
    if not (found["name"].to_numpy(str) == stamps.names).all():
        raise SystemExit(f"{arguments.work}: was trained on other sets")
    table = stamps.rows.assign(star=stamps.labels == "star", ours=found["p_star"], fold=found["fold"])
    table["group"] = stamps.groups
    table["origin"] = table.get("origin", pd.Series(index=table.index, dtype=object)).fillna("ARIES")
    for column, values in zip(CATALOGUE_FEATURES, catalogue_features(stamps.stamps).T, strict=True):
        table[f"of_{column}"] = values
    for name, values in rivals(table).items():
        table[name] = values
    rows = []
    for origin, part in table.groupby("origin"):
        rows.append(scores(part, str(origin)))
        if "modelMag_r" in part and part["modelMag_r"].notna().any():
            rows.append(scores(part[part["modelMag_r"] < 21], f"{origin}, r < 21"))
            bins = pd.cut(part["modelMag_r"], MAGNITUDES, right=False)
            rows += [
                scores(of_bin, f"{origin}, r {bin_.left:g} to {bin_.right:g}")
                for bin_, of_bin in part.groupby(bins, observed=True)
            ]
            blended = part[part["neighbour_px"] < BLENDED_PX]
            rows.append(scores(blended, f"{origin}, blended"))
            rows.append(scores(blended[blended["modelMag_r"] < 21], f"{origin}, blended, r < 21"))
        gray = part.get("band", pd.Series(index=part.index, dtype=object)).isin(list("gri"))
        if gray.any():
            rows.append(scores(part[gray], f"{origin}, one band"))
    (arguments.work / "scores.json").write_text(json.dumps(rows, indent=2))
    print(as_table(rows))


def rivals(table: pd.DataFrame) -> dict[str, Floats]:
    """Probability of being a star, or what stands for it, by each rival."""
    features = table[[f"of_{name}" for name in CATALOGUE_FEATURES]].to_numpy(np.float64)
    concentration = np.nan_to_num(features[:, 0], nan=0.0)
    locus = table.assign(c=concentration).groupby("group")["c"].transform(lambda c: c[c >= c.median()].median())
    found = {name: np.zeros(len(table)) for name in NAMES[1:]}
    star, fold, group = (table[name].to_numpy() for name in ("star", "fold", "group"))
    filled = np.nan_to_num(features, nan=-99.0)
    of_set = table["origin"].to_numpy(str)
    for number in np.unique(fold):
        for origin in np.unique(of_set):  # each is fitted to its own instrument, which is to its gain
            seen, left = (fold != number) & (of_set == origin), (fold == number) & (of_set == origin)
            for name, value in ((NAMES[1], concentration), (NAMES[2], concentration / locus.to_numpy())):
                found[name][left] = 0.5 + (value[left] - best_cut(value[seen], star[seen])) / 10
            search = GridSearchCV(
                RandomForestClassifier(200, class_weight="balanced", max_features=0.3, random_state=0),
                GRID,
                scoring="roc_auc",
                n_jobs=cores(),
                cv=GroupKFold(3),
            ).fit(filled[seen], star[seen], groups=group[seen])
            print(f"fold {number}, {origin}: random forest {search.best_params_}", flush=True)
            found[NAMES[3]][left] = search.predict_proba(filled[left])[:, 1]
    return found


def best_cut(value: Floats, star: Bools) -> float:
    """Cut with the highest balanced accuracy, stars over it."""
    cuts = np.quantile(value, np.linspace(0.005, 0.995, 400))
    balanced = [(value[star] >= cut).mean() + (value[~star] < cut).mean() for cut in cuts]
    return float(cuts[int(np.argmax(balanced))])


def scores(part: pd.DataFrame, name: str) -> dict[str, Any]:
    """Area under the curve and balanced accuracy of each, with 68 % intervals by resampling fields."""
    star = part["star"].to_numpy(bool)
    row: dict[str, Any] = {"of": name, "stars": int(star.sum()), "galaxies": int((~star).sum())}
    row["groups"] = int(part["group"].nunique())
    if not (star.any() and (~star).any()):
        return row
    rng = np.random.default_rng(0)
    groups = list(part.groupby("group").indices.values())
    draws = [np.concatenate([groups[k] for k in rng.integers(0, len(groups), len(groups))]) for _ in range(RESAMPLES)]
    for rival in NAMES:
        value = part[rival].to_numpy(np.float64)
        for measure in (auc, balanced):
            drawn = [measure(star[draw], value[draw]) for draw in draws]
            low, high = np.nanpercentile(drawn, [16, 84])
            row[f"{rival} {measure.__name__}"] = [measure(star, value), float(low), float(high)]
    return row


def balanced(star: Bools, value: Floats) -> float:
    """Balanced accuracy at a half."""
    if star.all() or not star.any():
        return float("nan")
    return float(((value[star] >= 0.5).mean() + (value[~star] < 0.5).mean()) / 2)


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| of | stars, galaxies (fields) | " + " | ".join(f"{name}: AUC; balanced accuracy" for name in NAMES) + " |"
    ]
    lines.append("|" + "---|" * (2 + len(NAMES)))
    for row in rows:
        cells = [f"{row['of']} | {row['stars']}, {row['galaxies']} ({row['groups']})"]
        for name in NAMES:
            of = [row.get(f"{name} {measure}") for measure in ("auc", "balanced")]
            cells.append("; ".join("–" if one is None else f"{one[0]:.3f} ({one[1]:.3f}-{one[2]:.3f})" for one in of))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
