"""
Networks by name: those of the papers, layer by layer, small ones of our own, EfficientNets, and timm's.

Every network takes (N, inputs, size, size) and gives logits (N, K); that of series takes a second input, the gaps
between epochs, as `classifiers.series` has them. Needs the train extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import timm
import torch
from torch import nn

from classifiers.compact import Compact, EpochSeries
from classifiers.efficientnets import EFFICIENTNETS, Tailed
from classifiers.equivariant import Equivariant
from classifiers.layered import Layered
from classifiers.tasks import SERIES
from fieldprep.errors import UsageError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from classifiers.tasks import Task

TIMM = "timm:"
FIELDS = (4, 8, 16, 24, 32)  # of the stages of the equivariant one, of eight filters each


def build(name: str, inputs: int, size: int, classes: int, *, pretrained: bool = False) -> nn.Module:
    """
    Build a network with random weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`, ``efficientnet_b0`` to ``efficientnet_b7``, or ``timm:`` and a name of timm's.
    inputs : int
        Channels of its input.
    size : int
        Side of its input in pixels.
    classes : int
        How many logits it gives.
    pretrained : bool
        EfficientNets and timm's networks only: start from the weights that timm fetches from its hub.

    Returns
    -------
    Module

    Raises
    ------
    fieldprep.errors.UsageError
        If there is no such network, its weights cannot be fetched, or its layers do not take the size.
    """
    if name.startswith(TIMM):
        return _of_timm(name.removeprefix(TIMM), inputs, classes, pretrained=pretrained)
    if name in EFFICIENTNETS:
        return _fetched(name, lambda: Tailed(name, inputs, classes, pretrained=pretrained))
    if name not in NETWORKS:
        known = ", ".join([*NETWORKS, *EFFICIENTNETS])
        raise UsageError(f"unknown network {name!r}: it is one of {known}, or timm:NAME")
    if pretrained:
        raise UsageError(f"network {name}: only EfficientNets and timm's networks come trained")
    try:
        network = NETWORKS[name](inputs, size, classes)
        network.eval()(torch.zeros(1, inputs, size, size))
    except ValueError as error:
        raise UsageError(f"network {name}: stamps of {size} px do not go through its layers; {error}") from error
    except RuntimeError as error:
        raise UsageError(f"network {name}: stamps of {size} px are too small for its layers") from error
    return network.train()


def network_of(task: Task) -> nn.Module:
    """
    Network of a task, with random weights or those that it starts from.

    Parameters
    ----------
    task : Task
        The task; where it has layers, its network is built for each question.

    Returns
    -------
    Module
    """

    def of(classes: int) -> nn.Module:
        return build(task.network, task.stamps.inputs, task.stamps.size, classes, pretrained=task.pretrained)

    return Layered(task.layers, task.classes, of) if task.layers else of(len(task.classes))


def _of_timm(name: str, inputs: int, classes: int, *, pretrained: bool) -> nn.Module:
    if not timm.is_model(name):
        raise UsageError(f"timm has no network {name!r} (timm.list_models() names them)")
    options: dict[str, Any] = {"pretrained": pretrained, "in_chans": inputs, "num_classes": classes}
    return _fetched(f"timm:{name}", lambda: timm.create_model(name, **options))


def _fetched(name: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return make()
    except Exception as error:  # the hub's errors are whatever the network does
        raise UsageError(
            f"{name}: cannot be made ({one_line(error)}); without a way to the hub write pretrained = false in the task"
        ) from error


def negm(inputs: int, size: int, classes: int, *, dropout: tuple[float, float] = (0.0, 0.0)) -> nn.Module:
    """
    Negm's network: three convolutions of 3 x 3 that keep the size, each halved by a pooling, and a layer of 128.

    Parameters
    ----------
    inputs, size, classes : int
        As of `build`; 3, 69 and 2 in the paper.
    dropout : (float, float)
        After each pooling, and after the dense layer; none in the initial network.

    Returns
    -------
    Module

    References
    ----------
    Negm 2021, figshare.13720948, section 3.2 (1,420,738 parameters); with dropout, section 3.3, its layers as in table
    II of the ConvNet for Galaxy10 DECaLS. The shares dropped are not given: 0.25 and 0.5 are taken.
    """
    layers: list[nn.Module] = []
    channels = inputs
    for filters in (32, 64, 128):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        layers += [nn.Dropout(dropout[0])] if dropout[0] else []
        channels, size = filters, -(-size // 2)
    layers += [nn.Flatten(), nn.Linear(channels * size * size, 128), nn.ReLU()]
    layers += [nn.Dropout(dropout[1])] if dropout[1] else []
    return nn.Sequential(*layers, nn.Linear(128, classes))


def negm_refined(inputs: int, size: int, classes: int) -> nn.Module:
    """Negm's refined network: `negm` with dropout."""
    return negm(inputs, size, classes, dropout=(0.25, 0.5))


def kim_brunner(inputs: int, size: int, classes: int) -> nn.Module:
    """
    Kim & Brunner's star/galaxy network: 2, 3 and 3 convolutions, halved after each group, and two layers of 2048.

    Parameters
    ----------
    inputs, size, classes : int
        As of `build`; 5, 44 and 2 in the paper.

    Returns
    -------
    Module

    References
    ----------
    Kim & Brunner 2017, MNRAS 464, 4463, table 2 (leaky rectifiers of 0.01, dropout of one half before each dense
    layer), as in table III of the ConvNet for Galaxy10 DECaLS.
    """
    layers: list[nn.Module] = []
    channels, side = inputs, size
    for group in (((32, 5, 0), (32, 3, 1)), ((64, 3, 1),) * 3, ((128, 3, 1),) * 3):
        for filters, kernel, padding in group:
            layers += [nn.Conv2d(channels, filters, kernel, padding=padding), nn.LeakyReLU(0.01)]
            channels, side = filters, side + 2 * padding - kernel + 1
        layers.append(nn.MaxPool2d(2))
        side //= 2
    if side < 1:
        raise ValueError(f"size must leave a pixel after three poolings, got {size}")
    layers.append(nn.Flatten())
    width = channels * side * side
    for _ in range(2):
        layers += [nn.Dropout(0.5), nn.Linear(width, 2048), nn.LeakyReLU(0.01)]
        width = 2048
    return nn.Sequential(*layers, nn.Linear(width, classes))


def galaxy10(inputs: int, size: int, classes: int) -> nn.Module:
    """
    The ConvNet for Galaxy10 DECaLS: four convolutions, each halved by a pooling, and a layer of 256.

    Parameters
    ----------
    inputs, size, classes : int
        As of `build`; 3, 128 and 10 in the paper.

    Returns
    -------
    Module

    References
    ----------
    Deep Convolutional Neural Networks for Galaxy Classification, table I (654,922 parameters): the first convolution of
    5 x 5 in steps of 2, the others of 3 x 3, none padded; dropout of 0.1 and 0.25.
    """
    layers: list[nn.Module] = []
    channels = inputs
    for filters, kernel, step in ((32, 5, 2), (64, 3, 1), (128, 3, 1), (256, 3, 1)):
        layers += [nn.Conv2d(channels, filters, kernel, stride=step), nn.ReLU(), nn.MaxPool2d(2)]
        channels, size = filters, ((size - kernel) // step + 1) // 2
    if size < 1:
        raise ValueError("size must leave a pixel after four poolings")
    dense = [nn.Flatten(), nn.Dropout(0.1), nn.Linear(channels * size * size, 256), nn.ReLU(), nn.Dropout(0.25)]
    return nn.Sequential(*layers, *dense, nn.Linear(256, classes))


def smooth_featured(inputs: int, size: int, classes: int) -> nn.Module:
    """
    The network that tells smooth galaxies from those with features: three convolutions, each halved, one dense layer.

    Parameters
    ----------
    inputs, size, classes : int
        As of `build`; 3, 32 and 2 in the paper.

    Returns
    -------
    Module

    References
    ----------
    Shi 2016, thesis, University of Illinois, as cited in the ConvNet for Galaxy10 DECaLS, section VI. The number of
    filters is not given there: 32, 64 and 128 of 5 x 5 that keep the size are taken.
    """
    layers: list[nn.Module] = []
    channels = inputs
    for filters in (32, 64, 128):
        layers += [nn.Conv2d(channels, filters, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
        channels, size = filters, size // 2
    if size < 1:
        raise ValueError("size must leave a pixel after three poolings")
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size * size, classes))


def compact(inputs: int, size: int, classes: int) -> nn.Module:
    """Our small network, `Compact`; it takes any size of 8 px and over."""
    if size < 8:
        raise ValueError(f"size must be 8 or more, got {size}")
    return Compact(inputs, classes)


def equivariant(inputs: int, size: int, classes: int) -> nn.Module:
    """The network of the same answer whichever way up, `Equivariant`; it takes multiples of 32 px."""
    if size % 2 ** len(FIELDS) or size < 1:
        raise ValueError(f"size must be a multiple of {2 ** len(FIELDS)}, got {size}")
    return Equivariant(inputs, classes, FIELDS)


def series(inputs: int, size: int, classes: int) -> nn.Module:
    """The network of several epochs, `EpochSeries`; it takes any size of 8 px and over."""
    if size < 8:
        raise ValueError(f"size must be 8 or more, got {size}")
    return EpochSeries(inputs, classes)


NETWORKS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "negm": negm,
    "negm_refined": negm_refined,
    "kim_brunner": kim_brunner,
    "galaxy10": galaxy10,
    "smooth_featured": smooth_featured,
    "compact": compact,
    "equivariant": equivariant,
    SERIES: series,
}


def parameters(network: nn.Module) -> int:
    """How many weights of a network are trained."""
    return sum(weights.numel() for weights in network.parameters() if weights.requires_grad)


def tail_of(network: Any) -> nn.Module:
    """Last layers of a network, which may be trained by themselves: its tail where it has one, else its last layer."""
    tail: nn.Module = (
        getattr(network, "tail", None) or [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    )
    return tail
