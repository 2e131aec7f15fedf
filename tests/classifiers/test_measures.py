"""What a catalogue says of an object: sizes, shape and concentration of made ones are known."""

import numpy as np
import pytest

from classifiers.measures import CATALOGUE_FEATURES, catalogue_features


def stamp(sigma, *, ratio=1.0, height=200.0, side=48, channels=1, seed=0):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    light = height * np.exp(-(x**2 + (y / ratio) ** 2) / (2 * sigma**2))
    noise = np.random.default_rng(seed).normal(0, 1, (side, side, channels))
    return (100 + light[..., None] + noise).astype(np.float32)


def of(*stamps):
    return dict(zip(CATALOGUE_FEATURES, catalogue_features(stamps).T, strict=True))


def test_a_gaussians_measures_are_those_of_its_formula():
    sigma = 2.0
    found = of(stamp(sigma))
    assert found["half_light"][0] == pytest.approx(1.1774 * sigma, rel=0.02)
    wider = sigma**2 + 1 / 12  # a pixel is a square to an aperture
    assert found["concentration"][0] == pytest.approx(1 - np.exp(-(2.5**2) / (2 * wider)), rel=0.02)
    assert found["ellipticity"][0] == pytest.approx(0, abs=0.05)
    assert found["magnitude"][0] == pytest.approx(-2.5 * np.log10(200 * 2 * np.pi * sigma**2), abs=0.02)
    nearest = np.exp(-0.5 / (2 * sigma**2))  # of the peak: the middle lies between four pixels
    assert found["sharpness"][0] == pytest.approx(nearest / (2 * np.pi * sigma**2), rel=0.05)
    assert found["major"][0] == pytest.approx(sigma, rel=0.1)


def test_wider_and_flatter_objects_are_told_apart():
    found = of(stamp(1.5), stamp(3.0), stamp(3.0, ratio=0.5))
    assert (np.diff(found["concentration"][:2]) < -0.2).all()
    assert found["ellipticity"][2] == pytest.approx(0.5, abs=0.05)


def test_the_middle_channel_is_measured_and_the_unit_does_not_matter_for_shapes():
    three = stamp(2.0, channels=3)
    three[..., [0, 2]] = 0
    alone, among, scaled = of(three[..., 1:2]), of(three), of(three * np.float32(7))
    for name in CATALOGUE_FEATURES:
        np.testing.assert_allclose(alone[name], among[name])
        if name != "magnitude":
            np.testing.assert_allclose(alone[name], scaled[name], rtol=1e-4)
    assert scaled["magnitude"][0] == pytest.approx(alone["magnitude"][0] - 2.5 * np.log10(7), abs=1e-4)


def test_where_there_is_no_object_nothing_is_measured():
    flat = np.full((48, 48, 1), 5.0, np.float32)
    none = np.full((48, 48, 1), np.nan, np.float32)
    off = np.roll(stamp(2.0, height=2000.0), 15, axis=0)
    assert np.isnan(catalogue_features([flat, none, off])).all()
    assert catalogue_features([]).shape == (0, len(CATALOGUE_FEATURES))


def test_some_missing_pixels_do_no_harm():
    holed = stamp(2.0)
    holed[:6] = np.nan
    assert of(holed)["half_light"][0] == pytest.approx(2.35, rel=0.03)
