import numpy as np
import pytest
from astropy.config import paths
from astropy.coordinates import Angle, SkyCoord
from astropy.table import Table
from vizier_service import FIELDS, PATH, vizier

from fieldprep import Field
from fieldprep.catalogues import read_catalogue, sources_on_field
from fieldprep.catalogues.places import footprint
from fieldprep.errors import InputError
from fieldprep.surveys.download import NotThereError
from fieldprep.surveys.vizier import fetch_table, vizier_catalogue

TABLE, SECOND = "J/MNRAS/0/1/galaxies", "J/MNRAS/0/1/stars"


@pytest.fixture(scope="module")
def real(data):
    """A real field, where its catalogue is, and that as a table."""
    folder = data / "sdss" / "001043-5-0025"
    return Field.read(folder), folder / "catalogue.csv", Table.read(folder / "catalogue.csv")


@pytest.fixture
def service(real, tmp_path, monkeypatch):
    """VizieR's stand-in with the real catalogue, waited for briefly."""
    monkeypatch.setenv("FULLFIELD_RETRY_SECONDS", "0.01")
    monkeypatch.setenv("FULLFIELD_ATTEMPTS", "3")
    (tmp_path / "cache").mkdir()
    with paths.set_temp_cache(tmp_path / "cache"), vizier({TABLE: real[2]}, tmp_path) as server:
        yield server


def misbehave(service, *faults):
    service.server.faults = lambda _path, asked: faults[asked] if asked < len(faults) else None


def ask(real, table=TABLE, timeout=5.0, **options):
    return vizier_catalogue(table, *footprint(real[0].wcs, real[0].shape), timeout=timeout, **options)


def on_field(catalogue, field):
    return sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)


def same(a, b):
    columns = ("x", "y", "xyxy", "galaxy", "magnitude", "ignore", "radius")
    return all(np.array_equal(*(np.asarray(getattr(s, k), float) for s in (a, b)), equal_nan=True) for k in columns)


def test_a_table_from_vizier_gives_the_sources_of_the_file(real, service):
    catalogue = ask(real)
    expected = on_field(read_catalogue(real[1]), real[0])
    assert same(on_field(catalogue, real[0]), expected)
    assert catalogue.name == f"vizier:{TABLE}"
    assert catalogue.rows["objid"].tolist() == real[2]["objID"].tolist()
    assert "position: RA_ICRS, DE_ICRS (deg)" in catalogue.notes
    assert "radius: petrosian, petroRad (arcsec)" in catalogue.notes


def test_the_whole_table_is_asked_for_in_degrees(real, service):
    ask(real)
    (asked,) = service.asked
    assert asked["-out.max"] == "unlimited"
    assert asked["-out.add"] == "_RAJ2000,_DEJ2000"
    assert asked["-oc.form"] == "d"
    # the circle holds the field: 0.14 deg to its corners
    assert 0.13 < float(asked["-c.rd"]) < 0.15


def test_only_rows_in_the_circle_are_asked_for(real, service):
    centre = SkyCoord(real[2]["ra"][0], real[2]["dec"][0], unit="deg")
    rows = vizier_catalogue(TABLE, centre, Angle("30s")).rows
    inside = SkyCoord(real[2]["ra"], real[2]["dec"], unit="deg").separation(centre).arcsec <= 30
    assert sorted(rows["objid"]) == sorted(real[2]["objID"][inside])


def test_positions_that_vizier_computes_serve_where_the_tables_own_are_not_found(real, service, monkeypatch):
    for name in ("ra", "dec"):
        monkeypatch.setitem(FIELDS, name, (f"of {name}", "", "double", "", "", ""))
    catalogue = ask(real)
    assert "position: _RAJ2000, _DEJ2000 (deg, eq_FK5 turned to the ICRS)" in catalogue.notes
    found, expected = on_field(catalogue, real[0]), on_field(read_catalogue(real[1]), real[0])
    assert np.abs(found.xyxy - expected.xyxy).max() < 1e-4


