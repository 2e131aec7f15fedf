"""What is in a training set or a cutout set: counts, sizes, magnitudes, and some of it to look at."""

from __future__ import annotations

import glob
import html
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldprep.boxes import CORNER, iou_table, read_yolo
from fieldprep.training.cutoutsets import CutoutRecipe
from fieldprep.training.records import OBJECTS_FILE
from fieldprep.training.splits import TRAIN, VALIDATION
from fullfield.catalogue import write_json
from fullfield.drawing import BOX, FONT, SHADOW, write_png

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fieldprep.training.recipes import Recipe
    from fieldprep.training.records import FieldRecord
    from fieldprep.variants import Picture

REPORT_FILE, PAGE_FILE, PLOTS_FILE, OVERLAY_FILE = "report.json", "report.html", "report.png", "overlay.png"
SHOWN, COLUMNS, SIDE_PX = 50, 10, 160  # of the overlay page
AROUND = 3.0  # how much of the sky around a box is shown, in sides of it
LEAST_AROUND_PX = 40
_MEASURES = ("magnitude", "side_px", "width_arcsec")
_STYLE = "body { font: 15px sans-serif; max-width: 1650px } td { padding: 2px 12px } img { max-width: 100% }"
_HALVES = ((TRAIN, "#3b6ea5"), (VALIDATION, "#d1792c"))


def write_report(
    out: Path,
    recipe: Recipe | CutoutRecipe,
    fields: pd.DataFrame,
    records: Mapping[str, FieldRecord],
    notes: Sequence[str],
) -> dict[str, Any]:
    """
    Write the report of a set: ``report.json``, ``report.html``, ``report.png``, ``overlay.png``.

    Parameters
    ----------
    out : path
        The set's folder, all else in it written.
    recipe : Recipe or CutoutRecipe
        What it was made by.
    fields : `~pandas.DataFrame`
        ``fields.csv``: all fields given, and what became of them.
    records : mapping of str to FieldRecord
        By name, of the fields that were prepared.
    notes : sequence of str
        What a user of the set must know.

    Returns
    -------
    dict
        What ``report.json`` says.
    """
    objects = pd.read_parquet(out / OBJECTS_FILE)
    labelled = objects[~objects["ignore"].to_numpy(np.bool_)]
    per_picture = {half: _boxes_per_picture(out, half) for half, _ in _HALVES}
    used = fields[fields["half"].isin([half for half, _ in _HALVES])]
    errors = np.concatenate([records[name].about.get("centre_errors_px", []) for name in used["field"]] or [[]])
    report = {
        "recipe": recipe.name,
        "variants": list(recipe.variants),
        "halves": {half: _half(used, objects, per_picture[half], half) for half, _ in _HALVES},
        "centre_error_px": {"median": _rounded(np.median(errors) if len(errors) else np.nan), "n": len(errors)},
        "radius_kinds": used["radius_kind"].dropna().value_counts().drop("", errors="ignore").to_dict(),
        "left_out": _reasons(fields),
        "notes": list(notes),
    }
    write_json(out / REPORT_FILE, report)
    _plots(labelled, per_picture, used, out / PLOTS_FILE)
    page = page_of_stamps(out, recipe) if isinstance(recipe, CutoutRecipe) else page_of_boxes(out, recipe)
    write_png(out / OVERLAY_FILE, page)
    (out / PAGE_FILE).write_text(_html(report))
    return report


def page_of_boxes(out: Path, recipe: Recipe, *, seed: int = 0) -> Picture:
    """
    Some labels of a training set on its own pictures.

    Parameters
    ----------
    out : path
        The set's folder.
    recipe : Recipe
        What it was made by; its first variant is shown.
    seed : int
        Seed of the draw.

    Returns
    -------
    3D uint8 `~numpy.ndarray`
        Blue, green, red: up to 50 objects drawn at random, their boxes as the label files have them, the sky around
        them, class and magnitude.
    """
    table = pd.read_parquet(out / OBJECTS_FILE)
    table = table[(table["tiles"] > 0) & ~table["ignore"].to_numpy(np.bool_)]
    panels = [_labelled(out, recipe, table.iloc[number]) for number in _drawn(len(table), seed)]
    return _grid([panel for panel in panels if panel is not None])


