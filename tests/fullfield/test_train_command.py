import json

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("lightning")

from classifiers import Classifier

pytestmark = pytest.mark.train

TASK = """
name = "blob"
classes = ["wide", "narrow"]
[stamps]
size = 16
channels = 3
gray = true
[recipe]
epochs = 6
batch = 8
"""


@pytest.fixture
def stamps(tmp_path):
    """Folder of pictures of wide and narrow blobs with their labels, and a task that tells them apart."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24] - 11.5
    rows = []
    (tmp_path / "set" / "images").mkdir(parents=True)
    for i in range(120):
        width = (4.0, 1.3)[i % 2]
        light = 20 + 180 * np.exp(-(x**2 + y**2) / (2 * width**2)) + random.normal(0, 4, x.shape)
        cv2.imwrite(str(tmp_path / "set" / "images" / f"{i}.png"), np.clip(light, 0, 255).astype(np.uint8))
        rows.append({"name": f"{i}.png", "label": ("wide", "narrow")[i % 2], "sky": f"patch {i // 4}"})
    pd.DataFrame(rows).to_csv(tmp_path / "set" / "labels.csv", index=False)
    (tmp_path / "blob.toml").write_text(TASK)
    return tmp_path


def test_a_task_of_ones_own_is_trained_and_scored_on_what_it_never_saw(cli, stamps):
    out = stamps / "out"
    status, out_text, err = cli("train", stamps / "blob.toml", stamps / "set", "--out", out)
    assert status == 0, err
    assert f"trained: {out / 'blob.onnx'}" in out_text
    classifier = Classifier.load(out / "blob.onnx")
    card = classifier.card
    assert card.scores["all stamps"]["all"]["accuracy"]["value"] > 0.8
    parts = pd.read_csv(out / "split.csv")
    assert parts.groupby("group")["part"].nunique().max() == 1
    assert card.training["stamps"] == parts["part"].value_counts().to_dict()
    status, _, err = cli("train", stamps / "blob.toml", stamps / "set", "--out", out, "--resume", "--seed", 1)
    assert status == 1, err
    assert "begun as another task or with another seed" in err


def test_a_task_that_is_none_and_a_set_that_is_none_are_one_line_each(cli, stamps):
    status, _, err = cli("train", "nosuch", stamps / "set", "--out", stamps / "out")
    assert status == 2, err
    assert "nosuch: no such task" in err
    status, _, err = cli("train", "star_galaxy", stamps / "none", "--out", stamps / "out")
    assert status == 1, err
    assert "no such file or folder" in err
    status, _, err = cli("train", "star_galaxy", stamps / "set", "--out", stamps / "out")
    assert status == 1, err
    assert "labels of fewer than two classes of star_galaxy" in err
    status, _out_text, err = cli("train", stamps / "blob.toml", stamps / "set", "--out", stamps / "out", "--resume")
    assert status == 1, err
    assert "no training to resume" in err


def test_the_card_is_plain_json(cli, stamps):
    out = stamps / "out"
    cli("train", stamps / "blob.toml", stamps / "set", "--out", out, "--epochs", 1)
    assert json.loads((out / "blob.json").read_text())["training"]["recipe"]["epochs"] == 1


def test_galaxy10_as_published_is_trained_and_asked_of_a_field(cli, frame, spots, tmp_path):
    h5py = pytest.importorskip("h5py")
    random = np.random.default_rng(0)
    with h5py.File(tmp_path / "Galaxy10_DECals.h5", "w") as out:  # the published arrays, fewer images
        out["images"] = random.integers(0, 255, (80, 256, 256, 3), np.uint8)
        out["ans"] = (np.arange(80) % 10).astype(np.uint8)
        out["ra"], out["dec"] = np.linspace(0, 359, 80), np.linspace(-10, 80, 80)
        out["redshift"], out["pxscale"] = np.full(80, 0.1), np.full(80, 0.262)
    trained = tmp_path / "trained"
    status, _, err = cli("train", "galaxy10", tmp_path / "Galaxy10_DECals.h5", "--out", trained, "--epochs", 1)
    assert status == 0, err
    card = Classifier.load(trained / "galaxy10.onnx").card
    assert (card.stamps["size"], len(card.classes), card.portrait) == (128, 10, {"arcsec": 33.5})
    arguments = ("--out", tmp_path / "run", "--detector", spots, "--classifiers", trained / "galaxy10.onnx")
    status, _, err = cli("run", frame("a"), *arguments)
    assert status == 0, err
    table = pd.read_parquet(tmp_path / "run/fields/a/all_detections.parquet")
    shares = table[[f"galaxy10_p_{name}" for name in card.classes]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert set(table["galaxy10_class"]) <= set(card.classes)
