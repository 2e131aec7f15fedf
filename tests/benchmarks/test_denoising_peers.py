"""Peers of the U-Net: their strengths and levels are settled to the best."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

pytestmark = pytest.mark.train

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def denoising(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import denoising  # noqa: PLC0415 -- only importable from its own folder

    return denoising


@pytest.fixture
def pictures():
    y, x = np.mgrid[-24:24, -24:24]
    light = 160 * np.exp(-np.hypot(x, y) / 9)[None, ..., None] * np.ones((4, 1, 1, 3))
    noisy = light + np.random.default_rng(0).normal(0, 40, light.shape)
    return noisy.clip(0, 255).astype(np.uint8), light.astype(np.uint8)


def error(seen, true):
    return float(((seen.astype(float) - true) ** 2).mean())


@pytest.mark.parametrize("name", ["a Gaussian", "non-local means", "total variation"])
def test_a_filter_is_settled_to_the_best_and_takes_noise_away(denoising, pictures, name):
    noisy, true = pictures
    strength, line = denoising.settled(name, noisy, true)
    seen = denoising.levelled(denoising.filtered(name, noisy, strength), line)
    alone = denoising.levelled(noisy, denoising.settled("no filter", noisy, true)[1])
    assert error(seen, true) < 0.5 * error(alone, true) < 0.5 * error(noisy, true)
    for other in denoising.STRENGTHS[name]:
        by_it = denoising.filtered(name, noisy, other)
        assert error(seen, true) <= error(denoising.levelled(by_it, line), true) + 1


def test_the_line_sets_levels_right(denoising, pictures):
    _, true = pictures
    strength, line = denoising.settled("no filter", (true // 2 + 30).astype(np.uint8), true)
    assert (strength, line) == (0.0, pytest.approx([2.0, -60.0], abs=1.0))
