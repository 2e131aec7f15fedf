"""What the cutout classifiers say of each detection, as columns of the catalogue."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Column

from classifiers.cards import Card
from classifiers.classify import Classifier
from detector.detections import Flag
from fieldprep.errors import UsageError
from fieldprep.resources import weights_path
from fieldprep.stamps import stamps_about

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from astropy.table import Table

    from fieldprep.mosaic import Sky

NONE = "none"
DISAGREEING = {("star_galaxy", "star"): Flag.CALLED_STAR, ("real_bogus", "bogus"): Flag.CALLED_BOGUS}
AT_ONCE = 1024  # stamps held at a time


def chosen_cards(text: str) -> dict[str, Card]:
    """
    Cards of the classifiers that a user names.

    Parameters
    ----------
    text : str
        Names of shipped weights or paths, joined by commas; ``none`` is none.

    Returns
    -------
    dict of str to Card
        By name as given.

    Raises
    ------
    fieldprep.errors.InputError
        If there are no such weights, or they are no classifier's.
    fieldprep.errors.UsageError
        If one is not for detections, or two answer the same.
    """
    names = [] if text == NONE else [name.strip() for name in text.split(",") if name.strip()]
    cards = {name: Card.beside(weights_path(name)) for name in names}
    for name, card in cards.items():
        if card.sides is None:
            raise UsageError(f"--classifiers {name}: its stamps are not those of a detection (its card has no sides)")
    tasks = [card.task for card in cards.values()]
    twice = {task for task in tasks if tasks.count(task) > 1}
    if twice or len(names) > len(cards):
        raise UsageError(f"--classifiers {text}: two answer the same; their columns would have one name")
    return cards


def class_columns(cards: Sequence[Card]) -> tuple[tuple[str, Any, str], ...]:
    """Name, unit and description of the columns of classifiers, in the order of the file."""
    return tuple(
        column
        for card in cards
        for column in (
            (f"{card.task}_class", None, f"class given by {card.name}; empty where the stamp has no data"),
            (f"{card.task}_probability", None, "probability of that class, 0 to 1"),
            *((f"{card.task}_p_{name}", None, f"probability of {name}, 0 to 1") for name in card.classes),
        )
    )


@lru_cache(maxsize=8)
def loaded_classifier(name: str) -> Classifier:
    """Load a classifier once a process; see `Classifier.load`."""
    return Classifier.load(name)


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
        known = np.isfinite(found).all(axis=1)
        given = np.where(known, np.array(card.classes)[np.nan_to_num(found).argmax(axis=1)], "")
        values = [given, found.max(axis=1, initial=-np.inf), *found.T]
        values[1] = np.where(known, values[1], np.nan)
        for (column, unit, text), value in zip(class_columns([card]), values, strict=True):
            table.add_column(Column(value, name=column, unit=unit, description=text))
        for (task, class_name), flag in DISAGREEING.items():
            if task == card.task:
                table["flags"] |= np.where(given == class_name, int(flag), 0)


def _probabilities(
    classifier: Classifier,
    sky: Sky,
    xy: npt.NDArray[np.float64],
    xyxy: npt.NDArray[np.float64],
    bands: Sequence[str] | None,
) -> npt.NDArray[np.float64]:
    """Probability of each class, shape (N, K); NaN where a stamp has no data."""
    prepare = classifier.card.preparation
    cut = classifier.card.cut
    zoom = cut.zoom(sky)
    out = np.full((len(xy), len(classifier.classes)), np.nan)
    for start in range(0, len(xy), AT_ONCE):
        part = np.arange(start, min(start + AT_ONCE, len(xy)))
        stamps = stamps_about(sky, xy[part], xyxy[part], cut, zoom=zoom, gray=prepare.channels == 1, bands=bands)
        if stamps.shape[3] < prepare.channels and not prepare.gray:
            stamps = np.repeat(stamps, prepare.channels, axis=3)
        there = np.isfinite(stamps).any(axis=(1, 2, 3))
        if there.any():
            out[part[there]] = classifier.predict(stamps[there])
    return out
