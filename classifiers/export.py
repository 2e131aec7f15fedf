"""Trained classifiers as one ONNX file with its card, and whether it agrees with them. Needs the train extra."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import nn

from classifiers.cards import Card
from classifiers.classify import Classifier, probabilities
from classifiers.dropout import drawn
from classifiers.equivariant import plain
from classifiers.metrics import threshold_for_recall
from classifiers.series import NO_EPOCH
from classifiers.tasks import LAYERED, Task
from classifiers.train import TASK_FILE, load_checkpoint
from fieldprep.cards import sha256
from fieldprep.errors import InputError, one_line
from fieldprep.network import load_network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from classifiers.preparing import FloatArray, Preparation
    from classifiers.stampsets import StampSet

    Floats = npt.NDArray[np.float64]

PARITY = 1e-4  # of a probability
COOLEST, HOTTEST = 0.05, 20.0
RECALLS = (0.9, 0.95, 0.99)  # that the card has thresholds for
DIGITS = 6  # of a threshold; runtimes differ in the seventh


class _Together(nn.Module):
    """Several networks side by side: logits of shape (N, M, K), the mean over a stamp's turns where they are asked."""

    def __init__(self, networks: Sequence[nn.Module], *, turned: bool = False) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.turned = turned

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        if not self.turned:
            return torch.stack([network(*inputs) for network in self.networks], dim=1)
        views = _eight_turns(inputs[0])
        return torch.stack([torch.stack([network(one) for one in views]).mean(0) for network in self.networks], dim=1)


def _eight_turns(stamps: torch.Tensor) -> list[torch.Tensor]:
    """Stamps by all turns and mirror images, shape (N, C, size, size) each."""
    both = (stamps, stamps.transpose(2, 3))
    return [one.flip(axes) if axes else one for one in both for axes in ((), (2,), (3,), (2, 3))]


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
    checkpoints: Sequence[Path], out: Path, *, draws: int = 0, validation: StampSet | None = None, **about: Any
) -> Path:
    """
    Write classifiers that were trained alike as one ONNX file with its card.

    Parameters
    ----------
    checkpoints : sequence of path
        Of one task; where there are several, the file holds all of them and their mean is what it says.
    out : path
        The ``.onnx`` to write.
    draws : int
        Where it is over 0, each network is written that many times, each time with another draw of its dropout kept:
        the networks that `classifiers.dropout.drawn` makes of it. Their mean is what the file says, and how far they
        are apart is how unsure it is. Both runtimes run what comes before the first dropout once.
    validation : StampSet, optional
        Stamps that none of them was trained on: the temperature is fitted to them, and the thresholds are theirs. Vote
        fractions have neither.
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
    fieldprep.errors.UsageError
        If draws are asked of a network without dropout, or one draw is.
    """
    task = task_of(checkpoints[0])
    networks = [_network(path) for path in checkpoints]
    example = tuple(torch.from_numpy(part) for part in _made_up(task.stamps, 2))
    if draws:
        networks = [one for network in networks for one in drawn(network, draws, example)]
    together = _Together(networks, turned=task.turned).eval()
    number = torch.export.Dim("n")
    out.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making
        torch.onnx.export(
            together,
            example,
            out,
            input_names=["stamps", "gaps"][: len(example)],
            output_names=["logits"],
            dynamic_shapes=(tuple({0: number} for _ in example),),
            dynamo=True,
            verbose=False,
            external_data=False,
        )
    card = Card(
        name=out.stem,
        task=task.name,
        network=_named(task, len(networks), draws),
        classes=task.classes,
        stamps=task.as_table()["stamps"],
        sha256=sha256(out),
        sides=task.sides,
        stars=task.stars,
        portrait=None if task.portrait is None else dict(task.portrait),
        unsure=task.unsure,
        activation=task.activation,
        tree=task.tree,
        **about,
    )
    classifier = Classifier(load_network(out, precision="f32"), card)
    _check(together, classifier)
    if validation is not None and not task.of_votes:
        logits, true = classifier.logits(validation.stamps), task.numbers_of(validation.labels)
        temperature = fit_temperature(logits, true, task.activation)
        found = probabilities(logits, task.activation, temperature).mean(axis=1)
        card = replace(card, temperature=temperature, thresholds=_thresholds(true == 0, found[:, 0]))
    card.write(out.with_suffix(".json"))
    return out


def _network(path: Path) -> nn.Module:
    """Network of a checkpoint; of classes that are to be unweighted its last biases less their weights' logarithms."""
    task = task_of(path)
    module = load_checkpoint(path, task)
    if task.unweighted:
        last = [layer for layer in module.network.modules() if isinstance(layer, nn.Linear)][-1]
        with torch.no_grad():
            last.bias -= module.weights.log()
    return plain(module.network)


def _named(task: Task, number: int, draws: int) -> str:
    """What a file's networks are called on its card."""
    name = f"{LAYERED}{task.network}" if task.layers else task.network
    many = name if number == 1 else f"{number} {'draws of' if draws else 'x'} {name}"
    return f"{many}, turned" if task.turned else many


def _made_up(stamps: Preparation, n: int) -> tuple[FloatArray, ...]:
    """Inputs as a network takes them, of noise; of several epochs, as many as the number of the series tells."""
    random = np.random.default_rng(0)
    shape = (stamps.inputs, stamps.size, stamps.size)
    if stamps.epochs == 1:
        return (random.normal(0, 1, (n, *shape)).astype(np.float32),)
    number = 1 + np.arange(n) % stamps.epochs
    there = np.arange(stamps.epochs) < number[:, None]
    gaps = np.where(there, random.uniform(0, 6, there.shape), NO_EPOCH)
    return random.normal(0, 1, (*there.shape, *shape)).astype(np.float32), gaps.astype(np.float32)


def _check(network: nn.Module, classifier: Classifier) -> None:
    inputs = _made_up(classifier.card.preparation, 8)
    with torch.no_grad():
        theirs = network(*map(torch.from_numpy, inputs)).numpy().astype(np.float64)
    ours = classifier.network(*inputs).astype(np.float64)
    activation = classifier.card.activation
    strays = float(np.abs(probabilities(ours, activation) - probabilities(theirs, activation)).max())
    if strays > PARITY:
        raise InputError(f"{classifier.card.name}: the exported file strays from the network by {strays:.2g}")


def _thresholds(positive: npt.NDArray[np.bool_], found: Floats) -> dict[str, float]:
    """By recall, rounded down, so that what is at a threshold in one runtime is in another."""
    if not positive.any():
        return {}
    exact = {f"{recall:g}": threshold_for_recall(positive, found, recall) for recall in RECALLS}
    return {recall: math.floor(threshold * 10**DIGITS) / 10**DIGITS for recall, threshold in exact.items()}


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
