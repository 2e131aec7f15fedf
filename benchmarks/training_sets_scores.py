"""
Scores of the networks that ``training_sets.py`` trains: AstroCV's and the design's, as tables, JSON and a plot.

AstroCV's figures are darknet's: a galaxy is recalled if a box of confidence 0.10 or more overlaps it by more than half,
and the mean IoU is over all galaxies, found or not (``validate_detector_recall``, ``examples/detector.c`` of darknet).
The design's recall is by centres (`detector.evaluate`, `detector.pictures`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from detector.evaluate import Share, match
from detector.pictures import PictureScene, Reference, read_reference, score_pictures
from fieldprep import Field
from fieldprep.boxes import iou_table
from fieldprep.catalogues import Sources, read_catalogue, read_table, sources_on_field
from fieldprep.training.recipes import RECIPES, label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector import Detections

CONFIDENCE = 0.10  # AstroCV's threshold
LEAST_SIDE = 22.0  # pixels, of the boxes AstroCV counts
SAME_IOU = 0.5  # darknet's, for a galaxy to be recalled
BRIGHT = 20.0  # r magnitude
HELD = ("001043-5-0025", "008162-6-0080")
PICTURES = {
    "HST": ("hst_xdf_west.png",),
    "JWST": ("jwst_ceers.png", "jwst_leda2046648.jpg", "jwst_rxj2129.jpg", "jwst_sdssj1226_2149.jpg"),
}
ELSEWHERE = "elsewhere"
AS_IT_IS = "as it is"
SHOWN = ("L", "LH", "S", "SH", "Q", "N")

HEADINGS = ("SDSS, own picture", "AstroCV's own", "elsewhere, as it is", "AstroCV's custom", "elsewhere, N")

# recall and mean IoU on their own validation set, then on their pictures of other instruments (Gonzalez et al. 2018)
ASTROCV = {
    "T1": (85.7, 65.8, 12.0, 23.6),
    "T2": (90.2, 70.3, 18.3, 29.6),
    "T3": (87.6, 69.8, 19.2, 29.2),
    "T4": (88.3, 68.1, 40.4, 42.3),
    "T5": (88.2, 68.5, 27.1, 33.6),
    "T6": (85.4, 65.8, 36.4, 40.3),
}


@cache
def with_truth(folder: Path) -> tuple[Field, Sources]:
    """Field of a folder, and what its ``catalogue.csv`` has on it."""
    field = Field.read(folder)
    catalogue = read_catalogue(folder / "catalogue.csv")
    return field, sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)


def scores(data: Path, found: Mapping[str, Detections]) -> dict[str, Any]:
    """Scores of a checkpoint: ``SDSS/VARIANT``, ``HST/VIEW``, ``JWST/VIEW`` and both as ``elsewhere/VIEW``."""
    result = {}
    for view in SHOWN:
        if f"{HELD[0]}/{view}" in found:
            result[f"SDSS/{view}"] = in_sdss(data, [found[f"{field}/{view}"] for field in HELD])
    groups = {**PICTURES, ELSEWHERE: tuple(name for names in PICTURES.values() for name in names)}
    for view in (AS_IT_IS, "N"):
        for group, names in groups.items():
            if f"{names[0]}/{view}" in found:
                result[f"{group}/{view}"] = elsewhere(data, names, [found[f"{name}/{view}"] for name in names])
    return result


def in_sdss(data: Path, found: Sequence[Detections]) -> dict[str, Any]:
    """AstroCV's scores on galaxies over 22 px, and recall and purity by the design's rule of centres."""
    fields = [with_truth(data / "sdss" / name) for name in HELD]
    chosen = [label(sources, RECIPES["T1"], field.shape).sources for field, sources in fields]
    chosen = [sources.select(~sources.ignore) for sources in chosen]
    large = [truth.rows["objid"].isin(c.rows["objid"]).to_numpy() for (_, truth), c in zip(fields, chosen, strict=True)]
    truths = list(zip([sources for _, sources in fields], large, strict=True))
    ranked = over(found, confidence_of_rank(found, sum(int(mask.sum()) for mask in large)))
    found = over(found, CONFIDENCE)
    return {
        **astrocv_scores([best_overlaps(boxes, c.xyxy) for boxes, c in zip(found, chosen, strict=True)]),
        **by_centres(found, truths),
        "recall_ranked": by_centres(ranked, truths)["recall_centre"],
    }


def by_centres(found: Sequence[Detections], truths: Sequence[tuple[Sources, Any]]) -> dict[str, Any]:
    """Recall of the galaxies that are large, bool (N,), and share of the detections that are on any galaxy."""
    counts = dict.fromkeys(("recall_centre", "recall_centre_r20", "purity"), np.zeros(2, np.int64))
    for boxes, (sources, large) in zip(found, truths, strict=True):
        to = match(boxes.centres, sources)
        hit = np.isin(np.arange(len(sources)), to)
        with np.errstate(invalid="ignore"):
            bright = large & (sources.magnitude < BRIGHT)
        counted = ~np.append(sources.ignore, False)[to]
        true = np.append(sources.galaxy, False)[to] & counted
        for key, k, n in zip(counts, (hit & large, hit & bright, true), (large, bright, counted), strict=True):
            counts[key] = counts[key] + np.array([k.sum(), n.sum()])
    return {key: vars(Share(int(k), int(n))) for key, (k, n) in counts.items()}


def elsewhere(data: Path, names: Sequence[str], found: Sequence[Detections]) -> dict[str, Any]:
    """AstroCV's scores on rows over 22 px, and recall and purity by the design's rule for pictures."""
    references = [reference_of(data / "hst_jwst" / f"{Path(name).stem}.reference.csv") for name in names]
    scenes = [PictureScene(boxes, reference) for boxes, (reference, *_) in zip(found, references, strict=True)]
    large = [
        replace(scene, reference=replace(scene.reference, bright=r[2]))
        for scene, r in zip(scenes, references, strict=True)
    ]
    rank = sum(int((reference.bright & ~reference.ignore).sum()) for reference, *_ in references)
    rule, ranked = score_pictures(scenes, CONFIDENCE), score_pictures(scenes, confidence_of_rank(found, rank))
    found = over(found, CONFIDENCE)
    return {
        **astrocv_scores(
            [best_overlaps(boxes, xyxy[mask]) for boxes, (_, xyxy, mask) in zip(found, references, strict=True)]
        ),
        "recall_centre": score_pictures(large, CONFIDENCE)["recall"],
        "recall_bright": rule["recall"],
        "purity": rule["purity"],
        "recall_ranked": ranked["recall"],
    }


def over(found: Sequence[Detections], confidence: float) -> list[Detections]:
    """Detections at or above a confidence."""
    return [boxes.select(boxes.confidence >= confidence) for boxes in found]


def confidence_of_rank(found: Sequence[Detections], rank: int) -> float:
    """Confidence that so many detections reach, all images together; 0 where there are no more than that."""
    confidence = np.sort(np.concatenate([boxes.confidence for boxes in found]))[::-1]
    return float(confidence[rank - 1]) if len(confidence) >= rank else 0.0


@cache
def reference_of(path: Path) -> tuple[Reference, Any, Any]:
    """Reference of a picture, its boxes (N, 4), and which are over 22 px and not ignored (N,)."""
    table = read_table(path)
    xyxy = table[["x_min", "y_min", "x_max", "y_max"]].to_numpy(np.float64)
    large = ((xyxy[:, 2:] - xyxy[:, :2]).max(axis=1) > LEAST_SIDE) & (table["ignore"] == 0).to_numpy()
    return read_reference(path), xyxy, large


def best_overlaps(found: Detections, truth: Any) -> Any:
    """Largest IoU of each true box with any box found, shape (N,); 0 where none overlaps."""
    return iou_table(truth, found.xyxy).max(axis=1, initial=0)


def astrocv_scores(overlaps: Sequence[Any]) -> dict[str, Any]:
    """
    Recall and mean IoU as darknet counts them, whose figures AstroCV quotes.

    A galaxy is recalled if a box overlaps it by more than half; the mean is over all galaxies, found or not
    (``validate_detector_recall`` in ``examples/detector.c`` of darknet).
    """
    best = np.concatenate(overlaps)
    error = float(best.std() / max(1, len(best)) ** 0.5)
    return {
        "recall": vars(Share(int((best > SAME_IOU).sum()), len(best))),
        "iou": {"value": float(best.mean()), "low": best.mean() - error, "high": best.mean() + error, "n": len(best)},
    }


def tables(rows: Sequence[dict[str, Any]], passes: int) -> str:
    """Markdown: each training's scores beside AstroCV's; recall in every picture of the SDSS fields; HST and JWST."""
    if not rows:
        return "no training is done yet\n"
    first = rows[0]["scores"][passes]
    sdss, pictures = first[f"SDSS/{SHOWN[0]}"], first[f"{ELSEWHERE}/{AS_IT_IS}"]
    n = (
        f"n: SDSS {sdss['recall']['n']} galaxies over 22 px, {sdss['recall_centre_r20']['n']} of them r < {BRIGHT:g}; "
        f"elsewhere {pictures['recall']['n']} over 22 px, {pictures['recall_bright']['n']} bright rows."
    )
    lines = [
        f"{passes} tile passes a training, confidence {CONFIDENCE:.2f}, 68 % intervals. SDSS: {', '.join(HELD)}.",
        n,
        "",
        "recall / mean IoU in %, AstroCV's way (overlap over half; mean over all galaxies), galaxies over 22 px",
        "",
        f"| set | seed | fields | pictures | tiles | {' | '.join(HEADINGS)} |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        found, theirs = row["scores"][passes], ASTROCV.get(row["set"])
        cells = [_pair(found, f"SDSS/{row['variants'][0]}"), f"{theirs[0]:.1f} / {theirs[1]:.1f}" if theirs else "-"]
        cells += [_pair(found, f"{ELSEWHERE}/{AS_IT_IS}"), f"{theirs[2]:.1f} / {theirs[3]:.1f}" if theirs else "-"]
        cells.append(_pair(found, f"{ELSEWHERE}/N"))
        about = f"{len(row['fields'])} | {' '.join(row['variants'])} | {row['train_tiles']}"
        lines.append(f"| {row['set']} | {row['seed']} | {about} | {' | '.join(cells)} |")
    views = [f"SDSS/{view}" for view in SHOWN]
    lines += _table(
        "recall, AstroCV's way, of SDSS galaxies over 22 px, by the picture shown", rows, passes, views, "recall"
    )
    lines += _table("the same, by centres", rows, passes, views, "recall_centre")
    lines += _table(
        f"the same, by centres, of those brighter than r = {BRIGHT:g}", rows, passes, views, "recall_centre_r20"
    )
    lines += _table(
        "share of SDSS detections that are on a catalogued galaxy of any size", rows, passes, views, "purity"
    )
    away = [f"{group}/{view}" for view in (AS_IT_IS, "N") for group in (*PICTURES, ELSEWHERE)]
    lines += _table("recall of rows over 22 px, by centres", rows, passes, away, "recall_centre")
    lines += _table("recall of bright rows (the design's rule)", rows, passes, away, "recall_bright")
    lines += _table(
        "the same, of as many of the most confident as there are such rows", rows, passes, away, "recall_ranked"
    )
    lines += _table("purity (the design's rule)", rows, passes, away, "purity")
    return "\n".join(lines) + "\n"


def _table(title: str, rows: Sequence[dict[str, Any]], passes: int, views: Sequence[str], measure: str) -> list[str]:
    lines = ["", title, "", f"| set | seed | {' | '.join(views)} |", "|---|---" + "|---" * len(views) + "|"]
    for row in rows:
        cells = [_interval(row["scores"][passes][view][measure]) for view in views]
        lines.append(f"| {row['set']} | {row['seed']} | {' | '.join(cells)} |")
    return lines


def _pair(found: Mapping[str, Any], view: str) -> str:
    return f"{_interval(found[view]['recall'])} / {100 * found[view]['iou']['value']:.1f}"


def _interval(share: Mapping[str, float]) -> str:
    return f"{100 * share['value']:.1f} ({100 * share['low']:.1f}-{100 * share['high']:.1f})"


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Recall and mean IoU against passes, as the paper shows its convergence, in SDSS and elsewhere."""
    panels: dict[str | None, str] = {None: "SDSS fields kept apart, in the set's own picture"}
    panels |= {f"{ELSEWHERE}/{view}": f"HST and JWST, {view}" for view in (AS_IT_IS, "N") if _has_curve(rows, view)}
    figure, axes = plt.subplots(
        2, len(panels), figsize=(5 * len(panels), 8.5), sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    colours = dict(zip(dict.fromkeys(row["set"] for row in rows), map(plt.colormaps["tab10"], range(10)), strict=False))
    for row in rows:
        for column, panel in enumerate(panels):
            view = panel or f"SDSS/{row['variants'][0]}"
            points = {passes: found[view] for passes, found in row["scores"].items() if view in found}
            if len(points) < 2:  # of the picture N most trainings have the last point only
                continue
            for axis, measure in zip(axes[:, column], ("recall", "iou"), strict=True):
                values = np.array(
                    [[point[measure][key] for key in ("value", "low", "high")] for point in points.values()]
                )
                named = row["set"] if row["seed"] == 0 else None
                style = {"color": colours[row["set"]], "marker": "o", "lw": 1.8 if row["seed"] == 0 else 0.7}
                axis.errorbar(list(points), values[:, 0], np.abs(values[:, 1:] - values[:, :1]).T, label=named, **style)
    for axis, title in zip(axes[0], panels.values(), strict=True):
        axis.set(title=title, ylim=(0, 1))
    for axis in axes[1]:
        axis.set(xlabel="tile passes", ylim=(0, 1))
    axes[0, 0].set(ylabel="recall (overlap over half)")
    axes[1, 0].set(ylabel="mean IoU, of all galaxies")
    for axis in axes.ravel():
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, ncols=2)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _has_curve(rows: Sequence[dict[str, Any]], view: str) -> bool:
    """Whether a training was scored at two checkpoints or more in a picture."""
    return any(sum(f"{ELSEWHERE}/{view}" in found for found in row["scores"].values()) > 1 for row in rows)
