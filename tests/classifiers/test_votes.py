"""Votes as tables have them, and the challenge's own layout."""

import cv2
import numpy as np
import pandas as pd
import pytest

from classifiers.galaxy_zoo_tree import ANSWERS, TREE, obeying, of_counts, places
from classifiers.pictures import Pictures
from classifiers.stampsets import read_pictures, read_stamps
from classifiers.tasks import Task
from classifiers.votes import counts_of, fractions_of, has_votes, leading, rmse, vote_scores, write_predictions
from fieldprep.errors import InputError

IDS = [100008, 100023, 100053, 100078]


def fractions(n=4, seed=0):
    return obeying(np.random.default_rng(seed).uniform(0, 1, (n, 37)))


@pytest.fixture
def challenge(tmp_path):
    """Folder as the challenge unpacks: ``challenge(**columns of the solutions changed)``."""

    def write(name="training_solutions_rev1.csv", **change):
        (tmp_path / "images_training_rev1").mkdir(exist_ok=True)
        for i, galaxy in enumerate(IDS):
            image = np.zeros((40, 40, 3), np.uint8)
            image[10:30, 10:30] = (10, 20, 50 + 40 * i)  # blue first
            cv2.imwrite(str(tmp_path / "images_training_rev1" / f"{galaxy}.jpg"), image)
        table = pd.DataFrame(fractions(), columns=list(ANSWERS)).round(6)
        table.insert(0, "GalaxyID", IDS)
        table.assign(**change).to_csv(tmp_path / name, index=False)
        return tmp_path

    return write


def test_the_challenges_folder_is_read_as_it_unpacks_and_cropped_to_its_central_quarter(challenge):
    stamps = read_stamps(challenge(), centre=0.5)
    assert stamps.names.tolist() == stamps.groups.tolist() == [str(one) for one in IDS]
    assert isinstance(stamps.stamps, Pictures)
    assert [one.shape for one in stamps.stamps] == [(20, 20, 3)] * 4
    red, _, blue = stamps.stamps[3].mean(axis=(0, 1))
    assert red == pytest.approx(170, abs=8)  # but for what the JPEG does to an edge
    assert blue == pytest.approx(10, abs=8)
    np.testing.assert_allclose(fractions_of(stamps.rows), fractions(), atol=1e-6)
    of_task = stamps.of_task(Task.read("gz2"))
    assert of_task.labels.tolist() == [("smooth", "featured", "artifact")[k] for k in fractions()[:, :3].argmax(axis=1)]
    some = of_task.select(np.array([2, 0]))
    assert isinstance(some.stamps, Pictures)
    assert some.names.tolist() == ["100053", "100008"]
    np.testing.assert_array_equal(some.stamps[0], stamps.stamps[2])


def test_the_table_may_be_named_and_the_images_be_elsewhere(challenge):
    folder = challenge()
    stamps = read_stamps(folder / "training_solutions_rev1.csv", images=folder / "images_training_rev1")
    assert len(stamps) == 4
    assert stamps.stamps[0].shape == (40, 40, 3)


def test_a_label_of_ones_own_stays_the_label(challenge):
    folder = challenge(label=["a", "b", "a", "b"])
    assert read_stamps(folder).labels.tolist() == ["a", "b", "a", "b"]


