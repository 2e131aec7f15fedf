"""SDSS fields by their footprints, against the frames' own WCS and a stand-in for the catalogue service."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from survey import Survey
from survey_tables import ASTROMETRY, centre, frame_wcs, object_id

from fieldprep.errors import InputError
from fieldprep.surveys.positions import Position
from fieldprep.surveys.sdss import SdssField, fields_at, parse_sdss
from fieldprep.surveys.sdss_footprint import FRAME_SHAPE, Footprint

NY, NX = FRAME_SHAPE
QUERIES = "/dr17/en/tools/search/x_results.aspx"


def footprint(key, turn=0.0, **changed):
    """Footprint of a real field, turned about the pole by some degrees of right ascension."""
    terms = ASTROMETRY.loc[key].to_dict() | changed
    terms["a"] += turn
    terms["node"] += turn
    return Footprint(*(key[0], 301, *key[1:]), 3, **terms)


FIELDS = {f"{run:06d}-{camcol}-{field:04d}": (run, camcol, field) for run, camcol, field in ASTROMETRY.index}


def test_a_footprint_is_where_the_frame_says_it_is(data, sdss_name):
    wcs = frame_wcs(data / "sdss" / sdss_name / f"frame-r-{sdss_name}.fits.bz2")
    one = footprint(FIELDS[sdss_name])
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-0.5, NX - 0.5, 9), np.linspace(-0.5, NY - 0.5, 9)))
    there_x, there_y = wcs.world_to_pixel_values(*one.sky(x, y))
    assert np.hypot(there_x - x, there_y - y).max() < 0.15
    # half a pixel off, as if rows and columns counted from the first pixel's centre, would be seen
    off_x, off_y = wcs.world_to_pixel_values(*one.sky(x - 0.5, y - 0.5))
    assert np.hypot(off_x - x, off_y - y).min() > 0.6


@given(
    key=st.sampled_from(sorted(FIELDS.values())),
    x=st.floats(-500, NX + 500),
    y=st.floats(-500, NY + 500),
    turn=st.floats(-360, 360),
)
def test_a_pixel_comes_back_from_the_sky(key, x, y, turn):
    one = footprint(key, turn)
    ra, dec = one.sky(x, y)
    assert 0 <= ra < 360
    assert one.pixel(float(ra), float(dec)) == pytest.approx((x, y), abs=1e-4)


def test_a_footprint_over_the_pole_is_one_too():
    one = footprint((1035, 6, 17), incl=90.0, node=275.0, a=275 + 90 - 744.5 * 1.1e-4, d=-1024 * 1.1e-4)
    for x, y in ((100, 100), (1024, 744), (2000, 1400), (100, 1400)):
        ra, dec = one.sky(x, y)
        assert dec > 89.8
        assert one.pixel(float(ra), float(dec)) == pytest.approx((x, y), abs=1e-4)
        assert one.edge_distance(Position(float(ra), float(dec))) > 0


@settings(max_examples=30)
@given(x=st.floats(-800, NX + 800), y=st.floats(-800, NY + 800), radius=st.floats(1, 600))
def test_a_circle_touches_a_frame_that_it_reaches(x, y, radius):
    one = footprint((3184, 2, 169))
    gap = math.hypot(max(-0.5 - x, 0, x - NX + 0.5), max(-0.5 - y, 0, y - NY + 0.5))
    ra, dec = one.sky(x, y)
    if abs(gap - radius) > 2:
        assert one.touches(Position(float(ra), float(dec), radius * 0.396 / 3600)) == (gap < radius)


def at(one, x, y, size_deg=None):
    ra, dec = one.sky(x, y)
    return Position(float(ra), float(dec), size_deg)


def test_the_middle_of_every_field_finds_that_field(survey):
    found = fields_at([at(footprint(key), NX / 2, NY / 2) for key in FIELDS.values()])
    assert found == [[SdssField(*key)] for key in FIELDS.values()]
    assert survey.asked[QUERIES] == 1


@pytest.mark.parametrize(("x", "y"), [(2, 700), (NX - 3, 700), (1000, 2), (1000, NY - 3), (2, 2), (NX - 3, NY - 3)])
def test_the_edge_of_a_field_is_its_last_pixel(survey, x, y):
    one = footprint((3184, 2, 169))
    outside = (x + 5 * np.sign(x - 1000), y) if abs(x - 1000) > 900 else (x, y + 5 * np.sign(y - 700))
    assert fields_at([at(one, x, y), at(one, *outside)]) == [[SdssField(3184, 2, 169)], []]


def test_a_position_needs_no_catalogued_object(serve, data):
    survey = Survey([data / "sdss" / "003184-2-0169"])
    serve(survey)
    survey.change("DELETE FROM PhotoObjAll")
    one = footprint((3184, 2, 169))
    assert fields_at([at(one, 5, 5)]) == [[SdssField(3184, 2, 169)]]


def test_where_the_survey_has_nothing_is_no_field(survey):
    assert fields_at([Position(10, -60), Position(229.5, 42.7, 1.0)]) == [[], []]
    assert parse_sdss("sdss:10 -60") == []


def turn(survey, key, degrees, to_run, *, quality=3, **shifted):
    """Add a field to the stand-in that is a real one turned about the pole."""
    one = footprint(key, degrees)
    terms = {
        name: getattr(one, name) + shifted.get(name, 0.0) for name in ("a", "b", "c", "d", "e", "f", "node", "incl")
    }
    number = object_id(to_run, *key[1:], 0)
    numbers = {"fieldID": number, "run": to_run, "rerun": 301, "camcol": key[1], "field": key[2]}
    for table, row in (
        ("Frame", numbers | {"zoom": 0} | terms | centre(**terms)),
        ("Field", numbers | {"quality": quality, "score": 0.5}),
    ):
        marks = ", ".join("?" * len(row))
        survey.change(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())  # noqa: S608
    return one


@pytest.mark.parametrize("round_again", [0, 360])
def test_a_field_across_zero_hours_is_found_from_both_sides(serve, round_again):
    survey = Survey()
    server = serve(survey)
    one = turn(survey, (1035, 6, 17), -8.0268 + round_again, 4000)
    sides = [at(one, 1024, y) for y in (100, 1400)]
    assert sorted(position.ra > 180 for position in sides) == [False, True]
    assert fields_at(sides) == [[SdssField(4000, 6, 17)]] * 2
    assert (
        fields_at([Position(position.ra, position.dec, 0.01) for position in sides]) == [[SdssField(4000, 6, 17)]] * 2
    )
    assert server.asked[QUERIES] == 2


def test_of_several_fields_the_good_one_with_the_position_farthest_from_its_edge_is_best(serve):
    survey = Survey()
    serve(survey)
    key = (3184, 2, 169)
    up, down = 500 * 1.1e-4, -300 * 1.1e-4  # degrees along the scan
    turn(survey, key, 0, 1001, a=up)
    turn(survey, key, 0, 1002, a=down)
    turn(survey, key, 0, 1003, quality=2)
    turn(survey, key, 0, 1004, quality=1)
    turn(survey, key, 0, 1005, quality=5)
    one = footprint(key)
    middle = at(one, 1024, 744)
    assert [field.run for field in fields_at([middle])[0]] == [1002]
    everything = fields_at([Position(middle.ra, middle.dec, 0.001)])[0]
    assert [field.run for field in everything] == [1002, 1001, 1003, 1004, 1005]


def test_a_circle_finds_every_field_it_touches(serve):
    survey = Survey()
    serve(survey)
    key = (3184, 2, 169)
    for i in range(5):  # fields of one scan, each 1361 rows on
        turn(survey, key, 0, 2000 + i, a=i * 1361 * 1.1e-4)
    one = footprint(key)
    place = at(one, 1024, 744)
    row = 0.396 / 3600
    assert [field.run for field in parse_sdss(f"sdss:{place.ra} {place.dec} {300 * row}deg")] == [2000]
    assert {field.run for field in parse_sdss(f"sdss:{place.ra} {place.dec} {900 * row}deg:ugriz")} == {2000, 2001}
    assert {field.run for field in fields_at([Position(place.ra, place.dec, 3500 * row)])[0]} == set(range(2000, 2004))
    assert parse_sdss(f"sdss:{place.ra} {place.dec}:u")[0].bands == ("u",)


def test_many_positions_cost_few_questions_and_the_same_ones_none(survey):
    positions = [at(footprint(key), 1024, 10 + 7 * i) for i in range(20) for key in FIELDS.values()]
    found = fields_at(positions)
    assert found == [[SdssField(*key)] for _ in range(20) for key in FIELDS.values()]
    assert survey.asked[QUERIES] <= 10  # 160 positions
    survey.forget()
    assert fields_at(positions) == found
    assert not survey.asked


def test_a_damaged_answer_in_the_cache_is_asked_anew(survey, tmp_path):
    position = at(footprint((3184, 2, 169)), 1024, 744)
    found = fields_at([position])
    (kept,) = (tmp_path / "cache" / "skyserver" / "dr17").iterdir()
    kept.write_text(kept.read_text()[:-40])
    assert fields_at([position]) == found
    assert survey.asked[QUERIES] == 2


def test_a_service_that_cannot_be_asked_is_an_error_and_no_empty_sky(survey, tmp_path):
    survey.faults = lambda *_: "page"
    with pytest.raises(InputError, match=r"SDSS fields at 10\.00000 -60\.00000 and 1 more positions: .*web page"):
        fields_at([Position(10, -60), Position(11, -60)])
    assert not (tmp_path / "cache").exists()
    assert fields_at([]) == []
