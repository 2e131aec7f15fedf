import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("lightning")

import torch

from classifiers import Task
from classifiers.classify import Classifier
from classifiers.export import export_classifier
from classifiers.metrics import rates_at
from classifiers.preparing import Preparation
from classifiers.splits import NEGM
from classifiers.train import StampClassifier
from classifiers.training import train_and_export
from fieldprep.errors import InputError

pytestmark = pytest.mark.train


def test_objects_are_dealt_out_by_the_shares_that_the_recipe_says(blobs, task, tmp_path):
    path = train_and_export(task(epochs=1, shares=NEGM), blobs(80), tmp_path)
    counts = pd.read_csv(tmp_path / "split.csv")["part"].value_counts()
    assert counts["train"] + counts["validate"] + counts["test"] == 80
    assert (counts / 80)[["train", "validate", "test"]].tolist() == pytest.approx(NEGM, abs=0.02)
    card = Classifier.load(path).card
    assert card.training["stamps"] == counts.to_dict()
    assert card.training["recipe"]["shares"] == list(NEGM)


def test_thresholds_for_a_recall_are_the_validation_parts_and_scored_on_the_test_part(blobs, task, tmp_path):
    stamps = blobs(120)
    path = train_and_export(task(epochs=4), stamps, tmp_path)
    classifier = Classifier.load(path)
    thresholds = classifier.card.thresholds
    assert list(thresholds) == ["0.9", "0.95", "0.99"]
    assert list(thresholds.values()) == sorted(thresholds.values(), reverse=True)
    parts = pd.read_csv(tmp_path / "split.csv").set_index("name")["part"].reindex(stamps.names).to_numpy()
    scores = classifier.card.scores["wide at the thresholds"]
    for name, part in {"validate": stamps.select(parts == "validate"), "test": stamps.select(parts == "test")}.items():
        found, positive = classifier.predict(part.stamps)[:, 0], part.labels == "wide"
        for recall, threshold in thresholds.items():
            rates = rates_at(positive, found, threshold)
            if name == "validate":
                assert rates["recall"]["value"] >= float(recall)
                higher = rates_at(positive, found, threshold + 2e-6)
                assert higher["recall"]["value"] < float(recall)
            else:
                assert scores[f"recall of {recall}"] == rates
    told = classifier.card.as_text()
    assert "recall of 0.95: recall " in told
    assert "false positive rate " in told


def test_what_may_be_of_several_classes_is_trained_on_unless_its_object_is_scored(blobs, task, tmp_path):
    stamps = blobs(60)
    labels = stamps.labels.astype("U12")
    labels[40:] = "blob"
    groups = stamps.groups.copy()
    groups[50:] = groups[:10]  # further stamps of labelled objects
    how = replace(task(epochs=1), labels={"wide": "wide", "narrow": "narrow", "blob": "wide|narrow"})
    stamps = replace(stamps, labels=labels, groups=groups)
    path = train_and_export(how, stamps, tmp_path)
    split = pd.read_csv(tmp_path / "split.csv").set_index("name")["part"]
    assert sorted(split.index) == sorted(stamps.names[:40])
    also = 10 + int((split.reindex(stamps.names[:10]) == "train").sum())
    counts = Classifier.load(path).card.training["stamps"]
    assert counts == {**split.value_counts().to_dict(), "train": int((split == "train").sum()) + also}


def test_a_table_that_shares_its_stamps_out_is_followed(blobs, task, tmp_path):
    stamps = blobs(40)
    part = np.array(["train"] * 24 + ["validation"] * 8 + ["test"] * 8)
    given = replace(stamps, rows=stamps.rows.assign(part=part))
    how = task(epochs=2, schedule="exponential", fall=0.5, rate=0.01)
    train_and_export(how, given, tmp_path)
    split = pd.read_csv(tmp_path / "split.csv").set_index("name")["part"]
    assert split.loc[stamps.names].tolist() == [{"validation": "validate"}.get(name, name) for name in part]
    rates = pd.read_csv(tmp_path / "log" / "metrics.csv")["lr-AdamW"].dropna().tolist()
    assert rates == pytest.approx([0.01, 0.01 * np.exp(-0.5)])
    with pytest.raises(InputError, match="column part must be of train, validate, test, got held"):
        train_and_export(how, replace(given, rows=stamps.rows.assign(part="held")), tmp_path)
    with pytest.raises(InputError, match="s0 stand in more than one part"):
        train_and_export(how, replace(given, groups=np.where(np.arange(40) % 16 < 2, "s0", given.groups)), tmp_path)


def test_a_training_is_resumed_with_what_it_was_begun_with_and_nothing_else(blobs, task, tmp_path):
    how = task(epochs=1)
    train_and_export(how, blobs(), tmp_path)
    train_and_export(how, blobs(), tmp_path, resume=True)
    with pytest.raises(InputError, match="begun as another task or with another seed"):
        train_and_export(replace(how, recipe=replace(how.recipe, shares=NEGM)), blobs(), tmp_path, resume=True)
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(InputError, match="not the task of a trained classifier"):
        train_and_export(how, blobs(), tmp_path, resume=True)


def test_a_turned_classifier_says_the_same_of_every_turn_of_a_stamp(tmp_path):
    stamps = np.random.default_rng(0).normal(0, 1, (6, 16, 16, 3)).astype(np.float32)
    found = {}
    for turned in (True, False):
        task = Task("made", ("a", "b"), Preparation(16, 3), turned=turned)
        folder = tmp_path / str(turned)
        folder.mkdir()
        torch.manual_seed(0)
        module = StampClassifier(task, torch.ones(2), 0)
        torch.save({"state_dict": module.state_dict()}, folder / "last.ckpt")
        (folder / "task.json").write_text(json.dumps({"task": task.as_table(), "seed": 0}))
        classifier = Classifier.load(export_classifier([folder / "last.ckpt"], folder / "made.onnx"))
        assert classifier.card.network.endswith("turned") == turned
        views = [np.rot90(one, k, (1, 2)) for one in (stamps, stamps[:, :, ::-1]) for k in range(4)]
        found[turned] = np.array([classifier.logits(view) for view in views])
    np.testing.assert_allclose(found[True], np.broadcast_to(found[True][:1], found[True].shape), atol=1e-5)
    np.testing.assert_allclose(found[True][0], found[False].mean(axis=0), atol=1e-5)
    assert np.ptp(found[False], axis=0).max() > 3e-4
