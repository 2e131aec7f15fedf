"""A network that says the same of a stamp whichever way up it is: convolutions over turns. Needs the train extra."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    import numpy.typing as npt

WAYS = 8  # a square is turned by quarters, as it is and mirrored


def turned(square: npt.NDArray[np.int64], way: int) -> npt.NDArray[np.int64]:
    """
    Turn an array of shape (side, side) in one of `WAYS` ways.

    Parameters
    ----------
    square : 2D int64 array, shape (side, side)
        What is turned.
    way : int
        0 to 3 are quarters of a turn, 4 to 7 the same of its mirror image.

    Returns
    -------
    2D int64 array, shape (side, side)
    """
    return np.asarray(np.rot90(square[:, ::-1] if way >= 4 else square, way % 4), np.int64)


def _after() -> npt.NDArray[np.int64]:
    """Which way is left, shape (WAYS, WAYS), of the second where the first is undone."""
    grid = np.arange(9).reshape(3, 3)
    one_after_other = np.array([[turned(turned(grid, b), a) for b in range(WAYS)] for a in range(WAYS)])
    undone = np.zeros((WAYS, WAYS), np.int64)
    for a, b, c in itertools.product(range(WAYS), repeat=3):
        if (one_after_other[a, c] == turned(grid, b)).all():
            undone[a, b] = c
    return undone


def kernel_places(side: int, *, lifts: bool) -> npt.NDArray[np.int64]:
    """
    Where the weights of a turned kernel are taken from.

    Parameters
    ----------
    side : int
        Of the kernel.
    lifts : bool
        Whether its input is a stamp, else a field of `WAYS` ways.

    Returns
    -------
    2D int64 array, shape (WAYS, side * side) or (WAYS, WAYS * side * side)
        Numbers of the weights of the kernel, for each way that it is turned.
    """
    grid = np.arange(side * side).reshape(side, side)
    places = np.array([turned(grid, way).ravel() for way in range(WAYS)])
    if lifts:
        return places
    every = _after()[:, :, None] * side * side + places[:, None, :]
    return np.asarray(every.reshape(WAYS, -1), np.int64)


class TurnedConvolution(nn.Module):
    """
    A convolution with the same kernel in eight ways; what comes out turns and mirrors with what goes in.

    Parameters
    ----------
    inputs : int
        Channels of a stamp, or fields of 8 channels each, one for each way.
    fields : int
        Fields of the output, of 8 channels each.
    side : int
        Of the kernel.
    stride, padding : int
        Of the convolution; of a stride of 2, an even side of kernel and stamp leaves the middle where it is.
    lifts : bool
        Whether the input is a stamp.

    References
    ----------
    Cohen & Welling 2016, ICML, 2990 (the group p4m); Dieleman et al. 2015, MNRAS 450, 1441, for Galaxy Zoo by turned
    copies of a picture.
    """

    def __init__(
        self, inputs: int, fields: int, side: int, stride: int = 1, padding: int = 0, *, lifts: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.side = stride, padding, side
        places = torch.from_numpy(kernel_places(side, lifts=lifts))
        self.register_buffer("places", places, persistent=False)
        self.weight = nn.Parameter(torch.empty(fields, inputs, places.shape[1]))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (N, fields * WAYS, h, w), of inputs (N, inputs, H, W) or (N, inputs * WAYS, H, W)."""
        return nn.functional.conv2d(x, self.kernels(), stride=self.stride, padding=self.padding)

    def kernels(self) -> torch.Tensor:
        """The kernel in all ways, shape (fields * WAYS, channels of the input, side, side)."""
        every = self.weight[:, :, self.places].permute(0, 2, 1, 3)
        return every.reshape(len(self.weight) * WAYS, -1, self.side, self.side)

    def plain(self) -> nn.Conv2d:
        """The same as torch's own layer."""
        kernels = self.kernels().detach()
        shape = (kernels.shape[1], kernels.shape[0], self.side, self.stride, self.padding)
        layer = nn.Conv2d(*shape, bias=False)
        layer.weight = nn.Parameter(kernels)
        return layer


