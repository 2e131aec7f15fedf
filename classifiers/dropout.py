"""A network's dropout drawn and kept: as many networks as draws, of the same weights. Needs the train extra."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fieldprep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class _Kept(nn.Module):
    """A dropout whose draw is kept: it drops the same of every input."""

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.mask


def drawn(network: nn.Module, draws: int, example: Sequence[torch.Tensor]) -> list[nn.Module]:
    """
    Networks that a network's dropout makes of it: each a draw, kept, so that it is the same for every stamp.

    A draw that is kept is a draw of the weights, and needs no random numbers where the network is run.

    Parameters
    ----------
    network : Module
        Trained, with dropout in it.
    draws : int
        How many.
    example : sequence of tensor
        Inputs, by which the layers tell their shapes.

    Returns
    -------
    list of Module
        They share the network's weights, and are the same each time.

    Raises
    ------
    fieldprep.errors.UsageError
        If there is no dropout in it, or fewer than two draws are asked for.

    References
    ----------
    Gal & Ghahramani 2016, ICML, 1050, section 3: a network with dropout is a sample of networks.
    """
    if draws < 2:
        raise UsageError(f"draws must be 2 or more, got {draws}: one has no other to differ from")
    shapes = _shapes(network, example)
    if not shapes:
        raise UsageError("draws are of a network's dropout, and this network has none")
    random = torch.Generator().manual_seed(0)
    found = []
    for _ in range(draws):
        shared = {id(weights): weights for weights in (*network.parameters(), *network.buffers())}
        one = copy.deepcopy(network, shared)
        for name, (layer, shape) in shapes.items():
            kept = torch.rand(shape, generator=random) >= layer.p
            parent, _, own = name.rpartition(".")
            setattr(one.get_submodule(parent), own, _Kept(kept.to(torch.float32) / (1 - layer.p)))
        found.append(one.eval())
    return found


def _shapes(network: nn.Module, example: Sequence[torch.Tensor]) -> dict[str, tuple[Any, torch.Size]]:
    """Each layer that drops something, by name, with the shape of one input's draw."""
    shapes: dict[str, tuple[Any, torch.Size]] = {}

    def noted(name: str, layer: Any) -> Any:
        def hook(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            channels, *sides = given[0].shape[1:]
            if not isinstance(layer, nn.Dropout):  # it drops whole channels
                sides = [1] * len(sides)
            shapes[name] = layer, torch.Size((channels, *sides))

        return layer.register_forward_pre_hook(hook)

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, DROPOUTS) and layer.p]
    hooks = [noted(name, layer) for name, layer in layers]
    with torch.no_grad():
        network.eval()(*example)
    for hook in hooks:
        hook.remove()
    return shapes
