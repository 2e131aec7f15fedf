from dataclasses import replace

import pandas as pd
import pytest

pytest.importorskip("lightning")

from classifiers.classify import Classifier
from classifiers.metrics import rates_at
from classifiers.splits import NEGM
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


def test_a_training_is_resumed_with_what_it_was_begun_with_and_nothing_else(blobs, task, tmp_path):
    how = task(epochs=1)
    train_and_export(how, blobs(), tmp_path)
    train_and_export(how, blobs(), tmp_path, resume=True)
    with pytest.raises(InputError, match="begun as another task or with another seed"):
        train_and_export(replace(how, recipe=replace(how.recipe, shares=NEGM)), blobs(), tmp_path, resume=True)
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(InputError, match="not the task of a trained classifier"):
        train_and_export(how, blobs(), tmp_path, resume=True)
