"""Plots of a classifier's evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers.evaluate import FEW_GROUPS
from fullfield.evaluationplots import BLUE, GRAY, GREEN, ORANGE, confusion, draw_reliability, png

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from classifiers.preparing import FloatArray, Preparation

_MARKED = (0.01, 0.05)  # shares of false positives
_LINEAR = 0.02  # share of false positives up to which their axis is about linear
_COLUMNS = 3  # of histograms
_ACROSS = 32  # filters side by side


def plots_of(
    result: Mapping[str, Any], filters: FloatArray | None = None, preparation: Preparation | None = None
) -> dict[str, bytes]:
    """
    Plots of an evaluation.

    Parameters
    ----------
    result : mapping
        As `classifiers.evaluate.evaluate` gives it.
    filters : 4D float32 `~numpy.ndarray`, shape (filters, inputs, ny, nx), optional
        Of the first layer.
    preparation : Preparation, optional
        How stamps are prepared, to tell what the filters' channels are.

    Returns
    -------
    dict of str to bytes
        PNG files by name: ``confusion``, ``curves``, ``reliability``, ``histograms``, ``magnitudes``, ``filters``;
        those there is something to draw for.
    """
    side = 3 + 0.6 * len(result["classes"])
    rows = -(-len(_shown(result)) // _COLUMNS)
    plots = {
        "confusion": png(confusion(result), (side + 1, side)),
        "curves": png(_curves(result), (12, 5)),
        "reliability": png(_reliability(result["calibration"]), (12, 4.5)),
        "histograms": png(_histograms(result), (12 if len(_shown(result)) > 1 else 7, 3.6 * rows)),
    }
    if result.get("magnitudes", {}).get("bins"):
        plots["magnitudes"] = png(_magnitudes(result["magnitudes"]), (12, 4.5))
    if filters is not None and preparation is not None:
        blocks = -(-len(filters) // _ACROSS)
        across = min(len(filters), _ACROSS)
        plots["filters"] = png(
            _filters(filters, preparation), (1.8 + 0.36 * across, 0.5 + 0.36 * filters.shape[1] * blocks)
        )
    return plots


def _shown(result: Mapping[str, Any]) -> list[str]:
    """Classes that a plot has a panel or a curve for: of two, what is told of the first holds for the other."""
    return list(result["classes"][:1] if len(result["classes"]) == 2 else result["classes"])


def _colour(number: int, of: int) -> Any:
    from matplotlib import colormaps  # noqa: PLC0415 -- half a second that only a page needs

    return (BLUE, ORANGE, GREEN)[number] if of <= 3 else colormaps["tab10" if of <= 10 else "tab20"](number)


def _curves(result: Mapping[str, Any]) -> Callable[[Figure], None]:
    """Recall against false positives, and precision against recall, of each class against the others."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2).tolist()
        names = [name for name in _shown(result) if name in result["curves"]]
        for i, name in enumerate(names):
            told = result["curves"][name]
            style = {"color": _colour(i, len(names))}
            left.step(
                told["false_positives"], told["recall"], where="post", label=f"{name}: area {told['auc']:.3f}", **style
            )
            label = f"{name}: average precision {told['average_precision']:.3f} (share {_prior(told):.3f})"
            right.plot(told["recall"], told["precision"], label=label, **style)
            right.axhline(_prior(told), ls=":", lw=1, **style)
        chance = np.append(_LINEAR * np.sinh(np.linspace(0, np.arcsinh(1 / _LINEAR), 400))[:-1], 1.0)
        left.plot(chance, chance, color="k", lw=1, alpha=0.5, label="chance")  # a curve, on this axis
        for rate in _MARKED:
            left.axvline(rate, color=GRAY, lw=1, ls="--")
        left.set_xscale("asinh", linear_width=_LINEAR)  # symlog has a kink where its halves meet
        left.set_xticks([0, 0.01, 0.05, 0.1, 0.5, 1], ["0", "0.01", "0.05", "0.1", "0.5", "1"])
        left.minorticks_off()
        left.set(xlabel="share of the others that are taken (stretched at the low end)", ylabel="recall")
        left.set(xlim=(0, 1), ylim=(0, 1.02))
        right.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
        left.set_title("receiver's curve; dashed: 1 and 5 % of the others", fontsize=9)
        right.set_title("dotted: a class taken blindly", fontsize=9)
        left.legend(fontsize=8, loc="lower right")
        right.legend(fontsize=8, loc="lower left")
        for axis in (left, right):
            axis.grid(alpha=0.3)

    return draw


def _prior(told: Mapping[str, Any]) -> float:
    return float(told["positives"] / told["n"])


def _reliability(calibration: Mapping[str, Any]) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2).tolist()
        draw_reliability(left, right, calibration, share="share that are right", many="stamps")
        for axis in (left, right):
            axis.set_xlabel("probability of the class given")

    return draw


