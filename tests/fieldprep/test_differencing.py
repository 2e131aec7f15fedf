import numpy as np
import pytest

from fieldprep import Field, differencing
from fieldprep.errors import InputError

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