def _labelled(out: Path, recipe: Recipe, row: pd.Series[Any]) -> Picture | None:
    """Panel of an object with its label, from the tile with its centre in which that is most complete."""
    labels, images = out / "labels" / row["half"], out / "images" / row["half"]
    box = row[["x_min", "y_min", "x_max", "y_max"]].to_numpy(np.float64)
    best, panel = 0.0, None
    for path in sorted(labels.glob(f"{glob.escape(row['field'])}-{recipe.variants[0]}-*-*.txt")):
        corner = np.array([int(part) for part in path.stem.split("-")[-2:]])
        inside = np.array([row["x"], row["y"]]) - corner
        if (inside < -CORNER).any() or (recipe.tile and (inside > recipe.tile).any()):
            continue
        image = _read(images / f"{path.stem}.png")
        xyxy, class_id = read_yolo(path, (image.shape[0], image.shape[1]))
        overlap = iou_table(box[None] - np.tile(corner, 2), xyxy)[0]
        if overlap.max(initial=0) > best:
            best, i = float(overlap.max(initial=0)), int(overlap.argmax())
            panel = _panel(image, xyxy[i], f"{recipe.classes[class_id[i]]} {row['magnitude']:.1f}")
    return panel


def page_of_stamps(out: Path, recipe: CutoutRecipe, *, seed: int = 0) -> Picture:
    """
    Some stamps of a cutout set.

    Parameters
    ----------
    out : path
        The set's folder.
    recipe : CutoutRecipe
        What it was made by; its first variant is shown.
    seed : int
        Seed of the draw.

    Returns
    -------
    3D uint8 `~numpy.ndarray`
        Blue, green, red: up to 50 stamps drawn at random, with their labels.
    """
    table = pd.read_parquet(out / OBJECTS_FILE)
    panels = []
    for number in _drawn(len(table), seed):
        row = table.iloc[number]
        image = _read(out / "images" / row["half"] / row[f"image_{recipe.variants[0]}"])
        panel = np.asarray(cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), np.uint8)
        panels.append(_captioned(panel, row["label"]))
    return _grid(panels)


def _reasons(fields: pd.DataFrame) -> dict[str, int]:
    """How many fields are not in the set, by reason; which field it is that another touches makes no other reason."""
    reasons = fields.loc[~fields["half"].isin([half for half, _ in _HALVES]), "reason"]
    counts = reasons.str.replace(r"^touches .*, which", "touches a field which", regex=True).value_counts()
    return {str(reason): int(count) for reason, count in counts.items()}


def _drawn(n: int, seed: int) -> list[int]:
    return sorted(np.random.default_rng(seed).permutation(n)[:SHOWN].tolist())


def _lines(path: Path) -> int:
    return path.read_text().count("\n")


def _read(path: Path) -> Picture:
    return np.asarray(cv2.imread(str(path)), np.uint8)


def _panel(image: Picture, box: npt.NDArray[np.float64], text: str) -> Picture:
    """Square around a box, the box drawn on it."""
    side = max(AROUND * float((box[2:] - box[:2]).max()), LEAST_AROUND_PX)
    low = (box[:2] + box[2:]) / 2 - side / 2
    x0, y0 = (int(value) for value in np.floor(low + CORNER))
    n = int(np.ceil(side))
    padded = cv2.copyMakeBorder(image, n, n, n, n, cv2.BORDER_CONSTANT)
    part = padded[y0 + n : y0 + 2 * n, x0 + n : x0 + 2 * n]
    panel = np.asarray(cv2.resize(part, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_NEAREST), np.uint8)
    corners = np.rint((box + CORNER - np.array([x0, y0, x0, y0])) * SIDE_PX / n).astype(int)
    cv2.rectangle(panel, corners[:2].tolist(), corners[2:].tolist(), BOX, 1)
    return _captioned(panel, text)


def _captioned(panel: Picture, text: str) -> Picture:
    for colour, thickness in ((SHADOW, 3), (BOX, 1)):
        cv2.putText(panel, text, (5, SIDE_PX - 7), FONT, 0.42, colour, thickness, cv2.LINE_AA)
    return panel


