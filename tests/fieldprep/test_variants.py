import warnings

import numpy as np
import pytest
from astropy.visualization import LinearStretch, ManualInterval, make_lupton_rgb
from PIL import Image, ImageEnhance

from fieldprep import Field
from fieldprep.errors import UsageError
from fieldprep.sky import sky_level_and_noise
from fieldprep.stretches import WARMER, colour_matrix
from fieldprep.variants import TRAINING_VARIANTS, VARIANTS, picture, rgb_flux

# N of a pixel at the sky level, from the docstring: black at -2 sigma, white at 1000, asinh softened at 2
SKY_LEVEL = 255 * -np.arcsinh(-1) / (np.arcsinh(500) - np.arcsinh(-1))


def made(variant, flux):
    """Picture of a flux by levels of its own."""
    return VARIANTS[variant](flux)(flux)


every = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def real(sdss_field):
    """Flux of a corner of a real field, without the pixels that lack a band."""
    flux = rgb_flux(sdss_field)[300:700, 400:1000]
    assert np.isfinite(flux).all()
    return flux


def synthetic(shape=(90, 110), seed=0):
    """Sky noise, faint galaxies and a bright star, in nanomaggies."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(0, [0.03, 0.02, 0.015], (*shape, 3))
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    for peak, size in ((0.3, 4), (2, 3), (60, 1.5)):
        row, column = rng.uniform(10, 80, 2)
        light = peak * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * size**2))
        flux += light[..., None] * [1.2, 1, 0.7]
    return flux.astype(np.float32)


def off_by(picture_a, picture_b):
    return np.abs(picture_a.astype(int) - picture_b.astype(int)).max()


def test_l_is_astropys_lupton_within_a_gray_level(real):
    reference = make_lupton_rgb(*np.moveaxis(real.astype(np.float64), -1, 0))
    assert off_by(made("L", real), reference) <= 1
    assert reference.max() > 150


def test_l_of_a_synthetic_star_is_astropys_too():
    flux = synthetic()
    assert off_by(made("L", flux), make_lupton_rgb(*np.moveaxis(flux.astype(np.float64), -1, 0))) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_lh_is_pillows_brightness_then_contrast(real, seed):
    for flux in (real, synthetic(seed=seed)):
        low = Image.fromarray(made("L", flux))
        reference = ImageEnhance.Contrast(ImageEnhance.Brightness(low).enhance(2)).enhance(2)
        assert np.array_equal(made("LH", flux), np.asarray(reference))


def sinh_reference(flux, percentile, scale):
    stretched = np.sinh(flux.astype(np.float64))
    return np.clip((stretched - np.percentile(stretched, percentile)) * scale, 0, 255).astype(np.uint8)


def square_root_reference(flux):
    flux = flux.astype(np.float64)
    shifted = flux - flux.min()
    shifted = np.minimum(shifted, np.median(shifted) + 6 * shifted.std())
    shifted[..., 2] *= 1.3
    root = np.sqrt(shifted)
    return np.clip((root - np.percentile(root, 0.01)) * 500, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("variant", "reference"),
    [
        ("S", lambda flux: sinh_reference(flux, 0.1, 400)),
        ("SH", lambda flux: sinh_reference(flux, 0.03, 350)),
        ("Q", square_root_reference),
    ],
)
def test_s_sh_and_q_are_their_formulas_within_a_gray_level(real, variant, reference):
    for flux in (real, synthetic()):
        got, expected = made(variant, flux), reference(flux)
        assert off_by(got, expected) <= 1
        assert len(np.unique(expected)) > 50  # a picture, not a threshold


def test_n_is_its_formula():
    flux = synthetic()
    expected = np.empty(flux.shape)
    for k in range(3):
        level, noise = sky_level_and_noise(flux[..., k])
        sigmas = (flux[..., k].astype(np.float64) - level) / noise
        expected[..., k] = 255 * (np.arcsinh(sigmas / 2) - np.arcsinh(-1)) / (np.arcsinh(500) - np.arcsinh(-1))
    assert off_by(made("N", flux), np.clip(expected, 0, 255).astype(np.uint8)) <= 1


def linear_reference(flux):
    """The appendix's (value - min) / (max - min) x 255, from one sigma under the sky to 100 over it."""
    levels = np.empty(flux.shape)
    for k in range(3):
        sky, noise = sky_level_and_noise(flux[..., k])
        lowest, highest = sky - noise, sky + 100 * noise
        levels[..., k] = (flux[..., k].astype(np.float64) - lowest) / (highest - lowest) * 255
    return np.clip(levels, 0, 255)


def warmer_reference(flux):
    red, green, blue = np.moveaxis(linear_reference(flux), -1, 0)
    return np.stack([1.2 * red - 0.1 * green, 0.9 * green, blue], axis=-1)


