import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
loading = pytest.importorskip("classifiers.loading")

from classifiers.pictures import Pictures  # noqa: E402 -- after what may be missing
from classifiers.preparing import Preparation  # noqa: E402 -- as above
from classifiers.stampsets import StampSet  # noqa: E402 -- as above
from classifiers.tasks import Task  # noqa: E402 -- as above

pytestmark = pytest.mark.train

N = 6


@pytest.fixture
def task():
    return Task("kind", ("a", "b"), Preparation(8, 3, scaling=("unit",)))


@pytest.fixture
def stamps(tmp_path):
    """Pictures on disk, half of each class."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{k}.png" for k in range(N)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (12, 12, 3), np.uint8))
    names = np.array([path.stem for path in paths])
    return StampSet(Pictures(paths), np.array(["a", "b"] * (N // 2)), names, names, pd.DataFrame({"name": names}))


def reads_of(monkeypatch):
    """Numbers of the pictures that are read from now on."""
    reads = []
    plain = Pictures.__getitem__
    monkeypatch.setattr(Pictures, "__getitem__", lambda self, index: (reads.append(index), plain(self, index))[1])
    return reads


@pytest.mark.parametrize(("pictures", "again"), [(N, 0), (2, N - 2), (0, N)])
def test_pictures_are_read_once_as_far_as_memory_allows(task, stamps, monkeypatch, pictures, again):
    monkeypatch.setattr(loading, "MEMORY", pictures * 4 * 3 * 8 * 8)
    reads = reads_of(monkeypatch)
    prepared = loading.PreparedStamps(stamps, task)
    first = prepared.__getitems__(list(range(N)))
    assert sorted(reads) == list(range(N))
    reads.clear()
    second = prepared.__getitems__(list(range(N)))
    assert len(reads) == again
    for one, other in zip(first, second, strict=True):
        assert (one[0][0] == other[0][0]).all()
        assert one[1] == other[1]


def test_what_is_kept_is_what_is_prepared(task, stamps):
    prepared = loading.PreparedStamps(stamps, task)
    for _ in range(2):
        (stamp,), target = prepared[3]
        assert (stamp.numpy() == task.stamps([stamps.stamps[3]])[0]).all()
        assert target == 1
