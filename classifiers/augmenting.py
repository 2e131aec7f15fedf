"""What is done to the stamps of a batch in training, each drawn by itself. Needs torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from classifiers.tasks import BLACK, BOTH, FLIPS, ROTATIONS, TURNS
from fieldprep.portraits import SDSS_NOISE, flux_of, shown, sky_flux_of

if TYPE_CHECKING:
    from classifiers.tasks import Recipe


TOGETHER = 8  # pictures that are made equally coarse
_SEEING = torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0])) / 16


def augmented(inputs: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """
    Stamps of a batch, each turned, mirrored, enlarged, shifted, brightened, tinted, noised by itself as a recipe says.

    Parameters
    ----------
    inputs : tensor, shape (N, C, size, size) or (N, E, C, size, size)
        Prepared stamps; the epochs of a series are turned, mirrored, enlarged and shifted alike.
    recipe : Recipe
        What is drawn.

    Returns
    -------
    tensor
        Of the same shape; what a turn or a shift uncovers is 0, the sky.
    """
    shape, (n, size) = inputs.shape, (len(inputs), inputs.shape[-1])
    inputs = inputs.flatten(1, -3)
    if TURNS in recipe.augment:
        turns = torch.randint(4, (n,))
        inputs = torch.stack([torch.rot90(one, int(turn), (1, 2)) for one, turn in zip(inputs, turns, strict=True)])
    if FLIPS in recipe.augment:
        mirrored = torch.rand(n) < 0.5
        inputs = torch.where(mirrored[:, None, None, None].to(inputs.device), inputs.flip(3), inputs)
    if ROTATIONS in recipe.augment or recipe.zoom:
        inputs = _rotated(inputs, rotate=ROTATIONS in recipe.augment, zoom=recipe.zoom)
    most = round(recipe.shift * size)
    if most:
        steps = torch.randint(-most, most + 1, (n, 2))
        padded = nn.functional.pad(inputs, (most,) * 4)
        corners = (most + steps).tolist()
        pairs = zip(padded, corners, strict=True)
        inputs = torch.stack([one[:, y : y + size, x : x + size] for one, (y, x) in pairs])
    if recipe.degrades:
        inputs = degraded(inputs, recipe)
    least, largest = recipe.brightness
    if least < largest or least != 1:
        factors = least + (largest - least) * torch.rand(n)
        inputs = inputs * factors[:, None, None, None].to(inputs.device)
    inputs = inputs.reshape(shape)
    if recipe.tint:
        factors = torch.exp(recipe.tint * torch.randn(n, shape[-3])).reshape(n, *(1,) * (len(shape) - 4), -1, 1, 1)
        inputs = inputs * factors.to(inputs.device)
    return inputs + recipe.noise * torch.randn_like(inputs) if recipe.noise else inputs


def _rotated(inputs: torch.Tensor, *, rotate: bool, zoom: float) -> torch.Tensor:
    """Each turned by any angle and enlarged or shrunk about its middle, both at once, so that it is sampled once."""
    n = len(inputs)
    angles = 2 * math.pi * torch.rand(n) if rotate else torch.zeros(n)
    scales = torch.exp(math.log1p(zoom) * (2 * torch.rand(n) - 1)) if zoom else torch.ones(n)
    cos, sin, none = torch.cos(angles) / scales, torch.sin(angles) / scales, torch.zeros(n)
    matrices = torch.stack([cos, -sin, none, sin, cos, none], dim=1).reshape(n, 2, 3).to(inputs)
    grid = nn.functional.affine_grid(matrices, list(inputs.shape), align_corners=False)
    return nn.functional.grid_sample(inputs, grid, padding_mode="zeros", align_corners=False)


def mixed_up(inputs: torch.Tensor, alpha: float) -> tuple[torch.Tensor, torch.Tensor, float]:
    """
    Stamps of a batch, each laid over another of it.

    Parameters
    ----------
    inputs : tensor, shape (N, C, size, size)
        The stamps.
    alpha : float
        Both parameters of the beta distribution that the share is drawn from.

    Returns
    -------
    mixed : tensor, shape (N, C, size, size)
        The share of each and the rest of its partner.
    partner : int64 tensor, shape (N,)
        Number of the other of each.
    share : float
        Of the first, the same for all.

    References
    ----------
    Zhang et al. 2018, ICLR, arXiv:1710.09412.
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    partner = torch.randperm(len(inputs)).to(inputs.device)
    return share * inputs + (1 - share) * inputs[partner], partner, share


def degraded(pictures: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """
    Pictures of a batch, the first half of them fainter and coarser, with the noise of SDSS's sky.

    Parameters
    ----------
    pictures : tensor, shape (N, 3, size, size)
        Red, green, blue from 0 to 1, with `fieldprep.portraits.shown`'s stretch.
    recipe : Recipe
        How faint and how coarse at most; the logarithms are drawn evenly, the coarseness for a few at a time.

    Returns
    -------
    tensor, shape (N, 3, size, size)
    """
    size, half = pictures.shape[-1], (len(pictures) + 1) // 2
    parts = []
    for part in pictures[:half].split(TOGETHER):
        black = bool(torch.rand(()) < 0.5) if recipe.sky == BOTH else recipe.sky == BLACK
        light = sky_flux_of if black else flux_of
        flux = torch.from_numpy(light(part.cpu().permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2)
        flux = flux * torch.exp(math.log(recipe.faintest) * torch.rand(len(part), 1, 1, 1))
        coarse = max(8, round(size / math.exp(math.log(recipe.coarsest) * float(torch.rand(())))))
        if coarse < size:
            flux = nn.functional.interpolate(flux, size=(coarse, coarse), mode="area")
            flux = nn.functional.conv2d(flux, _SEEING.expand(3, 1, 3, 3), padding=1, groups=3)
        flux = flux + torch.tensor(SDSS_NOISE, dtype=flux.dtype)[:, None, None] * torch.randn_like(flux)
        if coarse < size:
            flux = nn.functional.interpolate(flux, size=(size, size), mode="bilinear", align_corners=False)
        parts.append(torch.from_numpy(shown(flux.permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2))
    return torch.cat([*(part.to(pictures) for part in parts), pictures[half:]])
