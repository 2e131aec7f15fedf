import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

from fieldprep import Field
from fieldprep.catalogues import (
    NothingHereError,
    Sources,
    as_catalogue,
    read_catalogue,
    read_table,
    sources_on_field,
)
from fieldprep.errors import InputError

SHAPE = (100, 120)
ENDINGS = ("csv", "ecsv", "fits", "vot", "xml", "parquet")
BIG = 1237648720693755919  # an SDSS id: 2**60 and odd


def small_table():
    return pd.DataFrame(
        {
            "x": [10.0, 60.5, 119.4, 130.0, 50.0],
            "y": [20.0, 50.25, 99.4, 50.0, -0.6],
            "petroRad_r": [4.0, 8.0, 2.0, 3.0, 3.0],
            "axis_ratio": [1.0, 0.5, 0.7, 1.0, 1.0],
            "theta_deg": [0.0, 30.0, -40.0, 0.0, 0.0],
            "type": [3, 3, 6, 3, 3],
            "modelMag_r": [17.0, 18.0, np.nan, 19.0, 20.0],
            "ignore": [0, 1, 0, 0, 0],
        }
    )


def write(table, path):
    """Write a table in the format that the path's ending names."""
    if path.suffix == ".csv":
        table.write(path, format="ascii.csv") if isinstance(table, Table) else table.to_csv(path, index=False)
    elif path.suffix == ".parquet" and isinstance(table, pd.DataFrame):
        table.to_parquet(path)
    else:
        table = table if isinstance(table, Table) else Table.from_pandas(table)
        table.write(path, format={".vot": "votable", ".xml": "votable"}.get(path.suffix))
    return path


def on_small_field(table, **options):
    return sources_on_field(as_catalogue(table, name="mine", **options), SHAPE, wcs=None, pixel_scale=0.4)


def same(a, b):
    columns = ("x", "y", "xyxy", "galaxy", "magnitude", "ignore", "radius")
    return all(np.array_equal(*(np.asarray(getattr(s, k), float) for s in (a, b)), equal_nan=True) for k in columns)


@pytest.fixture(scope="module")
def real(data):
    """A real field, its catalogue as astropy reads it, and the sources of that."""
    folder = data / "sdss" / "001043-5-0025"
    field = Field.read(folder)
    table = Table.read(folder / "catalogue.csv")
    return field, table, on_field(read_catalogue(folder / "catalogue.csv"), field)


def on_field(catalogue, field):
    return sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_sources(tmp_path, ending):
    table = small_table()
    expected = on_small_field(table)
    found = read_catalogue(write(table, tmp_path / f"c.{ending}"))
    assert same(sources_on_field(found, SHAPE, wcs=None, pixel_scale=0.4), expected)
    assert len(expected) == 3


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_real_catalogue_gives_the_same_sources_in_every_format(real, tmp_path, ending):
    field, table, expected = real
    found = on_field(read_catalogue(write(table, tmp_path / f"c.{ending}")), field)
    assert same(found, expected)
    assert found.rows["objid"].tolist() == table["objID"].tolist()
    assert len(found) == len(table) == 639


def test_sources_are_those_whose_centre_is_on_the_field():
    sources = on_small_field(small_table())
    assert sources.x.tolist() == [10, 60.5, 119.4]
    assert sources.galaxy.tolist() == [True, True, False]
    assert sources.ignore.tolist() == [False, True, False]
    assert np.isnan(sources.magnitude[2])
    assert sources.radius == pytest.approx([10, 20, 5])
    assert sources.xyxy[0] == pytest.approx([-0.5, 9.5, 20.5, 30.5])  # 10.5 px about (10, 20)
    assert sources.xyxy[2][2:] == pytest.approx([119.5, 99.5])  # cut at the edge


def test_sources_keep_the_rows_of_the_catalogue():
    table = small_table().assign(note=list("abcde"))
    sources = on_small_field(table)
    assert sources.rows["note"].tolist() == ["a", "b", "c"]
    chosen = sources.select(sources.x > 50)
    assert chosen.rows["note"].tolist() == ["b", "c"]
    assert chosen.rows.index.tolist() == [0, 1]
    assert len(Sources.none()) == len(Sources.none().select(np.zeros(0, bool))) == 0


