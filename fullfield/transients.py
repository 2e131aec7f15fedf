"""What has changed between a field and its template: candidates, what a classifier says of them, whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.table import Column, Table

from fieldprep.differencing import candidates, subtract, triplets
from fieldprep.errors import InputError
from fieldprep.tiles import Window, tiles, whole
from fullfield.classification import DIFFERENCE, add_class_columns, loaded_classifier, probabilities_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from classifiers.cards import Card
    from fieldprep.field import Field
    from fieldprep.mosaic import Sky
    from fullfield.catalogue import Columns

Stamps = npt.NDArray[np.float32]

BOGUS = "bogus"
WHOLE_PX = 6000  # a field with a longer side is subtracted in parts, each with its own seeing
PART_PX, OVERLAP_PX = 4096, 256
MARGIN_PX = 64  # of the template about the field, for a WCS that is astray
CANDIDATES: Columns = (
    ("field", None, "name of the field"),
    ("id", None, "number in the field, 1 to N by falling signal to noise"),
    ("ra", u.deg, "right ascension (ICRS) of the change"),
    ("dec", u.deg, "declination (ICRS) of the change"),
    ("x", u.pix, "column of the change, 0-based, pixel centres at integers"),
    ("y", u.pix, "row of the change, 0-based, in the row order of the file"),
    ("band", None, "band that was subtracted"),
    ("flux", None, "change of flux, in the field's unit; negative where it is fainter than in the template"),
    ("signal_to_noise", None, "of the change, as a star's shape weighs it"),
    ("unusable", None, "whether it lies in light that has unusable pixels in it, as a saturated star's"),
    ("detection", None, "id of the surest detection whose box holds it, in all_detections; 0 = none"),
)  # fmt: skip
IN_CATALOGUE: Columns = (
    ("candidate", None, "id of the strongest candidate of a change in it, a usable one first; 0 = none"),
)


@dataclass(frozen=True, eq=False)
class Changes:
    """
    What has changed in a field.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Candidates, with the columns of `CANDIDATES` and a classifier's.
    stamps : 4D float32 `~numpy.ndarray`, shape (N, 63, 63, 3)
        Science, template and difference of each; the difference's sign is turned where the change is negative.
    notes : list of str
        Parts of the field in which nothing was subtracted, and why.
    """

    table: Table
    stamps: Stamps
    notes: list[str]


def find_changes(
    sky: Sky, template: Sky, detections: Table, classifier: str | None, bands: Sequence[str] | None = None
) -> Changes:
    """
    Subtract a template from a field and tell what is left over.

    Parameters
    ----------
    sky, template : Field or Mosaic
        The field and its template, each with a WCS.
    detections : `~astropy.table.Table`
        All detections of the field, by falling confidence.
    classifier : str, optional
        Name or path of what tells real changes from bogus ones.
    bands : sequence of three str, optional
        Bands for R, G, B: that for G is subtracted, by default the middle one of those that both have.

    Returns
    -------
    Changes

    Raises
    ------
    fieldprep.errors.InputError
        If a band or a WCS is missing, the two do not overlap, or too few stars are in both.
    """
    band = bands[1] if bands is not None else _shared_band(sky, template)
    loaded = None if classifier is None else loaded_classifier(classifier)
    found, stamps, notes = _candidates(sky, template, band, 0.0 if loaded is None else loaded.card.stars)
    table = _table(sky, band, found, detections)
    if loaded is not None:
        # what has gone since the template has come, seen from the other night: trained on are few of the former
        gone = (np.asarray(table["flux"]) < 0)[:, None, None, None]
        asked = np.where(gone, stamps[..., [1, 0, 2]], stamps)
        add_class_columns(table, loaded.card, probabilities_of(loaded, asked))
    return Changes(table, stamps, notes)


def add_changes(detections: Table, changes: Changes, card: Card | None) -> None:
    """
    Add to a field's detections which candidate is in each, and what the classifier says of that.

    Parameters
    ----------
    detections : `~astropy.table.Table`
        All detections of the field; changed in place.
    changes : Changes
        What has changed.
    card : Card, optional
        The classifier's.
    """
    table = changes.table
    # the strongest last, so that it is the one that stays
    order = np.lexsort([np.asarray(table["signal_to_noise"]), ~np.asarray(table["unusable"])])
    rows = np.full(len(detections) + 1, -1)
    rows[np.asarray(table["detection"])[order]] = order
    rows = rows[1:]
    (name, unit, text), *_ = IN_CATALOGUE
    numbers = np.append(np.asarray(table["id"]), 0)[rows]
    detections.add_column(Column(numbers, name=name, unit=unit, description=text))
    if card is not None:
        told = np.stack([np.asarray(table[f"{card.task}_p_{one}"], np.float64) for one in card.classes], axis=1)
        add_class_columns(detections, card, np.append(told, np.full((1, len(card.classes)), np.nan), axis=0)[rows])


def likely_real(changes: Changes) -> Table:
    """Candidates in usable light that the classifier does not call bogus; all usable ones where none was asked."""
    table = changes.table
    name = f"{DIFFERENCE}_class"
    real = np.asarray(table[name]) != BOGUS if name in table.colnames else np.ones(len(table), np.bool_)
    return table[real & ~np.asarray(table["unusable"])]


def _shared_band(sky: Sky, template: Sky) -> str:
    shared = [band for band in sky.bands if band in template.bands]
    if not shared:
        ours, theirs = (", ".join(one.bands) for one in (sky, template))
        raise InputError(f"{template.name}: a template in {theirs}, which {sky.name}, in {ours}, has not")
    return shared[len(shared) // 2]


def _candidates(sky: Sky, template: Sky, band: str, stars: float) -> tuple[pd.DataFrame, Stamps, list[str]]:
    """Candidates by falling signal to noise, their stamps, and what could not be subtracted."""
    frames, stamps, refused = [], [], []
    size = PART_PX if max(sky.shape) > WHOLE_PX else WHOLE_PX
    for tile in tiles(sky.shape, size, OVERLAP_PX):
        part = sky.window(tile.window)
        try:
            difference = subtract(part, _about(template, part), band)
        except InputError as error:
            refused.append((tile.core, error))
            continue
        found = candidates(difference)
        planes = triplets(difference, found["x"].to_numpy(), found["y"].to_numpy(), stars=stars)
        planes[..., 2] *= np.where(found["positive"], 1, -1)[:, None, None]
        found = found.assign(x=found["x"] + tile.window.x0, y=found["y"] + tile.window.y0)
        column, row = (np.rint(found[axis]) for axis in "xy")
        core = tile.core
        own = ((column >= core.x0) & (column < core.x1) & (row >= core.y0) & (row < core.y1)).to_numpy()
        frames.append(found[own])
        stamps.append(planes[own])
    if not frames:
        raise refused[0][1]
    notes = [
        f"{sky.name}: nothing subtracted at x {core.x0} to {core.x1 - 1}, y {core.y0} to {core.y1 - 1}: {error}"
        for core, error in refused
    ]
    joined = pd.concat(frames, ignore_index=True)
    order = np.argsort(-joined["signal_to_noise"].to_numpy(), kind="stable")
    return joined.iloc[order].reset_index(drop=True), np.concatenate(stamps)[order], notes


def _about(template: Sky, part: Field) -> Field:
    """The template where a field is, which may be a small part of it."""
    if template.wcs is None or part.wcs is None:  # the subtraction says so
        return template.window(whole(template.shape))
    ny, nx = part.shape
    along, up = np.linspace(0, nx - 1, 9), np.linspace(0, ny - 1, 9)
    x, y = (axis.ravel() for axis in np.meshgrid(along, up))
    there = np.array(template.wcs.world_to_pixel(part.wcs.pixel_to_world(x, y)))
    there = there[:, np.isfinite(there).all(axis=0)]
    limits = np.array(template.shape[::-1])
    if not there.size or (there.max(axis=1) < 0).any() or (there.min(axis=1) > limits - 1).any():
        raise InputError(f"{template.name}: shows no sky that {part.name} does")
    low = np.clip(np.floor(there.min(axis=1)) - MARGIN_PX, 0, limits - 1).astype(int)
    high = np.clip(np.ceil(there.max(axis=1)) + MARGIN_PX + 1, low + 1, limits).astype(int)
    return template.window(Window(low[0], low[1], high[0], high[1]))


def _table(sky: Sky, band: str, found: pd.DataFrame, detections: Table) -> Table:
    n = len(found)
    x, y = (found[axis].to_numpy(np.float64) for axis in "xy")
    place = None if sky.wcs is None or not n else sky.wcs.pixel_to_world(x, y).icrs
    values: Mapping[str, Any] = {
        "field": np.full(n, sky.name, dtype=f"U{max(len(sky.name), 1)}"),
        "id": np.arange(1, n + 1, dtype=np.int64),
        "ra": np.zeros(n) if place is None else place.ra.deg,
        "dec": np.zeros(n) if place is None else place.dec.deg,
        "x": x,
        "y": y,
        "band": np.full(n, band, dtype=f"U{max(len(band), 1)}"),
        "flux": found["flux"].to_numpy(np.float64),
        "signal_to_noise": found["signal_to_noise"].to_numpy(np.float64),
        "unusable": found["unusable"].to_numpy(np.bool_),
        "detection": _holder(x, y, detections),
    }
    columns = [Column(values[name], name=name, unit=unit, description=text) for name, unit, text in CANDIDATES]
    return Table(columns, meta={"wcs": detections.meta.get("wcs"), "shape": list(sky.shape)})


def _holder(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], detections: Table) -> npt.NDArray[np.int64]:
    """Id of the surest detection whose box holds a place; 0 where none does."""
    left, low, right, high = (np.asarray(detections[name], np.float64) for name in ("x_min", "y_min", "x_max", "y_max"))
    numbers = np.append(np.asarray(detections["id"], np.int64), 0)
    found = np.zeros(len(x), np.int64)
    for i, (column, row) in enumerate(zip(x, y, strict=True)):
        held = np.flatnonzero((left <= column) & (column <= right) & (low <= row) & (row <= high))
        found[i] = numbers[held[0]] if len(held) else 0  # they stand by falling confidence
    return found
