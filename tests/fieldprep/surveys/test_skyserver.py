"""Questions to the catalogue service, answered by a stand-in that truly runs them, and misbehaves."""

import time
from dataclasses import replace

import pandas as pd
import pytest
from misbehaving import PASSING
from survey import Survey

from fieldprep.errors import InputError
from fieldprep.surveys.skyserver import Column, is_short, query

COLUMNS = (Column("objid", "p.objID", "uint64"), Column("ra", "p.ra"), Column("name", "p.name", "str"))
REST = "FROM PhotoObjAll AS p WHERE p.ra < 100"
QUERIES = "/dr17/en/tools/search/x_results.aspx"
IDS = [1237659148857442305 + i for i in range(200)]  # one more or less is lost in a float


@pytest.fixture
def content():
    """Survey of two hundred numbered objects."""
    content = Survey()
    content.change("DROP VIEW PhotoPrimary")
    content.change("DROP VIEW PhotoObj")
    content.change("DROP TABLE PhotoObjAll")
    content.change("CREATE TABLE PhotoObjAll (objID, ra, name)")
    for i, number in enumerate(IDS):
        content.change("INSERT INTO PhotoObjAll VALUES (?, ?, ?)", number, 1 / 3 + i / 10, "NA" if i % 2 else None)
    return content


@pytest.fixture
def server(serve, content):
    """SkyServer with those."""
    return serve(content)


def ask(rest=REST, **options):
    """Ask for the objects."""
    return query(COLUMNS, rest, release=17, what="objects", **options)


def test_numbers_come_exact_and_columns_under_our_names(server):
    rows = ask()
    assert list(rows.columns) == ["objid", "ra", "name"]
    assert rows["objid"].dtype == "uint64"
    assert rows["objid"].tolist() == IDS
    assert rows["ra"].to_numpy() == pytest.approx([1 / 3 + i / 10 for i in range(200)], abs=1e-12)
    assert rows["name"][1] == "NA"
    assert pd.isna(rows["name"][0])
    assert not server.broken


def test_no_rows_are_an_answer_too(server):
    rows = ask("FROM PhotoObjAll AS p WHERE p.ra > 100")
    assert len(rows) == 0
    assert rows["objid"].dtype == "uint64"


# but for a flipped bit, which nothing in a text tells: that is what TLS is for
@pytest.mark.parametrize("fault", [fault for fault in PASSING if fault != "flip"])
def test_a_fault_that_passes_is_got_over_and_no_row_is_lost(server, fault):
    server.faults = lambda _, asked: fault if asked == 0 else None
    assert ask()["objid"].tolist() == IDS
    assert server.asked[QUERIES] == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        *(("busy", "503"), ("page", "web page"), ("page_untold", "web page"), ("cut", "breaks off")),
        *(
            ("cut_open", "breaks off|rows"),
            ("stall", "no answer within 0.5 s"),
            ("drip", "only"),
            ("hang_up", "cannot be reached"),
        ),
    ],
)
def test_a_fault_that_stays_is_an_error_and_nothing_is_kept(server, fault, words, monkeypatch, tmp_path):
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "2")
    server.faults = lambda *_: fault
    with pytest.raises(InputError, match=rf"^objects: .*({words}).* \(2 tries\); try again later$"):
        ask(keep=True)
    assert not (tmp_path / "cache").exists()


def test_an_answer_without_a_length_that_ends_anywhere_is_not_whole(serve, content, monkeypatch):
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "1")
    rest = f"{REST} AND p.ra < 0.5"
    bodies, keep = [], [1000]

    def cut(request):
        answer = content(request)
        bodies.append(answer.body)
        return replace(answer, body=answer.body[: keep[0]])

    serve(cut)
    assert len(ask(rest)) == 2
    whole = bodies[0]
    no_rows = whole.index(b"n_rows\n") + len(b"n_rows\n")  # just there it is an answer without rows
    for keep[0] in sorted(set(range(len(whole))) - {no_rows}):
        with pytest.raises(InputError):
            ask(rest)


def test_rows_cut_off_by_the_service_are_noticed(server, content, monkeypatch):
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "1")
    content.row_limit = 150
    with pytest.raises(InputError, match="SkyServer gives 150 of 200 rows"):
        ask()


def test_what_the_service_says_of_an_error_is_told(server, monkeypatch):
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "1")
    with pytest.raises(InputError, match=r"^objects: SkyServer answers 500: no such table: NoTable"):
        ask("FROM NoTable AS p")
    with pytest.raises(InputError, match='SkyServer answers: #Table1 error_message "error: Incorrect syntax'):
        ask("FROM PhotoObjAll AS p UNION SELECT 1, 2, 3, 4")
    assert server.asked[QUERIES] == 2


def test_a_service_asked_too_often_is_left_alone_for_a_minute(server, content, monkeypatch):
    content.queries_a_minute = 1
    ask()
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "1")
    with pytest.raises(InputError, match="asked too often this minute"):
        ask()
    waits = []
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "2")
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(InputError, match="asked too often"):
        ask()
    assert max(waits) == 60


def test_what_is_kept_is_not_asked_again(server):
    ask(keep=True)
    assert ask(keep=True)["objid"].tolist() == IDS
    assert server.asked[QUERIES] == 1
    ask()
    assert server.asked[QUERIES] == 2


def test_a_query_too_long_for_an_address_is_never_sent(server):
    rest = f"{REST} AND p.ra IN ({','.join(map(str, range(400)))})"
    assert is_short(COLUMNS, REST)
    assert not is_short(COLUMNS, rest)
    with pytest.raises(ValueError, match="too long"):
        ask(rest)
    assert not server.asked
    longest = REST + " AND p.ra < 100" * 200
    while not is_short(COLUMNS, longest):
        longest = longest[: -len(" AND p.ra < 100")]
    assert len(ask(longest)) == 200
