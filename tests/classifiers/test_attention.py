"""Networks read back from their file say what it says, and maps lie where what they are of lies."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("lightning")

import torch

from classifiers.attention import _last_maps, attention, check_same, networks_of
from classifiers.classify import Classifier
from classifiers.export import export_classifier
from classifiers.networks import build
from classifiers.stampsets import read_stamps
from classifiers.train import train_stamps
from fieldprep import resources
from fieldprep.errors import InputError

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """File of a task trained for one epoch, with what the export is given besides."""

    def make(task, stamps, number=1, **how):
        folder = tmp_path_factory.mktemp("trained")
        trained = [train_stamps(task, stamps, stamps, folder / str(seed), seed=seed) for seed in range(number)]
        return export_classifier(trained, folder / "blob.onnx", **how)

    return make


@pytest.mark.parametrize(
    ("network", "number", "turned"),
    [("compact", 1, False), ("compact", 1, True), ("compact", 2, True), ("negm", 2, False)],
)
def test_networks_read_back_say_what_the_file_says(exported, task, blobs, network, number, turned):
    path = exported(replace(task(network, epochs=1), turned=turned), blobs(), number)
    classifier = Classifier.load(path)
    inputs = classifier.card.preparation(blobs(70, seed=1).stamps)  # over a batch
    networks = networks_of(path, classifier.card)
    assert len(networks) == number
    check_same(networks, classifier, inputs)
    heat = attention(networks, classifier.card, inputs, np.zeros(70, np.int64))
    assert heat.shape == (70, 16, 16)
    assert heat.min() >= 0
    assert set(np.unique(heat.max(axis=(1, 2)).round(5))) <= {0.0, 1.0}
    with torch.no_grad():
        next(networks[0].parameters()).mul_(1.5)
    with pytest.raises(InputError, match="stray from the file"):
        check_same(networks, classifier, inputs)


def test_maps_of_a_turned_network_turn_with_the_stamp(exported, task, blobs):
    path = exported(replace(task(epochs=1), turned=True), blobs())
    card = Classifier.load(path).card
    inputs = card.preparation(blobs(6).stamps + np.linspace(0, 9, 16, dtype=np.float32)[:, None, None])
    networks, asked = networks_of(path, card), np.zeros(6, np.int64)
    heat = attention(networks, card, inputs, asked)
    turned = attention(networks, card, np.ascontiguousarray(np.rot90(inputs, axes=(2, 3))), asked)
    np.testing.assert_allclose(turned, np.rot90(heat, axes=(1, 2)), atol=1e-4)


def test_a_network_of_turned_kernels_is_read_back_too_and_its_file_knows_no_up(exported, task, blobs):
    plain = task(epochs=1)
    path = exported(replace(plain, network="equivariant", stamps=replace(plain.stamps, size=64)), blobs())
    classifier = Classifier.load(path)
    stamps = blobs(6, seed=1).stamps + np.linspace(0, 9, 16, dtype=np.float32)[:, None, None]
    inputs = classifier.card.preparation(stamps)
    networks = networks_of(path, classifier.card)
    check_same(networks, classifier, inputs)
    heat = attention(networks, classifier.card, inputs, np.zeros(6, np.int64))
    assert heat.shape == (6, 64, 64)
    found = classifier.predict(stamps)
    for turned in (np.rot90(stamps, axes=(1, 2)), stamps[:, ::-1], np.rot90(stamps[:, :, ::-1], 3, axes=(1, 2))):
        np.testing.assert_allclose(classifier.predict(turned), found, atol=1e-4)


@pytest.mark.parametrize("network", ["compact", "negm", "kim_brunner"])
def test_a_place_in_the_maps_is_the_place_in_the_stamp(network):
    size = 80
    built = build(network, 1, size, 2).eval()
    layer, grid = _last_maps(built, torch.zeros(1, 1, size, size))
    seen = []
    layer.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    inputs = torch.randn(1, 1, size, size, requires_grad=True)
    built(inputs)
    side = seen[-1].shape[-1]
    (gradient,) = torch.autograd.grad(seen[-1][0, :, side // 2, side // 2].sum(), inputs)
    columns = torch.nonzero(gradient[0, 0].abs().sum(0))[:, 0]
    index = (grid[0, 0, :, 0] + 1) / 2 * (side - 1)
    nearest = float(np.interp(side // 2, index.numpy(), np.arange(size)))
    low, high = int(columns.min()), int(columns.max())
    assert 0 < low < high < size - 1  # else the border would shift the middle of what it sees
    assert nearest == pytest.approx((low + high) / 2, abs=1.01)


def test_draws_and_series_have_no_maps(exported, task, blobs):
    path = exported(task(epochs=1), blobs(), draws=3)
    with pytest.raises(InputError, match="maps are not drawn for 3 draws of compact"):
        networks_of(path, Classifier.load(path).card)
    card = replace(Classifier.load(path).card, network="series")
    with pytest.raises(InputError, match="maps are not drawn for series"):
        networks_of(path, card)


def test_weights_of_another_network_are_missed_by_name(exported, task, blobs):
    path = exported(task(epochs=1), blobs())
    with pytest.raises(InputError, match="the weights of negm are not in it by name"):
        networks_of(path, replace(Classifier.load(path).card, network="negm"))


def test_a_file_that_is_no_network(tmp_path, exported, task, blobs):
    card = Classifier.load(exported(task(epochs=1), blobs())).card
    (tmp_path / "a.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"a\.onnx: not an ONNX file"):
        networks_of(tmp_path / "a.onnx", card)


def test_what_ships_is_read_back_on_real_stamps(data):
    stamps = read_stamps(data / "aries").stamps[:40]
    classifier = Classifier.load("star_galaxy")
    inputs = classifier.card.preparation(stamps)
    networks = networks_of(resources.weights_path("star_galaxy"), classifier.card)
    check_same(networks, classifier, inputs)
