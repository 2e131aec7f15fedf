"""
Where a classifier looks: its networks read back from the ONNX file into torch, and Grad-CAM on them.

The export keeps the names of the weights and may fold a batch normalisation into the convolution before it, so the
networks are built anew, given those weights, and held against the file on the stamps at hand. A file that says the mean
over the turns of a stamp holds its networks once: what is done to each turn is done here too. Needs the train extra.

References
----------
Selvaraju et al. 2017, ICCV, 618.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from classifiers.classify import AT_ONCE
from classifiers.equivariant import plain
from classifiers.networks import build
from classifiers.tasks import LAYERED, SERIES
from fieldprep.errors import InputError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from classifiers.cards import Card
    from classifiers.classify import Classifier
    from classifiers.preparing import FloatArray

Ints = npt.NDArray[np.int64]

STRAYS = 1e-4  # of a logit, of the largest
_ON_CARD = re.compile(r"(?:(?P<number>\d+) (?P<kind>x|draws of) )?(?P<name>.+?)(?P<turned>, turned)?")
_EIGHT: list[tuple[bool, tuple[int, ...]]] = [
    (swapped, axes) for swapped in (False, True) for axes in ((), (2,), (3,), (2, 3))
]  # turns, mirror images


def networks_of(path: Path, card: Card) -> list[nn.Module]:
    """
    Networks of a classifier's file.

    Parameters
    ----------
    path : path
        The ``.onnx``.
    card : Card
        Its card.

    Returns
    -------
    list of Module
        Ready to be used; batch normalisations that are folded into convolutions do nothing.

    Raises
    ------
    fieldprep.errors.InputError
        If a layer's weights are not to be found in the file under its name, or they are networks that maps are not
        drawn of: those of several epochs, and draws of one.
    """
    number, kind, name, _ = _told(card)
    if kind == "draws of" or name == SERIES or name.startswith(LAYERED):
        raise InputError(f"{path}: maps are not drawn for {card.network}")
    weights = _weights(path)
    prefixed = any(key.startswith("networks.") for key in weights)  # older files have no prefix for one network
    networks = []
    for k in range(number):
        own = f"networks.{k}." if prefixed else ""
        network = plain(build(name, card.preparation.inputs, card.preparation.size, len(card.classes)))
        try:
            _fill(network, {key.removeprefix(own): value for key, value in weights.items() if key.startswith(own)})
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{path}: the weights of {card.network} are not in it by name ({one_line(error)})"
            ) from error
        networks.append(network)
    return networks


def _told(card: Card) -> tuple[int, str, str, bool]:
    """What a card's network says: how many, how they are several, of what name, and whether stamps are turned."""
    told = _ON_CARD.fullmatch(card.network)
    if told is None:
        raise InputError(f"{card.name}: its card names no network")
    return int(told["number"] or 1), told["kind"] or "", told["name"], told["turned"] is not None


