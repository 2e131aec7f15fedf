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
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader
from torchmetrics import MeanSquaredError, Metric
from torchmetrics.classification import MulticlassAccuracy

from classifiers.augmenting import augmented, mixed_up
from classifiers.loading import Item, PreparedStamps, Shuffled
from classifiers.networks import network_of, tail_of
from classifiers.tasks import COSINE, COUNTS, EXPONENTIAL, PLATEAU, Task
from classifiers.votelosses import of_counts, of_fractions, said, shared_out
from fieldprep.errors import InputError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from classifiers.stampsets import StampSet
    from classifiers.tasks import Recipe

LAST, BEST, TASK_FILE = "last.ckpt", "best.ckpt", "task.json"
FROZEN = "frozen"  # folder of the epochs in which only the last layers are trained
WATCHED = "val_loss"
OPTIMISERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


FLAT, FALL = 4, 0.8  # a plateau is as many epochs; what the rate is then multiplied by


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
    frozen : bool
        Whether only its last layers are trained.
    """

    def __init__(self, task: Task, weights: torch.Tensor, seed: int, *, frozen: bool = False) -> None:
        super().__init__()
        self.task, self.seed, self.frozen = task, seed, frozen
        self.first = 0 if frozen else task.recipe.frozen_epochs  # number of its first epoch, of both phases
        # channels last: a processor trains by it in three quarters of the time
        self.network = network_of(task).to(memory_format=torch.channels_last)
        if frozen:
            self.network.requires_grad_(requires_grad=False)
            tail_of(self.network).requires_grad_(requires_grad=True)
        self.register_buffer("weights", weights)
        # for votes Kaggle's measure, for classes the mean recall
        self.measure: Metric = (
            MeanSquaredError(squared=False) if task.of_votes else MulticlassAccuracy(len(task.classes), average="macro")
        )
        self.train()  # Lightning takes the modes as it finds them

    def train(self, mode: bool = True) -> StampClassifier:
        """To training or back; what is frozen stays as it is when it is used."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
            tail_of(self.network).train(mode)
        return self

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Logits, shape (N, K)."""
        stamps, *gaps = inputs
        if stamps.ndim == 4:
            stamps = stamps.contiguous(memory_format=torch.channels_last)
        logits: torch.Tensor = self.network(stamps, *gaps)
        return logits

    def training_step(self, batch: Item, number: int) -> torch.Tensor:
        """Loss of a batch, its stamps turned, mirrored, shifted and noised as epoch and batch tell."""
        torch.manual_seed(hash((self.seed, self.first + self.current_epoch, number)))
        (stamps, *gaps), targets = batch
        with torch.autocast(stamps.device.type, enabled=False):  # what is drawn is no sum to be made short of
            stamps = augmented(stamps, self.task.recipe)
        # a layered network has one epoch, no gaps, and shows each of its own the stamps that come to their question
        may_be = self._may_be(targets) if self.task.layers else None
        if self.task.recipe.mixup:
            mixed, partner, share = mixed_up(stamps, self.task.recipe.mixup)
            logits = self(mixed) if may_be is None else self(mixed, may_be | may_be[partner])
            loss = share * self.loss(logits, targets) + (1 - share) * self.loss(logits, targets[partner])
        else:
            others = gaps if may_be is None else [may_be]
            loss = self.loss(self(stamps, *others), targets)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(targets))
        return loss

    def validation_step(self, batch: Item, _: int) -> None:
        """Loss of a batch as it is, and its balanced accuracy, or the root mean squared error of its fractions."""
        inputs, targets = batch
        logits, recipe = self(*inputs), self.task.recipe
        if self.task.of_votes:
            true = shared_out(targets) if recipe.loss == COUNTS else targets
            self.measure(said(logits, recipe.loss, tree=self.task.tree), true)
        else:
            self.measure(logits, targets)
        self.log(WATCHED, self.loss(logits, targets), batch_size=len(targets), prog_bar=True)
        name = "val_rmse" if self.task.of_votes else "val_balanced_accuracy"
        self.log(name, self.measure, batch_size=len(targets), prog_bar=True)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch."""
        recipe = self.task.recipe
        if recipe.loss == COUNTS:
            return of_counts(logits, targets)
        if self.task.of_votes:
            return of_fractions(said(logits, recipe.loss, tree=self.task.tree), targets)
        return self._of_classes(logits, targets)

    def _may_be(self, targets: torch.Tensor) -> torch.Tensor:
        """Classes that each stamp may be of, bool, shape (N, K)."""
        return targets if targets.ndim == 2 else nn.functional.one_hot(targets, len(self.task.classes)).bool()

    def _of_classes(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        recipe = self.task.recipe
        if classes.ndim == 2:
            return of_several(logits, classes, self.weights, recipe.smoothing)
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
        trained = [weights for weights in self.parameters() if weights.requires_grad]
        optimiser = OPTIMISERS[recipe.optimiser](trained, **options)
        epochs = recipe.frozen_epochs if self.frozen else recipe.epochs
        schedule: LRScheduler
        if recipe.schedule == COSINE:
            schedule = CosineAnnealingLR(optimiser, epochs)
        elif recipe.schedule == EXPONENTIAL:
            schedule = ExponentialLR(optimiser, math.exp(-recipe.fall))
        else:
            return optimiser  # a plateau is a callback's
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}


