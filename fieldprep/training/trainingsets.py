"""
Training sets: fields and their catalogues to pictures that ultralytics trains on and pycocotools reads.

Each field is written to a folder of its own first, whole or not at all, in every variant; which half it belongs to is
only asked when the folders are joined. So fields can be prepared in any order and by many processes, and a preparation
that was stopped goes on from where it was.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd

from fieldprep.boxes import CORNER, areas, clip_boxes, coco_annotations, write_coco, write_yolo
from fieldprep.errors import InputError, OutputError
from fieldprep.tiles import Window, windows
from fieldprep.training.recipes import RECIPES, Labels, Recipe, label
from fieldprep.training.records import OBJECTS_FILE, FieldRecord, join_objects, link, object_columns, replace_folder
from fieldprep.training.splits import TRAIN, VALIDATION, footprint_of
from fieldprep.variants import picture

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from fieldprep.catalogues import Sources
    from fieldprep.field import Field

    Ints = npt.NDArray[np.int64]

HALVES = (TRAIN, VALIDATION)
KEPT_SHARE = 0.4  # an object cut by a tile's edge is labelled if this share of its box is in the tile


def write_field(field: Field, sources: Sources, recipe: Recipe, folder: Path) -> FieldRecord:
    """
    Cut a field into labelled pictures.

    Parameters
    ----------
    field : Field
        The field.
    sources : Sources
        What is in it; one without sources is all background.
    recipe : Recipe
        How.
    folder : path
        Where to write the pictures and labels of every tile and variant, ``objects.parquet`` (each labelled or
        ignored object once) and ``record.json``.

    Returns
    -------
    FieldRecord

    Raises
    ------
    fieldprep.errors.OutputError
        If a picture cannot be written.

    Notes
    -----
    Ignored objects are painted black, as pixels without data are, so that they teach neither way; in the COCO
    file they are crowds. A labelled object whose centre falls on one is ignored with it. A tile's name ends in
    ``-VARIANT-X-Y``, the last two its first column and row.
    """
    labels = label(sources, recipe, field.shape)
    record = FieldRecord(field.name, footprint_of(field), labels.counts)
    if recipe.needs_galaxy and not labels.counts["labelled"]:
        record = replace(record, left_out=f"no galaxy with a box over {recipe.least_side:g} px")
    else:
        shown, record.tiles[:] = _tiles(field, labels, recipe)
        _write_pictures(field, labels, recipe, record, folder)
        record.counts["in_no_tile"] = int((shown == 0).sum())
        _objects(field, labels, recipe, shown).to_parquet(folder / OBJECTS_FILE)
    record.write(folder)
    return record


def join_fields(fields: Sequence[tuple[Path, str]], out: Path, recipe: Recipe) -> dict[str, int]:
    """
    Make one training set of fields that were written one by one.

    Parameters
    ----------
    fields : sequence of (path, {'train', 'val'})
        Folders that `write_field` wrote, and the half each belongs to. They are left as they are.
    out : path
        The folder to write: ``data.yaml``, ``images/{train,val}``, ``labels/{train,val}``,
        ``annotations/{train,val}.json``, ``objects.parquet``.
    recipe : Recipe
        What they were written by. Of validation fields only its validation variants are taken.

    Returns
    -------
    dict of str to int
        Counts: tiles and boxes of each half; a variant counts.
    """
    counts: dict[str, int] = {}
    (out / "annotations").mkdir(parents=True)
    for half in HALVES:
        for kind in ("images", "labels"):
            (out / kind / half).mkdir(parents=True)
        folders = [folder for folder, of in fields if of == half]
        for folder in folders:
            for name in _names(folder, recipe, half):
                link(folder / f"{name}.png", out / "images" / half / f"{name}.png")
                link(folder / f"{name}.txt", out / "labels" / half / f"{name}.txt")
        images = (image for image, _ in _coco_rows(folders, recipe, half))
        annotations = (row for _, rows in _coco_rows(folders, recipe, half) for row in rows)
        write_coco(out / "annotations" / f"{half}.json", images, annotations, recipe.classes)
        sizes = [len(rows) for _, rows in _coco_rows(folders, recipe, half)]
        counts |= {f"{half}_tiles": len(sizes), f"{half}_boxes": sum(sizes)}
    join_objects(fields, out)
    (out / "data.yaml").write_text(_data_yaml(recipe))
    return counts


def write_training_set(
    fields: Iterable[tuple[Field, Sources]],
    out: Path,
    *,
    validation: Collection[str],
    recipe: Recipe = RECIPES["galaxies"],
) -> dict[str, int]:
    """
    Cut fields that are at hand into a training set.

    Parameters
    ----------
    fields : iterable of (Field, Sources)
        Each field with what is in it.
    out : path
        The folder to write; see `join_fields`.
    validation : collection of str
        Names of the fields kept for validation; no tile of them is among the training ones.
    recipe : Recipe
        How.

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
    """
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out}: exists and is not empty; name a new folder")
    partial = out.with_name(f".{out.name}-partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        written = []
        for field, sources in fields:
            folder = partial / "fields" / field.name
            if folder.exists():
                raise InputError(f"{field.name}: two fields of that name; their tiles would overwrite each other")
            folder.mkdir(parents=True)
            if not write_field(field, sources, recipe, folder).left_out:
                written.append((folder, VALIDATION if field.name in validation else TRAIN))
        for half in HALVES:
            if half not in dict(written).values():
                raise InputError(f"{out}: no field for the {half} half; name some for training, some for validation")
        counts = join_fields(written, partial / "set", recipe)
        replace_folder(partial / "set", out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return counts


def _tiles(field: Field, labels: Labels, recipe: Recipe) -> tuple[Ints, list[dict[str, Any]]]:
    """How many tiles each object is labelled in, and what each tile holds."""
    ny, nx = field.shape
    sources = labels.sources
    shown = np.zeros(len(sources), np.int64)
    tiles = []
    for window in windows(field.shape, recipe.tile, recipe.overlap) if recipe.tile else [Window(0, 0, nx, ny)]:
        corner = np.array([window.x0, window.y0, window.x0, window.y0], np.float64)
        cut = clip_boxes(sources.xyxy - corner, (window.y1 - window.y0, window.x1 - window.x0))
        chosen = areas(cut) >= KEPT_SHARE * np.maximum(areas(sources.xyxy), 1e-9)
        shown += chosen
        tiles.append(
            {
                "window": [window.x0, window.y0, window.x1, window.y1],
                "xyxy": cut[chosen].tolist(),
                "class_id": labels.class_id[chosen].tolist(),
                "ignore": sources.ignore[chosen].tolist(),
            }
        )
    return shown, tiles


def _write_pictures(field: Field, labels: Labels, recipe: Recipe, record: FieldRecord, folder: Path) -> None:
    dark = np.rint(labels.sources.xyxy[labels.sources.ignore] + CORNER).astype(int)
    for variant in recipe.variants:
        whole = picture(field, variant)
        for x0, y0, x1, y1 in dark:
            whole[y0:y1, x0:x1] = 0
        for tile in record.tiles:
            window, name = Window(*tile["window"]), _name(record, variant, tile)
            pixels = np.ascontiguousarray(whole[window.rows, window.columns, ::-1])
            # sky noise does not compress: OpenCV's default, runs of bytes only, is as small and three times faster
            if not cv2.imwrite(str(folder / f"{name}.png"), pixels):
                raise OutputError(f"{folder}: cannot write {name}.png")
            xyxy, class_id, ignore = _arrays(tile)
            write_yolo(folder / f"{name}.txt", xyxy[~ignore], class_id[~ignore], pixels.shape[:2])


def _objects(field: Field, labels: Labels, recipe: Recipe, shown: Ints) -> pd.DataFrame:
    sources = labels.sources
    return pd.DataFrame(
        {
            "field": field.name,
            **object_columns(field, sources),
            **{name: sources.xyxy[:, k] for k, name in enumerate(("x_min", "y_min", "x_max", "y_max"))},
            "side_px": (sources.xyxy[:, 2:] - sources.xyxy[:, :2]).max(axis=1, initial=0),
            "radius_px": sources.radius,
            "class_name": np.array(recipe.classes)[labels.class_id],
            "ignore": sources.ignore,
            "tiles": shown,
        }
    )


def _name(record: FieldRecord, variant: str, tile: Mapping[str, Any]) -> str:
    x0, y0, _, _ = tile["window"]
    return f"{record.name}-{variant}-{x0}-{y0}"


def _names(folder: Path, recipe: Recipe, half: str) -> list[str]:
    record = FieldRecord.read(folder)
    variants = recipe.variants if half == TRAIN else recipe.validation_variants
    return [_name(record, variant, tile) for variant in variants for tile in record.tiles]


def _coco_rows(
    folders: Sequence[Path], recipe: Recipe, half: str
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each picture of a half with its annotations; only one field is in memory at a time."""
    image_id, first_id = 1, 1
    for folder in folders:
        record = FieldRecord.read(folder)
        for variant in recipe.variants if half == TRAIN else recipe.validation_variants:
            for tile in record.tiles:
                x0, y0, x1, y1 = tile["window"]
                file_name = f"{_name(record, variant, tile)}.png"
                rows = coco_annotations(*_arrays(tile), image_id=image_id, first_id=first_id)
                yield {"id": image_id, "file_name": file_name, "width": x1 - x0, "height": y1 - y0}, rows
                image_id, first_id = image_id + 1, first_id + len(rows)


def _arrays(tile: Mapping[str, Any]) -> tuple[npt.NDArray[np.float64], Ints, npt.NDArray[np.bool_]]:
    xyxy = np.array(tile["xyxy"], np.float64).reshape(-1, 4)
    return xyxy, np.array(tile["class_id"], np.int64), np.array(tile["ignore"], np.bool_)


def _data_yaml(recipe: Recipe) -> str:
    size = (
        f"tiles of {recipe.tile} px, at least {recipe.overlap} px of overlap"
        if recipe.tile
        else "whole fields; AstroCV trained on them at 1024 x 744, which is imgsz=1024 here"
    )
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(recipe.classes))
    # without a path the folders are looked for beside this file, so the set can be moved
    return (
        f"# recipe {recipe.name}: {size}; variants {', '.join(recipe.variants)}\n"
        "# what is ignored is black in the pictures, and a crowd in annotations/*.json\n"
        f"train: images/train\nval: images/val\nnames:\n{names}"
    )
