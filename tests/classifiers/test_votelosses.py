"""What networks of votes are trained by, held against NumPy's and SciPy's."""

import numpy as np
import pytest
from scipy.stats import dirichlet_multinomial

torch = pytest.importorskip("torch")

from classifiers.classify import probabilities  # noqa: E402 -- after what may be missing
from classifiers.galaxy_zoo_tree import TREE, obeying, of_counts, places, totals  # noqa: E402
from classifiers.votelosses import concentrations, said, shared_out  # noqa: E402
from classifiers.votelosses import of_counts as likelihood  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture
def logits():
    return torch.from_numpy(np.random.default_rng(0).normal(0, 2, (6, 37)))


@pytest.fixture
def counts():
    """Votes of six galaxies, of which two have questions that nobody was asked."""
    drawn = np.random.default_rng(1).integers(0, 30, (6, 37)).astype(np.float64)
    drawn[0, places(TREE[7])] = 0
    drawn[1, 3:] = 0
    return drawn


def test_what_is_trained_is_what_is_said_when_it_is_used(logits):
    raw = logits.numpy()
    np.testing.assert_allclose(said(logits, "votes", tree=False), probabilities(raw, "fractions"), atol=1e-12)
    np.testing.assert_allclose(
        said(logits, "votes", tree=True), obeying(probabilities(raw, "fractions")), rtol=1e-9, atol=1e-12
    )
    expected = probabilities(raw, "concentrations")
    np.testing.assert_allclose(said(logits, "vote_counts", tree=False), expected, rtol=1e-9)
    sums = np.stack([expected[:, places(question)].sum(axis=1) for question in TREE], axis=1)
    np.testing.assert_allclose(sums, totals(expected), atol=1e-12)


def test_fractions_of_counts_are_numpys(counts):
    np.testing.assert_allclose(shared_out(torch.from_numpy(counts)), of_counts(counts), atol=1e-12)


def test_the_likelihood_is_scipys_dirichlet_multinomial_of_each_question(logits, counts):
    alpha = concentrations(logits).numpy()
    assert ((alpha > 1) & (alpha < 101)).all()
    by_hand = np.zeros(len(counts))
    for question in TREE:
        own = places(question)
        for i, row in enumerate(counts):
            asked = int(row[own].sum())
            if asked:
                by_hand[i] -= dirichlet_multinomial.logpmf(row[own].astype(int), alpha[i, own], asked)
    assert float(likelihood(logits, torch.from_numpy(counts))) == pytest.approx(by_hand.mean(), rel=1e-10)


def test_every_logit_is_taught_by_every_loss(logits, counts):
    some = logits.clone().requires_grad_(requires_grad=True)
    likelihood(some, torch.from_numpy(counts)).backward()
    assert torch.isfinite(some.grad).all()
    assert (some.grad != 0).any(dim=0).all()
    for tree in (True, False):
        other = logits.clone().requires_grad_(requires_grad=True)
        (said(other, "votes", tree=tree) ** 2).sum().backward()
        assert torch.isfinite(other.grad).all()
        assert (other.grad != 0).all()
