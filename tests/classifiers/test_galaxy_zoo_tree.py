"""The decision tree of Galaxy Zoo 2."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifiers.galaxy_zoo_tree import ANSWERS, TREE, conditional, cumulative, obeying, places, totals

# GalaxyID, Class1.1 to 1.3, 2.1, 2.2, 3.1, 3.2 and 4.1: the first of an EfficientNet-B0's predictions for Kaggle's
# test set (Nunez Beltran & Reyes Sierra 2023, figure 22)
ROWS = np.array(
    [
        [100018, 0.407888, 0.582523, 0.014407, 0.029137, 0.532876, 0.107306, 0.396716, 0.185159],
        [100037, 0.531101, 0.437521, 0.013075, 0.338021, 0.096537, 0.013105, 0.085130, 0.023849],
        [100042, 0.785810, 0.207034, 0.010072, 0.141288, 0.053498, 0.007146, 0.050583, 0.014603],
        [100052, 0.634374, 0.334699, 0.029625, 0.008110, 0.320185, 0.017686, 0.305511, 0.049302],
    ]
)
votes = arrays(np.float64, st.tuples(st.integers(1, 5), st.just(37)), elements=st.floats(-0.2, 1.2))


def test_the_tree_has_eleven_questions_and_37_answers():
    assert len(TREE) == 11
    assert len(ANSWERS) == len(set(ANSWERS)) == 37
    assert ANSWERS[0] == "Class1.1"
    assert ANSWERS[-1] == "Class11.6"
    assert [len(question.answers) for question in TREE] == [3, 2, 2, 2, 4, 2, 3, 7, 3, 3, 6]
    asked_before = {column: question.number for question in TREE for column in question.columns}
    assert all(asked_before[column] < question.number for question in TREE for column in question.after)


def test_a_network_that_was_not_told_the_tree_nearly_obeys_it():
    first, second, third = ROWS[:, 1:4].sum(axis=1), ROWS[:, 4:6].sum(axis=1), ROWS[:, 6:8].sum(axis=1)
    np.testing.assert_allclose(first, 1, atol=0.02)
    np.testing.assert_allclose(second, ROWS[:, 2], atol=0.05)
    np.testing.assert_allclose(third, ROWS[:, 5], atol=0.05)


@given(votes)
def test_whatever_is_given_obeys_the_tree_afterwards(fractions):
    found = obeying(fractions)
    assert ((found >= 0) & (found <= 1 + 1e-12)).all()
    sums = np.stack([found[:, places(question)].sum(axis=1) for question in TREE], axis=1)
    np.testing.assert_allclose(sums, totals(found), atol=1e-12)
    np.testing.assert_allclose(obeying(found), found, atol=1e-9)


@given(votes)
def test_conditional_and_cumulative_fractions_are_each_other_s_inverse(fractions):
    found = obeying(np.maximum(fractions, 1e-3))
    np.testing.assert_allclose(cumulative(conditional(found)), found, atol=1e-12)


def test_nobody_was_asked_what_follows_an_answer_nobody_gave():
    everybody_smooth = np.zeros((1, 37))
    everybody_smooth[0, [ANSWERS.index(name) for name in ("Class1.1", "Class7.1", "Class6.2")]] = 1
    found = conditional(everybody_smooth)
    assert np.isnan(found[0, places(TREE[1])]).all()
    assert found[0, ANSWERS.index("Class7.1")] == 1


@pytest.mark.parametrize("question", TREE, ids=lambda question: str(question.number))
def test_columns_are_named_as_kaggle_s(question):
    assert question.columns == tuple(f"Class{question.number}.{i + 1}" for i in range(len(question.answers)))