def test_columns_that_may_be_missing_have_their_defaults():
    catalogue = as_catalogue(small_table()[["x", "y", "petroRad_r"]], name="mine")
    sources = sources_on_field(catalogue, SHAPE, wcs=None, pixel_scale=None)
    assert sources.galaxy.all()
    assert not sources.ignore.any()
    assert np.isnan(sources.magnitude).all()
    half = 1.05 * 8 / 0.396
    assert sources.xyxy[1] == pytest.approx([60.5 - half, 50.25 - half, 60.5 + half, 50.25 + half])
    assert "type: not given, all are taken as galaxies" in catalogue.notes
    assert "magnitude: none" in catalogue.notes


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            {"x": [1.0], "mag": [2.0]},
            ["no column for a position or a radius", "it has x, mag", "--radius fixed:ARCSEC"],
        ),
        ({"x": [1.0], "y": [1.0]}, ["no column for a radius", "--columns radius=NAME", "--radius fixed:ARCSEC"]),
        ({"petroRad_r": [1.0], "ra": [1.0]}, ["no column for a position", "--columns ra=NAME,dec=NAME"]),
        ({"x": [], "y": [], "petroRad_r": []}, ["without rows"]),
        ({"x": [1.0, 2.0], "y": [1.0, 2.0], "petroRad_r": ["3.0", "large"]}, ["petroRad_r", "numbers", "large"]),
        ({"x": [1.0], "y": [1.0], "petroRad_r": [-9999.0]}, ["no row of its 1 has a radius"]),
        ({"x": [1.0], "y": [np.nan], "petroRad_r": [1.0]}, ["no row of its 1 has a position"]),
        ({"x": [1.0], "y": [1.0], "petroRad_r": pd.to_datetime(["2020-01-01"])}, ["petroRad_r must hold numbers"]),
        ({"x": [1.0], "y": [1.0], "petroRad_r": [[1.0, 2.0]]}, ["petroRad_r must hold numbers"]),
        ({"x": [1.0], " x": [1.0], "y": [1.0], "petroRad_r": [1.0]}, ["two columns are called x"]),
        ({"ra": [1.0], "dec": [95.0], "petroRad_r": [1.0]}, ["dec", "between -90 and 90"]),
        ({"ra": ["12 30 00"], "dec": ["north"], "petroRad_r": [1.0]}, ["dec", "angles"]),
    ],
)
def test_a_table_that_is_no_catalogue_is_refused_in_one_line(table, words):
    with pytest.raises(InputError) as caught:
        as_catalogue(pd.DataFrame(table), name="mine")
    text = str(caught.value)
    assert text.startswith("mine: ")
    assert "\n" not in text
    for word in words:
        assert word in text


def test_only_some_of_many_columns_are_listed():
    with pytest.raises(InputError, match=r"c0, .*c11, \.\.\. \(300 in all\); say"):
        as_catalogue(pd.DataFrame(np.ones((2, 300)), columns=[f"c{i}" for i in range(300)]), name="mine")


def test_sky_positions_without_a_wcs_are_not_enough():
    table = pd.DataFrame({"ra": [1.0], "dec": [2.0], "petroRad_r": [3.0]})
    with pytest.raises(InputError, match="mine: no column x, y, and the field has no WCS"):
        on_small_field(table)


def test_a_catalogue_of_another_place_is_refused(real):
    field, table, _ = real
    elsewhere = table.copy()
    elsewhere["ra"] += 180
    elsewhere["dec"] *= -1
    with pytest.raises(NothingHereError, match=r"^mine: none of its 639 rows lies on the field$"):
        on_field(as_catalogue(elsewhere, name="mine"), field)


def test_a_missing_and_a_broken_file_are_refused(tmp_path, refused):
    for read in (read_catalogue, read_table):
        refused(tmp_path / "c.csv", "no such catalogue", read=read)
        for ending in ("fits", "parquet", "ecsv", "vot", "cat"):
            (tmp_path / f"c.{ending}").write_text("not a table at all")
            refused(tmp_path / f"c.{ending}", "not a catalogue", read=read)
    (tmp_path / "c.csv").touch()
    refused(tmp_path / "c.csv", "not a catalogue", read=read_catalogue)


@pytest.mark.parametrize("ending", ["ecsv", "fits", "vot", "parquet"])
def test_masked_values_are_missing_not_an_error(tmp_path, ending):
    table = Table(
        {
            "x": [10.0, 20.0],
            "y": [10.0, 20.0],
            "petroRad_r": MaskedColumn([3.0, 4.0], mask=[True, False]),
            "type": MaskedColumn([3, 3], mask=[False, False]),
            "ignore": MaskedColumn([0, 0], mask=[False, True]),
        }
    )
    catalogue = read_catalogue(write(table, tmp_path / f"c.{ending}"))
    sources = sources_on_field(catalogue, SHAPE, wcs=None, pixel_scale=0.4)
    assert sources.x.tolist() == [20]  # one without a radius has no box
    assert "rows: 1 of 2 without a radius; left out" in catalogue.notes


