"""What the cutout classifiers say of each detection, as columns of the catalogue."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Column

from classifiers.cards import TOO_SMALL, UNCERTAIN, Card
from classifiers.classify import Classifier
from classifiers.galaxy_zoo_tree import TREE, places
from classifiers.votes import LEADING
from detector.detections import Flag
from fieldprep.errors import UsageError
from fieldprep.portraits import portraits_about
from fieldprep.resources import weights_path
from fieldprep.stamps import stamps_about

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from astropy.table import Table

    from fieldprep.mosaic import Sky

NONE = "none"
DEFAULT = "real_bogus,star_galaxy,morphology"
DIFFERENCE = "real_bogus_difference"  # the task whose stamps are those of a change, not of a detection
DISAGREEING = {("star_galaxy", "star"): Flag.CALLED_STAR, ("real_bogus", "bogus"): Flag.CALLED_BOGUS}
AT_ONCE = 1024  # stamps held at a time


def chosen_cards(text: str, *, template: bool = False) -> dict[str, Card]:
    """
    Cards of the classifiers that a user names.

    Parameters
    ----------
    text : str
        Names of shipped weights or paths, joined by commas; ``none`` is none.
    template : bool
        Whether there is a template to subtract, so that one may be for candidates of a change.

    Returns
    -------
    dict of str to Card
        By name as given.

    Raises
    ------
    fieldprep.errors.InputError
        If there are no such weights, or they are no classifier's.
    fieldprep.errors.UsageError
        If one is for neither detections nor candidates, or two answer the same.
    """
    names = [] if text == NONE else [name.strip() for name in text.split(",") if name.strip()]
    cards = {name: Card.beside(weights_path(name)) for name in names}
    for name, card in cards.items():
        if card.task == DIFFERENCE and not template:
            raise UsageError(f"--classifiers {name}: tells changes against a template; give one by --template")
        if card.task != DIFFERENCE and card.sides is None and card.portrait is None:
            raise UsageError(f"--classifiers {name}: its stamps are not those of a detection (its card has no sides)")
    tasks = [card.task for card in cards.values()]
    twice = {task for task in tasks if tasks.count(task) > 1}
    if twice or len(names) > len(cards):
        raise UsageError(f"--classifiers {text}: two answer the same; their columns would have one name")
    return cards


def class_columns(cards: Sequence[Card]) -> tuple[tuple[str, Any, str], ...]:
    """Name, unit and description of the columns of classifiers, in the order of the file."""
    return tuple(column for card in cards for column in _columns(card))


def _columns(card: Card) -> tuple[tuple[str, Any, str], ...]:
    given, surest = f"{card.task}_class", f"{card.task}_probability"
    if not card.of_votes:
        return (
            (given, None, f"class given by {card.name}{_else(card)}"),
            (surest, None, "probability of that class, 0 to 1"),
            *((f"{card.task}_p_{name}", None, f"probability of {name}, 0 to 1") for name in card.classes),
        )
    answers = {
        column: f"{question.number}. {question.text} {answer.replace('_', ' ')}"
        for question in TREE
        for column, answer in zip(question.columns, question.answers, strict=True)
    }
    leading = f"leading answer to Galaxy Zoo's first question ({', '.join(LEADING)}), as {card.name} expects it"
    return (
        (given, None, f"{leading}{_else(card)}"),
        (surest, None, "vote fraction of that answer, 0 to 1"),
        *((f"{card.task}_p_{name}", None, f"vote fraction, {answers[name]}, 0 to 1") for name in card.classes),
    )


def _else(card: Card) -> str:
    """What is said where no class is."""
    parts = ["empty where the stamp has no data"]
    parts += [f"{UNCERTAIN} where its probability is under {card.unsure:g}"] if card.unsure else []
    framing = card.framing
    parts += [f"{TOO_SMALL} where the box is under {framing.least:g} px"] if framing and framing.least else []
    return "; " + ", ".join(parts)


@lru_cache(maxsize=8)
def loaded_classifier(name: str) -> Classifier:
    """Load a classifier once a process, as fast as the machine runs it; see `Classifier.load`."""
    return Classifier.load(name, precision=None)


def add_classes(table: Table, sky: Sky, names: Sequence[str], bands: Sequence[str] | None = None) -> None:
    """
    Add the columns of classifiers to a field's catalogue, and flag where they disagree with the detector.

    Parameters
    ----------
    table : `~astropy.table.Table`
        As `fullfield.catalogue.catalogue_table` gives it; changed in place.
    sky : Field or Mosaic
        The field.
    names : sequence of str
        Names or paths of the classifiers.
    bands : sequence of three str, optional
        Bands for R, G, B; stamps have them from the shortest wavelength to the longest.
    """
    xy = np.stack([table["x"], table["y"]], axis=1).astype(np.float64)
    xyxy = np.stack([table[name] for name in ("x_min", "y_min", "x_max", "y_max")], axis=1).astype(np.float64)
    for name in names:
        classifier = loaded_classifier(name)
        card = classifier.card
        found = _probabilities(classifier, sky, xy, xyxy, bands)
        small = None if card.framing is None else ~card.framing.large_enough(xyxy)
        given = add_class_columns(table, card, found, small)
        for (task, class_name), flag in DISAGREEING.items():
            if task == card.task:
                table["flags"] |= np.where(given == class_name, int(flag), 0)


def add_class_columns(
    table: Table, card: Card, found: npt.NDArray[np.float64], small: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.str_]:
    """
    Add what a classifier says to a table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Changed in place.
    card : Card
        The classifier's.
    found : 2D float64 `~numpy.ndarray`, shape (N, K)
        Probability of each class, or vote fraction of each answer, for each row; NaN where it was not asked.
    small : 1D bool `~numpy.ndarray`, shape (N,), optional
        Which were too small to be asked.

    Returns
    -------
    1D str `~numpy.ndarray`, shape (N,)
        Class of each row, of votes the leading answer of the first question, or what is said in its place; empty where
        there is none.
    """
    known = np.isfinite(found).all(axis=1)
    # of votes the answers of the first question, which everybody is asked
    names, of = (LEADING, found[:, places(TREE[0])]) if card.of_votes else (card.classes, found)
    given = np.where(known, np.array(names)[np.nan_to_num(of).argmax(axis=1)], "")
    surest = np.where(known, of.max(axis=1, initial=-np.inf), np.nan)
    given = np.where(known & (np.nan_to_num(surest) < card.unsure), UNCERTAIN, given)
    if small is not None:
        given = np.where(small, TOO_SMALL, given)
    for (column, unit, text), value in zip(class_columns([card]), [given, surest, *found.T], strict=True):
        table.add_column(Column(value, name=column, unit=unit, description=text))
    return given


def probabilities_of(classifier: Classifier, stamps: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Probability of each class, shape (N, K); NaN where a stamp, of shape (N, ny, nx, C), has no data."""
    out = np.full((len(stamps), len(classifier.classes)), np.nan)
    there = np.isfinite(stamps).any(axis=(1, 2, 3))
    if there.any():
        out[there] = classifier.predict(stamps[there])
    return out


