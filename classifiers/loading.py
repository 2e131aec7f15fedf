"""Stamps as training takes them: prepared, with what the network should say of them, in an order. Needs torch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset, Sampler

from classifiers.pictures import Pictures
from classifiers.series import network_inputs
from classifiers.tasks import COUNTS, EITHER
from classifiers.votes import counts_of, fractions_of
from fieldprep.cores import cores

if TYPE_CHECKING:
    from classifiers.stampsets import StampSet
    from classifiers.tasks import Task

MEMORY = 2 * 1024**3  # bytes of prepared pictures that are kept; the rest is read anew each time

Item = tuple[tuple[torch.Tensor, ...], torch.Tensor]  # what the network takes, and what it should say


class PreparedStamps(Dataset[Item]):
    """
    Stamps of a task, prepared, with the number of their class, or with their votes.

    Parameters
    ----------
    stamps : StampSet
        With labels that are the task's classes, or with votes. Where they are `Pictures`, a batch is read and prepared
        when it is asked for, and the first `MEMORY` bytes of what is prepared are kept; others are prepared once.
    task : Task
        The task.
    """

    def __init__(self, stamps: StampSet, task: Task) -> None:
        self.task = task
        self.pictures = stamps.stamps if isinstance(stamps.stamps, Pictures) else None
        made = () if self.pictures else network_inputs(task.stamps, stamps.stamps)
        self.inputs = [torch.from_numpy(part) for part in made]
        self.targets = _targets(stamps, task)
        of_each = 4 * task.stamps.inputs * task.stamps.size**2
        self.room = MEMORY // of_each  # pictures
        self.kept: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Item:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Item]:
        """Several at once, which the loader asks for; files are decoded side by side."""
        if self.pictures is None:
            return [(tuple(part[i] for part in self.inputs), self.targets[i]) for i in indices]
        with ThreadPoolExecutor(cores()) as pool:
            stamps = list(pool.map(self._read, indices))
        return [((stamp,), self.targets[i]) for i, stamp in zip(indices, stamps, strict=True)]

    def _read(self, index: int) -> torch.Tensor:
        if self.pictures is None:
            raise IndexError(index)
        if index in self.kept:
            return self.kept[index]
        stamp = torch.from_numpy(self.task.stamps([self.pictures[index]], first=index)[0])
        if len(self.kept) < self.room:
            self.kept[index] = stamp
        return stamp


def _targets(stamps: StampSet, task: Task) -> torch.Tensor:
    """
    What the network should say.

    Numbers of classes, shape (N,); where a label is several, which classes it may be, shape (N, K); of votes their
    fractions or counts, shape (N, 37).
    """
    if not task.of_votes:
        several = any(EITHER in label for label in stamps.labels)
        return torch.from_numpy(task.either_of(stamps.labels) if several else task.numbers_of(stamps.labels))
    votes = counts_of(stamps.rows) if task.recipe.loss == COUNTS else fractions_of(stamps.rows)
    return torch.from_numpy(votes).to(torch.float32)


class Shuffled(Sampler[int]):
    """An order that follows from the seed and the epoch, of which the first has this number."""

    def __init__(self, length: int, seed: int, first: int = 0) -> None:
        self.length, self.seed, self.first, self.epoch = length, seed, first, 0

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch it is; Lightning does."""
        self.epoch = epoch

    def __iter__(self) -> Any:
        draw = torch.Generator().manual_seed(self.seed * 100_003 + self.first + self.epoch)
        return iter(torch.randperm(self.length, generator=draw).tolist())
