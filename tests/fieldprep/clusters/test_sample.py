"""The whole way from the services to a sample, with the counts of Pruitt and Romanowsky's talk."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.config import paths
from cluster_sky import BRIGHT, CLASSED, MERGERS, MIDDLE, RED, SEARCHED, ClusterSky, line, photo, spectrum
from survey import Survey
from vizier_service import vizier

from fieldprep.clusters import PERSEUS, REGIONS, Cluster, Parts, cluster_sample, turned_copies
from fieldprep.errors import InputError
from fieldprep.surveys.download import NotThereError
from fieldprep.surveys.sdss_columns import FLAGS

QUERIES = "/dr17/en/tools/search/x_results.aspx"


@pytest.fixture(scope="module")
def sky():
    """The talk's sky."""
    return ClusterSky()


@pytest.fixture
def services(sky, serve, tmp_path, monkeypatch):
    """Stand-ins for VizieR and SkyServer with that sky; gives the latter's tables and the former."""
    monkeypatch.setenv("FULLFIELD_TIMEOUT", "60")
    survey = Survey()
    sky.fill(survey)
    server = serve(survey)
    (tmp_path / "astropy").mkdir()
    with paths.set_temp_cache(tmp_path / "astropy"), vizier({f"{PERSEUS.table}/table3": sky.catalogue}, tmp_path) as v:
        yield server, v


@pytest.fixture
def survey(serve):
    """Stand-in for SkyServer alone, with an empty sky."""
    return serve(Survey())


def searched(survey, *given):
    """Put objects with spectra into the stand-in: distance from the middle in arcsec, r, g - z, z."""
    places = [(MIDDLE[0], MIDDLE[1] + apart / 3600) for apart, *_ in given]
    survey.content.fill("PhotoObjAll", [photo(i, *places[i], *row[1:3]) for i, row in enumerate(given)])
    survey.content.fill("SpecObj", [spectrum(i, *places[i], row[3]) for i, row in enumerate(given)])


def test_the_counts_of_the_talk_come_out_of_its_catalogue(sky, services):
    services[0].content.change("DELETE FROM SpecObj")
    sample = cluster_sample(PERSEUS)
    label, brightness, colour, flags = sample.cleaned.steps
    assert (label.before, label.left, dict(label.gone)["of class 4"]) == (CLASSED, CLASSED - MERGERS, MERGERS)
    assert (CLASSED, BRIGHT, RED) == (5437, 272, 230)
    assert brightness.left == 272
    assert colour.left == flags.left == len(sample.rows) == 230
    assert dict(colour.gone) == {"without g or z": 0, "in the blue cloud": 23, "in the red shoulder": 19}
    # the very rows, placed as VizieR places them
    expected = sky.catalogue[sky.red]
    found = sample.rows.sort_values("ra")
    assert found["ra"].to_numpy() == pytest.approx(np.sort(expected["ra"]))
    assert sorted(found["class"].astype(int)) == sorted(expected["morphology"].tolist())
    member = found["class"].isin(["3", "5"])
    assert (found["label"].to_numpy() == np.where(member, "member", "background")).all()
    assert len(sample.cleaned.removed) == 5437 - 230


def test_its_230_objects_are_3450_pictures_if_all_are_trained_on_and_none_crosses_the_split(services):
    services[0].content.change("DELETE FROM SpecObj")
    everything = cluster_sample(PERSEUS, parts=Parts(test=0, validation=0))
    assert len(turned_copies(everything.rows)) == 3450
    rows = cluster_sample(PERSEUS).rows
    assert rows["part"].value_counts().to_dict() == {"train": 129, "test": 58, "validation": 43}
    copies = turned_copies(rows)
    assert copies["part"].value_counts().to_dict() == {"train": 1935, "test": 58, "validation": 43}
    assert copies.groupby("name")["part"].nunique().max() == 1


def test_the_spectroscopic_search_has_the_talk_s_335_objects_in_three_regions(services):
    cluster = replace(PERSEUS, table="")
    rows = cluster_sample(cluster).rows
    counts = pd.crosstab(rows["region"], rows["label"])
    assert {name: tuple(counts.loc[name, ["background", "member"]]) for name in REGIONS} == SEARCHED
    assert SEARCHED == {"blue cloud": (89, 1), "red sequence": (78, 71), "red shoulder": (80, 16)}
    assert rows["label"].value_counts().to_dict() == {"background": 247, "member": 88}
    assert (rows["z"][rows["kind"] == "star"] < 0.01).all()
    assert (rows["z"][rows["kind"] == "background"] > 0.033).all()
    assert rows["z"][rows["kind"] == "member"].between(0.01, 0.033).all()
    assert set(rows["kind"]) == {"member", "background", "star"}


def test_catalogue_and_search_together_make_one_sample(services):
    sample = cluster_sample(PERSEUS)
    assert sample.rows["source"].value_counts().to_dict() == {"search": 335, "catalogue": 230}
    assert sample.rows["name"].is_unique
    assert sample.rows["objid"].is_unique
    # 565 objects, whole groups: a share is never exceeded
    parts = sample.rows["part"].value_counts()
    assert (parts["test"], parts["validation"], parts["train"]) == (142, 106, 317)
    assert sample.notes == [
        "label (members at 0.01 to 0.033): 5711 of 5772 left (61 of class 4)",
        "r < 19.4: 607 of 5711 left (5104 not in SDSS, or fainter than was asked for)",
        "red sequence, if by class alone: 565 of 607 left (23 in the blue cloud, 19 in the red shoulder)",
        "flags: 565 of 565 left",
        "red sequence, given: g - z = 1.750 -0.0600 (r - 16.00), 0.200 to either side",
    ]


