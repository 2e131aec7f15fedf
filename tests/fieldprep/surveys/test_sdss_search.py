"""Searches in a circle, from a stand-in built on a real field's own catalogue."""

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import Angle, SkyCoord
from survey import Survey
from survey_tables import object_id

from fieldprep.surveys.sdss_search import photometry_in, spectra_in

REACH = Angle("4m")


@pytest.fixture
def one_field(serve, sdss_folder):
    """Stand-in that has one field."""
    return serve(Survey([sdss_folder]))


@pytest.fixture
def local(sdss_folder):
    """The field's own catalogue with distances, arcmin, from a place on it, and that place."""
    rows = pd.read_csv(sdss_folder / "catalogue.csv")
    centre = SkyCoord(rows["ra"].median(), rows["dec"].median(), unit="deg")
    return rows.assign(apart=SkyCoord(rows["ra"], rows["dec"], unit="deg").separation(centre).arcmin), centre


def test_photometry_is_of_the_circle_s_primary_objects_brighter_than_asked(one_field, local):
    rows, centre = local
    found = photometry_in(centre, REACH, faintest=20.5)
    inside = ((rows["apart"] < REACH.arcmin) & (rows["modelMag_r"] < 20.5)).to_numpy()
    assert 20 < inside.sum() < len(rows)
    assert found["objid"].dtype == np.uint64
    assert found["objid"].tolist() == [object_id(3184, 2, 169, i + 1) for i in np.flatnonzero(inside)]
    for name in ("ra", "dec", "modelMag_g", "modelMag_r", "modelMag_i"):
        assert found[name].to_numpy() == pytest.approx(rows[name][inside].to_numpy(), abs=1e-4), name


def test_what_was_not_measured_is_nan_and_what_has_no_r_is_not_found(one_field, local):
    found = photometry_in(local[1], REACH, faintest=20.5)
    ids = [int(value) for value in found["objid"][:2]]
    one_field.content.change("UPDATE PhotoObjAll SET modelMag_g = -9999 WHERE objID = ?", ids[0])
    one_field.content.change("UPDATE PhotoObjAll SET modelMag_r = -9999 WHERE objID = ?", ids[1])
    anew = photometry_in(local[1], Angle("4.001m"), faintest=20.5)
    assert np.isnan(anew["modelMag_g"][0])
    assert ids[1] not in anew["objid"].tolist()


def test_spectra_are_those_in_the_circle(one_field, local):
    rows, centre = local
    found = spectra_in(centre, REACH)
    # the stand-in has one of each bright galaxy
    bright = (rows["apart"] < REACH.arcmin) & (rows["type"] == 3) & (rows["modelMag_r"] < 17.8)
    assert len(found) == bright.sum() > 2
    assert sorted(found["ra"]) == pytest.approx(sorted(rows["ra"][bright]), abs=1e-9)
    assert found["specobjid"].is_monotonic_increasing
    assert found["z"].between(0.01, 0.2).all()
    assert set(found["class"]) == {"GALAXY"}


def test_an_empty_circle_is_an_answer(one_field):
    nowhere = SkyCoord(10, -80, unit="deg")
    assert photometry_in(nowhere, REACH, faintest=20.5).empty
    assert spectra_in(nowhere, REACH).empty
