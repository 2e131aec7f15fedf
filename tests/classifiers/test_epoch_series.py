"""The network of several epochs: trained, in a file, and run from it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from classifiers.classify import Classifier  # noqa: E402 -- after what may be missing
from classifiers.export import export_classifier  # noqa: E402
from classifiers.networks import build  # noqa: E402
from classifiers.preparing import Preparation  # noqa: E402
from classifiers.series import NO_EPOCH, Series, network_inputs  # noqa: E402
from classifiers.stampsets import StampSet, read_stamps  # noqa: E402
from classifiers.tasks import Recipe, Task  # noqa: E402
from classifiers.train import augmented, load_checkpoint, train_stamps  # noqa: E402
from classifiers.training import train_and_export  # noqa: E402
from fieldprep.errors import InputError  # noqa: E402

pytestmark = pytest.mark.train

PACE = Task(
    "pace",
    ("slow", "fast"),
    Preparation(8, 1, epochs=3),
    "series",
    recipe=Recipe(epochs=6, batch=16, augment=(), rate=5e-3, weight_decay=0.0),
)


def blinking(n, seed):
    """Stamps that are all alike but for noise, two or three of each object, in weeks (slow) or in hours (fast)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:8, :8] - 3.5
    light = 60 * np.exp(-(x**2 + y**2) / 8)[..., None]
    rows = []
    for i in range(n):
        apart = (10, 40) if i % 2 else (0.01, 0.5)
        times = 59_000 + np.cumsum(random.uniform(*apart, random.integers(2, 4)))
        rows += [{"objectId": f"o{i}", "mjd": time, "label": "slow" if i % 2 else "fast"} for time in times]
    table = pd.DataFrame(rows)
    brightness = random.uniform(0.5, 2, (len(table), 1, 1, 1))
    some = (light * brightness + random.normal(100, 1, (len(table), 8, 8, 1))).astype(np.float32)
    names = table["objectId"].to_numpy(np.str_)
    return StampSet(some, table["label"].to_numpy(np.str_), names, names, table)


def without_gaps(some):
    """The same stamps in the same order, a day apart each."""
    return replace(some, rows=some.rows.assign(mjd=np.arange(len(some))))


def best(folder):
    return pd.read_csv(folder / "log" / "metrics.csv")["val_balanced_accuracy"].dropna().max()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network that tells slow from fast, exported, with its checkpoint."""
    folder = tmp_path_factory.mktemp("pace")
    last = train_stamps(PACE, blinking(160, 1).of_task(PACE), blinking(60, 2).of_task(PACE), folder)
    return last, export_classifier([last], folder / "pace.onnx", validation=blinking(60, 2).of_task(PACE))


def test_what_only_the_time_between_epochs_tells_is_learnt_from_it_and_not_without_it(trained, tmp_path):
    assert best(trained[0].parent) > 0.95
    some, others = (without_gaps(blinking(n, seed)).of_task(PACE) for n, seed in ((160, 1), (60, 2)))
    train_stamps(PACE, some, others, tmp_path)
    assert best(tmp_path) < 0.7
    classifier = Classifier.load(trained[1])
    unseen = blinking(60, 3).of_task(PACE)
    given = np.array(classifier.classes)[classifier.predict(unseen.stamps).argmax(axis=1)]
    assert (given == unseen.labels).mean() > 0.95


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_the_file_takes_stamps_and_gaps_and_says_what_the_network_does(trained, runtime):
    pytest.importorskip(runtime)
    last, path = trained
    unseen = blinking(70, 4).of_task(PACE)  # more than a batch
    classifier = Classifier.load(path, runtime=runtime)
    with torch.no_grad():
        inputs = map(torch.from_numpy, network_inputs(PACE.stamps, unseen.stamps))
        theirs = load_checkpoint(last, PACE)(*inputs).numpy()
    assert classifier.logits(unseen.stamps)[:, 0] == pytest.approx(theirs, abs=1e-3)
    assert classifier.card.preparation == PACE.stamps


def test_one_epoch_is_told_as_the_network_of_single_stamps_tells_it():
    torch.manual_seed(0)
    network = build("series", 2, 16, 3).eval()
    single = build("compact", 2, 16, 3).eval()
    single.load_state_dict(network.each.state_dict())
    some = torch.randn(4, 2, 16, 16)
    alone = torch.full((4, 5), NO_EPOCH)
    alone[:, 0] = 0
    padded = torch.randn(4, 5, 2, 16, 16)  # whatever stands where no epoch is
    padded[:, 0] = some
    assert torch.allclose(network(padded, alone), single(some), atol=1e-6)
    assert torch.allclose(network(some), single(some), atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_epochs_that_are_not_there_change_nothing(training):
    torch.manual_seed(0)
    network = build("series", 2, 16, 3).train(training)
    network.each.head[0].p = 0.0
    some, apart = torch.randn(4, 2, 2, 16, 16), torch.tensor([[0.0, 3.0]] * 4)
    wide, wide_apart = torch.full((4, 5, 2, 16, 16), 7.0), torch.full((4, 5), NO_EPOCH)
    wide[:, :2], wide_apart[:, :2] = some, apart
    assert torch.allclose(network(wide, wide_apart), network(some, apart), atol=1e-5)
    # while an epoch that is there, its time and its place do
    for other in (some.flip(1), some[:, :1].repeat(1, 2, 1, 1, 1)):
        assert not torch.allclose(network(other, apart), network(some, apart), atol=1e-5)
    assert not torch.allclose(network(some, apart + torch.tensor([0.0, 1.0])), network(some, apart), atol=1e-5)


def test_padding_in_the_file_changes_nothing_and_the_latest_are_those_that_count(trained):
    classifier = Classifier.load(trained[1])
    four = blinking(8, 5).stamps[:4]
    times = np.array([1.0, 2.0, 30.0, 30.2])
    # the probabilities of what is this plain are all 0 or 1
    [of_four], [of_three], [of_two] = (classifier.logits([Series(four[-k:], times[-k:])]) for k in (4, 3, 2))
    assert of_four == pytest.approx(of_three)  # the card says three
    assert np.abs(of_three - of_two).max() > 0.01
    together = classifier.logits([Series(four[-3:], times[-3:]), Series(four[-2:], times[-2:])])
    assert together == pytest.approx(np.array([of_three, of_two]), abs=1e-4)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["lightning"] = None
import numpy as np
from classifiers import Classifier, Series
stamps = np.random.default_rng(0).normal(100, 1, (2, 8, 8, 1))
print(Classifier.load(sys.argv[1]).predict([Series(stamps, [1.0, 30.0])]).sum())
"""


