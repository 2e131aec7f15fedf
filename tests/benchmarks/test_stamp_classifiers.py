"""Folds of a stamp classifier: what an earlier network says of images without labels is what it was sure of."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

from classifiers.stampsets import StampSet
from classifiers.tasks import Task

pytestmark = pytest.mark.train

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import stamp_classifiers  # noqa: PLC0415 -- only importable from its own folder

    return stamp_classifiers


def test_a_stamp_is_told_the_fewest_classes_that_have_nine_tenths(driver):
    task = Task.read("morphology")
    chances = np.array(
        [
            [0.95, 0.03, 0.02, 0, 0, 0, 0],
            [0.02, 0.03, 0.35, 0.58, 0.02, 0, 0],
            [0.32, 0.3, 0, 0, 0.08, 0.3, 0],
            [0.2, 0.2, 0.2, 0.2, 0.1, 0.05, 0.05],
        ]
    )
    logits = np.log(np.maximum(chances, 1e-9))[:, None]
    teacher = SimpleNamespace(logits=lambda stamps: logits[: len(stamps)], card=SimpleNamespace(name="earlier"))
    names = np.array(["a", "b", "c", "d"])
    stamps = StampSet(np.zeros((4, 8, 8, 3), np.uint8), np.full(4, ""), names, names, pd.DataFrame(index=range(4)))
    told = driver.as_told(stamps, teacher, task)
    assert list(told.names) == ["a", "b", "c"]
    assert list(told.labels) == ["smooth_round", "smooth_cigar|edge_on", "smooth_round|smooth_inbetween|merger"]


def test_images_without_labels_are_cut_to_their_share(driver, tmp_path):
    for name in ("two.png", "one.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    stamps = driver.unlabelled(f"{tmp_path}:0.5")
    assert list(stamps.names) == ["one", "two"]
    assert {one.shape for one in stamps.stamps} == {(20, 20, 3)}
    assert len(driver.unlabelled(str(tmp_path)).stamps[0]) == 40


def test_the_teacher_of_a_fold_saw_the_same(driver, tmp_path):
    task = Task.read("morphology")
    assert driver.teacher_of(tmp_path, task, 0, 3) == tmp_path / "3" / "morphology.onnx"
    assert driver.teacher_of(tmp_path, task, 1, 3) == tmp_path / "1-3" / "morphology.onnx"
    assert driver.teacher_of(tmp_path, task, 0, driver.ALL) == tmp_path / "morphology.onnx"
