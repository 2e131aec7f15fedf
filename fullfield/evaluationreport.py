"""The page of an evaluation: what was scored, every figure with its n and interval, the plots."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from detector.evaluate.precision import SIZES
from fullfield.evaluationplots import plots_of
from fullfield.evaluationtext import number, taken_lines
from fullfield.pages import cell, class_tables, document, image, paragraph, table, write_page

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LIMIT_COLUMNS = (
    ("completeness", "completeness"),
    ("purity", "purity"),
    ("mean_iou", "mean IoU"),
    ("ap50", "AP50"),
    ("ap", "AP50-95"),
    ("completeness_over_22_px", "completeness, box over 22 px"),
    ("mean_iou_over_22_px", "mean IoU, box over 22 px"),
)


def write_evaluation(out: Path, result: Mapping[str, Any]) -> None:
    """
    Write an evaluation: ``evaluation.json``, ``evaluation.html`` (all in one file), ``evaluation/*.png``.

    Parameters
    ----------
    out : path
        The folder.
    result : mapping
        As `fullfield.evaluation.evaluate_run` gives it.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    plots = plots_of(result)
    write_page(out, result, _page(result, plots), plots)


def _page(result: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    parts = [paragraph(_heading(result))]
    if "catalogue" in result:
        parts += _catalogue(result["catalogue"], plots)
    for task, scores in result.get("classifiers", {}).items():
        parts += _classifier(task, scores, plots)
    if result.get("calls"):
        parts += _calls(result["calls"])
    if "pictures" in result:
        parts += _pictures(result["pictures"], plots)
    return document(f"Evaluation against {result['truth']}", parts)


def _heading(result: Mapping[str, Any]) -> str:
    text = (
        f"Detections at confidence ≥ {result['confidence']:g}; average precision and curves use all of them, with no "
        "cap. In brackets 68 % intervals, in grey n."
    )
    if result.get("notes"):
        text += " " + " ".join(result["notes"])
    if result["without_truth"]:
        text += f" Left out, without a truth: {', '.join(result['without_truth'])}."
    return text


def _catalogue(catalogue: Mapping[str, Any], plots: Mapping[str, bytes]) -> list[str]:
    pooled = catalogue["pooled"]
    apart, false = pooled["unmatched"], pooled["false_per_field"]
    sizes, radii = pooled["sizes"], pooled["astrocv"]
    return [
        "<h2>Detection</h2>",
        paragraph(
            f"{pooled['fields']} field(s), {pooled['galaxies']} galaxies, {pooled['detections']} detections; "
            f"{apart['k']} of them ({number(apart)}) with no object under them; "
            f"{number(false)} false ones a field (on stars or on nothing). A detection matches an object whose centre "
            "lies within max(3 px, half the shorter side of its box); one to one, galaxies before stars, nearest "
            "first; ignored objects count neither way."
        ),
        table(
            ("r <", *(words for _, words in _LIMIT_COLUMNS)),
            ((limit, *(cell(row[name]) for name, _ in _LIMIT_COLUMNS)) for limit, row in pooled["limits"].items()),
        ),
        image("completeness", plots, "completeness and purity against magnitude, size, surface brightness, distance"),
        image("curves", plots, "precision against recall, completeness against false detections"),
        "<h3>By size</h3>",
        paragraph("COCO's sizes, by the area of the object's box; galaxies of all magnitudes."),
        table(
            ("size", "area [px²]", "AP50", "AP50-95"),
            ((name, _area(name), cell(row["ap50"]), cell(row["ap"])) for name, row in sizes.items()),
        ),
        "<h3>As AstroCV counts</h3>",
        paragraph(
            "Galaxies of all magnitudes. The last two columns are its program's own figures: galaxies that some box "
            "overlaps by more than 0.5, and the mean over all galaxies of the best overlap, 0 for one that is missed."
        ),
        table(
            ("galaxies", "confidence ≥", "recall", "mean IoU", "best box: recall", "best box: mean IoU"),
            (
                (words, f"{part['confidence']:g}", *(cell(part[name][column]) for column in part[name]))
                for part in radii.values()
                for name, words in (("all", "all"), ("over_22_px", "box over 22 px"))
            ),
        ),
        "<h3>Confidence</h3>",
        paragraph(
            "Expected calibration error: the mean distance between confidence and the share of detections that are "
            "galaxies. Each detection is judged as in a catalogue that ends with it."
        ),
        image("reliability", plots, "share of true detections against confidence"),
        "<h3>By field</h3>",
        table(
            (
                "field",
                "galaxies",
                "completeness, r < 20",
                "completeness, r < 21",
                "purity, r < 20",
                "purity, r < 21",
                "nothing under",
                "false",
                "AP50, r < 20.5",
                "mean IoU, r < 20.5",
            ),
            (_field_row(name, scores) for name, scores in catalogue["fields"].items()),
        ),
        *(paragraph(line) for line in taken_lines(catalogue["taken"])),
    ]


def _field_row(name: str, scores: Mapping[str, Any]) -> tuple[Any, ...]:
    limits = scores["limits"]
    return (
        html.escape(name),
        scores["galaxies"],
        *(cell(limits[limit][measure]) for measure in ("completeness", "purity") for limit in ("20", "21")),
        cell(scores["unmatched"]),
        f"{scores['false_per_field']['value']:.0f}",
        cell(limits["20.5"]["ap50"]),
        cell(limits["20.5"]["mean_iou"]),
    )


def _classifier(task: str, scores: Mapping[str, Any], plots: Mapping[str, bytes]) -> list[str]:
    other = ", ".join(f"{name} {count}" for name, count in scores["other_labels"].items())
    return [
        f"<h2>Classifier: {html.escape(task)}</h2>",
        paragraph(
            f"On the {scores['n']} matched objects that are labelled in {scores['label_column']!r}."
            + (f" Labels that are none of its classes, left out: {other}." if other else "")
        ),
        *class_tables(scores),
        image(f"confusion_{task}", plots, "confusion"),
        "<h3>The whole chain</h3>",
        paragraph(
            "What became of the labelled galaxies: found and given the right class, found and given another, missed."
        ),
        table(
            ("r <", "found, right class", "found, other class", "found, no class", "missed"),
            ((limit, *(cell(told) for told in row.values())) for limit, row in scores["chain"].items()),
        ),
    ]


def _calls(calls: Mapping[str, Any]) -> list[str]:
    rows = [
        (f"{html.escape(task)}: {html.escape(one)}", *(cell(under[name][one]) for name in under))
        for task, under in calls.items()
        for one in next(iter(under.values()))
    ]
    return [
        "<h2>What the classifiers call the detections</h2>",
        paragraph("Shares of the catalogue's detections on galaxies, on stars, and with no object of the truth under."),
        table(("called", "on galaxies", "on stars", "on nothing"), rows),
    ]


def _pictures(pictures: Mapping[str, Any], plots: Mapping[str, bytes]) -> list[str]:
    rows = {"pooled": pictures["pooled"], **pictures["fields"]}
    return [
        "<h2>Pictures</h2>",
        paragraph(
            "Recall over the bright rows of each picture's reference; a detection is true within max(4 px, half the "
            "shorter side) of any row, and left out on an ignored one or in a circle of the ignore file."
        ),
        table(
            ("picture", "recall", "purity", "mean IoU", "false", "left out"),
            (
                (
                    html.escape(name),
                    *(cell(row[measure]) for measure in ("recall", "purity", "mean_iou")),
                    f"{row['false_per_field']:.0f}",
                    row["left_out"],
                )
                for name, row in rows.items()
            ),
        ),
        image("pictures", plots, "recall and purity against the threshold, reliability"),
    ]


def _area(name: str) -> str:
    low, high = SIZES[name]
    return f"over {low:.0f}" if high > 1e9 else f"{low:.0f} to {high:.0f}"
