import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.uncertainty import uncertainty_of


def drawn(seed, n=50, networks=4, classes=3, sharpness=3.0):
    powers = np.exp(np.random.default_rng(seed).normal(0, sharpness, (n, networks, classes)))
    return powers / powers.sum(axis=2, keepdims=True)


def test_networks_that_agree_have_nothing_between_them_however_unsure_they_are():
    told = uncertainty_of(np.array([[[0.5, 0.5]] * 3, [[1.0, 0.0]] * 3]))
    assert told.entropy.tolist() == [1, 0]
    assert told.mutual_information.tolist() == [0, 0]
    assert told.deviation.tolist() == [0, 0]


def test_certain_networks_that_contradict_each_other_do_not_agree_on_a_bit():
    told = uncertainty_of(np.array([[[1.0, 0.0], [0.0, 1.0]]]))
    assert told.entropy.tolist() == told.mutual_information.tolist() == [1]
    assert told.deviation == pytest.approx([np.sqrt(0.5)])


def test_the_entropy_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    votes = drawn(1)
    told = uncertainty_of(votes)
    assert told.entropy == pytest.approx(stats.entropy(votes.mean(axis=1), base=2, axis=1))
    # the mutual information by its other name: the mean divergence of the networks from their mean
    divergence = stats.entropy(votes, votes.mean(axis=1, keepdims=True), base=2, axis=2).mean(axis=1)
    assert told.mutual_information == pytest.approx(divergence, abs=1e-12)


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(2, 5))
def test_what_they_do_not_agree_on_is_a_part_of_what_they_do_not_know(seed, networks, classes):
    told = uncertainty_of(drawn(seed, 20, networks, classes))
    assert (told.mutual_information >= 0).all()
    assert (told.mutual_information <= told.entropy + 1e-12).all()
    assert (told.entropy <= np.log2(classes) + 1e-12).all()


def test_nothing_is_nothing_and_one_network_cannot_disagree():
    assert uncertainty_of(np.zeros((0, 2, 3))).entropy.shape == (0,)
    with pytest.raises(ValueError, match="two networks or more"):
        uncertainty_of(np.ones((4, 1, 2)) / 2)
