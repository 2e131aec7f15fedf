"""
Training of the detector: ultralytics on a training set, its own settings for galaxies, and the ONNX export.

Needs the train extra: ``pip install "fullfield[train]"``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from detector.cards import Card, sha256
from detector.network import load_network
from fieldprep.errors import InputError, one_line

# ultralytics reaches for the network and for pip when it sees fit, unless told before it is imported
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_VERBOSE", "false")

import torch
import yaml
from torch.utils.data import Dataset
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

if TYPE_CHECKING:
    from collections.abc import Sequence

PARITY = 1e-3  # in confidence, and in thousands of pixels of an edge

VARIANT_WEIGHTS = {"N": 5.0}  # the picture the detector is run on is drawn as often as the five others together
LARGE_SHARE = 40 / 640  # of a tile's side: galaxies larger than this are one in fifty, and the network's weak side
LARGE_WEIGHT = 3.0  # tiles that hold one are drawn so much more often
PASSES_PER_EPOCH = 400
BATCH = 4

SETTINGS: dict[str, Any] = {
    "batch": BATCH,
    "nbs": BATCH,  # one optimiser step a batch: passes are what is short here, not memory
    "imgsz": 640,
    "optimizer": "AdamW",
    "lr0": 0.002,
    "lrf": 0.02,
    "cos_lr": True,
    "weight_decay": 0.01,
    "warmup_epochs": 1.0,
    "warmup_bias_lr": 0.002,
    # a galaxy is told from a star by its size against the seeing, so tiles are neither zoomed nor mixed
    "mosaic": 0.0,
    "close_mosaic": 0,
    "scale": 0.08,
    "translate": 0.1,
    "fliplr": 0.0,  # flips and quarter turns are drawn by DrawnTiles
    "flipud": 0.0,
    "hsv_h": 0.0,
    "hsv_s": 0.4,
    "hsv_v": 0.3,
    "erasing": 0.0,
    "cache": "ram",
    "amp": False,
    "plots": False,
    "patience": 10_000,
    "max_det": 3000,
    "workers": 0,
}


class DrawnTiles(Dataset[dict[str, Any]]):
    """
    Tiles drawn at random, by variant and by what they hold, in one of the eight flips and quarter turns.

    Parameters
    ----------
    tiles : ultralytics dataset
        The tiles of a training set; file names end in ``-VARIANT-X-Y``.
    passes : int
        Tiles drawn in an epoch.
    seed : int
        Seed of the draw.
    """

    rect = False

    def __init__(self, tiles: Any, *, passes: int, seed: int) -> None:
        self.tiles = tiles
        self.labels = tiles.labels
        self.collate_fn = tiles.collate_fn
        self.passes = passes
        self.random = np.random.default_rng(seed)
        variants = [Path(name).stem.rsplit("-", 3)[1] for name in tiles.im_files]
        weights = np.array([VARIANT_WEIGHTS.get(variant, 1.0) for variant in variants])
        large = [bool((label["bboxes"][:, 2:] > LARGE_SHARE).any()) for label in tiles.labels]
        weights *= np.where(large, LARGE_WEIGHT, 1.0)
        self.chances = weights / weights.sum()

    def __len__(self) -> int:
        return self.passes

    def __getitem__(self, _: int) -> dict[str, Any]:
        sample = self.tiles[int(self.random.choice(len(self.chances), p=self.chances))]
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


class FieldTrainer(DetectionTrainer):
    """ultralytics' trainer, its training tiles drawn by `DrawnTiles`."""

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Build the dataset of one half."""
        tiles = super().build_dataset(img_path, mode, batch)
        if mode != "train":
            return tiles
        return DrawnTiles(tiles, passes=PASSES_PER_EPOCH, seed=self.args.seed + self.start_epoch)


def train(
    data: Path, out: Path, *, network: str = "yolo11n", passes: int = 10_000, seed: int = 0, resume: bool = False
) -> Path:
    """
    Train a detector from scratch, train one further, or go on with a training that was stopped.

    Parameters
    ----------
    data : path
        A training set, as `fieldprep.training.trainingsets.write_training_set` makes it.
    out : path
        Folder for checkpoints and the log; ``weights/last.pt`` is rewritten every 400 tile passes.
    network : str
        ultralytics' name of the architecture, or a checkpoint (``.pt``) to train further on a schedule of its
        own, which starts at a third of the learning rate.
    passes : int
        Tile passes in all, rounded up to whole epochs of 400.
    seed : int
        Seed of the weights and of the draw.
    resume : bool
        Go on from ``out/weights/last.pt``.

    Returns
    -------
    path
        The last checkpoint: the averaged weights at the end of the schedule. No checkpoint is picked by its
        score on the validation half, so that half stays fit to score on.
    """
    out = out.resolve()
    last = out / "weights" / "last.pt"
    if resume:
        try:
            YOLO(last).train(trainer=FieldTrainer, resume=True)
        except AssertionError as error:  # ultralytics' word for a training that has run its course
            raise InputError(f"{last}: nothing to resume ({one_line(error)})") from error
        return last
    further = network.endswith(".pt")
    YOLO(network if further else f"{network}.yaml").train(
        trainer=FieldTrainer,
        data=str(data.resolve() / "data.yaml"),
        epochs=-(-passes // PASSES_PER_EPOCH),
        project=str(out.parent),
        name=out.name,
        exist_ok=True,
        seed=seed,
        **SETTINGS | ({"lr0": SETTINGS["lr0"] / 3} if further else {}),
    )
    return last


def export(checkpoint: Path, out: Path) -> Path:
    """
    Write a checkpoint as ONNX, its height and width open.

    Parameters
    ----------
    checkpoint : path
        ultralytics' ``.pt``.
    out : path
        The ``.onnx`` to write.

    Returns
    -------
    path
        ``out``.
    """
    model = YOLO(checkpoint)
    model.model.model[-1].end2end = False  # the dense head: the other one caps the number of detections
    written = Path(model.export(format="onnx", imgsz=640, dynamic=True, simplify=True, device="cpu"))
    out.parent.mkdir(parents=True, exist_ok=True)
    written.replace(out)
    return out


def train_and_export(
    data: Path, out: Path, *, network: str = "yolo11n", passes: int = 10_000, seed: int = 0, resume: bool = False
) -> Path:
    """
    Train, export and check the export; see `train`.

    Parameters
    ----------
    data, out : path
        Training set, folder to write.
    network : str
        ultralytics' name of the architecture.
    passes, seed : int
        Tile passes, seed.
    resume : bool
        Go on from the last checkpoint in ``out``.

    Returns
    -------
    path
        ``out/NETWORK.onnx`` (for a checkpoint, its stem), with its card beside it: no scores in it yet, and a
        threshold of 0.25.

    Raises
    ------
    fieldprep.errors.InputError
        If the training set is not one, there is nothing to resume, or the export strays from the network.
    """
    if not (data / "data.yaml").is_file():
        raise InputError(f"{data}: no training set (no data.yaml in it); fullfield prepare makes one")
    if resume and not (out / "weights" / "last.pt").is_file():
        raise InputError(f"{out}: no weights/last.pt to resume from")
    checkpoint = train(data, out, network=network, passes=passes, seed=seed, resume=resume)
    name = Path(network).stem
    weights = export(checkpoint, out / f"{name}.onnx")
    tiles = sorted((data / "images" / "val").glob("*.png"))[:4]
    parity = check_parity(checkpoint, weights, tiles)
    if parity > PARITY:
        raise InputError(
            f"{weights}: strays from the trained network by {parity:.2g} px or confidence on {len(tiles)} tiles"
        )
    Card(
        name=name,
        task="detect",
        network=name,
        classes=tuple(yaml.safe_load((data / "data.yaml").read_text())["names"].values()),
        variant="N",
        stride=32,
        confidence=0.25,
        sha256=sha256(weights),
        training={"data": str(data), "passes": passes, "seed": seed, "onnx_parity": parity},
    ).write(weights.with_suffix(".json"))
    return weights


def check_parity(checkpoint: Path, weights: Path, tiles: Sequence[Path]) -> float:
    """
    How far the exported network strays from the trained one on real tiles.

    Parameters
    ----------
    checkpoint : path
        ultralytics' ``.pt``.
    weights : path
        Its export.
    tiles : sequence of path
        Pictures.

    Returns
    -------
    float
        Largest difference of a score, or of an edge in units of 1000 px, among the anchors that score over
        0.01 and the hundred best of each tile.
    """
    model = YOLO(checkpoint).model.float().eval()
    model.model[-1].end2end = False
    model.fuse(verbose=False)
    exported = load_network(weights)
    worst = 0.0
    for tile in tiles:
        image = cv2.cvtColor(np.asarray(cv2.imread(str(tile))), cv2.COLOR_BGR2RGB)
        batch = np.moveaxis(image, -1, 0)[None].astype(np.float32) / np.float32(255)
        with torch.no_grad():
            found = model(torch.from_numpy(batch))
        ours, theirs = exported(batch), (found[0] if isinstance(found, tuple | list) else found).numpy()
        scores = theirs[0, 4]
        seen = scores >= min(0.01, np.sort(scores)[-100:][0])
        difference = np.abs(ours - theirs)[0][:, seen]
        worst = max(worst, float(difference[4:].max(initial=0)), float(difference[:4].max(initial=0) / 1000))
    return worst
