import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lightning.pytorch.callbacks import Callback  # noqa: E402 -- after what may be missing

from classifiers import Classifier  # noqa: E402
from classifiers.cards import Card  # noqa: E402
from classifiers.classify import probabilities  # noqa: E402
from classifiers.dropout import drawn  # noqa: E402
from classifiers.export import export_classifier, fit_temperature, task_of  # noqa: E402
from classifiers.preparing import Preparation  # noqa: E402
from classifiers.tasks import Recipe, Task  # noqa: E402
from classifiers.train import (  # noqa: E402
    StampClassifier,
    augmented,
    class_weights,
    load_checkpoint,
    of_several,
    train_stamps,
)
from classifiers.uncertainty import uncertainty_of  # noqa: E402
from fieldprep.cards import sha256  # noqa: E402
from fieldprep.errors import InputError, UsageError  # noqa: E402

pytestmark = pytest.mark.train


def losses(folder):
    log = pd.read_csv(folder / "log" / "metrics.csv")
    return {name: log[name].dropna().tolist() for name in ("train_loss", "val_loss")}


class Stop(Callback):
    """Stops a training as a power cut would, after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, _):
        if trainer.current_epoch == self.epoch:
            raise RuntimeError("stopped")


def test_a_network_learns_what_is_plain_to_see(blobs, task, tmp_path):
    train_stamps(task(epochs=12, batch=8), blobs(80), blobs(40, seed=1), tmp_path)
    log = pd.read_csv(tmp_path / "log" / "metrics.csv")
    assert log["val_balanced_accuracy"].dropna().iloc[-1] > 0.95
    assert log["lr-AdamW"].dropna().is_monotonic_decreasing


@pytest.mark.parametrize("recipe", [{}, {"schedule": "exponential", "fall": 0.3, "mixup": 0.3, "tint": 0.1}])
def test_a_training_that_was_stopped_goes_on_to_the_same_curve(blobs, task, tmp_path, recipe):
    how, stamps, others = task("negm_refined", epochs=4, **recipe), blobs(), blobs(20, seed=1)
    train_stamps(how, stamps, others, tmp_path / "whole", seed=3)
    with pytest.raises(RuntimeError, match="stopped"):
        train_stamps(how, stamps, others, tmp_path / "parts", seed=3, callbacks=(Stop(2),))
    before = losses(tmp_path / "parts")
    last = train_stamps(how, stamps, others, tmp_path / "parts", seed=3, resume=True)
    whole, after = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    for name in whole:
        assert whole[name][:2] == pytest.approx(before[name][:2])
        assert whole[name][2:] == pytest.approx(after[name][-2:])
    one, other = (load_checkpoint(path, how).network.state_dict() for path in (tmp_path / "whole" / last.name, last))
    for name, weights in one.items():
        assert torch.allclose(weights, other[name]), name


def test_pictures_are_made_fainter_in_a_training_in_bfloat16(blobs, tmp_path):
    recipe = Recipe(epochs=1, batch=8, precision="bf16-mixed", faintest=0.1, coarsest=2.0, augment=("rotations",))
    how = Task("blob", ("wide", "narrow"), Preparation(16, 3, scaling=("unit",)), recipe=recipe)
    stamps = blobs(16, channels=3)
    pictures = replace(stamps, stamps=np.clip(stamps.stamps, 0, 255).astype(np.uint8))
    train_stamps(how, pictures, pictures, tmp_path)
    assert np.isfinite(losses(tmp_path)["train_loss"]).all()


def test_the_last_checkpoint_is_of_the_last_epoch_and_the_best_of_the_best(blobs, task, tmp_path):
    # steps so wide that the loss goes up and down
    how = task(epochs=6, rate=0.3, optimiser="sgd", schedule="constant", weight_decay=0.0)
    last = train_stamps(how, blobs(), blobs(20, seed=1), tmp_path)
    told = losses(tmp_path)["val_loss"]
    best = int(np.argmin(told))
    assert best < 5
    of_file = {name: torch.load(tmp_path / name, weights_only=False)["epoch"] for name in ("last.ckpt", "best.ckpt")}
    assert (last.name, of_file) == ("last.ckpt", {"last.ckpt": 5, "best.ckpt": best})


def test_validation_stamps_are_seen_as_they_are(blobs, task, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("classifiers.train.augmented", lambda inputs, _: seen.append(len(inputs)) or inputs)
    train_stamps(task(epochs=1), blobs(32), blobs(48, seed=1), tmp_path)
    assert sum(seen) == 32


def test_a_stamp_is_turned_mirrored_and_shifted_as_the_recipe_says():
    torch.manual_seed(0)
    inputs = torch.arange(2 * 16, dtype=torch.float32).reshape(2, 1, 4, 4)
    assert torch.equal(augmented(inputs, Recipe(augment=())), inputs)
    turned = augmented(inputs, Recipe())
    assert torch.equal(turned.flatten(1).sort().values, inputs.flatten(1).sort().values)
    wide = torch.ones(6, 1, 20, 20)
    shifted = augmented(wide, Recipe(augment=(), shift=0.1))
    assert shifted.shape == wide.shape
    assert (shifted == 0).any()


def test_balanced_classes_weigh_alike():
    weights = class_weights(np.array([0, 0, 0, 1]), 3, balance=True)
    assert weights.tolist()[:2] == pytest.approx([4 / 6, 2.0])
    assert class_weights(np.array([0, 0, 1]), 2, balance=False).tolist() == [1, 1]


def test_a_class_s_stamps_weigh_between_alike_and_the_class_alike():
    weights = class_weights(np.array([0] * 16 + [1]), 2, balance=0.5)
    assert float(weights[1] / weights[0]) == pytest.approx(4.0)
    assert float((16 * weights[0] + weights[1]) / 17) == pytest.approx(1.0)
    may_be = np.array([[True, False], [True, False], [False, True], [True, True]])
    assert class_weights(may_be, 2, balance=1) == pytest.approx(class_weights(np.array([0, 0, 1]), 2, balance=1))


def test_what_may_be_of_several_classes_is_told_by_the_sum_of_their_probabilities():
    logits, weights = torch.randn(5, 3, generator=torch.manual_seed(0)), torch.tensor([1.0, 2.0, 0.5])
    one = torch.tensor([0, 1, 2, 0, 1])
    plain = torch.nn.functional.cross_entropy(logits, one, weights)
    assert of_several(logits, torch.nn.functional.one_hot(one, 3).bool(), weights) == pytest.approx(float(plain))
    anything = torch.ones(5, 3, dtype=torch.bool)
    assert of_several(logits, anything, weights) == pytest.approx(0.0, abs=1e-6)
    two = torch.tensor([[True, True, False]] * 5)
    p = logits.softmax(dim=1)
    assert of_several(logits, two, torch.ones(3)) == pytest.approx(float(-(p[:, 0] + p[:, 1]).log().mean()))


def test_the_binary_loss_is_kerass_mean_over_sigmoids(task):
    module = StampClassifier(task(loss="binary"), torch.ones(2), 0)
    logits, classes = torch.tensor([[2.0, -1.0], [0.5, 0.3]]), torch.tensor([0, 1])
    p = torch.sigmoid(logits)
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    by_hand = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    assert module.loss(logits, classes) == pytest.approx(float(by_hand))


@pytest.mark.parametrize("name", ["compact", "negm"])
def test_the_file_that_is_run_is_the_network_that_was_trained(blobs, task, tmp_path, name):
    stamps, how = blobs(24, channels=3), task(name, channels=3, loss="binary" if name == "negm" else "cross_entropy")
    last = train_stamps(how, stamps, stamps, tmp_path / "t")
    path = export_classifier([last], tmp_path / "blob.onnx", validation=blobs(20, channels=3, seed=5), limits=["blobs"])
    classifier = Classifier.load(path)
    with torch.no_grad():
        logits = load_checkpoint(last, how)(torch.from_numpy(how.stamps(stamps.stamps))).numpy().astype(np.float64)
    card = classifier.card
    assert classifier.predict(stamps.stamps) == pytest.approx(
        probabilities(logits, card.activation, card.temperature), abs=1e-4
    )
    assert card.activation == ("sigmoid" if name == "negm" else "softmax")
    assert (card.task, classifier.classes, card.limits) == ("blob", ("wide", "narrow"), ["blobs"])


def test_a_file_takes_the_weights_of_the_classes_back_out(blobs, task, tmp_path):
    stamps = blobs(30).select(np.array([i for i in range(30) if i % 2 == 0 or i < 6]))  # 15 wide and 3 narrow
    weighted = task(balance=1, precision="bf16-mixed")
    last = train_stamps(weighted, stamps, stamps, tmp_path / "t")
    plain = Classifier.load(export_classifier([last], tmp_path / "plain.onnx")).logits(stamps.stamps)[:, 0]
    told = tmp_path / "t" / "task.json"
    told.write_text(told.read_text().replace('"unweighted": false', '"unweighted": true'))
    found = Classifier.load(export_classifier([last], tmp_path / "unweighted.onnx")).logits(stamps.stamps)[:, 0]
    weights = class_weights(weighted.numbers_of(stamps.labels), 2, balance=1).numpy()
    assert found == pytest.approx(plain - np.log(weights), abs=1e-4)
    assert (found[:, 0] - found[:, 1] > plain[:, 0] - plain[:, 1]).all()  # the commoner class is likelier


def test_several_networks_in_one_file_vote(blobs, task, tmp_path):
    stamps = blobs(24)
    last = [train_stamps(task(), stamps, stamps, tmp_path / str(seed), seed=seed) for seed in (1, 2)]
    alone = [Classifier.load(export_classifier([path], tmp_path / f"{path.parent.name}.onnx")) for path in last]
    together = Classifier.load(export_classifier(last, tmp_path / "both.onnx"))
    votes = together.votes(stamps.stamps)
    assert votes.shape == (24, 2, 2)
    for k, one in enumerate(alone):
        assert votes[:, k] == pytest.approx(one.predict(stamps.stamps), abs=1e-5)
    assert together.predict(stamps.stamps) == pytest.approx(votes.mean(axis=1))
    told = together.uncertainty(stamps.stamps)
    assert told.mutual_information == pytest.approx(uncertainty_of(votes).mutual_information)
    assert (told.mutual_information > 0).all()
    assert together.uncertainty(stamps.stamps[:0]).deviation.shape == (0,)
    with pytest.raises(UsageError, match="1: one network; export several checkpoints, or one with draws"):
        alone[0].uncertainty(stamps.stamps)


def test_draws_of_a_networks_dropout_are_kept_in_one_file_and_mean_what_the_network_says(blobs, task, tmp_path):
    last = train_stamps(task("negm_refined", epochs=6, batch=8), blobs(), blobs(8), tmp_path)
    stamps = blobs(30, seed=1)
    one, many = (
        Classifier.load(export_classifier([last], tmp_path / f"{draws}.onnx", draws=draws)) for draws in (0, 24)
    )
    votes = many.votes(stamps.stamps)
    assert votes.shape == (30, 24, 2)
    assert (votes.std(axis=1) > 1e-4).any()
    # the mean of the draws is the network's own answer, but for the error of a mean of 24 and what is not linear
    assert many.predict(stamps.stamps) == pytest.approx(one.predict(stamps.stamps), abs=0.15)
    assert np.abs(many.predict(stamps.stamps) - one.predict(stamps.stamps)).mean() < 0.05
    assert (many.uncertainty(stamps.stamps).mutual_information > 0).any()
    assert many.card.network == "24 draws of negm_refined"
    # a draw is kept: the same stamp is told the same whenever it is asked
    assert np.array_equal(many.votes(stamps.stamps[5:6])[0], many.votes(stamps.stamps[5:6])[0])
    assert many.votes(stamps.stamps[5:6])[0] == pytest.approx(votes[5], abs=1e-5)
    # the weights are written once
    sizes = [(tmp_path / f"{draws}.onnx").stat().st_size for draws in (0, 24)]
    assert sizes[1] < 6 * sizes[0]


def test_draws_of_what_drops_nothing_and_of_one_are_refused(blobs, task, tmp_path):
    last = train_stamps(task("negm", epochs=1), blobs(), blobs(8), tmp_path / "negm")
    with pytest.raises(UsageError, match="this network has none"):
        export_classifier([last], tmp_path / "negm.onnx", draws=4)
    last = train_stamps(task(epochs=1), blobs(), blobs(8), tmp_path / "compact")
    with pytest.raises(UsageError, match="draws must be 2 or more, got 1"):
        export_classifier([last], tmp_path / "compact.onnx", draws=1)
    assert not (tmp_path / "compact.onnx").exists()


def test_a_draw_drops_its_share_and_lifts_the_rest():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.25), torch.nn.Unflatten(1, (1, 40, 50)))
    some = torch.ones(3, 1, 40, 50)
    one, other = (draw(some) for draw in drawn(network, 2, [some]))
    assert one.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (one == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (one[0] == one[1]).all()  # the same of every stamp
    assert (one != other).any()
    assert torch.equal(drawn(network, 2, [some])[0](some), one)
    assert network.eval()(some).min() == 1  # and the network itself is as it was
    whole = torch.nn.Sequential(torch.nn.Dropout2d(0.5), torch.nn.Identity())
    channels = drawn(whole, 2, [torch.ones(1, 64, 4, 4)])[0](torch.ones(1, 64, 4, 4))[0]
    assert (channels == channels[:, :1, :1]).all()
    assert 0.2 < (channels[:, 0, 0] == 0).float().mean() < 0.8


def test_stamps_of_other_sizes_of_gray_and_with_holes_are_classified(blobs, task, tmp_path):
    stamps = blobs(24, channels=3)
    path = export_classifier([train_stamps(task(channels=3), stamps, stamps, tmp_path / "t")], tmp_path / "blob.onnx")
    classifier = Classifier.load(path)
    assert classifier.predict(blobs(5, side=40, channels=1).stamps).shape == (5, 2)
    holed = blobs(2, channels=3).stamps.copy()
    holed[:, :, -3:] = np.nan
    found = classifier.predict(holed)
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx(1)
    assert classifier.predict(np.zeros((0, 16, 16, 3), np.float32)).shape == (0, 2)
    with pytest.raises(InputError, match="2 channels, where the classifier takes 1 or 3"):
        classifier.predict(blobs(2, channels=2).stamps)
    with pytest.raises(InputError, match="stamp 1: not a finite pixel"):
        classifier.predict([holed[0], np.full((9, 9, 3), np.nan)])


def test_a_temperature_brings_overconfident_networks_to_what_is_right():
    random = np.random.default_rng(0)
    logits = random.normal(0, 1, (4000, 1, 3))
    cumulated = probabilities(logits, "softmax")[:, 0].cumsum(axis=1)
    true = (random.random((4000, 1)) > cumulated).sum(axis=1)
    assert fit_temperature(4 * logits, true, "softmax") == pytest.approx(4, rel=0.1)


def test_nothing_to_train_on_or_to_resume_is_told(blobs, task, tmp_path):
    none = blobs(4).select(np.zeros(4, np.bool_))
    with pytest.raises(InputError, match="no stamp to train on"):
        train_stamps(task(), none, blobs(4), tmp_path)
    with pytest.raises(InputError, match="no stamp to validate on"):
        train_stamps(task(), blobs(4), none, tmp_path)
    with pytest.raises(InputError, match="one stamp is too few"):
        train_stamps(task(), blobs(4).select(np.array([0])), blobs(4), tmp_path)
    with pytest.raises(InputError, match=r"no last\.ckpt to resume"):
        train_stamps(task(), blobs(4), blobs(4), tmp_path / "new", resume=True)


def test_a_checkpoint_of_another_task_is_refused(blobs, task, tmp_path):
    last = train_stamps(task(), blobs(), blobs(8), tmp_path)
    assert task_of(last) == task()
    with pytest.raises(InputError, match="not a checkpoint of blob"):
        load_checkpoint(last, task("negm"))
    (tmp_path / "task.json").write_text("{}")
    with pytest.raises(InputError, match="not the task of a trained classifier"):
        task_of(last)


def test_the_card_of_a_detector_is_not_a_classifiers():
    with pytest.raises(InputError, match="not the card of a network of this kind"):
        Classifier.load("galaxy")


def card_of(folder, **change):
    """A card as they were before there were thresholds and epochs, and what is changed of it."""
    good = {"name": "n", "task": "t", "network": "compact", "classes": ["a", "b"], "sha256": "0" * 64}
    good["stamps"] = {"size": 8, "channels": 1, "scaling": ["noise"]}
    (folder / "n.onnx").write_bytes(b"x")
    good["sha256"] = sha256(folder / "n.onnx")
    (folder / "n.json").write_text(json.dumps({**good, **change}))
    return Card.beside(folder / "n.onnx")


def test_a_card_from_before_there_were_thresholds_and_epochs_is_read(tmp_path):
    card = card_of(tmp_path)
    assert card.thresholds == {}
    assert card.preparation.epochs == 1
    assert "epochs" not in card.what()
    of_five = card_of(tmp_path, stamps={"size": 8, "channels": 1, "scaling": ["noise"], "epochs": 5})
    assert "stamps of 8 px, 1 channels, up to 5 epochs of them" in of_five.what()
    assert card_of(tmp_path, thresholds={"0.9": 0.25}).thresholds == {"0.9": 0.25}


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "relu"},
        {"temperature": 0},
        {"stamps": {"size": 1}},
        {"stamps": {"size": 8, "channels": 1, "scaling": ["noise"], "epochs": 0}},
        {"classes": []},
        {"thresholds": {"0.9": 1.5}},
        {"thresholds": {"1.2": 0.5}},
        {"thresholds": {"most": 0.5}},
        {"thresholds": {"0.9": None}},
        {"thresholds": [0.5]},
    ],
)
def test_a_malformed_card_is_refused(tmp_path, change):
    with pytest.raises(InputError, match="not the card of a network of this kind"):
        card_of(tmp_path, **change)


def test_patience_ends_a_training_and_keeps_its_best(blobs, task, tmp_path):
    how = replace(task(epochs=30, rate=1e-12, patience=2, optimiser="sgd", weight_decay=0.0, schedule="constant"))
    best = train_stamps(how, blobs(), blobs(8), tmp_path)
    assert best.name == "best.ckpt"
    assert len(losses(tmp_path)["val_loss"]) < 30
