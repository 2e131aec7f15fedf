"""Plots of an evaluation."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.evaluate.completeness import AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GRAY, GREEN = "#3b6ea5", "#d1792c", "#b8bec6", "#4d8b57"
_SHOWN_LIMITS = (("20", BLUE), ("21", ORANGE), ("all", GREEN))
_DOTS_PER_INCH = 100
_NOTHING = "not known here"
_LEAST = 5  # a bin of fewer is drawn pale


def plots_of(result: Mapping[str, Any]) -> dict[str, bytes]:
    """
    Plots of an evaluation.

    Parameters
    ----------
    result : mapping
        As `fullfield.evaluation.evaluate_run` gives it.

    Returns
    -------
    dict of str to bytes
        PNG files by name: ``completeness``, ``curves``, ``reliability``, ``confusion_TASK``, ``pictures``; those there
        is something to draw for.
    """
    plots: dict[str, bytes] = {}
    if "catalogue" in result:
        pooled = result["catalogue"]["pooled"]
        plots["completeness"] = png(_completeness(pooled), (12, 8))
        plots["curves"] = png(_curves(pooled), (12, 4.5))
        plots["reliability"] = png(_reliability(pooled["reliability"]), (12, 4.5))
    for task, scores in result.get("classifiers", {}).items():
        side = 3 + 0.6 * len(scores["classes"])
        plots[f"confusion_{task}"] = png(confusion(scores), (side + 1, side))
    if "pictures" in result:
        plots["pictures"] = png(_pictures(result["pictures"]["pooled"]), (12, 4.5))
    return plots


def png(draw: Callable[[Figure], None], size: tuple[float, float]) -> bytes:
    """PNG of what is drawn on a figure of this size in inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415 -- half a second that only a page needs

    figure = Figure(figsize=size, layout="constrained", dpi=_DOTS_PER_INCH)
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _completeness(pooled: Mapping[str, Any]) -> Any:
    """Completeness and purity against each measure, with how many galaxies there are."""

    def draw(figure: Figure) -> None:
        for axis, measure in zip(figure.subplots(2, 2).ravel().tolist(), AXES, strict=True):
            rows = pooled["bins"][measure.name]
            within = pooled["surface_brightness_within"]
            words = (
                f"{measure.words}, within the {within} radius"
                if within and "surface" in measure.name
                else measure.words
            )
            axis.set_xlabel(words)
            if not rows:
                _empty(axis)
                continue
            _bars(axis, rows)
            for name, colour, shift in (
                ("completeness", BLUE, -0.08),
                ("purity", ORANGE, 0.08),
                ("unmatched", GRAY, 0.2),
            ):
                if name in rows[0]:
                    label = "nothing under them" if name == "unmatched" else name
                    _points(axis, rows, name, color=colour, shift=shift, label=label)
            axis.set_xticks(np.arange(len(rows)), [_range(row) for row in rows], fontsize=8, rotation=30)
            axis.set_ylim(-0.02, 1.02)
            axis.grid(axis="y", alpha=0.3)
        figure.legend(*figure.axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=3)

    return draw


