"""Positions and names as a user writes them."""

import gc

import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st
from survey import Survey

from fieldprep.errors import InputError, UsageError
from fieldprep.surveys.download import NotThereError
from fieldprep.surveys.positions import Position, parse_position, resolve_name

SESAME = "/cgi-bin/nph-sesame/SNV"


@pytest.mark.parametrize(
    "text",
    [
        *("229.54 +42.76", "229.54,42.76", " 229.54 , +42.76 ", "229.54\t42.76"),
        *("15h18m09.6s +42d45m36s", "15:18:09.6 +42:45:36", "15 18 09.6 +42 45 36", "15:18:09.6+42:45:36"),
        *("15h18m09.6s, 42d45m36s", "15h 18m 9.6s +42d 45m 36s", "15h18m09.6s +42°45′36″", "15h18m09.6s +42d45'36\""),
    ],
)
def test_one_position_is_written_in_many_ways(text):
    position = parse_position(text)
    assert (position.ra, position.dec) == pytest.approx((229.54, 42.76), abs=1e-9)
    assert position.size_deg is None


@pytest.mark.parametrize(
    ("angle", "degrees"),
    [
        *((" 10arcmin", 1 / 6), (",10 arcmin", 1 / 6), (" 0.1deg", 0.1), (" 300arcsec", 1 / 12), (" 5'", 1 / 12)),
        *((" .5°", 0.5), (' 36"', 0.01), (" 1 degree", 1.0), (" 6 ARCMIN", 0.1)),
    ],
)
@pytest.mark.parametrize("place", ["229.54 +42.76", "15:18:09.6 +42:45:36", "15h18m09.6s +42d45m36s"])
def test_an_angle_may_follow(place, angle, degrees):
    assert parse_position(place + angle).size_deg == pytest.approx(degrees)


@given(ra=st.floats(0, 360, exclude_max=True), dec=st.floats(-90, 90))
def test_degrees_come_back_as_they_were(ra, dec):
    # a little under 360 is written as 360, which is 0
    assert parse_position(f"{ra:.9f} {dec:+.9f}") == Position(float(f"{ra:.9f}") % 360, float(f"{dec:.9f}"))


@given(
    ra=st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59999)),
    dec=st.tuples(st.sampled_from("+-"), st.integers(0, 89), st.integers(0, 59), st.integers(0, 5999)),
)
def test_hours_are_read_as_astropy_reads_them(ra, dec):
    text = f"{ra[0]:02d}:{ra[1]:02d}:{ra[2] / 1000:06.3f} {dec[0]}{dec[1]:02d}:{dec[2]:02d}:{dec[3] / 100:05.2f}"
    theirs = SkyCoord(text, unit=("hourangle", "deg"))
    ours = parse_position(text)
    assert (ours.ra, ours.dec) == pytest.approx((theirs.ra.deg, theirs.dec.deg), abs=1e-9)


@pytest.mark.parametrize(
    "text", ["M 101", "NGC 5194", "3C 273", "J151809+424536", "12", "", "1e3 4", "15 18 09 42 45", "a,b"]
)
def test_what_is_no_position_is_none(text):
    assert parse_position(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("360.001 10", "right ascension goes from 0 to 360"),
        ("-12.5 10", "right ascension goes from 0 to 360"),
        ("10 -90.1", "declination from -90 to 90"),
        ("24:00:01 +10:00:00", "right ascension goes from 0"),
        ("10:60:00 +10:00:00", "minutes and seconds go from 0 to below 60"),
        ("10:00:00 +10:00:60", "minutes and seconds go from 0 to below 60"),
        ("10 10 5", "an angle wants its unit"),
        ("10 10 5parsec", "an angle wants its unit"),
        ("10 10 0arcmin", "an angle must be above zero"),
        ("10 10 -5'", "an angle must be above zero"),
    ],
)
def test_a_position_out_of_range_is_refused(text, words):
    with pytest.raises(UsageError) as caught:
        parse_position(text)
    assert str(caught.value).startswith(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def sesame(serve):
    """Sesame, which knows one object."""
    yield serve(Survey())
    gc.collect()  # astropy leaves the connection of an answer such as 503 to the garbage collector, which complains


def test_a_name_is_looked_up_once_and_kept(sesame):
    found = resolve_name("M 101")
    assert (found.ra, found.dec) == pytest.approx((210.802429, 54.348750))
    assert resolve_name("m  101") == found
    assert sesame.asked[SESAME] == 1


def test_a_name_may_carry_an_angle(sesame):
    assert resolve_name("M 101 10arcmin").size_deg == pytest.approx(1 / 6)
    assert resolve_name("M 101 0.5 deg").size_deg == 0.5
    assert sesame.asked[SESAME] == 1
    with pytest.raises(UsageError, match="above zero"):
        resolve_name("M 101 0arcmin")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fault", ["busy", "hang_up", "silence", "page", "redirect"])
def test_a_fault_of_sesame_that_passes_is_got_over(sesame, fault):
    sesame.faults = lambda _, asked: fault if asked == 0 else None
    assert resolve_name("M 101").ra == pytest.approx(210.802429)


def test_an_unknown_name_is_told_apart_and_not_kept(sesame):
    for _ in range(2):
        with pytest.raises(NotThereError, match=r"^M 999: Sesame .* knows no object of that name; give a position"):
            resolve_name("M 999")
    assert sesame.asked[SESAME] == 6


def test_a_web_page_is_no_answer_and_is_never_kept(sesame):
    sesame.faults = lambda *_: "page"
    with pytest.raises(InputError):
        resolve_name("M 101")
    sesame.faults = lambda *_: None
    assert resolve_name("M 101").ra == pytest.approx(210.802429)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_service_that_is_down_is_an_error_of_one_line(sesame):
    sesame.faults = lambda *_: "busy"
    with pytest.raises(InputError, match=r"^M 101: Sesame cannot be asked: .*\(3 tries\); try again later$") as caught:
        resolve_name("M 101")
    assert not isinstance(caught.value, NotThereError)


def test_a_damaged_entry_of_the_cache_is_asked_anew(sesame, tmp_path):
    resolve_name("M 101")
    (entry,) = (tmp_path / "cache" / "names").iterdir()
    entry.write_text('{"ra": 1')
    assert resolve_name("M 101").ra == pytest.approx(210.802429)
    assert sesame.asked[SESAME] == 2
