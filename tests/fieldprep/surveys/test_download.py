"""Transfers against a server that misbehaves."""

import gzip
import hashlib
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import partial

import pytest
import requests
from elsewhere import process
from misbehaving import FAULTS, PASSING, Answer

from fieldprep.errors import InputError, OutputError, UsageError
from fieldprep.surveys import courtesy
from fieldprep.surveys.download import (
    NotThereError,
    TransientError,
    body,
    cache_folder,
    check_answer,
    connection,
    fetch,
    fetch_all,
    is_web_page,
    patience,
    retrying,
    write_whole,
)

CONTENT = bytes(range(256)) * 40
SIGNED = hashlib.sha256(CONTENT).digest() + CONTENT


def verify(path):
    """See that a file's content is what its first 32 bytes say."""
    content = path.read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise InputError(f"{path}: checksum is wrong")


@pytest.fixture
def server(serve):
    """Server that has the same file everywhere."""
    return serve(lambda _: Answer(SIGNED))


@pytest.fixture
def get(server, tmp_path):
    """Fetch a file into the folder ``files``."""

    def call(name="a.bin"):
        return fetch(f"{server.url}/{name}", tmp_path / "files" / name, what=f"file {name}", verify=verify)

    return call


def first(*faults):
    """Plan: these faults one after the other for each path, then none."""
    return lambda _, asked: faults[asked] if asked < len(faults) else None


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_got_over_and_the_file_is_whole(server, get, fault):
    server.faults = first(fault)
    path = get()
    assert path.read_bytes() == SIGNED
    assert [entry.name for entry in path.parent.iterdir()] == ["a.bin"]
    assert server.asked["/a.bin"] == 2
    patience = time.monotonic() + 10
    while not server.served["/a.bin"] and time.monotonic() < patience:  # it counts once the answer has left
        time.sleep(0.01)
    assert server.served["/a.bin"] == 1


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "redirect"])
def test_a_fault_that_stays_is_an_error_with_its_reason_and_leaves_nothing(server, get, fault, monkeypatch, tmp_path):
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "2")
    server.faults = lambda *_: fault
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        get()
    reason = {
        "busy": "503",
        "throttled": "429",
        "missing": "no such thing (404",
        **dict.fromkeys(("page", "page_untold"), "web page"),
        **dict.fromkeys(("cut", "cut_chunk"), "breaks off"),
        **dict.fromkeys(("cut_open", "flip"), "checksum is wrong"),
        **dict.fromkeys(("stall", "silence"), "no answer within 0.5 s"),
        "drip": "bytes in 1 s",
        "hang_up": "cannot be reached",
    }[fault]
    text = str(caught.value)
    assert reason in text
    assert text.startswith("file a.bin: ")
    assert "\n" not in text
    assert list((tmp_path / "files").iterdir()) == []
    assert time.monotonic() - started < 2 * 0.5 + 1
    assert server.asked["/a.bin"] == (1 if fault == "missing" else 2)


def test_what_is_not_there_is_told_apart_and_asked_for_once(server, get):
    server.faults = lambda *_: "missing"
    with pytest.raises(NotThereError, match=r"file a\.bin: the service has no such thing \(404 from http"):
        get()


def test_a_refusal_is_not_asked_again(serve, tmp_path):
    server = serve(lambda _: Answer(b"go away", 403))
    with pytest.raises(InputError, match="the service refuses the request \\(403 Forbidden\\)"):
        fetch(f"{server.url}/a", tmp_path / "a", what="a", verify=verify)
    assert server.asked["/a"] == 1


def test_a_file_that_is_there_is_not_asked_for(server, get):
    path = get()
    server.forget()
    assert get() == path
    assert not server.asked


@pytest.mark.parametrize("form", [str, lambda seconds: formatdate(time.time() + seconds, usegmt=True)])
def test_a_service_that_names_a_wait_is_given_it(server, get, form):
    server.retry_after = form(1)
    server.faults = first("busy")
    started = time.time()
    get()
    assert time.time() >= int(started) + 1  # a date has whole seconds
    assert time.time() - started < 3


def test_an_endless_wait_is_cut_short():
    response = requests.Response()
    response.status_code, response.reason, response.url = 429, "Too Many Requests", "http://x/"
    response.headers["Retry-After"] = "nonsense"
    with pytest.raises(TransientError) as caught:
        check_answer(response, "x")
    assert caught.value.retry_after == 0


@pytest.mark.parametrize("name", ["a.bin", "m[1]*.bin"])
def test_what_killed_processes_left_is_swept_and_other_machines_are_left_alone(get, tmp_path, name):
    folder = tmp_path / "files"
    folder.mkdir()
    here = platform.node()
    mine = folder / f".{name}-{here}-1234-5.part"
    theirs = folder / f".{name}-elsewhere-1234-5.part"
    other = folder / f".b.bin-{here}-1234-5.part"
    for call in (partial(get, name), partial(write_whole, folder / name, b"new")):
        for path in (mine, theirs, other):
            path.write_bytes(b"half")
        call()
        assert [path.exists() for path in (mine, theirs, other)] == [False, True, True]


def test_threads_that_want_one_file_fetch_it_once(server, get):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: get(), range(8)))
    assert len(set(paths)) == 1
    assert server.asked["/a.bin"] == 1


