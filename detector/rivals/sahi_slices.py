"""
SAHI with our weights: slices through ultralytics, merged by its own greedy non-maximum merging.

Needs the train extra, and ``pip install sahi``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import detector.rivals.ultralytics_predict  # noqa: F401 -- first: it keeps ultralytics off the network
from detector.rivals.on_pictures import OnPictures, galaxies

# isort: split
from sahi import AutoDetectionModel
from sahi.predict import get_sliced_prediction

if TYPE_CHECKING:
    from pathlib import Path

    from detector.detections import Detections
    from fieldprep.variants import Picture

SLICE_PX = 640  # what the networks are trained on
OVERLAP = 0.2  # SAHI's default


@dataclass
class Sahi(OnPictures):
    """
    A checkpoint run by SAHI.

    Parameters
    ----------
    model : sahi DetectionModel
        The loaded checkpoint.
    slice_px : int
        Side of a slice.
    variant : str
        The picture it looks at.
    """

    model: Any
    slice_px: int = SLICE_PX
    variant: str = "N"

    @classmethod
    def load(cls, checkpoint: Path, *, confidence: float = 0.01, slice_px: int = SLICE_PX, variant: str = "N") -> Sahi:
        """
        Load a checkpoint (``.pt``), which unpickles it: only one's own.

        Parameters
        ----------
        checkpoint : path
            As `detector.train.train` writes it.
        confidence : float
            Least confidence kept; SAHI's own default is 0.3.
        slice_px : int
            Side of a slice.
        variant : str
            The picture it looks at.

        Returns
        -------
        Sahi
        """
        model = AutoDetectionModel.from_pretrained(
            model_type="ultralytics", model_path=str(checkpoint), confidence_threshold=confidence, device="cpu"
        )
        return cls(model, slice_px, variant)

    def detect_picture(self, rgb: Picture) -> Detections:
        """See `OnPictures`."""
        result = get_sliced_prediction(
            rgb,
            self.model,
            slice_height=self.slice_px,
            slice_width=self.slice_px,
            overlap_height_ratio=OVERLAP,
            overlap_width_ratio=OVERLAP,
            verbose=0,
        )
        found = [one for one in result.object_prediction_list if one.category.id == 0]
        boxes = [one.bbox.to_xyxy() for one in found]
        return galaxies(boxes, [one.score.value for one in found], rgb.shape[:2])
