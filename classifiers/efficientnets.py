"""
EfficientNets B0 to B7 with the tail that Kalvankar et al. put on them for Galaxy Zoo's votes. Needs the train extra.

References
----------
Tan & Le 2019, ICML, 6105 (the networks); Kalvankar et al. 2020, arXiv:2008.13611 (the tail: mean over the pixels, half
dropped, 64 with ReLU, one logit an answer).
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import nn

TAIL = 64  # units between the features and the answers
DROPPED = 0.5
# as published, from TensorFlow, whose weights of ImageNet-1K timm has of all eight
EFFICIENTNETS = {f"efficientnet_b{k}": f"tf_efficientnet_b{k}.aa_in1k" for k in range(8)}


class Tailed(nn.Module):
    """
    A network of timm without its own last layer, and the tail.

    Parameters
    ----------
    name : str
        One of `EFFICIENTNETS`.
    inputs, classes : int
        As of `classifiers.networks.build`.
    pretrained : bool
        Whether the features start from ImageNet's weights; stamps of three channels from 0 to 1 are then brought to the
        mean and scatter that these were trained on, as the published networks do themselves.
    """

    mean: torch.Tensor
    scatter: torch.Tensor

    def __init__(self, name: str, inputs: int, classes: int, *, pretrained: bool = False) -> None:
        super().__init__()
        self.features: Any = timm.create_model(
            EFFICIENTNETS[name], pretrained=pretrained, in_chans=inputs, num_classes=0, global_pool=""
        )
        told = self.features.pretrained_cfg
        known = inputs == len(told["mean"])
        self.register_buffer("mean", torch.tensor(told["mean"] if known else [0.5] * inputs).reshape(1, -1, 1, 1))
        self.register_buffer("scatter", torch.tensor(told["std"] if known else [0.5] * inputs).reshape(1, -1, 1, 1))
        self.tail = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(DROPPED),
            nn.Linear(self.features.num_features, TAIL),
            nn.ReLU(),
            nn.Linear(TAIL, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, shape (N, K), of inputs from 0 to 1."""
        logits: torch.Tensor = self.tail(self.features((x - self.mean) / self.scatter))
        return logits


def published_size(name: str) -> int:
    """Side in pixels of the input that a network was published with: 224 for B0, 600 for B7."""
    return int(timm.models.get_pretrained_cfg(EFFICIENTNETS[name]).input_size[1])
