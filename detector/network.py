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

FloatArray = npt.NDArray[np.float32]


class Network(Protocol):
    """A loaded network: float32 (N, C, H, W) in, the first output out."""

    def __call__(self, batch: FloatArray, /) -> FloatArray:
        """Run it."""


def load_network(path: Path, *, runtime: str | None = None) -> Network:
    """
    Load an ONNX file for running on the CPU (ONNX Runtime: on a GPU if its GPU build is installed).

    Parameters
    ----------
    path : path
        The ``.onnx``.
    runtime : {'openvino', 'onnxruntime'}, optional
        By default what the environment variable FULLFIELD_RUNTIME says, else OpenVINO.

    Returns
    -------
    Network

    Raises
    ------
    fieldprep.errors.InputError
        If the file cannot be loaded.
    fieldprep.errors.UsageError
        If the runtime is unknown or not installed.
    """
    runtime = runtime or os.environ.get(RUNTIME, "openvino")
    if runtime not in {"openvino", "onnxruntime"}:
        raise UsageError(f"unknown runtime {runtime!r}: it is openvino or onnxruntime")
    try:
        return _openvino(path) if runtime == "openvino" else _onnxruntime(path)
    except ImportError as error:
        raise UsageError(f'{runtime} is not installed; pip install "fullfield[{runtime}]"') from error
    except Exception as error:  # ONNX Runtime's own exceptions have no base but Exception
        raise InputError(f"{path}: not a network that {runtime} can load ({one_line(error)})") from error


def _openvino(path: Path) -> Network:
    import openvino  # noqa: PLC0415 -- half a second to import, spared where ONNX Runtime is used

    core = openvino.Core()
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": cores(),
    }
    model = core.read_model(path)
    compiled: dict[tuple[int, ...], Any] = {}

    def run(batch: FloatArray) -> FloatArray:
        # a network compiled for its shape runs faster than one of open shape, and a batch has few shapes
        if batch.shape not in compiled:
            if len(compiled) >= 4:
                compiled.clear()
            model.reshape(list(batch.shape))
            compiled[batch.shape] = core.compile_model(model, "CPU", options)
        return np.array(compiled[batch.shape](batch)[0], np.float32)

    return run


def _onnxruntime(path: Path) -> Network:
    import onnxruntime  # noqa: PLC0415 -- optional

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(
        str(path), options, providers=[p for p in onnxruntime.get_available_providers() if "Tensorrt" not in p]
    )
    name = session.get_inputs()[0].name

    def run(batch: FloatArray) -> FloatArray:
        return np.asarray(session.run(None, {name: batch})[0], np.float32)

    return run
