import numpy as np
import pytest

from fieldprep.simulation.growth import Growth


def _disc(scale, side=241, centre=(0.0, 0.0)):
    y, x = np.indices((side, side)) - side // 2
    return np.exp(-np.hypot(x - centre[0], y - centre[1]) / scale)


@pytest.mark.parametrize("half_light", [3.0, 6.0, 12.0])
def test_petrosian_radius_of_an_exponential_disc(half_light):
    # Graham & Driver 2005, table 3: 2.16 half-light radii at a ratio of 0.2
    assert Growth(_disc(half_light / 1.678)).petrosian_radius() == pytest.approx(2.16 * half_light, rel=0.04)


def test_half_and_nine_tenths_of_the_light_of_a_disc():
    growth = Growth(_disc(6 / 1.678))
    petrosian = growth.petrosian_radius()
    # within twice the Petrosian radius lies 0.994 of an exponential disc's light: Graham & Driver 2005, table 3
    assert growth.light_radius(0.5, petrosian) == pytest.approx(0.99 * 6, rel=0.03)
    assert growth.light_radius(0.9, petrosian) == pytest.approx(3.89 / 1.678 * 6, rel=0.06)


def test_a_galaxy_off_the_middle_of_its_stamp_measures_the_same():
    centred, aside = Growth(_disc(4.0)), Growth(_disc(4.0, centre=(0.4, -0.3)), centre=(0.4, -0.3))
    assert aside.petrosian_radius() == pytest.approx(centred.petrosian_radius(), abs=0.25)
    assert aside.light_radius(0.5, 10.0) == pytest.approx(centred.light_radius(0.5, 10.0), rel=0.01)


def test_a_radius_that_is_not_reached_is_half_the_image():
    assert Growth(np.ones((41, 41))).petrosian_radius() == 20
