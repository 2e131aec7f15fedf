import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldprep.clusters import REGIONS, ColourRegions
from fieldprep.errors import InputError, UsageError

magnitudes = st.floats(8, 26)


@given(magnitudes, st.floats(-3, 6), st.floats(0.01, 1), st.floats(-0.2, 0.1))
def test_each_object_lies_in_the_region_that_its_distance_from_the_line_tells(r, g_z, half_width, slope):
    regions = ColourRegions(1.6, 17.0, slope, half_width)
    (region,) = regions.of(np.array([r]), np.array([g_z]))
    off = g_z - (1.6 + slope * (r - 17.0))
    assert region == REGIONS[1 + (off > half_width) - (off < -half_width)]


def test_regions_from_blue_to_red():
    regions = ColourRegions(1.5, 16.0, 0.0, 0.25)
    g_z = np.array([1.0, 1.25, 1.5, 1.75, 2.0])
    expected = ["blue cloud", "red sequence", "red sequence", "red sequence", "red shoulder"]
    assert regions.of(np.full(5, 18.0), g_z).tolist() == expected


def test_what_has_no_colour_has_no_region():
    assert ColourRegions().of(np.array([18.0, np.nan]), np.array([np.nan, 1.5])).tolist() == ["", ""]
    assert ColourRegions().of(np.zeros(0), np.zeros(0)).tolist() == []


def test_the_line_is_found_among_members_of_which_a_third_lie_off():
    random = np.random.default_rng(3)
    r = random.uniform(13, 19.4, 150)
    g_z = 1.2 - 0.045 * (r - 17) + random.normal(0, 0.06, 150)
    g_z[:50] -= random.uniform(0.3, 1.2, 50)
    found = ColourRegions.fitted(r, g_z)
    at = np.array([14.0, 19.0])
    assert found.line(at) == pytest.approx(1.2 - 0.045 * (at - 17), abs=0.06)
    # two sigmas of 0.06, and what the third that lies off adds
    assert 0.1 < found.half_width < 0.3
    assert (found.of(r[50:], g_z[50:]) == "red sequence").mean() > 0.9


def test_a_line_through_points_that_lie_on_it_is_that_line_and_no_narrower_than_the_magnitudes_are_good():
    r = np.linspace(14, 19, 20)
    found = ColourRegions.fitted(np.append(r, np.nan), np.append(1.8 - 0.05 * (r - 16), 1.0))
    assert found.line(r) == pytest.approx(1.8 - 0.05 * (r - 16))
    assert found.half_width == 0.05


@pytest.mark.parametrize("r", [np.linspace(14, 19, 9), np.full(30, 17.0)])
def test_too_few_members_for_a_line_are_told(r):
    with pytest.raises(InputError, match=r"a red sequence wants 10 members .* give its line"):
        ColourRegions.fitted(r, np.full(len(r), 1.5))


@pytest.mark.parametrize("wrong", [{"half_width": 0.0}, {"slope": np.nan}, {"colour": np.inf}])
def test_a_line_that_is_none_is_refused(wrong):
    with pytest.raises(UsageError, match="a red sequence wants four numbers"):
        ColourRegions(**wrong)
