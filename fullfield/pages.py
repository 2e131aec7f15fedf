"""Pages in one file, with the plots in it: what those of a run and of a classifier have in common."""

from __future__ import annotations

import base64
import html
import math
from typing import TYPE_CHECKING, Any

from classifiers.metrics import MEASURES, OF_A_CLASS
from fullfield.catalogue import atomic, write_json
from fullfield.evaluationtext import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

RESULT_FILE, PAGE_FILE, PLOTS_FOLDER = "evaluation.json", "evaluation.html", "evaluation"
TABLE_FILE = "evaluation.csv"  # beside a classifier's
WORDS = {"macro_f1": "macro F1", "macro_auc": "macro AUC", "brier": "Brier", "f1": "F1", "auc": "AUC"}
Panel = tuple[bytes, tuple[int, int], str]  # PNG, its width and height on the page, and what is under it
_GAP_PX = 2  # between panels
_STYLE = (
    "body { font: 15px sans-serif; max-width: 1480px; margin: 2em auto; padding: 0 1em; color: #222 } "
    "table { border-collapse: collapse; margin: 1em 0; font-size: 13px } td, th { padding: 3px 8px; text-align: right; "
    "border-bottom: 1px solid #ddd } td { white-space: nowrap } th { background: #f3f5f7 } "
    "td:first-child, th:first-child { text-align: left } td small { color: #777 } "
    "img { max-width: 100% } .wide { overflow-x: auto } p { max-width: 60em } "
    ".cards { display: flex; flex-wrap: wrap; gap: 12px } .cards figure { margin: 0; font-size: 12px } "
    ".cards img { image-rendering: pixelated; display: block; max-width: none } "
    f".cards .row {{ display: flex; gap: {_GAP_PX}px }} .cards .row div {{ color: #666; padding-bottom: 3px }} "
    ".cards figcaption { overflow-wrap: anywhere; padding-top: 2px }"
)


def write_page(out: Path, result: Mapping[str, Any], page: str, plots: Mapping[str, bytes]) -> None:
    """
    Write ``evaluation.json``, ``evaluation.html`` and ``evaluation/*.png``.

    Parameters
    ----------
    out : path
        The folder; it is made where it is not there.
    result : mapping
        Content of the JSON; NaN becomes null.
    page : str
        The page.
    plots : mapping of str to bytes
        PNG files by name; others that an earlier evaluation left are removed.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be written.
    """
    (out / PLOTS_FOLDER).mkdir(parents=True, exist_ok=True)
    for stale in (out / PLOTS_FOLDER).glob("*.png"):
        if stale.stem not in plots:
            stale.unlink()
    for name, content in plots.items():
        with atomic(out / PLOTS_FOLDER / f"{name}.png") as temporary:
            temporary.write_bytes(content)
    with atomic(out / PAGE_FILE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    write_json(out / RESULT_FILE, json_safe(dict(result)))


def json_safe(value: Any) -> Any:
    """NaN and the infinite as null: JSON has neither."""
    if isinstance(value, dict):
        return {key: json_safe(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def document(title: str, parts: Iterable[str]) -> str:
    """Page of a title and its parts, which are HTML."""
    title = html.escape(title)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n<style>{_STYLE}</style>\n'
        + "\n".join([f"<h1>{title}</h1>", *parts])
        + "\n</html>\n"
    )


def paragraph(text: str) -> str:
    """Plain text as a paragraph."""
    return f"<p>{html.escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Table; the head is escaped here, the cells are HTML."""
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def image(name: str, plots: Mapping[str, bytes], words: str) -> str:
    """Plot of that name, in the page itself."""
    return f'<div><img src="{source(plots[name])}" alt="{html.escape(words)}"></div>'


def source(png: bytes) -> str:
    """Address of a PNG that is in the page itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def cards(figures: Iterable[tuple[Sequence[Sequence[Panel]], str]]) -> str:
    """Figures side by side: of each its rows of panels, and the text under them."""
    return '<div class="cards">\n' + "\n".join(_figure(rows, text) for rows, text in figures) + "\n</div>"


def _figure(rows: Sequence[Sequence[Panel]], text: str) -> str:
    width = max(sum(panel[1][0] + _GAP_PX for panel in row) - _GAP_PX for row in rows)
    drawn = "".join(f'<div class="row">{"".join(map(_panel, row))}</div>' for row in rows)
    return f'<figure style="width: {max(width, 110)}px">{drawn}<figcaption>{_lines(text)}</figcaption></figure>'


def _panel(panel: Panel) -> str:
    png, (width, height), text = panel
    drawn = f'<img src="{source(png)}" width="{width}" height="{height}" alt="{html.escape(text)}">'
    return f'<div style="width: {width}px">{drawn}{_lines(text)}</div>'


def _lines(text: str) -> str:
    return "<br>".join(html.escape(line) for line in text.splitlines())


def cell(told: Mapping[str, Any]) -> str:
    """Cell of a figure with its interval and n."""
    return f"{number(told)} <small>{told['n']}</small>" if told["n"] else "–"


def plain(value: float) -> str:
    """Cell of a bare number."""
    return f"{value:.3f}" if math.isfinite(value) else "–"


def words(name: str) -> str:
    """What a measure is called on a page."""
    return WORDS.get(name, name.replace("_", " "))


def class_tables(scores: Mapping[str, Any]) -> list[str]:
    """
    Tables of a classifier's scores, and of those of each class.

    Parameters
    ----------
    scores : mapping
        As `classifiers.metrics.classification_scores` gives them.

    Returns
    -------
    list of str
        HTML.
    """
    columns = [name for name in MEASURES if name in scores]
    common = f"always {html.escape(scores['commonest'])}"
    return [
        table(
            ("", *map(words, columns)),
            [
                ("classifier", *(cell(scores[name]) for name in columns)),
                (common, *(plain(scores[name]["baseline"]) for name in columns)),
            ],
        ),
        table(
            ("class", *map(words, OF_A_CLASS), "n"),
            (
                (html.escape(name), *(_of_class(row, key) for key in OF_A_CLASS), row["n"])
                for name, row in scores["per_class"].items()
            ),
        ),
    ]


def _of_class(row: Mapping[str, Any], key: str) -> str:
    return number({"value": row[key], "low": row["low"][key], "high": row["high"][key], "n": row["n"]})
