"""How unsure several networks are together: what they do not know, and what they do not agree on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """
    How unsure the networks of a classifier are of each stamp.

    Parameters
    ----------
    entropy : 1D float64 `~numpy.ndarray`, shape (N,)
        Of the mean probabilities, in bits: 0 where one class is certain, log2(K) where nothing is known.
    mutual_information : 1D float64 `~numpy.ndarray`, shape (N,)
        Between a network and the class it gives, in bits: the part of the entropy that is there because the networks do
        not agree, as on stamps unlike those they were trained on. What is left is noise that all of them see.
    deviation : 1D float64 `~numpy.ndarray`, shape (N,)
        Standard deviation, over the networks, of the probability of the class that is likeliest in the mean.

    References
    ----------
    Lakshminarayanan et al. 2017, NeurIPS, 6402, section 2.4 (networks trained apart); Gal & Ghahramani 2016, ICML, 1050
    (one network, its dropout drawn); Houlsby et al. 2011, arXiv:1112.5745, equation 2 (mutual information).
    """

    entropy: Floats
    mutual_information: Floats
    deviation: Floats


def uncertainty_of(votes: Floats) -> Uncertainty:
    """
    Sum up votes.

    Parameters
    ----------
    votes : 3D float64 `~numpy.ndarray`, shape (N, M, K)
        Probability of each class by each network, as `classifiers.classify.Classifier.votes` gives them.

    Returns
    -------
    Uncertainty

    Raises
    ------
    ValueError
        If there are fewer than two networks: one alone cannot disagree.
    """
    if votes.ndim != 3 or votes.shape[1] < 2:
        raise ValueError(f"votes must be of two networks or more, shape (N, M, K), got {votes.shape}")
    mean = votes.mean(axis=1)
    entropy = _entropy(mean)
    likeliest = votes[np.arange(len(votes)), :, mean.argmax(axis=1)]
    return Uncertainty(
        entropy,
        np.maximum(entropy - _entropy(votes).mean(axis=1), 0),  # not under 0 by a rounding
        likeliest.std(axis=1, ddof=1),
    )


def _entropy(probabilities: Floats) -> Floats:
    """In bits, over the last axis; nothing of what is impossible."""
    logarithm = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return np.asarray(-(probabilities * logarithm).sum(axis=-1))
