"""Portraits of detections, as Galaxy Zoo's pictures."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldprep import Field
from fieldprep.portraits import Portrait, flux_of, portraits_about, sdss_picture, sky_flux_of

SHAPE = (300, 400)
NOISE = {"g": 0.0153, "r": 0.0295, "i": 0.0458}


@pytest.fixture(scope="module")
def sky():
    """A field of SDSS with one galaxy of colour g < r < i at x 190, y 120, 12 px wide and 6 high."""
    random = np.random.default_rng(2)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = np.exp(-np.hypot((x - 190) / 12, (y - 120) / 6))
    bands = {
        band: (peak * light + random.normal(0, NOISE[band], SHAPE)).astype(np.float32)
        for band, peak in (("g", 1.0), ("r", 2.0), ("i", 3.0))
    }
    return Field("one", bands, np.zeros(SHAPE, np.bool_), survey="SDSS", pixel_scale=0.396)


PLACE, BOX = np.array([[190.0, 120.0]]), np.array([[160.0, 105.0, 220.0, 135.0]])
FRAMED = Portrait(sides=2.0)


def test_a_portrait_is_centred_bright_and_red(sky):
    (picture,) = portraits_about(sky, PLACE, BOX, FRAMED, 64)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    row, column = np.unravel_index(picture.sum(axis=2).argmax(), (64, 64))
    assert abs(row - 31.5) <= 1.5
    assert abs(column - 31.5) <= 1.5
    red, green, blue = picture[30:34, 30:34].reshape(-1, 3).mean(axis=0)
    assert red > green > blue > 40
    assert np.median(picture[:8]) < 15  # the sky is dark


def test_a_field_of_another_unit_is_brought_to_the_survey_s_noise(sky):
    other = replace(sky, survey="", bands={band: 350 * image + 1000 for band, image in sky.bands.items()})
    (ours,), (theirs,) = (portraits_about(one, PLACE, BOX, FRAMED, 64).astype(int) for one in (sky, other))
    assert np.abs(ours - theirs).mean() < 3
    assert np.abs(ours - theirs).max() < 30


def test_a_turned_field_has_a_turned_portrait(sky):
    turned = replace(sky, bands={band: np.ascontiguousarray(image[::-1]) for band, image in sky.bands.items()})
    at, box = PLACE.copy(), BOX.copy()
    at[:, 1] = SHAPE[0] - 1 - at[:, 1]
    box[:, [1, 3]] = SHAPE[0] - 1 - BOX[:, [3, 1]]
    (upright,), (other,) = (
        portraits_about(one, p, b, FRAMED, 64).astype(int) for one, p, b in ((sky, PLACE, BOX), (turned, at, box))
    )
    assert np.abs(upright - other[::-1]).mean() < 4  # but for where the blocks of the JPEG are


def test_a_mosaic_has_the_portraits_of_its_field(sky, as_mosaic):
    (whole,), (parts,) = (
        portraits_about(one, PLACE, BOX, FRAMED, 64).astype(int)
        for one in (sky, replace(as_mosaic(sky), survey="SDSS"))
    )
    assert np.abs(whole - parts).mean() < 0.5


def test_a_picture_is_shown_as_it_is():
    random = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(random.uniform(0, 255, (*SHAPE, 3)).astype(np.float32), (0, 0), 4)
    shown = Field("jpeg", dict(zip("RGB", np.moveaxis(smooth, 2, 0).copy(), strict=True)), np.zeros(SHAPE, np.bool_))
    assert tuple(shown.bands) == ("R", "G", "B")
    (picture,) = portraits_about(
        shown, np.array([[199.5, 149.5]]), np.array([[150.0, 100.0, 250.0, 200.0]]), Portrait(sides=1.0), 100
    )
    np.testing.assert_allclose(picture, smooth[100:200, 150:250], atol=1)


def test_framing_by_box_or_by_the_sky(sky):
    boxes = np.array([[0.0, 0.0, 10.0, 4.0], [0.0, 0.0, 3.0, 40.0]])
    np.testing.assert_allclose(FRAMED.widths(boxes, None), [20, 80])
    np.testing.assert_allclose(Portrait(arcsec=33.0).widths(boxes, 0.5), [66, 66])
    assert np.isnan(Portrait(arcsec=33.0).widths(boxes, None)).all()
    assert Portrait(sides=1.0, least=12.0).large_enough(boxes).tolist() == [False, True]
    without = replace(sky, pixel_scale=None)
    assert not portraits_about(without, PLACE, BOX, Portrait(arcsec=20.0), 32).any()
    assert portraits_about(sky, np.zeros((0, 2)), np.zeros((0, 4)), FRAMED, 32).shape == (0, 32, 32, 3)
    for wrong in ({}, {"sides": 1.0, "arcsec": 1.0}, {"sides": -1.0}, {"sides": 1.0, "least": -1.0}):
        with pytest.raises(ValueError, match="must be over 0"):
            Portrait(**wrong)


def test_what_has_no_data_is_black(sky):
    holed = {band: image.copy() for band, image in sky.bands.items()}
    holed["r"][:, :180] = np.nan
    (picture,) = portraits_about(replace(sky, bands=holed), PLACE, BOX, FRAMED, 64)
    assert picture[:, :20].max() < 12  # but for what the JPEG rings
    assert picture[30:34, 32:36].min() > 40
    assert not sdss_picture(np.full((2, 2, 3), np.nan, np.float32)).any()


def test_real_galaxies_have_the_brightness_of_galaxy_zoo_s(data):
    cores = []
    for name in ("003184-2-0169", "001043-5-0025", "008162-6-0080"):
        field = Field.read(data / "sdss" / name)
        table = pd.read_csv(data / "sdss" / name / "catalogue.csv")
        table = table[(table["type"] == 3) & (table["modelMag_r"] < 17.8) & (table["ignore"] == 0)]
        at, half = table[["x", "y"]].to_numpy(), (1.05 * table["petroRad_r"] / 0.396).to_numpy()[:, None]
        pictures = portraits_about(field, at, np.hstack([at - half, at + half]), Portrait(sides=2.14), 106)
        cores.append(pictures[:, 50:56, 50:56].reshape(len(at), -1, 3))
    ours = np.median(np.concatenate(cores), axis=(0, 1))
    paths = sorted((data / "gz2" / "images").glob("*.jpg"))[:200]
    theirs = np.median([cv2.imread(str(path))[206:218, 206:218, ::-1].reshape(-1, 3) for path in paths], axis=(0, 1))
    assert ours == pytest.approx(theirs, rel=0.25)


@given(st.integers(0, 2**32 - 1))
def test_the_flux_of_a_picture_makes_the_same_picture(seed):
    random = np.random.default_rng(seed)
    flux = random.exponential(random.uniform(0.01, 1), (40, 3)).astype(np.float32)
    picture = sdss_picture(flux)
    found = flux_of(picture.astype(np.float32) / 255)
    again = sdss_picture(found)
    assert np.abs(again.astype(int) - picture.astype(int)).max() <= 1
    whole = (picture > 20).all(axis=1) & (picture < 250).all(axis=1)
    assert found[whole] == pytest.approx(flux[whole], rel=0.15)


@given(st.integers(0, 2**32 - 1))
def test_black_is_no_light_and_what_shines_is_kept(seed):
    values = np.random.default_rng(seed).uniform(0, 1, (40, 3)).astype(np.float32)
    black = flux_of(np.zeros(3, np.float32))
    plain, found = flux_of(values), sky_flux_of(values)
    bright = plain >= 2 * black
    assert np.array_equal(found[bright], plain[bright])
    assert (found[~bright] <= plain[~bright]).all()
    assert sky_flux_of(np.zeros((1, 3), np.float32)) == pytest.approx(0, abs=1e-7)
    # evenly: no step where the two meet
    near = np.linspace(0, 0.3, 3000, dtype=np.float32)[:, None].repeat(3, axis=1)
    assert np.diff(sky_flux_of(near), axis=0).max() < 2.1 * np.diff(flux_of(near), axis=0).max()