def test_what_sdss_did_not_measure_is_missing():
    table = small_table().assign(petroRad_r=[4, -9999, 2, 3, 3], modelMag_r=[17, 18, -9999, 19, 20])
    catalogue = as_catalogue(table, name="mine")
    assert np.isnan(catalogue.rows["petroRad_r"][1])
    assert np.isnan(catalogue.rows["modelMag_r"][2])
    assert "rows: 1 of 5 without a radius; left out" in catalogue.notes


def test_a_position_without_a_number_is_counted(real):
    field, table, _ = real
    gap = table["ra", "dec", "petroRad_r"][:10]
    gap["ra"][3] = np.nan
    catalogue = as_catalogue(gap, name="mine")
    assert len(on_field(catalogue, field)) == 9
    assert "rows: 1 of 10 without a position; left out" in catalogue.notes


@pytest.mark.parametrize("ending", ENDINGS)
def test_ids_are_exact_also_in_a_column_with_gaps(tmp_path, ending):
    ids = [BIG, BIG + 2, BIG - 4, 7, BIG + 6]
    whole = Table.from_pandas(small_table())
    whole["objid"] = np.array(ids)
    assert read_catalogue(write(whole, tmp_path / f"whole.{ending}")).rows["objid"].tolist() == ids
    gaps = whole.copy()
    gaps["objid"] = MaskedColumn(ids, mask=[False, True, False, False, False])
    rows = read_catalogue(write(gaps, tmp_path / f"gaps.{ending}")).rows
    assert rows["objid"].isna().tolist() == [False, True, False, False, False]
    assert rows["objid"].dropna().tolist() == ids[:1] + ids[2:]


@pytest.mark.parametrize("ending", ["csv", "ecsv", "fits", "parquet"])
def test_ids_of_spectra_need_all_64_bits(tmp_path, ending):
    ids = [12098072349000000001, 2, 3, 4, 5]  # beyond 2**63
    for mask in ([False] * 5, [False, True, False, False, False]):
        table = Table.from_pandas(small_table())
        table["objid"] = MaskedColumn(np.array(ids, np.uint64), mask=mask)
        path = tmp_path / f"{sum(mask)}.{ending}"
        rows = read_catalogue(write(table, path)).rows
        assert rows["objid"].dropna().tolist() == [i for i, gone in zip(ids, mask, strict=True) if not gone]


def test_plain_parquet_with_gaps_keeps_ids_exact(tmp_path):
    table = small_table().assign(objid=pd.array([BIG, None, 3, 4, 5], dtype="Int64"))
    path = tmp_path / "c.parquet"
    bare = pa.table({name: pa.array(table[name]) for name in table})
    pq.write_table(bare.replace_schema_metadata(None), path)
    assert read_catalogue(path).rows["objid"].dropna().tolist() == [BIG, 3, 4, 5]


def test_ids_as_text_are_numbers_and_names_stay_names():
    table = small_table()
    as_text = as_catalogue(table.assign(objid=[str(BIG + i) for i in range(5)]), name="mine").rows["objid"]
    assert as_text.tolist() == [BIG + i for i in range(5)]
    names = as_catalogue(table.assign(objid=["NGC 1", "007", "M31", "x", "y"]), name="mine").rows["objid"]
    assert names.tolist() == ["NGC 1", "007", "M31", "x", "y"]


def test_ids_that_floats_have_rounded_are_not_taken():
    catalogue = as_catalogue(small_table().assign(objid=np.arange(5) + float(BIG)), name="mine")
    assert any("floats" in note for note in catalogue.notes)
    small = as_catalogue(small_table().assign(objid=[1.0, np.nan, 3, 4, 5]), name="mine").rows["objid"]
    assert small.dropna().tolist() == [1, 3, 4, 5]
    assert not any(isinstance(value, float) for value in small.dropna())


def test_sky_places_the_real_catalogue_where_its_pixels_are(sdss_field, sdss_folder):
    catalogue = read_catalogue(sdss_folder / "catalogue.csv")
    by_sky = on_field(catalogue, sdss_field)
    by_pixel = sources_on_field(catalogue, sdss_field.shape, wcs=None, pixel_scale=sdss_field.pixel_scale)
    assert len(by_sky) == len(by_pixel) == len(catalogue.rows)
    assert np.hypot(by_sky.x - by_pixel.x, by_sky.y - by_pixel.y).max() < 0.15
    assert np.abs(by_sky.xyxy - by_pixel.xyxy).max() < 0.15
    assert np.array_equal(by_sky.galaxy, catalogue.rows["type"] == 3)


