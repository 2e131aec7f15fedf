import numpy as np
import pytest

from fieldprep.simulation import groups

SHAPE = (1489, 2048)
SCALE = 0.396


def test_arcs_lie_around_the_brightest_of_their_group_and_are_stretched_along_the_circle():
    table = groups.arcs(np.random.default_rng(3), SHAPE, SCALE, 6, 0.4)
    arcs, group = table[table["kind"] == "arc"], table[table["kind"] != "arc"]
    middle = group.loc[group["modelMag_r"].idxmin()]
    assert len(arcs) == 6
    distance = np.hypot(arcs["x"] - middle["x"], arcs["y"] - middle["y"]) * SCALE
    assert distance.between(4.9, 14.1).all()
    around = np.degrees(np.arctan2(arcs["y"] - middle["y"], arcs["x"] - middle["x"]))
    np.testing.assert_allclose(np.cos(np.radians(arcs["shear_angle"] - around)), 0, atol=1e-9)
    assert (arcs["shear"] == 0.4).all()
    assert (group["shear"] == 0).all()


def test_half_a_clusters_stars_lie_within_its_half_number_radius():
    stars = groups.cluster(np.random.default_rng(0), (1200, 1600), 20_000)
    radius = np.hypot(stars["x"] - 799.5, stars["y"] - 599.5)
    assert (radius < 100).mean() == pytest.approx(0.5, abs=0.015)
