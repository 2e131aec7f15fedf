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

from classifiers.galaxy_zoo_tree import ANSWERS
from classifiers.layers import check_layers
from classifiers.preparing import UNIT, Preparation
from classifiers.splits import SHARES
from fieldprep.errors import InputError, UsageError, one_line
from fieldprep.portraits import Portrait
from fieldprep.stamps import Cut

RECIPES = Path(__file__).with_name("recipes")
OPTIMISERS = ("adam", "adamw", "rmsprop", "sgd")
COSINE, PLATEAU, EXPONENTIAL = "cosine", "plateau", "exponential"
SCHEDULES = ("constant", COSINE, PLATEAU, EXPONENTIAL)
FRACTIONS, COUNTS = "votes", "vote_counts"
OF_VOTES = (FRACTIONS, COUNTS)  # losses of Galaxy Zoo's answers, not of classes
LOSSES = ("cross_entropy", "binary", *OF_VOTES)
TURNS, ROTATIONS, FLIPS = "turns", "rotations", "flips"
AUGMENTATIONS = (TURNS, ROTATIONS, FLIPS)
ACTIVATIONS = {"cross_entropy": "softmax", "binary": "sigmoid", FRACTIONS: "fractions", COUNTS: "concentrations"}
BLACK, LIFTED, BOTH = "black", "lifted", "both"
SKIES = (BLACK, LIFTED, BOTH)
PRECISIONS = ("32-true", "bf16-mixed")
SERIES = "series"  # the network of several epochs
LAYERED = "layered:"  # before the name of a network on the card of a task with layers
EITHER = "|"  # between classes one of which a label is


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
    schedule : {'constant', 'cosine', 'plateau', 'exponential'}
        What becomes of it; cosine falls to nothing at the end, plateau by a fifth after each four epochs without a
        lower validation loss, exponential each epoch as ``fall`` says.
    fall : float
        Of the exponential schedule: in the nth epoch the rate is exp(-n fall) of its first.
    weight_decay : float
        As the optimiser takes it.
    epochs, batch : int
        How long, and how many stamps a step.
    frozen_epochs : int
        Epochs before these in which only the last layers are trained, and all that is before them stays as it is, the
        statistics of its batch normalisations too; rate, schedule and patience then begin anew from the best of them.
    precision : {'32-true', 'bf16-mixed'}
        Lightning's name of what it is computed in; bfloat16 takes half the time where a processor multiplies it.
    patience : int
        Epochs without a lower validation loss after which it ends; 0 never.
    loss : {'cross_entropy', 'binary', 'votes', 'vote_counts'}
        Of a softmax over the classes; of a sigmoid a class; the mean squared error of a sigmoid an answer against
        Galaxy Zoo's vote fractions; or the likelihood of its counts of votes (see `classifiers.votelosses`).
    balance : float
        1: each class weighs as much as the others, however many stamps it has; 0: each stamp does; between, a stamp
        weighs the number of its class to the power of minus this.
    shuffle : bool
        Whether the stamps come in another order each epoch, or in that of their table.
    augment : tuple of {'turns', 'rotations', 'flips'}
        What is drawn anew for each stamp: a quarter turn, a turn by any angle, a mirror image.
    shift : float
        Farthest shift of a stamp, as a share of its side.
    zoom : float
        By how much more than itself a stamp is enlarged or shrunk at most: 0.1 is from 1 / 1.1 to 1.1.
    brightness : (float, float)
        Least and largest factor on its values.
    mixup : float
        Each stamp of a batch is laid over another, the first with a share drawn from a beta distribution of both
        parameters this, and its loss is mixed likewise (Zhang et al. 2018, ICLR); 0: they stay as they are.
    faintest, coarsest : float
        Half of a batch's pictures are made fainter, with no less than this share of their light, and coarser, with up
        to so many of their pixels to a side of one, and have the noise and seeing of SDSS in these: what small and
        faint detections look like. 1 and 1: none is.
    sky : {'black', 'lifted', 'both'}
        What black in a picture is in its fainter copy: no light, as in a field, or as much as is cut off for black,
        which leaves a gray sky and keeps faint outskirts; or now this, now that.
    tint : float
        Scatter of the logarithm of a factor that each channel has for itself.
    noise : float
        Noise that is added, in the units of the prepared stamps.
    smoothing : float
        Of the labels.
    shares : (float, float, float)
        Of the objects or patches of sky: to train on, to validate and calibrate on, to score on; they are brought to a
        sum of 1. The last may be 0 for votes: they are then scored on what they were validated on.
    """

    optimiser: str = "adamw"
    rate: float = 2e-3
    schedule: str = "cosine"
    fall: float = 0.0
    weight_decay: float = 0.01
    epochs: int = 40
    frozen_epochs: int = 0
    batch: int = 64
    precision: str = "32-true"
    patience: int = 0
    loss: str = "cross_entropy"
    balance: float = 1.0
    shuffle: bool = True
    augment: tuple[str, ...] = (TURNS, FLIPS)
    shift: float = 0.0
    zoom: float = 0.0
    brightness: tuple[float, ...] = (1.0, 1.0)
    mixup: float = 0.0
    faintest: float = 1.0
    coarsest: float = 1.0
    sky: str = BLACK
    tint: float = 0.0
    noise: float = 0.0
    smoothing: float = 0.0
    shares: tuple[float, ...] = SHARES

    def __post_init__(self) -> None:
        for name, allowed in (
            ("optimiser", OPTIMISERS),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
            ("loss", LOSSES),
            ("sky", SKIES),
        ):
            _one_of(name, (getattr(self, name),), allowed)
        _one_of("augment", self.augment, AUGMENTATIONS)
        for name in ("rate", "epochs", "batch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be over 0, got {getattr(self, name)!r}")
        for name in (
            "weight_decay",
            "frozen_epochs",
            "patience",
            "shift",
            "zoom",
            "mixup",
            "tint",
            "noise",
            "smoothing",
        ):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must not be under 0 or without end, got {getattr(self, name)!r}")
        if len(self.brightness) != 2 or not 0 < self.brightness[0] <= self.brightness[1] < float("inf"):
            raise ValueError(f"brightness must be two factors over 0, the lesser first, got {self.brightness!r}")
        needed = self.shares[:-1] if self.of_votes and len(self.shares) and self.shares[-1] == 0 else self.shares
        if len(self.shares) != len(SHARES) or not all(0 < share < float("inf") for share in needed):
            raise ValueError(f"shares must be {len(SHARES)} numbers over 0, got {self.shares!r}")
        if not (0 < self.faintest <= 1 <= self.coarsest):
            raise ValueError(
                f"faintest must be over 0 and up to 1, coarsest 1 or more, got {self.faintest!r} and {self.coarsest!r}"
            )
        if (self.schedule == EXPONENTIAL) != (self.fall > 0):
            raise ValueError(f"fall must be over 0 for the schedule exponential, and for it only, got {self.fall!r}")
        if not 0 <= self.balance <= 1:
            raise ValueError(f"balance must be from 0 to 1, got {self.balance!r}")
        if self.of_votes and (self.balance or self.smoothing):
            raise ValueError("balance must be 0 and smoothing 0 for votes: they are of classes")

    @property
    def degrades(self) -> bool:
        """Whether pictures are made fainter or coarser."""
        return self.faintest < 1 or self.coarsest > 1

    @property
    def of_votes(self) -> bool:
        """Whether it is of vote fractions or counts, not of classes."""
        return self.loss in OF_VOTES

    def lasting(self, epochs: int) -> Recipe:
        """The same of that many epochs; where some come before them with the rest frozen, of no more of those."""
        return dataclasses.replace(self, epochs=epochs, frozen_epochs=min(self.frozen_epochs, epochs))


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
    layers : mapping of str to sequence of str
        A tree of questions, as of `classifiers.layers.check_layers`: a network a question, whose probabilities are
        multiplied on the way to a class. By default one network tells all classes.
    labels : mapping of str to str
        Class by the label that files have, or the classes one of which it is, joined by ``|``: such stamps are trained
        on, by the sum of these classes' probabilities, and never scored. Labels that are not named are left out. By
        default labels are classes.
    sides : float, optional
        Width of a stamp about a detection of a field, as of `fieldprep.stamps.Cut`; None: it is not for detections.
    stars : float
        Half-light radius that stars are brought to in it, likewise.
    portrait : mapping, optional
        How a detection is framed, for a task of pictures, as of `fieldprep.portraits.Portrait`.
    unweighted : bool
        Whether what is exported takes the classes' weights of the training back out of its probabilities, so that they
        are those of classes as common as in what it was trained on.
    unsure : float
        Probability under which no class is given.
    centre : float
        Share of the side of a file's images that is kept about their middle, to train and to score on; what is asked of
        the classifier is cut so already.
    tree : bool
        Of vote fractions: whether what it says obeys Galaxy Zoo's tree of questions, in its training too. Counts of
        votes do so anyway.
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
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    sides: float | None = None
    stars: float = 0.0
    portrait: Mapping[str, float] | None = None
    unweighted: bool = False
    unsure: float = 0.0
    centre: float = 1.0
    tree: bool = False
    about: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"name must be letters, digits and _, got {self.name!r}")
        if len(set(self.classes)) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes must be two or more names, each once, got {self.classes!r}")
        _one_of("labels", [name for names in self.labels.values() for name in names.split(EITHER)], self.classes)
        if self.recipe.loss != "cross_entropy" and any(EITHER in names for names in self.labels.values()):
            raise ValueError(f"labels of several classes need the loss cross_entropy, not {self.recipe.loss}")
        if self.layers:
            check_layers(self.layers, self.classes)
            if self.recipe.loss != "cross_entropy" or self.stamps.epochs > 1 or self.recipe.frozen_epochs:
                raise ValueError("layers need the loss cross_entropy, stamps of one epoch and no frozen_epochs")
        if self.recipe.degrades and (self.stamps.seen, self.stamps.scaling) != (3, (UNIT,)):
            raise ValueError(
                "faintest and coarsest are of pictures: stamps of three channels and the scaling unit alone"
            )
        if self.unweighted and (self.layers or self.recipe.loss != "cross_entropy"):
            raise ValueError("unweighted must be false for layers, and for other losses than cross_entropy")
        if not 0 < self.centre <= 1:
            raise ValueError(f"centre must be over 0 and at most 1, got {self.centre!r}")
        if self.portrait is not None:
            Portrait(**self.portrait)
        if not 0 <= self.unsure <= 1:
            raise ValueError(f"unsure must be a probability, got {self.unsure!r}")
        self._check_votes()
        self._check_epochs()

    def _check_votes(self) -> None:
        if self.recipe.of_votes and (self.classes != ANSWERS or self.labels):
            raise ValueError("classes must be Class1.1 to Class11.6 for votes, and there are no labels")
        if self.tree and not self.recipe.of_votes:
            raise ValueError(f"tree must be false for the loss {self.recipe.loss}: it is of votes")

    def _check_epochs(self) -> None:
        several = self.stamps.epochs > 1
        if several and (self.recipe.of_votes or self.recipe.mixup):
            raise ValueError("epochs must be 1 for votes and for mixup: they are of single stamps")
        if several and self.turned:
            raise ValueError("turned must be false for several epochs")
        if several != (self.network == SERIES):
            raise ValueError(f"network must be {SERIES} for several epochs, and for them only, got {self.network!r}")

    def class_of(self, label: str) -> str | None:
        """Class of a label as files have it, or classes joined by ``|``; None where it is left out."""
        return self.labels.get(label) if self.labels else (label if label in self.classes else None)

    def with_labels(self, more: Mapping[str, str]) -> Task:
        """
        The same task, which knows more labels.

        Parameters
        ----------
        more : mapping of str to str
            Class by label.

        Returns
        -------
        Task

        Raises
        ------
        ValueError
            If one is no class of it, or a label is that of another class already.
        """
        known = {label: name for label in more if (name := self.class_of(label)) is not None}
        for label, name in known.items():
            if more[label] != name:
                raise ValueError(f"{label} is a label of {name} already, not of {more[label]}")
        return dataclasses.replace(self, labels={**(self.labels or {name: name for name in self.classes}), **more})

    def numbers_of(self, labels: Iterable[str]) -> npt.NDArray[np.int64]:
        """Numbers of the classes of stamps, shape (N,)."""
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array([number[str(label)] for label in labels], np.int64)

    def either_of(self, labels: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Which classes each stamp may be of, by labels that may be several classes, shape (N, K)."""
        return np.array(
            [[name in label.split(EITHER) for name in self.classes] for label in map(str, labels)], np.bool_
        )

    @property
    def cut(self) -> Cut:
        """How a stamp is cut about a detection."""
        return Cut(self.stamps.size, self.sides or 0.0, self.stars)

    @property
    def activation(self) -> str:
        """From logits to probabilities or vote fractions: what the loss was of."""
        return ACTIVATIONS[self.recipe.loss]

    @property
    def of_votes(self) -> bool:
        """Whether it says vote fractions, not classes."""
        return self.recipe.of_votes

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
