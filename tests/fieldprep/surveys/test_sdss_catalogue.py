"""The catalogue of an SDSS field, from a stand-in built on the real fields' own catalogues."""

import sqlite3

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from survey import Survey
from survey_tables import FLAGS as SURVEY_FLAGS
from survey_tables import HAS_CENTER, object_id

from fieldprep.catalogues import read_catalogue, sources_on_field
from fieldprep.errors import InputError
from fieldprep.surveys.download import NotThereError
from fieldprep.surveys.sdss import SdssField, catalogue_on
from fieldprep.surveys.sdss_catalogue import _box
from fieldprep.surveys.sdss_columns import FLAGS, is_ignored, names_of

FIELD = SdssField(3184, 2, 169)
QUERIES = "/dr17/en/tools/search/x_results.aspx"


@pytest.fixture
def one_field(serve, sdss_folder):
    """Stand-in that has one field."""
    content = Survey([sdss_folder])
    return serve(content)


@pytest.fixture
def local(sdss_folder):
    """The field's own catalogue, from which the stand-in's tables are made, in the same order."""
    return pd.read_csv(sdss_folder / "catalogue.csv")


@pytest.fixture
def fetched(one_field, tmp_path):
    """Catalogue as fetched."""
    return Table.read(FIELD.fetch_catalogue(tmp_path / "out"))


def test_the_catalogue_is_the_survey_s(fetched, local):
    assert len(fetched) == len(local)
    assert fetched["objid"].dtype == np.uint64
    assert fetched["objid"].tolist() == [object_id(3184, 2, 169, i + 1) for i in range(len(local))]
    for name in ("ra", "dec", "x", "y", "petroRad_r", "petroR50_r", "modelMag_g", "modelMag_r", "modelMag_i"):
        assert np.allclose(fetched[name], local[name], rtol=0, atol=6e-4), name
    assert np.allclose(fetched["axis_ratio"], local["axis_ratio"])
    assert (fetched["type"] == local["type"]).all()
    assert (fetched["ignore"] == local["ignore"]).all()
    assert np.isnan(fetched["petroRadErr_r"][0])  # -9999 in the survey


def test_units_and_meanings_travel_with_it(fetched):
    assert (str(fetched["ra"].unit), str(fetched["petroRad_r"].unit), str(fetched["modelMag_r"].unit)) == (
        *("deg", "arcsec", "mag"),
    )
    assert all(column.description for column in fetched.columns.values())
    assert fetched.meta["about"] == "SDSS catalogue of 3184-2-169"
    assert "SATURATED" in fetched["ignore"].description


def test_it_gives_the_same_boxes_as_the_local_catalogue(one_field, sdss_folder, sdss_field, tmp_path):
    theirs = read_catalogue(FIELD.fetch_catalogue(tmp_path / "out"))
    ours = read_catalogue(sdss_folder / "catalogue.csv")
    for wcs in (sdss_field.wcs, None):
        options = {"wcs": wcs, "pixel_scale": sdss_field.pixel_scale}
        if wcs is None:  # without a WCS a position angle says nothing about pixels
            theirs.rows["theta_deg"] = ours.rows["theta_deg"]
        one = sources_on_field(ours, sdss_field.shape, **options)
        other = sources_on_field(theirs, sdss_field.shape, **options)
        assert len(one) == len(other) > 600
        assert np.allclose(one.x, other.x, atol=1e-3)
        assert np.allclose(one.y, other.y, atol=1e-3)
        assert np.allclose(one.xyxy, other.xyxy, atol=1e-4)
        assert (one.galaxy == other.galaxy).all()
        assert (one.ignore == other.ignore).all()
        assert np.allclose(one.magnitude, other.magnitude, atol=1e-4)


def test_votes_and_spectra_go_to_their_galaxies(fetched, local):
    bright = ((local["type"] == 3) & (local["modelMag_r"] < 17.8)).to_numpy()
    assert bright.sum() > 5
    voted = np.isfinite(fetched["p_el"])
    assert (voted == bright).all()
    assert (np.isfinite(fetched["z"]) == bright).all()
    total = sum(fetched[f"p_{name}"] for name in ("el", "cw", "acw", "edge", "dk", "mg"))
    assert np.allclose(total[voted], 1, atol=0.01)
    assert np.allclose(fetched["p_cs"], fetched["p_cw"] + fetched["p_acw"] + fetched["p_edge"], equal_nan=True)
    assert set(np.asarray(fetched["class"].filled("") if fetched.masked else fetched["class"])[voted]) == {"GALAXY"}
    assert fetched["specobjid"][voted].min() >= 299489677444933632
    assert (fetched["specobjid"][~voted] == 0).all()
    very_bright = bright & (local["modelMag_r"] < 17).to_numpy()
    assert (np.isfinite(fetched["gz2_spiral"]) == very_bright).all()


def test_the_same_catalogue_is_fetched_once(one_field, tmp_path):
    path = FIELD.fetch_catalogue(tmp_path / "out")
    assert one_field.asked[QUERIES] == 5
    one_field.forget()
    assert FIELD.fetch_catalogue(tmp_path / "out") == path
    assert not one_field.asked
    assert [entry.name for entry in path.parent.iterdir()] == ["catalogue.ecsv"]


