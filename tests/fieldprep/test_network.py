import numpy as np
import pytest

from fieldprep import network
from fieldprep.errors import InputError, UsageError
from fieldprep.network import load_network
from fieldprep.resources import weights_path
from fieldprep.variants import picture


def test_both_runtimes_give_the_same_on_a_real_tile(sdss_field):
    pytest.importorskip("onnxruntime")
    tile = picture(sdss_field, "N")[400:720, 800:1120]
    batch = np.ascontiguousarray(np.moveaxis(tile, -1, 0)[None], np.float32) / 255
    path = weights_path("galaxy")
    ours = load_network(path, runtime="openvino", precision="f32")(batch)
    theirs = load_network(path, runtime="onnxruntime")(batch)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.float32
    assert np.abs(ours[0, 4:] - theirs[0, 4:]).max() < 1e-3
    # a box without a score is noise; edges of the others to a thousandth of the tile's 320 pixels
    seen = theirs[0, 4] > 0.01
    assert seen.any()
    assert np.abs(ours[0, :4, seen] - theirs[0, :4, seen]).max() < 0.32


def test_bfloat16_says_the_same_of_a_real_tile_within_its_own_grain(sdss_field):
    tile = picture(sdss_field, "N")[400:720, 800:1120]
    batch = np.ascontiguousarray(np.moveaxis(tile, -1, 0)[None], np.float32) / 255
    path = weights_path("galaxy")
    exact, rough = (load_network(path, runtime="openvino", precision=precision)(batch) for precision in ("f32", "bf16"))
    assert np.abs(exact[0, 4:] - rough[0, 4:]).max() < 0.05
    seen = exact[0, 4] > 0.25
    assert seen.any()
    # no two anchors share a score for want of digits
    assert len(np.unique(rough[0, 4])) > 0.9 * rough.shape[2]
    # the last sums, of whole pixels, stay in float32: a box at x = 300 is no coarser than one at 0
    assert np.abs(exact[0, :4, seen] - rough[0, :4, seen]).max() < 1


def test_the_output_is_dense_with_an_anchor_every_8_16_and_32_pixels():
    output = load_network(weights_path("galaxy"))(np.zeros((1, 3, 96, 64), np.float32))
    assert output.shape == (1, 6, 12 * 8 + 6 * 4 + 3 * 2)  # a box, galaxy, and star, which is taught only


def test_a_network_answers_many_shapes_the_same_way_each_time():
    run = load_network(weights_path("galaxy"))
    batches = [np.random.default_rng(n).random((1, 3, 32 * n, 64), dtype=np.float32) for n in range(1, 7)]
    first = [run(batch) for batch in batches]
    for batch, before in zip(batches, first, strict=True):
        np.testing.assert_allclose(run(batch), before, atol=1e-4)


def test_an_output_is_the_callers_own():
    run = load_network(weights_path("galaxy"))
    first = run(np.zeros((1, 3, 64, 64), np.float32))
    kept = first.copy()
    run(np.ones((1, 3, 64, 64), np.float32))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_several_inputs_are_given_in_the_files_order_whatever_they_are_called(tmp_path, runtime):
    pytest.importorskip(runtime)
    onnx = pytest.importorskip("onnx")
    kind = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info(name, kind, ["n", 2]) for name in ("z", "a")]
    output = onnx.helper.make_tensor_value_info("difference", kind, ["n", 2])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Sub", ["z", "a"], ["difference"])], "difference", inputs, [output]
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "difference.onnx")
    run = load_network(tmp_path / "difference.onnx", runtime=runtime, precision="f32")
    for n in (3, 5):
        first, second = np.full((n, 2), 5, np.float32), np.full((n, 2), 2, np.float32)
        assert run(first, second).tolist() == [[3, 3]] * n


@pytest.mark.parametrize("n", [1, 5, 64])
def test_a_classifiers_last_layer_keeps_its_digits(tmp_path, n):
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
    random = np.random.default_rng(0)
    weights, heights = random.normal(size=(7, 96)).astype(np.float32), random.normal(size=7).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["seen", "weights", "heights"], ["logits"], transB=1)],
        "last",
        [helper.make_tensor_value_info("seen", kind, ["n", 96])],
        [helper.make_tensor_value_info("logits", kind, ["n", 7])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(heights, "heights")],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "last.onnx")
    seen = random.normal(size=(n, 96)).astype(np.float32)
    found = load_network(tmp_path / "last.onnx", runtime="openvino", precision="bf16")(seen)
    np.testing.assert_allclose(found, seen @ weights.T + heights, atol=1e-4)


def test_an_unknown_runtime_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="unknown runtime 'tensorflow'"):
        load_network(tmp_path / "any.onnx", runtime="tensorflow")


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("content", [b"", b"not a network", bytes(range(256)) * 8])
def test_a_file_that_is_no_network_is_an_input_error(tmp_path, runtime, content):
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime")
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.onnx: not a network"):
        load_network(path, runtime=runtime)


def test_the_environment_names_the_runtime(monkeypatch, tmp_path):
    loaded = []
    monkeypatch.setattr(network, "_onnxruntime", lambda path: loaded.append(("onnxruntime", path)))
    monkeypatch.setattr(network, "_openvino", lambda path, _precision: loaded.append(("openvino", path)))
    monkeypatch.setenv("FULLFIELD_RUNTIME", "onnxruntime")
    load_network(tmp_path)
    load_network(tmp_path, runtime="openvino")
    monkeypatch.delenv("FULLFIELD_RUNTIME")
    load_network(tmp_path)
    assert [name for name, _ in loaded] == ["onnxruntime", "openvino", "openvino"]


def test_an_unknown_runtime_in_the_environment_is_a_usage_error(monkeypatch, tmp_path):
    monkeypatch.setenv("FULLFIELD_RUNTIME", "tpu")
    with pytest.raises(UsageError, match="'tpu'"):
        load_network(tmp_path / "any.onnx")


def test_the_environment_names_the_precision(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(network, "_openvino", lambda _path, precision: asked.append(precision))
    monkeypatch.setenv("FULLFIELD_PRECISION", "f32")
    load_network(tmp_path)
    load_network(tmp_path, precision="bf16")
    monkeypatch.setenv("FULLFIELD_PRECISION", "int3")
    with pytest.raises(UsageError, match="unknown precision 'int3': it is f32 or bf16"):
        load_network(tmp_path)
    assert asked == ["f32", "bf16"]


def test_a_runtime_that_is_not_installed_is_named_with_what_to_install(monkeypatch, tmp_path):
    def missing(*_):
        raise ImportError

    monkeypatch.setattr(network, "_onnxruntime", missing)
    with pytest.raises(UsageError, match=r'pip install "fullfield\[onnxruntime\]"'):
        load_network(tmp_path / "any.onnx", runtime="onnxruntime")
