"""Networks of votes from beginning to end: on real galaxies in the challenge's own layout, in both phases."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("lightning")

import torch
from lightning.pytorch.callbacks import Callback

from classifiers.classify import Classifier
from classifiers.galaxy_zoo_tree import ANSWERS, TREE, places, totals
from classifiers.networks import tail_of
from classifiers.preparing import Preparation
from classifiers.stampsets import StampSet, read_stamps
from classifiers.tasks import Recipe, Task
from classifiers.train import StampClassifier, train_stamps
from classifiers.training import train_and_export
from classifiers.votes import fractions_of, leading, rmse, write_predictions
from fieldprep.errors import InputError, UsageError

pytestmark = pytest.mark.train

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
OF_EACH = 24  # real galaxies of a class


@pytest.fixture
def voters(monkeypatch):
    """Votes drawn through the tree, with probabilities that go with a galaxy's class."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import votes  # noqa: PLC0415 -- only importable from its own folder

    return votes


@pytest.fixture
def challenge(data, tmp_path, voters):
    """The challenge's folder of a few dozen real galaxies, shrunk to 64 px, with votes of 40 volunteers each."""
    if not (data / "gz2").is_dir():
        pytest.skip(f"no pictures of Galaxy Zoo 2 in {data}")
    labels = pd.read_csv(data / "gz2" / "labels.csv")
    chosen = pd.concat([rows.head(OF_EACH) for _, rows in labels.groupby("label")]).sort_values("GalaxyID")
    folder = tmp_path / "challenge"
    (folder / "images_training_rev1").mkdir(parents=True)
    for galaxy in chosen["GalaxyID"]:
        picture = cv2.imread(str(data / "gz2" / "images" / f"{galaxy}.jpg"))
        small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "images_training_rev1" / f"{galaxy}.jpg"), small)
    drawn = voters.drawn_votes(chosen["label"].to_numpy(), np.random.default_rng(0))
    write_predictions(folder / "training_solutions_rev1.csv", chosen["GalaxyID"].astype(str).tolist(), drawn)
    return folder


def votes_task(loss="votes", **change):
    """Our small network on 32 px of the central half, in two phases."""
    recipe = Recipe(
        "adamw", 3e-3, "plateau", weight_decay=0.01, epochs=12, frozen_epochs=2, batch=16, patience=10, loss=loss,
        balance=False, augment=("rotations", "flips"), shift=0.05, zoom=0.1, brightness=(0.9, 1.2),
    )  # fmt: skip
    task = Task("gz2", ANSWERS, Preparation(32, 3, scaling=("unit",)), recipe=recipe, centre=0.5)
    return replace(task, recipe=replace(recipe, **change)) if change else task


@pytest.fixture
def made():
    """Galaxies of our own making: bright ones are smooth, dim ones have features, with votes and counts."""

    def make(n=24, seed=0):
        random = np.random.default_rng(seed)
        smooth = np.arange(n) % 2 == 0
        light = np.where(smooth, 200, 60)[:, None, None, None]
        stamps = np.clip(light + random.normal(0, 10, (n, 16, 16, 3)), 0, 255).astype(np.uint8)
        votes = np.where(smooth[:, None], _of("Class1.1", "Class7.1"), _of("Class1.2", "Class2.1", "Class9.1"))
        rows = pd.DataFrame(votes, columns=list(ANSWERS)).assign(total_votes=40)
        names = np.array([f"g{i}" for i in range(n)])
        return StampSet(stamps, leading(votes), names, names, rows)

    return make


def _of(*answers):
    return np.array([float(answer in {*answers, "Class6.2"}) for answer in ANSWERS])


def curves(folder):
    """Losses of both phases, epoch by epoch."""
    logs = {name: pd.read_csv(folder / where / "metrics.csv") for name, where in PHASES.items()}
    return {(name, one): log[one].dropna().tolist() for name, log in logs.items() for one in ("train_loss", "val_loss")}


PHASES = {"frozen": "frozen/log", "whole": "log"}


class Kill(Callback):
    """Ends a training as a power cut would, at the beginning of an epoch of a phase."""

    def __init__(self, epoch, *, frozen):
        self.epoch, self.frozen = epoch, frozen

    def on_train_epoch_start(self, trainer, module):
        if (trainer.current_epoch, module.frozen) == (self.epoch, self.frozen):
            raise RuntimeError("killed")


