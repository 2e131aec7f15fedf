import numpy as np
import pandas as pd
import pytest

from fieldprep.clusters import PERSEUS, Cleaning, ColourRegions, clean
from fieldprep.clusters.cleaning import TALK_FLAGS
from fieldprep.errors import InputError, UsageError
from fieldprep.surveys.sdss_columns import FLAGS

REGIONS = ColourRegions(1.5, 16.0, 0.0, 0.2)


def objects(*rows):
    usual = {
        "class": "3",
        "kind": "member",
        "known_by": "class",
        "label": "member",
        "flags": 0,
        "modelMag_r": 17.0,
        "g_z": 1.5,
    }
    return pd.DataFrame([usual | row for row in rows]).astype({"flags": "uint64"})


def why(row, **options):
    cleaned = clean(objects(row), PERSEUS, REGIONS, Cleaning(**options))
    return cleaned.removed["why"].tolist()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"class": "4", "kind": ""}, "of class 4"),
        ({"class": "4", "known_by": "redshift"}, "of class 4"),
        ({"class": "", "kind": "", "known_by": ""}, "without a class or a redshift to be trusted"),
        ({"modelMag_r": np.nan}, "not in SDSS, or fainter than was asked for"),
        ({"modelMag_r": 19.4}, "fainter"),
        ({"g_z": np.nan}, "without g or z"),
        ({"g_z": 1.2}, "in the blue cloud"),
        ({"g_z": 1.8}, "in the red shoulder"),
        ({"flags": FLAGS["SATURATED"]}, "SATURATED"),
        ({"flags": FLAGS["NOPETRO"] | FLAGS["CHILD"]}, "NOPETRO"),
        ({"flags": FLAGS["SUBTRACTED"], "known_by": "redshift"}, "SUBTRACTED"),
    ],
)
def test_what_goes_goes_for_a_reason(row, reason):
    assert why(row) == [reason]


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"modelMag_r": 19.399},
        {"flags": FLAGS["CHILD"] | FLAGS["COSMIC_RAY"] | FLAGS["BINNED1"]},
        {"g_z": 1.2, "known_by": "redshift"},  # a redshift is to be trusted in any region
        {"g_z": np.nan, "known_by": "redshift"},
        {"flags": FLAGS["SATURATED"], "kind": "star", "known_by": "redshift"},
    ],
)
def test_what_is_good_stays(row):
    assert why(row) == []


def test_cuts_can_be_set():
    assert why({"modelMag_r": 18.5}, faintest=18.0) == ["fainter"]
    assert why({"g_z": 1.2}, regions=("blue cloud", "red sequence")) == []
    assert why({"flags": FLAGS["CHILD"]}, flags=TALK_FLAGS) == ["CHILD"]
    assert why({"flags": FLAGS["SATURATED"]}, flags=()) == []


def test_no_row_is_lost_from_sight():
    random = np.random.default_rng(5)
    rows = objects(
        *(
            {
                "class": str(random.integers(0, 7)),
                "modelMag_r": random.uniform(14, 21),
                "g_z": random.uniform(0, 3),
                "flags": int(random.choice([0, 0x40, 0x100, 0x40000])),
                "number": i,
            }
            for i in range(400)
        )
    )
    cleaned = clean(rows, PERSEUS, REGIONS)
    assert sorted([*cleaned.rows["number"], *cleaned.removed["number"]]) == list(range(400))
    assert [step.before for step in cleaned.steps] == [400, *[step.left for step in cleaned.steps[:-1]]]
    assert cleaned.steps[-1].left == len(cleaned.rows) > 0
    told = {(step.what, reason): count for step in cleaned.steps for reason, count in step.gone.items() if count}
    assert told == cleaned.removed.groupby(["step", "why"]).size().to_dict()
    assert set(cleaned.rows["region"]) == {"red sequence"}


def test_a_step_tells_its_counts_in_a_line():
    cleaned = clean(objects({}, {"modelMag_r": 20.0}, {"modelMag_r": np.nan}), PERSEUS, REGIONS)
    assert [str(step) for step in cleaned.steps] == [
        "label (members at 0.01 to 0.033): 3 of 3 left",
        "r < 19.4: 1 of 3 left (1 not in SDSS, or fainter than was asked for, 1 fainter)",
        "red sequence, if by class alone: 1 of 1 left",
        "flags: 1 of 1 left",
    ]


def test_nothing_is_cleaned_of_nothing():
    cleaned = clean(objects({}).iloc[:0], PERSEUS, REGIONS)
    assert len(cleaned.rows) == len(cleaned.removed) == 0
    assert [step.left for step in cleaned.steps] == [0, 0, 0, 0]


def test_objects_without_a_column_are_refused():
    with pytest.raises(InputError, match="Perseus: objects without class, g_z cannot be cleaned"):
        clean(objects({}).drop(columns=["class", "g_z"]), PERSEUS, REGIONS)


def test_a_region_or_a_flag_that_is_none_is_refused():
    with pytest.raises(UsageError, match="no region is called green valley; there are blue cloud, red sequence"):
        Cleaning(regions=("green valley",))
    with pytest.raises(UsageError, match="no flag is called CR; there are BRIGHT"):
        Cleaning(flags=("CR",))
