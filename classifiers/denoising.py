"""
A picture without its noise: a U-Net that is shown short and long exposures of the same galaxies. Needs torch.

What it ends in is run by `classifiers.denoise`, without torch.

References
----------
Vojtekova et al. 2021, MNRAS 503, 3204: U-Nets on short exposures, an improvement as by doubling the exposure time.
Zhang et al. 2017, IEEE Trans. Image Process. 26, 3142: the network says the noise, not the picture.
"""

from __future__ import annotations

import sys
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from classifiers.denoise import LEVELS, STEP
from classifiers.export import PARITY
from classifiers.loading import Shuffled
from classifiers.train import LAST, quiet
from fieldprep.errors import InputError
from fieldprep.network import load_network
from fieldprep.simulation.exposures import shorter_pictures

if TYPE_CHECKING:
    from pathlib import Path

    from fieldprep.variants import Picture

FILTERS = tuple(16 * 2**level for level in range(LEVELS))
DRAWS = 4  # short exposures of each picture, one an epoch in turn


def _twice(inputs: int, outputs: int) -> nn.Module:
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """
    Pictures without their noise: a U-Net of three levels, whose output is taken from its input.

    Parameters
    ----------
    channels : int
        Of the pictures.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        down = [channels, *FILTERS]
        self.down = nn.ModuleList(_twice(a, b) for a, b in pairwise(down))
        pairs = list(pairwise(FILTERS[::-1]))
        self.lift = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(_twice(2 * b, b) for _, b in pairs)
        self.noise = nn.Conv2d(FILTERS[0], channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures, shape (N, C, ny, nx), of values from 0 to 1; ny and nx multiples of four."""
        seen, held = x, []
        for level, block in enumerate(self.down):
            seen = block(nn.functional.max_pool2d(seen, 2) if level else seen)
            held.append(seen)
        for lift, block, beside in zip(self.lift, self.up, held[-2::-1], strict=True):
            seen = block(torch.cat([lift(seen), beside], dim=1))
        return x - self.noise(seen)


class _Denoiser(lightning.LightningModule):
    def __init__(self, rate: float, epochs: int, seed: int) -> None:
        super().__init__()
        self.network, self.rate, self.epochs, self.seed = (
            UNet().to(memory_format=torch.channels_last),
            rate,
            epochs,
            seed,
        )

    def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor:
        torch.manual_seed(hash((self.seed, self.current_epoch, number)))
        short, long = batch
        draw, turn = self.current_epoch % short.shape[1], int(torch.randint(4, ()))
        pair = [torch.rot90(one.float() / 255, turn, (2, 3)) for one in (short[:, draw], long)]
        if torch.rand(()) < 0.5:
            pair = [one.flip(3) for one in pair]
        loss = nn.functional.l1_loss(self.network(pair[0].contiguous(memory_format=torch.channels_last)), pair[1])
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(long))
        return loss

    def configure_optimizers(self) -> Any:
        optimiser = torch.optim.AdamW(self.parameters(), lr=self.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}


def train_denoiser(
    pictures: Picture,
    out: Path,
    *,
    shares: tuple[float, float] = (1 / 30, 1 / 3),
    epochs: int = 12,
    rate: float = 2e-3,
    batch: int = 32,
    seed: int = 0,
    precision: Any = "bf16-mixed",
) -> Path:
    """
    Teach a U-Net what long exposures look like.

    Parameters
    ----------
    pictures : uint8 `~numpy.ndarray`, shape (N, ny, nx, 3)
        Long exposures as the survey shows them; the short ones are made of them.
    out : path
        Folder of the checkpoint, which is gone on from where it is there, the log and ``denoiser.onnx``.
    shares : (float, float)
        Least and largest share of the exposure that the short ones have.
    epochs, rate, batch, seed, precision
        As of `classifiers.tasks.Recipe`.

    Returns
    -------
    path
        ``out/denoiser.onnx``.

    Raises
    ------
    fieldprep.errors.InputError
        If there is no picture, their sides are not multiples of four, or the file strays from the network.
    """
    if not len(pictures) or pictures.shape[1] % STEP or pictures.shape[2] % STEP:
        raise InputError(f"pictures to denoise must be some, their sides multiples of {STEP}, got {pictures.shape}")
    short = np.stack([shorter_pictures(pictures, shares, DRAWS * seed + draw) for draw in range(DRAWS)], axis=1)
    rows = [torch.from_numpy(np.moveaxis(one, -1, -3).copy()) for one in (short, pictures)]
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    module, last = _Denoiser(rate, epochs, seed), out / LAST
    with quiet():
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            precision=precision,
            logger=CSVLogger(out, "log", version=""),
            callbacks=[ModelCheckpoint(out, "last", enable_version_counter=False)],
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        loader = DataLoader(TensorDataset(*rows), batch, sampler=Shuffled(len(pictures), seed))
        trainer.fit(module, loader, ckpt_path=last if last.is_file() else None)
    return _exported(module.network.eval(), out / "denoiser.onnx")


def _exported(network: nn.Module, path: Path) -> Path:
    n, y, x = (torch.export.Dim(name) for name in ("n", "y", "x"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, 4 * STEP, 6 * STEP),),
            path,
            input_names=["pictures"],
            output_names=["denoised"],
            dynamic_shapes=({0: n, 2: STEP * y, 3: STEP * x},),
            dynamo=True,
            verbose=False,
            external_data=False,
        )
    _check(network, path)
    return path


def _check(network: nn.Module, path: Path) -> None:
    made_up = torch.rand(3, 3, 6 * STEP, 4 * STEP, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = network(made_up).numpy()
    strays = float(np.abs(load_network(path, precision="f32")(made_up.numpy()) - wanted).max())
    if not strays <= PARITY:
        raise InputError(f"{path}: the exported file strays from the network by {strays:.2g}")
