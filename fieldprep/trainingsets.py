"""Training sets: fields and their catalogues to tiles that ultralytics trains on and pycocotools reads."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
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
        If a half would be empty, or two fields have the same name.
    fieldprep.errors.OutputError
        If the folder cannot be written; nothing of it is left then.

    Notes
    -----
    Ignored galaxies are painted black, as masked pixels are, so that they teach neither way; in the COCO
    file they are crowds. A tile's name ends in ``-VARIANT-X-Y``, the last two its first column and row.
    """
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out}: exists and is not empty; name a new folder")
    partial = out.with_name(f".{out.name}-partial")
    shutil.rmtree(partial, ignore_errors=True)
    cut = _Cut(tile, overlap, faintest)
    seen: set[str] = set()
    try:
        halves = {half: _Half(partial, half) for half in ("train", "val")}
        for field, sources in fields:
            if field.name in seen:
                raise InputError(f"{field.name}: two fields of that name; their tiles would overwrite each other")
            seen.add(field.name)
            if field.name in validation:
                _write_field(field, sources, halves["val"], variants[:1], cut)
            else:
                _write_field(field, sources, halves["train"], variants, cut)
        for half in halves.values():
            if not half.images:
                raise InputError(
                    f"{out}: no field for the {half.name} half; name some for training, some for validation"
                )
            write_coco(partial / "annotations" / f"{half.name}.json", half.images, half.annotations, CLASSES)
        names = "".join(f"  {i}: {name}\n" for i, name in enumerate(CLASSES))
        # without a path the folders are looked for beside this file, so the set can be moved
        (partial / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}")
        if out.exists():
            out.rmdir()
        partial.replace(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {f"{half.name}_tiles": len(half.images) for half in halves.values()} | {
        f"{half.name}_boxes": len(half.annotations) for half in halves.values()
    }


@dataclass(frozen=True)
class _Cut:
    tile: int
    overlap: int
    faintest: float


class _Half:
    """One half of a training set as it is written: its folders, and what its COCO file will say."""

    def __init__(self, out: Path, name: str) -> None:
        self.name = name
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.image_folder, self.label_folder = out / "images" / name, out / "labels" / name
        for folder in (self.image_folder, self.label_folder, out / "annotations"):
            folder.mkdir(parents=True, exist_ok=True)


def _write_field(field: Field, sources: Sources, half: _Half, variants: Sequence[str], cut: _Cut) -> None:
    with np.errstate(invalid="ignore"):
        wanted = sources.select(sources.galaxy & ~(sources.magnitude > cut.faintest))
    for variant in variants:
        whole = picture(field, variant)
        for x0, y0, x1, y1 in np.rint(wanted.xyxy[wanted.ignore] + CORNER).astype(int):
            whole[y0:y1, x0:x1] = 0
        for window in windows(field.shape, cut.tile, cut.overlap):
            name = f"{field.name}-{variant}-{window.x0}-{window.y0}"
            shape = (window.y1 - window.y0, window.x1 - window.x0)
            tile = np.ascontiguousarray(whole[window.rows, window.columns, ::-1])
            if not cv2.imwrite(str(half.image_folder / f"{name}.png"), tile):
                raise OutputError(f"{half.image_folder}: cannot write {name}.png")
            boxes, chosen = _in_window(wanted, window, shape)
            ignore = wanted.ignore[chosen]
            class_id = np.zeros(len(boxes), np.int64)
            write_yolo(half.label_folder / f"{name}.txt", boxes[~ignore], class_id[~ignore], shape)
            image_id = len(half.images) + 1
            half.images.append({"id": image_id, "file_name": f"{name}.png", "width": shape[1], "height": shape[0]})
            half.annotations += coco_annotations(
                boxes, class_id, ignore, image_id=image_id, first_id=len(half.annotations) + 1
            )


def _in_window(sources: Sources, window: Window, shape: tuple[int, int]) -> tuple[Any, Any]:
    """Boxes in the window's own pixels, and which sources they are of."""
    moved = sources.xyxy - np.array([window.x0, window.y0, window.x0, window.y0], np.float64)
    cut = clip_boxes(moved, shape)
    chosen = areas(cut) >= KEPT_SHARE * np.maximum(areas(sources.xyxy), 1e-9)
    return cut[chosen], chosen
