import contextlib
import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fieldprep import Field
from fieldprep.training.recipes import RECIPES
from fullfield.preparation import Asked
from fullfield.sets import Division, prepare_set

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from detector.train import YOLO  # it keeps ultralytics off the network

# torch and ultralytics warn of their own affairs while they train
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

FIELDS = ("001035-6-0017", "001043-5-0025")


@pytest.fixture(scope="module")
def read_once(data):
    """Each real field is read once for all sets."""
    fields = {name: Field.read(data / "sdss" / name) for name in FIELDS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Field, "read", lambda _, name: fields[name])
        yield


@pytest.fixture(scope="module", params=["galaxies", "T3"])
def prepared(request, data, read_once, tmp_path_factory):
    """A set of two real fields in one variant, made as the command makes it."""
    recipe = replace(RECIPES[request.param], variants=RECIPES[request.param].variants[:1])
    out = tmp_path_factory.mktemp("sets") / recipe.name
    made = prepare_set([str(data / "sdss" / name) for name in FIELDS], out, Asked(recipe), Division(seed=1))
    return recipe, out, made


def test_ultralytics_trains_on_it_for_an_epoch_as_it_is(prepared, tmp_path):
    recipe, out, _ = prepared
    size = 320 if recipe.tile else 640  # a galaxy of 20 px must not shrink to nothing
    results = YOLO("yolo11n.yaml").train(
        data=str(out / "data.yaml"),
        epochs=1,
        imgsz=size,
        batch=2,
        device="cpu",
        workers=0,
        plots=False,
        project=str(tmp_path),
        name="run",
    )
    assert tuple(results.names.values()) == recipe.classes
    losses = pd.read_csv(tmp_path / "run" / "results.csv")
    assert len(losses) == 1
    assert np.isfinite(losses["train/box_loss"]).all()
    assert losses["train/box_loss"].item() > 0  # it has seen boxes
    assert (tmp_path / "run" / "weights" / "last.pt").exists()


def test_pycocotools_scores_its_own_labels_as_perfect(prepared):
    _, out, made = prepared
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(out / "annotations" / "val.json"))
        rows = [row for row in truth.loadAnns(truth.getAnnIds()) if not row["iscrowd"]]
        found = truth.loadRes([{**row, "score": 0.9} for row in rows])
        scores = COCOeval(truth, found, "bbox")
        scores.params.maxDets = [10_000]
        scores.evaluate()
        scores.accumulate()
    assert len(truth.getImgIds()) == made.counts["val_tiles"]
    precision = scores.eval["precision"]
    assert precision[precision > -1].min() == pytest.approx(1)