@pytest.mark.parametrize(
    ("variant", "reference"),
    [
        ("LIN", linear_reference),
        ("LOG", lambda flux: 255 / np.log(256) * np.log(1 + linear_reference(flux))),
        ("GAM", lambda flux: 255 * (linear_reference(flux) / 255) ** (1 / 2.2)),
        ("MAT", warmer_reference),
    ],
)
def test_lin_log_gam_and_mat_are_their_formulas_within_a_gray_level(real, variant, reference):
    for flux in (real, synthetic()):
        expected = np.clip(reference(flux), 0, 255).astype(np.uint8)
        assert off_by(made(variant, flux), expected) <= 1
        assert len(np.unique(expected)) > 50


def test_lin_is_astropys_linear_stretch_of_the_same_interval(real):
    for k in range(3):
        sky, noise = sky_level_and_noise(real[..., k])
        stretch = LinearStretch() + ManualInterval(sky - noise, sky + 100 * noise)
        expected = (255 * stretch(real[..., k].astype(np.float64))).astype(np.uint8)
        assert off_by(made("LIN", real)[..., k], expected) <= 1


def test_black_stays_black_and_white_stays_white_in_every_textbook_stretch():
    flux = synthetic()
    flux[5, 5], flux[6, 6] = 1e4, -1e4
    for variant in ("LIN", "LOG", "GAM"):
        shown = made(variant, flux)
        assert (shown[5, 5] == 255).all()
        assert (shown[6, 6] == 0).all()
    assert made("LOG", flux).mean() > made("GAM", flux).mean() > 2 * made("LIN", flux).mean()


def test_a_colour_matrix_is_the_weighted_sums_of_the_appendix():
    rgb = np.random.default_rng(0).uniform(0, 255, (4, 5, 3))
    (a, b, c), (d, e, f), (g, h, i) = matrix = np.arange(1.0, 10).reshape(3, 3) / 5
    red, green, blue = np.moveaxis(rgb, -1, 0)
    weighted = (a * red + b * green + c * blue, d * red + e * green + f * blue, g * red + h * green + i * blue)
    assert colour_matrix(rgb, matrix) == pytest.approx(np.stack(weighted, axis=-1), rel=1e-5)
    assert colour_matrix(rgb, np.eye(3)) == pytest.approx(rgb, rel=1e-6)
    assert colour_matrix([100, 50, 20], WARMER) == pytest.approx([115, 45, 20])
    with pytest.raises(ValueError, match="3 x 3"):
        colour_matrix(rgb, np.eye(2))


def test_any_picture_takes_a_matrix(sdss_field):
    plain = picture(sdss_field, "LIN")
    assert np.array_equal(picture(sdss_field, "LIN", matrix=np.eye(3)), plain)
    gray = picture(sdss_field, "LIN", matrix=np.full((3, 3), 1 / 3))
    assert np.array_equal(gray[..., 0], gray[..., 2])
    assert off_by(picture(sdss_field, "LIN", matrix=WARMER), picture(sdss_field, "MAT")) <= 2
    assert (picture(sdss_field, "N", matrix=10 * np.eye(3)) == 255).any()  # cut, not wrapped round


def test_the_textbook_pictures_are_not_made_for_training_unless_asked_for():
    assert TRAINING_VARIANTS == ("L", "LH", "S", "SH", "Q", "N")
    assert set(VARIANTS) - set(TRAINING_VARIANTS) == {"LIN", "LOG", "GAM", "MAT"}


UNITS = pytest.mark.parametrize(("gain", "offset"), [(1, 5), (1000, 0), (3.7, -40), (1e-4, 0), (250, 1200)])


@UNITS
def test_n_does_not_know_the_unit_or_the_sky(gain, offset):
    flux = synthetic()
    scaled = (flux.astype(np.float64) * gain + offset).astype(np.float32)
    assert off_by(made("N", flux), made("N", scaled)) <= 1


@UNITS
@pytest.mark.parametrize("variant", ["LIN", "LOG", "GAM", "MAT"])
def test_the_textbook_stretches_do_not_know_the_unit_or_the_sky_either(variant, gain, offset):
    flux = synthetic()
    scaled = (flux.astype(np.float64) * gain + offset).astype(np.float32)
    apart = np.abs(made(variant, flux).astype(int) - made(variant, scaled))
    assert np.percentile(apart, 99.9) <= 1  # at black, where LOG and GAM are steep, float32 over a sky of 1200 shows


def test_n_takes_each_band_by_its_own_noise():
    flux = synthetic()
    scaled = (flux * np.array([100, 1, 0.01], np.float32)).astype(np.float32)
    assert off_by(made("N", flux), made("N", scaled)) <= 1


