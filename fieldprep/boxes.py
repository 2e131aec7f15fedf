"""
Boxes of galaxies, and the YOLO and COCO files they are written to.

A box is ``xyxy``: its edges as float pixels in the frame in which pixel (0, 0) covers -0.5 .. 0.5. YOLO and
COCO count from the first pixel's corner, so their files get +0.5 on writing and -0.5 on reading.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Floats = npt.NDArray[np.float64]

SEMI_MAJOR = 1.05  # of the Petrosian radius, so that a round galaxy's box is AstroCV's
SMALLEST_SIDE_PX = 8.0
CORNER = 0.5


def petrosian_boxes(x: Floats, y: Floats, radius_px: Floats, axis_ratio: Floats, theta_deg: Floats) -> Floats:
    """
    Boxes of Petrosian ellipses: semi-major axis 1.05 Petrosian radii, no side under 8 px.

    Parameters
    ----------
    x, y : 1D `~numpy.ndarray`, shape (N,)
        Centres, 0-based pixels.
    radius_px : 1D `~numpy.ndarray`, shape (N,)
        Petrosian radii in pixels.
    axis_ratio : 1D `~numpy.ndarray`, shape (N,)
        Minor over major axis.
    theta_deg : 1D `~numpy.ndarray`, shape (N,)
        Position angle of the major axis in degrees, from +x towards +y.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (N, 4)
        x_min, y_min, x_max, y_max.
    """
    major = SEMI_MAJOR * radius_px
    minor = major * axis_ratio
    cos, sin = np.cos(np.radians(theta_deg)), np.sin(np.radians(theta_deg))
    half_x = np.maximum(np.hypot(major * cos, minor * sin), SMALLEST_SIDE_PX / 2)
    half_y = np.maximum(np.hypot(major * sin, minor * cos), SMALLEST_SIDE_PX / 2)
    return np.stack([x - half_x, y - half_y, x + half_x, y + half_y], axis=-1)


def astrocv_boxes(x: Floats, y: Floats, radius_px: Floats) -> Floats:
    """
    AstroCV's boxes: squares of side 2.1 Petrosian radii.

    Parameters
    ----------
    x, y : 1D `~numpy.ndarray`, shape (N,)
        Centres, 0-based pixels.
    radius_px : 1D `~numpy.ndarray`, shape (N,)
        Petrosian radii in pixels.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (N, 4)
        x_min, y_min, x_max, y_max.

    References
    ----------
    Gonzalez, Munoz & Hernandez 2018, Astronomy and Computing 25, 103, section 3.1.
    """
    half = SEMI_MAJOR * radius_px
    return np.stack([x - half, y - half, x + half, y + half], axis=-1)


def clip_boxes(xyxy: Floats, shape: tuple[int, int]) -> Floats:
    """
    Boxes cut off at the edges of a field.

    Parameters
    ----------
    xyxy : 2D `~numpy.ndarray`, shape (N, 4)
        Boxes.
    shape : (ny, nx)
        Shape of the field.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (N, 4)
        Boxes wholly outside have no width or no height.
    """
    ny, nx = shape
    high = np.array([nx, ny, nx, ny]) - CORNER
    return np.clip(xyxy, -CORNER, high)


def areas(xyxy: Floats) -> Floats:
    """Areas of boxes, shape (N, 4), in square pixels, shape (N,); 0 for an inverted one."""
    sides = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0)
    area: Floats = sides[:, 0] * sides[:, 1]
    return area


def iou_of_pairs(first: Floats, second: Floats) -> Floats:
    """
    Intersection over union of boxes, pair by pair.

    Parameters
    ----------
    first, second : 2D `~numpy.ndarray`, shape (N, 4)
        Boxes.

    Returns
    -------
    1D float64 `~numpy.ndarray`, shape (N,)
    """
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, 2:], second[:, 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=1)
    union = areas(first) + areas(second) - overlap
    iou: Floats = np.divide(overlap, union, out=np.zeros_like(union), where=union > 0)
    return iou


def iou_table(first: Floats, second: Floats) -> Floats:
    """
    Intersection over union of boxes, each of the first with each of the second.

    Parameters
    ----------
    first, second : 2D `~numpy.ndarray`, shape (M, 4), (N, 4)
        Boxes.

    Returns
    -------
    2D float64 `~numpy.ndarray`, shape (M, N)
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    overlap = sides[..., 0] * sides[..., 1]
    union = areas(first)[:, None] + areas(second)[None] - overlap
    iou: Floats = np.divide(overlap, union, out=np.zeros_like(union), where=union > 0)
    return iou


