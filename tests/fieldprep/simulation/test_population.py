import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldprep.simulation import population
from fieldprep.simulation.population import Density

SHAPE = (1489, 2048)
SCALE = 0.396


def _counts_between(magnitude, low, high):
    return int(((magnitude > low) & (magnitude < high)).sum())


def test_as_many_galaxies_and_stars_as_the_density_says():
    density = Density(galaxies=1000.0, stars=3000.0)
    area = population.area_deg2(SHAPE, SCALE)
    rng = np.random.default_rng(1)
    galaxies = population.galaxies(rng, SHAPE, SCALE, density)["modelMag_r"]
    stars = population.stars(rng, SHAPE, SCALE, density)["modelMag_r"]
    wanted = 1000 * 10**population.GALAXY_SLOPE * area
    assert _counts_between(galaxies, 0, 21) == pytest.approx(wanted, abs=4 * np.sqrt(wanted))
    assert _counts_between(stars, 0, 20) == pytest.approx(3000 * area, abs=4 * np.sqrt(3000 * area))


@given(seed=st.integers(0, 2**31), galaxies=st.floats(0, 5000))
def test_galaxies_are_what_galaxies_can_be(seed, galaxies):
    table = population.galaxies(np.random.default_rng(seed), (200, 300), SCALE, Density(galaxies=galaxies))
    assert table["modelMag_r"].between(population.BRIGHTEST_GALAXY, population.FAINTEST).all()
    assert table["bulge"].between(0, 1).all()
    assert table["disc_q"].between(0.19, 1).all()
    assert (table["radius"] > 0).all()
    assert set(table["kind"]) <= {"smooth", "spiral", "merger"}
    assert (table.loc[table["kind"] != "smooth", "radius"] > population.DETAILED_RADIUS).all()


def test_galaxies_redden_with_depth_as_in_real_fields():
    rng = np.random.default_rng(0)
    n = 4000
    # medians of seven SDSS fields; the mean is steadier where there is a blue and a red half
    for magnitude, g_r in ((18.5, 1.05), (20.5, 1.13)):
        table = population.galaxies_at(rng, np.zeros(n), np.zeros(n), np.full(n, magnitude))
        assert (table["modelMag_g"] - table["modelMag_r"]).mean() == pytest.approx(g_r, abs=0.06)
        assert (table["modelMag_r"] - table["modelMag_i"]).median() == pytest.approx(0.45, abs=0.05)


def test_density_is_brought_to_twenty():
    rng = np.random.default_rng(5)
    given, large = Density(1500.0, 4000.0), (4000, 4000)
    tables = population.galaxies(rng, large, SCALE, given), population.stars(rng, large, SCALE, given)
    magnitude = np.concatenate([table["modelMag_r"] for table in tables])
    star = np.arange(len(magnitude)) >= len(tables[0])
    found = Density.of(magnitude, star, population.area_deg2(large, SCALE))
    assert found.galaxies == pytest.approx(1500, rel=0.12)
    assert found.stars == pytest.approx(4000, rel=0.12)
