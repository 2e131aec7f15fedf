"""Trained classifiers as one ONNX file with its card, and whether it agrees with them. Needs the train extra."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import nn

from classifiers.cards import Card
from classifiers.classify import Classifier, probabilities
from classifiers.tasks import Task
from classifiers.train import TASK_FILE, load_checkpoint
from fieldprep.cards import sha256
from fieldprep.errors import InputError, one_line
from fieldprep.network import load_network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from classifiers.stampsets import StampSet

    Floats = npt.NDArray[np.float64]

PARITY = 1e-4  # of a probability
COOLEST, HOTTEST = 0.05, 20.0


class _Together(nn.Module):
    """Several networks side by side: logits of shape (N, M, K)."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack([network(inputs) for network in self.networks], dim=1)


def task_of(checkpoint: Path) -> Task:
    """
    Task that a checkpoint was trained as.

    Parameters
    ----------
    checkpoint : path
        In a folder of `classifiers.train.train_stamps`.

    Returns
    -------
    Task

    Raises
    ------
    fieldprep.errors.InputError
        If there is no ``task.json`` beside it, or it is none.
    """
    path = checkpoint.with_name(TASK_FILE)
    try:
        return Task.of(json.loads(path.read_text())["task"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the task of a trained classifier ({one_line(error)})") from error


def export_classifier(
    checkpoints: Sequence[Path], out: Path, *, validation: StampSet | None = None, **about: Any
) -> Path:
    """
    Write classifiers that were trained alike as one ONNX file with its card.

    Parameters
    ----------
    checkpoints : sequence of path
        Of one task; where there are several, the file holds all of them and their mean is what it says.
    out : path
        The ``.onnx`` to write.
    validation : StampSet, optional
        Stamps that none of them was trained on: the temperature is fitted to them.
    **about
        More of the card: ``training``, ``scores``, ``limits``, ``temperature``.

    Returns
    -------
    path
        ``out``.

    Raises
    ------
    fieldprep.errors.InputError
        If a checkpoint cannot be read, or the file strays from the networks.
    """
    task = task_of(checkpoints[0])
    networks = [load_checkpoint(path, task_of(path)).network.eval() for path in checkpoints]
    together = _Together(networks) if len(networks) > 1 else networks[0]
    out.parent.mkdir(parents=True, exist_ok=True)
    shape = task.stamps.inputs, task.stamps.size, task.stamps.size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making
        torch.onnx.export(
            together,
            (torch.zeros(2, *shape),),
            out,
            input_names=["stamps"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            verbose=False,
            external_data=False,
        )
    card = Card(
        name=out.stem,
        task=task.name,
        network=task.network if len(networks) == 1 else f"{len(networks)} x {task.network}",
        classes=task.classes,
        stamps=task.as_table()["stamps"],
        sha256=sha256(out),
        sides=task.sides,
        activation=task.activation,
        **about,
    )
    classifier = Classifier(load_network(out, precision="f32"), card)
    _check(together, classifier, shape)
    if validation is not None:
        logits, true = classifier.logits(validation.stamps), task.numbers_of(validation.labels)
        card = replace(card, temperature=fit_temperature(logits, true, task.activation))
    card.write(out.with_suffix(".json"))
    return out


def _check(network: nn.Module, classifier: Classifier, shape: tuple[int, int, int]) -> None:
    inputs = np.random.default_rng(0).normal(0, 1, (8, *shape)).astype(np.float32)
    with torch.no_grad():
        theirs = network(torch.from_numpy(inputs)).numpy().astype(np.float64)
    ours = classifier.network(inputs).astype(np.float64)
    activation = classifier.card.activation
    strays = float(np.abs(probabilities(ours, activation) - probabilities(theirs, activation)).max())
    if strays > PARITY:
        raise InputError(f"{classifier.card.name}: the exported file strays from the network by {strays:.2g}")


def fit_temperature(logits: Floats, true: npt.NDArray[np.int64], activation: str) -> float:
    """
    Temperature at which the mean probability of the true class is likeliest.

    Parameters
    ----------
    logits : 3D float64 `~numpy.ndarray`, shape (N, M, K)
        Of validation stamps, by each network.
    true : 1D int64 `~numpy.ndarray`, shape (N,)
        Their classes.
    activation : {'softmax', 'sigmoid'}
        As of the card.

    Returns
    -------
    float
        From 0.05 to 20.

    References
    ----------
    Guo et al. 2017, ICML, 1321, section 4.2.
    """

    def loss(logarithm: float) -> float:
        found = probabilities(logits, activation, float(np.exp(logarithm))).mean(axis=1)
        return float(-np.log(np.maximum(found[np.arange(len(true)), true], np.finfo(np.float64).tiny)).mean())

    bounds = (float(np.log(COOLEST)), float(np.log(HOTTEST)))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
