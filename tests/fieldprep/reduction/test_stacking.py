import warnings

import ccdproc
import numpy as np
import pytest
from astropy.nddata import CCDData
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldprep.reduction.stacking import clipped_mean


def normal(n, shape=(60, 70), sigma=2.0, seed=0):
    values = np.random.default_rng(seed).normal(100, sigma, (n, *shape)).astype(np.float32)
    return values, np.full((n, *shape), sigma**2, np.float32)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 20])
def test_a_mean_of_normal_values_is_unbiased_and_claims_its_own_scatter(n):
    values, variances = normal(n, (200, 200))
    mean, variance, count = clipped_mean(values, variances)
    pulls = (mean - 100) / np.sqrt(variance)
    assert abs(pulls.mean()) < 0.02
    assert pulls.std() == pytest.approx(1, abs=0.02)
    assert count.mean() == pytest.approx(n, rel=0.005)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10])
def test_a_ray_in_one_image_is_left_out_where_the_scatter_of_few_images_cannot_tell_it(n):
    values, variances = normal(n)
    values[0, 10, 20] += 5000
    mean, _, count = clipped_mean(values, variances)
    assert count[10, 20] == n - 1
    assert mean[10, 20] == pytest.approx(100, abs=8)
    combiner = ccdproc.Combiner([CCDData(value, unit="adu") for value in values])
    combiner.sigma_clipping(low_thresh=4, high_thresh=4, func="median", dev_func="std")
    by_scatter = combiner.average_combine()
    assert by_scatter.data[10, 20] > 500  # even of ten, none is 4 of their standard deviations off


def test_without_outliers_and_weights_it_is_the_plain_mean():
    values, variances = normal(5, sigma=0.5)
    variances *= 100  # nothing is clipped
    mean, variance, count = clipped_mean(values, variances)
    assert mean == pytest.approx(values.mean(axis=0), rel=1e-6)
    assert variance == pytest.approx(variances[0] / 5)
    assert (count == 5).all()


def test_weights_are_of_what_is_there():
    values = np.array([[[10.0]], [[20.0]], [[np.nan]]], np.float32)
    mean, variance, count = clipped_mean(values, np.full_like(values, 100), [1, 3, 50])
    assert mean[0, 0] == pytest.approx(17.5)
    assert variance[0, 0] == pytest.approx(100 * (1 + 9) / 16)
    assert count[0, 0] == 2


def test_a_pixel_without_a_value_is_nan_and_warns_of_nothing():
    values, variances = normal(3)
    values[:, 4, 5] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for median in (False, True):
            mean, variance, count = clipped_mean(values, variances, median=median)
            assert np.isnan(mean[4, 5])
            assert np.isnan(variance[4, 5])
            assert count[4, 5] == 0
            assert np.isfinite(mean).sum() == mean.size - 1


def test_a_star_whose_seeing_differs_is_not_clipped_by_its_share():
    values = np.array([[[1000.0]], [[1200.0]], [[900.0]]], np.float32)
    variances = np.full_like(values, 100)
    assert clipped_mean(values, variances)[2][0, 0] < 3
    assert clipped_mean(values, variances, share=0.3)[2][0, 0] == 3


def test_the_median_of_flats_is_less_moved_by_the_wings_of_stars():
    values, variances = normal(7, (200, 200), sigma=1.0)
    values[0] += 3.0  # under the threshold
    mean, median = (clipped_mean(values, variances, median=choice)[0].mean() - 100 for choice in (False, True))
    assert abs(median) < 0.6 * abs(mean)


def test_blocks_of_rows_do_not_show(monkeypatch):
    values, variances = normal(4)
    whole = clipped_mean(values, variances, share=0.1)
    monkeypatch.setattr("fieldprep.reduction.stacking.BLOCK_BYTES", 1)
    for one, other in zip(whole, clipped_mean(values, variances, share=0.1), strict=True):
        assert np.array_equal(one, other)


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(5)),
    scale=st.floats(0.01, 100),
    holes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 6)), max_size=20),
)
def test_neither_order_nor_unit_matters(order, scale, holes):
    values, variances = normal(5, (6, 7))
    for hole in holes:
        values[hole] = np.nan
    mean, variance, count = clipped_mean(values, variances)
    factor = np.float32(scale)
    again = clipped_mean(values[order] * factor, variances[order] * factor**2)
    assert again[0] == pytest.approx(mean * factor, rel=1e-5, nan_ok=True)
    assert again[1] == pytest.approx(variance * factor**2, rel=1e-4, nan_ok=True)
    assert np.array_equal(again[2], count)
