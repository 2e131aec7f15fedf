"""
Which tiles a training sees: drawn at random by training set, picture and content, turned and flipped.

Needs the train extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

LARGE_SHARE = 40 / 640  # of a tile's side: galaxies larger than this are one in fifty, and the network's weak side


class DrawnTiles(Dataset[dict[str, Any]]):
    """
    Tiles drawn at random, in one of the eight flips and quarter turns.

    Parameters
    ----------
    tiles : ultralytics dataset
        The tiles of one or more training sets; file names end in ``-VARIANT-X-Y``.
    passes : int
        Tiles drawn in an epoch.
    seed : int
        Seed of the draw.
    variant_weights : mapping of str to float
        How often a picture is drawn, against 1 of those that are not named.
    large_weight : float
        How much more often a tile is drawn that holds a galaxy over a sixteenth of its side.
    shares : sequence of float
        Share of the draws for each set of ``folders``; one for all if there are none.
    folders : sequence of path
        Folders of pictures of the sets, in the order of ``shares``.
    one_band : float
        Share of the draws in which one of the three channels stands in all, as in the picture of a field of one band.
    """

    rect = False

    def __init__(
        self,
        tiles: Any,
        *,
        passes: int,
        seed: int,
        variant_weights: Mapping[str, float],
        large_weight: float,
        shares: Sequence[float] = (),
        folders: Sequence[str | Path] = (),
        one_band: float = 0.0,
    ) -> None:
        self.tiles = tiles
        self.labels = tiles.labels
        self.collate_fn = tiles.collate_fn
        self.passes = passes
        self.one_band = one_band
        self.random = np.random.default_rng(seed)
        variants = [Path(name).stem.rsplit("-", 3)[1] for name in tiles.im_files]
        weights = np.array([variant_weights.get(variant, 1.0) for variant in variants], np.float64)
        large = [bool((label["bboxes"][:, 2:] > LARGE_SHARE).any()) for label in tiles.labels]
        weights *= np.where(large, large_weight, 1.0)
        if len(folders) > 1:
            weights = _shared(weights, tiles.im_files, folders, shares)
        self.chances = weights / weights.sum()

    def __len__(self) -> int:
        return self.passes

    def __getitem__(self, _: int) -> dict[str, Any]:
        sample = self.tiles[int(self.random.choice(len(self.chances), p=self.chances))]
        if self.random.random() < self.one_band:
            sample = {**sample, "img": sample["img"][[int(self.random.integers(3))] * 3]}
        return turned(sample, quarter_turns=int(self.random.integers(4)), flip=bool(self.random.integers(2)))


def turned(sample: dict[str, Any], *, quarter_turns: int, flip: bool) -> dict[str, Any]:
    """
    Tile and its boxes turned and flipped.

    Parameters
    ----------
    sample : dict
        ``img``, tensor (C, H, W), and ``bboxes``, tensor (N, 4) of centre x, centre y, width, height as
        fractions.
    quarter_turns : int
        Turns by 90 degrees, from +x towards -y.
    flip : bool
        Whether x is mirrored, before the turns.

    Returns
    -------
    dict
        The same keys, the two changed.
    """
    image, boxes = sample["img"], sample["bboxes"].clone()
    if flip:
        image = torch.flip(image, dims=[2])
        boxes[:, 0] = 1 - boxes[:, 0]
    for _ in range(quarter_turns):
        image = torch.rot90(image, 1, dims=[1, 2])
        boxes = torch.stack([boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3], boxes[:, 2]], dim=1)
    return {**sample, "img": image.contiguous(), "bboxes": boxes}


def _shared(
    weights: npt.NDArray[np.float64], files: Sequence[str], folders: Sequence[str | Path], shares: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Weights scaled so that the tiles of each folder together weigh its share."""
    parents = np.array([str(Path(name).parent) for name in files])
    shared = np.zeros_like(weights)
    for folder, share in zip(folders, shares, strict=True):
        here = parents == str(Path(folder))
        shared[here] = share * weights[here] / weights[here].sum()
    return shared
