"""The page of an evaluation: what was scored, every figure with its n and interval, the plots."""

from __future__ import annotations

import base64
import html
import math
from typing import TYPE_CHECKING, Any

from detector.evaluate.precision import SIZES
from fullfield.catalogue import atomic, write_json
from fullfield.evaluationplots import plots_of
from fullfield.evaluationtext import number, taken_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

RESULT_FILE, PAGE_FILE, PLOTS_FOLDER = "evaluation.json", "evaluation.html", "evaluation"
_STYLE = (
    "body { font: 15px sans-serif; max-width: 1480px; margin: 2em auto; padding: 0 1em; color: #222 } "
    "table { border-collapse: collapse; margin: 1em 0; font-size: 13px } td, th { padding: 3px 8px; text-align: right; "
    "border-bottom: 1px solid #ddd } td { white-space: nowrap } th { background: #f3f5f7 } "
    "td:first-child, th:first-child { text-align: left } td small { color: #777 } "
    "img { max-width: 100% } .wide { overflow-x: auto } p { max-width: 60em }"
)
_LIMIT_COLUMNS = (
    ("completeness", "completeness"),
    ("purity", "purity"),
    ("mean_iou", "mean IoU"),
    ("ap50", "AP50"),
    ("ap", "AP50-95"),
    ("completeness_over_22_px", "completeness, box over 22 px"),
    ("mean_iou_over_22_px", "mean IoU, box over 22 px"),
)
_CLASS_COLUMNS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "log_loss", "brier")


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
    (out / PLOTS_FOLDER).mkdir(parents=True, exist_ok=True)
    plots = plots_of(result)
    for stale in (out / PLOTS_FOLDER).glob("*.png"):
        if stale.stem not in plots:
            stale.unlink()
    for name, content in plots.items():
        with atomic(out / PLOTS_FOLDER / f"{name}.png") as temporary:
            temporary.write_bytes(content)
    with atomic(out / PAGE_FILE) as temporary:
        temporary.write_text(_page(result, plots), encoding="utf-8")
    write_json(out / RESULT_FILE, json_safe(dict(result)))


