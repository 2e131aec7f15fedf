"""Running an ONNX network: OpenVINO as installed, ONNX Runtime where it is wanted; callers see no difference."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from fieldprep.cores import cores
from fieldprep.errors import InputError, UsageError, one_line

if TYPE_CHECKING:
    from pathlib import Path

RUNTIME = "FULLFIELD_RUNTIME"  # environment variable: openvino (default) or onnxruntime
PRECISION = "FULLFIELD_PRECISION"  # environment variable: f32, or bf16, which is the default where the processor has it

MOST_SCORES = 4  # channels of a convolution that ends in scores: one a class
MOST_ANSWERS = 37  # outputs of a layer that ends in what a classifier says: Galaxy Zoo 2's

FloatArray = npt.NDArray[np.float32]


class Network(Protocol):
    """A loaded network: float32 in, as (N, C, H, W) or whatever it takes, the first output out."""

    def __call__(self, batch: FloatArray, /, *more: FloatArray) -> FloatArray:
        """Run it; a network of several inputs is given them in the file's order."""


def load_network(path: Path, *, runtime: str | None = None, precision: str | None = None) -> Network:
    """
    Load an ONNX file for running on the CPU (ONNX Runtime: on a GPU if its GPU build is installed).

    Parameters
    ----------
    path : path
        The ``.onnx``.
    runtime : {'openvino', 'onnxruntime'}, optional
        By default what the environment variable FULLFIELD_RUNTIME says, else OpenVINO.
    precision : {'f32', 'bf16'}, optional
        Of OpenVINO's sums; ONNX Runtime's are float32. By default what the environment variable FULLFIELD_PRECISION
        says, else bfloat16, which takes half the time, where the processor multiplies it itself (asked for elsewhere
        it is slow), and float32 where not.

    Returns
    -------
    Network

    Raises
    ------
    fieldprep.errors.InputError
        If the file cannot be loaded.
    fieldprep.errors.UsageError
        If the runtime or the precision is unknown, or the runtime not installed.
    """
    runtime = runtime or os.environ.get(RUNTIME, "openvino")
    if runtime not in {"openvino", "onnxruntime"}:
        raise UsageError(f"unknown runtime {runtime!r}: it is openvino or onnxruntime")
    precision = precision or os.environ.get(PRECISION, "")
    if precision not in {"f32", "bf16", ""}:
        raise UsageError(f"unknown precision {precision!r}: it is f32 or bf16")
    try:
        return _openvino(path, precision) if runtime == "openvino" else _onnxruntime(path)
    except ImportError as error:
        raise UsageError(f'{runtime} is not installed; pip install "fullfield[{runtime}]"') from error
    except Exception as error:  # ONNX Runtime's own exceptions have no base but Exception
        raise InputError(f"{path}: not a network that {runtime} can load ({one_line(error)})") from error


def _openvino(path: Path, precision: str) -> Network:
    import openvino  # noqa: PLC0415 -- half a second to import, spared where ONNX Runtime is used

    core = openvino.Core()
    if not precision:
        precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": cores(),
    }
    model = core.read_model(path)
    if precision == "bf16":
        _last_sums_in_float32(model)
    compiled: dict[tuple[tuple[int, ...], ...], Any] = {}

    def run(*inputs: FloatArray) -> FloatArray:
        # a network compiled for its shape runs faster than one of open shape, and a batch has few shapes
        shapes = tuple(batch.shape for batch in inputs)
        if shapes not in compiled:
            if len(compiled) >= 4:
                compiled.clear()
            model.reshape({i: list(shape) for i, shape in enumerate(shapes)})
            compiled[shapes] = core.compile_model(model, "CPU", options)
        return np.array(compiled[shapes](list(inputs))[0], np.float32)

    return run


