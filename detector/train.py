"""
Training of the detector: ultralytics on training sets, its own settings for galaxies, and the ONNX export.

Needs the train extra: ``pip install "fullfield[train]"``.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.cards import Card
from fieldprep.cards import sha256
from fieldprep.errors import InputError, UsageError, one_line

# ultralytics reaches for the network and for pip when it sees fit, unless told before it is imported
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_VERBOSE", "false")

import torch
import yaml
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.loss import v8DetectionLoss

from detector.draws import DrawnTiles
from detector.export import check_parity, export
from detector.losses import FieldLoss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PARITY = 1e-3  # in confidence, and in thousands of pixels of an edge
PASSES_PER_EPOCH = 400
BATCH = 4
TAUGHT_ONLY = "star"  # a class that makes the network look at what it is not to report
FURTHER = 1 / 3  # of the learning rate, where a trained network is trained further
OPTIONS = "training.json"  # in the folder of a training: its options, for going on with it

SETTINGS: Mapping[str, Any] = {
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
    "amp": False,  # on a CPU by _in_bfloat16, which ultralytics does not do
    "plots": False,
    "patience": 10_000,
    "max_det": 3000,
    "workers": 0,
}


@dataclass(frozen=True)
class Training:
    """
    How a detector is trained.

    Parameters
    ----------
    network : str
        ultralytics' name of the architecture, or a checkpoint (``.pt``) to train further on a schedule of its
        own, which starts at a third of the learning rate.
    passes : int
        Tile passes in all, rounded up to whole epochs of 400.
    seed : int
        Seed of the weights and of the draw.
    shares : tuple of float
        With several training sets, the share of the passes for each.
    variant_weights : mapping of str to float
        How often a picture is drawn, against 1 of those that are not named. The picture the detector is run on
        is drawn as often as the five others together.
    large_weight : float
        How much more often a tile is drawn that holds a galaxy over a sixteenth of its side.
    one_band : float
        Share of the tiles that are shown in one of their three channels alone, as a field of one band is.
    whole_confidence : bool
        Whether a galaxy's best anchor is taught the confidence 1; else, as ultralytics does, the overlap its
        box has reached. See `detector.losses.WholeConfidence`.
    keep_statistics : bool
        Whether the batch normalisation keeps the means and variances that the network came with: where a network is
        trained further on pictures of several kinds, those of a batch are not those of any one kind.
    settings : mapping
        Of ultralytics, over those of `SETTINGS`.
    """

    network: str = "yolo11n"
    passes: int = 10_000
    seed: int = 0
    shares: tuple[float, ...] = ()
    variant_weights: Mapping[str, float] = field(default_factory=lambda: {"N": 5.0})
    large_weight: float = 3.0
    one_band: float = 0.1
    whole_confidence: bool = True
    keep_statistics: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


class FieldTrainer(DetectionTrainer):
    """ultralytics' trainer: tiles drawn by `DrawnTiles`, loss by `FieldLoss`, fast on a CPU."""

    training = Training()
    model: Any

    def build_dataset(self, img_path: str | list[str], mode: str = "train", batch: int | None = None) -> Any:
        """Build the dataset of one half."""
        tiles = super().build_dataset(img_path, mode, batch)
        if mode != "train":
            return tiles
        return DrawnTiles(
            tiles,
            passes=PASSES_PER_EPOCH,
            seed=self.args.seed + self.start_epoch,
            variant_weights=self.training.variant_weights,
            large_weight=self.training.large_weight,
            shares=self.training.shares,
            folders=img_path if isinstance(img_path, list) else [img_path],
            one_band=self.training.one_band,
        )

    def _model_train(self) -> None:
        super()._model_train()
        if self.training.keep_statistics:
            for module in self.model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()

    def _setup_train(self) -> None:
        super()._setup_train()
        # 1.5 times as fast on a CPU, and the same sums; ultralytics does it on a GPU only
        self.model = self.model.to(memory_format=torch.channels_last)
        if self.model.init_criterion().__class__ is v8DetectionLoss:
            self.model.criterion = FieldLoss(self.model, whole=self.training.whole_confidence)
            if has_bfloat16():
                # the averaged weights are a copy made before, so nothing of this is in a checkpoint
                self.model.predict = _in_bfloat16(self.model.predict)


def parse_shares(text: str | None, sets: int) -> tuple[float, ...]:
    """
    Read shares as in ``0.6,0.3,0.1``.

    Parameters
    ----------
    text : str, optional
        One number over 0 for each set, in their order; all alike if not given.
    sets : int
        How many training sets there are.

    Returns
    -------
    tuple of float

    Raises
    ------
    fieldprep.errors.UsageError
        If it is not one number over 0 for each set.
    """
    if text is None:
        return (1 / sets,) * sets
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != sets or not all(0 < share < math.inf for share in shares):
        raise UsageError(f"--shares wants a number over 0 for each of the {sets} sets, as in 0.7,0.3; got {text}")
    return shares


