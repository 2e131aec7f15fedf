"""A small network a question of a tree of classes. Needs the train extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from classifiers.layers import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from classifiers.layers import Layers


class Layered(nn.Module):
    """
    Networks that each answer one question of a tree, and the logarithms of the products of their answers.

    What it says of a class is the sum of the logarithms of the probabilities of the answers that lead to it, so that
    the cross-entropy of a class is the sum of those of these questions: a stamp teaches the networks on the way to its
    class, and no other.

    Parameters
    ----------
    layers : mapping of str to sequence of str
        As of `classifiers.layers.check_layers`.
    classes : sequence of str
        The classes, as they are numbered.
    build : callable
        From the number of answers to a network of as many logits.

    References
    ----------
    Deep Convolutional Neural Networks for Galaxy Classification proposes it among its future work.
    """

    ways: torch.Tensor

    def __init__(self, layers: Layers, classes: Sequence[str], build: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(build(len(answers)) for answers in layers.values())
        first = [0]
        for answers in layers.values():
            first.append(first[-1] + len(answers))
        ways = torch.zeros(first[-1], len(classes))
        for k, path in enumerate(paths(layers, classes)):
            for question, answer in path:
                ways[first[question] + answer, k] = 1
        self.register_buffer("ways", ways, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logarithms of the probabilities of the classes, shape (N, K)."""
        answers = [branch(x).float().log_softmax(dim=1) for branch in self.branches]
        # no product of matrices, which may be computed in bfloat16
        return (torch.cat(answers, dim=1)[:, :, None] * self.ways).sum(dim=1)
