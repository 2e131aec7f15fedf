"""What a vision transformer attends to, read from the file that is run."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.rollout import rolled

STAMPS = 4


@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 6), st.integers(0, 1000))
def test_what_is_rolled_out_sums_to_one(layers, heads, tokens, seed):
    random = np.random.default_rng(seed)
    weights = [random.dirichlet(np.ones(tokens), (2, heads, tokens)).astype(np.float32) for _ in range(layers)]
    found = rolled(weights)
    assert found.shape == (2, tokens, tokens)
    assert found.sum(axis=2) == pytest.approx(1, abs=1e-5)
    assert (found >= 0).all()


def test_two_layers_by_hand():
    first, second = np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    weights = [one[None, None].astype(np.float32) for one in (first, second)]
    half = [0.5 * one + 0.5 * np.eye(2) for one in (first, second)]
    assert rolled(weights)[0] == pytest.approx(half[1] @ half[0])


@pytest.mark.train
def test_the_file_s_attention_is_torch_s_and_its_answers_too(blobs, task, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightning")

    from classifiers import Classifier  # noqa: PLC0415 -- needs the train extra to make
    from classifiers.classify import probabilities  # noqa: PLC0415 -- as above
    from classifiers.export import export_classifier  # noqa: PLC0415 -- as above
    from classifiers.preparing import Preparation  # noqa: PLC0415 -- as above
    from classifiers.rollout import rollout  # noqa: PLC0415 -- as above
    from classifiers.train import load_checkpoint, train_stamps  # noqa: PLC0415 -- as above
    from fieldprep.network import attention_weights  # noqa: PLC0415 -- as above

    stamps = blobs(8)
    how = replace(task("timm:test_vit", epochs=1), stamps=Preparation(160, 1))
    last = train_stamps(how, stamps, stamps, tmp_path / "t")
    path = export_classifier([last], tmp_path / "blob.onnx")
    inputs = how.stamps(stamps.stamps[:STAMPS])
    network = load_checkpoint(last, how).network
    seen = []
    for block in network.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _layer, _inputs, output: seen.append(output.numpy()))
    with torch.no_grad():
        logits = network(torch.from_numpy(inputs)).numpy().astype(np.float64)
    assert Classifier.load(path).predict(stamps.stamps[:STAMPS]) == pytest.approx(
        probabilities(logits, "softmax"), abs=1e-4
    )
    found = attention_weights(path, inputs)
    assert len(found) == len(seen) > 1
    for ours, theirs in zip(found, seen, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    maps = rollout(path, inputs)
    assert maps.shape == (STAMPS, 160, 160)
    assert maps.min() == 0
    assert maps.max() == 1
    small = tmp_path / "compact"
    last = train_stamps(task(epochs=1), stamps, stamps, small)
    assert rollout(export_classifier([last], small / "blob.onnx"), task().stamps(stamps.stamps)) is None