def test_the_services_are_asked_once_each_and_for_the_cluster_s_circle(services):
    server, v = services
    cluster_sample(replace(PERSEUS, radius_deg=0.25))
    (asked,) = v.asked
    assert float(asked["-c.rd"]) == pytest.approx(0.25)
    assert asked["-out.max"] == "unlimited"
    assert server.asked[QUERIES] == 2
    cluster_sample(replace(PERSEUS, radius_deg=0.25))
    assert server.asked[QUERIES] == 2  # kept: a data release does not change


def test_a_narrower_circle_holds_less(services):
    near = cluster_sample(replace(PERSEUS, radius_deg=0.15))
    assert 0 < near.cleaned.steps[0].before < 5437
    apart = np.hypot((near.rows["ra"] - MIDDLE[0]) * np.cos(np.radians(MIDDLE[1])), near.rows["dec"] - MIDDLE[1])
    assert apart.max() < 0.1501


def test_any_other_cluster_has_its_red_sequence_fitted(services):
    # the same sky under another window and without a line: what the members of it are is told by redshift alone
    cluster = Cluster("Algol's", *MIDDLE, 0.5, (0.0104, 0.0326))
    sample = cluster_sample(cluster)
    found = sample.regions
    assert len(sample.rows) == 335
    assert found.line(np.array([15.0, 18.0])) == pytest.approx(line(np.array([15.0, 18.0])), abs=0.1)
    assert sample.notes[-1].startswith("red sequence, fitted to members with redshifts: g - z = ")
    assert (sample.rows["region"] == "red sequence")[sample.rows["kind"] == "member"].mean() > 0.7


def test_no_redshift_in_the_window_is_told(services):
    cluster = Cluster("A426", *MIDDLE, 0.5, (0.95, 0.99))
    with pytest.raises(InputError, match=r"^A426: of 335 redshifts none to be trusted lies in 0.95 to 0.99; widen the"):
        cluster_sample(cluster)


def test_too_few_members_to_fit_a_red_sequence_to_are_told(survey):
    searched(survey, *[(100 * i, 17.0 + 0.1 * i, 1.5, 0.02 if i < 5 else 0.2) for i in range(12)])
    with pytest.raises(InputError, match=r"^A426: a red sequence wants 10 members .* there are 5; give its line"):
        cluster_sample(Cluster("A426", *MIDDLE, 0.5, (0.01, 0.033)))


def test_spectra_without_photometry_and_bad_photometry_are_counted(survey):
    good = [(100 * i, 17.0, line(17.0), 0.02 if i % 2 else 0.2) for i in range(30)]
    searched(survey, *good, (3100, 19.5, 1.5, 0.02), (3200, 17.0, line(17.0), 0.02))
    beyond = MIDDLE[1] + 3150 / 3600
    survey.content.change("UPDATE PhotoObjAll SET flags = flags | ? WHERE dec > ?", FLAGS["SATURATED"], beyond)
    sample = cluster_sample(replace(PERSEUS, table=""))
    _, brightness, _, flags = sample.cleaned.steps
    assert dict(brightness.gone) == {"not in SDSS, or fainter than was asked for": 1, "fainter": 0}
    assert dict(flags.gone)["SATURATED"] == 1
    assert len(sample.rows) == 30
    assert sorted(sample.cleaned.removed["why"]) == ["SATURATED", "not in SDSS, or fainter than was asked for"]


def test_what_the_survey_did_not_measure_is_no_magnitude(survey):
    searched(survey, *[(100 * i, 17.0, line(17.0), 0.02 if i % 2 else 0.2) for i in range(30)])
    survey.content.change("UPDATE PhotoObjAll SET modelMag_z = -9999 WHERE dec > ?", MIDDLE[1] + 2850 / 3600)
    rows = cluster_sample(replace(PERSEUS, table="")).rows
    assert rows["region"].value_counts().to_dict() == {"red sequence": 29, "": 1}


def test_a_catalogue_without_classes_or_rows_ends_in_a_line(sky, services):
    _, v = services
    v.tables[f"{PERSEUS.table}/table3"] = sky.catalogue["objID", "ra", "dec"]
    with pytest.raises(InputError, match=r"^vizier:J/ApJS/245/10: no column for the class of a galaxy; it has objID"):
        cluster_sample(PERSEUS)
    with pytest.raises(NotThereError, match=r"vizier:J/ApJS/245/10: no such table, or no row of it there"):
        cluster_sample(replace(PERSEUS, ra=200.0))


def test_an_answer_that_breaks_off_is_none(services, monkeypatch):
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "2")
    services[0].faults = lambda _path, _asked: "cut_open"
    with pytest.raises(InputError, match=r"SDSS photometry within 1 deg of 49.9507 "):
        cluster_sample(PERSEUS)
