"""A trained network as ONNX, and whether the two agree. Needs the train extra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from ultralytics import YOLO

from fieldprep.network import load_network

if TYPE_CHECKING:
    from collections.abc import Sequence


def export(checkpoint: Path, out: Path) -> Path:
    """
    Write a checkpoint as ONNX, its height and width open.

    Parameters
    ----------
    checkpoint : path
        ultralytics' ``.pt``.
    out : path
        The ``.onnx`` to write.

    Returns
    -------
    path
        ``out``.
    """
    model = YOLO(checkpoint)
    model.model.model[-1].end2end = False  # the dense head: the other one caps the number of detections
    written = Path(model.export(format="onnx", imgsz=640, dynamic=True, simplify=True, device="cpu"))
    out.parent.mkdir(parents=True, exist_ok=True)
    written.replace(out)
    return out


def check_parity(checkpoint: Path, weights: Path, tiles: Sequence[Path]) -> float:
    """
    How far the exported network strays from the trained one on real tiles.

    Parameters
    ----------
    checkpoint : path
        ultralytics' ``.pt``.
    weights : path
        Its export.
    tiles : sequence of path
        Pictures.

    Returns
    -------
    float
        Largest difference of a score, or of an edge in units of 1000 px, among the anchors that score over
        0.01 and the hundred best of each tile.
    """
    model = YOLO(checkpoint).model.float().eval()
    model.model[-1].end2end = False
    model.fuse(verbose=False)
    exported = load_network(weights, precision="f32")  # the file is what is checked, not the processor
    worst = 0.0
    for tile in tiles:
        image = cv2.cvtColor(np.asarray(cv2.imread(str(tile))), cv2.COLOR_BGR2RGB)
        batch = np.moveaxis(image, -1, 0)[None].astype(np.float32) / np.float32(255)
        with torch.no_grad():
            found = model(torch.from_numpy(batch))
        ours, theirs = exported(batch), (found[0] if isinstance(found, tuple | list) else found).numpy()
        scores = theirs[0, 4]
        seen = scores >= min(0.01, np.sort(scores)[-100:][0])
        difference = np.abs(ours - theirs)[0][:, seen]
        worst = max(worst, float(difference[4:].max(initial=0)), float(difference[:4].max(initial=0) / 1000))
    return worst