def write_yolo(path: Path, xyxy: Floats, class_id: npt.NDArray[np.int64], shape: tuple[int, int]) -> None:
    """
    Write a YOLO label file: class, centre x, centre y, width, height, as fractions of the picture.

    Parameters
    ----------
    path : path
        The ``.txt`` to write.
    xyxy : 2D `~numpy.ndarray`, shape (N, 4)
        Boxes.
    class_id : 1D int `~numpy.ndarray`, shape (N,)
        Index of each box's class.
    shape : (ny, nx)
        Shape of the picture.
    """
    ny, nx = shape
    size = np.array([nx, ny])
    centre = ((xyxy[:, :2] + xyxy[:, 2:]) / 2 + CORNER) / size
    extent = (xyxy[:, 2:] - xyxy[:, :2]) / size
    lines = [
        f"{c} {cx:.9f} {cy:.9f} {w:.9f} {h:.9f}\n" for c, (cx, cy), (w, h) in zip(class_id, centre, extent, strict=True)
    ]
    path.write_text("".join(lines))


def read_yolo(path: Path, shape: tuple[int, int]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """
    Read a YOLO label file.

    Parameters
    ----------
    path : path
        The ``.txt``.
    shape : (ny, nx)
        Shape of its picture.

    Returns
    -------
    xyxy : 2D float64 `~numpy.ndarray`, shape (N, 4)
        Boxes.
    class_id : 1D int `~numpy.ndarray`, shape (N,)
        Index of each box's class.

    Raises
    ------
    fieldprep.errors.InputError
        If a line is not five numbers.
    """
    try:
        rows = np.array([line.split() for line in path.read_text().splitlines() if line.strip()], np.float64)
        rows = rows.reshape(-1, 5)
    except ValueError as error:
        raise InputError(f"{path}: not a YOLO label file (five numbers a line)") from error
    size = np.array([shape[1], shape[0]])
    centre, extent = rows[:, 1:3] * size - CORNER, rows[:, 3:5] * size
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1), rows[:, 0].astype(np.int64)


def coco_annotations(
    xyxy: Floats, class_id: npt.NDArray[np.int64], ignore: npt.NDArray[np.bool_], *, image_id: int, first_id: int
) -> list[dict[str, Any]]:
    """
    COCO annotations of one picture.

    Parameters
    ----------
    xyxy : 2D `~numpy.ndarray`, shape (N, 4)
        Boxes.
    class_id : 1D int `~numpy.ndarray`, shape (N,)
        Index of each box's class; COCO's categories count from 1.
    ignore : 1D bool `~numpy.ndarray`, shape (N,)
        True = neither for nor against: written as a crowd, which is how COCO scoring leaves a region out.
    image_id, first_id : int
        Id of the picture, id of its first annotation.

    Returns
    -------
    list of dict
    """
    corner = xyxy[:, :2] + CORNER
    extent = xyxy[:, 2:] - xyxy[:, :2]
    return [
        {
            "id": first_id + i,
            "image_id": image_id,
            "category_id": int(class_id[i]) + 1,
            "bbox": [float(corner[i, 0]), float(corner[i, 1]), float(extent[i, 0]), float(extent[i, 1])],
            "area": float(extent[i, 0] * extent[i, 1]),
            "iscrowd": int(ignore[i]),
        }
        for i in range(len(xyxy))
    ]


def write_coco(
    path: Path, images: Iterable[dict[str, Any]], annotations: Iterable[dict[str, Any]], classes: Sequence[str]
) -> None:
    """
    Write a COCO file, row by row, so that it may be larger than memory.

    Parameters
    ----------
    path : path
        The ``.json`` to write.
    images : iterable of dict
        ``id``, ``file_name``, ``width``, ``height`` each.
    annotations : iterable of dict
        As `coco_annotations` makes them.
    classes : sequence of str
        Names, by class index.
    """
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    with path.open("w") as handle:
        handle.write(f'{{"categories": {json.dumps(categories)}')
        for name, rows in (("images", images), ("annotations", annotations)):
            handle.write(f', "{name}": [')
            handle.writelines(f"{', ' if i else ''}{json.dumps(row)}" for i, row in enumerate(rows))
            handle.write("]")
        handle.write("}")


def read_coco(path: Path) -> dict[str, tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.bool_]]]:
    """
    Read a COCO file.

    Parameters
    ----------
    path : path
        The ``.json``.

    Returns
    -------
    dict
        By file name of the picture: boxes (N, 4), class indices (N,), ignore flags (N,).
    """
    content = json.loads(path.read_text())
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    found = {}
    for image in content["images"]:
        rows = by_image[image["id"]]
        bbox = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
        low = bbox[:, :2] - CORNER
        found[image["file_name"]] = (
            np.concatenate([low, low + bbox[:, 2:]], axis=1),
            np.array([row["category_id"] - 1 for row in rows], np.int64),
            np.array([row.get("iscrowd", 0) for row in rows], np.bool_),
        )
    return found