def test_a_field_that_the_survey_has_not_is_told_apart(one_field, tmp_path):
    with pytest.raises(NotThereError, match=r"SDSS catalogue of 3184-2-170: the survey has no such field in data rel"):
        SdssField(3184, 2, 170).fetch_catalogue(tmp_path)
    assert list(tmp_path.glob("catalogue*")) == []


def test_a_field_without_an_object_has_an_empty_catalogue(one_field, tmp_path):
    one_field.content.change("DELETE FROM PhotoObjAll")
    path = FIELD.fetch_catalogue(tmp_path / "out")
    table = Table.read(path)
    assert len(table) == 0
    assert {"objid", "ra", "x", "petroRad_r", "p_el", "z", "class", "ignore", "flag_names", "gz2_spiral"} <= set(
        table.colnames
    )


def test_half_a_catalogue_is_never_written(one_field, tmp_path, monkeypatch):
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "2")
    one_field.faults = lambda _, asked: "cut_open" if asked >= 3 else None
    with pytest.raises(InputError, match="SDSS catalogue of 3184-2-169: "):
        FIELD.fetch_catalogue(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_survey_s_field_has_the_primary_objects_on_it(one_field, local, make_wcs, tmp_path, sdss_field):
    centre = sdss_field.wcs.pixel_to_world_values(1000, 700)
    wcs = make_wcs((300, 500), crval=centre, scale=0.5, angle=30)
    table = Table.read(catalogue_on("mine", wcs, (300, 500), tmp_path))
    x, y = wcs.world_to_pixel_values(local["ra"], local["dec"])
    inside = (x > -0.5) & (x < 499.5) & (y > -0.5) & (y < 299.5)
    assert 20 < inside.sum() < 200
    assert table["objid"].tolist() == [object_id(3184, 2, 169, i + 1) for i in np.flatnonzero(inside)]
    assert np.allclose(table["x"], x[inside], atol=1e-6)
    assert np.allclose(table["y"], y[inside], atol=1e-6)
    one_field.forget()
    catalogue_on("mine", wcs, (300, 500), tmp_path)
    assert not one_field.asked


def test_a_field_outside_the_survey_has_an_empty_catalogue(one_field, make_wcs, tmp_path):
    wcs = make_wcs((300, 500), crval=(10, -60))
    assert len(Table.read(catalogue_on("far", wcs, (300, 500), tmp_path))) == 0
    assert one_field.asked[QUERIES] == 1


@pytest.mark.parametrize(
    ("ra", "dec", "radius"), [(10, 0, 0.1), (0.05, 20, 0.2), (359.9, -40, 0.3), (100, 89.95, 0.1), (100, -89.7, 0.2)]
)
def test_the_box_holds_the_circle_and_little_more(ra, dec, radius):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-3, 3, (2, 2000)) * radius
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [ra, dec], [1, 1], [-1, 1]
    there_ra, there_dec = wcs.pixel_to_world_values(x, y)
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE v (i, ra, dec)")
    base.executemany("INSERT INTO v VALUES (?, ?, ?)", zip(range(2000), there_ra, there_dec, strict=True))
    found = [row[0] for row in base.execute(f"SELECT i FROM v WHERE {_box(ra, dec, radius)}")]  # noqa: S608
    apart = np.hypot(x, y)
    assert set(np.flatnonzero(apart < radius * 0.9999)) <= set(found)
    if abs(dec) < 80:
        assert apart[found].max() < radius * 1.5


def test_flags_are_named_as_the_survey_names_them():
    flags = np.array([HAS_CENTER | SURVEY_FLAGS["EDGE"] | 0x8 | 0x10, 0], np.uint64)
    assert names_of(flags).tolist() == ["EDGE BLENDED CHILD", ""]


@pytest.mark.parametrize(
    ("names", "kind", "radius", "ignored"),
    [
        ((), 3, 5.0, False),
        ((), 6, 1.5, False),
        ((), 0, 5.0, True),
        ((), 3, np.nan, True),
        ((), 6, np.nan, False),
        (("BLENDED", "CHILD", "COSMIC_RAY", "INTERP", "NODEBLEND"), 3, 5.0, False),
        (("EDGE",), 3, 5.0, True),
        (("EDGE",), 6, 5.0, True),
        (("MAYBE_CR",), 6, 5.0, True),
        (("SATURATED",), 3, 5.0, True),
        (("SATURATED",), 6, 5.0, False),
        (("SUBTRACTED", "BRIGHT"), 3, 5.0, True),
        (("NOPETRO",), 3, 5.0, True),
        (("NOPETRO",), 6, 5.0, False),
    ],
)
def test_what_the_survey_is_not_sure_of_is_ignored(names, kind, radius, ignored):
    flags = np.array([sum(FLAGS[name] for name in names)], np.uint64)
    assert is_ignored(flags, np.array([kind]), np.array([radius])).tolist() == [ignored]
