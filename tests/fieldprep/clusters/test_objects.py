"""What is put together of an object: class, magnitudes, redshift, and what follows from them."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Column, Table
from hypothesis import given
from hypothesis import strategies as st

from fieldprep.clusters import PERSEUS, WITTMANN, Classes, Cluster
from fieldprep.clusters.classed import classed_rows
from fieldprep.clusters.objects import joined
from fieldprep.errors import InputError, UsageError

ARCSEC = 1 / 3600
COMA = Cluster("Coma", 194.95, 27.98, 1.0, (0.016, 0.032))


def photometry(*places, r=17.0):
    rows = [
        {"objid": 10 + i, "ra": ra, "dec": dec, "type": 3, "flags": 0, "extinction_r": 0.1}
        | {f"modelMag_{band}": r + shift for band, shift in zip("griz", (0.8, 0, -0.4, -0.7), strict=True)}
        for i, (ra, dec) in enumerate(places)
    ]
    names = ("objid", "ra", "dec", "type", "flags", "extinction_r", *(f"modelMag_{band}" for band in "griz"))
    return pd.DataFrame(rows, columns=names).astype({"objid": "uint64", "flags": "uint64"})


def spectra(*given):
    rows = [
        {"specobjid": 1 + i, "ra": ra, "dec": dec, "z": z, "z_err": 1e-5, "z_warning": warning, "class": "GALAXY"}
        for i, (ra, dec, z, warning) in enumerate(given)
    ]
    names = ("specobjid", "ra", "dec", "z", "z_err", "z_warning", "class")
    return pd.DataFrame(rows, columns=names).astype({"ra": "float64", "dec": "float64", "z": "float64"})


def classed(*given):
    return pd.DataFrame(given, columns=["ra", "dec", "class"])


def test_seven_classes_are_read_as_in_the_talk():
    rows = classed(*[(50 + 0.01 * i, 41.5, str(i)) for i in range(7)])
    out = joined(PERSEUS, rows, photometry(), spectra())
    expected = ["background", "background", "background", "member", "", "member", "background"]
    assert out["label"].tolist() == expected
    assert out["known_by"].tolist() == ["class" if label else "" for label in expected]
    assert out["source"].unique().tolist() == ["catalogue"]
    assert (out["objid"] == 0).all()
    assert out["modelMag_r"].isna().all()


@pytest.mark.parametrize(
    ("z", "kind", "label"),
    [
        (-0.0002, "star", "background"),
        (0.0099, "star", "background"),
        (0.0101, "member", "member"),
        (0.0329, "member", "member"),
        (0.0331, "background", "background"),
        (3.2, "background", "background"),
    ],
)
def test_redshifts_are_read_by_the_window(z, kind, label):
    out = joined(PERSEUS, None, photometry(), spectra((50.0, 41.5, z, 0)))
    assert out[["kind", "label", "known_by", "source"]].iloc[0].tolist() == [kind, label, "redshift", "search"]


@given(st.lists(st.floats(-0.001, 1.0), max_size=20), st.floats(0, 0.4), st.floats(0.001, 0.4))
def test_every_redshift_is_of_one_kind_whatever_the_window(z, low, width):
    cluster = Cluster("any", 10.0, -20.0, 0.5, (low, low + width))
    kinds = cluster.kinds(np.array(z))
    inside = [low <= value <= low + width for value in z]
    assert [kind == "member" for kind in kinds] == inside
    assert all(kind in {"star", "member", "background"} for kind in kinds)


def test_class_magnitudes_and_redshift_of_one_object_come_to_one_row():
    rows = classed((50.0, 41.5, "3"), (50.1, 41.5, "0"))
    seen = photometry((50.1 + 0.5 * ARCSEC, 41.5), (50.2, 41.5), (50.0, 41.5 - 1.9 * ARCSEC))
    measured = spectra((50.0, 41.5 + 1.5 * ARCSEC, 0.018, 0), (50.2, 41.5, 0.1, 0))
    out = joined(PERSEUS, rows, seen, measured)
    assert out["source"].tolist() == ["catalogue", "catalogue", "search"]
    assert out["objid"].tolist() == [12, 10, 11]
    assert out["objid"].dtype == np.uint64
    assert out["z"].tolist() == pytest.approx([0.018, np.nan, 0.1], nan_ok=True)
    assert out["g_z"].tolist() == pytest.approx([1.5, 1.5, 1.5])
    assert out["known_by"].tolist() == ["redshift", "class", "redshift"]
    assert out["name"].is_unique
    assert out["name"][0] == "J032000.00+413000.0"


def test_a_row_that_two_objects_could_have_goes_to_the_nearer_alone():
    rows = classed((50.0, 41.5, "3"), (50.0, 41.5 + 1.5 * ARCSEC, "0"))
    out = joined(PERSEUS, rows, photometry((50.0, 41.5 + 1.2 * ARCSEC)), spectra())
    assert out["objid"].tolist() == [0, 10]


def test_a_second_spectrum_of_a_classed_object_is_no_object_of_its_own():
    measured = spectra((50.0, 41.5 + 0.1 * ARCSEC, 0.018, 0), (50.0, 41.5 - 0.5 * ARCSEC, 0.019, 0))
    out = joined(PERSEUS, classed((50.0, 41.5, "3")), photometry(), measured)
    assert out["z"].tolist() == [0.018]


def test_the_redshift_is_believed_before_the_class_and_told_of():
    rows = classed((50.0, 41.5, "3"), (50.1, 41.5, "0"), (50.2, 41.5, "3"), (50.3, 41.5, "0"))
    measured = spectra(*[(ra, 41.5, z, 0) for ra, z in ((50.0, 0.1), (50.1, 0.02), (50.2, 0.02), (50.3, 0.0))])
    out = joined(PERSEUS, rows, photometry(), measured)
    assert out["label"].tolist() == ["background", "member", "member", "background"]
    assert out["kind"].tolist() == ["background", "member", "member", "star"]
    assert out["disagrees"].tolist() == [True, True, False, False]


def test_a_redshift_with_a_warning_tells_nothing_but_for_outlying_points():
    measured = spectra((50.0, 41.5, 0.02, 4), (50.1, 41.5, 0.02, 16), (50.2, 41.5, 0.02, 4 | 16))
    out = joined(PERSEUS, classed((50.2, 41.5, "0")), photometry(), measured)
    assert out["known_by"].tolist() == ["class", "", "redshift"]
    assert out["label"].tolist() == ["background", "", "member"]


def test_another_cluster_goes_by_redshifts_alone():
    out = joined(COMA, None, photometry((194.9, 28.0)), spectra((194.9, 28.0, 0.023, 0), (195.0, 28.0, 0.0159, 0)))
    assert out["kind"].tolist() == ["member", "star"]
    assert out["objid"].tolist() == [10, 0]
    assert joined(COMA, None, photometry(), spectra()).empty


@pytest.mark.parametrize("column", ["Morph", "Class", "MType"])
def test_classes_are_found_by_name_as_numbers_or_text(column):
    for values in (np.array([3, 4, 6], np.int16), ["3", "4", " 6"], [3.0, 4.0, 6.0]):
        table = Table({"RAJ2000": [50.0, 50.1, 50.2], "DEJ2000": [41.0, 41.1, 41.2], column: values})
        rows = classed_rows(table, "mine", WITTMANN)
        assert rows["class"].tolist() == ["3", "4", "6"]
        assert rows["dec"].tolist() == [41.0, 41.1, 41.2]


def test_classes_are_found_by_ucd_and_by_the_user_s_word():
    table = Table({"RAJ2000": [50.0], "DEJ2000": [41.0], "kind_of": [3], "other": ["ETG"]})
    table["kind_of"].meta["ucd"] = "src.morph.type"
    assert classed_rows(table, "mine", WITTMANN)["class"].tolist() == ["3"]
    words = Classes(member=("ETG",), background=("LTG",), column="OTHER")
    assert classed_rows(table, "mine", words)["class"].tolist() == ["ETG"]


def test_a_class_that_is_not_given_is_empty():
    table = Table({"ra": [50.0, 50.1], "dec": [41.0, 41.1]}, masked=True)
    table["Morph"] = np.ma.masked_array([3, 5], [False, True])
    assert classed_rows(table, "mine", WITTMANN)["class"].tolist() == ["3", ""]


def test_star_or_galaxy_is_no_class():
    table = Table({"ra": [50.0], "dec": [41.0], "class": Column([3], meta={"ucd": "src.class.starGalaxy"})})
    with pytest.raises(InputError, match="mine: no column for the class of a galaxy; it has ra, dec, class; say which"):
        classed_rows(table, "mine", WITTMANN)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"ra": [50.0], "dec": [41.0], "Vmag": [17.0]}, "no column for the class of a galaxy; it has ra, dec, Vmag"),
        ({"Morph": [3]}, "no column for a position"),
        ({"ra": [50.0], "dec": [41.0], "Morph": [7]}, "column Morph has 7, and classes are spoken of as 3, 5, 0"),
        ({"ra": [50.0, np.nan], "dec": [41.0, 41.0], "Morph": [3, 3]}, "1 rows without a position"),
        ({"ra": [], "dec": [], "Morph": []}, "a catalogue without rows"),
    ],
)
def test_a_catalogue_that_will_not_do_is_refused_in_a_line(columns, text):
    with pytest.raises(InputError, match=f"^mine: {text}") as caught:
        classed_rows(pd.DataFrame(columns), "mine", WITTMANN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"dec": 95.0}, "declination from -90 to 90"),
        ({"radius_deg": 0.0}, "a radius of over 0"),
        ({"redshifts": (0.03, 0.01)}, "a window of redshifts goes from 0 or above to more"),
        ({"redshifts": (-0.1, 0.01)}, "a window of redshifts"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(wrong, text):
    with pytest.raises(UsageError, match=f"^mine: .*{text}"):
        Cluster(**{"name": "mine", "ra": 10.0, "dec": 20.0, "radius_deg": 1.0, "redshifts": (0.01, 0.03), **wrong})


def test_classes_that_contradict_themselves_are_refused():
    with pytest.raises(UsageError, match="class 3 cannot be two things at once"):
        Classes(member=("3",), background=("0", "3"))
    with pytest.raises(UsageError, match="at least one of each"):
        Classes(member=(), background=("0",))
