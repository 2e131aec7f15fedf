"""Rivals of morphology: all can be built, splits stand apart, what was found is kept and not mixed up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

from classifiers.stampsets import StampSet
from classifiers.tasks import Recipe
from fieldprep.errors import InputError

pytestmark = pytest.mark.train

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
CONVNET = 654_922 - 5 * 257  # of five classes, not ten


@pytest.fixture
def rivals(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import morphology_rivals  # noqa: PLC0415 -- only importable from its own folder

    return morphology_rivals


@pytest.fixture
def galaxies():
    """Round and narrow ones of the five names, 40 px."""
    random = np.random.default_rng(0)
    labels = np.resize(("smooth_round", "smooth_inbetween", "smooth_cigar", "edge_on", "spiral"), 40)
    y, x = np.mgrid[-20:20, -20:20]
    widths = 2.0 + np.arange(40) % 5
    light = 200 * np.exp(-np.hypot(x[None] / 6, y[None] / widths[:, None, None]) / 2)
    pictures = (light[..., None] + random.uniform(0, 20, (40, 40, 40, 3))).clip(0, 255).astype(np.uint8)
    names = np.array([f"g{i}" for i in range(40)])
    return StampSet(pictures, labels, names, names, pd.DataFrame(index=range(40)))


def test_every_rival_can_be_built_and_the_convnets_have_the_papers_parameters(rivals):
    known = rivals.rivals()
    of = {name: rivals.parameters(rivals.network_of(task)) for name, task in known.items()}
    assert of["the ConvNet for Galaxy10"] == CONVNET
    assert of["layered ConvNets"] == 3 * CONVNET - (3 + 2 + 3) * 257
    # a branch a question, of two, three and two answers where one network has five
    assert of["layered compact"] == 3 * of["compact"] - (3 + 2 + 3) * 193
    assert all(set(task.labels or rivals.CLEAN) >= set(rivals.CLEAN) for task in known.values())
    assert [name for name, task in known.items() if task.recipe.degrades] == ["ours"]


def test_a_part_leaves_its_fold_out_and_shares_are_of_the_others(rivals, galaxies):
    fold_of = np.arange(40) % 4
    seen, left = rivals.Part(0, 1, 1.0).sides(galaxies, fold_of)
    assert set(left.names) == set(galaxies.names[fold_of == 1])
    assert set(seen.names) == set(galaxies.names) - set(left.names)
    half, same = (rivals.Part(0, 1, share).sides(galaxies, fold_of)[0] for share in (0.5, 0.5))
    assert len(half) == 15
    assert set(half.names) < set(seen.names)
    assert list(half.names) == list(same.names)
    other = rivals.Part(1, 1, 0.5).sides(galaxies, fold_of)[0]
    assert set(other.names) != set(half.names)


def test_what_is_found_is_kept_and_another_recipe_is_refused(rivals, galaxies, tmp_path, monkeypatch):
    task = rivals.rivals()["layered compact"]
    task = replace(task, stamps=replace(task.stamps, size=16), turned=False, recipe=Recipe(epochs=1, batch=16))
    dealt = [np.arange(40) % 2, np.arange(40) // 20]
    parts = [rivals.Part(repeat, 0, 1.0) for repeat in range(2)]
    first = rivals.row("a net", task, galaxies, dealt, parts, tmp_path)
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert (cells[0], cells[2], cells[6]) == ("a net", "20", "40")
    assert float(cells[7]) > 0
    monkeypatch.setattr(rivals, "train_stamps", None)
    assert rivals.row("a net", task, galaxies, dealt, parts, tmp_path) == first
    with pytest.raises(InputError, match="another recipe"):
        rivals.row("a net", replace(task, recipe=task.recipe.lasting(2)), galaxies, dealt, parts, tmp_path)


def test_noise_is_taken_by_what_was_taught_on_the_training_side(rivals, galaxies, tmp_path, monkeypatch):
    taught = []

    def teach(pictures, folder):
        taught.append(pictures)
        folder.mkdir(parents=True)
        (folder / "denoiser.onnx").touch()

    monkeypatch.setattr(rivals, "train_denoiser", teach)
    monkeypatch.setattr(rivals, "denoised", lambda pictures, _: pictures // 2)
    seen, left = rivals.Part(0, 0, 1.0).sides(galaxies, np.arange(40) % 4)
    clean, other = rivals.without_noise(seen, left, tmp_path / "d")
    assert (len(taught), taught[0].shape) == (1, (30, 128, 128, 3))
    assert np.array_equal(clean.stamps, taught[0] // 2)
    assert (len(other), list(other.names)) == (10, list(left.names))
    rivals.without_noise(seen, left, tmp_path / "d")
    assert len(taught) == 1
