"""The card of a detector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from detector.calibration import Calibration
from fieldprep.cards import WeightsCard


@dataclass(frozen=True)
class Card(WeightsCard):
    """
    Card of a trained detector, ``NAME.json`` beside ``NAME.onnx``.

    Parameters
    ----------
    name, task, network, classes, sha256, licence, training, scores, limits
        As of `fieldprep.cards.WeightsCard`.
    variant : str
        The picture it is run on.
    stride : int
        Height and width of its input are multiples of this.
    confidence : float
        Default threshold of the catalogue.
    calibration : dict, optional
        From raw confidence to probability, as of `detector.calibration.Calibration.as_card`; ``confidence`` is on its
        scale.
    display_calibration : dict, optional
        The same for display pictures, where it differs.
    """

    name: str
    task: str
    network: str
    classes: tuple[str, ...]
    variant: str
    stride: int
    confidence: float
    sha256: str
    licence: str = "AGPL-3.0-or-later"
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)
    calibration: dict[str, Any] | None = None
    display_calibration: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.stride, int) and self.stride > 0):
            raise ValueError(f"stride must be a whole number over 0, got {self.stride!r}")
        if not (isinstance(self.confidence, int | float) and 0 <= self.confidence <= 1):
            raise ValueError(f"confidence must be 0 to 1, got {self.confidence!r}")
        for display in (False, True):
            self.calibration_of(display=display)

    def calibration_of(self, *, display: bool) -> Calibration | None:
        """Calibration of the confidences in a field, or in a display picture; None where they are raw."""
        return Calibration.from_card(self.display_calibration or self.calibration if display else self.calibration)

    def what(self) -> str:
        """What it is, in a line."""
        known = "" if self.calibration is None else f", calibrated ({self.calibration['kind']})"
        return f"{super().what()}, picture {self.variant}, confidence {self.confidence:g}{known}"
