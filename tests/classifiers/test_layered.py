"""Classes by a network a question of a tree."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from classifiers import Classifier, Task  # noqa: E402 -- after what may be missing
from classifiers.attention import networks_of  # noqa: E402
from classifiers.augmenting import mixed_up  # noqa: E402
from classifiers.classify import probabilities  # noqa: E402
from classifiers.export import export_classifier  # noqa: E402
from classifiers.layers import check_layers, paths  # noqa: E402
from classifiers.networks import build, network_of, parameters  # noqa: E402
from classifiers.preparing import Preparation  # noqa: E402
from classifiers.tasks import Recipe  # noqa: E402
from classifiers.train import StampClassifier, load_checkpoint, train_stamps  # noqa: E402
from fieldprep.errors import InputError  # noqa: E402

pytestmark = pytest.mark.train

LAYERS = {"first": ("a", "second"), "second": ("b", "third"), "third": ("c", "d", "e")}
CLASSES = ("d", "a", "e", "b", "c")


@pytest.fixture(scope="module")
def layered():
    task = Task.read("morphology_layered")
    return replace(task, stamps=replace(task.stamps, size=94))


def test_the_way_to_a_class_is_its_questions_and_answers():
    ways = dict(zip(CLASSES, paths(LAYERS, CLASSES), strict=True))
    assert ways == {
        "a": [(0, 0)],
        "b": [(0, 1), (1, 0)],
        "c": [(0, 1), (1, 1), (2, 0)],
        "d": [(0, 1), (1, 1), (2, 1)],
        "e": [(0, 1), (1, 1), (2, 2)],
    }


def test_each_question_has_a_convnet_of_its_own(layered):
    network = network_of(layered)
    each = [parameters(build("galaxy10", 3, 94, answers)) for answers in (2, 3, 2)]
    assert parameters(network) == sum(each)


@given(st.integers(1, 6), st.integers(0, 1000))
def test_probabilities_sum_to_one_and_are_products_of_the_answers(n, seed):
    torch.manual_seed(seed)
    task = Task.read("morphology_layered")
    network = network_of(replace(task, network="compact", stamps=replace(task.stamps, size=16))).eval()
    stamps = torch.rand(n, 3, 16, 16)
    with torch.no_grad():
        found = network(stamps).exp().numpy()
        first, smooth, featured = (branch(stamps).softmax(dim=1).numpy() for branch in network.branches)
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert found[:, 1] == pytest.approx(first[:, 0] * smooth[:, 1], abs=1e-6)
    assert found[:, 4] == pytest.approx(first[:, 1] * featured[:, 1], abs=1e-6)


def branches_taught(module, stamps, targets, monkeypatch):
    """Gradient of each branch by one batch of a training, all its weights in a row; None where there is none."""
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    monkeypatch.setattr(type(module), "current_epoch", 0)
    module.zero_grad()
    module.training_step(((stamps,), targets), 0).backward()
    each = [[w.grad for w in branch.parameters() if w.grad is not None] for branch in module.network.branches]
    return [torch.cat([w.flatten() for w in grads]) if grads else None for grads in each]


def test_a_stamp_teaches_the_networks_on_its_way_and_no_other(layered, monkeypatch):
    module = StampClassifier(layered, torch.ones(5), 0)
    stamps, edge_on = torch.rand(2, 3, 94, 94), torch.tensor([3, 3])
    first, smooth, featured = branches_taught(module, stamps, edge_on, monkeypatch)
    assert smooth is None
    assert first.abs().max() > 0
    assert featured.abs().max() > 0
    asked = [branch(stamps) for branch in module.network.eval().branches]
    by_hand = torch.nn.functional.cross_entropy(asked[0], torch.tensor([1, 1])) + torch.nn.functional.cross_entropy(
        asked[2], torch.tensor([0, 0])
    )
    assert module.eval().loss(module(stamps), edge_on).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_a_batch_normalisation_sees_the_galaxies_of_its_question_alone(layered, monkeypatch):
    recipe = replace(layered.recipe, augment=())
    task = replace(layered, network="compact", stamps=replace(layered.stamps, size=16), recipe=recipe)
    module = StampClassifier(task, torch.ones(5), 0)
    for layer in module.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    targets = torch.tensor([0, 3, 1, 4, 2, 3])
    smooth, stamps = targets < 3, torch.rand(6, 3, 16, 16)
    other = torch.where(smooth[:, None, None, None], stamps, 3 * torch.rand(6, 3, 16, 16))
    one, two = (branches_taught(module, some, targets, monkeypatch) for some in (stamps, other))
    assert torch.allclose(one[1], two[1], atol=1e-6)
    assert not torch.allclose(one[0], two[0], atol=1e-2)
    assert not torch.allclose(one[2], two[2], atol=1e-2)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_what_it_is_told_of_the_classes_changes_no_answer_on_the_way_to_them(classes):
    task = Task.read("morphology_layered")
    torch.manual_seed(0)
    network = network_of(replace(task, network="compact", stamps=replace(task.stamps, size=16))).eval()
    stamps, of = torch.rand(len(classes), 3, 16, 16), torch.tensor(classes)
    with torch.no_grad():
        whole, told = network(stamps), network(stamps, torch.nn.functional.one_hot(of, 5).bool())
    rows = torch.arange(len(classes))
    assert torch.allclose(whole[rows, of], told[rows, of], atol=1e-5)
    assert told.exp().sum(dim=1).numpy() == pytest.approx(1, abs=1e-5)


def test_the_file_says_what_the_layers_say_and_has_no_maps(blobs, task, tmp_path):
    stamps = blobs(24)
    labels = np.array(["wide", "narrow", "middling"] * 8)
    stamps = replace(stamps, labels=labels)
    how = replace(
        task(classes=("wide", "narrow", "middling"), precision="bf16-mixed", mixup=0.2),
        layers={"is it narrow": ("narrow", "no"), "no": ("wide", "middling")},
    )
    last = train_stamps(how, stamps, stamps, tmp_path / "t")
    classifier = Classifier.load(export_classifier([last], tmp_path / "blob.onnx"))
    with torch.no_grad():
        logits = load_checkpoint(last, how)(torch.from_numpy(how.stamps(stamps.stamps))).numpy()
    assert classifier.predict(stamps.stamps) == pytest.approx(probabilities(logits, "softmax"), abs=1e-4)
    assert classifier.card.network == "layered:compact"
    with pytest.raises(InputError, match="maps are not drawn for layered"):
        networks_of(tmp_path / "blob.onnx", classifier.card)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"first": ("a", "b", "c", "d")}, "nothing leads to e"),
        ({"first": ("a", "b", "c", "d", "e", "a")}, "a are led to twice"),
        ({"first": ("a", "second"), "second": ("b", "c", "d", "e", "second")}, "second are led to twice"),
        ({"first": ("a", "second"), "second": ("b", "c", "d", "e"), "third": ("x", "y")}, "further questions"),
        ({"first": ("a", "b", "c", "d", "e", "f")}, "further questions"),
        ({"first": ("second", "e"), "second": ("a", "b", "c", "d"), "e": ("x", "y")}, "further questions"),
        ({"first": ("second",), "second": ("a", "b", "c", "d", "e")}, "two or more answers"),
    ],
)
def test_what_is_no_tree_of_the_classes_is_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        check_layers(layers, CLASSES)


def test_mixed_stamps_are_shares_of_themselves_and_their_partners():
    torch.manual_seed(1)
    stamps = torch.eye(6).reshape(6, 1, 1, 6)
    mixed, partner, share = mixed_up(stamps, 0.5)
    assert torch.allclose(mixed, share * stamps + (1 - share) * stamps[partner])
    assert torch.allclose(mixed.sum((1, 2, 3)), torch.ones(6))
    shares = [mixed_up(stamps, 0.2)[2] for _ in range(400)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert np.mean([min(one, 1 - one) < 0.05 for one in shares]) > 0.5  # most are nearly themselves or their partners


def test_targets_are_mixed_as_pictures_are(monkeypatch):
    recipe = Recipe(augment=(), mixup=0.5, loss="cross_entropy", noise=0.0)
    module = StampClassifier(Task("blob", ("a", "b", "c"), Preparation(16, 1), recipe=recipe), torch.ones(3), 7)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    monkeypatch.setattr(type(module), "current_epoch", 0)
    drawn = []
    monkeypatch.setattr("classifiers.train.mixed_up", lambda *told: drawn.append(mixed_up(*told)) or drawn[-1])
    stamps, targets = torch.rand(9, 1, 16, 16), torch.tensor([0, 1, 2] * 3)
    losses = [module.eval().training_step(((stamps,), targets), number) for number in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]  # by epoch and batch, so that what was stopped draws the same
    mixed, partner, share = drawn[0]
    one_hot = torch.nn.functional.one_hot(targets, 3).float()
    soft = share * one_hot + (1 - share) * one_hot[partner]
    wanted = -(soft * module(mixed).log_softmax(dim=1)).sum(dim=1).mean()
    assert losses[0].item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf")])
def test_what_is_no_mixup_is_refused(alpha):
    with pytest.raises(ValueError, match="mixup must"):
        Recipe(mixup=alpha)
