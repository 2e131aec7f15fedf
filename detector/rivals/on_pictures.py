"""What the learned rivals share: they look at one picture of a field, and give boxes counted from its corner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.detections import Detections
from fieldprep.boxes import CORNER, clip_boxes
from fieldprep.variants import picture

if TYPE_CHECKING:
    from fieldprep.field import Field
    from fieldprep.variants import Picture


class OnPictures(ABC):
    """A rival that looks at one picture of a field; ``variant`` names it."""

    variant: str

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

    @abstractmethod
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
