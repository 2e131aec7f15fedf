"""Many SDSS frames from a server that misbehaves, by processes that are killed."""

import bz2
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from elsewhere import process
from misbehaving import PASSING, planned
from survey import frame_name, frame_path, made_survey

from fieldprep.errors import InputError
from fieldprep.surveys.download import NotThereError
from fieldprep.surveys.sdss import BANDS, SdssField, verify_frame


def same(content, frame):
    """Whether two bzip2 files hold the same bytes; its checksums leave a few bits of the files themselves free."""
    return content == frame or bz2.decompress(content) == bz2.decompress(frame)


def fetch_each(fields, folder):
    """Fetch fields, eight at a time; the paths or the error of each."""

    def one(field):
        try:
            return field.fetch(folder)
        except InputError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, fields))


def test_of_200_frames_every_one_there_is_arrives_whole_and_once(serve, tmp_path):
    folder = tmp_path / "frames"
    fields = [SdssField(9001 + i // 6, 1 + i % 6, 11 + i, (BANDS[i % 3],)) for i in range(200)]
    missing, broken = fields[5::20], fields[3:200:40]
    survey = made_survey(field for field in fields if field not in missing)
    server = serve(survey)
    passing = planned(4, share=0.3)
    staying = dict(zip((frame_path(field, field.bands[0]) for field in broken), PASSING[1:], strict=False))
    server.faults = lambda path, asked: staying.get(path) or passing(path, asked)

    results = fetch_each(fields, folder)
    there = [field for field in fields if field not in missing and field not in broken]
    assert len(there) == 185
    for field, result in zip(fields, results, strict=True):
        path = frame_path(field, field.bands[0])
        if field in missing:
            assert isinstance(result, NotThereError)
            assert f"SDSS frame {field.bands[0]} of {field.name}: the service has no such thing" in str(result)
        elif field in broken:
            assert isinstance(result, InputError)
            assert "(6 tries)" in str(result)
        else:
            assert result == [folder / frame_name(field, field.bands[0])]
            assert result[0].read_bytes() == survey.frames[result[0].name]
            assert server.served[path] == 1
    assert len(list(folder.glob("frame-*"))) == 185
    assert list(folder.glob(".*")) == []
    assert server.most_at_once <= 4
    assert sum(server.asked.values()) > 240  # the server did misbehave

    server.forget()
    server.faults = lambda *_: None
    again = fetch_each(fields, folder)
    assert set(server.asked) == {frame_path(field, field.bands[0]) for field in [*missing, *broken]}
    assert set(server.asked.values()) == {1}
    assert sum(isinstance(result, NotThereError) for result in again) == len(missing)
    assert len(list(folder.glob("frame-*"))) == 190


def test_killed_20_times_nothing_is_corrupt_and_nothing_is_lost(serve, tmp_path):
    folder = tmp_path / "frames"
    fields = [SdssField(9100, 1 + i % 6, 11 + i) for i in range(14)]
    paths = {frame_name(field, band): frame_path(field, band) for field in fields for band in field.bands}
    survey = made_survey(fields)
    server = serve(survey)
    plan = planned(7, faults=("busy", "cut", "flip", "page", "hang_up"))
    server.faults = lambda path, asked: time.sleep(0.03) or plan(path, asked % 4)
    random = np.random.default_rng(3)
    asked_when_whole, kills = {}, 0
    for _ in range(20):
        with process(server, *((field.fetch, folder) for field in fields)) as running:
            enough = sum(server.asked.values()) + random.integers(2, 10)
            while running.is_alive() and sum(server.asked.values()) < enough:
                time.sleep(0.002)
            time.sleep(random.uniform(0, 0.08))
            kills += running.is_alive()
        here = {path.name: path.read_bytes() for path in folder.glob("frame-*")}
        assert all(same(content, survey.frames[name]) for name, content in here.items())
        assert set(asked_when_whole) <= set(here)
        for name in here:
            assert server.asked[paths[name]] == asked_when_whole.setdefault(name, server.asked[paths[name]])
    assert kills >= 10
    assert asked_when_whole
    for field in fields:
        field.fetch(folder)
    here = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(here) == set(survey.frames)
    assert all(same(content, survey.frames[name]) for name, content in here.items())
    for name, asked in asked_when_whole.items():
        assert server.asked[paths[name]] == asked


def test_two_processes_that_want_one_frame_fetch_it_once(serve, tmp_path):
    field = SdssField(9200, 3, 11, ("r",))
    server = serve(made_survey([field]))
    server.faults = lambda *_: time.sleep(0.3)
    with process(server, (field.fetch, tmp_path)) as one, process(server, (field.fetch, tmp_path)) as other:
        for running in (one, other):
            running.join(20)
            assert running.exitcode == 0
    assert server.asked[frame_path(field, "r")] == 1
    verify_frame(tmp_path / frame_name(field, "r"), field=field, band="r")