def _bars(axis: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    counts = axis.twinx()
    counts.bar(np.arange(len(rows)), [row["completeness"]["n"] for row in rows], 0.9, color=GRAY, alpha=0.35)
    counts.set_ylabel("galaxies", color="#888")
    counts.tick_params(labelcolor="#888")
    # the bars behind the points
    axis.set_zorder(counts.get_zorder() + 1)
    axis.patch.set_visible(False)


def _points(axis: Axes, rows: Sequence[Mapping[str, Any]], name: str, *, color: str, shift: float, label: str) -> None:
    first = True
    for i, row in enumerate(rows):
        entry = row[name]
        if entry["n"]:
            error = np.abs(np.array([[entry["low"]], [entry["high"]]]) - entry["value"])
            alpha = 1.0 if entry["n"] >= _LEAST else 0.35
            text = label if first else None
            axis.errorbar(i + shift, entry["value"], error, fmt="o", color=color, alpha=alpha, ms=5, label=text)
            first = False


def _range(row: Mapping[str, Any]) -> str:
    low, high = row["low"], row["high"]
    if low is None:
        return f"< {high:g}" if high is not None else "all"
    return f"≥ {low:g}" if high is None else f"{low:g}–{high:g}"


def _curves(pooled: Mapping[str, Any]) -> Any:
    """Precision against recall, and completeness against false detections."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2).tolist()
        for limit, colour in _SHOWN_LIMITS:
            row = pooled["limits"].get(limit)
            if not row or not row["curve"]:
                continue
            name = _limit(limit)
            label = f"{name}: AP50 {row['ap50']['value']:.3f} (n {row['ap50']['n']})"
            left.plot(row["curve"]["recall"], row["curve"]["precision_50"], color=colour, label=label)
            left.plot(row["curve"]["recall"], row["curve"]["precision_75"], "--", color=colour, lw=1)
        left.plot([], [], "--", color="k", lw=1, label="the same at IoU 0.75")
        left.set(xlabel="recall", ylabel="precision (IoU 0.50)", xlim=(0, 1.01), ylim=(0, 1.02))
        for limit, colour in (("21", ORANGE), ("all", GREEN)):
            rows = pooled["thresholds"][limit]
            across = [row["false_per_field"] for row in rows]
            right.plot(across, [row["completeness"]["value"] for row in rows], ".-", color=colour, label=_limit(limit))
            if limit == "all":
                for row in rows[2::4]:
                    at = row["false_per_field"], row["completeness"]["value"]
                    right.annotate(
                        f"{row['confidence']:g}", at, xytext=(4, -11), textcoords="offset points", fontsize=8
                    )
        right.set_xscale("symlog", linthresh=1)
        right.set(xlabel="false detections a field (on stars or nothing)", ylabel="completeness", ylim=(0, 1.02))
        right.set_title("by threshold of confidence, as written beside the points", fontsize=9)
        for axis in (left, right):
            axis.grid(alpha=0.3)
            axis.legend(fontsize=8)

    return draw


def _reliability(reliability: Mapping[str, Any]) -> Any:
    """Share of true detections against their confidence, and how many there are."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2).tolist()
        draw_reliability(left, right, reliability)

    return draw


def draw_reliability(
    left: Axes,
    right: Axes,
    reliability: Mapping[str, Any],
    *,
    share: str = "share that are galaxies",
    many: str = "detections",
) -> None:
    """Share that is so against confidence, before and after calibration, and how many there are of each."""
    left.plot([0, 1], [0, 1], color="k", lw=1, alpha=0.5)
    after = "after calibration" if "raw" in reliability else "as given"
    styles = {"raw": (ORANGE, "before calibration"), "given": (BLUE, after)}
    for k, (name, (colour, label)) in enumerate(styles.items()):
        told = reliability.get(name)
        if not told or not told["n"]:
            continue
        across = [row["mean_confidence"] for row in told["bins"]]
        true = np.array([row["true"] / row["n"] for row in told["bins"]])
        n = np.array([row["n"] for row in told["bins"]])
        spread = np.sqrt((true * (1 - true) * n + 0.25) / (n + 1)) / np.sqrt(n)
        text = f"{label}: error {told['ece']:.3f}, Brier {told['brier']:.3f} (n {told['n']})"
        left.errorbar(across, true, spread, fmt="o-", color=colour, ms=4, label=text)
        middle = np.array([(row["low"] + row["high"]) / 2 for row in told["bins"]])
        shift = 0.012 * (2 * k - 1) if "raw" in reliability else 0.0
        right.bar(middle + shift, n, 0.022, color=colour, label=label)
    left.set(xlabel="confidence", ylabel=share, xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="confidence", ylabel=many, xlim=(0, 1))
    right.set_yscale("log")
    right.set_ylim(bottom=0.7)
    left.grid(alpha=0.3)
    for axis in (left, right):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)


def confusion(scores: Mapping[str, Any]) -> Callable[[Figure], None]:
    """Counts by true and given class, shaded by the share of the true class."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        counts = np.array(scores["confusion"], np.float64).reshape(len(scores["classes"]), -1)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (i, j), count in np.ndenumerate(counts):
            axis.text(j, i, f"{count:.0f}", ha="center", va="center", color="w" if share[i, j] > 0.6 else "k")
        places = np.arange(len(counts))
        axis.set_xticks(places, scores["classes"], rotation=30, ha="right")
        axis.set_yticks(places, scores["classes"])
        axis.set(xlabel="given", ylabel="true")

    return draw


def _pictures(pooled: Mapping[str, Any]) -> Any:
    """Recall and purity against the threshold, and reliability."""

    def draw(figure: Figure) -> None:
        left, middle, right = figure.subplots(1, 3).tolist()
        rows = pooled["thresholds"]
        for name, colour in (("recall", BLUE), ("purity", ORANGE)):
            known = [row for row in rows if row[name]["n"]]
            across = [row["confidence"] for row in known]
            left.plot(across, [row[name]["value"] for row in known], color=colour, label=name)
            low, high = ([row[name][end] for row in known] for end in ("low", "high"))
            left.fill_between(across, low, high, color=colour, alpha=0.2)
        left.set(xlabel="threshold of confidence", ylim=(0, 1.02))
        left.grid(alpha=0.3)
        left.legend(fontsize=8)
        draw_reliability(middle, right, pooled["reliability"])

    return draw


def _limit(limit: str) -> str:
    return "all" if limit == "all" else f"r < {limit}"


def _empty(axis: Axes) -> None:
    axis.text(0.5, 0.5, _NOTHING, ha="center", va="center", transform=axis.transAxes, color="#888")
    axis.set(xticks=[], yticks=[])
