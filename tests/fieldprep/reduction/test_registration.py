import numpy as np
import pytest
from astropy.io import fits

from fieldprep.errors import InputError
from fieldprep.reduction.reduce import reduce_exposures
from fieldprep.reduction.registration import Stars, find_stars, place

SHAPE = (240, 280)


def stars_at(xy, error=0.02):
    return Stars(np.asarray(xy, float), np.full(len(xy), error))


def turned(xy, degrees, shift):
    middle = np.array([(SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2])
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (xy - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle + shift


@pytest.mark.parametrize("degrees", [0.0, 0.3, 25.0, 180.0])
def test_any_shift_and_turn_is_found_from_the_stars_alone(degrees):
    rng = np.random.default_rng(3)
    reference = rng.uniform([10, 10], [270, 230], (40, 2))
    there = turned(reference, degrees, [13.4, -7.7])[5:] + rng.normal(0, 0.02, (35, 2))
    strangers = rng.uniform([10, 10], [270, 230], (8, 2))
    placement = place(stars_at([*there, *strangers]), stars_at(reference), SHAPE)
    assert placement.shift == pytest.approx((13.4, -7.7), abs=0.02)
    assert "stars" in placement.how


def test_precise_stars_count_for_more():
    rng = np.random.default_rng(4)
    reference = rng.uniform([10, 10], [270, 230], (60, 2))
    error = np.where(np.arange(60) < 8, 0.01, 0.6)
    there = reference + np.array([3.3, 4.4]) + rng.normal(0, 1, (60, 2)) * error[:, None]
    shift = place(Stars(there, error), Stars(reference, error), SHAPE).shift
    assert shift == pytest.approx((3.3, 4.4), abs=0.03)  # 0.08 if all counted alike


def test_stars_of_another_part_of_the_sky_and_too_few_are_refused():
    rng = np.random.default_rng(5)
    one, other = (stars_at(rng.uniform([0, 0], [2000, 2000], (50, 2))) for _ in range(2))
    with pytest.raises(InputError, match="another part of the sky"):
        place(one, other, (2000, 2000))
    with pytest.raises(InputError, match="2 stars"):
        place(stars_at(one.xy[:2]), other, (2000, 2000))
    with pytest.raises(InputError, match="0 stars"):
        place(stars_at(np.zeros((0, 2))), other, (2000, 2000))


def test_a_wcs_is_taken_where_the_stars_bear_it_out_and_not_where_they_do_not(make_wcs):
    reference = np.random.default_rng(6).uniform([10, 10], [270, 230], (40, 2))
    target, shifted = make_wcs(SHAPE), make_wcs(SHAPE, crpix=(139.5 + 6.25, 119.5 - 3.5))
    exposure = stars_at(reference + np.array([6.25, -3.5]))
    placement = place(exposure, stars_at(reference), SHAPE, shifted, target)
    assert placement.how == "wcs"
    assert placement.shift == pytest.approx((6.25, -3.5), abs=1e-3)
    pointing_only = place(exposure, stars_at(reference), SHAPE, target, target)
    assert pointing_only.shift == pytest.approx((6.25, -3.5), abs=0.02)
    assert "its WCS is off" in pointing_only.how
    none = stars_at(np.zeros((0, 2)))
    assert place(none, none, SHAPE, shifted, target).how == "wcs"  # nothing speaks against it


def test_another_pixel_scale_is_refused(make_wcs):
    none = stars_at(np.zeros((0, 2)))
    with pytest.raises(InputError, match="reduce the two apart"):
        place(none, none, SHAPE, make_wcs(SHAPE, scale=0.5), make_wcs(SHAPE))


def test_stars_are_found_to_a_few_hundredths_of_a_pixel(sky):
    rng = np.random.default_rng(7)
    light = 60 * sky.image() + 600
    image = (rng.poisson(light) - 600.0).astype(np.float32)
    saturated = np.zeros(SHAPE, bool)
    saturated[60:82, 170:192] = True
    found = find_stars(image, light.astype(np.float32), saturated)
    assert len(found) > 20
    bright = [one for one in sky.stars[:-1] if one[2] > 1000 and 20 < one[0] < 260 and 20 < one[1] < 220]
    for x, y, _ in bright:
        assert np.hypot(*(found.xy - [x, y]).T).min() < 0.05
    assert not saturated[found.xy[:, 1].round().astype(int), found.xy[:, 0].round().astype(int)].any()


@pytest.mark.parametrize("how", ["turned", "upside down", "wcs"])
def test_exposures_however_they_lie_come_back_to_the_sky(tmp_path, ccd, sky, make_wcs, how):
    camera, raw = ccd.Camera(), tmp_path / "raw"
    turns = {"turned": (0.0, 0.7, -0.4), "upside down": (0.0, 180.0, 180.3), "wcs": (0.0, 0.0, 0.0)}[how]
    ccd.calibrations(raw, camera, n=5)
    ccd.lights(raw, camera, sky, dithers=ccd.DITHERS[:3], turns=turns, rays=20)
    if how == "wcs":
        for k, (dx, dy) in enumerate(ccd.DITHERS[:3]):
            with fits.open(raw / f"light-r{k}.fits", mode="update", uint=False, do_not_scale_image_data=True) as hdus:
                hdus[0].header.update(make_wcs(SHAPE, crpix=(139.5 + dx, 119.5 + dy)).to_header())
    # the first exposure is not turned, and is to be the reference
    assert not reduce_exposures([raw], tmp_path / "out").failures
    table = ccd.rows_of(tmp_path / "out")
    aligned = table.loc[table["kind"] == "light", "alignment"]
    assert (aligned == "wcs").sum() == (2 if how == "wcs" else 0)
    (reference,) = aligned.index[aligned == "reference"]
    k = int(reference[-6])
    result = ccd.opened(tmp_path / "out", sky)
    light = sky.image(ccd.DITHERS[k], turns[k])
    empty = result.usable & (light < 0.3)
    pulls = ((result.value - light - ccd.SKY) / result.error)[empty]
    assert abs(pulls.mean()) < 0.06
    assert pulls.std() == pytest.approx(1, abs=0.05)
    bright = result.usable & (light > 20)
    assert np.median(result.value[bright] / (light + ccd.SKY)[bright]) == pytest.approx(1, abs=0.01)
    assert ("CRVAL1" in result.header) == (how == "wcs")
