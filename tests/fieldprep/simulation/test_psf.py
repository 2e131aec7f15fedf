import numpy as np
import pytest
import sep

from fieldprep.census import census
from fieldprep.errors import InputError
from fieldprep.fitsfile import SDSS_SATURATION_COUNTS, read_planes

galsim = pytest.importorskip("galsim")
psf_module = pytest.importorskip("fieldprep.simulation.psf")

SCALE = 0.396


def _stars(profile, n=40, shape=(600, 600), noise=0.03, seed=0):
    """Stars of a profile at random subpixel places, none within 30 px of another."""
    rng = np.random.default_rng(seed)
    canvas = galsim.ImageD(shape[1], shape[0], xmin=0, ymin=0, scale=SCALE)
    for x, y in np.stack(np.meshgrid(range(45, 560, 62), range(45, 560, 62)), axis=-1).reshape(-1, 2)[:n]:
        flux = 10 ** rng.uniform(1.5, 2.5)
        at = galsim.PositionD(x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5))
        stamp = profile.withFlux(flux).drawImage(
            bounds=galsim.BoundsI(x - 30, x + 30, y - 30, y + 30), center=at, scale=SCALE, method="no_pixel"
        )
        canvas[stamp.bounds] += stamp
    return (canvas.array + rng.normal(0, noise, shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("core", "wing", "ratio", "g1", "g2"),
    [(1.2, 0.6, 1.2, 0.0, 0.0), (0.8, 0.3, 1.8, 0.1, -0.05), (1.7, 0.8, 1.0, -0.05, 0.12)],
)
def test_a_known_psf_is_recovered(core, wing, ratio, g1, g2):
    given = psf_module.Psf(core, wing, core * ratio, g1, g2)
    found = psf_module.measure_psf(census(_stars(given.profile())), SCALE)
    assert found.fwhm == pytest.approx(given.fwhm, rel=0.02)
    assert (found.g1, found.g2) == pytest.approx((g1, g2), abs=0.01)
    assert found.stars > 30


@pytest.mark.parametrize("beta", [2.5, 3.5, 4.77])
def test_a_psf_of_another_family_is_recovered_in_width(beta):
    given = galsim.Moffat(beta=beta, fwhm=1.3)
    found = psf_module.measure_psf(census(_stars(given)), SCALE)
    assert found.fwhm == pytest.approx(1.3, rel=0.02)


def test_fwhm_is_that_of_the_profile():
    psf = psf_module.Psf(1.2, 0.5, 1.6)
    assert psf.fwhm == pytest.approx(psf.profile().calculateFWHM(), rel=0.01)


def test_brightness_and_line_spread_are_those_of_the_profile():
    psf = psf_module.Psf(1.2, 0.5, 1.6)
    radius = np.array([0.0, 0.5, 1.0, 3.0])
    drawn = [psf.profile().xValue(r, 0) for r in radius]
    np.testing.assert_allclose(psf.value(radius), drawn, rtol=1e-6)
    turned = psf_module.Psf(1.2, 0.5, 1.6, g1=0.1, g2=-0.2)
    x, y = np.array([0.0, 0.5, -1.0]), np.array([0.3, -0.8, 1.5])
    drawn = [turned.profile().xValue(*at) for at in zip(x, y, strict=True)]
    np.testing.assert_allclose(turned.at(x, y), drawn, rtol=1e-6)
    across = np.arange(-8, 8, 0.02)
    assert np.trapezoid(psf.line_spread(np.abs(across)), across) == pytest.approx(1, abs=0.01)


def test_too_few_stars_is_one_line():
    with pytest.raises(InputError, match=r"^3 bright single stars") as caught:
        psf_module.measure_psf(census(_stars(galsim.Gaussian(fwhm=1.2), n=3)), SCALE)
    assert "\n" not in str(caught.value)


def test_no_object_at_all_is_too_few_stars():
    image = np.random.default_rng(0).normal(0, 1, (100, 100)).astype(np.float32)
    with pytest.raises(InputError, match="bright single stars"):
        psf_module.measure_psf(census(image), SCALE)


def test_saturated_stars_are_left_out():
    image = np.minimum(_stars(galsim.Gaussian(fwhm=1.2)), 10)
    objects = census(image)
    chosen = psf_module.psf_stars(objects, saturation=10)
    assert 0 < len(chosen) < len(objects)
    assert (objects.peak[chosen] < 8).all()


def test_growth_of_real_stars_is_that_of_the_psf(sdss_folder):
    image = read_planes(next(sdss_folder.glob("frame-r-*")))[0].image
    saturation = SDSS_SATURATION_COUNTS * 0.005
    objects = census(image)
    psf = psf_module.measure_psf(objects, SCALE, saturation=saturation)
    stars = psf_module.psf_stars(objects, saturation)
    model = psf.profile().drawImage(nx=61, ny=61, scale=SCALE, method="no_pixel").array.astype(float)
    whole = sep.sum_circle(objects.image, objects.x[stars], objects.y[stars], 10.0, subpix=0)[0]
    for radius in (2.5, 4.0, 6.0):
        real = np.median(sep.sum_circle(objects.image, objects.x[stars], objects.y[stars], radius, subpix=0)[0] / whole)
        ours = sep.sum_circle(model, [30.0], [30.0], radius, subpix=0)[0][0]
        ours /= sep.sum_circle(model, [30.0], [30.0], 10.0, subpix=0)[0][0]
        assert ours == pytest.approx(real, abs=0.015)
