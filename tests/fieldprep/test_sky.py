import numpy as np
import pytest
import sep
from astropy.stats import mad_std, sigma_clip

from fieldprep import Field
from fieldprep.sky import dithered, sky_level_and_noise


def test_level_and_noise_of_empty_sky():
    image = np.random.default_rng(0).normal(7, 0.3, (400, 500)).astype(np.float32)
    level, noise = sky_level_and_noise(image)
    assert level == pytest.approx(7, abs=0.005)
    assert noise == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_sources_hardly_move_them(share):
    rng = np.random.default_rng(1)
    image = rng.normal(7, 0.3, (400, 500)).astype(np.float32)
    image[rng.random(image.shape) < share] += 100
    level, noise = sky_level_and_noise(image)
    assert level == pytest.approx(7, abs=0.01)
    assert noise == pytest.approx(0.3, rel=0.03)


def test_mask_and_nan_are_left_out():
    image = np.random.default_rng(2).normal(0, 1, (200, 200)).astype(np.float32)
    mask = np.zeros(image.shape, bool)
    image[:90], mask[:90] = 5, True
    image[90:110] = np.nan
    level, noise = sky_level_and_noise(image, mask)
    assert level == pytest.approx(0, abs=0.03)
    assert noise == pytest.approx(1, rel=0.03)


def test_a_large_image_is_sampled_to_the_same_answer():
    image = np.random.default_rng(3).normal(2, 1, (1500, 1500)).astype(np.float32)
    level, noise = sky_level_and_noise(image)
    assert level == pytest.approx(2, abs=0.01)
    assert noise == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("value", [0, 5, -3.25])
def test_a_constant_image_has_noise_one(value):
    assert sky_level_and_noise(np.full((30, 40), value, np.float32)) == (value, 1)


def test_nothing_finite_gives_zero_and_one():
    assert sky_level_and_noise(np.full((30, 40), np.nan, np.float32)) == (0, 1)


def test_a_sky_of_mostly_one_gray_level_has_a_noise_above_zero():
    image = np.zeros((100, 100), np.float32)
    image[::4, ::4] = 1
    level, noise = sky_level_and_noise(image)
    assert level == 0
    assert noise > 0


@pytest.mark.parametrize("kind", ["noise", "sources", "counts", "two values", "one pixel"])
def test_clipping_is_astropys_to_the_last_digit(kind):
    random = np.random.default_rng(4)
    image = random.normal(5, 2, (150, 170)).astype(np.float32)
    if kind == "sources":
        image[random.random(image.shape) < 0.2] += 40
    image = {
        "counts": np.round(image),
        "two values": (image > 5).astype(np.float32),
        "one pixel": image[:1, :1],
    }.get(kind, image)
    values = image.astype(np.float64).ravel()
    clipped = sigma_clip(values, sigma=3, maxiters=10, cenfunc="median", stdfunc="mad_std", masked=False)
    level, noise = sky_level_and_noise(image)
    assert level == np.median(clipped)
    assert noise == (mad_std(clipped) or np.std(clipped) or 1)


def test_the_dither_brings_the_mode_of_a_quantised_sky_right():
    image = np.rint(np.random.default_rng(3).normal(0.0013, 0.027, (512, 512)) / 0.0043) * 0.0043
    image = (image + np.random.default_rng(4).uniform(-1e-5, 1e-5, image.shape)).astype(np.float32)
    assert abs(sep.Background(dithered(image)).globalback - 0.0013) < 0.0005
    assert abs(sep.Background(image).globalback - 0.0013) > 0.0007


@pytest.mark.parametrize("count", [1.0, 0.0043])
def test_the_dither_is_one_count_wide(count):
    image = (np.rint(np.random.default_rng(5).normal(100, 6, (128, 128))) * count).astype(np.float32)
    moved = dithered(image) - image
    assert np.abs(moved).max() == pytest.approx(count / 2, rel=0.01)
    assert moved.std() == pytest.approx(count / np.sqrt(12), rel=0.05)


def test_what_is_not_quantised_is_left_as_it_is():
    image = np.random.default_rng(6).normal(0, 1, (256, 256)).astype(np.float32)
    assert dithered(image) is image
    assert dithered(np.zeros((64, 64), np.float32)).max() == 0


def test_real_frames_are_quantised_or_not(data):
    counts = {}
    for name in ("003184-2-0169", "001035-6-0017"):
        image = np.nan_to_num(Field.read(data / "sdss" / name).bands["r"])
        counts[name] = np.abs(dithered(image) - image).max()
    assert counts["003184-2-0169"] == pytest.approx(0.0043 / 2, rel=0.02)
    assert counts["001035-6-0017"] == 0
