import bz2
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from reproject import reproject_interp

from fieldprep import Field, align
from fieldprep.align import AFFINE_TOLERANCE_PX, affine_between, resample, warp
from fieldprep.errors import InputError

SDSS_SHAPE = (1489, 2048)


def sdss_wcs(data, name, band):
    """WCS of a frame, off the first 60 kB of it."""
    with bz2.open(data / "sdss" / name / f"frame-{band}-{name}.fits.bz2") as frame:
        text = frame.read(21 * 2880).decode("ascii", "replace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(fits.Header.fromstring(text[: text.index("END" + " " * 77) + 80]))


def star_field(wcs, shape, stars, sigma_px=1.5):
    """Gaussian stars at sky positions, drawn on a grid."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for x, y in zip(*wcs.world_to_pixel_values(*stars), strict=True):
        image += 1000 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma_px**2))
    return image.astype(np.float32)


def star_positions(wcs, shape):
    """Nine places well inside a grid, none on a pixel's centre."""
    y, x = (a.ravel() for a in np.meshgrid(*(np.array([0.3, 0.5, 0.7]) * n + 0.37 for n in shape), indexing="ij"))
    return wcs.pixel_to_world_values(x, y)


def centroids(image, x, y, half=7):
    found = []
    for column, row in zip(np.rint(x).astype(int), np.rint(y).astype(int), strict=True):
        rows, columns = np.mgrid[row - half : row + half + 1, column - half : column + half + 1]
        light = image[rows, columns]
        found.append([(light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()])
    return np.array(found)


def distorted(wcs, strength=2e-5):
    """WCS with a SIP term that no affine follows."""
    header = wcs.to_header(relax=True)
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header["A_ORDER"], header["B_ORDER"], header["A_2_0"], header["B_0_2"] = 2, 2, strength, -strength
    header["NAXIS1"], header["NAXIS2"] = 120, 100
    return WCS(header)


def test_affine_follows_the_wcs_of_real_fields_to_a_thousandth_of_a_pixel(data, sdss_name):
    target = sdss_wcs(data, sdss_name, "r")
    y, x = (a.ravel() for a in np.mgrid[0 : SDSS_SHAPE[0] : 80, 0 : SDSS_SHAPE[1] : 89])
    for band in "gi":
        source = sdss_wcs(data, sdss_name, band)
        affine, residual = affine_between(source, target, SDSS_SHAPE)
        truth = np.stack(source.world_to_pixel_values(*target.pixel_to_world_values(x, y)))
        error = np.hypot(*(affine @ np.stack([x, y, np.ones_like(x)]) - truth))
        assert error.max() < 1e-3
        assert residual < 1e-3
        assert np.abs(truth - np.stack([x, y])).max() > 1  # the frames are indeed apart


@pytest.mark.parametrize(("shift", "angle"), [((3.27, -5.61), 0), ((0.5, 0.5), 0), ((-2.4, 1.7), 3), ((1.1, 2.2), 90)])
def test_stars_come_back_to_three_hundredths_of_a_pixel(make_wcs, shift, angle):
    shape = (100, 120)
    target = make_wcs(shape, angle=10)
    source = make_wcs(shape, crpix=(59.5 + shift[0], 49.5 + shift[1]), angle=10 + angle)
    stars = star_positions(target, shape)
    moved = resample(star_field(source, shape, stars), source, target, shape)
    x, y = target.world_to_pixel_values(*stars)
    on_image = np.isfinite(moved)
    found = centroids(np.where(on_image, moved, 0), x, y)
    around = [np.s_[int(b) - 8 : int(b) + 9, int(a) - 8 : int(a) + 9] for a, b in zip(x, y, strict=True)]
    inside = np.array([on_image[window].all() for window in around])
    assert inside.sum() >= 3
    # OpenCV's Lanczos kernel is off by up to 0.015 px, and it steps in 1/32 px
    assert np.abs(found - np.stack([x, y], axis=-1))[inside].max() < 0.031
    peak = star_field(target, shape, stars)
    assert np.nanmax(np.abs(moved - peak)) < 0.02 * peak.max()


def test_a_shift_by_whole_pixels_changes_no_value(make_wcs):
    shape = (60, 70)
    image = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    source, target = make_wcs(shape, crpix=(37, 29)), make_wcs(shape, crpix=(34, 33))
    moved = resample(image, source, target, shape)
    seen = moved[4:, :-3]
    assert np.allclose(seen, image[:-4, 3:], atol=1e-5)
    assert np.isnan(moved[:4]).all()
    assert np.isnan(moved[:, -3:]).all()


def test_affine_and_reproject_agree(make_wcs):
    shape = (100, 120)
    target, source = make_wcs(shape, angle=10), make_wcs(shape, crpix=(62.2, 47.9), angle=11)
    image = star_field(source, shape, star_positions(target, shape), sigma_px=4)
    assert affine_between(source, target, shape)[1] < AFFINE_TOLERANCE_PX
    one = resample(image, source, target, shape)
    other = reproject_interp((image, source), target, shape_out=shape, order="bicubic", return_footprint=False)
    both = np.isfinite(one) & np.isfinite(other)
    assert both.mean() > 0.85
    assert np.abs(one - other)[both].max() < 0.01 * image.max()


def test_a_distorted_grid_goes_by_reproject(make_wcs, monkeypatch):
    shape = (100, 120)
    target, source = make_wcs(shape), distorted(make_wcs(shape, crpix=(58.3, 51.1)))
    assert affine_between(source, target, shape)[1] > AFFINE_TOLERANCE_PX
    stars = star_positions(target, shape)
    image = star_field(source, shape, stars)
    monkeypatch.setattr(align, "warp", None)  # would be an error
    moved = resample(image, source, target, shape)
    assert moved.dtype == np.float32
    x, y = target.world_to_pixel_values(*stars)
    assert np.abs(centroids(moved, x, y) - np.stack([x, y], axis=-1)).max() < 0.05


def test_bands_that_differ_by_their_distortion_alone_are_not_taken_for_aligned(make_fits, make_wcs):
    shape = (100, 120)
    plain = make_wcs(shape)
    one, other = distorted(plain, 2e-5), distorted(plain, -8e-5)
    stars = star_positions(one, shape)
    make_fits("f/g.fits", star_field(one, shape, stars), band="g", wcs=one)
    path = make_fits("f/r.fits", star_field(other, shape, stars), band="r", wcs=other)
    field = Field.read(path.parent)
    x, y = field.wcs.world_to_pixel_values(*stars)
    for band in "gr":
        image = np.nan_to_num(field.bands[band])
        assert np.abs(centroids(image, x, y) - np.stack([x, y], axis=-1)).max() < 0.05


def test_bands_of_one_distorted_grid_stay_as_they_are(make_fits, make_wcs):
    wcs = distorted(make_wcs((100, 120)))
    images = {band: np.random.default_rng(k).normal(0, 1, (100, 120)).astype(np.float32) for k, band in enumerate("gr")}
    for band, image in images.items():
        path = make_fits(f"f/{band}.fits", image, band=band, wcs=wcs)
    field = Field.read(path.parent)
    for band, image in images.items():
        assert np.array_equal(field.bands[band], image)


@pytest.mark.parametrize("scale", [0.2, 0.8])
def test_other_pixel_scales_and_projections_land_on_the_grid(make_wcs, scale):
    shape = (100, 120)
    target, source = make_wcs(shape), make_wcs((200, 240), scale=scale)
    source.wcs.ctype = ["RA---ZEA", "DEC--ZEA"]
    source.wcs.set()
    star = target.pixel_to_world_values([55.3], [46.2])
    moved = resample(star_field(source, (200, 240), star, 1.6 / scale), source, target, shape)
    assert np.abs(centroids(moved, np.array([55.3]), np.array([46.2]), half=16) - [55.3, 46.2]).max() < 0.05
    assert moved.max() == pytest.approx(1000, rel=0.02)  # surface brightness is kept


def test_nan_stays_nan_and_does_not_spread_far():
    image = np.ones((40, 40), np.float32)
    image[20, 20] = np.nan
    out = warp(image, np.array([[1, 0, 0.5], [0, 1, 0.0]]), (40, 40))
    gone = ~np.isfinite(out)
    assert gone[20, 19]
    assert gone[20, 20]
    assert gone[:, :39].sum() == 2
    assert np.nanmin(image) == 1  # the input is untouched
    assert np.isnan(image[20, 20])


def test_the_edge_that_lacks_a_band_is_masked_and_nan(make_fits, make_wcs):
    shape = (60, 70)
    make_fits("f/g.fits", np.ones(shape, np.float32), band="g", wcs=make_wcs(shape, crpix=(29.5, 34.5)))
    path = make_fits("f/r.fits", np.ones(shape, np.float32), band="r", wcs=make_wcs(shape, crpix=(34.5, 29.5)))
    field = Field.read(path.parent)
    assert field.shape == shape
    # g lies 5 px to the left and 5 up on this grid: its pixel (34.5, 29.5) is at row 24.5, column 39.5 there
    expected = np.zeros(shape, bool)
    expected[-5:], expected[:, :5] = True, True
    assert np.array_equal(np.isnan(field.bands["g"]), field.mask)
    assert not np.isnan(field.bands["r"]).any()
    rows, columns = field.mask[:, 35].sum(), field.mask[30].sum()
    assert (rows, columns) == (5, 5)


def test_noise_and_saturation_move_with_their_band(make_fits, make_wcs):
    shape = (60, 70)
    image = np.zeros(shape, np.float32)
    image[30, 40] = 60000
    noise = np.full(shape, 2, np.float32)
    noise[:, :35] = 3
    shifted = make_wcs(shape, crpix=(29.5, 29.5))
    make_fits("f/a_g.fits", image, band="g", wcs=shifted, header={"SATURATE": 50000.0})
    make_fits("f/a_g_rms.fits", noise, band="g", wcs=shifted)
    path = make_fits("f/a_r.fits", np.zeros(shape, np.float32), band="r", wcs=make_wcs(shape, crpix=(34.5, 29.5)))
    field = Field.read(path.parent)
    assert field.mask[30, 45]  # five pixels on
    assert not field.mask[30, 40]
    assert field.noise["g"][30, 30] == pytest.approx(3, abs=1e-4)
    assert field.noise["g"][30, 50] == pytest.approx(2, abs=1e-4)


def test_sdss_grid_is_the_r_frame_bit_for_bit(sdss_field, sdss_folder):
    content = bz2.decompress((sdss_folder / "frame-r-003184-2-0169.fits.bz2").read_bytes())
    header = fits.Header.fromstring(content[: 40 * 2880].decode("ascii", "replace").split("END" + " " * 77)[0])
    start = -(-(content.index(b"END" + b" " * 77) + 80) // 2880) * 2880
    r = np.frombuffer(content, ">f4", 1489 * 2048, start).reshape(SDSS_SHAPE)
    assert sdss_field.bands["r"].tobytes() == r.astype("=f4").tobytes()
    assert sdss_field.wcs.wcs.crval == pytest.approx([header["CRVAL1"], header["CRVAL2"]], abs=1e-12)


def test_bands_of_a_real_field_show_its_stars_at_one_place(sdss_field, sdss_folder):
    import pandas as pd  # noqa: PLC0415

    table = pd.read_csv(sdss_folder / "catalogue.csv")
    stars = table[(table.type == 6) & table.modelMag_r.between(16, 18.5) & (table.ignore == 0)]
    stars = stars[stars.x.between(60, 1980) & stars.y.between(60, 1420)]
    places = {band: centroids(sdss_field.bands[band], stars.x, stars.y, half=4) for band in "gri"}
    assert len(stars) > 10
    for band in "gi":
        assert np.abs(np.median(places[band] - places["r"], axis=0)).max() < 0.1


def test_grids_on_opposite_sides_of_the_sky_are_refused(make_wcs):
    with pytest.raises(InputError, match="different parts of the sky"):
        affine_between(make_wcs((40, 50), crval=(330, -2)), make_wcs((40, 50)), (40, 50))
