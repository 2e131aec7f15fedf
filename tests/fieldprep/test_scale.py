"""The scale a field asks for: from its own objects, 1 for what the networks are trained on."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldprep import Field
from fieldprep.levels import blank, white_of
from fieldprep.scale import resampled, zoom_factor


def sky_of_spots(sigma, shape=(400, 400), n=60, seed=0):
    """Noise of 1 and round spots of light of one width."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, np.float32)
    image[rng.integers(20, shape[0] - 20, n), rng.integers(20, shape[1] - 20, n)] = 100 * 2 * np.pi * sigma**2
    return cv2.GaussianBlur(image, (0, 0), sigma) + rng.normal(size=shape).astype(np.float32)


def field_of(image, **others):
    return Field("made", {"r": np.asarray(image, np.float32)}, np.zeros(image.shape, np.bool_), **others)


def test_wider_objects_ask_for_less():
    wide, wider = (zoom_factor(field_of(sky_of_spots(sigma))) for sigma in (2.5, 4.0))
    # half the light of a Gaussian is within 1.18 sigma
    assert wide == pytest.approx(2.15 / (1.18 * 2.5), rel=0.1)
    assert wider == pytest.approx(2.15 / (1.18 * 4.0), rel=0.1)


def test_a_field_as_the_networks_know_it_is_taken_as_it_is():
    assert zoom_factor(field_of(sky_of_spots(1.8))) == 1.0


def test_sdss_pixels_are_never_resampled():
    assert zoom_factor(field_of(sky_of_spots(4.0), pixel_scale=0.396)) == 1.0


@pytest.mark.parametrize("image", [np.zeros((60, 60)), np.full((60, 60), np.nan), np.zeros((1, 1))])
def test_a_field_with_nothing_to_tell_by_is_taken_as_it_is(image):
    assert zoom_factor(field_of(image)) == 1.0


def test_real_sdss_fields_have_factor_one(sdss_field):
    assert zoom_factor(sdss_field) == 1.0
    assert resampled(sdss_field, zoom_factor(sdss_field)) is sdss_field


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("cfhtls_w3", 0.6, 0.85), ("legacy_survey", 0.7, 1.0), ("hst_xdf_small", 0.75, 1.0)],
)
def test_other_cameras_fields_are_shrunk(data, name, low, high):
    assert low <= zoom_factor(Field.read(data / "hst_jwst" / name)) <= high


@given(st.floats(0.2, 2), st.integers(5, 60), st.integers(5, 60))
@settings(max_examples=40, deadline=None)
def test_a_resampled_field_is_a_field(zoom, ny, nx):
    field = Field("made", {"r": np.ones((ny, nx), np.float32)}, np.ones((ny, nx), np.bool_), pixel_scale=0.1)
    scaled = resampled(field, zoom)
    assert scaled.shape == (max(1, round(ny * zoom)), max(1, round(nx * zoom))) or zoom == 1
    assert scaled.bands["r"] == pytest.approx(1, abs=1e-5)
    assert scaled.mask.all()
    assert scaled.pixel_scale == pytest.approx(0.1 / zoom)


def test_a_display_picture_stays_one():
    image = np.arange(400, dtype=np.float32).reshape(20, 20) % 256
    scaled = resampled(Field("p", {"gray": image}, np.zeros(image.shape, np.bool_)), 0.7)
    assert not np.array_equal(scaled.bands["gray"], np.rint(scaled.bands["gray"]))
    assert white_of(scaled) == 255


@pytest.mark.parametrize("zoom", [0.3, 0.806, 1.3])
def test_blank_stays_blank(zoom):
    image = np.random.default_rng(0).normal(127, 13, (200, 300)).astype(np.float32)
    image[:, :150] = 127
    scaled = resampled(field_of(image), zoom)
    edge = round(150 * zoom)
    assert blank(scaled.bands["r"])[:, : edge - 2].all()
    assert not blank(scaled.bands["r"])[:, edge + 2 :].any()


def test_no_data_stays_no_data():
    image = np.ones((40, 40), np.float32)
    image[:, :10] = np.nan
    field = Field("made", {"r": image}, ~np.isfinite(image))
    for zoom in (0.5, 2.0):
        scaled = resampled(field, zoom)
        assert np.isnan(scaled.bands["r"][:, : round(10 * zoom)]).all()
        assert scaled.mask[:, : round(10 * zoom)].all()
        assert not scaled.mask[:, round(11 * zoom) :].any()
