"""The card beside each weights file: what the network is, what it was trained on, how it scored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from detector.calibration import Calibration
from fieldprep.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Card:
    """
    Card of a trained network, ``NAME.json`` beside ``NAME.onnx``.

    Parameters
    ----------
    name, task, network : str
        What it is called, what it answers, which architecture.
    classes : tuple of str
        Names of the classes, by index.
    variant : str
        The picture it is run on.
    stride : int
        Height and width of its input are multiples of this.
    confidence : float
        Default threshold of the catalogue.
    sha256 : str
        Of the ONNX file.
    licence : str
        SPDX identifier.
    training, scores, limits : dict, dict, list of str
        What it was trained on and how, how it scored (with n and how it was measured), where it fails.
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
        if not (isinstance(self.stride, int) and self.stride > 0):
            raise ValueError(f"stride must be a whole number over 0, got {self.stride!r}")
        if not (isinstance(self.confidence, int | float) and 0 <= self.confidence <= 1):
            raise ValueError(f"confidence must be 0 to 1, got {self.confidence!r}")
        if len(str(self.sha256)) != 64:
            raise ValueError(f"sha256 must have 64 digits, got {self.sha256!r}")
        if not self.classes:
            raise ValueError("classes must not be empty")
        for display in (False, True):
            self.calibration_of(display=display)

    @classmethod
    def beside(cls, weights: Path) -> Card:
        """
        Read the card of a weights file and check that it is of that very file.

        Parameters
        ----------
        weights : path
            The ``.onnx``.

        Returns
        -------
        Card

        Raises
        ------
        fieldprep.errors.InputError
            If either file is missing, the card is not one, or the checksum is another's.
        """
        path = weights.with_suffix(".json")
        for needed in (weights, path):
            if not needed.is_file():
                raise InputError(f"{needed}: no such file; a network needs NAME.onnx and its card NAME.json")
        try:
            content = json.loads(path.read_text())
            card = cls(**{**content, "classes": tuple(content["classes"])})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: not a network's card ({error})") from error
        found = sha256(weights)
        if found != card.sha256:
            raise InputError(f"{weights}: sha256 {found[:12]}... is not the card's {card.sha256[:12]}...")
        return card

    def calibration_of(self, *, display: bool) -> Calibration | None:
        """Calibration of the confidences in a field, or in a display picture; None where they are raw."""
        return Calibration.from_card(self.display_calibration or self.calibration if display else self.calibration)

    def write(self, path: Path) -> None:
        """Write the card as JSON to ``path``."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def as_text(self) -> str:
        """Card as lines to read: what it is, how it was trained, how it scored, where it fails."""
        lines = [
            (
                f"{self.name}: {self.task}, {self.network}, classes {', '.join(self.classes)}, "
                f"picture {self.variant}, confidence {self.confidence:g}, {self.licence}"
            )
        ]
        if self.calibration is not None:
            lines.append(f"  calibration of the confidence: {self.calibration['kind']}")
        lines += [f"  {key}: {value}" for key, value in self.training.items()]
        for key, value in self.scores.items():
            lines.append(f"  {key}:" if _is_table(value) else f"  {key}: {value}")
            if _is_table(value):
                lines += [f"    {_of(limit)}: {_row(row)}" for limit, row in value.items()]
        return "\n".join([*lines, *(f"  limit: {limit}" for limit in self.limits)])


def _is_table(value: Any) -> bool:
    """Whether an entry of the scores is a table: rows of measures, each with a value and an interval."""
    return isinstance(value, dict) and all(isinstance(row, dict) for row in value.values())


def _of(limit: str) -> str:
    """What a row is of: a limit in magnitude, or what it is called."""
    return f"r < {limit}" if limit.replace(".", "", 1).isdigit() else limit


def _row(row: dict[str, dict[str, float]]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f}, n {entry['n']})"
        for name, entry in row.items()
    )


def sha256(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
