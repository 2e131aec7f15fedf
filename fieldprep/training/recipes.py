"""
Recipes of training sets, as data: AstroCV's T1 to T6, and ours; and what of a field each of them labels.

| recipe | fields | pictures | boxes | classes |
|---|---|---|---|---|
| T1 | S1 | L | AstroCV's squares, over 22 px | five, by Galaxy Zoo votes |
| T2 | S1 | LH | " | " |
| T3 | S2 | L | " | " |
| T4 | S2 | L LH S SH Q | " | " |
| T5 | S2 | LH SH | " | " |
| T6 | S1 | L LH S SH Q | " | " |
| galaxies | all | N L LH S SH Q | Petrosian ellipse, r < 21.5 | galaxy |
| galaxies-stars | all | " | " | galaxy, star |

The paper does not say which fields S1 (7,397 before the split) and S2 (12,171) hold, only that each has a galaxy
whose box is over 22 px. Here S2 is the fields given, and S1 the part of them that 7,397 is of 12,171.

AstroCV labelled galaxies of ``zooSpec`` alone: all have votes, and nearly all are brighter than r = 17.77, the limit of
SDSS's main galaxy sample. Here a galaxy without votes is labelled too, as Unknown; ``--faintest 17.77`` is what comes
nearest to theirs where a catalogue has none.

References
----------
Gonzalez, Munoz & Hernandez 2018, Astronomy and Computing 25, 103, section 3 and table 2 (T1 to T6); votes and sizes
as in ``galaxy_detection/training/04_preparetrain.py`` of its code, which stops at 20 px, and for ellipticals only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from fieldprep.boxes import SEMI_MAJOR, astrocv_boxes, clip_boxes
from fieldprep.catalogues.columns import VOTES
from fieldprep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from fieldprep.catalogues import Sources

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ASTROCV_CLASSES = ("Elliptical", "Spiral", "Edge-on", "Unknown", "Merge")
ELLIPTICAL, SPIRAL, EDGE_ON, UNKNOWN, MERGE = range(5)
EXTENDED_FACTOR, MERGE_FACTOR = 1.1, 1.2

S1_SHARE = 7397 / 12171


@dataclass(frozen=True)
class Recipe:
    """
    How fields and their catalogues become a training set.

    Parameters
    ----------
    name : str
        What to ask for it by.
    classes : tuple of str
        Names, by class index.
    variants : tuple of str
        Pictures made of each training field.
    box : {'petrosian', 'astrocv'}
        Our boxes, as the catalogue's `Sources` carry them, or AstroCV's squares.
    all_validated : bool
        Whether validation fields are shown in all variants too, as AstroCV's were; else in the first only.
    stars : bool
        Whether stars are a class: ``classes[1]``.
    faintest : float, optional
        Objects fainter than this r magnitude are not labelled; those without a magnitude are.
    least_side : float
        Only boxes with a side longer than this many pixels are labelled.
    needs_galaxy : bool
        Leave out fields in which nothing is labelled.
    part : {'S1', 'S2'}
        S2: all fields. S1: the part of them that 7,397 is of 12,171.
    tile, overlap : int
        Side of a tile and least overlap of neighbours, in pixels; no tiles but whole fields where ``tile`` is 0.
    """

    name: str
    classes: tuple[str, ...] = ("galaxy",)
    variants: tuple[str, ...] = ("N", "L", "LH", "S", "SH", "Q")
    box: Literal["petrosian", "astrocv"] = "petrosian"
    all_validated: bool = False
    stars: bool = False
    faintest: float | None = 21.5
    least_side: float = 0.0
    needs_galaxy: bool = False
    part: Literal["S1", "S2"] = "S2"
    tile: int = 640
    overlap: int = 160

    @property
    def validation_variants(self) -> tuple[str, ...]:
        """Pictures made of each validation field."""
        return self.variants if self.all_validated else self.variants[:1]


def _astrocv(name: str, part: Literal["S1", "S2"], *variants: str) -> Recipe:
    return Recipe(
        name,
        classes=ASTROCV_CLASSES,
        variants=variants,
        box="astrocv",
        all_validated=True,
        faintest=None,
        least_side=22.0,
        needs_galaxy=True,
        part=part,
        tile=0,
        overlap=0,
    )


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _astrocv("T1", "S1", "L"),
        _astrocv("T2", "S1", "LH"),
        _astrocv("T3", "S2", "L"),
        _astrocv("T4", "S2", "L", "LH", "S", "SH", "Q"),
        _astrocv("T5", "S2", "LH", "SH"),
        # table 2 prints S2 here, but 32,290 pictures are 5 x 6,458, the fields of S1 left for training
        _astrocv("T6", "S1", "L", "LH", "S", "SH", "Q"),
        Recipe("galaxies"),
        Recipe("galaxies-stars", classes=("galaxy", "star"), stars=True),
    )
}


@dataclass(frozen=True, eq=False)
class Labels:
    """
    What of a field's sources a recipe labels.

    Parameters
    ----------
    sources : Sources, N of them
        Those labelled or ignored, their boxes as the recipe draws them.
    class_id : 1D int64 `~numpy.ndarray`, shape (N,)
        Index of each one's class.
    counts : dict of str to int
        What became of the catalogue's rows on the field: ``objects`` (all), ``labelled``, ``ignored``,
        ``stars``, ``fainter``, ``smaller`` (the last three not labelled), ``without_votes`` (labelled Unknown
        for want of votes; AstroCV's classes only).
    """

    sources: Sources
    class_id: Ints
    counts: dict[str, int]


def recipe_named(name: str) -> Recipe:
    """Recipe by its name; UsageError if there is none."""
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}: it is one of {', '.join(RECIPES)}")
    return RECIPES[name]


def label(sources: Sources, recipe: Recipe, shape: tuple[int, int]) -> Labels:
    """
    Choose what of a field's sources is labelled, and draw the boxes.

    Parameters
    ----------
    sources : Sources
        Everything known to be on the field.
    recipe : Recipe
        Classes, boxes and limits.
    shape : (ny, nx)
        Shape of the field, to cut the boxes at.

    Returns
    -------
    Labels
        Ignored objects of a labelled class are among them, whatever their size and magnitude. An object whose
        centre falls into the box of an ignored one is ignored with it.
    """
    class_id = np.where(sources.galaxy, 0, 1)
    xyxy, sides = sources.xyxy, (sources.xyxy[:, 2:] - sources.xyxy[:, :2]).max(axis=1, initial=0)
    voted = np.ones(len(sources), np.bool_)
    if recipe.box == "astrocv":
        class_id, factor, voted = astrocv_classes(sources.rows)
        sides = 2 * SEMI_MAJOR * sources.radius * factor
        xyxy = clip_boxes(astrocv_boxes(sources.x, sources.y, sources.radius * factor), shape)
    of_class = sources.galaxy | recipe.stars
    with np.errstate(invalid="ignore"):
        fainter = of_class & ~sources.ignore & (sources.magnitude > (recipe.faintest or np.inf))
    smaller = of_class & ~sources.ignore & ~fainter & ~(sides > recipe.least_side)
    kept = of_class & ~fainter & ~smaller
    ignore = kept & (sources.ignore | _under(sources, xyxy[kept & sources.ignore]))
    labelled = kept & ~ignore
    counts = {
        "objects": len(sources),
        "labelled": int(labelled.sum()),
        "ignored": int(ignore.sum()),
        "stars": int((~of_class).sum()),
        "fainter": int(fainter.sum()),
        "smaller": int(smaller.sum()),
        "without_votes": int((labelled & ~voted).sum()),
    }
    return Labels(replace(sources, xyxy=xyxy, ignore=ignore).select(kept), class_id[kept].astype(np.int64), counts)


def astrocv_classes(rows: pd.DataFrame) -> tuple[Ints, Floats, Bools]:
    """
    AstroCV's classes and size factors, from Galaxy Zoo 1 votes.

    The largest of the elliptical, spiral (clockwise and anticlockwise together), edge-on, unknown and merger
    shares is the class, the first of them on a tie; where the combined spiral share exceeds the elliptical
    one, the elliptical one does not take part and the box is 1.1 times larger. A merger's box is 1.2 times
    larger (besides).

    Parameters
    ----------
    rows : `~pandas.DataFrame`, N rows
        Vote shares ``p_el``, ``p_cw``, ``p_acw``, ``p_edge``, ``p_dk``, ``p_mg``, ``p_cs``; a missing column
        is one without votes.

    Returns
    -------
    class_id : 1D int64 `~numpy.ndarray`, shape (N,)
        Index into `ASTROCV_CLASSES`; Unknown where there are no votes.
    factor : 1D float64 `~numpy.ndarray`, shape (N,)
        Of the box's side; 1 where there are no votes.
    voted : 1D bool `~numpy.ndarray`, shape (N,)
        Whether there are.

    References
    ----------
    Gonzalez et al. 2018, section 3.1; ``04_preparetrain.py`` of its code. Votes: Lintott et al. 2011, MNRAS 410, 166.
    """
    votes = {name: _votes(rows, name) for name in VOTES}
    shares = np.stack(
        [votes["p_el"], votes["p_cw"] + votes["p_acw"], votes["p_edge"], votes["p_dk"], votes["p_mg"]], axis=1
    )
    voted = np.isfinite(shares).all(axis=1) & np.isfinite(votes["p_cs"])
    with np.errstate(invalid="ignore"):
        extended = votes["p_cs"] > votes["p_el"]
    shares[extended, ELLIPTICAL] = -1
    class_id = np.where(voted, np.argmax(np.where(voted[:, None], shares, 0), axis=1), UNKNOWN)
    factor = np.where(voted & extended, EXTENDED_FACTOR, 1.0) * np.where(class_id == MERGE, MERGE_FACTOR, 1.0)
    return class_id.astype(np.int64), factor, voted


def _under(sources: Sources, dark: Floats) -> Bools:
    """Which sources have their centre in one of the boxes."""
    x, y = sources.x[:, None], sources.y[:, None]
    inside = (x > dark[:, 0]) & (x < dark[:, 2]) & (y > dark[:, 1]) & (y < dark[:, 3])
    return np.asarray(inside.any(axis=1), np.bool_)


def _votes(rows: pd.DataFrame, name: str) -> Floats:
    if name not in rows.columns:
        return np.full(len(rows), np.nan)
    return rows[name].to_numpy(np.float64)
