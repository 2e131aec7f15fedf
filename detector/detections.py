"""What a detector finds in one field."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import numpy.typing as npt


class Flag(IntFlag):
    """Bits of a detection's ``flags``."""

    EDGE = 1  # the box reaches the edge of the field
    MASKED = 2  # a tenth of the box or more is unusable: a band missing, not finite, saturated
    NO_CENTROID = 4  # no centroid of light was found; x, y are the box's centre
    CALLED_STAR = 8  # the classifier of stars and galaxies disagrees with the detector
    CALLED_BOGUS = 16  # the classifier of artefacts does


FLAG_MEANINGS = {
    Flag.EDGE: "the box reaches the edge of the field",
    Flag.MASKED: "a tenth or more of the box's pixels is unusable (a band missing, not finite, saturated)",
    Flag.NO_CENTROID: "no centroid of light was found; x, y are the centre of the box",
    Flag.CALLED_STAR: "star_galaxy says that it is a star",
    Flag.CALLED_BOGUS: "real_bogus says that it is an artefact",
}


@dataclass(frozen=True, eq=False)
class Detections:
    """
    Boxes found in a field.

    Parameters
    ----------
    xyxy : 2D float64 `~numpy.ndarray`, shape (N, 4)
        x_min, y_min, x_max, y_max: edges in float pixels, pixel (0, 0) covering -0.5 .. 0.5.
    confidence : 1D float64 `~numpy.ndarray`, shape (N,)
        0 to 1.
    class_id : 1D int64 `~numpy.ndarray`, shape (N,)
        Index into ``classes``.
    flags : 1D int64 `~numpy.ndarray`, shape (N,)
        Bit mask of `Flag`.
    classes : tuple of str
        Names of the classes.
    """

    xyxy: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    class_id: npt.NDArray[np.int64]
    flags: npt.NDArray[np.int64]
    classes: tuple[str, ...] = ("galaxy",)

    def __post_init__(self) -> None:
        n = len(self.confidence)
        for name, shape in (("xyxy", (n, 4)), ("confidence", (n,)), ("class_id", (n,)), ("flags", (n,))):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must be of shape {shape}, got {getattr(self, name).shape}")
        if n and not (self.confidence.min() >= 0 and self.confidence.max() <= 1):
            raise ValueError(f"confidence must be 0 to 1, got {self.confidence.min()} to {self.confidence.max()}")
        if n and not 0 <= self.class_id.min() <= self.class_id.max() < len(self.classes):
            raise ValueError(f"class_id must be 0 to {len(self.classes) - 1}, got {self.class_id.max()}")

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Centres of the boxes, shape (N, 2): x, y."""
        return (self.xyxy[:, :2] + self.xyxy[:, 2:]) / 2

    def select(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Detections:
        """Detections by a bool mask or an index array."""
        return Detections(
            self.xyxy[chosen], self.confidence[chosen], self.class_id[chosen], self.flags[chosen], self.classes
        )

    def sorted(self) -> Detections:
        """By falling confidence; ties by position, so that the order never hangs on how they were found."""
        x_min, y_min, x_max, y_max = self.xyxy.T
        return self.select(np.lexsort((self.class_id, y_max, x_max, x_min, y_min, -self.confidence)))
