"""
What a network of Galaxy Zoo's answers is trained by: fractions, with or without the tree, or counts. Needs torch.

The same as `classifiers.galaxy_zoo_tree` and `classifiers.classify` do to what a network says, where it can be trained
through.
"""

from __future__ import annotations

import torch

from classifiers.galaxy_zoo_tree import ANSWERS, MOST_CONCENTRATED, TREE, places
from classifiers.tasks import COUNTS

_PLACES = [torch.from_numpy(places(question)) for question in TREE]
_AFTER = [[ANSWERS.index(one) for one in question.after] for question in TREE]
_LEAST = 1e-12  # of a sum that is divided by


def shared_out(given: torch.Tensor) -> torch.Tensor:
    """
    Cumulative fractions in which each question's answers share out what leads to it, in the proportions given.

    Parameters
    ----------
    given : tensor, shape (N, 37)
        Fractions, counts or concentrations, columns as `ANSWERS`; not under 0.

    Returns
    -------
    tensor, shape (N, 37)
        0 for the answers of a question of which all are 0.
    """
    found: dict[int, torch.Tensor] = {}
    for own, after in zip(_PLACES, _AFTER, strict=True):
        part = given[:, own.to(given.device)]
        share = part / part.sum(dim=1, keepdim=True).clamp(min=_LEAST)
        asked = torch.stack([found[k] for k in after]).sum(dim=0) if after else torch.ones_like(given[:, 0])
        found |= dict(zip(own.tolist(), (share * asked[:, None]).unbind(dim=1), strict=True))
    return torch.stack([found[k] for k in range(len(ANSWERS))], dim=1)


def said(logits: torch.Tensor, loss: str, *, tree: bool) -> torch.Tensor:
    """
    Vote fractions that logits say.

    Parameters
    ----------
    logits : tensor, shape (N, 37)
        Of the network.
    loss : {'votes', 'vote_counts'}
        What it is trained by.
    tree : bool
        Whether fractions are brought to obey the tree; counts do anyway.

    Returns
    -------
    tensor, shape (N, 37)
    """
    if loss == COUNTS:
        return shared_out(concentrations(logits))
    fractions = torch.sigmoid(logits)
    return shared_out(fractions) if tree else fractions


def concentrations(logits: torch.Tensor) -> torch.Tensor:
    """Concentrations of a Dirichlet distribution a question, from 1 to 101, shape (N, 37)."""
    return 1 + MOST_CONCENTRATED * torch.sigmoid(logits)


def of_fractions(found: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Mean squared error over galaxies and answers; its root is Kaggle's measure."""
    return torch.nn.functional.mse_loss(found, true)


def of_counts(logits: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """
    Negative logarithm of the likelihood of counts of votes, summed over the questions, the mean of the galaxies.

    Parameters
    ----------
    logits : tensor, shape (N, 37)
        Of the network.
    counts : tensor, shape (N, 37)
        Votes for each answer, columns as `ANSWERS`.

    Returns
    -------
    tensor, shape ()
        A question is a Dirichlet-multinomial distribution of as many votes as it was given; one that nobody was asked
        adds nothing.

    References
    ----------
    Walmsley et al. 2022, MNRAS 509, 3966, section 4.1 (Zoobot).
    """
    given = concentrations(logits)
    total = torch.zeros_like(given[:, 0])
    for own in _PLACES:
        alpha, votes = given[:, own.to(given.device)], counts[:, own.to(given.device)]
        of_all, asked = alpha.sum(dim=1), votes.sum(dim=1)
        ways = torch.lgamma(asked + 1) - torch.lgamma(votes + 1).sum(dim=1)
        drawn = torch.lgamma(of_all) - torch.lgamma(of_all + asked)
        each = (torch.lgamma(alpha + votes) - torch.lgamma(alpha)).sum(dim=1)
        total = total - (ways + drawn + each)
    return total.mean()