def test_predictions_are_read_back_as_they_were_written(tmp_path):
    write_predictions(tmp_path / "predictions.csv", [str(one) for one in IDS], fractions())
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table.columns.tolist() == ["GalaxyID", *ANSWERS]
    assert table["GalaxyID"].tolist() == IDS
    np.testing.assert_allclose(fractions_of(table), fractions(), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Class4.1": [0.5, 0.5, 1.2, 0.5]}, "GalaxyID 100053: Class4.1 is 1.2, no fraction"),
        ({"Class4.1": [0.5, None, 0.5, 0.5]}, "GalaxyID 100023: Class4.1 is nan, no fraction"),
        ({"Class11.6": ["many", 0, 0, 0]}, "GalaxyID 100008: Class11.6 is many, no fraction"),
    ],
)
def test_what_is_no_vote_fraction_is_refused_by_its_galaxy(challenge, change, words):
    with pytest.raises(InputError, match=words) as error:
        read_stamps(challenge(**change))
    assert "training_solutions_rev1.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_two_tables_of_votes_in_a_folder_are_not_guessed_between(challenge):
    challenge("all_ones_benchmark.csv")
    with pytest.raises(InputError, match=r"votes in all_ones_benchmark\.csv, training_solutions_rev1\.csv; name the"):
        read_stamps(challenge())


def test_images_without_a_table_are_read_too(challenge, tmp_path):
    stamps = read_pictures(challenge() / "images_training_rev1", centre=0.5)
    assert stamps.names.tolist() == [str(one) for one in IDS]
    assert stamps.stamps[1].shape == (20, 20, 3)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no image in it"):
        read_pictures(tmp_path / "none")


def counted(n=3):
    return np.random.default_rng(3).integers(0, 40, (n, 37)).astype(np.float64)


def published():
    """Columns of counts as the published tables of Galaxy Zoo 2 name them; the dust lane is answer 38."""
    numbers = iter([*range(1, 25), 38, *range(25, 35), 36, 37])
    return [f"t{question.number:02d}_x_a{next(numbers):02d}_y_count" for question in TREE for _ in question.answers]


def test_counts_are_read_by_our_names_and_by_the_published_ones():
    names = published()
    assert names[24].startswith("t08_x_a38")
    for columns in ([f"{answer}_count" for answer in ANSWERS], names):
        table = pd.DataFrame(counted(), columns=columns)
        shuffled = table[list(np.random.default_rng(0).permutation(columns))]
        assert has_votes(shuffled.columns)
        np.testing.assert_array_equal(counts_of(shuffled), counted())
        np.testing.assert_allclose(fractions_of(shuffled), of_counts(counted()))


def test_counts_are_told_from_fractions_and_the_votes_altogether():
    table = pd.DataFrame(fractions(), columns=list(ANSWERS)).assign(total_votes=[40, 50, 44, 60])
    found = counts_of(table)
    assert found[1, 0] == round(fractions()[1, 0] * 50)
    first = found[:, places(TREE[0])].sum(axis=1)
    assert np.abs(first - [40, 50, 44, 60]).max() <= 1
    with pytest.raises(InputError, match="no counts of votes: 37 columns"):
        counts_of(table.drop(columns="total_votes"))


def test_fractions_of_counts_obey_the_tree_where_somebody_was_asked():
    found = of_counts(counted())
    np.testing.assert_allclose(obeying(found), found, atol=1e-12)
    nobody = np.zeros((1, 37))
    nobody[0, 0] = 40
    assert of_counts(nobody)[0].tolist() == [1, *[0] * 36]


def test_the_error_is_kaggles_and_has_an_interval():
    true, found = fractions(50, 1), fractions(50, 2)
    scores = vote_scores(found, true)["vote fractions"]
    assert scores["all"]["rmse"]["value"] == pytest.approx(rmse(found, true))
    assert scores["all"]["rmse"]["value"] == pytest.approx(np.sqrt(((found - true) ** 2).sum() / (50 * 37)))
    assert len(scores) == 12
    for row in scores.values():
        assert row["rmse"]["low"] <= row["rmse"]["value"] <= row["rmse"]["high"]
        assert row["rmse"]["n"] == 50


def test_the_leading_answer_is_that_of_the_first_question():
    votes = np.zeros((3, 37))
    votes[[0, 1, 2], [0, 1, 2]] = 0.6
    votes[:, 14] = 1  # nothing odd
    assert leading(votes).tolist() == ["smooth", "featured", "artifact"]
