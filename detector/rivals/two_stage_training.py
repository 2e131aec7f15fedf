"""
Training of the Faster R-CNN: from scratch, on the tiles, turns and jitter that our detector is trained on.

Needs the train extra.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from ultralytics.cfg import get_cfg
from ultralytics.data import build_yolo_dataset

from detector.draws import DrawnTiles
from detector.rivals.two_stage import CLASSES, network
from detector.train import BATCH, SETTINGS, has_bfloat16

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.train import Training

PASSES_PER_EPOCH = 100  # between checkpoints
RATE = 1e-3
WARM_UP = 100  # optimiser steps
MEMORY = 0.99  # of the averaged weights, a step
LARGEST_GRADIENT = 10.0


def train_two_stage(sets: Sequence[Path], out: Path, training: Training) -> Path:
    """
    Train a Faster R-CNN from scratch, or go on with one that was stopped.

    Parameters
    ----------
    sets : sequence of path
        Training sets, of galaxies or of galaxies and stars.
    out : path
        Folder for ``last.pt``, rewritten every 100 tile passes, and ``log.jsonl``.
    training : `detector.train.Training`
        Passes, rounded up to hundreds, and what is drawn: shares, weights of pictures and of large galaxies, seed.

    Returns
    -------
    path
        ``out/last.pt``: ``averaged`` (the weights to detect with), and what going on needs.
    """
    out.mkdir(parents=True, exist_ok=True)
    last = out / "last.pt"
    torch.manual_seed(training.seed)
    model = _fast_on_a_cpu(network())
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(MEMORY), use_buffers=True)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    epochs = -(-training.passes // PASSES_PER_EPOCH)
    steps = epochs * PASSES_PER_EPOCH // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    parts = {"model": model, "optimiser": optimiser, "schedule": schedule}
    done = _go_on(last, parts, averaged)
    tiles = _tiles(sets, training, training.seed + done)
    for epoch in range(done, epochs):
        start = time.process_time()
        loss = _epoch(tiles, model, averaged, optimiser, schedule)
        state = {name: part.state_dict() for name, part in parts.items()}
        torch.save({**state, "averaged": averaged.module.state_dict(), "epochs": epoch + 1}, last.with_suffix(".tmp"))
        last.with_suffix(".tmp").replace(last)
        row = {"passes": (epoch + 1) * PASSES_PER_EPOCH, "loss": loss, "seconds": time.process_time() - start}
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
    return last


def _fast_on_a_cpu(model: torch.nn.Module) -> torch.nn.Module:
    """Channels last, and depthwise convolutions in float32: their gradient is 3 to 5 times slower in bfloat16."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.groups > 1:
            layer.forward = _in_float32(layer.forward)
    return model.to(memory_format=torch.channels_last)


def _in_float32(forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def run(features: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(features.float())

    return run


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: a straight rise, then half a cosine to a fiftieth."""
    return min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * (1 + math.cos(math.pi * min(step / steps, 1))) / 2)


def _go_on(last: Path, parts: dict[str, Any], averaged: AveragedModel) -> int:
    """Load a checkpoint if there is one; gives the epochs done."""
    if not last.is_file():
        return 0
    content = torch.load(last, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(content[name])
    averaged.module.load_state_dict(content["averaged"])
    averaged.n_averaged.fill_(parts["schedule"].last_epoch)
    return int(content["epochs"])


def _tiles(sets: Sequence[Path], training: Training, seed: int) -> DrawnTiles:
    """One epoch's draw, as `detector.train.FieldTrainer` has it."""
    folders = [str(Path(folder).resolve() / "images" / "train") for folder in sets]
    settings = get_cfg(overrides={**SETTINGS, "cache": False, "task": "detect"})
    taught = dict(enumerate(CLASSES[1:]))
    data = {"names": taught, "nc": len(taught), "channels": 3}
    tiles = build_yolo_dataset(settings, folders, BATCH, data, mode="train")
    return DrawnTiles(
        tiles,
        passes=PASSES_PER_EPOCH,
        seed=seed,
        variant_weights=training.variant_weights,
        large_weight=training.large_weight,
        shares=training.shares,
        folders=folders,
        one_band=training.one_band,
    )


def _epoch(
    tiles: DrawnTiles,
    model: torch.nn.Module,
    averaged: AveragedModel,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> dict[str, float]:
    model.train()
    total: dict[str, float] = {}
    batches = DataLoader(tiles, BATCH, collate_fn=list)
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            losses = model(*_as_torchvision(batch))
        optimiser.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        averaged.update_parameters(model)
        for name, value in losses.items():
            total[name] = total.get(name, 0.0) + float(value.detach()) / len(batches)
    return total


def _as_torchvision(batch: Sequence[dict[str, Any]]) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    images, targets = [], []
    for sample in batch:
        ny, nx = sample["img"].shape[1:]
        centre, half = sample["bboxes"][:, :2], sample["bboxes"][:, 2:] / 2
        boxes = torch.cat([centre - half, centre + half], dim=1) * torch.tensor([nx, ny, nx, ny])
        images.append(sample["img"].float() / 255)
        targets.append({"boxes": boxes, "labels": 1 + sample["cls"].flatten().long()})
    return images, targets
