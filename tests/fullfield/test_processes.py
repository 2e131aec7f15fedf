import importlib
from functools import partial

import pytest

from fullfield.processes import outcomes


def double(item, offset=0):
    return 2 * item + offset


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_once_with_its_result(workers):
    found = dict(outcomes(partial(double, offset=1), range(9), workers=workers, died=lambda _: None))
    assert found == {i: 2 * i + 1 for i in range(9)}


def test_nothing_to_do_is_nothing_done():
    assert list(outcomes(double, [], workers=4, died=lambda _: None)) == []


def test_a_process_that_dies_fails_its_own_item_only(monkeypatch, tmp_path):
    # the processes import this module by its path, which they are given
    (tmp_path / "fatal.py").write_text(
        "import os\n"  # as a crash in a library, or the system short of memory, ends a process
        "def task(item):\n"
        "    if item == 3:\n"
        "        os._exit(9)\n"
        "    return item\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    task = importlib.import_module("fatal").task
    found = dict(outcomes(task, range(6), workers=2, died=lambda item: f"{item} died"))
    assert found == {**{i: i for i in range(6)}, 3: "3 died"}
