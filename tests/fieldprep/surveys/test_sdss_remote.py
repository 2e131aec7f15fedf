"""The survey services themselves: ``pytest -m remote_data``. What their stand-ins claim is checked here."""

import hashlib
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from survey_tables import ASTROMETRY, object_id

from fieldprep.surveys.download import NotThereError
from fieldprep.surveys.positions import Position, resolve_name
from fieldprep.surveys.sdss import SdssField, fields_at, parse_sdss
from fieldprep.surveys.sdss_columns import FLAGS, PHOTO, SPECTRA, VOTES, VOTES_2
from fieldprep.surveys.sdss_footprint import footprints_at
from fieldprep.surveys.skyserver import Column, query

pytestmark = pytest.mark.remote_data
FIELD = SdssField(3184, 2, 169)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FULLFIELD_CACHE", str(tmp_path / "cache"))


def wcs_of(path):
    """WCS of a frame."""
    with fits.open(path) as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(hdus[0].header)


def test_a_frame_is_the_one_at_hand(sdss_folder, tmp_path):
    (path,) = SdssField(3184, 2, 169, ("r",)).fetch(tmp_path)
    ours = sdss_folder / path.name
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(ours.read_bytes()).digest()


def test_a_frame_that_is_not_there_is_told_apart(tmp_path):
    with pytest.raises(NotThereError):
        SdssField(3184, 2, 4000, ("r",)).fetch(tmp_path)


def test_the_catalogue_lies_on_its_frame(tmp_path):
    (frame,) = SdssField(3184, 2, 169, ("r",)).fetch(tmp_path)
    table = Table.read(FIELD.fetch_catalogue(tmp_path))
    assert set(table["type"]) >= {3, 6}
    assert 300 < len(table) < 3000
    assert table["objid"].min() > object_id(3184, 2, 169, 0)
    assert table["objid"].max() < object_id(3184, 2, 170, 0)
    x, y = wcs_of(frame).world_to_pixel_values(table["ra"], table["dec"])
    assert np.median(np.hypot(x - table["x"], y - table["y"])) < 0.2
    assert np.isfinite(table["p_el"]).any()
    assert np.isfinite(table["gz2_smooth"]).any()
    assert (table["class"] == "GALAXY").any()


def test_the_flags_have_the_values_we_know():
    columns = (Column("name", "p.name", "str"), Column("value", "p.value", "str"))
    rows = query(columns, "FROM PhotoFlags AS p", release=17, what="flags")
    theirs = {row["name"]: int(str(row["value"]), 0) for row in rows.to_dict("records") if row["name"]}
    assert {name: theirs.get(name) for name in FLAGS} == FLAGS


def test_every_column_we_ask_for_is_there():
    for columns, table, alias in ((PHOTO, "PhotoObjAll", "p"), (VOTES, "zooSpec", "v"), (VOTES, "zooNoSpec", "v")):
        query(columns, f"FROM {table} AS {alias} WHERE 1=0", release=17, what=table)
    for columns, table in ((VOTES_2, "zoo2MainSpecz"), (SPECTRA, "SpecObj")):
        query(columns, f"FROM {table} AS v WHERE 1=0", release=17, what=table)


def test_footprints_are_where_the_frames_are():
    keys = [tuple(key) for key in ASTROMETRY.index]
    centres = [Position(244.483462317, 40.2269164097)]
    (found,) = footprints_at(centres, release=17)
    one = next(one for one in found if (one.run, one.camcol, one.field) == (3184, 2, 169))
    assert (3184, 2, 169) in keys
    ours = ASTROMETRY.loc[(3184, 2, 169)]
    assert one.a == pytest.approx(ours["a"], abs=1e-4)
    assert one.b == pytest.approx(ours["b"], rel=1e-5)
    assert one.pixel(244.483462317, 40.2269164097) == pytest.approx((1024, 744), abs=0.6)


def test_a_position_has_its_field_and_the_southern_sky_has_none():
    assert fields_at([Position(10, -60)]) == [[]]
    assert len(fields_at([Position(244.4835, 40.2269)])[0]) == 1
    assert FIELD in parse_sdss("sdss:244.4835 40.2269 1arcmin")


def test_a_name_is_known_and_another_is_not():
    found = resolve_name("M 101")
    assert (found.ra, found.dec) == pytest.approx((210.802, 54.349), abs=0.01)
    with pytest.raises(NotThereError):
        resolve_name("no such object 17 b")
