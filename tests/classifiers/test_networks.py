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


def test_the_convnet_for_galaxy10_is_the_papers_layer_by_layer():
    network = networks.build("galaxy10", 3, 128, 10).eval()
    assert networks.parameters(network) == 654_922
    assert [row for row in shapes(network, 3, 128) if row[0] != "ReLU"] == [
        ("Conv2d", (32, 62, 62), 2432),
        ("MaxPool2d", (32, 31, 31), 0),
        ("Conv2d", (64, 29, 29), 18_496),
        ("MaxPool2d", (64, 14, 14), 0),
        ("Conv2d", (128, 12, 12), 73_856),
        ("MaxPool2d", (128, 6, 6), 0),
        ("Conv2d", (256, 4, 4), 295_168),
        ("MaxPool2d", (256, 2, 2), 0),
        ("Flatten", (1024,), 0),
        ("Dropout", (1024,), 0),
        ("Linear", (256,), 262_400),
        ("Dropout", (256,), 0),
        ("Linear", (10,), 2570),
    ]
    assert [layer.p for layer in network if isinstance(layer, torch.nn.Dropout)] == [0.1, 0.25]


def test_the_smooth_or_featured_network_has_three_convolutions_and_one_dense_layer():
    network = networks.build("smooth_featured", 3, 32, 2).eval()
    kinds = [row[0] for row in shapes(network, 3, 32)]
    assert kinds == [*("Conv2d", "ReLU", "MaxPool2d") * 3, "Flatten", "Linear"]


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
    size = max(size, 94 if name == "galaxy10" else 0)  # the least that its four poolings leave a pixel of
    size = size // 32 * 32 if name == "equivariant" else size
    network = networks.build(name, inputs, size, classes).eval()
    assert network(torch.zeros(2, inputs, size, size)).shape == (2, classes)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("lenet", 32, "unknown network"),
        ("timm:nosuch", 32, "timm has no network"),
        ("kim_brunner", 8, "8 px do not go through its layers; size must leave a pixel"),
        ("compact", 4, "size must be 8 or more, got 4"),
        ("equivariant", 112, "multiple of 32"),
    ],
)
def test_a_network_that_cannot_be_is_refused(name, size, message):
    with pytest.raises(UsageError, match=message):
        networks.build(name, 3, size, 2)


def test_the_efficientnet_has_the_papers_tail():
    network = networks.build("efficientnet_b0", 3, 64, 37).eval()
    tail = networks.tail_of(network)
    assert networks.parameters(tail) == 84_389
    assert networks.parameters(network) == 4_007_548 + 84_389
    assert [type(layer).__name__ for layer in tail if networks.parameters(layer)] == ["Linear", "Linear"]
    assert [layer.p for layer in tail if isinstance(layer, torch.nn.Dropout)] == [0.5]
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 37)
    # stages as published: channels and how far the image is halved; the last is the 1 x 1 convolution before the mean
    stages = network.features.blocks
    assert [stage[-1](torch.zeros(1, stage[-1].conv_pw.in_channels, 8, 8)).shape[1] for stage in stages[1:]] == [
        24, 40, 80, 112, 192, 320,
    ]  # fmt: skip
    assert [len(stage) for stage in stages] == [1, 2, 2, 3, 3, 4, 1]


def test_the_efficientnet_sees_stamps_as_its_weights_of_imagenet_did():
    network = networks.build("efficientnet_b0", 3, 32, 37)
    assert network.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert network.scatter.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    one_band = networks.build("efficientnet_b0", 1, 32, 37).eval()
    assert one_band(torch.zeros(1, 1, 32, 32)).shape == (1, 37)


def test_a_network_without_a_tail_has_its_last_layer_for_one():
    network = networks.build("compact", 3, 32, 5)
    assert networks.tail_of(network) is network.head[-1]


def test_weights_that_cannot_be_fetched_are_told_with_what_to_do(monkeypatch):
    monkeypatch.setattr("timm.create_model", lambda *_, **__: (_ for _ in ()).throw(OSError("no way\nout")))
    with pytest.raises(UsageError, match=r"efficientnet_b0: cannot be made \(no way out\); .* pretrained = false"):
        networks.build("efficientnet_b0", 3, 32, 37, pretrained=True)


def test_only_timm_has_trained_ones():
    with pytest.raises(UsageError, match="only EfficientNets and timm"):
        networks.build("compact", 3, 32, 2, pretrained=True)