def _grid(panels: Sequence[Picture]) -> Picture:
    rows = max(1, -(-len(panels) // COLUMNS))
    page = np.zeros((rows * (SIDE_PX + 2), COLUMNS * (SIDE_PX + 2), 3), np.uint8)
    for i, panel in enumerate(panels):
        y, x = (SIDE_PX + 2) * (i // COLUMNS), (SIDE_PX + 2) * (i % COLUMNS)
        page[y : y + SIDE_PX, x : x + SIDE_PX] = panel
    return page


def _half(fields: pd.DataFrame, objects: pd.DataFrame, boxes: npt.NDArray[np.int64], half: str) -> dict[str, Any]:
    own = objects[objects["half"] == half]
    ignored = own["ignore"].to_numpy(np.bool_)
    labelled = own[~ignored]
    classes = labelled["class_name"].value_counts()
    told: dict[str, Any] = {
        "fields": int((fields["half"] == half).sum()),
        "objects": len(labelled),
        "ignored": int(ignored.sum()),
        "classes": {name: int(count) for name, count in classes.items()},
        "class_shares": {name: round(count / len(labelled), 4) for name, count in classes.items()},
        **{name: _quantiles(labelled[name]) for name in _MEASURES if name in labelled},
    }
    if len(boxes):
        told |= {"pictures": len(boxes), "empty_pictures": int((boxes == 0).sum()), "boxes": int(boxes.sum())}
    return told


def _quantiles(values: pd.Series[float]) -> dict[str, float | None]:
    known = _known(values)
    return {f"p{q}": _rounded(np.percentile(known, q) if len(known) else np.nan) for q in (5, 50, 95)}


def _known(values: pd.Series[float]) -> npt.NDArray[np.float64]:
    array = values.to_numpy(np.float64)
    return np.asarray(array[np.isfinite(array)], np.float64)


def _rounded(value: float) -> float | None:
    """For JSON, which has no NaN."""
    return round(float(value), 3) if np.isfinite(value) else None


def _boxes_per_picture(out: Path, half: str) -> npt.NDArray[np.int64]:
    return np.array([_lines(path) for path in sorted((out / "labels" / half).glob("*.txt"))], np.int64)


def _plots(objects: pd.DataFrame, boxes: Mapping[str, npt.NDArray[np.int64]], fields: pd.DataFrame, path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 -- half a second that only a report needs

    figure = Figure(figsize=(13, 7), layout="constrained")
    axes = figure.subplots(2, 3).ravel().tolist()
    names = sorted(objects["class_name"].unique())
    most = max(int(counts.max(initial=0)) for counts in boxes.values())
    for k, (half, colour) in enumerate(_HALVES):
        own = objects[objects["half"] == half]
        style = {"color": colour, "alpha": 0.7, "label": half}
        counts = own["class_name"].value_counts()
        axes[0].barh(np.arange(len(names)) + 0.4 * k, [counts.get(name, 0) for name in names], 0.4, **style)
        axes[1].hist(_known(own["magnitude"]), np.arange(10, 25.1, 0.5), **style)
        name = "side_px" if "side_px" in own else "width_arcsec"
        axes[2].hist(np.clip(_known(own[name]), 1, None), np.geomspace(1, 1000, 40), **style)
        axes[3].hist(boxes[half], np.arange(most + 2) - 0.5, **style)
        axes[4].plot(own["magnitude"], own[name], ".", ms=2, **style)
        placed = fields[fields["half"] == half]
        axes[5].plot(placed["ra"], placed["dec"], "o", ms=4, **style)
    axes[3].set_visible(most > 0)  # stamps have no boxes
    axes[0].set_yticks(np.arange(len(names)) + 0.2, names)
    axes[0].legend()
    axes[2].set_xscale("log")
    axes[4].set_yscale("log")
    size = "stamp, width [arcsec]" if "width_arcsec" in objects else "box, longer side [px]"
    labels = ("labelled objects", "r magnitude", size, "boxes in a picture", f"r magnitude; {size}", "RA, Dec [deg]")
    for axis, text in zip(axes, labels, strict=True):
        axis.set_xlabel(text)
    figure.savefig(path, dpi=90)


def _html(report: Mapping[str, Any]) -> str:
    """One page: the tables, the plots, the overlay."""
    halves = report["halves"]
    keys = [key for key in dict.fromkeys(key for half in halves.values() for key in half) if key != "class_shares"]
    rows = [(key, *(_cell(half.get(key, "")) for half in halves.values())) for key in keys]
    error = report["centre_error_px"]
    lines = [
        f"Boxes are centred on the light to {error['median']} px (median of {error['n']} bright galaxies)."
        if error["n"]
        else "No galaxy was bright enough to check the centres on.",
        *report["notes"],
        *(f"{count} field(s) not in the set: {reason}" for reason, count in report["left_out"].items()),
    ]
    title = html.escape(f"Training set: {report['recipe']}, variants {', '.join(report['variants'])}")
    table = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>\n"
        for row in (("", *halves), *rows)
    )
    points = "".join(f"<li>{html.escape(line)}</li>\n" for line in lines)
    return (
        f'<!doctype html>\n<meta charset="utf-8">\n<title>{title}</title>\n<style>{_STYLE}</style>\n'
        f"<h1>{title}</h1>\n<ul>{points}</ul>\n<table>{table}</table>\n"
        f'<p><img src="{PLOTS_FILE}" alt="classes, magnitudes, sizes, boxes per picture, sky"></p>\n'
        f'<p><img src="{OVERLAY_FILE}" alt="labels drawn at random"></p>\n'
    )


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return str(value)