def train(data: Sequence[Path], out: Path, training: Training, *, resume: bool = False) -> Path:
    """
    Train a detector from scratch, train one further, or go on with a training that was stopped.

    Parameters
    ----------
    data : sequence of path
        Training sets, as `fieldprep.training.trainingsets.write_training_set` makes them, of the same classes.
        The first one's validation half is validated on.
    out : path
        Folder for checkpoints and the log; ``weights/last.pt`` is rewritten every 400 tile passes.
    training : Training
        How.
    resume : bool
        Go on from ``out/weights/last.pt``, with the options it was begun with.

    Returns
    -------
    path
        The last checkpoint: the averaged weights at the end of the schedule. No checkpoint is picked by its
        score on the validation half, so that half stays fit to score on.
    """
    out = out.resolve()
    last = out / "weights" / "last.pt"
    if resume:
        training = _begun_with(out)

    class Trainer(FieldTrainer):
        pass

    Trainer.training = training
    if resume:
        try:
            YOLO(last).train(trainer=Trainer, resume=True)
        except AssertionError as error:  # ultralytics' word for a training that has run its course
            raise InputError(f"{last}: nothing to resume ({one_line(error)})") from error
        return last
    out.mkdir(parents=True, exist_ok=True)
    (out / OPTIONS).write_text(json.dumps(asdict(training), indent=2) + "\n")
    further = training.network.endswith(".pt")
    settings = {**SETTINGS, **training.settings}
    if further:
        settings["lr0"] *= FURTHER
    YOLO(training.network if further else f"{training.network}.yaml").train(
        trainer=Trainer,
        data=str(_data_file(data, out)),
        epochs=-(-training.passes // PASSES_PER_EPOCH),
        project=str(out.parent),
        name=out.name,
        exist_ok=True,
        seed=training.seed,
        **settings,
    )
    return last


def train_and_export(data: Sequence[Path], out: Path, training: Training, *, resume: bool = False) -> Path:
    """
    Train, export and check the export; see `train`.

    Parameters
    ----------
    data, out : sequence of path, path
        Training sets, folder to write.
    training : Training
        How.
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
        If a training set is not one, there is nothing to resume, or the export strays from the network.
    """
    for folder in data:
        if not (folder / "data.yaml").is_file():
            raise InputError(f"{folder}: no training set (no data.yaml in it); fullfield prepare makes one")
    if resume and not (out / "weights" / "last.pt").is_file():
        raise InputError(f"{out}: no weights/last.pt to resume from")
    return export_with_card(train(data, out, training, resume=resume), data, out, training)


def export_with_card(checkpoint: Path, data: Sequence[Path], out: Path, training: Training) -> Path:
    """
    Export a trained network, check the export and write its card.

    Parameters
    ----------
    checkpoint : path
        What `train` gave.
    data : sequence of path
        Training sets; the first one's validation pictures are what the export is checked on.
    out : path
        Folder to write.
    training : Training
        How it was trained.

    Returns
    -------
    path
        As of `train_and_export`.

    Raises
    ------
    fieldprep.errors.InputError
        If the export strays from the network.
    """
    name = Path(training.network).stem
    weights = export(checkpoint, out / f"{name}.onnx")
    tiles = sorted((data[0] / "images" / "val").glob("*.png"))[:4]
    parity = check_parity(checkpoint, weights, tiles)
    if parity > PARITY:
        raise InputError(
            f"{weights}: strays from the trained network by {parity:.2g} px or confidence on {len(tiles)} tiles"
        )
    Card(
        name=name,
        task="detect",
        network=name,
        classes=tuple(name for name in _classes(data[0]) if name != TAUGHT_ONLY),
        variant="N",
        stride=32,
        confidence=0.25,
        sha256=sha256(weights),
        training={
            "data": [str(folder) for folder in data],
            "passes": training.passes,
            "seed": training.seed,
            "onnx_parity": parity,
        },
    ).write(weights.with_suffix(".json"))
    return weights


def _data_file(data: Sequence[Path], out: Path) -> Path:
    """Describe the data to ultralytics: that of the one training set, or one that joins several."""
    folders = [folder.resolve() for folder in data]
    if len(folders) == 1:
        return folders[0] / "data.yaml"
    classes = {_classes(folder) for folder in folders}
    if len(classes) > 1:
        raise InputError(f"{folders[0]}: its classes are not those of the other training sets: {sorted(classes)}")
    joined = {
        "train": [str(folder / "images" / "train") for folder in folders],
        "val": str(folders[0] / "images" / "val"),
        "names": dict(enumerate(classes.pop())),
    }
    (out / "data.yaml").write_text(yaml.safe_dump(joined))
    return out / "data.yaml"


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(yaml.safe_load((folder / "data.yaml").read_text())["names"].values())


def _begun_with(out: Path) -> Training:
    content = json.loads((out / OPTIONS).read_text())
    return Training(**{**content, "shares": tuple(content["shares"])})


def _in_bfloat16(predict: Callable[..., Any]) -> Callable[..., Any]:
    """The network run in bfloat16 where that loses nothing that matters; weights and loss stay float32."""

    def run(*arguments: Any, **options: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return predict(*arguments, **options)

    return run


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself, which makes a training another 1.6 times as fast."""
    return bool(torch.cpu._is_avx512_bf16_supported())  # noqa: SLF001 -- torch has no public way to ask
