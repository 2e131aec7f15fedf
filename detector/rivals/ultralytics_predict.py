"""
ultralytics' own ``predict`` with our weights: as it comes, or given the whole field and no small cap.

Needs the train extra.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.detections import Detections
from fieldprep.boxes import CORNER, clip_boxes
from fieldprep.variants import picture

# ultralytics reaches for the network and for pip when it sees fit, unless told before it is imported
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_VERBOSE", "false")

from ultralytics import YOLO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fieldprep.field import Field
    from fieldprep.variants import Picture

STRIDE = 32
MOST = 100_000


@dataclass
class UltralyticsPredict:
    """
    A checkpoint run by ultralytics.

    Parameters
    ----------
    model : YOLO
        The loaded checkpoint.
    whole : bool
        Whether the field goes through at its own size, down to confidence 0.01 and with a cap of 100,000 boxes.
        Otherwise all is left as ultralytics has it: the field shrunk to 640 px, confidence 0.25, 300 boxes.
    variant : str
        The picture it looks at.
    """

    model: Any
    whole: bool = False
    variant: str = "N"

    @classmethod
    def load(cls, checkpoint: Path, *, whole: bool = False, variant: str = "N") -> UltralyticsPredict:
        """
        Load a checkpoint (``.pt``), which unpickles it: only one's own.

        Parameters
        ----------
        checkpoint : path
            As `detector.train.train` writes it.
        whole : bool
            See the class.
        variant : str
            See the class.

        Returns
        -------
        UltralyticsPredict
        """
        return cls(YOLO(checkpoint), whole, variant)

    def detect(self, field: Field) -> Detections:
        """
        Galaxies of a field.

        Parameters
        ----------
        field : Field
            The field.

        Returns
        -------
        Detections
            By falling confidence.
        """
        return self.detect_picture(picture(field, self.variant))

    def detect_picture(self, rgb: Picture) -> Detections:
        """
        Galaxies in a picture.

        Parameters
        ----------
        rgb : 3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
            The picture.

        Returns
        -------
        Detections
            By falling confidence.
        """
        ny, nx = rgb.shape[:2]
        options: Mapping[str, Any] = {}
        if self.whole:
            size = [-(-side // STRIDE) * STRIDE for side in (ny, nx)]
            options = {"imgsz": size, "conf": 0.01, "max_det": MOST}
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        boxes = self.model.predict(bgr, device="cpu", verbose=False, save=False, **options)[0].boxes
        galaxy = boxes.cls.numpy() == 0
        return galaxies(boxes.xyxy.numpy()[galaxy], boxes.conf.numpy()[galaxy], (ny, nx))


def galaxies(xyxy: Any, confidence: Any, shape: tuple[int, int]) -> Detections:
    """
    Boxes counted from the picture's corner as detections of the one class.

    Parameters
    ----------
    xyxy : array_like, shape (N, 4)
        Boxes.
    confidence : array_like, shape (N,)
        Confidences.
    shape : (ny, nx)
        Shape of the picture.

    Returns
    -------
    Detections
        By falling confidence.
    """
    boxes = clip_boxes(np.asarray(xyxy, np.float64).reshape(-1, 4) - CORNER, shape)
    scores = np.clip(np.asarray(confidence, np.float64).reshape(-1), 0, 1)
    zeros = np.zeros(len(scores), np.int64)
    return Detections(boxes, scores, zeros, zeros).sorted()
