"""Cards of weights of either kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifiers.cards import Card as ClassifierCard
from detector.cards import Card as DetectorCard
from fieldprep.cards import read_card

if TYPE_CHECKING:
    from pathlib import Path


def card_beside(weights: Path) -> ClassifierCard | DetectorCard:
    """
    Card of a weights file, a detector's or a classifier's.

    Parameters
    ----------
    weights : path
        The ``.onnx``.

    Returns
    -------
    Card
        Of `classifiers.cards` where it says how stamps are prepared, else of `detector.cards`.

    Raises
    ------
    fieldprep.errors.InputError
        If it has no card, or one of neither kind.
    """
    kind = ClassifierCard if "stamps" in read_card(weights) else DetectorCard
    return kind.beside(weights)
