import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.splits import NEGM, folds, split
from fieldprep.errors import InputError


def stamps(sizes, seed=0, rare=0.2):
    """Labels and groups: as many stamps in each group as told."""
    random = np.random.default_rng(seed)
    groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes)
    return np.where(random.random(len(groups)) < rare, "rare", "common"), groups


@given(sizes=st.lists(st.integers(1, 9), min_size=5, max_size=60), number=st.integers(2, 5), seed=st.integers(0, 9))
def test_no_group_stands_on_both_sides_and_no_part_is_empty(sizes, number, seed):
    labels, groups = stamps(sizes, seed)
    part = folds(labels, groups, number, seed=seed)
    assert set(part) == set(range(number))
    for name in set(groups):
        assert len(set(part[groups == name])) == 1


def test_each_class_is_in_its_proportion():
    labels, groups = stamps([1] * 900 + [3] * 30, rare=0.17)
    part = split(labels, groups, NEGM)
    for name in ("rare", "common"):
        shares = np.bincount(part[labels == name]) / (labels == name).sum()
        assert shares == pytest.approx(NEGM, abs=0.02)


def test_the_same_seed_deals_alike_and_another_otherwise():
    labels, groups = stamps([1] * 50)
    first = folds(labels, groups, 5, seed=1)
    assert np.array_equal(first, folds(labels, groups, 5, seed=1))
    assert not np.array_equal(first, folds(labels, groups, 5, seed=2))


def test_too_few_groups_are_an_input_error():
    with pytest.raises(InputError, match="2 objects or patches of sky cannot be dealt out to 3 parts"):
        folds(*stamps([4, 4]), 3)


def test_negms_shares_of_his_stamps_are_his_counts():
    labels = np.where(np.arange(21_785) < round(0.8824 * 21_785), "real", "bogus")
    part = split(labels, np.arange(21_785).astype(str), NEGM)
    assert np.bincount(part).tolist() == pytest.approx([11_436, 4_902, 5_447], abs=2)  # his table of section 3.1
    assert [(labels[part == k] == "real").mean() for k in range(3)] == pytest.approx([0.8824] * 3, abs=1e-3)