def test_real_galaxies_in_the_challenges_layout_are_learnt_beyond_their_mean_votes(challenge, tmp_path):
    task = votes_task(epochs=18, patience=18, batch=12)
    stamps = read_stamps(challenge, centre=task.centre)
    assert len(stamps) == 5 * OF_EACH
    path = train_and_export(task, stamps, tmp_path / "out")
    classifier = Classifier.load(path)
    parts = pd.read_csv(tmp_path / "out" / "split.csv", dtype=str).set_index("name")["part"].reindex(stamps.names)
    train, test = (stamps.select((parts == name).to_numpy()) for name in ("train", "test"))
    found, true = classifier.predict(test.stamps), fractions_of(test.rows)
    always = np.broadcast_to(fractions_of(train.rows).mean(axis=0), true.shape)
    assert found.shape == (len(test), 37)
    assert ((found > 0) & (found < 1)).all()
    assert rmse(found, true) < 0.95 * rmse(always, true)
    card = classifier.card
    assert card.scores["vote fractions"]["all"]["rmse"]["value"] == pytest.approx(rmse(found, true), abs=1e-6)
    assert card.scores["always the mean votes"]["rmse"] == pytest.approx(rmse(always, true), abs=1e-5)
    assert (card.temperature, card.thresholds, card.activation, card.tree) == (1, {}, "fractions", False)
    assert "vote fractions of Galaxy Zoo's 37 answers" in card.what()
    assert "rmse 0." in card.as_text()
    assert list(curves(tmp_path / "out")["frozen", "val_loss"]) != list(curves(tmp_path / "out")["whole", "val_loss"])

    def strays(fractions):
        return max(
            np.abs(fractions[:, places(one)].sum(1) - totals(fractions)[:, k]).max() for k, one in enumerate(TREE)
        )

    assert strays(classifier.predict(test.stamps, tree=True)) < 1e-9
    assert strays(found) > 1e-3
    card_file = path.with_suffix(".json")
    card_file.write_text(json.dumps(json.loads(card_file.read_text()) | {"tree": True}))
    assert strays(Classifier.load(path).predict(test.stamps)) < 1e-9


def test_a_rate_falls_by_a_fifth_after_four_flat_epochs_and_falls_on_after_a_kill(made, tmp_path):
    # at this rate nothing changes; the kill comes right after the first fall
    how = votes_task(rate=1e-20, epochs=1, frozen_epochs=10, patience=0, optimiser="sgd", weight_decay=0.0)
    how = replace(how, stamps=Preparation(16, 3, scaling=("unit",)))
    with pytest.raises(RuntimeError, match="killed"):
        train_stamps(how, made(), made(8, 1), tmp_path, callbacks=(Kill(5, frozen=True),))
    rates = [pd.read_csv(tmp_path / "frozen" / "log" / "metrics.csv")["lr-SGD"].dropna()]
    train_stamps(how, made(), made(8, 1), tmp_path, resume=True)
    rates.append(pd.read_csv(tmp_path / "frozen" / "log" / "metrics.csv")["lr-SGD"].dropna())
    assert rates[0].tolist()[:5] == pytest.approx([1e-20] * 5, rel=1e-9)
    assert rates[1].tolist()[-5:] == pytest.approx([0.8e-20] * 4 + [0.64e-20], rel=1e-9)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_training_that_was_killed_in_either_phase_goes_on_to_the_same_curve(made, tmp_path, frozen):
    how = votes_task(epochs=3, frozen_epochs=3)
    how = replace(how, stamps=Preparation(16, 3, scaling=("unit",)))
    train_stamps(how, made(), made(8, 1), tmp_path / "whole", seed=3)
    with pytest.raises(RuntimeError, match="killed"):
        train_stamps(how, made(), made(8, 1), tmp_path / "parts", seed=3, callbacks=(Kill(2, frozen=frozen),))
    assert (tmp_path / "parts" / "last.ckpt").is_file() == (not frozen)
    best = train_stamps(how, made(), made(8, 1), tmp_path / "parts", seed=3, resume=True)
    whole, parts = curves(tmp_path / "whole"), curves(tmp_path / "parts")
    for name, values in whole.items():
        assert len(values) == 3
        assert parts[name] == pytest.approx(values[-len(parts[name]) :], rel=1e-5), name
    weights = [
        torch.load(folder / best.name, weights_only=True)["state_dict"] for folder in (tmp_path / "whole", best.parent)
    ]
    assert all(torch.allclose(weights[0][name], other, atol=1e-6) for name, other in weights[1].items())


