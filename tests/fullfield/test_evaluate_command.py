"""``fullfield evaluate TASK``: the page of a classifier, and one line for what cannot be scored."""

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("lightning")

from classifiers import Classifier
from classifiers.stampsets import read_stamps
from classifiers.tasks import Task
from classifiers.training import train_and_export
from fieldprep.cards import sha256

pytestmark = pytest.mark.train

TASK = """
name = "blob"
classes = ["wide", "narrow"]
turned = true
[stamps]
size = 16
channels = 3
gray = true
[labels]
w = "wide"
n = "narrow"
[recipe]
epochs = 3
batch = 8
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with a set of pictures of wide and narrow blobs, a task that tells them apart, trained for a moment."""
    folder = tmp_path_factory.mktemp("blobs")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24] - 11.5
    rows = []
    (folder / "set" / "images").mkdir(parents=True)
    for i in range(120):
        light = 20 + 180 * np.exp(-(x**2 + y**2) / (2 * (4.0, 1.3)[i % 2] ** 2)) + random.normal(0, 4, x.shape)
        cv2.imwrite(str(folder / "set" / "images" / f"{i}.png"), np.clip(light, 0, 255).astype(np.uint8))
        label = "?" if i < 4 else "wn"[i % 2]
        rows.append({"name": f"{i}.png", "label": label, "sky": f"patch {i // 4}", "mag": 14 + i % 5})
    pd.DataFrame(rows).to_csv(folder / "set" / "labels.csv", index=False)
    (folder / "blob.toml").write_text(TASK)
    train_and_export(Task.read(folder / "blob.toml"), read_stamps(folder / "set"), folder / "out")
    return folder


@pytest.fixture
def evaluated(cli, trained, tmp_path):
    """Run the command with what is changed: status, output, errors."""

    def call(*more, task=trained / "blob.toml", data=trained / "set", classifier=trained / "out" / "blob.onnx"):
        return cli("evaluate", task, data, "--classifier", classifier, "--out", tmp_path / "page", *more)

    return call


@pytest.fixture
def refused(evaluated, tmp_path):
    """Run it so that it must fail; gives its one line."""

    def call(*more, status=1, **changed):
        got, out, err = evaluated(*more, **changed)
        assert got == status, err
        assert "Traceback" not in out + err
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "page" / "evaluation.html").exists()
        return err

    return call


def alone(trained, folder):
    """The classifier without the split of its training."""
    for name in ("blob.onnx", "blob.json"):
        shutil.copy(trained / "out" / name, folder / name)
    return folder / "blob.onnx"


def no_constants(text):
    """Fail on what JSON has no word for."""
    raise AssertionError(text)


def test_the_part_that_was_kept_for_it_is_scored(evaluated, trained, tmp_path):
    status, out, err = evaluated()
    assert status == 0, err
    text = (tmp_path / "page" / "evaluation.json").read_text()
    told = json.loads(text, parse_constant=no_constants)
    parts = pd.read_csv(trained / "out" / "split.csv")["part"].value_counts()
    assert told["n"] == parts["test"]
    assert told["scored_on"]["unseen"]
    assert told["scored_on"]["other_labels"] == 4
    assert told["threshold"]["chosen_on"] == "validation"
    assert told["threshold"]["chosen_n"] == parts["validate"]
    assert (
        told["accuracy"]["value"]
        == Classifier.load(trained / "out" / "blob.onnx").card.scores["all stamps"]["all"]["accuracy"]["value"]
    )
    assert f"{parts['train']} train, {parts['validate']} validate" in out
    page = (tmp_path / "page" / "evaluation.html").read_text()
    assert "none of them, nor on others of their groups" in page
    assert 'src="http' not in page
    assert "Not drawn" not in page
    assert "Grad-CAM" in page
    assert {path.stem for path in (tmp_path / "page" / "evaluation").glob("*.png")} == {
        *("confusion", "curves", "reliability", "histograms", "magnitudes", "filters")
    }