def _last_sums_in_float32(model: Any) -> None:
    """
    Write the layers that end in scores as sums, which OpenVINO leaves in float32.

    A score that comes out of a bfloat16 layer has one of some 700 values, so that a tenth of a field's detections share
    their confidence with another and their order, which average precision is made of, is chance.
    """
    from openvino import opset13  # noqa: PLC0415 -- see _openvino

    for node in model.get_ordered_ops():
        if not _ends_in_scores(node):
            continue
        features = opset13.unsqueeze(node.input_value(0), opset13.constant([1]))
        weights = opset13.unsqueeze(node.input_value(1), opset13.constant([0]))
        # OpenVINO 2026.4 adds up what is not there where a sum of three axes drops the last of them itself
        total = opset13.reduce_sum(opset13.multiply(features, weights), opset13.constant([2]), keep_dims=True)
        total = opset13.squeeze(total, opset13.constant([2]))
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(total.output(0))
    model.validate_nodes_and_infer_types()


def _ends_in_scores(node: Any) -> bool:
    """Whether it is a detector's last convolution or a classifier's last layer, of weights (outputs, inputs)."""
    kind = node.get_type_name()
    if kind == "Convolution":
        outputs, _, *kernel = node.input_value(1).get_partial_shape().to_shape()
        return bool(outputs <= MOST_SCORES and kernel == [1, 1])
    if kind != "MatMul" or node.input_value(1).get_node().get_type_name() != "Constant":
        return False
    turned = node.get_attributes()
    weights = list(node.input_value(1).get_partial_shape().to_shape())
    return bool(
        len(weights) == node.input_value(0).get_partial_shape().rank.get_length() == 2
        and turned["transpose_b"]
        and not turned["transpose_a"]
        and weights[0] <= MOST_ANSWERS
    )


def _onnxruntime(path: Path) -> Network:
    import onnxruntime  # noqa: PLC0415 -- optional

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(
        str(path), options, providers=[p for p in onnxruntime.get_available_providers() if "Tensorrt" not in p]
    )
    names = [entry.name for entry in session.get_inputs()]

    def run(*inputs: FloatArray) -> FloatArray:
        return np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0], np.float32)

    return run


def first_filters(path: Path) -> list[FloatArray]:
    """
    Filters of the convolutions that see the input itself, as an ONNX file has them.

    Parameters
    ----------
    path : path
        The ``.onnx``.

    Returns
    -------
    list of 4D float32 `~numpy.ndarray`, shape (filters, channels, ny, nx)
        One of a network, several where several run side by side; none where something comes before the convolution.

    Raises
    ------
    fieldprep.errors.InputError
        If the file cannot be read.
    """
    import openvino  # noqa: PLC0415 -- see _openvino

    try:
        nodes = openvino.Core().read_model(path).get_ordered_ops()
    except Exception as error:
        raise InputError(f"{path}: not a network that openvino can load ({one_line(error)})") from error
    pairs = [
        [node.input_value(i).get_node() for i in (0, 1)] for node in nodes if node.get_type_name() == "Convolution"
    ]
    return [
        np.array(weights.data, np.float32)
        for seen, weights in pairs
        if seen.get_type_name() == "Parameter" and weights.get_type_name() == "Constant"
    ]


def attention_weights(path: Path, batch: FloatArray) -> list[FloatArray]:
    """
    How much each token of a transformer attends to each other, layer by layer.

    Parameters
    ----------
    path : path
        The ``.onnx``.
    batch : 4D float32 `~numpy.ndarray`, shape (N, C, H, W)
        What it is run on.

    Returns
    -------
    list of 4D float32 `~numpy.ndarray`, shape (N, heads, T, T)
        From the first layer to the last; none where the network does not attend.

    Raises
    ------
    fieldprep.errors.InputError
        If the file cannot be read.
    """
    import openvino  # noqa: PLC0415 -- see _openvino

    core = openvino.Core()
    try:
        model = core.read_model(path)
    except Exception as error:
        raise InputError(f"{path}: not a network that openvino can load ({one_line(error)})") from error
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() == "Softmax"]
    squares = [node for node in nodes if _of_tokens(node.output(0).get_partial_shape())]
    if not squares:
        return []
    model.add_outputs([node.output(0) for node in squares])
    result = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([batch])
    return [np.array(result[k], np.float32) for k in range(len(result) - len(squares), len(result))]


def _of_tokens(shape: Any) -> bool:
    """Whether a shape is (N, heads, T, T)."""
    return len(shape) == 4 and shape[2] == shape[3]