def of_several(
    logits: torch.Tensor, may_be: torch.Tensor, weights: torch.Tensor, smoothing: float = 0.0
) -> torch.Tensor:
    """
    Cross-entropy of the sum of the probabilities of the classes that a stamp may be of.

    Parameters
    ----------
    logits : tensor, shape (N, K)
        What the network says.
    may_be : bool tensor, shape (N, K)
        Classes that each may be of, at least one.
    weights : tensor, shape (K,)
        Of the classes; a stamp has the mean of those it may be of.
    smoothing : float
        Share of the label that is given to all classes alike.

    Returns
    -------
    tensor
        The weighted mean; where each may be of one class and nothing is smoothed, torch's cross-entropy.
    """
    said_of_each = logits.log_softmax(dim=1)
    right = said_of_each.masked_fill(~may_be, -torch.inf).logsumexp(dim=1)
    each = -(1 - smoothing) * right - smoothing * said_of_each.mean(dim=1)
    of_stamp = (may_be * weights).sum(dim=1) / may_be.sum(dim=1)
    return (each * of_stamp).sum() / of_stamp.sum()


class _Plateau(Callback):
    """
    Lets the rate fall after so many epochs without a lower validation loss.

    Lightning's own steps come after a checkpoint is written, so that what is resumed lacks the latest of them.
    """

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.schedule: ReduceLROnPlateau | None = None

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Begin, or go on from a checkpoint."""
        # torch counts the epochs beyond its patience
        self.schedule = ReduceLROnPlateau(trainer.optimizers[0], factor=FALL, patience=FLAT - 1, threshold=0.0)
        if self.told:
            self.schedule.load_state_dict(self.told)

    def on_validation_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Take a step."""
        if self.schedule is not None:
            self.schedule.step(float(trainer.callback_metrics[WATCHED]))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {} if self.schedule is None else dict(self.schedule.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember it until training starts."""
        self.told = state_dict


class _Patience(EarlyStopping):
    """Lightning's, which knows after a stop too that it had come to its end."""

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """End at once where the checkpoint that is gone on from was the last."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def class_weights(classes: npt.NDArray[np.int64] | torch.Tensor, number: int, *, balance: float) -> torch.Tensor:
    """
    Weight of each class in the loss, the mean over the stamps 1.

    Parameters
    ----------
    classes : 1D int64 array, shape (N,), or 2D bool array, shape (N, number)
        Classes of the stamps, or which they may be; those that may be several are not counted.
    number : int
        How many classes there are.
    balance : float
        As of `classifiers.tasks.Recipe`.

    Returns
    -------
    1D float32 tensor, shape (number,)
    """
    of = torch.as_tensor(classes)
    if of.ndim == 2:
        of = of[of.sum(dim=1) == 1].int().argmax(dim=1)
    counts = torch.bincount(of, minlength=number).to(torch.float32)
    weights = counts.clamp(min=1) ** -balance
    return weights * counts.sum() / (counts * weights).sum()


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
        rewritten every epoch, and ``log/metrics.csv``. Epochs in which only the last layers are trained have theirs in
        ``frozen/``.
    seed : int
        Of the weights and of what is drawn.
    resume : bool
        Go on from ``last.ckpt``, the latest of both phases where there are two.
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
    last, frozen = out / LAST, out / FROZEN
    recipe = task.recipe
    if resume and not last.is_file() and not (recipe.frozen_epochs and (frozen / LAST).is_file()):
        raise InputError(f"{out}: no {LAST} to resume from")
    out.mkdir(parents=True, exist_ok=True)
    if not resume:  # an earlier training's would be gone on from
        for stale in (last, frozen / LAST):
            stale.unlink(missing_ok=True)
    (out / TASK_FILE).write_text(json.dumps({"task": task.as_table(), "seed": seed}, indent=2) + "\n")
    torch.manual_seed(seed)
    stamps, others = PreparedStamps(training, task), PreparedStamps(validation, task)
    if task.of_votes:
        weights = torch.ones(len(task.classes))
    else:
        weights = class_weights(stamps.targets, len(task.classes), balance=recipe.balance)
    begun = replace(task, pretrained=False)  # what has a checkpoint needs no weights from elsewhere
    if recipe.frozen_epochs and not last.is_file():
        fresh = begun if (frozen / LAST).is_file() else task
        _fit(StampClassifier(fresh, weights, seed, frozen=True), stamps, others, frozen, callbacks)
    module = StampClassifier(begun if recipe.frozen_epochs or last.is_file() else task, weights, seed)
    if recipe.frozen_epochs and not last.is_file():
        module.load_state_dict(load_checkpoint(frozen / BEST, begun).state_dict() | {"weights": weights})
    _fit(module, stamps, others, out, callbacks)
    return out / BEST if recipe.patience else last


def _fit(
    module: StampClassifier, stamps: PreparedStamps, others: PreparedStamps, out: Path, more: tuple[Callback, ...]
) -> None:
    """Train a module, from ``out/last.ckpt`` on where it is there."""
    recipe, last = module.task.recipe, out / LAST
    order = Shuffled(len(stamps), module.seed, module.first) if recipe.shuffle else None
    loader = DataLoader(stamps, recipe.batch, sampler=order, drop_last=_one_left(stamps, recipe))
    ours: list[Callback] = [
        LearningRateMonitor("epoch"),
        *([_Plateau()] if recipe.schedule == PLATEAU else []),
        # two of them: one that does both writes the last only when it is the best
        ModelCheckpoint(out, "best", monitor=WATCHED, enable_version_counter=False),
        ModelCheckpoint(out, "last", enable_version_counter=False),
    ]
    if recipe.patience:
        ours.append(_Patience(WATCHED, patience=recipe.patience))
    with quiet(), _without_denormals():
        trainer = lightning.Trainer(
            max_epochs=recipe.frozen_epochs if module.frozen else recipe.epochs,
            accelerator="auto",
            devices=1,
            precision=recipe.precision,
            logger=CSVLogger(out, "log", version=""),
            callbacks=[*ours, *more],
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=max(1, math.ceil(len(stamps) / recipe.batch)),
        )
        trainer.fit(module, loader, DataLoader(others, recipe.batch), ckpt_path=last if last.is_file() else None)


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Denormal numbers as 0: dead filters' weights decay to them, and a processor takes twenty times as long."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _one_left(stamps: PreparedStamps, recipe: Recipe) -> bool:
    """Whether the last batch would be of one stamp, of which a batch normalisation has no variance."""
    return len(stamps) > recipe.batch and len(stamps) % recipe.batch == 1


@contextmanager
def quiet() -> Iterator[None]:
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
    module = StampClassifier(replace(task, pretrained=False), torch.ones(len(task.classes)), 0)
    try:
        module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    except Exception as error:
        raise InputError(f"{path}: not a checkpoint of {task.name} ({one_line(error)})") from error
    module.eval()
    return module
