"""
ultralytics' own ``predict`` with our weights: as it comes, or given the whole field and no small cap.

Needs the train extra.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.rivals.on_pictures import OnPictures, galaxies

# ultralytics reaches for the network and for pip when it sees fit, unless told before it is imported
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_VERBOSE", "false")

from ultralytics import YOLO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from detector.detections import Detections
    from fieldprep.variants import Picture

STRIDE = 32
MOST = 100_000


@dataclass
class UltralyticsPredict(OnPictures):
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

    def detect_picture(self, rgb: Picture) -> Detections:
        """See `OnPictures`."""
        ny, nx = rgb.shape[:2]
        options: Mapping[str, Any] = {}
        if self.whole:
            size = [-(-side // STRIDE) * STRIDE for side in (ny, nx)]
            options = {"imgsz": size, "conf": 0.01, "max_det": MOST}
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        boxes = self.model.predict(bgr, device="cpu", verbose=False, save=False, **options)[0].boxes
        galaxy = boxes.cls.numpy() == 0
        return galaxies(boxes.xyxy.numpy()[galaxy], boxes.conf.numpy()[galaxy], (ny, nx))