def test_where_nothing_tells_what_it_was_trained_on_the_page_says_so(evaluated, trained, tmp_path):
    path = alone(trained, tmp_path)
    status, out, err = evaluated(classifier=path)
    assert status == 0, err
    assert "All 116 labelled stamps are scored. It is not known which" in out
    assert "It is not known which of these stamps" in (tmp_path / "page" / "evaluation.html").read_text()
    status, out, err = evaluated("--split", trained / "out" / "split.csv", classifier=path)
    assert status == 0, err
    assert "The classifier was trained, validated and calibrated on none of them" in out


def test_a_split_of_other_stamps(refused, evaluated, trained, tmp_path):
    other = tmp_path / "split.csv"
    other.write_text("name,part\nx,test\n")
    assert "names none of the 116 stamps" in refused("--split", other)
    other.write_text("nothing\n")
    assert "not the split of a training" in refused("--split", other)
    other.write_text("name,part\nx,test\n")
    status, out, err = evaluated(classifier=alone(trained, tmp_path))
    assert status == 0, err
    assert "under other names is not known" in out


def test_a_part_of_one_class(refused, tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("name,part\n5.png,test\n7.png,test\n")
    assert "of fewer than two classes (n 2)" in refused("--split", path)


def changed_set(trained, folder, change):
    """The set with its table changed."""
    shutil.copytree(trained / "set", folder / "changed")
    table = pd.read_csv(folder / "changed" / "labels.csv")
    change(table).to_csv(folder / "changed" / "labels.csv", index=False)
    return folder / "changed"


def test_one_class_only(refused, trained, tmp_path):
    data = changed_set(trained, tmp_path, lambda table: table[table["label"] == "w"])
    assert "labels of fewer than two classes of blob (wide, narrow)" in refused(data=data)


def test_an_empty_set(refused, trained, tmp_path):
    assert "no labelled stamp in it" in refused(data=changed_set(trained, tmp_path, lambda table: table[:0]))


def test_labels_without_images(refused, trained, tmp_path):
    data = changed_set(trained, tmp_path, lambda table: table.assign(name="a" + table["name"]))
    assert "no image for 120 of 120 labels (a0.png, a1.png, a2.png, ...)" in refused(data=data)


def test_a_column_that_is_not_there(refused):
    assert "no column kind for the labels" in refused("--label", "kind")
    assert "no column kind to tell what may not be split" in refused("--group", "kind", status=2)


def test_stamps_of_other_channels(refused, trained, tmp_path):
    random = np.random.default_rng(0)
    planes = {name: random.normal(0, 1, (8, 16, 16)) for name in ("science", "template", "difference")}
    np.savez(tmp_path / "triplets.npz", **planes)
    pd.DataFrame({"candid": range(8), "label": ["w", "n"] * 4}).to_csv(tmp_path / "alerts.csv", index=False)
    path = alone(trained, tmp_path)
    card = json.loads((tmp_path / "blob.json").read_text())
    card["stamps"] |= {"channels": 2, "gray": False}
    (tmp_path / "blob.json").write_text(json.dumps(card))
    told = refused(data=tmp_path / "triplets.npz", classifier=path)
    assert "stamp 0: 3 channels, where the classifier takes 2" in told


def test_a_classifier_of_other_classes(refused, trained):
    told = refused(task="star_galaxy", data=trained / "set", classifier=trained / "out" / "blob.onnx")
    assert "tells wide, narrow, where the classes of star_galaxy are galaxy, star" in told


def test_a_corrupt_network(refused, trained, tmp_path):
    path = alone(trained, tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    assert "is not the card's" in refused(classifier=path)
    card = json.loads((tmp_path / "blob.json").read_text()) | {"sha256": sha256(path)}
    (tmp_path / "blob.json").write_text(json.dumps(card))
    assert "not a network that openvino can load" in refused(classifier=path)


def test_a_task_and_weights_that_are_not_there(refused, cli, trained):
    assert "nosuch: no such task" in refused(task="nosuch", status=2)
    status, _, err = cli("evaluate", trained / "blob.toml", trained / "set")
    assert status == 1
    assert "blob.onnx: not in weights" in err
