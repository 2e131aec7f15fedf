"""What the tests of the command share: small fields whose objects are known, and a detector that needs no training."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fieldprep.cards import sha256
from fullfield import cli as command_line
from fullfield.pipeline import Request

# a network that boxes bright spots; make_spots.py beside it tells how it is made
SPOTS = Path(__file__).resolve().parent / "spots.onnx"

# x, y and height over the noise of the objects of a small field, brightest first; the last is under the threshold
OBJECTS = ((40.0, 50.0, 100.0), (120.0, 50.0, 50.0), (200.0, 120.0, 30.0), (60.0, 150.0, 4.0))
SHAPE = (200, 300)


@pytest.fixture(scope="session")
def spots():
    """Path of the weights."""
    return str(SPOTS)


@pytest.fixture
def request_spots(spots):
    """What `fullfield run --detector spots.onnx` asks of each field."""
    return Request(detector=spots, detector_sha256=sha256(SPOTS), variants=("N",), confidence=0.25)


@pytest.fixture(scope="session")
def objects():
    """Positions and heights of the objects of `small_image`."""
    return OBJECTS


@pytest.fixture(scope="session")
def small_image():
    """Factory of a 200 x 300 image in units of its noise, with `OBJECTS` (or others) as Gaussians of sigma 2.5."""

    def make(seed=0, objects=OBJECTS, shape=SHAPE):
        image = np.random.default_rng(seed).normal(0, 1, shape)
        y, x = np.mgrid[: shape[0], : shape[1]]
        for cx, cy, height in objects:
            image += height * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 2.5**2))
        return image.astype(np.float32)

    return make


@pytest.fixture
def frame(make_fits, small_image):
    """Factory of one-band FITS files: ``frame("a")`` writes a.fits and gives its path as text."""

    def make(name="a", seed=0, **options):
        return str(make_fits(f"{name}.fits", small_image(seed), **{"band": "r", **options}))

    return make


@pytest.fixture
def cli(capsys, monkeypatch):
    """The command line in this process: ``status, stdout, stderr = cli("run", ...)``."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fullfield", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            command_line.main()
        out, err = capsys.readouterr()
        return stop.value.code or 0, out, err

    return call


@pytest.fixture
def run_spots(cli, spots, tmp_path):
    """``fullfield run SOURCE... --out OUT --detector spots.onnx`` in this process; OUT is the test's own."""

    def call(*arguments, out=None):
        return cli("run", *arguments, "--out", out or tmp_path / "out", "--detector", spots)

    return call


@pytest.fixture
def spawn():
    """Start ``fullfield ...`` as a process of its own; gives the Popen."""
    started = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "fullfield.cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that Ctrl-C can be sent to it and its workers, as a terminal does
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def wait_for():
    """Wait until a condition holds."""

    def wait(condition, process=None):
        for _ in range(24_000):  # two minutes: a busy machine takes one to start two processes
            if condition():
                return
            assert process is None or process.poll() is None, process.communicate()
            time.sleep(0.005)
        pytest.fail("the condition never came true")

    return wait


@pytest.fixture
def make_classifier(tmp_path):
    """Factory of a classifier that calls a stamp by its mean: over 0.5 it is of the first class."""
    from onnx import TensorProto, helper, save  # noqa: PLC0415 -- of the full environment

    from classifiers.cards import Card  # noqa: PLC0415 -- as above

    def make(task, classes, *, channels=3, gray=True, sides=1.5, size=8, **more):
        nodes = [
            helper.make_node("ReduceMean", ["stamps"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Sub", ["mean", "half"], ["over"]),
            helper.make_node("Unsqueeze", ["over", "last"], ["column"]),
            helper.make_node("Mul", ["column", "gains"], ["logits"]),
        ]
        constants = [
            helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
            helper.make_tensor("gains", TensorProto.FLOAT, [2], [20.0, -20.0]),
        ]
        stamps = helper.make_tensor_value_info("stamps", TensorProto.FLOAT, ["n", channels, size, size])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
        graph = helper.make_graph(nodes, task, [stamps], [logits], constants)
        path = tmp_path / f"{task}.onnx"
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        prepared = {"size": size, "channels": channels, "gray": gray, "scaling": ["unit"]}
        Card(task, task, "mean", tuple(classes), prepared, sha256(path), sides, **more).write(path.with_suffix(".json"))
        return str(path)

    return make