def test_a_phase_that_patience_had_ended_is_not_gone_on_with(made, tmp_path):
    # nothing is learnt at this rate, so both phases end after their first two epochs
    how = votes_task(rate=1e-12, epochs=9, frozen_epochs=9, patience=2, optimiser="sgd", weight_decay=0.0, augment=())
    how = replace(how, stamps=Preparation(16, 3, scaling=("unit",)))
    with pytest.raises(RuntimeError, match="killed"):
        train_stamps(how, made(), made(8, 1), tmp_path, callbacks=(Kill(0, frozen=False),))
    before = torch.load(tmp_path / "frozen" / "last.ckpt", weights_only=False)["epoch"]
    assert before < 8
    train_stamps(how, made(), made(8, 1), tmp_path, resume=True)
    assert torch.load(tmp_path / "frozen" / "last.ckpt", weights_only=False)["epoch"] == before
    assert (tmp_path / "best.ckpt").is_file()


def test_all_but_the_tail_stays_as_it_is_while_it_is_frozen(made, tmp_path):
    how = votes_task(epochs=1, frozen_epochs=2)
    how = replace(how, stamps=Preparation(16, 3, scaling=("unit",)))
    torch.manual_seed(0)
    begun = StampClassifier(how, torch.ones(37), 0, frozen=True)
    tail = {f"network.head.1.{name}" for name in tail_of(begun.network).state_dict()}
    train_stamps(how, made(), made(8, 1), tmp_path, seed=0)
    frozen = torch.load(tmp_path / "frozen" / "last.ckpt", weights_only=True)["state_dict"]
    whole = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    for name, at_first in begun.state_dict().items():
        assert torch.equal(frozen[name], at_first) == (name not in tail), name
    moved = [name for name in whole if "running_mean" in name]
    assert moved
    assert all(not torch.equal(whole[name], frozen[name]) for name in moved)


@pytest.mark.parametrize(("loss", "tree"), [("votes", True), ("vote_counts", False)])
def test_what_obeys_the_tree_or_is_taught_by_counts_is_exported_as_it_was_trained(made, tmp_path, loss, tree):
    how = replace(votes_task(loss, epochs=6, rate=0.01), stamps=Preparation(16, 3, scaling=("unit",)), tree=tree)
    stamps = made(48)
    classifier = Classifier.load(train_and_export(how, stamps, tmp_path))
    found = classifier.predict(stamps.stamps)
    sums = np.stack([found[:, places(question)].sum(axis=1) for question in TREE], axis=1)
    np.testing.assert_allclose(sums, totals(found), atol=1e-9)
    assert classifier.card.activation == ("fractions" if tree else "concentrations")
    true = fractions_of(stamps.rows)
    assert rmse(found, true) < rmse(np.broadcast_to(true.mean(axis=0), true.shape), true)
    told = pd.read_csv(tmp_path / "log" / "metrics.csv")["val_rmse"].dropna()
    assert ((told > 0) & (told < 0.5)).all()


def test_without_a_share_to_score_on_the_card_says_what_its_figures_are_of(made, tmp_path):
    how = votes_task(epochs=1, frozen_epochs=1, shares=(0.8, 0.2, 0.0))
    how = replace(how, stamps=Preparation(16, 3, scaling=("unit",)))
    card = Classifier.load(train_and_export(how, made(), tmp_path)).card
    assert card.training["stamps"]["test"] == 0
    assert "its epoch was chosen by" in card.scores["measured on"]
    assert set(pd.read_csv(tmp_path / "split.csv")["part"]) == {"train", "validate"}


def test_counts_that_are_not_there_and_a_tree_of_classes_are_refused(made, tmp_path, blobs, task):
    without = replace(made(), rows=made().rows.drop(columns="total_votes"))
    with pytest.raises(InputError, match="no counts of votes"):
        train_and_export(votes_task("vote_counts"), without, tmp_path)
    classifier = Classifier.load(train_and_export(task(epochs=1), blobs(), tmp_path / "blobs"))
    with pytest.raises(UsageError, match="says classes; only vote fractions obey a tree"):
        classifier.predict(blobs().stamps, tree=True)
    how = replace(votes_task(epochs=1, frozen_epochs=0), stamps=Preparation(16, 3, scaling=("unit",)))
    of_votes = Classifier.load(train_and_export(how, made(), tmp_path / "votes"))
    with pytest.raises(UsageError, match=r"take the spread of votes\(\)"):
        of_votes.uncertainty(made().stamps)
