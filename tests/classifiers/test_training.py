from dataclasses import replace

import pandas as pd
import pytest

pytest.importorskip("lightning")

from classifiers.classify import Classifier
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


def test_a_training_is_resumed_with_what_it_was_begun_with_and_nothing_else(blobs, task, tmp_path):
    how = task(epochs=1)
    train_and_export(how, blobs(), tmp_path)
    train_and_export(how, blobs(), tmp_path, resume=True)
    with pytest.raises(InputError, match="begun as another task or with another seed"):
        train_and_export(replace(how, recipe=replace(how.recipe, shares=NEGM)), blobs(), tmp_path, resume=True)
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(InputError, match="not the task of a trained classifier"):
        train_and_export(how, blobs(), tmp_path, resume=True)
