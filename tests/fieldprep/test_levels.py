"""Levels of N on any instrument: blank parts are no sky, correlated noise counts for more, white bounds the noise."""

import cv2
import numpy as np
import pytest

from fieldprep import Field
from fieldprep.levels import BLANK_PX, blank, levels_of, white_of
from fieldprep.sky import sky_level_and_noise
from fieldprep.variants import rgb_flux


def noise(shape=(300, 300), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def as_rgb(image):
    return np.stack([image] * 3, axis=-1)


def field_of(**bands):
    shape = next(iter(bands.values())).shape
    return Field("made", bands, np.zeros(shape, np.bool_))


def test_squares_of_one_value_are_blank_and_nothing_else_is():
    image = noise()
    image[50:90, 100:160] = 3.0
    image[200 : 200 + BLANK_PX, 20 : 20 + BLANK_PX] = 0.0
    image[250 : 250 + BLANK_PX - 1, 20:80] = 0.0  # one row too few
    expected = np.zeros(image.shape, bool)
    expected[50:90, 100:160] = True
    expected[200 : 200 + BLANK_PX, 20 : 20 + BLANK_PX] = True
    assert np.array_equal(blank(image), expected)


def test_blank_reaches_the_edges():
    image = noise()
    image[:40] = 127
    image[:, -20:] = 127
    expected = np.zeros(image.shape, bool)
    expected[:40] = expected[:, -20:] = True
    assert np.array_equal(blank(image), expected)


def test_what_is_blank_in_one_channel_only_is_not_blank():
    flux = np.stack([noise(seed=k) for k in range(3)], axis=-1)
    flux[:100, :, 0] = 0
    assert not blank(flux).any()


@pytest.mark.parametrize("shape", [(0, 0), (3, 400), (14, 14)])
def test_an_image_smaller_than_a_square_has_no_blank(shape):
    assert blank(np.zeros(shape, np.float32)).shape == shape
    assert not blank(np.zeros(shape, np.float32)).any()


def test_not_a_number_is_not_blank():
    assert not blank(np.full((50, 50), np.nan, np.float32)).any()


def test_levels_are_those_of_the_footprint():
    image = noise() + 10
    image[:, :200] = 127
    sky, sigma = levels_of(as_rgb(image))
    assert sky == pytest.approx(10, abs=0.05)
    assert sigma == pytest.approx(1, rel=0.03)


def test_independent_pixels_have_the_noise_of_a_pixel():
    image = noise()
    assert levels_of(as_rgb(image))[1].tolist() == [sky_level_and_noise(image)[1]] * 3


def test_correlated_noise_counts_as_that_of_patches():
    smoothed = cv2.GaussianBlur(noise((600, 600)), (0, 0), 2)
    _, sigma = levels_of(as_rgb(smoothed))
    assert sigma / smoothed.std() == pytest.approx(3.3, abs=0.3)  # of 4 x 4 pixels, nearly all of one mind


def test_a_constant_image_has_levels():
    sky, sigma = levels_of(np.full((50, 50, 3), 7, np.float32))
    assert sky.tolist() == [7, 7, 7]
    assert sigma.tolist() == [1, 1, 1]


def test_levels_of_nothing():
    sky, sigma = levels_of(np.full((50, 50, 3), np.nan, np.float32))
    assert sky.tolist() == [0, 0, 0]
    assert sigma.tolist() == [1, 1, 1]


def test_a_display_pictures_noise_is_a_sixth_of_its_white_or_more():
    quiet = np.rint(noise() * 2 + 12).clip(0, 255).astype(np.float32)
    loud = np.rint(noise() * 60 + 127).clip(0, 255).astype(np.float32)
    assert levels_of(as_rgb(quiet), white=255)[1].tolist() == [42.5] * 3
    assert levels_of(as_rgb(loud), white=255)[1] == pytest.approx(60, rel=0.03)


def test_display_pictures_are_told_by_their_bands_and_values():
    whole = np.rint(noise() + 30)
    assert white_of(field_of(gray=whole)) == 255
    assert white_of(field_of(R=whole, G=whole, B=whole)) == 255
    assert white_of(field_of(r=whole)) is None  # counts of a camera
    assert white_of(field_of(gray=whole * 20)) is None  # 16 bits: where their white stands nobody knows
    assert white_of(field_of(gray=noise())) is None
    assert white_of(field_of(gray=np.full((20, 20), np.nan, np.float32))) is None


def test_an_sdss_field_keeps_its_levels(sdss_field):
    flux = rgb_flux(sdss_field)
    expected = [sky_level_and_noise(np.ascontiguousarray(flux[..., k])) for k in range(3)]
    sky, sigma = levels_of(flux, white=white_of(sdss_field))
    assert list(zip(sky.tolist(), sigma.tolist(), strict=True)) == expected


def test_the_xdf_is_measured_in_its_footprint(data):
    flux = rgb_flux(Field.read(data / "hst_jwst" / "hst_xdf_west.png"))
    assert blank(flux).mean() == pytest.approx(0.50, abs=0.01)
    sky, sigma = levels_of(flux)
    assert (np.abs(sky - 128) <= 2).all()
    assert (sigma > 11).all()
    assert (sigma < 30).all()
