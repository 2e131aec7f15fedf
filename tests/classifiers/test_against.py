"""Two classifiers on the same stamps: both measured on the same draws."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from classifiers.against import COMPARED, SIDES, compared
from classifiers.evaluate import Judged
from classifiers.metrics import resamples

N = 120
CLASSES = ("wide", "narrow")


def said_of(stamps, right, seed, classes=CLASSES):
    """A classifier that has this share of the stamps right."""
    random = np.random.default_rng(seed)
    own = np.stack([stamps.labels == name for name in classes], axis=1)
    p = np.where(own == (random.random(N) < right)[:, None], 0.8, 0.2)
    return Judged(stamps, classes, p[:, None], p)


@pytest.fixture
def stamps(blobs):
    made = blobs(N)
    return replace(made, groups=np.array([f"patch {i // 5}" for i in range(N)]))


def test_measures_and_their_difference_are_those_of_both_on_the_same_draws(stamps):
    one, other = said_of(stamps, 0.9, 0), said_of(stamps, 0.7, 1)
    told = compared(one, other)
    true, ours, theirs = (np.array(CLASSES)[numbers] for numbers in (one.true, one.given, other.given))
    plain = {
        "accuracy": lambda t, g: np.mean(t == g),
        "balanced_accuracy": balanced_accuracy_score,
        "macro_f1": lambda t, g: f1_score(t, g, average="macro"),
    }
    for name, measure in plain.items():
        a, b = measure(true, ours), measure(true, theirs)
        assert [told[name][side]["value"] for side in SIDES] == pytest.approx([a, b, a - b])
        draws = [measure(true[k], ours[k]) - measure(true[k], theirs[k]) for k in resamples(N, stamps.groups)]
        ends = told[name]["difference"]["low"], told[name]["difference"]["high"]
        assert ends == pytest.approx(tuple(np.percentile(draws, [16, 84])))
    assert told["only_one"] - told["only_other"] == round(N * told["accuracy"]["difference"]["value"])
    assert told["n"] == N


def test_nothing_is_better_than_itself(stamps):
    one = said_of(stamps, 0.8, 0)
    told = compared(one, one)
    for name in COMPARED:
        assert [told[name]["difference"][key] for key in ("value", "low", "high")] == [0, 0, 0]
    assert (told["only_one"], told["only_other"]) == (0, 0)


def test_the_order_of_the_classes_does_not_matter(stamps):
    one, other = said_of(stamps, 0.9, 0), said_of(stamps, 0.7, 1)
    turned = replace(other, classes=CLASSES[::-1], votes=other.votes[..., ::-1])
    assert compared(one, turned) == compared(one, other)


def test_a_paired_difference_is_surer_than_two_shares(stamps):
    """Both fail on the same stamps for the most part."""
    one = said_of(stamps, 0.7, 0)
    p = one.votes.copy()
    p[0] = p[0, :, ::-1]
    told = compared(one, Judged(stamps, CLASSES, p, p[:, 0]))["accuracy"]

    def width(side):
        return told[side]["high"] - told[side]["low"]

    assert width("difference") < 0.5 * width("one")


def test_others_than_the_same_stamps_are_refused(stamps):
    one = said_of(stamps, 0.9, 0)
    with pytest.raises(ValueError, match="same stamps"):
        compared(one, one.select(np.arange(N) < 50))
