"""Detection at the scale and level of any instrument: boxes come back in the field's own pixels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import Detections
from detector.instruments import detect_at_scale, in_pixels_of
from detector.pictures import PictureScene, read_reference, score_pictures
from fieldprep import Field
from fieldprep.variants import VARIANTS, picture, rgb_flux


def quarter_in_the_middle(batch):
    """A network that sees one box, a quarter as large as what it is shown, in its middle."""
    _, _, height, width = batch.shape
    return np.array([width / 2, height / 2, width / 4, height / 4, 0.8], np.float32).reshape(1, 5, 1)


def noise_field(shape=(128, 192), **others):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Field("noise", {"r": image}, np.zeros(shape, np.bool_), **others)


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
def test_boxes_are_in_the_fields_own_pixels(as_detector, zoom):
    found = detect_at_scale(as_detector(quarter_in_the_middle), noise_field(), zoom=zoom)
    assert found.xyxy.tolist() == [pytest.approx([71.5, 47.5, 119.5, 79.5])]


def test_a_field_taken_as_it_is_goes_through_untouched(as_detector):
    field = noise_field()
    detector = as_detector(quarter_in_the_middle)
    same = detector.detect(field)
    assert np.array_equal(detect_at_scale(detector, field).xyxy, same.xyxy)


def plain_n(field):
    flux = rgb_flux(field)
    return VARIANTS["N"](flux)(flux)


def test_n_of_a_field_of_independent_pixels_is_the_plain_one():
    field = noise_field()
    assert np.array_equal(picture(field, "N"), plain_n(field))


def test_n_of_an_sdss_field_is_the_plain_one(sdss_field):
    assert np.array_equal(picture(sdss_field, "N"), plain_n(sdss_field))


def test_n_of_a_display_picture_is_not():
    image = np.random.default_rng(0).integers(0, 9, (128, 192)).astype(np.float32)
    field = Field("picture", {"gray": image}, np.zeros(image.shape, np.bool_))
    assert picture(field, "N").std() < 0.5 * plain_n(field).std()


def test_a_mosaic_is_averaged_down_by_whole_factors_and_its_boxes_come_back(as_detector, as_mosaic):
    field = noise_field((300, 500))
    mosaic = as_mosaic(field)
    for zoom, factor in ((1.0, 1), (0.8, 1), (0.52, 2), (0.24, 4), (3.0, 1)):
        found = detect_at_scale(as_detector(quarter_in_the_middle), mosaic, zoom=zoom)
        ny, nx = (side + -side % (32 * factor) for side in field.shape)  # padded to whole strides
        assert found.xyxy.tolist() == [
            pytest.approx([0.375 * nx - 0.5, 0.375 * ny - 0.5, 0.625 * nx - 0.5, 0.625 * ny - 0.5], abs=factor)
        ]


def test_nothing_is_found_where_the_field_is_blank(as_detector):
    field = noise_field()
    image = field.bands["r"].copy()
    image[:, 60:140] = 0
    blanked = Field("half", {"r": image}, field.mask)
    assert len(detect_at_scale(as_detector(quarter_in_the_middle), blanked, zoom=1)) == 0


def test_nothing_found_is_nothing_in_any_pixels(detections):
    assert in_pixels_of(detections(np.zeros((0, 4))), (50, 60), (100, 120)).xyxy.shape == (0, 4)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_the_whole_field_is_the_whole_field_at_any_scale(ny, nx, rows, columns):
    one = np.zeros(1, np.int64)
    found = Detections(np.array([[-0.5, -0.5, columns - 0.5, rows - 0.5]]), np.array([0.5]), one, one)
    assert in_pixels_of(found, (rows, columns), (ny, nx)).xyxy.tolist() == [
        pytest.approx([-0.5, -0.5, nx - 0.5, ny - 0.5])
    ]


def test_a_jwst_picture_is_searched_as_well_as_the_design_asks(data, galaxy):
    whole = Field.read(data / "hst_jwst" / "jwst_sdssj1226_2149.jpg")
    part = Field("part", {band: image[:700, :700] for band, image in whole.bands.items()}, whole.mask[:700, :700])
    reference = read_reference(data / "hst_jwst" / "jwst_sdssj1226_2149.reference.csv")
    inside = (reference.xy < 690).all(axis=1)
    cut = {name: getattr(reference, name)[inside] for name in ("xy", "reach", "bright", "ignore", "xyxy")}
    scene = PictureScene(detect_at_scale(galaxy, part), replace(reference, **cut))
    # the shipped weights were trained on this picture too: this is a test of the way, not a score
    row = score_pictures([scene], galaxy.card.confidence)
    assert row["recall"]["value"] >= 0.85
    assert row["purity"]["value"] >= 0.85