def test_a_series_is_told_where_there_is_no_torch(trained):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, trained[1]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(1)


def test_a_series_where_single_stamps_are_taken_and_stamps_of_other_channels_are_refused(
    trained, blobs, task, tmp_path
):
    classifier = Classifier.load(trained[1])
    assert classifier.predict(blobs(3, side=12).stamps).shape == (3, 2)  # each a series of one
    assert classifier.predict([]).shape == (0, 2)
    with pytest.raises(InputError, match="series 1, stamp 0: 3 channels, where the classifier takes 1"):
        classifier.predict([blobs(1).stamps[0], Series(blobs(2, channels=3).stamps, [1, 2])])
    path = export_classifier([train_stamps(task(epochs=1), blobs(), blobs(8), tmp_path)], tmp_path / "blob.onnx")
    with pytest.raises(InputError, match="stamp 0: a series, where the classifier takes single stamps"):
        Classifier.load(path).predict([Series(blobs(2).stamps, [1, 2])])


def test_the_epochs_of_a_series_are_turned_and_shifted_alike():
    torch.manual_seed(0)
    same = torch.rand(6, 1, 2, 16, 16).repeat(1, 3, 1, 1, 1)
    changed = augmented(same, Recipe(shift=0.2))
    assert changed.shape == same.shape
    assert torch.equal(changed[:, 0], changed[:, 2])
    assert not torch.equal(changed, same)


def test_alerts_of_ztf_are_trained_on_in_series_and_the_card_says_how_many_have_how_many(data, tmp_path):
    task = replace(Task.read("real_bogus_series"), recipe=Recipe(epochs=1, batch=32))
    task = replace(task, stamps=replace(task.stamps, size=16))
    ztf = read_stamps(data / "ztf")
    path = train_and_export(task, ztf, tmp_path, data="ZTF")
    classifier = Classifier.load(path)
    training = classifier.card.training
    assert training["series by number of epochs"] == {"1": 905, "2": 58, "3": 8, "7": 1}
    assert training["epochs left out, the earliest of longer series"] == 2
    parts = pd.read_csv(tmp_path / "split.csv")
    assert len(parts) == parts["name"].nunique() == 972
    several = [one for one in ztf.of_task(task).stamps if len(one) > 1]
    assert len(several) == 67
    known, alone = classifier.predict(several), classifier.predict([one.stamps[0] for one in several])
    assert np.abs(known - alone).max() > 1e-4