class _OfFields(nn.Module):
    """
    A batch normalisation with one mean and spread for all ways of a field, once it is trained.

    In training each way has its own, which is twice as fast; as each stamp comes whichever way up, they are the same
    but for chance.
    """

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(fields)), nn.Parameter(torch.zeros(fields))
        self.register_buffer("mean", torch.zeros(fields * WAYS))
        self.register_buffer("variance", torch.ones(fields * WAYS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, variance = (self.mean, self.variance) if self.training else self.of_all_ways()
        weight, bias = _of_every_way(self.weight), _of_every_way(self.bias)
        return nn.functional.batch_norm(x, mean, variance, weight, bias, self.training)

    def of_all_ways(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of all ways of each field together, shape (fields * WAYS,) each."""
        means, variances = (values.unflatten(0, (-1, WAYS)) for values in (self.mean, self.variance))
        together = variances.mean(1) + means.var(1, correction=0)
        return _of_every_way(means.mean(1)), _of_every_way(together)

    def plain(self) -> nn.BatchNorm2d:
        """The same as torch's own layer."""
        layer = nn.BatchNorm2d(len(self.mean))
        layer.running_mean, layer.running_var = self.of_all_ways()
        layer.weight, layer.bias = (nn.Parameter(_of_every_way(one).detach()) for one in (self.weight, self.bias))
        return layer


def _of_every_way(of_fields: torch.Tensor) -> torch.Tensor:
    return of_fields[:, None].expand(-1, WAYS).reshape(-1)


class _Residual(nn.Module):
    """Two convolutions around a shortcut, the first of which halves the size."""

    def __init__(self, inputs: int, fields: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            TurnedConvolution(inputs, fields, 4, stride=2, padding=1),
            _OfFields(fields),
            nn.SiLU(),
            TurnedConvolution(fields, fields, 3, padding=1),
            _OfFields(fields),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), TurnedConvolution(inputs, fields, 1))
        self.after = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.after(self.body(x) + self.shortcut(x))
        return out


class Equivariant(nn.Module):
    """
    A residual network whose logits are the same for all eight ways of turning and mirroring a stamp.

    Parameters
    ----------
    inputs, classes : int
        As of `classifiers.networks.build`.
    fields : tuple of int
        Of each stage; each halves the size. A field has 8 channels.
    dropout : float
        Before the last layer.
    """

    def __init__(self, inputs: int, classes: int, fields: tuple[int, ...], dropout: float = 0.3) -> None:
        super().__init__()
        first = fields[0]
        layers: list[nn.Module] = [
            TurnedConvolution(inputs, first, 3, padding=1, lifts=True),
            _OfFields(first),
            nn.SiLU(),
        ]
        before = first
        for each in fields:
            layers.append(_Residual(before, each))
            before = each
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(3 * before, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, shape (N, K), of inputs whose side is a multiple of twice the last stage's."""
        last = self.features(x).unflatten(1, (-1, WAYS))
        of_way = last.mean((3, 4))
        # the mean of the likeliest way tells how long a galaxy is, whatever way it lies
        seen = torch.cat([of_way.mean(2), of_way.amax(2), last.amax((2, 3, 4))], dim=1)
        logits: torch.Tensor = self.head(seen)
        return logits


def plain(network: nn.Module) -> nn.Module:
    """
    Put torch's own layers in the place of ours, which run no faster, and which nothing that reads the file knows.

    Parameters
    ----------
    network : Module
        Trained; it is changed.

    Returns
    -------
    Module
        The same, ready to be used.
    """
    for name, layer in network.named_children():
        ours = isinstance(layer, TurnedConvolution | _OfFields)
        setattr(network, name, layer.plain() if ours else plain(layer))
    return network.eval()
