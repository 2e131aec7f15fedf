import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.metrics import auc, classification_scores, rates_at, recall_at, threshold_for_recall

CLASSES = ("round", "edge", "spiral", "odd")


def draw(seed, n=200, classes=CLASSES, *, ties=False):
    """True classes, given classes and probabilities that know something of the truth."""
    random = np.random.default_rng(seed)
    true = random.integers(0, len(classes), n)
    logits = random.normal(0, 1, (n, len(classes))) + 1.2 * np.eye(len(classes))[true]
    if ties:
        logits = logits.round()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = np.array(classes)
    return names[true], names[p.argmax(axis=1)], p


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.booleans())
def test_the_scores_are_scikit_learns(seed, k, ties):
    metrics = pytest.importorskip("sklearn.metrics")
    classes = CLASSES[:k]
    true, found, p = draw(seed, classes=classes, ties=ties)
    told = classification_scores(true, found, classes, p)
    order = sorted(classes)
    sorted_p = p[:, [classes.index(name) for name in order]]
    assert told["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(true, found))
    assert told["balanced_accuracy"]["value"] == pytest.approx(metrics.balanced_accuracy_score(true, found))
    assert told["macro_f1"]["value"] == pytest.approx(metrics.f1_score(true, found, average="macro"))
    assert told["log_loss"]["value"] == pytest.approx(metrics.log_loss(true, sorted_p, labels=order))
    onehot = np.array([[name == other for other in classes] for name in true])
    assert told["macro_auc"]["value"] == pytest.approx(metrics.roc_auc_score(onehot, p, average="macro"))
    assert told["brier"]["value"] == pytest.approx(((p - onehot) ** 2).sum(axis=1).mean())
    assert told["confusion"] == metrics.confusion_matrix(true, found, labels=list(classes)).tolist()
    table = metrics.precision_recall_fscore_support(true, found, labels=list(classes))
    for i, name in enumerate(classes):
        row = told["per_class"][name]
        theirs = [column[i] for column in table]
        assert [row[key] for key in ("precision", "recall", "f1", "n")] == pytest.approx(theirs)
        assert row["auc"] == pytest.approx(metrics.roc_auc_score(true == name, p[:, i]))
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "log_loss", "brier"):
        assert told[key]["low"] < told[key]["value"] < told[key]["high"]


def test_without_probabilities_there_is_neither_auc_nor_log_loss():
    true, found, _ = draw(1)
    told = classification_scores(true, found, CLASSES)
    assert {"macro_auc", "log_loss", "brier"}.isdisjoint(told)
    assert np.isnan(told["per_class"]["round"]["auc"])


def test_nothing_has_no_scores():
    told = classification_scores([], [], CLASSES, np.zeros((0, 4)))
    assert told["n"] == 0
    assert told["confusion"] == [[0] * 4] * 4
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "log_loss", "brier"):
        assert np.isnan([told[key]["value"], told[key]["low"]]).all()


def test_classes_that_are_not_there_do_not_count_in_the_means():
    told = classification_scores(["round", "edge"], ["round", "spiral"], CLASSES)
    assert told["balanced_accuracy"]["value"] == 0.5
    assert np.isnan(told["per_class"]["odd"]["recall"])
    assert np.isnan(told["per_class"]["edge"]["precision"])
    assert told["per_class"]["edge"]["f1"] == 0


def test_all_right_has_an_interval_still():
    told = classification_scores(["round"] * 20, ["round"] * 20, CLASSES)["accuracy"]
    assert (told["k"], told["n"], told["value"]) == (20, 20, 1)
    assert told["low"] < 1


def test_a_class_that_is_none_of_them_is_refused():
    with pytest.raises(ValueError, match="classes must be of round, edge, spiral, odd, got merger"):
        classification_scores(["merger"], ["round"], CLASSES)


def test_probabilities_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="of one length"):
        classification_scores(["round"], ["round"], CLASSES, np.zeros((1, 3)))


def test_auc_counts_ties_half():
    assert auc(np.array([True, False]), np.array([0.5, 0.5])) == 0.5
    assert auc(np.array([True, False, False]), np.array([0.5, 0.5, 0.1])) == 0.75
    assert np.isnan(auc(np.array([True, True]), np.array([0.5, 0.4])))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0.0, 0.01, 0.05, 0.3]))
def test_recall_at_a_share_of_false_positives_is_the_curves(seed, ties, rate):
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    positive = random.random(150) < 0.6
    value = random.normal(0, 1, 150) + positive
    value = value.round() if ties else value
    false, true, _ = metrics.roc_curve(positive, value, drop_intermediate=False)
    assert recall_at(positive, value, rate) == pytest.approx(true[false <= rate + 1e-9].max())


def test_recall_of_nothing_is_not_known():
    assert np.isnan(recall_at(np.zeros(3, np.bool_), np.ones(3), 0.05))
    assert np.isnan(recall_at(np.ones(3, np.bool_), np.ones(3), 0.05))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_threshold_for_a_recall_is_the_curves(seed, ties, wanted):
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    positive = random.random(150) < 0.6
    value = random.normal(0, 1, 150) + positive
    value = value.round() if ties else value
    false, true, thresholds = metrics.roc_curve(positive, value, drop_intermediate=False)
    first = int(np.argmax(true >= wanted - 1e-9))  # thresholds fall along the curve: the first is the highest
    threshold = threshold_for_recall(positive, value, wanted)
    assert threshold == thresholds[first]
    found = rates_at(positive, value, threshold)
    assert found["recall"]["value"] == pytest.approx(true[first])
    assert found["false_positive_rate"]["value"] == pytest.approx(false[first])
    higher = rates_at(positive, value, np.nextafter(threshold, np.inf))
    assert higher["recall"]["value"] < wanted - 1e-9


def test_a_recall_that_rounding_would_miss_is_reached_with_as_many_as_it_takes():
    value = np.arange(10.0)
    everything = np.ones(10, np.bool_)
    assert [threshold_for_recall(everything, value, recall) for recall in (0.1, 0.7, 0.9, 0.91, 1.0)] == [9, 3, 1, 0, 0]


def test_rates_at_a_threshold_have_their_counts_and_intervals():
    positive = np.array([True, True, True, False, False])
    found = rates_at(positive, np.array([0.9, 0.5, 0.1, 0.5, 0.2]), 0.5)
    assert [found["recall"][key] for key in ("k", "n")] == [2, 3]
    assert [found["false_positive_rate"][key] for key in ("k", "n")] == [1, 2]
    for rate in found.values():
        assert rate["low"] < rate["value"] < rate["high"]


def test_a_recall_that_cannot_be_is_refused_and_one_of_nothing_has_no_threshold():
    some = np.array([True, False])
    for recall in (0.0, -0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="recall must be over 0, up to 1"):
            threshold_for_recall(some, np.ones(2), recall)
    assert np.isnan(threshold_for_recall(~some[:1], np.ones(1), 0.9))
    nothing = rates_at(~some[:1], np.ones(1), 0.5)["recall"]
    assert nothing["n"] == 0
    assert np.isnan([nothing["value"], nothing["low"], nothing["high"]]).all()
