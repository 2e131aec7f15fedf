from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.signal import fftconvolve

from fieldprep import Field, differencing
from fieldprep.errors import InputError
from fieldprep.tiles import Window

SHAPE = (360, 400)
NOISE = 0.5


def light(shape, sources, fwhm):
    """Round Moffat sources (beta 3) of x, y, flux, intrinsic width."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for cx, cy, flux, width in sources:
        alpha = np.hypot(fwhm, width) / (2 * np.sqrt(2 ** (1 / 3) - 1))
        image += flux * 2 / (np.pi * alpha**2) * (1 + ((x - cx) ** 2 + (y - cy) ** 2) / alpha**2) ** -3
    return image


@pytest.fixture
def sky():
    """Sources of a field: stars on a grid that is not quite one, and galaxies between them."""
    random = np.random.default_rng(4)
    grid = [(x, y) for y in range(30, 340, 45) for x in range(30, 390, 45)]
    stars = [(x + random.uniform(-4, 4), y + random.uniform(-4, 4), random.uniform(300, 4000), 0.0) for x, y in grid]
    galaxies = [(random.uniform(20, 380), random.uniform(20, 340), random.uniform(200, 800), 4.0) for _ in range(8)]
    return stars + galaxies


@pytest.fixture
def taken(make_wcs):
    """An exposure: ``taken(sources, fwhm, shift, seed)``."""

    def take(sources, *, fwhm=3.0, shift=(0.0, 0.0), seed=0, gain=1.0, name="search"):
        wcs = make_wcs(SHAPE)
        wcs.wcs.crpix += np.array(shift)
        moved = [(x + shift[0], y + shift[1], flux * gain, width) for x, y, flux, width in sources]
        noise = np.random.default_rng(seed).normal(0, NOISE, SHAPE)
        image = (light(SHAPE, moved, fwhm) + noise + 7).astype(np.float32)
        return Field(name, {"r": image}, np.zeros(SHAPE, np.bool_), wcs=wcs)

    return take


TRANSIENTS = [(101.3, 212.7, 260.0, 0.0), (255.6, 140.2, 400.0, 0.0), (330.1, 300.4, 200.0, 0.0)]


@pytest.mark.parametrize(("search", "template"), [(4.0, 3.0), (3.0, 4.0), (3.2, 3.2)])
def test_what_is_new_is_found_where_it_is_and_hardly_anything_else(taken, sky, search, template):
    new = taken([*sky, *TRANSIENTS], fwhm=search, seed=1)
    old = taken(sky, fwhm=template, shift=(3.4, -2.7), seed=2, gain=1.7, name="template")
    found = differencing.subtract(new, old)
    assert found.widened == ("template" if template < search else "science") or search == template
    assert found.scale == pytest.approx(1 / 1.7, rel=0.03)
    left = differencing.candidates(found)
    near = [np.hypot(left["x"] - x, left["y"] - y) for x, y, *_ in TRANSIENTS]
    for (*_, flux, _), distance in zip(TRANSIENTS, near, strict=True):
        best = int(distance.argmin())
        assert distance[best] < 0.7
        assert left["positive"][best]
        assert left["flux"][best] == pytest.approx(flux, rel=0.2)
    elsewhere = np.min(near, axis=0) > 5
    assert elsewhere.sum() <= 0.15 * len(sky)


def test_what_has_faded_is_negative(taken, sky):
    new, old = taken(sky, seed=1), taken([*sky, *TRANSIENTS], seed=2, name="template")
    left = differencing.candidates(differencing.subtract(new, old))
    for x, y, *_ in TRANSIENTS:
        best = int(np.hypot(left["x"] - x, left["y"] - y).argmin())
        assert not left["positive"][best]
        assert left["flux"][best] < 0


def test_the_noise_is_that_of_the_difference(taken, sky):
    found = differencing.subtract(taken(sky, seed=1), taken(sky, seed=2, name="template"))
    blank = light(SHAPE, sky, 3.0) < 0.1
    inner = np.isfinite(found.difference) & blank
    ratio = found.difference[inner] / found.noise[inner]
    assert np.std(ratio) == pytest.approx(1, abs=0.2)
    assert abs(np.mean(ratio)) < 0.2


def test_triplets_are_centred_and_in_order(taken, sky):
    found = differencing.subtract(taken([*sky, *TRANSIENTS], seed=1), taken(sky, seed=2, name="template"))
    x, y = (np.array(values) for values in zip(*(row[:2] for row in TRANSIENTS), strict=True))
    stamps = differencing.triplets(found, x, y)
    assert stamps.shape == (3, 63, 63, 3)
    for stamp in stamps:
        row, column = np.unravel_index(np.nanargmax(stamp[20:43, 20:43, 2]), (23, 23))
        assert abs(row - 11) <= 1
        assert abs(column - 11) <= 1


def test_stars_of_triplets_are_brought_to_a_size(taken, sky):
    found = differencing.subtract(taken([*sky, *TRANSIENTS], seed=1), taken(sky, seed=2, name="template"))
    x, y = (np.array(values) for values in zip(*(row[:2] for row in TRANSIENTS), strict=True))
    radius = differencing.half_light_radius(found.psf)
    assert 1.5 < radius < 2.5
    sizes = {}
    for stars in (radius, radius / 2):
        change = differencing.triplets(found, x, y, stars=stars)[..., 2]
        plain = differencing.triplets(found, x, y)[..., 2]
        if stars == radius:
            np.testing.assert_allclose(change, plain, atol=1e-4)
        sizes[stars] = (change > change.max(axis=(1, 2), keepdims=True) / 2).sum(axis=(1, 2))
    assert (sizes[radius / 2] * 2 < sizes[radius]).all()


def test_half_of_the_light_of_a_gaussian_is_within_its_half_light_radius():
    y, x = np.mgrid[-30:31, -30:31]
    psf = np.exp(-(x**2 + y**2) / (2 * 4.0**2))
    assert differencing.half_light_radius(psf / psf.sum()) == pytest.approx(1.1774 * 4, abs=0.2)


def test_pixels_without_data_are_left_out(taken, sky):
    new = taken([*sky, *TRANSIENTS], seed=1)
    new.bands["r"][:, :40] = np.nan
    found = differencing.subtract(new, taken(sky, seed=2, name="template"))
    assert np.isnan(found.difference[:, :40]).all()
    left = differencing.candidates(found)
    assert (left["x"] > 40).all()


def test_images_that_cannot_be_subtracted_are_refused(taken, sky):
    new, old = taken(sky, seed=1), taken(sky, seed=2, name="template")
    with pytest.raises(InputError, match="template: no band g; it has r"):
        differencing.subtract(Field("s", {"g": new.bands["r"]}, new.mask, wcs=new.wcs), old)
    with pytest.raises(InputError, match="template: no WCS"):
        differencing.subtract(new, Field("template", old.bands, old.mask))
    with pytest.raises(InputError, match="stars alone and well measured"):
        differencing.subtract(taken([], seed=1), taken([], seed=2))
    far = taken(sky, seed=2, name="far")
    far.wcs.wcs.crval += 3
    with pytest.raises(InputError, match="far: shows no sky that search does"):
        differencing.subtract(new, far)


def test_an_error_of_the_wcs_is_taken_out_by_the_stars(taken, sky):
    new, old = taken([*sky, *TRANSIENTS], seed=1), taken(sky, seed=2, name="template")
    old.wcs.wcs.crpix += (0.4, -0.3)
    left = differencing.candidates(differencing.subtract(new, old))
    assert [np.hypot(left["x"] - x, left["y"] - y).min() < 0.7 for x, y, *_ in TRANSIENTS] == [True] * 3
    assert len(left) <= 6


def test_a_kernel_does_not_ring_where_the_seeing_is_the_same():
    star = light((31, 31), [(15, 15, 1.0, 0.0)], 3.0)
    noisy = [star + np.random.default_rng(seed).normal(0, 1e-4, star.shape) for seed in (1, 2)]
    for kernel in differencing.matching(*(one / one.sum() for one in noisy)):
        kernel[15, 15] -= 1
        assert np.abs(kernel).max() < 0.05


def test_images_sharper_along_different_axes_are_both_widened():
    y, x = np.mgrid[:31, :31] - 15
    stars = [np.exp(-0.5 * ((x / a) ** 2 + (y / b) ** 2)) for a, b in ((1.5, 2.2), (2.2, 1.5))]
    stars = [star / star.sum() for star in stars]
    kernels = differencing.matching(*stars)
    made = [fftconvolve(star, kernel, mode="same") for star, kernel in zip(stars, kernels, strict=True)]
    assert np.abs(made[0] - made[1]).max() < 0.01 * made[0].max()
    assert all((kernel > -0.01 * kernel.max()).all() for kernel in kernels)


def test_what_lies_in_a_saturated_star_is_told_and_not_dropped(taken, sky):
    beside = (200.0, 180.0)
    bright = [(*beside, 40_000.0, 0.0)]
    new = taken([*sky, *bright, (207.0, 180.0, 3000.0, 0.0)], seed=1)
    old = taken([*sky, *bright], seed=2, name="template")
    for field in (new, old):
        full = field.bands["r"] > 800
        field.bands["r"][full] = 800
        field.mask[full] = True
    found = differencing.subtract(new, old)
    left = differencing.candidates(found)
    assert np.isfinite(found.difference).all()
    near = np.hypot(left["x"] - beside[0], left["y"] - beside[1]) < 15
    assert left["unusable"][near].all()
    assert left["positive"][near].any()
    assert not left["unusable"][~near & (left["signal_to_noise"] > 5)].any()


# A real frame's second night, by the benchmark's own means: other seeing, grid, unit, sky and noise
PART = Window(1200, 300, 1800, 900)


@pytest.fixture(scope="module")
def frame(data):
    path = data / "sdss" / "001737-5-0039" / "frame-r-001737-5-0039.fits.bz2"
    if not path.is_file():
        pytest.skip(f"no frame at {path}")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
        import epochs  # noqa: PLC0415 -- only importable from its own folder

    catalogue = pd.read_csv(path.parent / "catalogue.csv")
    catalogue[["x", "y"]] -= np.array([PART.x0, PART.y0])
    inside = catalogue["x"].between(0, 599) & catalogue["y"].between(0, 599)
    part = Field.read(path).window(PART)
    return epochs, epochs.frame_of(part, catalogue[inside].reset_index(drop=True), electrons=890.0, full=239.0)


@pytest.fixture(scope="module", params=["search 1.3 x wider", "template 1.3 x wider"])
def night(frame, request):
    epochs, real = frame
    search, template, truth = epochs.two_nights(real, epochs.SETTINGS[request.param], seed=3)
    return real, truth, differencing.subtract(search, template)


def test_transients_on_a_real_field_are_found_where_they_are_with_their_flux(night):
    _, truth, found = night
    left = differencing.candidates(found)
    bright = truth[(truth["kind"].isin(["blank sky", "galaxy"])) & (truth["magnitude"] < 20.5)]
    assert len(bright) >= 10
    apart = np.hypot(*(bright[[c]].to_numpy() - left[c].to_numpy() for c in ("x", "y")))
    nearest = apart.argmin(axis=1)
    assert (apart.min(axis=1) < 0.3).all()
    flux = left["flux"].to_numpy()[nearest]
    error = np.hypot(flux / left["signal_to_noise"].to_numpy()[nearest], 0.07 * flux)  # the stars' shape varies
    pull = (flux - bright["flux"]) / error
    assert np.abs(np.median(pull)) < 0.7
    assert (np.abs(pull) < 4).all()
    places = truth[["x", "y"]].to_numpy()
    false = [np.hypot(*(places - (x, y)).T).min() > 8 for x, y in left.loc[~left["unusable"], ["x", "y"]].to_numpy()]
    assert sum(false) <= 3


def test_the_noise_on_a_real_field_is_that_of_the_difference(night):
    real, truth, found = night
    free = np.ones(found.noise.shape, bool)
    free[np.rint(truth["y"]).astype(int), np.rint(truth["x"]).astype(int)] = False
    empty = (distance_transform_edt(free) > 20) & (distance_transform_edt(real.seen.segments == 0) > 8)
    ratio = (found.difference / found.noise)[empty & np.isfinite(found.difference)]
    assert len(ratio) > 10_000
    assert np.std(ratio) == pytest.approx(1, abs=0.05)
    assert abs(np.mean(ratio)) < 0.05


def test_triplets_of_a_real_field_are_centred(night):
    _, truth, found = night
    new = truth[(truth["kind"] == "blank sky") & (truth["magnitude"] < 20)]
    stamps = differencing.triplets(found, new["x"].to_numpy(), new["y"].to_numpy())
    assert stamps.shape == (len(new), 63, 63, 3)
    for science, template, difference in np.moveaxis(stamps, 3, 1):
        for plane in (science, difference):
            assert np.hypot(*(np.array(np.unravel_index(np.argmax(plane[26:37, 26:37]), (11, 11))) - 5)) <= 1.5
        assert template[31, 31] < 0.2 * science[31, 31]
        np.testing.assert_allclose(
            science - template - difference, np.median(science - template - difference), atol=0.05
        )
