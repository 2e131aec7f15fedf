import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.preparing import Preparation
from classifiers.series import FIRST_NIGHT, NO_EPOCH, Series, gaps, network_inputs, times_of
from classifiers.stampsets import StampSet, read_stamps
from classifiers.tasks import Task
from fieldprep.errors import InputError


def stamps(n=3, side=8, channels=1, seed=0):
    return np.random.default_rng(seed).normal(10, 1, (n, side, side, channels)).astype(np.float32)


def stamp_set(**columns):
    rows = pd.DataFrame(columns)
    label = rows["label"].to_numpy(np.str_)
    names = np.array([f"s{i}" for i in range(len(rows))])
    return StampSet(stamps(len(rows)), label, names, names, rows)


def test_gaps_are_on_a_logarithmic_scale_from_a_minute_to_years():
    of = {"hour": 1 / 24, "day": 1.0, "month": 30.4, "three years": 1096.0}
    found = [gaps(np.array([59_000.0, 59_000.0 + days]))[1] for days in of.values()]
    assert found == pytest.approx([1.6, 3.0, 4.5, 6.0], abs=0.05)
    assert gaps(np.array([2.0, 2.0, 3.0])).tolist() == pytest.approx([0, 0, np.log10(1001)])


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=8), st.floats(-1e6, 1e6))
def test_gaps_do_not_know_from_which_day_times_are_counted(times, start):
    times = np.sort(times)
    assert gaps(times + start) == pytest.approx(gaps(times), abs=1e-3)
    assert (gaps(times) >= 0).all()  # so that NO_EPOCH is none of them


def test_an_input_is_the_latest_epochs_in_time_order_and_nothing_where_there_are_none():
    prepare, some = Preparation(8, 1, epochs=3), stamps(5)
    of_four = Series([some[i] for i in (3, 0, 2, 1)], [3.0, 0.0, 2.0, 1.0])
    inputs, apart = network_inputs(prepare, [of_four, Series(some[4:], [9.0]), some[4]])
    assert inputs.shape == (3, 3, 1, 8, 8)
    assert np.array_equal(inputs[0], prepare(some[1:4]))
    assert apart[0] == pytest.approx([0, 3, 3], abs=0.01)
    assert np.array_equal(inputs[1, 0], prepare(some[4:])[0])
    assert not inputs[1, 1:].any()
    assert apart[1].tolist() == [0, NO_EPOCH, NO_EPOCH]
    # a stamp by itself is a series of one
    assert np.array_equal(inputs[1], inputs[2])
    assert np.array_equal(apart[1], apart[2])


def test_single_stamps_are_prepared_as_ever():
    prepare = Preparation(8, 1)
    [inputs] = network_inputs(prepare, stamps())
    assert np.array_equal(inputs, prepare(stamps()))


@pytest.mark.parametrize(
    ("epochs", "bad", "message"),
    [
        (1, lambda: Series(stamps(2), [1, 2]), "stamp 6: a series, where the classifier takes single stamps"),
        (
            3,
            lambda: Series(stamps(2, channels=2), [1, 2]),
            "series 6, stamp 0: 2 channels, where the classifier takes 1",
        ),
        (3, lambda: Series([stamps()[0], np.full((8, 8, 1), np.nan)], [1, 2]), "series 6, stamp 1: not a finite pixel"),
        (3, lambda: Series(stamps(2), [1]), "a time for each of its stamps"),
        (3, lambda: Series([], []), "a time for each of its stamps"),
        (3, lambda: Series(stamps(2), [1, np.nan]), "finite times, got 1, nan"),
    ],
)
def test_what_is_no_series_is_refused_in_one_line(epochs, bad, message):
    with pytest.raises(InputError, match=message):
        network_inputs(Preparation(8, 1, epochs=epochs), [stamps()[0], bad()], first=5)


def test_stamps_of_an_object_become_one_series_in_time_order():
    some = stamp_set(
        objectId=["b", "a", "b", "b"],
        mjd=[5.0, 1.0, 4.0, 4.5],
        label=["real", "bogus", "real", "real"],
        fid=[1, 2, 3, 4],
    )
    found = some.in_series()
    assert found.names.tolist() == ["b", "a"]
    assert found.labels.tolist() == ["real", "bogus"]
    assert found.rows["fid"].tolist() == [1, 2]  # of the latest
    assert found.groups.tolist() == ["s0", "s1"]
    assert [one.times.tolist() for one in found.stamps] == [[4, 4.5, 5], [1]]
    assert np.array_equal(np.array(found.stamps[0].stamps), some.stamps[[2, 3, 0]])
    assert found.in_series() is found
    assert found.select(np.array([False, True])).stamps[0].times.tolist() == [1]


def test_only_a_task_of_several_epochs_puts_stamps_in_series():
    some = stamp_set(objectId=["b", "a", "b"], jd=[5, 1, 4], label=["real", "bogus", "real"])
    assert len(some.of_task(Task.read("real_bogus_difference"))) == 3
    assert len(some.of_task(Task.read("real_bogus_series"))) == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"jd": [1, 2]}, "no column objectId or object"),
        ({"object": ["a", None], "jd": [1, 2]}, "column object: 1 of 2 stamps are of no object"),
        ({"objectId": ["a", "a"]}, "no column jd, mjd, time that tells when"),
        ({"objectId": ["a", "a"], "time": [1, "yesterday"]}, r"column time: 1 of 2 are no time in days .*: yesterday"),
        ({"objectId": ["a", "a"], "jd": [1, None]}, "column jd: 1 of 2 are no time in days"),
        ({"objectId": ["a", "a"], "jd": [1, 2]}, "object a: its stamps are labelled bogus and real"),
    ],
)
def test_stamps_that_cannot_be_put_in_series_are_refused_in_one_line(columns, message):
    with pytest.raises(InputError, match=message):
        stamp_set(label=["real", "bogus"], **columns).in_series()


def test_a_candidate_of_ztf_carries_its_time():
    rows = pd.DataFrame({"candid": ["1105522281015015000", 472263571115095000]})
    assert times_of(rows) == pytest.approx([FIRST_NIGHT + 1105.522281, FIRST_NIGHT + 472.263571])
    assert times_of(rows.assign(jd=[2.0, 3.0])).tolist() == [2, 3]


def test_ztfs_alerts_are_series_most_of_them_of_one_epoch(data):
    ztf = read_stamps(data / "ztf").of_task(Task.read("real_bogus_series"))
    lengths = np.bincount([len(one) for one in ztf.stamps])
    assert lengths.tolist() == [0, 905, 58, 8, 0, 0, 0, 1]
    years = (np.concatenate([one.times for one in ztf.stamps]) - FIRST_NIGHT) / 365.25
    assert years.min() > 1  # the survey's alerts began in 2018
    assert years.max() < 10
    # in the dark at Palomar, from 2 to 14 hours in universal time
    hours = np.concatenate([(one.times + 0.5) % 1 * 24 for one in ztf.stamps])
    assert hours.min() > 1.5
    assert hours.max() < 14
