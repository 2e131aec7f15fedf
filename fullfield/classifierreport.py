"""The page of a classifier: what was scored, every figure with its n and interval, plots, stamps to look at."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers.series import Series
from fieldprep.errors import InputError
from fieldprep.network import first_filters
from fullfield.classifierplots import plots_of
from fullfield.pages import cards, cell, class_tables, document, image, paragraph, plain, table, write_page
from fullfield.stampdrawing import block, stamp_rows, with_heat

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from classifiers.classify import Classifier
    from classifiers.evaluate import Judged
    from classifiers.preparing import FloatArray

    Ints = npt.NDArray[np.int64]

MOST_SHOWN = 24  # stamps of a gallery; the page says of how many
MAPS_OF_A_CLASS = 6
NO_TRAIN = 'Maps of where it looks need the train extra: pip install "fullfield[train]".'


def write_classifier_evaluation(
    out: Path, result: Mapping[str, Any], judged: Judged, classifier: Classifier, path: Path
) -> None:
    """
    Write an evaluation: ``evaluation.json``, ``evaluation.html`` (all in one file), ``evaluation/*.png``.

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
    parts = [
        *_heading(result),
        *_scores(result),
        *_thresholds(result),
        *_plots(result, plots),
        *_galleries(judged, classifier),
        "<h2>What it looks at</h2>",
        *_filters(filters, plots),
        *_maps(judged, classifier, path),
    ]
    write_page(out, result, document(f"Evaluation of {classifier.card.name}", parts), plots)


def _heading(result: Mapping[str, Any]) -> list[str]:
    scored = result["scored_on"]
    other = scored["other_labels"]
    left = f" {other} more have labels that are none of its classes and are left out." if other else ""
    lead = "<p><b>" + html.escape(scored["words"] + left) + "</b></p>"
    counts = ", ".join(f"{row['n']} {name}" for name, row in result["per_class"].items())
    return [
        paragraph(result["classifier"]),
        lead,
        paragraph(
            f"{result['n']} stamps ({counts}), {result['groups']} groups (an object or a patch of sky; where no column "
            "tells, each stamp is its own). In brackets 68 % intervals, told by drawing groups with replacement; in "
            "grey n."
        ),
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
        parts.append(paragraph("The table of labels has no column of magnitudes."))
    else:
        parts.append(paragraph(f"Column {told['column']}; {told['without']} stamps have none in it."))
        if "magnitudes" in plots:
            parts.append(image("magnitudes", plots, "scores by magnitude"))
    return parts


def _galleries(judged: Judged, classifier: Classifier) -> list[str]:
    highest = judged.probabilities.max(axis=1)
    wrong = np.flatnonzero(~judged.right)
    mistakes = wrong[np.argsort(-highest[wrong], kind="stable")]
    unsure = np.argsort(highest, kind="stable")
    return [
        "<h2>Its surest mistakes</h2>",
        _shown_of(len(mistakes), "mistakes, the surest first", "There is no mistake."),
        _gallery(judged, classifier, mistakes[:MOST_SHOWN]),
        "<h2>Where it is least sure</h2>",
        _shown_of(len(unsure), "stamps, the least sure first", "There is no stamp."),
        _gallery(judged, classifier, unsure[:MOST_SHOWN]),
    ]


def _shown_of(number_of: int, what: str, none: str) -> str:
    return paragraph(f"{min(number_of, MOST_SHOWN)} of {number_of} {what}." if number_of else none)


def _inputs(judged: Judged, classifier: Classifier, chosen: Ints) -> tuple[FloatArray, list[npt.NDArray[Any]]]:
    """Prepared stamps, of a series its latest, and the stamps themselves."""
    stamps: list[npt.NDArray[Any]] = []
    for i in chosen:
        one = judged.stamps.stamps[int(i)]
        stamps.append(np.asarray(one.latest(1).stamps[0] if isinstance(one, Series) else one))
    return classifier.card.preparation(stamps), stamps


def _gallery(judged: Judged, classifier: Classifier, chosen: Ints) -> str:
    if not len(chosen):
        return ""
    inputs, stamps = _inputs(judged, classifier, chosen)
    rows = [stamp_rows(one, classifier.card.preparation, like) for one, like in zip(inputs, stamps, strict=True)]
    return cards((*block(panels), _caption(judged, int(i))) for panels, i in zip(rows, chosen, strict=True))


def _caption(judged: Judged, i: int) -> str:
    given = judged.classes[int(judged.given[i])]
    return f"{judged.stamps.names[i]}\nis {judged.stamps.labels[i]}; {given} {judged.probabilities[i].max():.3f}"


def _filters(filters: list[FloatArray], plots: Mapping[str, bytes]) -> list[str]:
    if "filters" not in plots:
        return [paragraph("No convolution of it sees the stamps themselves: there are no first filters to show.")]
    several = f" Those of the first of {len(filters)} networks are shown." if len(filters) > 1 else ""
    return [
        "<h3>First filters</h3>",
        paragraph(f"Each by its own largest weight.{several}"),
        image("filters", plots, "filters of the first layer"),
    ]


def _maps(judged: Judged, classifier: Classifier, path: Path) -> list[str]:
    """Grad-CAM of stamps of each class, and of the surest mistakes."""
    head = "<h3>Which parts of a stamp speak for the class given (Grad-CAM)</h3>"
    try:
        from classifiers.attention import attention, check_same, networks_of  # noqa: PLC0415 -- needs the train extra
    except ImportError:
        return [head, paragraph(NO_TRAIN)]
    chosen = _of_maps(judged)
    inputs, stamps = _inputs(judged, classifier, chosen)
    try:
        networks = networks_of(path, classifier.card)
        check_same(networks, classifier, inputs)
        heat = attention(networks, classifier.card, inputs, judged.given[chosen])
    except InputError as error:  # the figures stand without the maps
        return [head, paragraph(f"Not drawn: {error}.")]
    prepare = classifier.card.preparation
    pictures = []
    for i, one, like, one_heat in zip(chosen, inputs, stamps, heat, strict=True):
        panels = stamp_rows(one, prepare, like)[0]
        pictures.append((*block([panels, with_heat(panels, one_heat)]), _caption(judged, int(i))))
    return [
        head,
        paragraph(
            f"Of each class given at most {MAPS_OF_A_CLASS} right answers, from the surest to the least sure, then as "
            "many of the surest mistakes; the stamp first, then with the map on it, brightest where most speaks for "
            "the class. A dark map: nothing speaks for it, it was given for want of another. Selvaraju et al. 2017, on "
            "the last convolution."
        ),
        cards(pictures),
    ]


def _of_maps(judged: Judged) -> Ints:
    highest = judged.probabilities.max(axis=1)
    order = np.argsort(-highest, kind="stable")
    chosen: list[int] = []
    for k in range(len(judged.classes)):
        right = order[(judged.right & (judged.given == k))[order]]
        steps = np.unique(np.linspace(0, len(right) - 1, min(MAPS_OF_A_CLASS, len(right))).round().astype(np.int64))
        chosen += right[steps].tolist()
    return np.array([*chosen, *order[~judged.right[order]][:MAPS_OF_A_CLASS]], np.int64)
