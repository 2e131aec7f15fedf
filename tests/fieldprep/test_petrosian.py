"""Petrosian radii against the same radius found on the profile itself."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from fieldprep.census import extracted
from fieldprep.petrosian import RATIO, STEP, petrosian_radii

SHAPE = (200, 300)


def exponential(r, scale):
    return np.exp(-r / scale)


def gaussian(r, scale):
    return np.exp(-(r**2) / (2 * scale**2))


PROFILES = {"exponential": exponential, "gaussian": gaussian}


def true_radius(profile, scale):
    """Where the mean brightness from r / 1.25 to 1.25 r is a fifth of that within r."""

    def light(r):
        return quad(lambda s: profile(s, scale) * s, 0, r)[0]

    def excess(r):
        annulus = (light(STEP * r) - light(r / STEP)) / ((STEP * r) ** 2 - (r / STEP) ** 2)
        return annulus / (light(r) / r**2) - RATIO

    return brentq(excess, 0.5 * scale, 10 * scale)


def image(*objects, noise=0.01, seed=0):
    """Profiles of (name, x, y, scale, height) on noise; each pixel the mean of nine points."""
    flux = np.random.default_rng(seed).normal(0, noise, SHAPE)
    offsets = (-1 / 3, 0, 1 / 3)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for name, cx, cy, scale, height in objects:
        for dx in offsets:
            for dy in offsets:
                flux += height / 9 * PROFILES[name](np.hypot(x + dx - cx, y + dy - cy), scale)
    return flux.astype(np.float32)


def radii(flux, largest=80.0):
    """Of all objects, from left to right."""
    seen = extracted(flux)
    order = np.argsort(seen.objects["x"])
    return petrosian_radii(seen, order, np.full(len(order), largest))


@pytest.mark.parametrize(
    ("name", "scale"), [("exponential", 3.0), ("exponential", 6.0), ("gaussian", 2.0), ("gaussian", 5.0)]
)
def test_the_radius_is_that_of_the_profile(name, scale):
    assert radii(image((name, 150.3, 99.8, scale, 5.0))) == pytest.approx(
        [true_radius(PROFILES[name], scale)], rel=0.05
    )


def test_a_neighbour_changes_it_little():
    alone = radii(image(("exponential", 120.0, 100.0, 4.0, 5.0)))
    beside = radii(image(("exponential", 120.0, 100.0, 4.0, 5.0), ("gaussian", 160.0, 100.0, 2.0, 20.0)))
    assert beside[0] == pytest.approx(alone[0], rel=0.1)


def test_it_is_proportional_to_the_size_and_free_of_the_brightness():
    small, large = (radii(image(("exponential", 150.0, 100.0, s, 5.0)))[0] for s in (3.0, 6.0))
    assert large / small == pytest.approx(2, rel=0.06)
    assert radii(image(("exponential", 150.0, 100.0, 3.0, 50.0)))[0] == pytest.approx(small, rel=0.04)


def test_what_is_larger_than_looked_for_has_none():
    assert np.isnan(radii(image(("exponential", 150.0, 100.0, 8.0, 5.0)), largest=8.0)).all()


def test_no_object_no_radius():
    seen = extracted(image(("exponential", 150.0, 100.0, 3.0, 5.0)))
    assert petrosian_radii(seen, np.zeros(0, np.int64), np.zeros(0)).shape == (0,)
