"""Classes of labels as the command line names them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.stampsets import StampSet
from classifiers.tasks import Task
from fieldprep.errors import UsageError
from fullfield.classifierlabels import check_there, mapped_task, parse_map

WORDS = st.text(st.characters(categories=["L", "N"], include_characters="_-. "), min_size=1).filter(
    lambda word: word == word.strip()
)


@given(st.dictionaries(WORDS, WORDS, min_size=1))
def test_what_is_written_is_read(labels):
    assert parse_map(",".join(f"{label} = {name}" for label, name in labels.items())) == labels


@pytest.mark.parametrize("text", ["", ",", "S", "S=", "=star", "S=star,", "S=star=galaxy", "S=star,S=galaxy", " = "])
def test_what_does_not_read_so_is_refused(text):
    with pytest.raises(UsageError, match="--map wants each label once with its class, as in S=star,G=galaxy; got"):
        parse_map(text)


def test_a_class_that_the_task_has_not_is_refused():
    with pytest.raises(UsageError, match="--map Q=quasar: the classes of star_galaxy are galaxy, star"):
        mapped_task(Task.read("star_galaxy"), {"S": "star", "Q": "quasar"})


def test_what_the_task_says_of_a_label_stays_so():
    task = Task.read("star_galaxy")
    assert mapped_task(task, {}) == task
    with pytest.raises(UsageError, match="--map: star is a label of star already, not of galaxy"):
        mapped_task(task, {"star": "galaxy"})


def test_a_label_that_no_stamp_has_is_refused():
    names = np.array(["a", "b"])
    stamps = StampSet(np.zeros((2, 4, 4, 1)), np.array(["S", "G"]), names, names, pd.DataFrame(index=range(2)))
    check_there({"S": "star"}, stamps)
    with pytest.raises(UsageError, match="--map s=star: no stamp is labelled s; the labels are G, S"):
        check_there({"s": "star"}, stamps)
