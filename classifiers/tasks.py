"""What a classifier is, as data: classes, what labels are called in files, stamps, network, training."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.preparing import Preparation
from classifiers.splits import SHARES
from fieldprep.errors import InputError, UsageError, one_line
from fieldprep.stamps import Cut

RECIPES = Path(__file__).with_name("recipes")
OPTIMISERS = ("adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine")
LOSSES = ("cross_entropy", "binary")
TURNS, FLIPS = "turns", "flips"
AUGMENTATIONS = (TURNS, FLIPS)
SERIES = "series"  # the network of several epochs


@dataclass(frozen=True)
class Recipe:
    """
    How a classifier is trained.

    Parameters
    ----------
    optimiser : {'adam', 'adamw', 'rmsprop', 'sgd'}
        Whose steps.
    rate : float
        Learning rate, at the start.
    schedule : {'constant', 'cosine'}
        What becomes of it; cosine falls to nothing at the end.
    weight_decay : float
        As the optimiser takes it.
    epochs, batch : int
        How long, and how many stamps a step.
    patience : int
        Epochs without a lower validation loss after which it ends; 0 never.
    loss : {'cross_entropy', 'binary'}
        Of a softmax over the classes, or of a sigmoid a class.
    balance : bool
        Whether each class weighs as much as the others, however many stamps it has.
    augment : tuple of {'turns', 'flips'}
        What is drawn anew for each stamp: a quarter turn, a mirror image.
    shift : float
        Farthest shift of a stamp, as a share of its side.
    noise : float
        Noise that is added, in the units of the prepared stamps.
    smoothing : float
        Of the labels.
    shares : (float, float, float)
        Of the objects or patches of sky: to train on, to validate and calibrate on, to score on; they are brought to a
        sum of 1.
    """

    optimiser: str = "adamw"
    rate: float = 2e-3
    schedule: str = "cosine"
    weight_decay: float = 0.01
    epochs: int = 40
    batch: int = 64
    patience: int = 0
    loss: str = "cross_entropy"
    balance: bool = True
    augment: tuple[str, ...] = AUGMENTATIONS
    shift: float = 0.0
    noise: float = 0.0
    smoothing: float = 0.0
    shares: tuple[float, ...] = SHARES

    def __post_init__(self) -> None:
        for name, allowed in (("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("loss", LOSSES)):
            _one_of(name, (getattr(self, name),), allowed)
        _one_of("augment", self.augment, AUGMENTATIONS)
        for name in ("rate", "epochs", "batch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be over 0, got {getattr(self, name)!r}")
        for name in ("weight_decay", "patience", "shift", "noise", "smoothing"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be under 0, got {getattr(self, name)!r}")
        if len(self.shares) != len(SHARES) or not all(0 < share < float("inf") for share in self.shares):
            raise ValueError(f"shares must be {len(SHARES)} numbers over 0, got {self.shares!r}")


@dataclass(frozen=True)
class Task:
    """
    A classifier, before it is trained.

    Parameters
    ----------
    name : str
        What it answers; the columns of a catalogue begin with it.
    classes : tuple of str
        Names of the classes. The first is the one that recall and false positives are told of, against the others.
    stamps : Preparation
        How stamps become the network's input.
    network : str
        As of `classifiers.networks.build`.
    pretrained : bool
        Whether it starts from the weights of timm's hub.
    turned : bool
        Whether what is exported looks at all eight turns and mirror images of a stamp and says their mean: steadier, in
        eight times the time.
    recipe : Recipe
        How it is trained.
    labels : mapping of str to str
        Class by the label that files have; labels that are not named are left out. By default labels are classes.
    sides : float, optional
        Width of a stamp about a detection of a field, as of `fieldprep.stamps.Cut`; None: it is not for detections.
    stars : float
        Half-light radius that stars are brought to in it, likewise.
    about : str
        Where it comes from.
    """

    name: str
    classes: tuple[str, ...]
    stamps: Preparation
    network: str = "compact"
    pretrained: bool = False
    turned: bool = False
    recipe: Recipe = field(default_factory=Recipe)
    labels: Mapping[str, str] = field(default_factory=dict)
    sides: float | None = None
    stars: float = 0.0
    about: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"name must be letters, digits and _, got {self.name!r}")
        if len(set(self.classes)) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes must be two or more names, each once, got {self.classes!r}")
        _one_of("labels", self.labels.values(), self.classes)
        if self.turned and self.stamps.epochs > 1:
            raise ValueError("turned must be false for several epochs")
        if (self.network == SERIES) != (self.stamps.epochs > 1):
            raise ValueError(f"network must be {SERIES} for several epochs, and for them only, got {self.network!r}")

    def class_of(self, label: str) -> str | None:
        """Class of a label as files have it, None where it is left out."""
        return self.labels.get(label) if self.labels else (label if label in self.classes else None)

    def numbers_of(self, labels: Iterable[str]) -> npt.NDArray[np.int64]:
        """Numbers of the classes of stamps, shape (N,)."""
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array([number[str(label)] for label in labels], np.int64)

    @property
    def cut(self) -> Cut:
        """How a stamp is cut about a detection."""
        return Cut(self.stamps.size, self.sides or 0.0, self.stars)

    @property
    def activation(self) -> str:
        """From logits to probabilities: what the loss was of."""
        return "sigmoid" if self.recipe.loss == "binary" else "softmax"

    @classmethod
    def read(cls, name: str | Path) -> Task:
        """
        Read a task.

        Parameters
        ----------
        name : str or path
            Name of one that comes with the package (`names`), or the path of a ``.toml``.

        Returns
        -------
        Task

        Raises
        ------
        fieldprep.errors.UsageError
            If there is no such task.
        fieldprep.errors.InputError
            If the file is not one.
        """
        path = Path(name) if str(name).endswith(".toml") else RECIPES / f"{name}.toml"
        if not path.is_file():
            known = f"a path, or one of {', '.join(names())}"
            raise UsageError(f"{name}: no such task; give {known}")
        try:
            return cls.of(tomllib.loads(path.read_text()))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: not a classifier's task ({one_line(error)})") from error

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Task:
        """Task of a table as TOML or a card has it; lists become tuples."""
        parts = {key: _tuples(value) for key, value in content.items()}
        parts["stamps"] = Preparation(**parts["stamps"])
        parts["recipe"] = Recipe(**parts.pop("recipe", {}))
        return cls(**parts)

    def as_table(self) -> dict[str, Any]:
        """Task as a table of plain values."""
        return dataclasses.asdict(self)


def names() -> list[str]:
    """Names of the tasks that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return {key: _tuples(part) for key, part in value.items()} if isinstance(value, Mapping) else value


def _one_of(name: str, values: Iterable[str], allowed: tuple[str, ...]) -> None:
    unknown = [value for value in values if value not in allowed]
    if unknown:
        raise ValueError(f"{name} must be of {', '.join(allowed)}, got {', '.join(map(str, unknown))}")
