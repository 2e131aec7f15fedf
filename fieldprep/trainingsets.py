"""Training sets: fields and their catalogues to tiles that ultralytics trains on and pycocotools reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fieldprep.boxes import CORNER, areas, clip_boxes, coco_annotations, write_coco, write_yolo
from fieldprep.errors import InputError, OutputError
from fieldprep.tiles import Window, windows
from fieldprep.variants import VARIANTS, picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from fieldprep.catalogues import Sources
    from fieldprep.field import Field

CLASSES = ("galaxy",)
KEPT_SHARE = 0.4  # a galaxy cut by a tile's edge is labelled if this share of its box is in the tile


def write_training_set(
    fields: Iterable[tuple[Field, Sources]],
    out: Path,
    *,
    validation: Sequence[str],
    variants: Sequence[str] = tuple(VARIANTS),
    tile: int = 640,
    overlap: int = 160,
    faintest: float = 22.0,
) -> dict[str, int]:
    """
    Cut fields into labelled tiles.

    Parameters
    ----------
    fields : iterable of (Field, Sources)
        Each field with what is in it; one without sources is all background.
    out : path
        The folder to write: ``data.yaml``, ``images/{train,val}``, ``labels/{train,val}``,
        ``annotations/{train,val}.json``.
    validation : sequence of str
        Names of the fields kept for validation; no tile of them is among the training ones.
    variants : sequence of str
        Pictures made of each training field; validation fields get the first of them only.
    tile, overlap : int
        Side of a tile and least overlap of neighbours, in pixels.
    faintest : float
        Galaxies fainter than this r magnitude are not labelled; those without a magnitude are.

    Returns
    -------
    dict of str to int
        Counts: tiles and boxes of each half.

    Raises
    ------
    fieldprep.errors.InputError
        If a half would be empty.

    Notes
    -----
    Ignored galaxies are painted black, as masked pixels are, so that they teach neither way; in the COCO
    file they are crowds. A tile's name ends in ``-VARIANT-X-Y``, the last two its first column and row.
    """
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out}: exists and is not empty; name a new folder")
    halves: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {"train": ([], []), "val": ([], [])}
    for field, sources in fields:
        half = "val" if field.name in validation else "train"
        _write_field(
            field,
            sources,
            out,
            half,
            variants[:1] if half == "val" else variants,
            tile,
            overlap,
            faintest,
            halves[half],
        )
    for half, (images, boxes) in halves.items():
        if not images:
            raise InputError(f"{out}: no field for the {half} half; name some for training and some for validation")
        (out / "annotations").mkdir(exist_ok=True)
        write_coco(out / "annotations" / f"{half}.json", images, boxes, CLASSES)
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(CLASSES))
    (out / "data.yaml").write_text(f"path: {out.resolve()}\ntrain: images/train\nval: images/val\nnames:\n{names}")
    counts = {f"{half}_tiles": len(images) for half, (images, _) in halves.items()}
    return counts | {f"{half}_boxes": len(boxes) for half, (_, boxes) in halves.items()}


def _write_field(
    field: Field,
    sources: Sources,
    out: Path,
    half: str,
    variants: Sequence[str],
    tile: int,
    overlap: int,
    faintest: float,
    written: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    images, annotations = written
    for folder in ("images", "labels"):
        (out / folder / half).mkdir(parents=True, exist_ok=True)
    with np.errstate(invalid="ignore"):
        wanted = sources.select(sources.galaxy & ~(sources.magnitude > faintest))
    for variant in variants:
        whole = picture(field, variant)
        for x0, y0, x1, y1 in np.rint(wanted.xyxy[wanted.ignore] + CORNER).astype(int):
            whole[y0:y1, x0:x1] = 0
        for window in windows(field.shape, tile, overlap):
            name = f"{field.name}-{variant}-{window.x0}-{window.y0}"
            shape = (window.y1 - window.y0, window.x1 - window.x0)
            cut = np.ascontiguousarray(whole[window.rows, window.columns, ::-1])
            if not cv2.imwrite(str(out / "images" / half / f"{name}.png"), cut):
                raise OutputError(f"{out}: cannot write {name}.png")
            boxes, chosen = _in_window(wanted, window, shape)
            ignore = wanted.ignore[chosen]
            class_id = np.zeros(len(boxes), np.int64)
            write_yolo(out / "labels" / half / f"{name}.txt", boxes[~ignore], class_id[~ignore], shape)
            image_id = len(images) + 1
            images.append({"id": image_id, "file_name": f"{name}.png", "width": shape[1], "height": shape[0]})
            annotations += coco_annotations(boxes, class_id, ignore, image_id=image_id, first_id=len(annotations) + 1)


def _in_window(sources: Sources, window: Window, shape: tuple[int, int]) -> tuple[Any, Any]:
    """Boxes in the window's own pixels, and which sources they are of."""
    moved = sources.xyxy - np.array([window.x0, window.y0, window.x0, window.y0], np.float64)
    cut = clip_boxes(moved, shape)
    chosen = areas(cut) >= KEPT_SHARE * np.maximum(areas(sources.xyxy), 1e-9)
    return cut[chosen], chosen
