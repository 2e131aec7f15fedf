"""Shorter exposures have the noise of fewer photons."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldprep.portraits import SDSS_NOISE, sdss_picture
from fieldprep.simulation.exposures import ELECTRONS, shorter, shorter_pictures


@settings(max_examples=25)
@given(st.floats(0.02, 0.9), st.floats(0.0, 3.0))
def test_the_noise_of_sky_and_photons_goes_with_the_root_of_the_exposure(share, flux):
    sky = np.full((150, 150, 3), flux, np.float32)
    seen = shorter(sky, share, np.random.default_rng(0))
    wanted = np.sqrt((SDSS_NOISE**2 + flux / ELECTRONS) * (1 / share - 1))
    assert seen.std(axis=(0, 1)) == pytest.approx(wanted, rel=0.03)
    assert seen.mean(axis=(0, 1)) == pytest.approx(flux, abs=4 * wanted.max() / 150)


def test_the_whole_exposure_is_itself():
    flux = np.random.default_rng(1).normal(0, 1, (8, 8, 3)).astype(np.float32)
    assert np.array_equal(shorter(flux, 1.0, np.random.default_rng(0)), flux)


def test_two_halves_of_the_noise_are_the_noise_of_a_quarter():
    flux = np.zeros((200, 200, 3), np.float32)
    random = np.random.default_rng(2)
    twice = shorter(flux, 0.5, random) + shorter(flux, 0.5, random) + shorter(flux, 0.5, random)
    once = shorter(flux, 0.25, random)
    assert twice.std() == pytest.approx(once.std(), rel=0.02)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match="share must be over 0"):
        shorter(np.zeros((2, 2, 3), np.float32), share, np.random.default_rng(0))


def test_pictures_of_short_exposures_are_noisier_and_the_same_each_time():
    light = np.exp(-np.hypot(*np.mgrid[-20:20, -20:20]) / 6)[..., None] * np.array([1.0, 0.8, 0.5])
    pictures = np.stack([sdss_picture(light.astype(np.float32))] * 3)
    seen = shorter_pictures(pictures, (0.05, 0.1), 7)
    assert np.array_equal(seen, shorter_pictures(pictures, (0.05, 0.1), 7))
    assert not np.array_equal(seen[0], seen[1])
    assert seen[:, :8].std() > 3 * pictures[:, :8].std()