def _probabilities(
    classifier: Classifier,
    sky: Sky,
    xy: npt.NDArray[np.float64],
    xyxy: npt.NDArray[np.float64],
    bands: Sequence[str] | None,
) -> npt.NDArray[np.float64]:
    """Probability of each class, shape (N, K); NaN where a stamp has no data, or shows too little."""
    prepare, framing = classifier.card.preparation, classifier.card.framing
    out = np.full((len(xy), len(classifier.classes)), np.nan)
    if framing is not None:
        asked = np.flatnonzero(framing.large_enough(xyxy) & np.isfinite(framing.widths(xyxy, sky.pixel_scale)))
        pictures = portraits_about(sky, xy[asked], xyxy[asked], framing, prepare.size, bands)
        out[asked] = probabilities_of(classifier, pictures)
        return out
    cut = classifier.card.cut
    zoom = cut.zoom(sky)
    for start in range(0, len(xy), AT_ONCE):
        part = np.arange(start, min(start + AT_ONCE, len(xy)))
        stamps = stamps_about(sky, xy[part], xyxy[part], cut, zoom=zoom, gray=prepare.channels == 1, bands=bands)
        if stamps.shape[3] < prepare.channels and not prepare.gray:
            stamps = np.repeat(stamps, prepare.channels, axis=3)
        out[part] = probabilities_of(classifier, stamps)
    return out