def _weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights by name; a layer's bias under the layer's name, whatever it is called in the file."""
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf's errors have no base but Exception
        raise InputError(f"{path}: not an ONNX file ({one_line(error)})") from error
    held = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    biases = {}
    for node in graph.node:
        if node.op_type in {"Conv", "Gemm"} and len(node.input) > 2 and node.input[2] in held:
            biases[f"{node.input[1].removesuffix('.weight')}.bias"] = held[node.input[2]]
    return held | biases


def _fill(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Give a network the weights of its file."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm2d) and f"{name}.weight" not in weights:
            _do_nothing(layer)
            continue
        if isinstance(layer, nn.Conv2d) and layer.bias is None and f"{name}.bias" in weights:
            layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
        for key, held in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            if key == "num_batches_tracked":
                continue
            full = f"{name}.{key}".removeprefix(".")
            # the export leaves a bias of nothing but zeros out
            value = weights.get(full, torch.zeros_like(held)) if key == "bias" else weights[full]
            with torch.no_grad():
                held.copy_(value.reshape(held.shape))


def _do_nothing(layer: nn.BatchNorm2d) -> None:
    layer.eps = 0.0
    layer.reset_running_stats()
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)


def check_same(networks: Sequence[nn.Module], classifier: Classifier, inputs: FloatArray) -> None:
    """
    Hold networks against the file that is run.

    Parameters
    ----------
    networks : sequence of Module
        As `networks_of` gives them.
    classifier : Classifier
        The classifier.
    inputs : 4D float32 `~numpy.ndarray`, shape (N, inputs, size, size)
        Prepared stamps.

    Raises
    ------
    fieldprep.errors.InputError
        If logits differ by more than 1e-4 of the largest.
    """
    for chunk in _chunks(inputs):
        padded = np.zeros((AT_ONCE, *chunk.shape[1:]), np.float32)  # the shape that the network is compiled for
        padded[: len(chunk)] = chunk
        ours = classifier.network(padded)[: len(chunk)].reshape(len(chunk), len(networks), -1)
        with torch.no_grad():
            views = [_turned(torch.from_numpy(chunk), *turn) for turn in _turns(classifier.card)]
            means = [torch.stack([network(view) for view in views]).mean(0) for network in networks]
            theirs = torch.stack(means, dim=1).numpy()
        strays = float(np.abs(ours - theirs).max()) / max(1.0, float(np.abs(ours).max()))
        if not strays <= STRAYS:
            raise InputError(f"{classifier.card.name}: the networks read back stray from the file by {strays:.2g}")


def attention(networks: Sequence[nn.Module], card: Card, inputs: FloatArray, classes: Ints) -> FloatArray:
    """
    Grad-CAM: which parts of a stamp speak for a class.

    Parameters
    ----------
    networks : sequence of Module
        As `networks_of` gives them; the maps of several are averaged.
    card : Card
        Their card; where it says that stamps are turned, the maps of all turns are averaged, turned back.
    inputs : 4D float32 `~numpy.ndarray`, shape (N, inputs, size, size)
        Prepared stamps.
    classes : 1D int64 `~numpy.ndarray`, shape (N,)
        Class of which each is asked.

    Returns
    -------
    3D float32 `~numpy.ndarray`, shape (N, size, size)
        Of each stamp from 0 to 1, its highest; 0 throughout where nothing speaks for the class.

    Raises
    ------
    fieldprep.errors.InputError
        If a network has no convolution.

    References
    ----------
    Selvaraju et al. 2017, equations 1 and 2, on what the last convolution's block gives.
    """
    maps, turns = np.zeros((len(inputs), *inputs.shape[2:]), np.float32), _turns(card)
    for network in networks:
        layer, grid = _last_maps(network, torch.from_numpy(inputs[:1]))
        start = 0
        for chunk in _chunks(inputs):
            part = slice(start, start + len(chunk))
            for turn in turns:
                heat = _of_network(network, layer, grid, _turned(torch.from_numpy(chunk), *turn), classes[part])
                maps[part] += _turned_back(heat, *turn)[:, 0].numpy() / (len(networks) * len(turns))
            start += len(chunk)
    most = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(maps / np.where(most > 0, most, 1), np.float32)


def _of_network(
    network: nn.Module, layer: nn.Module, grid: torch.Tensor, inputs: torch.Tensor, classes: Ints
) -> torch.Tensor:
    """Map of each stamp, shape (N, 1, size, size)."""
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    try:
        logits = network(inputs)
    finally:
        handle.remove()
    asked = logits[torch.arange(len(classes)), torch.from_numpy(classes)].sum()
    (gradient,) = torch.autograd.grad(asked, seen[-1])
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = torch.relu((weights * seen[-1]).sum(dim=1, keepdim=True))
    heat = heat / heat.amax(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(heat.dtype).tiny)
    where = grid.expand(len(heat), -1, -1, -1)
    return nn.functional.grid_sample(heat, where, padding_mode="border", align_corners=True).detach()


def _turns(card: Card) -> list[tuple[bool, tuple[int, ...]]]:
    return _EIGHT if _told(card)[3] else _EIGHT[:1]


def _turned(stamps: torch.Tensor, swapped: bool, axes: tuple[int, ...]) -> torch.Tensor:
    return (stamps.transpose(2, 3) if swapped else stamps).flip(axes)


def _turned_back(maps: torch.Tensor, swapped: bool, axes: tuple[int, ...]) -> torch.Tensor:
    back = maps.flip(axes)
    return back.transpose(2, 3) if swapped else back


def _last_maps(network: nn.Module, inputs: torch.Tensor) -> tuple[nn.Module, torch.Tensor]:
    """
    The layer that gives the maps of the last convolution after all that is done to them at their size.

    Returns
    -------
    layer : Module
    grid : tensor, shape (1, size, size, 2)
        Where each pixel of the input is in its maps, as ``grid_sample`` has it.
    """
    ran: list[tuple[nn.Module, torch.Size]] = []
    handles = [
        layer.register_forward_hook(lambda layer, _inputs, output: ran.append((layer, output.shape)))
        for layer in network.modules()
        if not any(True for _ in layer.children())
    ]
    try:
        with torch.no_grad():
            network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    sizes = [shape[2:] for layer, shape in ran if isinstance(layer, nn.Conv2d) and min(shape[2:]) > 1]
    if not sizes:
        raise InputError("a network without convolutions has no maps to look at")
    last = max(k for k, (_, shape) in enumerate(ran) if len(shape) == 4 and shape[2:] == sizes[-1])
    return ran[last][0], _places(ran[: last + 1], inputs.shape[-1])


def _places(ran: Sequence[tuple[nn.Module, torch.Size]], size: int) -> torch.Tensor:
    """Grid of `_last_maps`: maps stretched over the stamp would be half a step off where strides are padded."""
    first, step, side = 0.0, 1, size  # pixel that the first of a layer's maps is of, pixels from one to the next
    for layer, shape in ran:
        kernel = getattr(layer, "kernel_size", None)
        if kernel is None or len(shape) != 4 or shape[-1] >= side:  # a shortcut beside what made it small
            continue
        wide, stride, pad = (
            int(part[-1] if isinstance(part, tuple) else part)
            for part in (kernel, layer.stride, 0 if isinstance(layer.padding, str) else layer.padding)
        )
        first += ((wide - 1) / 2 - pad) * step
        step, side = step * stride, shape[-1]
    along = 2 * (torch.arange(size) - first) / step / (side - 1) - 1
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y], dim=-1)[None]


def _chunks(inputs: FloatArray) -> Iterator[Any]:
    for start in range(0, len(inputs), AT_ONCE):
        yield inputs[start : start + AT_ONCE]
