"""Plots of a cluster's members: the colour-magnitude diagram, the sky, and what a classifier says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers.metrics import share
from fieldprep.clusters.cluster import BACKGROUND, MEMBER
from fieldprep.clusters.regions import REGIONS
from fullfield.evaluationplots import BLUE, GRAY, GREEN, ORANGE, png

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from classifiers.evaluate import Judged
    from fieldprep.clusters import Sample

NEEDED = ("ra", "dec", "region", "modelMag_r", "g_z")
# by label and by what is said
_SHOWN = {
    (MEMBER, MEMBER): ("member, found", BLUE, "o"),
    (MEMBER, BACKGROUND): ("member, missed", ORANGE, "v"),
    (BACKGROUND, MEMBER): ("background, taken for a member", GREEN, "^"),
    (BACKGROUND, BACKGROUND): ("background", GRAY, "o"),
}


def diagram(sample: Sample) -> bytes:
    """PNG of r against g - z of a sample, with its red sequence and what was left out of the diagram's reach."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        gone = sample.cleaned.removed
        inside = gone[np.isfinite(gone["modelMag_r"]) & np.isfinite(gone["g_z"])]
        axes.scatter(inside["modelMag_r"], inside["g_z"], s=3, color=GRAY, label=f"left out ({len(inside)})", alpha=0.5)
        for name, colour in ((BACKGROUND, ORANGE), (MEMBER, BLUE)):
            some = sample.rows[sample.rows["label"] == name]
            axes.scatter(some["modelMag_r"], some["g_z"], s=9, color=colour, label=f"{name} ({len(some)})")
        r = np.array([sample.rows["modelMag_r"].min() - 0.3, sample.rows["modelMag_r"].max() + 0.3])
        middle, half = sample.regions.line(r), sample.regions.half_width
        axes.plot(r, middle, color="black", lw=1, label="red sequence")
        axes.fill_between(r, middle - half, middle + half, color="black", alpha=0.08)
        axes.set(xlabel="r", ylabel="g - z", xlim=tuple(r), title=f"{sample.cluster.name}: {len(sample.rows)} objects")
        low, high = np.nanpercentile(sample.rows["g_z"], [0.5, 99.5])
        axes.set_ylim(low - 0.4, high + 0.4)
        axes.legend(fontsize=8)

    return png(draw, (7.5, 5.5))


def of_a_cluster(judged: Judged) -> bool:
    """Whether stamps are members and others of a cluster, with what the plots need."""
    return set(judged.classes) == {MEMBER, BACKGROUND} and set(NEEDED) <= set(judged.stamps.rows.columns)


def by_region(judged: Judged) -> dict[str, Any]:
    """
    How right a classifier is in each region of the colour-magnitude diagram.

    Parameters
    ----------
    judged : Judged
        Stamps whose rows have ``region``.

    Returns
    -------
    dict
        By region ``accuracy``, ``completeness`` of members and ``purity`` of what is called one, each with ``k``,
        ``n``, ``value``, ``low`` and ``high`` as of `classifiers.metrics.share`.
    """
    groups = judged.stamps.groups
    names = np.array(judged.classes)
    member, called = names[judged.true] == MEMBER, names[judged.given] == MEMBER

    def told(positive: npt.NDArray[np.bool_], of: npt.NDArray[np.bool_]) -> dict[str, Any]:
        return share(positive[of], groups[of])

    return {
        name: {
            "accuracy": told(judged.right, inside),
            "completeness": told(called, inside & member),
            "purity": told(member, inside & called),
        }
        for name, inside in in_regions(judged).items()
    }


def in_regions(judged: Judged) -> dict[str, npt.NDArray[np.bool_]]:
    """Which stamps, whose rows have ``region``, are in each region that any is in."""
    region = judged.stamps.rows["region"].astype(str).to_numpy()
    return {name: region == name for name in REGIONS if (region == name).any()}


