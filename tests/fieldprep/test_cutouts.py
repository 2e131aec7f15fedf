import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from fieldprep.cutouts import cutouts

SHAPE = (120, 160)
ROW, COLUMN = np.mgrid[: SHAPE[0], : SHAPE[1]]
places = st.tuples(st.floats(40, 110), st.floats(40, 80), st.floats(8, 60), st.integers(9, 80))


def star(x, y, sigma=2.5, flux=1000.0):
    peak = flux / (2 * np.pi * sigma**2)
    return (peak * np.exp(-((COLUMN - x) ** 2 + (ROW - y) ** 2) / (2 * sigma**2))).astype(np.float32)


def one(image, x, y, width, size, **options):
    return cutouts(image, np.array([x]), np.array([y]), np.array([width]), size, **options)


def centroid(stamp):
    index = np.arange(len(stamp))
    return (stamp.sum(axis=0) * index).sum() / stamp.sum(), (stamp.sum(axis=1) * index).sum() / stamp.sum()


@settings(max_examples=60, deadline=None)
@given(st.floats(40, 110), st.floats(40, 80), st.floats(24, 60), st.integers(9, 80))
def test_the_object_stays_in_the_middle_and_keeps_its_flux(x, y, width, size):
    cut = one(star(x, y), x, y, width, size, conserve_flux=True)
    stamp = cut.stamps[0, ..., 0].astype(np.float64)
    assert centroid(stamp) == pytest.approx(((size - 1) / 2, (size - 1) / 2), abs=0.05)
    assert stamp.sum() == pytest.approx(1000, rel=1e-3)
    assert cut.covered.tolist() == [1]


@settings(max_examples=40, deadline=None)
@given(places)
def test_a_plane_is_cut_exactly(place):
    x, y, width, size = place
    plane = (3 + 0.5 * COLUMN - 0.25 * ROW).astype(np.float32)
    offset = ((np.arange(size) + 0.5) / size - 0.5) * width
    expected = 3 + 0.5 * (x + offset[None]) - 0.25 * (y + offset[:, None])
    np.testing.assert_allclose(one(plane, x, y, width, size).stamps[0, ..., 0], expected, atol=2e-4)


def test_a_fine_stamp_is_bilinear_interpolation():
    image = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    x, y, width, size = 70.3, 50.8, 8.0, 400
    offset = ((np.arange(size) + 0.5) / size - 0.5) * width
    rows, columns = np.meshgrid(y + offset, x + offset, indexing="ij")
    expected = map_coordinates(image, [rows, columns], order=1)
    np.testing.assert_allclose(one(image, x, y, width, size).stamps[0, ..., 0], expected, atol=0.02)


def test_a_coarse_stamp_is_a_mean_over_areas():
    image = np.random.default_rng(0).normal(0, 1, SHAPE)
    stamp = one(image.astype(np.float32), 79.5, 59.5, 80.0, 4).stamps[0, ..., 0]
    means = image[20:100, 40:120].reshape(4, 20, 4, 20).mean(axis=(1, 3))
    # the hat of linear interpolation reaches half a pixel over each edge of 20
    np.testing.assert_allclose(stamp, means, atol=0.02)


def test_a_stamp_of_the_images_own_scale_and_place_is_nearly_the_image():
    image = star(80, 60)
    stamp = one(image, 79.5, 59.5, 20.0, 20).stamps[0, ..., 0]
    assert np.abs(stamp - image[50:70, 70:90]).max() < 0.05 * image.max()
    constant = np.full((*SHAPE, 3), 7, np.uint8)
    assert (one(constant, 79.5, 59.5, 20.0, 33).stamps == 7).all()


def test_what_lies_outside_the_field_is_marked_and_counted():
    image = np.ones(SHAPE, np.float32)
    cut = cutouts(image, np.array([-0.5, 79.5, 500.0]), np.array([59.5, 59.5, 59.5]), np.full(3, 20.0), 20)
    assert cut.covered.tolist() == [0.5, 1, 0]
    assert np.isnan(cut.stamps[0, :, :10]).all()
    assert (cut.stamps[0, :, 10:] == 1).all()
    assert np.isnan(cut.stamps[2]).all()
    picture = cutouts((image * 9).astype(np.uint8), np.array([-0.5]), np.array([59.5]), np.array([20.0]), 20)
    assert (picture.stamps[0, :, :10] == 0).all()
    assert (picture.stamps[0, :, 10:] == 9).all()


def test_a_gap_in_one_band_is_a_gap_in_all():
    image = np.ones((*SHAPE, 3), np.float32)
    image[55:60, 75:80, 1] = np.nan
    cut = one(image, 79.5, 59.5, 20.0, 20)
    assert np.array_equal(np.isnan(cut.stamps[0, ..., 0]), np.isnan(cut.stamps[0, ..., 1]))
    assert cut.covered[0] == pytest.approx(1 - 25 / 400)
    assert np.nanmax(cut.stamps) == np.nanmin(cut.stamps) == 1


def test_a_stamp_wider_than_the_field_holds_all_of_it():
    cut = one(star(80, 60), 79.5, 59.5, 1000.0, 50, conserve_flux=True)
    assert np.nansum(cut.stamps) == pytest.approx(1000, rel=0.01)
    assert cut.covered[0] < 0.05


