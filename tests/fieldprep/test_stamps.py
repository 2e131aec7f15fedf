"""Stamps about detections: whole pixels, of fields and mosaics alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldprep import Field
from fieldprep.stamps import CELL_PX, Cut, plain_stamps, stamps_about

SHAPE = (150, 200)


def field(bands="gri", shape=SHAPE):
    rng = np.random.default_rng(0)
    images = {band: rng.normal(k, 1, shape).astype(np.float32) for k, band in enumerate(bands)}
    return Field("made", images, np.zeros(shape, np.bool_), pixel_scale=0.4)


def box(x, y, side):
    return np.array([[x - side / 2, y - side / 2, x + side / 2, y + side / 2]])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, SHAPE[1] - 1), st.integers(0, SHAPE[0] - 1), st.integers(4, 33))
def test_a_stamp_is_the_fields_own_pixels_and_nothing_off_it(x, y, size):
    image = np.arange(SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(*SHAPE, 1)
    stamp = plain_stamps(image, np.array([[x, y]], float), np.array([size]), size)[0, ..., 0]
    padded = np.pad(image[..., 0], size, constant_values=np.nan)
    corner = y + size - size // 2, x + size - size // 2
    np.testing.assert_array_equal(stamp, padded[corner[0] : corner[0] + size, corner[1] : corner[1] + size])
    assert stamp[size // 2, size // 2] == image[y, x, 0]


def test_a_wide_stamp_is_averaged_down_by_area():
    image = np.random.default_rng(1).normal(0, 1, (120, 120, 3)).astype(np.float32)
    stamp = plain_stamps(image, np.array([[60.0, 60.0]]), np.array([96]), 48)[0]
    cut = image[12:108, 12:108]
    np.testing.assert_allclose(stamp, cut.reshape(48, 2, 48, 2, 3).mean(axis=(1, 3)), atol=1e-6)


def test_widths_follow_the_longer_side_and_are_never_under_the_size():
    cut = Cut(48, 1.5)
    boxes = np.array([[0, 0, 10, 20], [0, 0, 100, 20], [0, 0, 40, 40.0]])
    assert cut.widths(boxes).tolist() == [48, 150, 60]
    assert Cut(48).widths(boxes).tolist() == [48, 48, 48]
    for size, sides, stars in ((0, 1.0, 0.0), (48, -1.0, 0.0), (48, 1.0, -1.0)):
        with pytest.raises(ValueError, match="must be over 0"):
            Cut(size, sides, stars)


def test_channels_run_from_the_shortest_wavelength_and_one_band_is_gray():
    three = field()
    stamp = stamps_about(three, np.array([[50.0, 60.0]]), box(50, 60, 10), Cut(16))
    assert stamp.shape == (1, 16, 16, 3)
    assert stamp[0, 8, 8].tolist() == [three.bands[band][60, 50] for band in "gri"]
    gray = stamps_about(three, np.array([[50.0, 60.0]]), box(50, 60, 10), Cut(16), gray=True)
    assert gray[0, 8, 8].tolist() == [three.bands["r"][60, 50]]
    assert stamps_about(field("r"), np.array([[50.0, 60.0]]), box(50, 60, 10), Cut(16)).shape == (1, 16, 16, 1)
    assert stamps_about(three, np.zeros((0, 2)), np.zeros((0, 4)), Cut(16)).shape == (0, 16, 16, 3)


def test_a_mosaic_gives_the_stamps_of_the_field_it_holds(as_mosaic):
    whole = field(shape=(CELL_PX + 300, 400))
    rng = np.random.default_rng(2)
    centres = np.stack([rng.uniform(0, 399, 40), rng.uniform(CELL_PX - 250, CELL_PX + 299, 40)], axis=1)
    sides = rng.uniform(8, 90, (40, 1))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    cut = Cut(24, 1.5)
    expected = stamps_about(whole, centres, boxes, cut)
    np.testing.assert_array_equal(stamps_about(as_mosaic(whole), centres, boxes, cut), expected)


def test_what_is_too_wide_for_a_window_is_cut_from_a_mosaic_averaged_down(as_mosaic):
    y, x = np.mgrid[:2600, :2600]
    light = np.exp(-((x - 1300) ** 2 + (y - 1250) ** 2) / (2 * 400.0**2)).astype(np.float32)
    whole = Field("large", {"r": light}, np.zeros(light.shape, np.bool_))
    centre, boxes, cut = np.array([[1300.0, 1250.0]]), box(1300, 1250, 1400), Cut(32, 1.5)
    expected = stamps_about(whole, centre, boxes, cut)
    found = stamps_about(as_mosaic(whole), centre, boxes, cut)
    np.testing.assert_allclose(found, expected, atol=5e-3)  # its middle is to a whole pixel of the averaged one


def starry(sigma, seed=0, shape=(400, 420)):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = rng.normal(0, 1, shape)
    places = [(40 + 60 * i + rng.uniform(-5, 5), 40 + 60 * j + rng.uniform(-5, 5)) for i in range(6) for j in range(6)]
    for cx, cy in places:
        image += 300 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    field = Field("stars", {"r": image.astype(np.float32)}, np.zeros(shape, np.bool_))
    return field, np.array(places)


@pytest.mark.parametrize("sigma", [1.0, 1.6, 3.0])
def test_stars_are_brought_to_one_size_whatever_the_seeing(sigma, as_mosaic):
    field, places = starry(sigma)
    cut = Cut(48, stars=1.8)
    zoom = cut.zoom(field)
    assert zoom == pytest.approx(1.1774 * sigma / 1.8, rel=0.06)
    boxes = np.concatenate([places - 4, places + 4], axis=1)
    stamps = stamps_about(field, places, boxes, cut, zoom=zoom)[..., 0]
    mean = np.median(stamps, axis=0).astype(np.float64)
    y, x = np.mgrid[:48, :48] - 24.0
    within = np.hypot(x, y) < 8
    second = (mean * (x**2 + y**2))[within].sum() / mean[within].sum() / 2
    assert 1.1774 * np.sqrt(second) == pytest.approx(1.8, rel=0.12)  # stamps are to a whole pixel of the field
    assert cut.zoom(as_mosaic(field)) == pytest.approx(zoom)


def test_without_a_star_pixels_stay_as_they_are():
    empty = Field("empty", {"r": np.full((60, 60), np.nan, np.float32)}, np.ones((60, 60), np.bool_))
    assert Cut(48, stars=1.8).zoom(empty) == 1.0
    assert Cut(48).zoom(starry(3.0)[0]) == 1.0