def test_all_fetches_end_before_the_first_failure_is_raised(server, get, tmp_path):
    server.faults = lambda path, _: "missing" if path == "/b" else None
    with pytest.raises(NotThereError):
        fetch_all([partial(get, name) for name in "abcd"])
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["a", "c", "d"]


def test_results_come_in_the_order_of_the_calls():
    assert fetch_all([lambda i=i: time.sleep(0.02 * (3 - i)) or i for i in range(3)]) == [0, 1, 2]
    assert fetch_all([]) == []


def test_a_service_has_no_more_than_a_few_connections_from_all_processes(server, get, monkeypatch, tmp_path):
    monkeypatch.setenv("FULLFIELD_CONNECTIONS", "3")
    server.faults = lambda *_: time.sleep(0.02)
    url = f"{server.url}/other"
    others = [(fetch_all, [partial(_take, f"{url}-{i}", tmp_path / "other" / str(i)) for i in range(20)])]
    with process(server, *others) as other, ThreadPoolExecutor(12) as pool:
        list(pool.map(get, map(str, range(30))))
        other.join(20)
        assert other.exitcode == 0
    assert sum(server.asked.values()) == 50
    assert server.most_at_once == 3


def _take(url, path):
    return fetch(url, path, what="other", verify=_any)


def _any(path):
    pass


def test_a_connection_is_given_back_when_its_holder_fails():
    for _ in range(6):
        with pytest.raises(RuntimeError), connection("http://a.service/"):
            raise RuntimeError


def test_a_minute_has_no_more_questions_than_are_allowed(monkeypatch):
    monkeypatch.setenv("FULLFIELD_QUERIES_PER_MINUTE", "3")
    monkeypatch.setattr(courtesy, "_MINUTE", 0.6)
    host = f"http://turns-{os.getpid()}-{time.time_ns()}/"
    asked = []
    for _ in range(8):
        courtesy.take_turn(host)
        asked.append(time.time())
    assert all(later - earlier > 0.59 for earlier, later in zip(asked, asked[3:], strict=False))
    assert asked[-1] - asked[0] < 2.5


def test_a_diary_that_a_killed_process_left_unfinished_is_read_as_far_as_it_goes(monkeypatch):
    host = f"turns-{os.getpid()}-{time.time_ns()}"
    diary = courtesy._shared_file(f"{host} turns", ".txt")
    diary.write_text(f"{time.time():.6f}\n17.")
    courtesy.take_turn(f"http://{host}/")
    assert len(courtesy._times(diary)) == 2


def test_a_folder_that_cannot_be_written_is_an_output_error(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        fetch(f"{server.url}/a", tmp_path / "file" / "a", what="a", verify=verify)
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / "file" / "a", b"")


def test_a_disk_that_fills_up_is_an_output_error_at_once(server, get, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match=r"a\.bin: cannot be written \(No space left on device\)"):
        get()
    assert server.asked["/a.bin"] == 1


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    write_whole(tmp_path / "new" / "a", b"one")
    write_whole(tmp_path / "new" / "a", b"two")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "new").iterdir()] == [("a", b"two")]


def test_a_body_comes_decompressed(serve):
    server = serve(lambda _: Answer(gzip.compress(b"text"), headers={"Content-Encoding": "gzip"}))
    with requests.get(server.url, stream=True, timeout=5) as response:
        assert body(response) == b"text"


def test_a_body_that_trickles_is_given_up(server):
    server.faults = lambda *_: "drip"
    with requests.get(server.url, stream=True, timeout=5) as response, pytest.raises(TransientError, match="only"):
        body(response)


def test_an_error_of_ours_is_not_tried_again():
    calls = []

    def call():
        calls.append(1)
        raise UsageError("no")

    with pytest.raises(UsageError):
        retrying(call, what="it")
    assert len(calls) == 1


def test_tries_are_counted_in_the_error(monkeypatch):
    monkeypatch.setenv("FULLFIELD_RETRY_SECONDS", "0.001")

    def call():
        raise TransientError("it is Monday")

    with pytest.raises(InputError, match=r"^it: it is Monday \(3 tries\); try again later$"):
        retrying(call, what="it", attempts=3)


@pytest.mark.parametrize("name", ["ATTEMPTS", "RETRY_SECONDS", "TIMEOUT", "CONNECTIONS", "QUERIES_PER_MINUTE"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "four"])
def test_a_setting_that_is_no_positive_number_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"FULLFIELD_{name}", value)
    with pytest.raises(UsageError, match=f"FULLFIELD_{name}: wants a positive number, got {value}"):
        patience()


def test_settings_are_read_at_every_call(monkeypatch):
    monkeypatch.delenv("FULLFIELD_TIMEOUT")
    before = patience()
    monkeypatch.setenv("FULLFIELD_TIMEOUT", "7.5")
    assert (before.timeout_seconds, patience().timeout_seconds) == (60.0, 7.5)
    assert patience().connections == 4


def test_the_cache_is_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("FULLFIELD_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FULLFIELD_CACHE")
    assert cache_folder().name == "fullfield"


def test_a_web_page_is_known_by_its_start():
    assert is_web_page(b"\r\n\n<!DOCTYPE HTML PUBLIC")
    assert is_web_page(b"<html lang='en'>")
    assert not is_web_page(b"SIMPLE  =")
    assert not is_web_page(b"")