def cluster_plots(judged: Judged) -> dict[str, bytes]:
    """
    Plots of what a classifier says of a cluster's galaxies.

    Parameters
    ----------
    judged : Judged
        Stamps whose rows have `NEEDED`.

    Returns
    -------
    dict of str to bytes
        PNG files: ``sky``, the members as they are, as they are called, and where these differ; ``colours``, the same
        on the colour-magnitude diagram; ``pairs``, all pairs of magnitudes and probability.
    """
    rows, names = judged.stamps.rows, np.array(judged.classes)
    label, given = names[judged.true], names[judged.given]
    return {
        "sky": png(lambda figure: _sky(figure, rows, label, given), (13, 4.6)),
        "colours": png(lambda figure: _colours(figure, rows, label, given), (7.5, 5.5)),
        "pairs": png(lambda figure: _pairs(figure, rows, judged, label, given), (9, 9)),
    }


def _scatter(axes: Axes, x: Any, y: Any, label: npt.NDArray[Any], given: npt.NDArray[Any]) -> None:
    for (true, said), (words, colour, marker) in reversed(_SHOWN.items()):
        some = (label == true) & (given == said)
        size = 9 if true == said else 26
        axes.scatter(x[some], y[some], s=size, color=colour, marker=marker, label=f"{words} ({int(some.sum())})")


def _sky(figure: Figure, rows: pd.DataFrame, label: npt.NDArray[Any], given: npt.NDArray[Any]) -> None:
    ra, dec = rows["ra"].to_numpy(np.float64), rows["dec"].to_numpy(np.float64)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (title, of) in zip(panels, (("as they are", label), ("as they are called", given)), strict=False):
        for name, colour in ((BACKGROUND, GRAY), (MEMBER, BLUE)):
            some = of == name
            axes.scatter(ra[some], dec[some], s=9, color=colour, label=f"{name} ({int(some.sum())})")
        axes.set_title(title)
    _scatter(panels[2], ra, dec, label, given)
    panels[2].set_title("where they differ")
    aspect = 1 / max(np.cos(np.radians(float(np.mean(dec)))), 0.05)
    for axes in panels:
        axes.set(xlabel="right ascension, degrees", aspect=aspect)
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    panels[0].set_ylabel("declination, degrees")
    panels[0].invert_xaxis()  # east to the left; the others share the axis


def _colours(figure: Figure, rows: pd.DataFrame, label: npt.NDArray[Any], given: npt.NDArray[Any]) -> None:
    axes = figure.add_subplot()
    _scatter(axes, rows["modelMag_r"].to_numpy(), rows["g_z"].to_numpy(), label, given)
    axes.set(xlabel="r", ylabel="g - z")
    axes.legend(fontsize=8)


def _pairs(
    figure: Figure, rows: pd.DataFrame, judged: Judged, label: npt.NDArray[Any], given: npt.NDArray[Any]
) -> None:
    """Every two of magnitude, colours and probability against each other, and the histogram of each by label."""
    values = {"r": rows["modelMag_r"], "g - z": rows["g_z"]}
    more = {"g - r": ("modelMag_g", "modelMag_r"), "r - i": ("modelMag_r", "modelMag_i")}
    values |= {name: rows[a] - rows[b] for name, (a, b) in more.items() if {a, b} <= set(rows.columns)}
    probability = judged.probabilities[:, judged.classes.index(MEMBER)]
    columns = {name: np.asarray(value, np.float64) for name, value in values.items()} | {"p of a member": probability}
    panels = figure.subplots(len(columns), len(columns), squeeze=False)
    for i, (below, y) in enumerate(columns.items()):
        for j, (beside, x) in enumerate(columns.items()):
            axes = panels[i, j]
            if i == j:
                edges = np.histogram_bin_edges(x[np.isfinite(x)], 20)
                for name, colour in ((BACKGROUND, ORANGE), (MEMBER, BLUE)):
                    axes.hist(x[label == name], edges, histtype="step", color=colour, label=name)
            elif j < i:
                _scatter(axes, x, y, label, given)
            else:
                axes.set_visible(False)
            axes.tick_params(labelsize=7)
            if i == len(columns) - 1:
                axes.set_xlabel(beside, fontsize=8)
            if j == 0 and i:
                axes.set_ylabel(below, fontsize=8)
    handles, words = panels[-1, 0].get_legend_handles_labels()
    figure.legend(handles, words, loc="upper right", fontsize=9)
    panels[0, 0].legend(fontsize=7)
