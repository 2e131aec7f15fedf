import numpy as np
import pandas as pd
import pytest
from astropy.table import MaskedColumn, Table

from fieldprep.catalogues import Sources, read_catalogue, sources_on_field
from fieldprep.errors import InputError

SHAPE = (100, 120)


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
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        Table.from_pandas(table).write(path, format={".vot": "votable"}.get(path.suffix))
    return path


def same(a, b):
    columns = ("x", "y", "xyxy", "galaxy", "magnitude", "ignore")
    return all(np.array_equal(*(np.asarray(getattr(s, k), float) for s in (a, b)), equal_nan=True) for k in columns)


@pytest.mark.parametrize("ending", ["csv", "ecsv", "fits", "vot", "xml", "parquet"])
def test_every_format_gives_the_same_sources(tmp_path, ending):
    table = small_table()
    path = tmp_path / f"c.{ending}"
    if ending == "xml":
        Table.from_pandas(table).write(path, format="votable")
    else:
        write(table, path)
    expected = sources_on_field(table, SHAPE, wcs=None, pixel_scale=0.4)
    assert same(sources_on_field(read_catalogue(path), SHAPE, wcs=None, pixel_scale=0.4), expected)
    assert len(expected) == 3


def test_sources_are_those_whose_centre_is_on_the_field():
    sources = sources_on_field(small_table(), SHAPE, wcs=None, pixel_scale=0.4)
    assert sources.x.tolist() == [10, 60.5, 119.4]
    assert sources.galaxy.tolist() == [True, True, False]
    assert sources.ignore.tolist() == [False, True, False]
    assert np.isnan(sources.magnitude[2])
    assert sources.xyxy[0] == pytest.approx([-0.5, 9.5, 20.5, 30.5])  # 10.5 px about (10, 20)
    assert sources.xyxy[2][2:] == pytest.approx([119.5, 99.5])  # cut at the edge


def test_columns_that_may_be_missing_have_their_defaults():
    sources = sources_on_field(small_table()[["x", "y", "petroRad_r"]], SHAPE, wcs=None, pixel_scale=None)
    assert sources.galaxy.all()
    assert not sources.ignore.any()
    assert np.isnan(sources.magnitude).all()
    half = 1.05 * 8 / 0.396
    assert sources.xyxy[1] == pytest.approx([60.5 - half, 50.25 - half, 60.5 + half, 50.25 + half])


def test_a_missing_column_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"^mine: no column petroRad_r, y; it has x, mag$"):
        sources_on_field(pd.DataFrame({"x": [1.0], "mag": [2.0]}), SHAPE, wcs=None, pixel_scale=None, name="mine")


def test_sky_positions_without_a_wcs_are_not_enough():
    table = pd.DataFrame({"ra": [1.0], "dec": [2.0], "petroRad_r": [3.0]})
    with pytest.raises(InputError, match="no column x, y"):
        sources_on_field(table, SHAPE, wcs=None, pixel_scale=None)


def test_a_missing_and_a_broken_file_are_refused(tmp_path, refused):
    refused(tmp_path / "c.csv", "no such catalogue", read=read_catalogue)
    for ending in ("fits", "parquet", "ecsv", "vot"):
        (tmp_path / f"c.{ending}").write_text("not a table at all")
        refused(tmp_path / f"c.{ending}", "not a catalogue", read=read_catalogue)
    (tmp_path / "c.csv").touch()
    refused(tmp_path / "c.csv", "not a catalogue", read=read_catalogue)


def test_text_in_a_column_of_numbers_is_refused():
    table = pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0], "petroRad_r": ["3.0", "large"]})
    with pytest.raises(InputError, match=r"mine: .*petroRad_r") as caught:
        sources_on_field(table, SHAPE, wcs=None, pixel_scale=None, name="mine")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["ecsv", "fits", "vot"])
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
    path = tmp_path / f"c.{ending}"
    table.write(path, format="votable" if ending == "vot" else None)
    sources = sources_on_field(read_catalogue(path), SHAPE, wcs=None, pixel_scale=0.4)
    assert sources.x.tolist() == [20]  # one without a radius has no box


def test_sky_places_the_real_catalogue_where_its_pixels_are(sdss_field, sdss_folder):
    table = read_catalogue(sdss_folder / "catalogue.csv")
    by_sky = sources_on_field(table, sdss_field.shape, wcs=sdss_field.wcs, pixel_scale=sdss_field.pixel_scale)
    by_pixel = sources_on_field(table, sdss_field.shape, wcs=None, pixel_scale=sdss_field.pixel_scale)
    assert len(by_sky) == len(by_pixel) == len(table)
    assert np.hypot(by_sky.x - by_pixel.x, by_sky.y - by_pixel.y).max() < 0.15
    assert np.abs(by_sky.xyxy - by_pixel.xyxy).max() < 0.15
    assert np.array_equal(by_sky.galaxy, table.type == 3)


def test_catalogued_objects_lie_on_the_light(sdss_field, sdss_folder):
    table = read_catalogue(sdss_folder / "catalogue.csv")
    sources = sources_on_field(table, sdss_field.shape, wcs=sdss_field.wcs, pixel_scale=sdss_field.pixel_scale)
    bright = sources.select(sources.galaxy & (sources.magnitude < 20) & ~sources.ignore)
    x, y = np.rint(bright.x).astype(int), np.rint(bright.y).astype(int)
    r = sdss_field.bands["r"]
    around = np.array([r[b - 1 : b + 2, a - 1 : a + 2].sum() for a, b in zip(x, y, strict=True)])
    beside = np.array([r[b - 1 : b + 2, a + 5 : a + 8].sum() for a, b in zip(x, y, strict=True)])
    assert len(bright) > 20
    assert np.mean(around > beside) > 0.95


def test_sources_refuse_columns_of_different_length():
    one, two = np.zeros(1), np.zeros(2)
    with pytest.raises(ValueError, match="y must have 1 rows"):
        Sources(one, two, np.zeros((1, 4)), one > 0, one, one > 0)
    with pytest.raises(ValueError, match="xyxy must be of shape"):
        Sources(one, one, np.zeros((1, 5)), one > 0, one, one > 0)