def gray_of_sky(field, block=32):
    """Median over blocks of the medians in them: half of the field may be a cluster of stars."""
    shown = picture(field, "N")
    ny, nx = (side // block for side in field.shape)
    blocks = shown[: ny * block, : nx * block].reshape(ny, block, nx, block, 3).swapaxes(1, 2)
    clear = ~field.mask[: ny * block, : nx * block].reshape(ny, block, nx, block).any(axis=(1, 3))
    return np.median(np.median(blocks[clear].reshape(clear.sum(), -1, 3), axis=1), axis=0)


def test_sky_of_every_sdss_field_is_at_one_gray_level(data, sdss_name):
    field = Field.read(data / "sdss" / sdss_name)
    assert np.abs(gray_of_sky(field) - SKY_LEVEL).max() <= 2.5  # 0.15 sigma of the sky


@pytest.mark.parametrize("name", ["hst_xdf_small", "legacy_survey", "cfhtls_w3"])
def test_sky_of_other_instruments_is_at_the_same_gray_level(data, name):
    field = Field.read(data / "hst_jwst" / name)
    assert np.abs(gray_of_sky(field) - SKY_LEVEL).max() <= 2.5  # 0.15 sigma of the sky


@every
def test_shape_type_and_input_stay(variant):
    flux = synthetic()
    before = flux.copy()
    shown = made(variant, flux)
    assert shown.dtype == np.uint8
    assert shown.shape == flux.shape
    assert np.array_equal(flux, before)
    assert shown.max() > 200


@every
@pytest.mark.parametrize("axis", [0, 1])
def test_a_flipped_sky_is_a_flipped_picture(variant, axis):
    flux = synthetic((64, 110))
    assert np.array_equal(made(variant, np.flip(flux, axis).copy()), np.flip(made(variant, flux), axis))


@every
def test_masked_edge_is_black_not_sky(variant):
    flux = synthetic()
    flux[:, :9, 2] = np.nan  # one band is missing there
    flux[40, 50] = np.nan
    shown = made(variant, flux)
    assert not shown[:, :9].any()
    assert not shown[40, 50].any()
    clean = synthetic()
    clean[:, :9] = 0
    assert made("N", clean)[:, :9].all()  # where the sky itself is not black


@every
def test_a_field_without_a_finite_pixel_is_black(variant):
    assert not made(variant, np.full((9, 9, 3), np.nan, np.float32)).any()


@every
def test_infinite_flux_neither_warns_nor_spoils_the_rest(variant):
    flux = synthetic()
    flux[3, 4], flux[5, 6] = np.inf, -np.inf
    shown = made(variant, flux)
    flux[3, 4], flux[5, 6] = np.nan, np.nan
    reference = made(variant, flux)
    shown[3, 4] = shown[5, 6] = 0
    # levels of the whole picture (a mean, a percentile) may move with two pixels more, by a gray level
    assert off_by(shown, reference) <= {"LH": 2, "Q": 1}.get(variant, 0)


@pytest.mark.parametrize("variant", ["S", "SH"])
def test_the_core_of_a_bright_star_is_white(variant):
    flux = synthetic()
    flux[20, 20] = 5000  # its sinh is beyond float32
    assert (made(variant, flux)[20, 20] == 255).all()


@every
def test_a_constant_image_gives_a_picture_without_a_warning(variant):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = made(variant, np.full((70, 20, 3), 3, np.float32))
    assert len(np.unique(shown)) == 1


@every
def test_blocks_of_rows_do_not_show(variant, monkeypatch):
    flux = synthetic((150, 40), seed=5)
    blocks = made(variant, flux)
    monkeypatch.setattr("fieldprep.variants.ROWS_AT_ONCE", 1)
    assert np.array_equal(made(variant, flux), blocks)
    monkeypatch.setattr("fieldprep.variants.ROWS_AT_ONCE", 1000)
    assert np.array_equal(made(variant, flux), blocks)


def three_bands(names):
    images = {band: np.full((4, 5), k + 1, np.float32) for k, band in enumerate(names)}
    return Field("a", images, np.zeros((4, 5), bool))


def test_channels_are_i_r_g_and_follow_the_users_choice():
    assert rgb_flux(three_bands("gri"))[0, 0].tolist() == [3, 2, 1]
    assert rgb_flux(three_bands("gri"), ["g", "g", "i"])[0, 0].tolist() == [1, 1, 3]


def test_green_of_two_bands_is_their_mean_and_one_band_is_gray():
    assert rgb_flux(three_bands(["F105W", "F160W"]))[0, 0].tolist() == [2, 1.5, 1]
    assert rgb_flux(three_bands(["gray"]))[0, 0].tolist() == [1, 1, 1]


def test_an_unknown_variant_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"'X'.*L, LH, S, SH, Q, N"):
        picture(three_bands("gri"), "X")
