import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldprep.clusters import Parts, shared_out, turned_copies
from fieldprep.errors import InputError, UsageError


def objects(n, seed=0, side_deg=1.0):
    random = np.random.default_rng(seed)
    label = np.where(np.arange(n) % 2, "member", "background")
    ra, dec = random.uniform(0, side_deg, (2, n))
    return pd.DataFrame({"name": [f"J{i:05d}" for i in range(n)], "ra": 50 + ra, "dec": 41 + dec, "label": label})


def sizes(rows):
    return [int((rows["part"] == name).sum()) for name in ("train", "validation", "test")]


@pytest.mark.parametrize(
    ("n", "expected"),
    # 230 by hand: 57.5 to test on is 58, 43 of the 172 left to validate on
    [(230, [129, 43, 58]), (16, [9, 3, 4]), (17, [9, 3, 5])],
)
def test_a_quarter_is_tested_on_and_a_quarter_of_the_rest_validated_on(n, expected):
    assert sizes(shared_out(objects(n, side_deg=5.0))) == expected


def test_only_what_is_trained_on_is_turned():
    rows = shared_out(objects(230))
    copies = turned_copies(rows)
    assert len(copies) == 129 * 15 + 43 + 58
    for name, angles in (("train", [24.0 * i for i in range(15)]), ("validation", [0.0]), ("test", [0.0])):
        of_part = copies[copies["part"] == name]
        assert of_part["angle_deg"].unique().tolist() == angles
        assert len(of_part) == len(angles) * (rows["part"] == name).sum()
    assert copies.groupby("name")["part"].nunique().max() == 1
    assert copies["angle_deg"].dtype == np.float64


def test_copies_can_be_made_of_a_sample_that_was_kept_in_a_file(tmp_path):
    rows = shared_out(objects(60))
    rows.to_parquet(tmp_path / "sample.parquet")
    pd.testing.assert_frame_equal(turned_copies(pd.read_parquet(tmp_path / "sample.parquet")), turned_copies(rows))


def test_all_in_training_are_the_3450_pictures_of_the_talk():
    rows = shared_out(objects(230), Parts(test=0, validation=0))
    assert sizes(rows) == [230, 0, 0]
    assert len(turned_copies(rows)) == 3450


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0, 120))
def test_what_lies_together_stays_together(seed, together):
    rows = shared_out(objects(120, seed), Parts(together_arcsec=together, seed=seed))
    sky = SkyCoord(rows["ra"].to_numpy(), rows["dec"].to_numpy(), unit="deg")
    apart = sky[:, None].separation(sky[None]).arcsec
    part = rows["part"].to_numpy()
    assert (part[:, None] == part[None])[apart <= together].all()
    assert rows.groupby("group")["part"].nunique().max() == 1


def test_shares_are_met_where_objects_crowd():
    rows = shared_out(objects(300, side_deg=0.4))
    largest = rows.groupby("group").size().max()
    assert largest > 3
    assert sizes(rows) == [300 - 75 - 57, 57, 75]


@pytest.mark.parametrize("members", [9, 60, 115])
def test_each_label_has_its_proportion_in_each_part(members):
    rows = objects(230, side_deg=5.0).assign(label=["member"] * members + ["background"] * (230 - members))
    shared = shared_out(rows)
    share = (shared["label"] == "member").groupby(shared["part"]).sum() / shared.groupby("part").size()
    # a count of 43 is whole, so a share is met to half of that at best; two draws
    assert np.abs(share - members / 230).max() < 1.5 / 43


def test_the_draw_goes_by_the_seed_and_not_by_the_order():
    rows = objects(200)
    part = shared_out(rows).set_index("name")["part"]
    shuffled = shared_out(rows.sample(frac=1, random_state=1)).set_index("name")["part"]
    assert (shuffled.loc[part.index] == part).all()
    assert (shared_out(rows, Parts(seed=1)).set_index("name")["part"] != part).any()


def test_a_part_without_a_label_is_refused():
    rows = objects(40).assign(label="background")
    with pytest.raises(InputError, match="no member would be left for train of 40 objects; take a wider circle"):
        shared_out(rows)
    with pytest.raises(InputError, match="no member and no background would be left"):
        shared_out(rows.iloc[:0])
    rows.loc[0, "label"] = "member"
    with pytest.raises(InputError, match=r"no member would be left for (train|validation|test) of 40"):
        shared_out(rows)


@pytest.mark.parametrize("wrong", [{"test": 1.0}, {"validation": -0.1}, {"copies": 0}, {"together_arcsec": -1.0}])
def test_parts_that_cannot_be_are_refused(wrong):
    with pytest.raises(UsageError, match="got"):
        Parts(**wrong)
