"""Galaxy10 files in the published layouts."""

import numpy as np
import pytest

from classifiers.galaxy10 import DECALS, SDSS, read_galaxy10
from fieldprep.errors import InputError

h5py = pytest.importorskip("h5py")


@pytest.fixture
def written(tmp_path):
    """A file: ``written(side, n, **other arrays)``."""

    def write(side=256, n=20, **arrays):
        random = np.random.default_rng(0)
        content = {
            "images": random.integers(0, 255, (n, side, side, 3), np.uint8),
            "ans": (np.arange(n) % 10).astype(np.uint8),
            **arrays,
        }
        path = tmp_path / "galaxy10.h5"
        with h5py.File(path, "w") as out:
            for name, values in content.items():
                out[name] = values
        return path, content

    return write


def test_decals_is_cropped_to_its_middle_and_its_classes_have_names(written):
    place = {"ra": np.linspace(0, 359, 20), "dec": np.linspace(-5, 80, 20), "redshift": np.full(20, 0.1)}
    path, content = written(**place, pxscale=np.full(20, 0.262))
    images, table = read_galaxy10(path, centre=0.5)
    np.testing.assert_array_equal(images, content["images"][:, 64:192, 64:192])
    assert table["label"].tolist() == [DECALS[i % 10] for i in range(20)]
    assert table["object"].nunique() == 20
    assert {"ra", "dec", "redshift", "pxscale"} <= set(table.columns)


def test_sdss_has_other_classes_and_no_places(written):
    path, content = written(side=69)
    images, table = read_galaxy10(path)
    np.testing.assert_array_equal(images, content["images"])
    assert table["label"].tolist()[:10] == list(SDSS)
    assert "object" not in table.columns


def test_many_images_are_read_in_parts(written, monkeypatch):
    monkeypatch.setattr("classifiers.galaxy10.AT_ONCE", 7)
    path, content = written(side=69)
    np.testing.assert_array_equal(read_galaxy10(path)[0], content["images"])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((20, 32, 32), np.uint8)}, "not uint8"),
        ({"images": np.zeros((20, 32, 32, 3), np.float32)}, "not uint8"),
        ({"images": np.zeros((0, 32, 32, 3), np.uint8), "ans": np.zeros(0, np.uint8)}, "not uint8"),
        ({"ans": np.zeros(19, np.uint8)}, "20 images"),
        ({"ans": np.full(20, 10, np.uint8)}, "0 to 9"),
        ({"ans": np.zeros(20)}, "answers of shape"),
    ],
)
def test_what_is_no_galaxy10_file_is_refused_in_one_line(written, arrays, words):
    path, _ = written(side=32, **arrays)
    with pytest.raises(InputError, match=words) as error:
        read_galaxy10(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_broken_file_is_refused_in_one_line(written, tmp_path):
    path, _ = written()
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="not a Galaxy10 file"):
        read_galaxy10(path)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as out:
        out["pictures"] = np.zeros(3)
    with pytest.raises(InputError, match="not a Galaxy10 file"):
        read_galaxy10(other)
