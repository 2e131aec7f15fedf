"""A small network a question of a tree of classes. Needs the train extra."""

from __future__ import annotations

from itertools import accumulate
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
    class, and no other. Told which classes stamps may be of, as it is in training, each network is not even shown those
    that never come to its question: by a batch normalisation they would teach it otherwise.

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
        self.answers = [len(answers) for answers in layers.values()]
        first = [0, *accumulate(self.answers)]
        ways = torch.zeros(first[-1], len(classes))
        for k, path in enumerate(paths(layers, classes)):
            for question, answer in path:
                ways[first[question] + answer, k] = 1
        self.register_buffer("ways", ways, persistent=False)

    def forward(self, x: torch.Tensor, may_be: torch.Tensor | None = None) -> torch.Tensor:
        """
        Logarithms of the probabilities of the classes.

        Parameters
        ----------
        x : tensor, shape (N, C, size, size)
            Stamps.
        may_be : bool tensor, shape (N, K), optional
            Classes that each may be of; the answers to questions on the way to none of these are taken as all alike.

        Returns
        -------
        tensor, shape (N, K)
        """
        if may_be is None:
            answers = [branch(x).float().log_softmax(dim=1) for branch in self.branches]
        else:
            parts = self.ways.split(self.answers)
            asked = [((may_be[:, None] & (part > 0)).any(dim=(1, 2))) for part in parts]
            answers = [
                _of_some(branch, x, some, number).log_softmax(dim=1)
                for branch, some, number in zip(self.branches, asked, self.answers, strict=True)
            ]
        # no product of matrices, which may be computed in bfloat16
        return (torch.cat(answers, dim=1)[:, :, None] * self.ways).sum(dim=1)


def _of_some(branch: nn.Module, x: torch.Tensor, some: torch.Tensor, answers: int) -> torch.Tensor:
    """Logits of those that are asked, 0 for the others; of one alone a batch normalisation has no variance."""
    count = int(some.sum())
    logits = x.new_zeros((len(x), answers), dtype=torch.float32)
    if not count:
        return logits
    if count == 1:
        return torch.where(some[:, None], branch(x).float(), logits)
    return logits.index_put((some,), branch(x[some]).float())
