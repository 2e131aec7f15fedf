"""Stamps to classes: a trained classifier, run from its ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from classifiers.cards import Card
from classifiers.galaxy_zoo_tree import expected, obeying
from classifiers.series import Series, network_inputs
from classifiers.uncertainty import Uncertainty, uncertainty_of
from fieldprep import resources
from fieldprep.errors import UsageError
from fieldprep.network import load_network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fieldprep.network import FloatArray, Network

Floats = npt.NDArray[np.float64]
Stamps = npt.NDArray[Any]

AT_ONCE = 64  # stamps in a batch; the last one is filled up, so that the network is compiled once


class Classifier:
    """
    A trained classifier.

    Parameters
    ----------
    network : Network
        The network, as `fieldprep.network.load_network` gives it: logits, shape (N, K), or (N, M, K) of M networks.
    card : Card
        Its card.
    """

    def __init__(self, network: Network, card: Card) -> None:
        self.network = network
        self.card = card

    @classmethod
    def load(cls, name: str | Path, *, runtime: str | None = None, precision: str | None = "f32") -> Classifier:
        """
        Load a classifier by name or path.

        Parameters
        ----------
        name : str or path
            Name of shipped weights, or the path of an ``.onnx`` with its card beside it.
        runtime : {'openvino', 'onnxruntime'}, optional
            See `fieldprep.network.load_network`.
        precision : {'f32', 'bf16'}, optional
            Likewise; float32 says what the trained network says to a ten thousandth. None leaves it to the machine, as
            a run does.

        Returns
        -------
        Classifier

        Raises
        ------
        fieldprep.errors.InputError
            If there are no such weights, file and card do not belong together, or they are no classifier's.
        """
        path = resources.weights_path(name)
        card = Card.beside(path)
        return cls(load_network(path, runtime=runtime, precision=precision), card)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return self.card.classes

    def predict(self, stamps: Stamps | Sequence[Stamps | Series], *, tree: bool | None = None) -> Floats:
        """
        Probability of each class, or vote fraction of each answer.

        Parameters
        ----------
        stamps : 4D `~numpy.ndarray`, shape (N, ny, nx, C), or sequence of N 3D `~numpy.ndarray` or `Series`
            Stamps of any size, which are brought to the card's, not cropped; NaN where there are no data. A classifier
            of several epochs takes a series an object, of which it sees the latest, as many as the card says; a stamp
            by itself is a series of one.
        tree : bool, optional
            Whether vote fractions are brought to obey Galaxy Zoo's tree; by default as the card says.

        Returns
        -------
        2D float64 `~numpy.ndarray`, shape (N, K)
            Rows of probabilities sum to 1; the mean of its networks, where there are several.

        Raises
        ------
        fieldprep.errors.InputError
            If a stamp has another number of channels than the card says, or no finite pixel, or a series is given where
            single stamps are taken.
        fieldprep.errors.UsageError
            If the tree is asked of probabilities of classes.
        """
        return np.asarray(self.votes(stamps, tree=tree).mean(axis=1))

    def votes(self, stamps: Stamps | Sequence[Stamps | Series], *, tree: bool | None = None) -> Floats:
        """
        Probability of each class by each of its networks; how far they are apart is how unsure they are.

        Parameters
        ----------
        stamps, tree
            As of `predict`.

        Returns
        -------
        3D float64 `~numpy.ndarray`, shape (N, M, K)
            M = 1 for one network.

        Raises
        ------
        fieldprep.errors.InputError, fieldprep.errors.UsageError
            As of `predict`.
        """
        if tree and not self.card.of_votes:
            raise UsageError(f"{self.card.name}: says classes; only vote fractions obey a tree")
        found = probabilities(self.logits(stamps), self.card.activation, self.card.temperature)
        if self.card.tree if tree is None else tree:
            return obeying(found.reshape(-1, found.shape[-1])).reshape(found.shape)
        return found

    def uncertainty(self, stamps: Stamps | Sequence[Stamps | Series]) -> Uncertainty:
        """
        How unsure its networks are together of each stamp.

        Parameters
        ----------
        stamps
            As of `predict`.

        Returns
        -------
        Uncertainty

        Raises
        ------
        fieldprep.errors.UsageError
            If it is one network, which has no other to disagree with, or says vote fractions, which are no
            probabilities of one thing: the spread of `votes` is what they disagree by.
        fieldprep.errors.InputError
            As of `predict`.
        """
        if self.card.of_votes:
            raise UsageError(f"{self.card.name}: says vote fractions; take the spread of votes()")
        votes = self.votes(stamps)
        if not len(votes):  # which do not tell how many networks there are
            votes = np.zeros((0, 2, len(self.classes)))
        if votes.shape[1] < 2:
            raise UsageError(f"{self.card.name}: one network; export several checkpoints, or one with draws=20")
        return uncertainty_of(votes)

    def logits(self, stamps: Stamps | Sequence[Stamps | Series]) -> Floats:
        """
        What its networks say, before it is made probabilities.

        Parameters
        ----------
        stamps
            As of `predict`.

        Returns
        -------
        3D float64 `~numpy.ndarray`, shape (N, M, K)
            As of `votes`.

        Raises
        ------
        fieldprep.errors.InputError
            As of `predict`.
        """
        prepare = self.card.preparation
        n, parts = len(stamps), []
        for start in range(0, n, AT_ONCE):
            inputs = network_inputs(prepare, stamps[start : start + AT_ONCE], first=start)
            some = len(inputs[0])
            parts.append(self.network(*(_filled_up(part) for part in inputs))[:some])
        if not parts:
            return np.zeros((0, 1, len(self.classes)))
        return np.concatenate(parts).astype(np.float64).reshape(n, -1, len(self.classes))


def _filled_up(some: FloatArray) -> FloatArray:
    batch = np.zeros((AT_ONCE, *some.shape[1:]), np.float32)
    batch[: len(some)] = some
    return batch


def probabilities(logits: Floats, activation: str, temperature: float = 1.0) -> Floats:
    """
    Probabilities, or vote fractions, of logits.

    Parameters
    ----------
    logits : float64 `~numpy.ndarray`, shape (..., K)
        Logits.
    activation : {'softmax', 'sigmoid', 'fractions', 'concentrations'}
        Which way; sigmoids are brought to a sum of 1, those of fractions are not.
    temperature : float
        What logits are divided by first.

    Returns
    -------
    float64 `~numpy.ndarray`, shape (..., K)
    """
    scaled = logits / temperature
    if activation in {"sigmoid", "fractions", "concentrations"}:
        each = 0.5 * (1 + np.tanh(scaled / 2)) + np.finfo(np.float64).tiny
        if activation == "fractions":
            return np.asarray(each)
        if activation == "concentrations":
            return expected(each)
        return np.asarray(each / each.sum(axis=-1, keepdims=True))
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
