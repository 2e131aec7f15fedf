"""
How a field too large for one pass is looked at: by overlapping tiles, and coarser for what is too large for a tile.

A tile speaks for what is centred in its core; the cores cover the field once, and around its core a tile sees half
the overlap, more than half of the largest object that is looked for at that level. Two tiles may place one object on
either side of their seam, so each also speaks, as a guest, for what is centred out of its core by up to a quarter of
its box; a guest goes where the owner found something there. Objects larger than 128 px, among them all that a tile's
edge cuts, are left to the next level, the field averaged down by four, which sees four times as far. For those from 48
to 128 px both levels speak, and the more confident is heard: a network that was mostly shown small galaxies knows a
large one better where it is small. The last level is no larger than a tile of its training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from detector.merging import SAME_OBJECT_IOU, most_confident, overlapping_pairs
from fieldprep.boxes import CORNER
from fieldprep.tiles import Tile, tiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fieldprep.tiles import Window
    from fieldprep.views import View

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

WHOLE_PIXELS = 4_500_000  # fields up to this size (an SDSS frame has 3 million) go through in one pass
TILE = 2048
OVERLAP = 512
STEP = 4  # from one level to the next
LARGEST_PX = 128  # longer side of a box that is left to no coarser level; docs/detector.md
LAST_PX = 640  # longer side of the last level, as the tiles that the networks are trained on
GUEST_REACH = 0.25  # of a box's sides: farther out of a tile's core its centre is not another tile's, placed otherwise
SMALLEST_PX = 12  # longer side of the smallest box, in its own pixels, that a coarser level speaks for
GUEST_SIZE = 0.75  # of that: so far two levels may differ on the size of one object
CUT_SHARE = 0.02  # of a box's sides, and a pixel: nearer to a window's edge it is taken to be cut off there
GUEST_IOU = 0.2  # what a guest may share with what another tile or level owns


@dataclass(frozen=True)
class Level:
    """
    One look at a field.

    Parameters
    ----------
    view : View
        The field, averaged down.
    scale : int
        By how much.
    tile : int
        Side of its tiles in its own pixels.
    whole : bool
        Whether it is looked at in one piece.
    last : bool
        Whether there is no coarser one, so that nothing is too large for it.
    """

    view: View
    scale: int
    tile: int
    whole: bool
    last: bool

    @property
    def overlap(self) -> int:
        """Overlap of its tiles."""
        return min(OVERLAP, self.tile // 2)

    @property
    def largest(self) -> int:
        """Longer side of a box that is left to no coarser level, in its own pixels."""
        return min(LARGEST_PX, self.overlap)

    def tiles(self) -> list[Tile]:
        """Tiles of the level, row by row; one where it is looked at in one piece."""
        shape = self.view.shape
        return tiles(shape, max(shape), 0) if self.whole else tiles(shape, self.tile, self.overlap)


@dataclass(frozen=True, eq=False)
class Found:
    """
    Boxes found in some tiles.

    Parameters
    ----------
    xyxy, scores, class_id
        As of `detector.detections.Detections`, in the field's own pixels.
    masked : 1D bool `~numpy.ndarray`, shape (N,)
        Whether too much of a box is unusable.
    guest : 1D bool `~numpy.ndarray`, shape (N,)
        Whether another tile or level has the first say.
    tile : 1D int64 `~numpy.ndarray`, shape (N,)
        Which tile a box was found in.
    """

    xyxy: Floats
    scores: Floats
    class_id: Integers
    masked: Bools
    guest: Bools
    tile: Integers

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """All boxes of several, at least one."""
        columns = zip(*(part.columns for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def select(self, chosen: Bools | Integers) -> Found:
        """Boxes by a bool mask or an index array."""
        return Found(*(column[chosen] for column in self.columns))

    @property
    def columns(self) -> tuple[Any, ...]:
        """All arrays, in the order of the parameters."""
        return self.xyxy, self.scores, self.class_id, self.masked, self.guest, self.tile


def levels(view: View, tile: int | None = None) -> Iterator[Level]:
    """
    Levels of a field, from the finest to the last, which is looked at in one piece.

    Parameters
    ----------
    view : View
        The field.
    tile : int, optional
        Side of the tiles; by default what has up to 4.5 million pixels is looked at in one piece and the rest in
        tiles of 2048.

    Yields
    ------
    Level
    """
    scale = 1
    while True:
        ny, nx = view.shape
        whole = ny * nx <= WHOLE_PIXELS if tile is None else max(ny, nx) <= tile
        last = whole and max(ny, nx) <= LAST_PX
        yield Level(view, scale, tile or TILE, whole, last)
        if last:
            return
        view, scale = view.binned(STEP), STEP * scale


def spoken_for(xyxy: Floats, tile: Tile, level: Level) -> tuple[Bools, Bools]:
    """
    Which boxes a tile speaks for, by their place and by their size.

    Parameters
    ----------
    xyxy : 2D `~numpy.ndarray`, shape (N, 4)
        Boxes, in the pixels of the level.
    tile : Tile
        The tile.
    level : Level
        The level.

    Returns
    -------
    kept, guest : 1D bool `~numpy.ndarray`, shape (N,)
        Whether it speaks for a box; whether it does as a guest only.
    """
    sides = xyxy[:, 2:] - xyxy[:, :2]
    longest = sides.max(axis=1, initial=0)
    centres = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    core = tile.core
    low, high = np.array([core.x0, core.y0]) - CORNER, np.array([core.x1, core.y1]) - CORNER
    out = np.maximum(np.maximum(low - centres, centres - high), 0)
    owned = ((centres >= low) & (centres < high)).all(axis=1)
    near = (out <= GUEST_REACH * sides).all(axis=1)
    least = min(SMALLEST_PX, level.largest / STEP) if level.scale > 1 else 0.0
    fits = np.full(len(xyxy), level.last) | ((longest <= level.largest) & ~_cut_off(xyxy, tile.window, level))
    return near & fits & (longest >= GUEST_SIZE * least), ~owned | (longest < least)


def _cut_off(xyxy: Floats, window: Window, level: Level) -> Bools:
    """Whether a box ends where its window does, at an edge that is not the field's."""
    ny, nx = level.view.shape
    inner = np.array([window.x0 > 0, window.y0 > 0, window.x1 < nx, window.y1 < ny])
    edges = np.array([window.x0, window.y0, window.x1, window.y1]) - CORNER
    sides = np.tile(xyxy[:, 2:] - xyxy[:, :2], 2)
    return np.asarray((inner & (np.abs(xyxy - edges) <= 1 + CUT_SHARE * sides)).any(axis=1), np.bool_)


def settled(found: Found) -> Found:
    """
    What is found in all tiles and levels, each object once.

    Parameters
    ----------
    found : Found
        All of it, in any order.

    Returns
    -------
    Found
        Of boxes of one object the most confident; no guest that overlaps what another tile owns.
    """
    first, second, iou = overlapping_pairs(found.xyxy, found.class_id, GUEST_IOU)
    same = iou > SAME_OBJECT_IOU
    kept = most_confident(found.xyxy, found.scores, found.class_id, first[same], second[same])
    owned = ~found.guest
    with_owner = np.concatenate([first[same & owned[second]], second[same & owned[first]]])
    owned[with_owner] = True  # a guest that an owner agrees with speaks for it
    gone = np.ones(len(found.scores), np.bool_)
    gone[kept] = False
    apart = ~gone[first] & ~gone[second] & (found.tile[first] != found.tile[second])
    first, second = first[apart], second[apart]
    gone[first[~owned[first] & owned[second]]] = True
    gone[second[~owned[second] & owned[first]]] = True
    return found.select(kept[~gone[kept]])