def json_safe(value: Any) -> Any:
    """NaN as null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: json_safe(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [json_safe(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _page(result: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    title = html.escape(f"Evaluation against {result['truth']}")
    parts = [f"<h1>{title}</h1>", _paragraph(_heading(result))]
    if "catalogue" in result:
        parts += _catalogue(result["catalogue"], plots)
    for task, scores in result.get("classifiers", {}).items():
        parts += _classifier(task, scores, plots)
    if result.get("calls"):
        parts += _calls(result["calls"])
    if "pictures" in result:
        parts += _pictures(result["pictures"], plots)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n<style>{_STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</html>\n"
    )


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
        _paragraph(
            f"{pooled['fields']} field(s), {pooled['galaxies']} galaxies, {pooled['detections']} detections; "
            f"{apart['k']} of them ({number(apart)}) with no object under them; "
            f"{number(false)} false ones a field (on stars or on nothing). A detection matches an object whose centre "
            "lies within max(3 px, half the shorter side of its box); one to one, galaxies before stars, nearest "
            "first; ignored objects count neither way."
        ),
        _table(
            ("r <", *(words for _, words in _LIMIT_COLUMNS)),
            ((limit, *(_entry(row[name]) for name, _ in _LIMIT_COLUMNS)) for limit, row in pooled["limits"].items()),
        ),
        _image("completeness", plots, "completeness and purity against magnitude, size, surface brightness, distance"),
        _image("curves", plots, "precision against recall, completeness against false detections"),
        "<h3>By size</h3>",
        _paragraph("COCO's sizes, by the area of the object's box; galaxies of all magnitudes."),
        _table(
            ("size", "area [px²]", "AP50", "AP50-95"),
            ((name, _area(name), _entry(row["ap50"]), _entry(row["ap"])) for name, row in sizes.items()),
        ),
        "<h3>As AstroCV counts</h3>",
        _paragraph(
            "Galaxies of all magnitudes. The last two columns are its program's own figures: galaxies that some box "
            "overlaps by more than 0.5, and the mean over all galaxies of the best overlap, 0 for one that is missed."
        ),
        _table(
            ("galaxies", "confidence ≥", "recall", "mean IoU", "best box: recall", "best box: mean IoU"),
            (
                (words, f"{part['confidence']:g}", *(_entry(part[name][column]) for column in part[name]))
                for part in radii.values()
                for name, words in (("all", "all"), ("over_22_px", "box over 22 px"))
            ),
        ),
        "<h3>Confidence</h3>",
        _paragraph(
            "Expected calibration error: the mean distance between confidence and the share of detections that are "
            "galaxies. Each detection is judged as in a catalogue that ends with it."
        ),
        _image("reliability", plots, "share of true detections against confidence"),
        "<h3>By field</h3>",
        _table(
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
        *(_paragraph(line) for line in taken_lines(catalogue["taken"])),
    ]


def _field_row(name: str, scores: Mapping[str, Any]) -> tuple[Any, ...]:
    limits = scores["limits"]
    return (
        html.escape(name),
        scores["galaxies"],
        *(_entry(limits[limit][measure]) for measure in ("completeness", "purity") for limit in ("20", "21")),
        _entry(scores["unmatched"]),
        f"{scores['false_per_field']['value']:.0f}",
        _entry(limits["20.5"]["ap50"]),
        _entry(limits["20.5"]["mean_iou"]),
    )


def _classifier(task: str, scores: Mapping[str, Any], plots: Mapping[str, bytes]) -> list[str]:
    columns = [name for name in _CLASS_COLUMNS if name in scores]
    other = ", ".join(f"{name} {count}" for name, count in scores["other_labels"].items())
    return [
        f"<h2>Classifier: {html.escape(task)}</h2>",
        _paragraph(
            f"On the {scores['n']} matched objects that are labelled in {scores['label_column']!r}."
            + (f" Labels that are none of its classes, left out: {other}." if other else "")
        ),
        _table([name.replace("_", " ") for name in columns], [[_entry(scores[name]) for name in columns]]),
        _table(
            ("class", "precision", "recall", "F1", "AUC", "n"),
            (
                (html.escape(name), *(_plain(row[key]) for key in ("precision", "recall", "f1", "auc")), row["n"])
                for name, row in scores["per_class"].items()
            ),
        ),
        _image(f"confusion_{task}", plots, "confusion"),
        "<h3>The whole chain</h3>",
        _paragraph(
            "What became of the labelled galaxies: found and given the right class, found and given another, missed."
        ),
        _table(
            ("r <", "found, right class", "found, other class", "found, no class", "missed"),
            ((limit, *(_entry(entry) for entry in row.values())) for limit, row in scores["chain"].items()),
        ),
    ]


def _calls(calls: Mapping[str, Any]) -> list[str]:
    rows = [
        (f"{html.escape(task)}: {html.escape(one)}", *(_entry(under[name][one]) for name in under))
        for task, under in calls.items()
        for one in next(iter(under.values()))
    ]
    return [
        "<h2>What the classifiers call the detections</h2>",
        _paragraph(
            "Shares of the catalogue's detections on galaxies, on stars, and with no object of the truth under."
        ),
        _table(("called", "on galaxies", "on stars", "on nothing"), rows),
    ]


def _pictures(pictures: Mapping[str, Any], plots: Mapping[str, bytes]) -> list[str]:
    rows = {"pooled": pictures["pooled"], **pictures["fields"]}
    return [
        "<h2>Pictures</h2>",
        _paragraph(
            "Recall over the bright rows of each picture's reference; a detection is true within max(4 px, half the "
            "shorter side) of any row, and left out on an ignored one or in a circle of the ignore file."
        ),
        _table(
            ("picture", "recall", "purity", "mean IoU", "false", "left out"),
            (
                (
                    html.escape(name),
                    *(_entry(row[measure]) for measure in ("recall", "purity", "mean_iou")),
                    f"{row['false_per_field']:.0f}",
                    row["left_out"],
                )
                for name, row in rows.items()
            ),
        ),
        _image("pictures", plots, "recall and purity against the threshold, reliability"),
    ]


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Table; the head is escaped here, the cells are HTML."""
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _image(name: str, plots: Mapping[str, bytes], words: str) -> str:
    content = base64.b64encode(plots[name]).decode()
    return f'<div><img src="data:image/png;base64,{content}" alt="{html.escape(words)}"></div>'


def _entry(entry: Mapping[str, Any]) -> str:
    return f"{number(entry)} <small>{entry['n']}</small>" if entry["n"] else "–"


def _plain(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _area(name: str) -> str:
    low, high = SIZES[name]
    return f"over {low:.0f}" if high > 1e9 else f"{low:.0f} to {high:.0f}"