def _histograms(result: Mapping[str, Any]) -> Callable[[Figure], None]:
    """Scores of each class, of its own stamps and of the others."""
    shown = _shown(result)

    def draw(figure: Figure) -> None:
        columns = min(_COLUMNS, len(shown))
        axes = np.atleast_1d(figure.subplots(-(-len(shown) // columns), columns, squeeze=False)).ravel().tolist()
        for axis in axes[len(shown) :]:
            axis.set_visible(False)
        for axis, name in zip(axes, shown, strict=False):
            others = result["classes"][1] if len(result["classes"]) == 2 else "the others"
            told = result["histograms"][name]
            steps = np.linspace(0, 1, len(told["own"]) + 1)
            for key, colour, label in (("own", BLUE, name), ("others", ORANGE, others)):
                axis.stairs(told[key], steps, color=colour, fill=True, alpha=0.35)
                axis.stairs(told[key], steps, color=colour, label=f"{label} (n {sum(told[key])})")
            axis.set_yscale("log")
            axis.set(xlabel=f"probability of {name}", ylabel="stamps", xlim=(0, 1), ylim=(0.7, None))
            axis.legend(fontsize=8)

    return draw


def _magnitudes(told: Mapping[str, Any]) -> Callable[[Figure], None]:
    """Accuracy and area by magnitude, over what the commonest class alone would have."""
    rows = told["bins"]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2).tolist()
        _bars(left, rows)
        _bars(right, rows)
        _points(left, rows, "accuracy", BLUE, -0.08)
        _points(left, rows, "balanced_accuracy", ORANGE, 0.08)
        across = np.arange(len(rows))
        left.plot(across, [row["accuracy"]["baseline"] for row in rows], "_", color="k", ms=18, label="commonest class")
        _points(right, rows, "macro_auc", GREEN, 0.0)
        for axis in (left, right):
            axis.set_xticks(across, [f"{row['low']}–{row['high']}" for row in rows])
            axis.set(xlabel=told["column"], ylim=(0, 1.02))
            axis.grid(axis="y", alpha=0.3)
        figure.legend(
            *(a + b for a, b in zip(*(x.get_legend_handles_labels() for x in (left, right)), strict=True)),
            loc="outside upper center",
            ncols=4,
        )

    return draw


def _bars(axis: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    counts = axis.twinx()
    counts.bar(np.arange(len(rows)), [row["n"] for row in rows], 0.9, color=GRAY, alpha=0.35)
    counts.set_ylabel("stamps", color="#888")
    counts.tick_params(labelcolor="#888")
    # the bars behind the points
    axis.set_zorder(counts.get_zorder() + 1)
    axis.patch.set_visible(False)


def _points(axis: Axes, rows: Sequence[Mapping[str, Any]], name: str, colour: str, shift: float) -> None:
    label: str | None = name.replace("_", " ").replace("auc", "AUC")
    for i, row in enumerate(rows):
        entry = row[name]
        if np.isfinite(entry["value"]):
            error = np.maximum(np.array([[entry["value"] - entry["low"]], [entry["high"] - entry["value"]]]), 0)
            alpha = 1.0 if row["groups"] >= FEW_GROUPS else 0.35
            axis.errorbar(i + shift, entry["value"], error, fmt="o", color=colour, alpha=alpha, ms=5, label=label)
            label = None


def _filters(filters: FloatArray, preparation: Preparation) -> Callable[[Figure], None]:
    """Filters from left to right, a row for each channel that they see, each filter by its own largest weight."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        number, inputs, ny, nx = filters.shape
        blocks, across = -(-number // _ACROSS), min(number, _ACROSS)
        canvas = np.full((blocks * inputs * (ny + 1) - 1, across * (nx + 1) - 1), np.nan)
        shown = filters / np.maximum(np.abs(filters).max(axis=(1, 2, 3), keepdims=True), 1e-12)
        for k, of_filter in enumerate(shown):
            x = k % _ACROSS * (nx + 1)
            for channel, weights in enumerate(of_filter):
                y = (k // _ACROSS * inputs + channel) * (ny + 1)
                canvas[y : y + ny, x : x + nx] = weights
        seen = axis.imshow(canvas, cmap="RdBu_r", vmin=-1, vmax=1)
        names = [f"{name}, channel {i + 1}" for name in preparation.scaling for i in range(preparation.seen)]
        axis.set_yticks((ny + 1) * np.arange(blocks * inputs) + (ny - 1) / 2, names * blocks, fontsize=8)
        axis.set_xticks([])
        axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
        figure.colorbar(seen, ax=axis, label="weight", shrink=0.9, pad=0.01)

    return draw