@pytest.mark.parametrize("fault", ["busy", "page", "page_untold", "cut", "cut_open", "cut_chunk", "hang_up"])
def test_what_passes_is_tried_again(real, service, fault):
    misbehave(service, fault, fault)
    assert len(ask(real).rows) == 639
    assert service.server.asked[PATH] == 3


def test_a_stall_is_given_up_and_tried_again(real, service):
    misbehave(service, "stall")
    assert len(ask(real, timeout=1.0).rows) == 639


@pytest.mark.parametrize(
    ("fault", "words"),
    [("busy", "503"), ("page", "web page"), ("page_untold", "web page"), ("cut_open", "no whole VOTable")],
)
def test_what_does_not_pass_is_an_error_of_one_line(real, service, fault, words):
    misbehave(service, *[fault] * 9)
    with pytest.raises(InputError, match=words) as caught:
        ask(real)
    text = str(caught.value)
    assert text.startswith(f"vizier:{TABLE}: ")
    assert "\n" not in text
    assert service.server.asked[PATH] == 3


def test_a_silent_service_is_an_error(real, service):
    misbehave(service, *["silence"] * 9)
    with pytest.raises(InputError, match=f"vizier:{TABLE}: "):
        ask(real, timeout=0.3)


def test_no_answer_stays_in_the_cache_of_the_client(real, service, tmp_path):
    misbehave(service, "page")
    ask(real)
    assert not list((tmp_path / "cache").rglob("*.pickle"))
    service.tables[TABLE] = real[2][:100]
    assert len(ask(real).rows) == 100


def test_an_answer_cut_short_by_the_service_is_refused(real, service):
    service.most = 500
    with pytest.raises(InputError, match=f"vizier:{TABLE}: VizieR gives only part of the rows; ask for a smaller"):
        ask(real)
    assert service.server.asked[PATH] == 1


def test_an_unknown_table_is_not_asked_for_again(real, service):
    with pytest.raises(NotThereError, match=r"vizier:J/none: no such table, .*No catalogue or table was specified"):
        ask(real, "J/none")
    assert service.server.asked[PATH] == 1


def test_no_row_there_is_an_error(real, service):
    with pytest.raises(NotThereError, match="no row of it there"):
        vizier_catalogue(TABLE, SkyCoord("120d", "-40d"), Angle("1d"))


def test_a_catalogue_of_several_tables_lists_them(real, service):
    service.tables[SECOND] = real[2][:5]
    with pytest.raises(
        InputError, match=f"vizier:J/MNRAS/0/1: 2 tables of that name; ask for one of {TABLE}, {SECOND}"
    ):
        ask(real, "J/MNRAS/0/1")
    assert len(ask(real, SECOND).rows) == 5


def test_the_name_of_a_catalogue_of_one_table_will_do(real, service):
    assert len(ask(real, "J/MNRAS/0/1").rows) == 639


def test_columns_and_radius_of_a_table_can_be_said(real, service):
    catalogue = ask(real, columns={"radius": "petroR50"})
    assert catalogue.radius_kind == "half-light"
    assert ask(real, radius="fixed:3").rows["petroRad_r"].unique().tolist() == [3]


def test_the_server_is_the_one_configured_when_it_is_asked(real, service, tmp_path):
    with vizier({TABLE: real[2][:7]}, tmp_path):
        assert len(ask(real).rows) == 7
    assert len(ask(real).rows) == 639


def test_a_fetched_table_is_a_file_like_any_other_and_asked_for_once(real, service, tmp_path):
    field, catalogue, _ = real
    path = fetch_table(TABLE, field.wcs, field.shape, tmp_path / "kept")
    assert path.name == "vizier-J_MNRAS_0_1_galaxies.vot"
    assert same(on_field(read_catalogue(path), field), on_field(read_catalogue(catalogue), field))
    assert fetch_table(TABLE, field.wcs, field.shape, tmp_path / "kept") == path
    assert service.server.asked[PATH] == 1


def test_nothing_is_kept_of_an_answer_that_is_none(real, service, tmp_path):
    misbehave(service, *["page"] * 9)
    with pytest.raises(InputError):
        fetch_table(TABLE, real[0].wcs, real[0].shape, tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("*"))
