"""The card beside each file of weights: what a network is, what it was trained on, how it scored, where it fails."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any, ClassVar, Self

from fieldprep.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


class WeightsCard:
    """
    What the cards of all networks have in common; each kind is a frozen dataclass of its own with these fields.

    Parameters
    ----------
    name, task, network : str
        What it is called, what it answers, which architecture.
    classes : tuple of str
        Names of the classes, by index.
    sha256 : str
        Of the ONNX file.
    licence : str
        SPDX identifier.
    training, scores, limits : dict, dict, list of str
        What it was trained on and how, how it scored (with n and how it was measured), where it fails.
    """

    TUPLES: ClassVar[tuple[str, ...]] = ("classes",)  # fields that JSON has as lists

    name: str
    task: str
    network: str
    classes: tuple[str, ...]
    sha256: str
    licence: str
    training: dict[str, Any]
    scores: dict[str, Any]
    limits: list[str]

    def __post_init__(self) -> None:
        if len(str(self.sha256)) != 64:
            raise ValueError(f"sha256 must have 64 digits, got {self.sha256!r}")
        if not self.classes:
            raise ValueError("classes must not be empty")

    @classmethod
    def beside(cls, weights: Path) -> Self:
        """
        Read the card of a weights file and check that it is of that very file.

        Parameters
        ----------
        weights : path
            The ``.onnx``.

        Returns
        -------
        WeightsCard
            Of this kind.

        Raises
        ------
        fieldprep.errors.InputError
            If either file is missing, the card is not one of this kind, or the checksum is another's.
        """
        content = read_card(weights)
        path = weights.with_suffix(".json")
        try:
            card = cls(**{key: tuple(value) if key in cls.TUPLES else value for key, value in content.items()})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: not the card of a network of this kind ({error})") from error
        found = sha256(weights)
        if found != card.sha256:
            raise InputError(f"{weights}: sha256 {found[:12]}... is not the card's {card.sha256[:12]}...")
        return card

    def write(self, path: Path) -> None:
        """Write the card as JSON to ``path``."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        path.write_text(json.dumps(content, indent=2) + "\n")

    def what(self) -> str:
        """What it is, in a line."""
        return f"{self.name}: {self.task}, {self.network}, classes {', '.join(self.classes)}"

    def as_text(self) -> str:
        """Card as lines to read: what it is, how it was trained, how it scored, where it fails."""
        lines = [f"{self.what()}, {self.licence}", *(f"  {key}: {value}" for key, value in self.training.items())]
        for key, value in self.scores.items():
            lines.append(f"  {key}:" if _is_table(value) else f"  {key}: {value}")
            if _is_table(value):
                lines += [f"    {_of(limit)}: {_row(row)}" for limit, row in value.items()]
        return "\n".join([*lines, *(f"  limit: {limit}" for limit in self.limits)])


def read_card(weights: Path) -> dict[str, Any]:
    """
    Content of the card beside a weights file, of whatever kind.

    Parameters
    ----------
    weights : path
        The ``.onnx``.

    Returns
    -------
    dict

    Raises
    ------
    fieldprep.errors.InputError
        If either file is missing, or the card is no table of JSON.
    """
    path = weights.with_suffix(".json")
    for needed in (weights, path):
        if not needed.is_file():
            raise InputError(f"{needed}: no such file; a network needs NAME.onnx and its card NAME.json")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not a network's card ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a network's card (no table, but {type(content).__name__})")
    return content


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
