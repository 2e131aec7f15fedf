import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {"fieldprep": 0, "detector": 1, "classifiers": 1, "fullfield": 2}


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        yield from (name.split(".")[0] for name in names)


@pytest.mark.parametrize("package", FLOORS)
def test_imports_run_downwards_only(package):
    for path in (ROOT / package).rglob("*.py"):
        for name in imported_packages(path):
            if name in FLOORS and name != package:
                assert FLOORS[name] < FLOORS[package], f"{path.name} imports {name}"


def test_running_a_field_never_imports_torch():
    code = "import sys, fullfield.batch, fullfield.cli, fullfield.evaluation; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_datasets_and_weights_hold_no_python():
    assert not [*(ROOT / "datasets").rglob("*.py"), *(ROOT / "weights").rglob("*.py")]


def test_the_wheel_carries_weights_sample_and_types(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "fieldprep/_data/weights/galaxy.onnx",
        "fieldprep/_data/weights/galaxy.json",
        "fieldprep/_data/datasets/sample/sample-r.fits.bz2",
        "fieldprep/py.typed",
        "detector/py.typed",
        "classifiers/py.typed",
        "fullfield/py.typed",
    ):
        assert needed in names
    # a module of that name would shadow Hugging Face's, a stray one would shadow a user's
    assert {name.split("/")[0] for name in names} <= {*FLOORS, wheel.name.split("-py3")[0] + ".dist-info"}


def test_constraints_name_no_address():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all("==" in line and "/" not in line and "@" not in line for line in lines)
