import numpy as np
import pytest

from fieldprep.census import census, pixel_noise

NOISE = 0.03


def _image(objects, shape=(300, 400), noise=NOISE, seed=0, count=0.0):
    """Gaussians of (x, y, sigma, flux) on noise."""
    image = np.random.default_rng(seed).normal(0, noise, shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for cx, cy, sigma, flux in objects:
        image += flux * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    return (np.rint(image / count) * count if count else image).astype(np.float32)


STARS = [(40.0 + 60 * k, 60.0, 1.4, 20.0) for k in range(6)] + [(50.3 + 60 * k, 150.0, 1.4, 40.0) for k in range(6)]
GALAXIES = [(70.0 + 90 * k, 240.0, 3.0, 30.0) for k in range(4)]


def test_finds_and_types_stars_and_galaxies():
    objects = census(_image([*STARS, *GALAXIES]))
    assert len(objects) == len(STARS) + len(GALAXIES)
    assert objects.star.sum() == len(STARS)
    assert (objects.y[~objects.star] > 220).all()
    assert objects.stellar == pytest.approx(1.1774 * 1.4, rel=0.03)  # half-light radius of a Gaussian


def test_fluxes_and_positions_are_those_put_in():
    objects = census(_image(GALAXIES))
    order = np.argsort(objects.x)
    np.testing.assert_allclose(objects.x[order], [g[0] for g in GALAXIES], atol=0.1)
    np.testing.assert_allclose(objects.flux[order], 30.0, rtol=0.06)


@pytest.mark.parametrize("count", [0.0, 0.2 * NOISE, 0.5 * NOISE])
def test_noise_is_right_on_quantised_frames(count):
    assert census(_image([*STARS, *GALAXIES], count=count)).noise == pytest.approx(
        np.hypot(NOISE, count / np.sqrt(12)), rel=0.01
    )


def test_noise_does_not_see_a_slope_of_the_sky():
    image = _image([]) + np.linspace(0, 1, 400, dtype=np.float32)
    assert pixel_noise(image, np.zeros(image.shape, bool)) == pytest.approx(NOISE, rel=0.01)


def test_no_sky_has_no_noise():
    image = _image([])
    assert np.isnan(pixel_noise(image, np.ones(image.shape, bool)))


def test_missing_pixels_are_no_objects():
    image = _image(GALAXIES)
    image[:, :50] = np.nan
    objects = census(image)
    assert len(objects) == len(GALAXIES)
    assert objects.missing[:, :50].all()


def test_an_empty_sky_has_no_objects():
    objects = census(_image([], noise=0.0) + np.float32(1))
    assert len(objects) == 0
    assert np.isnan(objects.stellar)
    assert len(objects.star) == 0


def test_a_bright_line_one_pixel_wide_is_measured():
    image = _image(STARS)
    image[200, :] += 10
    assert np.isfinite(census(image).flux).all()
