"""The card of a classifier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from classifiers.galaxy_zoo_tree import ANSWERS
from classifiers.preparing import Preparation
from fieldprep.cards import WeightsCard
from fieldprep.portraits import Portrait
from fieldprep.stamps import Cut

OF_VOTES = ("fractions", "concentrations")  # activations that make vote fractions, not probabilities
ACTIVATIONS = ("softmax", "sigmoid", *OF_VOTES)
UNCERTAIN, TOO_SMALL = "uncertain", "too_small"  # said in place of a class


@dataclass(frozen=True)
class Card(WeightsCard):
    """
    Card of a trained classifier, ``NAME.json`` beside ``NAME.onnx``.

    Parameters
    ----------
    name, task, network, classes, sha256, licence, training, scores, limits
        As of `fieldprep.cards.WeightsCard`.
    stamps : dict
        How stamps are prepared, the parameters of `classifiers.preparing.Preparation`.
    sides : float, optional
        How wide the stamp of a detection is, as of `fieldprep.stamps.Cut`; None: it is not for detections.
    stars : float
        Half-light radius that stars are brought to in it, likewise.
    portrait : dict, optional
        How a detection is framed where the classifier looks at pictures, as of `fieldprep.portraits.Portrait`.
    unsure : float
        Probability under which a class is not given: it is `UNCERTAIN`.
    activation : {'softmax', 'sigmoid', 'fractions', 'concentrations'}
        From logits to probabilities; those of a sigmoid are brought to a sum of 1. Or from logits to Galaxy Zoo's vote
        fractions: each by itself, or as the mean of a Dirichlet distribution a question.
    temperature : float
        Logits are divided by it first, so that probabilities are as often right as they say; fitted on validation
        stamps only.
    thresholds : dict
        By recall, written as ``"0.95"``, the probability of the first class from which on a stamp is taken for it, so
        that this share of the validation stamps of that class is; empty where it was not measured.
    """

    name: str
    task: str
    network: str
    classes: tuple[str, ...]
    stamps: dict[str, Any]
    sha256: str
    sides: float | None = None
    stars: float = 0.0
    portrait: dict[str, float] | None = None
    unsure: float = 0.0
    activation: str = "softmax"
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    tree: bool = False
    licence: str = "AGPL-3.0-or-later"
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be of {', '.join(ACTIVATIONS)}, got {self.activation!r}")
        if self.of_votes and self.classes != ANSWERS:
            raise ValueError(f"classes must be Class1.1 to Class11.6 for {self.activation}, got {self.classes!r}")
        if self.tree and not self.of_votes:
            raise ValueError(f"tree must be false for {self.activation}: it is of vote fractions")
        if not (isinstance(self.temperature, int | float) and self.temperature > 0):
            raise ValueError(f"temperature must be over 0, got {self.temperature!r}")
        if not isinstance(self.thresholds, dict):
            raise TypeError(f"thresholds must be a table, got {self.thresholds!r}")
        for recall, threshold in self.thresholds.items():
            if not (0 < float(recall) <= 1 and 0 <= threshold <= 1):
                raise ValueError(f"thresholds must be probabilities by recall, got {recall!r}: {threshold!r}")
        if not 0 <= self.unsure <= 1:
            raise ValueError(f"unsure must be a probability, got {self.unsure!r}")
        _ = self.preparation, self.framing

    @property
    def of_votes(self) -> bool:
        """Whether it says vote fractions of Galaxy Zoo's answers, not probabilities of classes."""
        return self.activation in OF_VOTES

    @property
    def cut(self) -> Cut:
        """How a stamp is cut about a detection."""
        return Cut(self.preparation.size, self.sides or 0.0, self.stars)

    @property
    def framing(self) -> Portrait | None:
        """How a detection is framed, where the classifier looks at pictures."""
        return None if self.portrait is None else Portrait(**self.portrait)

    @property
    def preparation(self) -> Preparation:
        """How stamps are prepared."""
        return Preparation(**{**self.stamps, "scaling": tuple(self.stamps["scaling"])})

    def what(self) -> str:
        """What it is, in a line."""
        several = f", up to {self.preparation.epochs} epochs of them" if self.preparation.epochs > 1 else ""
        if self.of_votes:
            answers = "vote fractions of Galaxy Zoo's 37 answers"
            return f"{self.name}: {self.task}, {self.network}, {answers}, stamps of {self.stamps['size']} px"
        return f"{super().what()}, stamps of {self.stamps['size']} px, {self.stamps['channels']} channels{several}"
