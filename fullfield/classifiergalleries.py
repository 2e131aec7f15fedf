"""Stamps of an evaluation to look at: the surest mistakes, the least sure, and where in them each class is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from classifiers.rollout import rollout
from classifiers.series import Series
from fieldprep.errors import InputError
from fullfield.pages import TABLE_FILE, cards, paragraph
from fullfield.stampdrawing import block, stamp_rows, with_heat

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from classifiers.classify import Classifier
    from classifiers.evaluate import Judged
    from classifiers.preparing import FloatArray
    from fieldprep.variants import Picture
    from fullfield.pages import Panel

Ints = npt.NDArray[np.int64]

MOST_SHOWN = 24  # stamps of a gallery; the page says of how many
MAPS_OF_A_CLASS = 6
TIMM = "timm:"  # whose networks may be transformers
ATTENDS = (
    "Below each where what its class is told from comes from, through all layers (attention rollout, Abnar & Zuidema "
    "2020), from the least to the most of each; it does not tell for which class."
)
NO_TRAIN = 'Maps of where it looks need the train extra: pip install "fullfield[train]".'


@dataclass(frozen=True, eq=False)
class Looked:
    """
    Judged stamps, and where in some of them a class is seen.

    Parameters
    ----------
    judged : Judged
        The stamps.
    classifier : Classifier
        What judged them.
    mistakes : 1D int64 `~numpy.ndarray`
        Numbers of those that were given another class than their own, the surest first.
    examples : 1D int64 `~numpy.ndarray`
        Numbers of right answers, at most `MAPS_OF_A_CLASS` of each class, the surest first.
    maps : dict of (int, int) to 2D float32 `~numpy.ndarray`, shape (size, size)
        By stamp and class: of the examples that of their class, of the first `MOST_SHOWN` mistakes that of their own
        and that of the class given.
    without : str
        Why there are no maps, where there are none.
    """

    judged: Judged
    classifier: Classifier
    mistakes: Ints
    examples: Ints
    maps: dict[tuple[int, int], FloatArray]
    without: str
    rolled: bool = False

    @classmethod
    def of(cls, judged: Judged, classifier: Classifier, path: Path) -> Looked:
        """
        Look at judged stamps.

        Parameters
        ----------
        judged : Judged
            The stamps.
        classifier : Classifier
            What judged them.
        path : path
            Its ``.onnx``, of which maps are drawn.

        Returns
        -------
        Looked
        """
        highest = judged.probabilities.max(axis=1)
        order = np.argsort(-highest, kind="stable")
        mistakes, examples = order[~judged.right[order]], _spread_out(judged, order)
        shown = mistakes[:MOST_SHOWN]
        stamps = np.concatenate([shown, shown, examples])
        classes = np.concatenate([judged.true[shown], judged.given[shown], judged.given[examples]])
        maps, without, rolled = _maps(judged, classifier, path, stamps, classes)
        return cls(judged, classifier, mistakes, examples, maps, without, rolled)

    def figure(self, i: int, classes: Sequence[tuple[int, str]] = ()) -> tuple[list[list[Panel]], str]:
        """A stamp as of `fullfield.pages.cards`, and under it the maps of these classes, each with what it is of."""
        prepare, (inputs, stamps) = self.classifier.card.preparation, _inputs(self.judged, self.classifier, [i])
        rows = stamp_rows(inputs[0], prepare, stamps[0])
        maps = [_of_class(rows[0], self.maps[i, k], text) for k, text in classes if (i, k) in self.maps]
        # maps of one panel stand side by side
        below = [maps] if len(rows[0]) == 1 else [[one] for one in maps]
        return [[(*block(rows), "")], *(row for row in below if row)], self._caption(i)

    def _caption(self, i: int) -> str:
        judged = self.judged
        given = judged.classes[int(judged.given[i])]
        text = f"{judged.stamps.names[i]}\nis {judged.stamps.labels[i]}; {given} {judged.probabilities[i].max():.3f}"
        one = judged.stamps.stamps[i]
        return (
            f"{text}\n{_epochs(len(one), self.classifier.card.preparation.epochs)}" if isinstance(one, Series) else text
        )


def surest_mistakes(looked: Looked) -> list[str]:
    """Gallery of the mistakes, with the maps of the true class and of the class given."""
    classes, true, given = looked.judged.classes, looked.judged.true, looked.judged.given
    maps = (
        ATTENDS
        if looked.rolled
        else (
            "Under each what speaks for its own class, then what speaks for the class given (Grad-CAM, below), each "
            "by its own highest; a map without colour: nothing does."
        )
    )
    figures = [
        looked.figure(
            i,
            ((int(given[i]), "what it attends to"),)
            if looked.rolled
            else (
                (int(true[i]), f"for {classes[true[i]]}, its class"),
                (int(given[i]), f"for {classes[given[i]]}, the class given"),
            ),
        )
        for i in looked.mistakes[:MOST_SHOWN].tolist()
    ]
    return [
        "<h2>Its surest mistakes</h2>",
        _shown_of(looked, len(looked.mistakes), "mistakes, the surest first", maps if looked.maps else ""),
        cards(figures) if figures else "",
    ]


def least_sure(looked: Looked) -> list[str]:
    """Gallery of the stamps whose class given has the lowest probability."""
    order = np.argsort(looked.judged.probabilities.max(axis=1), kind="stable")
    return [
        "<h2>Where it is least sure</h2>",
        _shown_of(looked, len(order), "stamps, the least sure first"),
        cards(looked.figure(i) for i in order[:MOST_SHOWN].tolist()),
    ]


def examples(looked: Looked) -> list[str]:
    """Gallery of right answers with the map of their class."""
    what = "What it attends to" if looked.rolled else "Which parts of a stamp speak for the class given (Grad-CAM)"
    head = f"<h3>{what}</h3>"
    if looked.without:
        return [head, paragraph(looked.without)]
    given = looked.judged.given
    text = (
        f"Of each class at most {MAPS_OF_A_CLASS} right answers, from the surest to the least sure, each with its map. "
    )
    text += (
        ATTENDS
        if looked.rolled
        else "It is brightest where most speaks for the class. Without colour: nothing does, it was given for want of "
        "another. Selvaraju et al. 2017, on the last convolution. Maps of the mistakes are with them, above."
    )
    figures = [looked.figure(i, ((int(given[i]), ""),)) for i in looked.examples.tolist()]
    return [head, paragraph(text), cards(figures)] if figures else [head, paragraph("There is no right answer.")]


def _shown_of(looked: Looked, number_of: int, what: str, more: str = "") -> str:
    if not number_of:
        return paragraph("There is none.")
    rest = f" All are in {TABLE_FILE}." if number_of > MOST_SHOWN else ""
    series = any(isinstance(one, Series) for one in looked.judged.stamps.stamps[:1])
    latest = " Of each object only the latest epoch is shown; its class was told by as many as its caption says."
    return paragraph(
        f"{min(number_of, MOST_SHOWN)} of {number_of} {what}.{rest}{latest if series else ''} {more}".strip()
    )


def _epochs(there: int, most: int) -> str:
    """What is shown of a series."""
    seen = min(there, most)
    of = f"{seen} epochs that it saw, of {there}" if there > seen else f"{seen} epoch{'s' * (seen != 1)}"
    return f"shown: the latest of {of}"


def _of_class(panels: Sequence[Picture], heat: FloatArray, text: str) -> Panel:
    png, size = block([with_heat(panels, heat)])
    return png, size, text if heat.any() or not text else f"nothing {text}"


def _inputs(judged: Judged, classifier: Classifier, chosen: Sequence[int]) -> tuple[FloatArray, list[npt.NDArray[Any]]]:
    """Prepared stamps, of a series its latest, and the stamps themselves."""
    stamps: list[npt.NDArray[Any]] = []
    for i in chosen:
        one = judged.stamps.stamps[i]
        stamps.append(np.asarray(one.latest(1).stamps[0] if isinstance(one, Series) else one))
    return classifier.card.preparation(stamps), stamps


def _maps(
    judged: Judged, classifier: Classifier, path: Path, stamps: Ints, classes: Ints
) -> tuple[dict[tuple[int, int], FloatArray], str, bool]:
    """Maps by stamp and class, or why there is none, and whether they are a transformer's attention, not Grad-CAM."""
    asked = list(zip(stamps.tolist(), classes.tolist(), strict=True))
    inputs, _ = _inputs(judged, classifier, stamps.tolist())
    if classifier.card.network.startswith(TIMM) and (rolled := rollout(path, inputs)) is not None:
        return dict(zip(asked, rolled, strict=True)), "", True
    try:
        from classifiers.attention import attention, check_same, networks_of  # noqa: PLC0415 -- needs the train extra
    except ImportError:
        return {}, NO_TRAIN, False
    try:
        networks = networks_of(path, classifier.card)
        check_same(networks, classifier, inputs)
        heat = attention(networks, classifier.card, inputs, classes)
    except InputError as error:  # the figures stand without the maps
        return {}, f"Not drawn: {error}.", False
    return dict(zip(asked, heat, strict=True)), "", False


def _spread_out(judged: Judged, order: Ints) -> Ints:
    """Right answers of each class, from the surest to the least sure."""
    chosen: list[int] = []
    for k in range(len(judged.classes)):
        right = order[(judged.right & (judged.given == k))[order]]
        steps = np.unique(np.linspace(0, len(right) - 1, min(MAPS_OF_A_CLASS, len(right))).round().astype(np.int64))
        chosen += right[steps].tolist()
    return np.array(chosen, np.int64)
