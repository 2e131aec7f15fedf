"""Curves of a class against the others, as scikit-learn has them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.curves import POINTS, average_precision, curves, operating_points

sklearn = pytest.importorskip("sklearn.metrics")


def made_up(seed, n=300, ties=True):
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.3
    value = random.normal(0, 1, n) + positive
    return positive, np.round(value, 1) if ties else value


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_they_are_those_of_scikit_learn(seed, ties):
    positive, value = made_up(seed, ties=ties)
    told = operating_points(positive, value)
    false, recall, threshold = sklearn.roc_curve(positive, value, drop_intermediate=False)
    np.testing.assert_allclose(told["false_positives"], false)
    np.testing.assert_allclose(told["recall"], recall)
    np.testing.assert_array_equal(told["threshold"], threshold)
    precision, _, _ = sklearn.precision_recall_curve(positive, value)
    np.testing.assert_allclose(told["precision"], precision[::-1])
    assert average_precision(positive, value) == pytest.approx(sklearn.average_precision_score(positive, value))
    assert curves(positive, value)["auc"] == pytest.approx(sklearn.roc_auc_score(positive, value))


@given(st.integers(0, 1000), st.integers(2, 2000))
def test_what_is_kept_of_them_begins_with_nothing_and_ends_with_all(seed, n):
    positive, value = made_up(seed, n, ties=False)
    positive[:2] = True, False
    told = curves(positive, value)
    assert len(told["recall"]) <= POINTS
    assert (told["recall"][0], told["false_positives"][0], told["precision"][0]) == (0, 0, 1)
    assert (told["recall"][-1], told["false_positives"][-1]) == (1, 1)
    assert told["precision"][-1] == pytest.approx(positive.mean())
    assert np.all(np.diff(told["recall"]) >= 0)


def test_without_a_positive_there_is_nothing_to_divide_by():
    told = curves(np.zeros(3, np.bool_), np.arange(3.0))
    assert np.isnan(told["average_precision"])
    assert np.isnan(told["auc"])
    assert np.isnan(told["recall"]).all()
    assert curves(np.zeros(0, np.bool_), np.zeros(0))["n"] == 0
