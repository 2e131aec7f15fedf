"""
Training of a classifier by Lightning, and the checkpoint it ends in.

Needs the train extra. What is drawn (order, turns, shifts, noise, dropout) follows from the seed and the number of
epoch and batch alone, so a training that was stopped goes on to the same curve.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassAccuracy

from classifiers.networks import build
from classifiers.series import network_inputs
from classifiers.tasks import FLIPS, TURNS, Task
from fieldprep.errors import InputError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from classifiers.stampsets import StampSet
    from classifiers.tasks import Recipe

LAST, BEST, TASK_FILE = "last.ckpt", "best.ckpt", "task.json"
WATCHED = "val_loss"
OPTIMISERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


Item = tuple[tuple[torch.Tensor, ...], torch.Tensor]  # what the network takes, and the number of the class


class PreparedStamps(Dataset[Item]):
    """
    Stamps of a task, prepared, with the number of their class.

    Parameters
    ----------
    stamps : StampSet
        With labels that are the task's classes.
    task : Task
        The task.
    """

    def __init__(self, stamps: StampSet, task: Task) -> None:
        self.inputs = [torch.from_numpy(part) for part in network_inputs(task.stamps, stamps.stamps)]
        self.classes = torch.from_numpy(task.numbers_of(stamps.labels))

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: int) -> Item:
        return tuple(part[index] for part in self.inputs), self.classes[index]


class StampClassifier(lightning.LightningModule):
    """
    A task's network with its loss, its steps and what is logged of them.

    Parameters
    ----------
    task : Task
        The task.
    weights : tensor, shape (K,)
        Of the classes in the loss.
    seed : int
        Of what is drawn.
    """

    def __init__(self, task: Task, weights: torch.Tensor, seed: int) -> None:
        super().__init__()
        self.task, self.seed = task, seed
        inputs, size = task.stamps.inputs, task.stamps.size
        self.network = build(task.network, inputs, size, len(task.classes), pretrained=task.pretrained)
        self.register_buffer("weights", weights)
        self.accuracy = MulticlassAccuracy(len(task.classes), average="macro")

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Logits, shape (N, K)."""
        logits: torch.Tensor = self.network(*inputs)
        return logits

    def training_step(self, batch: Item, number: int) -> torch.Tensor:
        """Loss of a batch, its stamps turned, mirrored, shifted and noised as epoch and batch tell."""
        torch.manual_seed(hash((self.seed, self.current_epoch, number)))
        (stamps, *gaps), classes = batch
        loss = self.loss(self(augmented(stamps, self.task.recipe), *gaps), classes)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(classes))
        return loss

    def validation_step(self, batch: Item, _: int) -> None:
        """Loss and balanced accuracy of a batch as it is."""
        inputs, classes = batch
        logits = self(*inputs)
        self.accuracy(logits, classes)
        self.log(WATCHED, self.loss(logits, classes), batch_size=len(classes), prog_bar=True)
        self.log("val_balanced_accuracy", self.accuracy, batch_size=len(classes), prog_bar=True)

    def loss(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch."""
        recipe = self.task.recipe
        if recipe.loss == "cross_entropy":
            return nn.functional.cross_entropy(logits, classes, self.weights, label_smoothing=recipe.smoothing)
        one_hot = nn.functional.one_hot(classes, logits.shape[1]).to(logits.dtype)
        target = one_hot * (1 - recipe.smoothing) + recipe.smoothing / logits.shape[1]
        each = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)
        of_class = self.weights[classes]
        return (each * of_class).sum() / of_class.sum()

    def configure_optimizers(self) -> Any:
        """Steps and learning rate of the recipe."""
        recipe = self.task.recipe
        options = {"lr": recipe.rate, "weight_decay": recipe.weight_decay}
        optimiser = OPTIMISERS[recipe.optimiser](self.parameters(), **options)
        if recipe.schedule == "constant":
            return optimiser
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}


def augmented(inputs: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """
    Stamps of a batch, each turned, mirrored, shifted and noised by itself, as a recipe says.

    Parameters
    ----------
    inputs : tensor, shape (N, C, size, size) or (N, E, C, size, size)
        Prepared stamps; the epochs of a series are turned, mirrored and shifted alike.
    recipe : Recipe
        What is drawn.

    Returns
    -------
    tensor
        Of the same shape; what a shift uncovers is 0, the sky.
    """
    shape, (n, size) = inputs.shape, (len(inputs), inputs.shape[-1])
    inputs = inputs.flatten(1, -3)
    if TURNS in recipe.augment:
        turns = torch.randint(4, (n,))
        inputs = torch.stack([torch.rot90(one, int(turn), (1, 2)) for one, turn in zip(inputs, turns, strict=True)])
    if FLIPS in recipe.augment:
        mirrored = torch.rand(n) < 0.5
        inputs = torch.where(mirrored[:, None, None, None], inputs.flip(3), inputs)
    most = round(recipe.shift * size)
    if most:
        steps = torch.randint(-most, most + 1, (n, 2))
        padded = nn.functional.pad(inputs, (most,) * 4)
        corners = (most + steps).tolist()
        pairs = zip(padded, corners, strict=True)
        inputs = torch.stack([one[:, y : y + size, x : x + size] for one, (y, x) in pairs])
    inputs = inputs.reshape(shape)
    return inputs + recipe.noise * torch.randn_like(inputs) if recipe.noise else inputs


class _Shuffled(torch.utils.data.Sampler[int]):
    """An order that follows from the seed and the epoch."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch it is; Lightning does."""
        self.epoch = epoch

    def __iter__(self) -> Any:
        draw = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        return iter(torch.randperm(self.length, generator=draw).tolist())


def class_weights(classes: npt.NDArray[np.int64] | torch.Tensor, number: int, *, balance: bool) -> torch.Tensor:
    """Weight of each class in the loss, the mean over the stamps 1; all 1 unless they are to be balanced."""
    counts = torch.bincount(torch.as_tensor(classes), minlength=number).to(torch.float32)
    there = int((counts > 0).sum())
    return counts.sum() / (there * counts.clamp(min=1)) if balance else torch.ones(number)


def train_stamps(
    task: Task,
    training: StampSet,
    validation: StampSet,
    out: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    callbacks: tuple[Callback, ...] = (),
) -> Path:
    """
    Train a classifier, or go on with one that was stopped.

    Parameters
    ----------
    task : Task
        What it is.
    training, validation : StampSet
        With the task's classes for labels, as `classifiers.stampsets.StampSet.of_task` gives them.
    out : path
        Folder for ``task.json``, the checkpoints ``last.ckpt`` and ``best.ckpt`` (of the lowest validation loss),
        rewritten every epoch, and ``log/metrics.csv``.
    seed : int
        Of the weights and of what is drawn.
    resume : bool
        Go on from ``last.ckpt``.
    callbacks : tuple of Callback
        Lightning's, besides our own.

    Returns
    -------
    path
        ``out/best.ckpt`` where the recipe ends by patience, else ``out/last.ckpt``.

    Raises
    ------
    fieldprep.errors.InputError
        If there is nothing to train or to validate on, or nothing to resume.
    """
    for name, part in (("train", training), ("validate", validation)):
        if not len(part):
            raise InputError(f"{task.name}: no stamp to {name} on")
    if len(training) < 2:  # of which a batch normalisation has no variance
        raise InputError(f"{task.name}: one stamp is too few to train on")
    last = out / LAST
    if resume and not last.is_file():
        raise InputError(f"{out}: no {LAST} to resume from")
    out.mkdir(parents=True, exist_ok=True)
    (out / TASK_FILE).write_text(json.dumps({"task": task.as_table(), "seed": seed}, indent=2) + "\n")
    torch.manual_seed(seed)
    stamps, others = PreparedStamps(training, task), PreparedStamps(validation, task)
    recipe = task.recipe
    weights = class_weights(stamps.classes, len(task.classes), balance=recipe.balance)
    module = StampClassifier(task, weights, seed)
    loader = DataLoader(stamps, recipe.batch, sampler=_Shuffled(len(stamps), seed), drop_last=_one_left(stamps, recipe))
    ours: list[Callback] = [
        ModelCheckpoint(out, "best", monitor=WATCHED, save_last=True, enable_version_counter=False),
        LearningRateMonitor("epoch"),
    ]
    if recipe.patience:
        ours.append(EarlyStopping(WATCHED, patience=recipe.patience))
    with _quiet():
        trainer = lightning.Trainer(
            max_epochs=recipe.epochs,
            accelerator="auto",
            devices=1,
            logger=CSVLogger(out, "log", version=""),
            callbacks=[*ours, *callbacks],
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=max(1, math.ceil(len(stamps) / recipe.batch)),
        )
        trainer.fit(module, loader, DataLoader(others, recipe.batch), ckpt_path=last if resume else None)
    return out / BEST if recipe.patience else last


def _one_left(stamps: PreparedStamps, recipe: Recipe) -> bool:
    """Whether the last batch would be of one stamp, of which a batch normalisation has no variance."""
    return len(stamps) > recipe.batch and len(stamps) % recipe.batch == 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning without its advice on workers, GPUs and folders that are there already."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def load_checkpoint(path: Path, task: Task) -> StampClassifier:
    """
    Read a trained classifier.

    Parameters
    ----------
    path : path
        A checkpoint of `train_stamps`.
    task : Task
        What it was trained as.

    Returns
    -------
    StampClassifier
        Ready to be used, not to be trained.

    Raises
    ------
    fieldprep.errors.InputError
        If it cannot be read, or is another task's.
    """
    module = StampClassifier(task, torch.ones(len(task.classes)), 0)
    try:
        module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    except Exception as error:
        raise InputError(f"{path}: not a checkpoint of {task.name} ({one_line(error)})") from error
    module.eval()
    return module
