from types import SimpleNamespace

import numpy as np
import pytest

galsim = pytest.importorskip("galsim")
profiles = pytest.importorskip("fieldprep.simulation.profiles")


def _row(**own):
    row = {
        "modelMag_g": 18.9,
        "modelMag_r": 18.0,
        "modelMag_i": 17.6,
        "radius": 3.0,
        "bulge": 0.3,
        "bulge_q": 0.8,
        "disc_q": 0.6,
        "angle": 30.0,
        "kind": "smooth",
        "shear": 0.0,
        "shear_angle": 0.0,
        "seed": 5,
    }
    return SimpleNamespace(**(row | own))


def _image(row, band="r", side=401, scale=0.2):
    seeing = galsim.Gaussian(fwhm=0.8)
    light = galsim.Convolve(profiles.galaxy_profile(row, band), seeing)
    return light.drawImage(nx=side, ny=side, scale=scale, method="no_pixel")


@pytest.mark.parametrize("kind", ["smooth", "spiral", "merger", "arc"])
@pytest.mark.parametrize("band", ["g", "r", "i"])
def test_the_light_adds_up_to_the_magnitude(kind, band):
    row = _row(kind=kind, bulge=0.0 if kind in {"merger", "arc"} else 0.3)
    flux = 10 ** (0.4 * (22.5 - getattr(row, f"modelMag_{band}")))
    assert _image(row, band).array.sum() == pytest.approx(flux, rel=0.01)


@pytest.mark.parametrize("kind", ["smooth", "spiral", "merger"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_centroid_in_r_is_where_the_galaxy_is(kind, seed):
    image = _image(_row(kind=kind, bulge=0.0 if kind == "merger" else 0.3, seed=seed)).array
    y, x = np.indices(image.shape) - image.shape[0] // 2
    assert abs((x * image).sum() / image.sum()) < 0.02 * 0.396 / 0.2
    assert abs((y * image).sum() / image.sum()) < 0.02 * 0.396 / 0.2


@pytest.mark.parametrize("shear", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("angle", [0.0, 50.0, 120.0])
def test_a_round_source_takes_the_shape_of_the_reduced_shear(shear, angle):
    row = _row(kind="arc", bulge=0.0, disc_q=1.0, radius=0.8, shear=shear, shear_angle=angle)
    bare = profiles.galaxy_profile(row, "r").drawImage(nx=301, ny=301, scale=0.05, method="no_pixel")
    found = bare.FindAdaptiveMom(guess_sig=15).observed_shape
    assert found.g == pytest.approx(shear, abs=0.01)
    assert abs(np.sin(np.radians(found.beta.deg - angle))) < 0.02


def test_a_sources_own_shape_is_composed_with_the_shear():
    row = _row(kind="arc", bulge=0.0, disc_q=0.7, angle=20.0, radius=0.8, shear=0.3, shear_angle=75.0)
    bare = profiles.galaxy_profile(row, "r").drawImage(nx=301, ny=301, scale=0.05, method="no_pixel")
    wanted = galsim.Shear(g=0.3, beta=75 * galsim.degrees) + galsim.Shear(q=0.7, beta=20 * galsim.degrees)
    assert abs(bare.FindAdaptiveMom(guess_sig=15).observed_shape.shear - wanted.shear) < 0.02


def test_arms_are_bluer_than_their_disc():
    row = _row(kind="spiral", bulge=0.0, modelMag_g=18.0, modelMag_i=18.0, disc_q=0.9, radius=5.0)
    blue, red = (_image(row, band).array for band in ("g", "i"))
    # of equal flux, the bluer band's light is in fewer, brighter places
    assert np.sort(blue.ravel())[-2000:].sum() > np.sort(red.ravel())[-2000:].sum()


def test_spirals_are_not_smooth_and_differ_by_seed():
    smooth, one, other = (
        _image(_row(kind=kind, seed=seed)).array for kind, seed in (("smooth", 1), ("spiral", 1), ("spiral", 2))
    )
    assert np.abs(one - smooth).sum() > 0.1 * smooth.sum()
    assert np.abs(one - other).sum() > 0.1 * smooth.sum()
    np.testing.assert_array_equal(one, _image(_row(kind="spiral", seed=1)).array)


def test_bulges_are_redder():
    shares = [profiles.bulge_share(_row(bulge=0.5), band) for band in ("g", "r", "i")]
    assert shares == sorted(shares)
    assert shares[1] == 0.5
    assert profiles.bulge_share(_row(bulge=1.0), "i") == 1.0
