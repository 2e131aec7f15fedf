import pytest

torch = pytest.importorskip("torch")
networks = pytest.importorskip("classifiers.networks")

from fieldprep.errors import UsageError  # noqa: E402 -- after what may be missing

pytestmark = pytest.mark.train


def shapes(network, inputs, size):
    """Type and output shape of each layer that has one of its own."""
    found = []
    x = torch.zeros(1, inputs, size, size)
    for layer in network:
        x = layer(x)
        found.append((type(layer).__name__, tuple(x.shape[1:]), networks.parameters(layer)))
    return found


def test_the_initial_network_of_negm_is_the_papers_layer_by_layer():
    network = networks.build("negm", 3, 69, 2).eval()
    assert networks.parameters(network) == 1_420_738
    assert [row for row in shapes(network, 3, 69) if row[0] != "ReLU"] == [
        ("Conv2d", (32, 69, 69), 896),
        ("MaxPool2d", (32, 35, 35), 0),
        ("Conv2d", (64, 35, 35), 18_496),
        ("MaxPool2d", (64, 18, 18), 0),
        ("Conv2d", (128, 18, 18), 73_856),
        ("MaxPool2d", (128, 9, 9), 0),
        ("Flatten", (10_368,), 0),
        ("Linear", (128,), 1_327_232),
        ("Linear", (2,), 258),
    ]


def test_the_refined_network_of_negm_adds_dropout_where_the_table_has_it():
    network = networks.build("negm_refined", 3, 69, 2)
    assert networks.parameters(network) == 1_420_738
    kinds = [row[0] for row in shapes(network.eval(), 3, 69) if row[0] != "ReLU"]
    assert kinds == [*("Conv2d", "MaxPool2d", "Dropout") * 3, "Flatten", "Linear", "Dropout", "Linear"]


def test_the_network_of_kim_and_brunner_is_the_tables_layer_by_layer():
    network = networks.build("kim_brunner", 5, 44, 2).eval()
    rows = [row for row in shapes(network, 5, 44) if row[0] in {"Conv2d", "MaxPool2d", "Linear"}]
    filters = [
        (kind, shape[0], layer.kernel_size, layer.padding)
        for (kind, shape, _), layer in zip(
            [row for row in rows if row[0] == "Conv2d"],
            [layer for layer in network if isinstance(layer, torch.nn.Conv2d)],
            strict=True,
        )
    ]
    assert filters == [
        ("Conv2d", 32, (5, 5), (0, 0)),
        ("Conv2d", 32, (3, 3), (1, 1)),
        *[("Conv2d", 64, (3, 3), (1, 1))] * 3,
        *[("Conv2d", 128, (3, 3), (1, 1))] * 3,
    ]
    assert [shape for kind, shape, _ in rows if kind == "MaxPool2d"] == [(32, 20, 20), (64, 10, 10), (128, 5, 5)]
    assert [shape for kind, shape, _ in rows if kind == "Linear"] == [(2048,), (2048,), (2,)]


@pytest.mark.parametrize("name", [*networks.NETWORKS, "timm:resnet10t"])
@pytest.mark.parametrize(("inputs", "size", "classes"), [(3, 69, 2), (6, 44, 3), (1, 32, 10)])
def test_every_network_gives_a_logit_a_class(name, inputs, size, classes):
    network = networks.build(name, inputs, size, classes).eval()
    assert network(torch.zeros(2, inputs, size, size)).shape == (2, classes)
    assert networks.first_convolution(network).in_channels == inputs


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("lenet", 32, "unknown network"),
        ("timm:nosuch", 32, "timm has no network"),
        ("kim_brunner", 8, "too small"),
        ("compact", 4, "too small"),
    ],
)
def test_a_network_that_cannot_be_is_refused(name, size, message):
    with pytest.raises(UsageError, match=message):
        networks.build(name, 3, size, 2)


def test_only_timm_has_trained_ones():
    with pytest.raises(UsageError, match="only timm"):
        networks.build("compact", 3, 32, 2, pretrained=True)
