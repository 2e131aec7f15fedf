"""SDSS frames through the real astroquery, against a stand-in for the survey that misbehaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misbehaving import WEB_PAGE
from survey import Survey, frame_name, frame_path, made_frame, made_survey

from fieldprep.errors import InputError, UsageError
from fieldprep.surveys.download import NotThereError
from fieldprep.surveys.sdss import SdssField, parse_sdss, verify_frame


def test_a_real_frame_arrives_as_the_survey_keeps_it(survey, sdss_folder, tmp_path):
    field = SdssField(3184, 2, 169, ("g",))
    survey.faults = lambda _, asked: ("flip", "cut_open")[asked] if asked < 2 else None
    (path,) = field.fetch(tmp_path)
    assert path.read_bytes() == (sdss_folder / path.name).read_bytes()
    assert survey.asked[frame_path(field, "g")] == 3


def test_other_bands_arrive_when_one_cannot_be_had(serve, tmp_path):
    field = SdssField(9300, 1, 11, tuple("ugriz"))
    survey = made_survey([field])
    del survey.frames[frame_name(field, "i")]
    serve(survey)
    with pytest.raises(NotThereError, match="frame i of 009300-1-0011"):
        field.fetch(tmp_path)
    assert sorted(path.name[6] for path in tmp_path.glob("frame-*")) == sorted("ugrz")


def test_another_release_is_looked_for_at_its_own_address(serve, tmp_path):
    server = serve(Survey())
    for release in (9, 13, 18):
        with pytest.raises(NotThereError):
            SdssField(1000, 1, 50, ("r",), release=release).fetch(tmp_path)
    name = "photoObj/frames/301/1000/1/frame-r-001000-1-0050.fits.bz2"
    assert set(server.asked) == {
        f"/sas/dr9/boss/{name}",
        f"/sas/dr13/eboss/{name}",
        f"/sas/dr18/prior-surveys/sdss4-dr17-eboss/{name}",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (made_frame(9001, 1, 11, "r")[:-20], "no whole SDSS frame"),
        (made_frame(9001, 1, 11, "r") + b"more", "no whole SDSS frame"),
        (WEB_PAGE, "no whole SDSS frame"),
        (b"", "no whole SDSS frame"),
        (made_frame(9002, 1, 11, "r"), "frame 9002-1-11-r, where 9001-1-11-r was asked for"),
        (made_frame(9001, 2, 11, "r"), "frame 9001-2-11-r"),
        (made_frame(9001, 1, 12, "r"), "frame 9001-1-12-r"),
        (made_frame(9001, 1, 11, "i"), "frame 9001-1-11-i"),
        (made_frame(9001, 1, 11, "r", shape=(1361, 2048)), "1361 x 2048 pixels"),
    ],
)
def test_what_is_not_the_whole_frame_asked_for_is_refused(tmp_path, content, words):
    path = tmp_path / "frame.fits.bz2"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        verify_frame(path, field=SdssField(9001, 1, 11), band="r")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "band"), [("001035-6-0017", "g"), ("002820-3-0122", "r"), ("008162-6-0080", "i")])
def test_a_real_frame_is_the_one_it_is_named(data, name, band):
    field = SdssField(*map(int, name.split("-")))
    verify_frame(data / "sdss" / name / frame_name(field, band), field=field, band=band)


@given(
    run=st.integers(1, 65535),
    camcol=st.integers(1, 6),
    field=st.integers(1, 4095),
    bands=st.permutations("ugriz").flatmap(lambda bands: st.integers(1, 5).map(lambda n: tuple(bands[:n]))),
)
def test_a_source_stands_for_its_field_and_no_other(run, camcol, field, bands):
    one = SdssField(run, camcol, field, bands)
    assert parse_sdss(one.source) == [one]
    assert parse_sdss(f"SDSS: {one.name}") == [SdssField(run, camcol, field)]


def test_a_field_is_named_as_the_survey_names_it():
    field = SdssField(3184, 2, 169)
    assert (field.name, field.source) == ("003184-2-0169", "sdss:3184-2-169")
    assert SdssField(3184, 2, 169, tuple("ugriz")).source == "sdss:3184-2-169:ugriz"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "sdss:3184-7-169",
            "sdss:3184-0-169",
            "sdss:0-1-1",
            "sdss:3184-2-0",
            "sdss:3184-2-169:ugrx",
            "sdss:3184-2-169:gg",
        ),
        *("sdss:", "sdss:M 101", "sdss:3184-2", "sdss:3184-2-169-4", "3184-2-169", "mast:3184-2-169", "sdss:400 10"),
        *("sdss:10 10 5", "sdss:10 10:xyz"),
    ],
)
def test_nonsense_is_refused_before_anything_is_asked(text):
    with pytest.raises(UsageError) as caught:
        parse_sdss(text)
    assert "\n" not in str(caught.value)
