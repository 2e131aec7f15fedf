import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
equivariant = pytest.importorskip("classifiers.equivariant")

from classifiers.networks import build, parameters  # noqa: E402 -- after what may be missing

pytestmark = pytest.mark.train

WAYS = range(equivariant.WAYS)


def looked_at(x, way):
    """Stamps, shape (N, C, size, size), in one of the eight ways."""
    return torch.rot90(x.flip(3) if way >= 4 else x, way % 4, (2, 3))


@pytest.fixture(scope="module")
def network():
    """A network whose batch normalisations have seen something, and not the same of each way."""
    torch.manual_seed(0)
    made = build("equivariant", 3, 64, 5)
    for _ in range(3):
        made(torch.rand(8, 3, 64, 64) * torch.linspace(0, 2, 64))
    return made.eval()


@settings(max_examples=16, deadline=None)
@given(seed=st.integers(0, 2**16), way=st.sampled_from(WAYS))
def test_every_way_up_is_told_the_same(network, seed, way):
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        assert torch.allclose(network(x), network(looked_at(x, way)), atol=1e-5)


def test_different_stamps_are_told_apart(network):
    with torch.no_grad():
        found = network(torch.rand(8, 3, 64, 64))
    assert found.std(0).min() > 1e-3


@pytest.mark.parametrize("way", WAYS)
def test_a_stamp_is_convolved_with_the_kernel_in_each_way(way):
    layer = equivariant.TurnedConvolution(3, 2, 5, padding=2, lifts=True)
    x = torch.rand(1, 3, 16, 16)
    kernel = looked_at(layer.weight.unflatten(2, (5, 5)), way)
    theirs = torch.nn.functional.conv2d(x, kernel, padding=2)
    assert torch.allclose(layer(x).unflatten(1, (2, 8))[:, :, way], theirs, atol=1e-6)


@pytest.mark.parametrize(("side", "stride", "padding"), [(3, 1, 1), (4, 2, 1), (1, 1, 0)])
@pytest.mark.parametrize("way", WAYS)
def test_what_a_layer_gives_turns_with_what_it_is_given(way, side, stride, padding):
    lift = equivariant.TurnedConvolution(1, 2, 3, padding=1, lifts=True)
    layer = equivariant.TurnedConvolution(2, 3, side, stride, padding)
    x = torch.rand(1, 1, 12, 12)
    straight, turned = layer(lift(x)), layer(lift(looked_at(x, way)))
    assert not torch.allclose(straight, turned, atol=1e-3) or way == 0
    fields = looked_at(straight, way).unflatten(1, (3, 8))
    # each way has gone to where the turn brings it
    grid = np.arange(9).reshape(3, 3)
    ways = [equivariant.turned(grid, k) for k in WAYS]
    went = [next(k for k in WAYS if (ways[k] == equivariant.turned(one, way)).all()) for one in ways]
    assert sorted(went) == list(WAYS)
    assert torch.allclose(turned.unflatten(1, (3, 8))[:, :, went], fields, atol=1e-5)


def test_it_has_an_eighth_of_the_weights_of_a_network_of_as_many_filters():
    network = build("equivariant", 3, 96, 7)
    assert parameters(network) == 321_131
    convolutions = [one for one in network.modules() if isinstance(one, equivariant.TurnedConvolution)]
    assert {one.kernels().numel() // one.weight.numel() for one in convolutions} == {8}


def test_torchs_own_layers_say_the_same(network):
    x = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        ours = network(x)
        plain = equivariant.plain(build_like(network))
        assert torch.allclose(ours, plain(x), atol=1e-5)
    assert not any(isinstance(one, equivariant.TurnedConvolution) for one in plain.modules())


def build_like(network):
    """A copy of a network of the fixture."""
    copy = build("equivariant", 3, 64, 5)
    copy.load_state_dict(network.state_dict())
    return copy.eval()
