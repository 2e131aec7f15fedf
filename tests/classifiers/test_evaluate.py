"""Scores of labelled stamps: what is divided by what, by which groups, on which half."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from classifiers.evaluate import STEPS, Judged, by_magnitude, evaluate, magnitudes, threshold_scores
from classifiers.parts import parts_of
from fieldprep.errors import InputError, UsageError


@pytest.fixture
def judged(blobs):
    """Stamps of two classes whose votes are drawn, right nine times of ten."""

    def make(n=200, networks=1, seed=0, groups=20, rows=None, sure=1.3):
        stamps = blobs(n)
        stamps = replace(stamps, groups=np.array([f"patch {i % groups}" for i in range(n)]))
        stamps = stamps if rows is None else replace(stamps, rows=rows)
        random = np.random.default_rng(seed)
        of_wide = np.where(stamps.labels == "wide", sure, -sure)[:, None] + random.normal(0, 1, (n, networks))
        p = 1 / (1 + np.exp(-of_wide))
        votes = np.stack([p, 1 - p], axis=2)
        return Judged(stamps, ("wide", "narrow"), votes, votes.mean(axis=1))

    return make


def test_every_share_is_counted(judged):
    one = judged()
    told = evaluate(one)
    assert (told["n"], told["groups"], told["networks"]) == (200, 20, 1)
    assert told["accuracy"]["k"] == int(one.right.sum())
    assert np.sum(told["confusion"]) == 200
    assert told["accuracy"]["baseline"] == 0.5
    for name in one.classes:
        sides = told["histograms"][name]
        assert len(sides["own"]) == STEPS
        assert sum(sides["own"]) + sum(sides["others"]) == 200
        few, more = (told["recall_at"][name][rate] for rate in ("0.01", "0.05"))
        assert few["value"] <= more["value"]
        assert few["low"] <= few["value"] <= few["high"]
        assert (few["n"], few["negatives"]) == (100, 100)
    assert "raw" not in told["calibration"]
    assert "disagreement" not in told


def test_a_temperature_that_changes_something_is_told_of(judged):
    one = judged()
    told = evaluate(
        replace(one, uncalibrated=np.asarray(one.probabilities**2 / (one.probabilities**2).sum(1)[:, None]))
    )
    assert told["calibration"]["raw"]["ece"] != told["calibration"]["given"]["ece"]


def test_networks_are_further_apart_where_they_are_wrong(judged):
    told = evaluate(judged(networks=5, sure=0.4))["disagreement"]
    assert told["wrong"]["n"] + told["right"]["n"] == 200
    assert told["wrong"]["value"] > told["right"]["value"] > 0
    assert evaluate(judged(networks=5, sure=20))["disagreement"]["wrong"]["n"] == 0


def test_a_threshold_is_chosen_on_others_than_it_is_scored_on(judged):
    one, other = judged(), judged(seed=1)
    told = threshold_scores(one, other, 0.9)
    own = other.true == 0
    assert told["value"] == np.sort(other.probabilities[own, 0])[::-1][int(np.ceil(0.9 * own.sum())) - 1]
    assert (told["chosen_on"], told["chosen_n"], told["recall"]["n"]) == ("validation", 200, 100)
    half = threshold_scores(one, None, 0.9)
    assert half["chosen_on"] == "half"
    assert half["chosen_n"] + half["recall"]["n"] + half["false_positives"]["n"] == 200


def test_one_group_has_no_half_to_choose_on(judged):
    assert "value" not in threshold_scores(judged(groups=1), None, 0.9)


def test_by_magnitude_every_stamp_counts_once(judged):
    magnitude = np.linspace(14, 19.99, 200)
    magnitude[:7] = [np.nan, -999, 99, 99.9, np.inf, -99, np.nan]
    told = by_magnitude(judged(rows=pd.DataFrame({"magpsf": magnitude})))
    assert (told["column"], told["without"]) == ("magpsf", 7)
    assert sum(row["n"] for row in told["bins"]) == 193
    assert by_magnitude(judged()) is None


def test_a_column_of_magnitudes_that_is_named_is_taken_before_the_usual_ones(judged):
    rows = pd.DataFrame({"magpsf": np.full(200, 15.5), "mine": pd.array([16, None] * 100, "Int64")})
    assert by_magnitude(judged(rows=rows))["column"] == "magpsf"
    told = by_magnitude(judged(rows=rows), "mine")
    assert (told["column"], told["without"]) == ("mine", 100)
    assert [(row["low"], row["n"]) for row in told["bins"]] == [(16, 100)]
    assert evaluate(judged(rows=rows), magnitude="mine")["magnitudes"]["column"] == "mine"


def test_a_column_of_magnitudes_that_is_none(judged):
    rows = pd.DataFrame({"kind": ["f"] * 200, "seen": [True] * 200, "empty": np.full(200, np.nan)})
    with pytest.raises(UsageError, match="no column mine to bin scores by; there is kind, seen, empty"):
        magnitudes(rows, "mine")
    with pytest.raises(UsageError, match="column kind to bin scores by is not numeric: f is no magnitude"):
        magnitudes(rows, "kind")
    with pytest.raises(UsageError, match="column seen to bin scores by is not numeric"):
        magnitudes(rows, "seen")
    assert by_magnitude(judged(rows=rows), "empty") == {"column": "empty", "without": 200, "bins": []}
    assert magnitudes(rows.assign(r="f"))[0] == "r"  # found by its name, not asked for


def test_groups_are_counted_where_scores_are(judged):
    one = judged(groups=20, rows=pd.DataFrame({"mag": np.repeat([14.5, 15.5], [6, 194])}))
    told = evaluate(one)
    assert {name: row["groups"] for name, row in told["per_class"].items()} == {"wide": 10, "narrow": 10}
    assert 0 < told["threshold"]["groups"] < 20
    assert [row["groups"] for row in told["magnitudes"]["bins"]] == [6, 20]


def test_the_table_has_what_scores_are_made_of(judged):
    magnitude = np.where(np.arange(200) % 5 == 0, -999, 14 + np.arange(200) % 4)
    one = judged(networks=3, rows=pd.DataFrame({"mag": magnitude, "other": np.full(200, 20.0)}))
    table = one.table()
    assert table.columns.tolist() == ["name", "group", "label", "given", "p_wide", "p_narrow", "spread", "magnitude"]
    told = evaluate(one)
    assert (table["label"] == table["given"]).mean() == told["accuracy"]["value"]
    crossed = pd.crosstab(table["label"], table["given"]).loc[list(one.classes), list(one.classes)]
    assert crossed.to_numpy().tolist() == told["confusion"]
    assert table["magnitude"].isna().sum() == told["magnitudes"]["without"] == 40
    assert one.table("other")["magnitude"].tolist() == [20.0] * 200
    assert "magnitude" not in judged().table()


def test_a_split_says_what_was_seen_most_of(tmp_path):
    path = tmp_path / "split.csv"
    pd.DataFrame({"name": ["a", "b", "b", "c"], "part": ["test", "test", "train", "validate"]}).to_csv(
        path, index=False
    )
    assert parts_of(np.array(["c", "b", "a", "d"]), path).tolist() == ["validate", "train", "test", ""]
    path.write_text("name,part\na,none\n")
    with pytest.raises(InputError, match=r"split\.csv: not the split of a training"):
        parts_of(np.array(["a"]), path)
