"""The page of a classifier: what was scored, every figure with its n and interval, plots, stamps to look at."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from classifiers.against import COMPARED, SIDES
from classifiers.evaluate import FEW_GROUPS
from fieldprep.network import first_filters
from fullfield.catalogue import atomic
from fullfield.classifiergalleries import Looked, examples, least_sure, surest_mistakes
from fullfield.classifierplots import plots_of
from fullfield.clusterplots import cluster_plots
from fullfield.pages import (
    TABLE_FILE,
    cell,
    class_tables,
    document,
    image,
    paragraph,
    plain,
    table,
    words,
    write_page,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from classifiers.classify import Classifier
    from classifiers.evaluate import Judged
    from classifiers.preparing import FloatArray


def write_classifier_evaluation(
    out: Path, result: Mapping[str, Any], judged: Judged, classifier: Classifier, path: Path
) -> None:
    """
    Write an evaluation.

    That is ``evaluation.html`` (all in one file), ``evaluation.json``, ``evaluation/*.png``, and ``evaluation.csv``, a
    row a stamp: see `classifiers.evaluate.Judged.table`.

    Parameters
    ----------
    out : path
        The folder.
    result : mapping
        As `fullfield.classifierevaluation.evaluate_classifier` gives it.
    judged : Judged
        The stamps that it is of.
    classifier : Classifier
        The classifier.
    path : path
        Its ``.onnx``.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    filters = first_filters(path)
    plots = plots_of(result, filters[0] if filters else None, classifier.card.preparation)
    if "regions" in result:
        plots |= cluster_plots(judged)
    looked = Looked.of(judged, classifier, path)
    parts = [
        *_heading(result),
        *_scores(result),
        *_thresholds(result),
        *_against(result),
        *_plots(result, plots),
        *_cluster(result, plots),
        *surest_mistakes(looked),
        *least_sure(looked),
        "<h2>What it looks at</h2>",
        *_filters(filters, plots),
        *examples(looked),
    ]
    out.mkdir(parents=True, exist_ok=True)
    with atomic(out / TABLE_FILE) as temporary:
        judged.table(result.get("magnitudes", {}).get("column")).to_csv(temporary, index=False)
    write_page(out, result, document(f"Evaluation of {classifier.card.name}", parts), plots)


def _heading(result: Mapping[str, Any]) -> list[str]:
    scored = result["scored_on"]
    other = scored["other_labels"]
    left = f" {other} more have labels that are none of its classes and are left out." if other else ""
    lead = "<p><b>" + html.escape(scored["words"] + left) + "</b></p>"
    labels = ", ".join(f"{label} is {name}" for label, name in scored["labels"].items())
    counts = ", ".join(f"{row['n']} {name}" for name, row in result["per_class"].items())
    return [
        paragraph(result["classifier"]),
        lead,
        paragraph(
            f"{result['n']} stamps ({counts}), {result['groups']} groups (an object or a patch of sky; where no column "
            "tells, each stamp is its own). In brackets 68 % intervals, told by drawing groups with replacement; in "
            f"grey n. What is said of each stamp is in {TABLE_FILE}." + (f" Of the labels {labels}." if labels else "")
        ),
        *(f"<p><b>{html.escape(note)}</b></p>" for note in result["notes"]),
    ]


def _scores(result: Mapping[str, Any]) -> list[str]:
    rows = [(html.escape(name), *(cell(told) for told in row.values())) for name, row in result["recall_at"].items()]
    rates = next(iter(result["recall_at"].values()))
    return [
        "<h2>Scores</h2>",
        *class_tables(result),
        "<h3>Recall at few false positives</h3>",
        paragraph("Largest recall of a class at no more than this share of the other stamps taken for it."),
        table(("class", *(f"at {float(rate):.0%}" for rate in rates)), rows),
    ]


def _thresholds(result: Mapping[str, Any]) -> list[str]:
    told = result.get("threshold")
    if told is None:
        return []
    head = "<h3>A threshold for a wanted recall</h3>"
    name, wanted = told["class"], f"{told['wanted']:g}"
    if "value" not in told:
        return [head, paragraph("There are too few groups of both classes to choose a threshold on one half of them.")]
    on = (
        f"the {told['chosen_n']} stamps that it was validated on; the stamps above are what it is scored on"
        if told["chosen_on"] == "validation"
        else f"one half of the groups ({told['chosen_n']} stamps); the other half is what it is scored on"
    )
    return [
        head,
        paragraph(f"For a recall of {wanted} of {name}, chosen on {on}."),
        table(
            ("threshold", "recall", "false positives", "precision"),
            [
                (
                    f"{told['value']:.4f}",
                    *(f"{cell(told[key])}" for key in ("recall", "false_positives", "precision")),
                )
            ],
        ),
    ]


def _against(result: Mapping[str, Any]) -> list[str]:
    told = result.get("against")
    if told is None:
        return []
    head = ("measure", "this one", "the other", "difference")
    parts = [
        "<h2>Against another</h2>",
        paragraph(told["classifier"]),
        paragraph(
            f"{told['words']} Both are asked the same {told['n']} stamps; only this one has {told['only_one']} of them "
            f"right, only the other {told['only_other']}. The interval of the difference is told in pairs."
        ),
        table(head, [(words(name), *(cell(told[name][side]) for side in SIDES)) for name in COMPARED]),
    ]
    if "regions" in told:
        rows = [
            (html.escape(name), *(cell(row["accuracy"][side]) for side in SIDES))
            for name, row in told["regions"].items()
        ]
        parts += [paragraph("Accuracy by region of the colour-magnitude diagram."), table(("region", *head[1:]), rows)]
    return parts


def _plots(result: Mapping[str, Any], plots: Mapping[str, bytes]) -> list[str]:
    error = {name: told["ece"] for name, told in result["calibration"].items()}
    raw = f", {plain(error['raw'])} without the temperature" if "raw" in error else ""
    parts = [
        "<h2>Confusion</h2>",
        image("confusion", plots, "confusion"),
        "<h2>Curves</h2>",
        image("curves", plots, "receiver's curve, precision against recall"),
        "<h2>Confidence</h2>",
        paragraph(f"Temperature {result['temperature']:.3f}. Expected calibration error {plain(error['given'])}{raw}."),
        image("reliability", plots, "share of right answers against their probability"),
        image("histograms", plots, "probabilities of each class"),
    ]
    if "disagreement" in result:
        spread = result["disagreement"]
        parts += [
            "<h3>How far its networks are apart</h3>",
            paragraph(f"Standard deviation of the probability given by each of its {result['networks']} networks."),
            table(("right answers", "wrong answers"), [(cell(spread["right"]), cell(spread["wrong"]))]),
        ]
    parts.append("<h2>By magnitude</h2>")
    told = result.get("magnitudes")
    if told is None:
        parts.append(
            paragraph("The table of labels has no column of magnitudes by a usual name; --magnitude names one.")
        )
    else:
        pale = f" A bin of fewer than {FEW_GROUPS} groups is pale." if "magnitudes" in plots else ""
        parts.append(paragraph(f"Column {told['column']}; {told['without']} stamps have no magnitude in it.{pale}"))
        if "magnitudes" in plots:
            parts.append(image("magnitudes", plots, "scores by magnitude"))
    return parts


def _cluster(result: Mapping[str, Any], plots: Mapping[str, bytes]) -> list[str]:
    if "regions" not in result:
        return []
    rows = [
        (html.escape(name), *(cell(row[key]) for key in ("accuracy", "completeness", "purity")))
        for name, row in result["regions"].items()
    ]
    return [
        "<h2>Of the cluster</h2>",
        paragraph(
            "By region of the colour-magnitude diagram: accuracy, the share of members that are found, and of members "
            "among those called so."
        ),
        table(("region", "accuracy", "completeness", "purity"), rows),
        image("sky", plots, "members on the sky, as they are and as they are called"),
        image("colours", plots, "members by magnitude and colour"),
        image("pairs", plots, "pairs of magnitude, colours and probability"),
    ]


def _filters(filters: list[FloatArray], plots: Mapping[str, bytes]) -> list[str]:
    if "filters" not in plots:
        return [paragraph("No convolution of it sees the stamps themselves: there are no first filters to show.")]
    several = f" Those of the first of {len(filters)} networks are shown." if len(filters) > 1 else ""
    return [
        "<h3>First filters</h3>",
        paragraph(f"Each by its own largest weight.{several}"),
        image("filters", plots, "filters of the first layer"),
    ]