def test_stamps_have_the_type_and_channels_of_the_image():
    for image in (np.zeros(SHAPE, np.float32), np.zeros((*SHAPE, 5), np.float32), np.zeros((*SHAPE, 3), np.uint8)):
        cut = cutouts(image, np.array([50.0, 60.0]), np.array([50.0, 60.0]), np.array([10.0, 20.0]), 16)
        assert cut.stamps.dtype == image.dtype
        assert cut.stamps.shape == (2, 16, 16, image.shape[2] if image.ndim == 3 else 1)
        assert len(cut) == 2


def test_no_objects_give_no_stamps():
    none = np.zeros(0)
    cut = cutouts(np.zeros(SHAPE, np.float32), none, none, none, 16)
    assert cut.stamps.shape == (0, 16, 16, 1)
    assert cut.covered.shape == (0,)


@pytest.mark.parametrize(("x", "width"), [(np.nan, 10.0), (50.0, np.inf), (50.0, 0.0), (50.0, -3.0)])
def test_a_place_that_is_none_is_refused(x, width):
    with pytest.raises(ValueError, match="centres must be finite and widths positive"):
        one(np.zeros(SHAPE, np.float32), x, 50.0, width, 16)


@settings(max_examples=40, deadline=None)
@given(st.floats(60, 100), st.floats(50, 70), st.floats(40, 60), st.integers(20, 80), st.floats(-400, 400))
def test_a_turned_stamp_shows_the_object_in_the_middle_and_its_neighbour_turned(x, y, width, size, angle):
    image = star(x, y, sigma=2.0) + star(x + 9, y - 2, sigma=2.0, flux=500.0)
    cut = cutouts(
        image, *(np.array([v]) for v in (x, y, width)), size, conserve_flux=True, angles_deg=np.array([angle])
    )
    stamp = cut.stamps[0, ..., 0].astype(np.float64)
    cos, sin, scale = np.cos(np.radians(angle)), np.sin(np.radians(angle)), size / width
    # a third of the light is the neighbour's
    expected = (size - 1) / 2 + np.array([9 * cos + 2 * sin, 9 * sin - 2 * cos]) * scale / 3
    assert stamp.sum() == pytest.approx(1500, rel=0.01)
    assert centroid(stamp) == pytest.approx(tuple(expected), abs=0.1 * max(scale, 1))
    assert cut.covered.tolist() == [1]


def test_a_quarter_turn_is_the_stamp_with_its_axes_changed():
    image = star(80.3, 60.7) + star(70, 55, flux=300.0)
    straight = one(image, 80.3, 60.7, 40.0, 40).stamps[0, ..., 0]
    for turns in (1, 2, 3):
        turned = one(image, 80.3, 60.7, 40.0, 40, angles_deg=np.array([90.0 * turns])).stamps[0, ..., 0]
        assert np.abs(turned - np.rot90(straight, -turns)).max() < 0.02 * image.max()
    for angle in (0.0, 360.0, -720.0):
        assert np.array_equal(
            one(image, 80.3, 60.7, 40.0, 40, angles_deg=np.array([angle])).stamps[0, ..., 0], straight
        )


def test_a_turned_stamp_is_cut_turned_so_no_corner_is_empty():
    plane = (3 + 0.5 * COLUMN - 0.25 * ROW).astype(np.float32)
    cut = one(plane, 80.0, 60.0, 60.0, 60, angles_deg=np.array([30.0]))
    u, v = np.meshgrid(np.arange(60) - 29.5, np.arange(60) - 29.5)
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    expected = 3 + 0.5 * (80 + cos * u + sin * v) - 0.25 * (60 - sin * u + cos * v)
    np.testing.assert_allclose(cut.stamps[0, ..., 0], expected, atol=0.05)


def test_a_turned_stamp_has_nothing_where_the_image_has_nothing():
    image = np.full((*SHAPE, 2), 40.0, np.float32)
    image[60:64, 90:94, 1] = np.nan
    cut = one(image, 80.0, 60.0, 40.0, 40, angles_deg=np.array([45.0]))
    gone = np.isnan(cut.stamps[0])
    assert np.array_equal(gone[..., 0], gone[..., 1])
    # the gap's middle is 11.5, 1.5 from the stamp's: turned by 45 degrees 7.07, 9.19
    assert np.argwhere(gone[..., 0]).mean(axis=0) == pytest.approx((19.5 + 9.19, 19.5 + 7.07), abs=0.6)
    assert 16 <= gone[..., 0].sum() < 50
    assert cut.stamps[0][~gone] == pytest.approx(40, abs=1e-3)
    off = one(image, 500.0, 60.0, 40.0, 40, angles_deg=np.array([45.0]))
    assert off.covered.tolist() == [0]


def test_a_turned_picture_stays_one():
    picture = np.where(np.hypot(COLUMN - 80, ROW - 60) < 8, 255, 3).astype(np.uint8)
    stamp = one(picture, 80.0, 60.0, 40.0, 40, angles_deg=np.array([33.0])).stamps[0, ..., 0]
    assert stamp.dtype == np.uint8
    assert stamp[17:23, 17:23].min() > 240
    assert stamp[:4].max() < 8


def test_an_angle_that_is_none_is_refused():
    with pytest.raises(ValueError, match="angles must be finite"):
        one(np.zeros(SHAPE, np.float32), 50.0, 50.0, 10.0, 16, angles_deg=np.array([np.nan]))
