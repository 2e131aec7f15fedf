"""Our own networks: a small residual one, and the same over several epochs of one object. Needs the train extra."""

from __future__ import annotations

import torch
from torch import nn

from classifiers.series import NO_EPOCH

GAP_FEATURES = 16


class _Residual(nn.Module):
    """Two convolutions with batch normalisation around a shortcut, the first of them with this stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.after = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.after(self.body(x) + self.shortcut(x))
        return out


class Compact(nn.Module):
    """
    A small residual network: stages of so many filters, and both the mean and the largest of the last.

    Parameters
    ----------
    inputs, classes : int
        As of `classifiers.networks.build`.
    filters : tuple of int
        Of each stage; each after the first halves the size.
    dropout : float
        Before the last layer.
    """

    def __init__(
        self, inputs: int, classes: int, filters: tuple[int, ...] = (24, 48, 96), dropout: float = 0.3
    ) -> None:
        super().__init__()
        first = filters[0]
        layers: list[nn.Module] = [nn.Conv2d(inputs, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.SiLU()]
        channels = first
        for outputs in filters:
            layers.append(_Residual(channels, outputs, 2))
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * channels, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, shape (N, K), of inputs of any size over 8 px."""
        logits: torch.Tensor = self.head(self.seen(x))
        return logits

    def seen(self, x: torch.Tensor) -> torch.Tensor:
        """What it sees of each input, shape (N, 2 filters of the last stage), from which the logits are told."""
        last = self.features(x)
        return torch.cat([last.mean((2, 3)), last.amax((2, 3))], dim=1)


class EpochSeries(nn.Module):
    """
    `Compact` over several epochs of one object, whose features a gated recurrent unit takes up one after the other.

    What is remembered begins as the features of the first epoch, so that one epoch by itself is told as by `Compact`;
    each later one comes with the time since the one before, and where there is none nothing changes.

    Parameters
    ----------
    inputs, classes : int
        As of `classifiers.networks.build`.

    References
    ----------
    Cho et al. 2014, EMNLP, 1724 (the unit); Negm 2021, section 6, proposes the task: a time series of images with the
    time between them.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.each = Compact(inputs, classes)
        features = self.each.head[-1].in_features
        # one number beside two hundred would be learnt late
        self.scale = nn.Sequential(nn.Linear(1, GAP_FEATURES), nn.SiLU())
        self.memory = nn.GRUCell(features + GAP_FEATURES, features)

    def forward(self, stamps: torch.Tensor, gaps: torch.Tensor | None = None) -> torch.Tensor:
        """Logits, shape (N, K), of stamps (N, E, inputs, size, size) with gaps (N, E), or of one epoch without."""
        if gaps is None:
            stamps, gaps = stamps[:, None], stamps.new_zeros(len(stamps), 1)
        there = gaps != NO_EPOCH
        seen = self._seen(stamps, there)
        remembered = seen[:, 0]
        for k in range(1, seen.shape[1]):
            told = self.memory(torch.cat([seen[:, k], self.scale(gaps[:, k, None])], dim=1), remembered)
            remembered = torch.where(there[:, k, None], told, remembered)
        logits: torch.Tensor = self.each.head(remembered)
        return logits

    def _seen(self, stamps: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Features of each epoch, shape (N, E, F)."""
        if not self.training:  # a file has no stamps to pick from
            return self.each.seen(stamps.flatten(0, 1)).unflatten(0, tuple(there.shape))
        some = self.each.seen(stamps[there])  # what is not there must not reach the means of a batch normalisation
        all_of_them = some.new_zeros(*there.shape, some.shape[1])
        all_of_them[there] = some
        return all_of_them
