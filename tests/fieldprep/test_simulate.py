import numpy as np
import pytest

from fieldprep import Field
from fieldprep.errors import OutputError
from fieldprep.sky import sky_level_and_noise

galsim = pytest.importorskip("galsim")
simulation = pytest.importorskip("fieldprep.simulate")

SHAPE = (240, 320)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "field"
    simulation.write_field(folder, seed=11, shape=SHAPE)
    return folder


def test_the_same_seed_gives_the_same_field():
    first, second = simulation.simulate(3, (120, 160)), simulation.simulate(3, (120, 160))
    np.testing.assert_array_equal(first.images["r"], second.images["r"])
    assert first.truth.equals(second.truth)


def test_another_seed_gives_another_field():
    assert not np.array_equal(
        simulation.simulate(3, (120, 160)).images["r"], simulation.simulate(4, (120, 160)).images["r"]
    )


def test_sky_noise_is_that_of_the_survey(written):
    field = Field.read(written)
    for band, image in field.bands.items():
        _, noise = sky_level_and_noise(image)
        # g and i are resampled onto r, which smooths their noise a little
        assert noise == pytest.approx(simulation.SKY_NOISE[band], rel=0.2 if band == "r" else 0.3)


def test_bands_are_offset_and_come_back_onto_one_grid():
    field = simulation.simulate(8, SHAPE)
    bright = field.truth[(field.truth["modelMag_r"] < 19.5) & (field.truth["type"] == 6)]
    bright = bright[bright["x"].between(30, SHAPE[1] - 30) & bright["y"].between(30, SHAPE[0] - 30)]
    assert len(bright)
    for band in ("g", "i"):
        x, y = field.wcs[band].world_to_pixel_values(bright["ra"], bright["dec"])
        np.testing.assert_allclose(x - bright["x"], simulation.BAND_OFFSET_PX[band][0], atol=0.01)
        np.testing.assert_allclose(y - bright["y"], simulation.BAND_OFFSET_PX[band][1], atol=0.01)
        peak = np.array([field.images[band][round(b), round(a)] for a, b in zip(x, y, strict=True)])
        assert (peak > 5 * simulation.SKY_NOISE[band]).all()


def test_flux_in_the_image_is_that_of_the_magnitude():
    field = simulation.simulate(8, SHAPE)
    truth = field.truth
    stars = truth[(truth["type"] == 6) & truth["modelMag_r"].between(16.2, 19)]
    for _, star in stars.iterrows():
        others = truth.drop(star.name)
        alone = np.hypot(others["x"] - star["x"], others["y"] - star["y"]).min() > 25
        if not alone or not 20 < star["x"] < SHAPE[1] - 20 or not 20 < star["y"] < SHAPE[0] - 20:
            continue
        x, y = round(star["x"]), round(star["y"])
        flux = field.images["r"][y - 15 : y + 16, x - 15 : x + 16].sum()
        assert 22.5 - 2.5 * np.log10(flux) == pytest.approx(star["modelMag_r"], abs=0.06)


@pytest.mark.parametrize("radius", [3.0, 6.0])
def test_petrosian_radius_of_an_exponential_disc(radius):
    # R_P = 3.77 scale lengths of a face-on exponential disc at eta = 0.2 (Graham & Driver 2005, table 3: 2.16 R_e)
    image = galsim.Exponential(half_light_radius=radius).drawImage(nx=161, ny=161, scale=1.0, method="no_pixel").array
    assert simulation.petrosian_radius(image) == pytest.approx(2.16 * radius, rel=0.04)


def test_refuses_a_folder_that_is_not_empty(written):
    with pytest.raises(OutputError, match="not empty"):
        simulation.write_field(written, seed=1, shape=SHAPE)