def test_catalogued_objects_lie_on_the_light(sdss_field, sdss_folder):
    sources = on_field(read_catalogue(sdss_folder / "catalogue.csv"), sdss_field)
    bright = sources.select(sources.galaxy & (sources.magnitude < 20) & ~sources.ignore)
    x, y = np.rint(bright.x).astype(int), np.rint(bright.y).astype(int)
    r = sdss_field.bands["r"]
    around = np.array([r[b - 1 : b + 2, a - 1 : a + 2].sum() for a, b in zip(x, y, strict=True)])
    beside = np.array([r[b - 1 : b + 2, a + 5 : a + 8].sum() for a, b in zip(x, y, strict=True)])
    assert len(bright) > 20
    assert np.mean(around > beside) > 0.95


def sky_angles(table, wcs):
    """Position angles, by astropy, of directions given on the pixels."""
    x, y = wcs.world_to_pixel_values(table["ra"], table["dec"])
    theta = np.radians(table["theta_deg"])
    here = SkyCoord(*wcs.pixel_to_world_values(x, y), unit="deg")
    there = SkyCoord(*wcs.pixel_to_world_values(x + np.cos(theta), y + np.sin(theta)), unit="deg")
    return here.position_angle(there).to_value(u.deg)


def mirrored(wcs, nx):
    """WCS of the same sky on an image whose columns run the other way."""
    out = wcs.deepcopy()
    out.wcs.cd = wcs.wcs.cd @ np.diag([-1.0, 1.0])
    out.wcs.crpix = [nx + 1 - wcs.wcs.crpix[0], wcs.wcs.crpix[1]]
    out.wcs.set()
    return out


@pytest.mark.parametrize("flip", [False, True])
def test_position_angles_become_angles_on_the_pixels(real, flip):
    field, table, expected = real
    on_sky = table.copy()
    on_sky["position_angle_deg"] = sky_angles(table, field.wcs)
    on_sky.remove_column("theta_deg")
    wcs = mirrored(field.wcs, field.shape[1]) if flip else field.wcs
    catalogue = as_catalogue(on_sky, name="mine")
    found = sources_on_field(catalogue, field.shape, wcs=wcs, pixel_scale=field.pixel_scale)
    boxes = expected.xyxy.copy()
    if flip:
        boxes[:, [0, 2]] = field.shape[1] - 1 - expected.xyxy[:, [2, 0]]
    assert np.abs(found.xyxy - boxes).max() < 1e-4
    if not flip:  # the boxes are not those of unturned ellipses by chance
        unturned = table.copy()
        unturned["theta_deg"] = 0.0
        assert np.abs(on_field(as_catalogue(unturned, name="mine"), field).xyxy - boxes).max() > 5


def test_position_angles_need_a_wcs():
    table = small_table().rename(columns={"theta_deg": "position_angle_deg"})
    with pytest.raises(InputError, match="mine: angles east of north need a field with a WCS"):
        on_small_field(table)


def test_an_axis_ratio_without_an_angle_is_not_used():
    table = small_table().drop(columns="theta_deg")
    assert same(on_small_field(table), on_small_field(table.drop(columns="axis_ratio")))


def test_a_gap_among_the_angles_makes_a_square():
    table = small_table().assign(theta_deg=[0, np.nan, 0, 0, 0])
    sources = on_small_field(table)
    assert np.ptp(sources.xyxy[1] - [60.5, 50.25, 60.5, 50.25]) == pytest.approx(2 * 21)


def test_sources_refuse_columns_of_different_length():
    one, two, row = np.zeros(1), np.zeros(2), pd.DataFrame(index=range(1))
    with pytest.raises(ValueError, match="y must have 1 rows"):
        Sources(one, two, np.zeros((1, 4)), one > 0, one, one > 0, one, row)
    with pytest.raises(ValueError, match="xyxy must be of shape"):
        Sources(one, one, np.zeros((1, 5)), one > 0, one, one > 0, one, row)
    with pytest.raises(ValueError, match="rows must have 1 rows"):
        Sources(one, one, np.zeros((1, 4)), one > 0, one, one > 0, one, pd.DataFrame())
