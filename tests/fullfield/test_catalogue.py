import errno
import json

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS

from detector import Detections
from detector.detections import FLAG_MEANINGS, Flag
from fieldprep import Field
from fieldprep.errors import InputError, OutputError
from fullfield.catalogue import (
    COLUMNS,
    atomic,
    catalogue_table,
    join_catalogues,
    read_parquet,
    write_json,
    write_parquet,
)

# as the design names them, in its order
NAMES = [
    "field", "id", "ra", "dec", "x", "y", "x_min", "y_min", "x_max", "y_max",
    "radius_arcsec", "class_name", "confidence", "flags",
]  # fmt: skip
UNITS = {
    **dict.fromkeys(("ra", "dec"), u.deg),
    **dict.fromkeys(("x", "y", "x_min", "y_min", "x_max", "y_max"), u.pix),
    "radius_arcsec": u.arcsec,
}


@pytest.fixture
def field(small_image, make_wcs):
    image = small_image()
    return Field("a", {"r": image}, np.zeros(image.shape, np.bool_), wcs=make_wcs(image.shape), pixel_scale=0.4)


@pytest.fixture
def found(objects):
    """A detection on each object, its box 12 x 8 px and a little off."""
    xy = np.array(objects)[:, :2] + 0.5
    half = np.array([6, 4])
    n = len(xy)
    flags = np.array([Flag.EDGE, 0, 0, 0])
    return Detections(np.concatenate([xy - half, xy + half], axis=1), np.linspace(0.9, 0.1, n), np.zeros(n, int), flags)


@pytest.fixture
def table(field, found):
    return catalogue_table(field, found, {"survey": "none"})


def nothing():
    zeros = np.zeros(0, np.int64)
    return Detections(np.zeros((0, 4)), np.zeros(0), zeros, zeros)


def test_columns_units_and_descriptions_are_those_of_the_design(table):
    assert table.colnames == NAMES == [name for name, _, _ in COLUMNS]
    assert {name: table[name].unit for name in NAMES if table[name].unit} == UNITS
    assert all(table[name].description for name in NAMES)


def test_sky_positions_are_the_wcs_of_the_centroids(field, table, objects):
    assert np.asarray(table["x"]) == pytest.approx([row[0] for row in objects], abs=0.3)
    assert np.asarray(table["y"]) == pytest.approx([row[1] for row in objects], abs=0.3)
    ra, dec = field.wcs.pixel_to_world_values(table["x"], table["y"])
    assert np.asarray(table["ra"]) == pytest.approx(ra, abs=1e-9)
    assert np.asarray(table["dec"]) == pytest.approx(dec, abs=1e-9)


def test_the_radius_is_half_the_longer_side_in_arcsec(table):
    assert np.asarray(table["radius_arcsec"]) == pytest.approx(6 * 0.4)


def test_ids_count_from_1_by_falling_confidence(table):
    assert table["id"].tolist() == [1, 2, 3, 4]
    assert (np.diff(table["confidence"]) < 0).all()


def test_flags_of_the_detector_and_of_the_centroid_add_up(field, found):
    moved = Detections(found.xyxy + np.array([0, 60, 0, 60]), found.confidence, found.class_id, found.flags)
    field.bands["r"][80:, :100] = 0  # the light under the first detection is gone
    assert catalogue_table(field, moved, {})["flags"][0] == Flag.EDGE | Flag.NO_CENTROID


def test_the_bits_of_the_flags_are_named_in_the_metadata(table):
    assert set(table.meta["flag_bits"]) == {str(int(flag)) for flag in Flag} == {"1", "2", "4", "8", "16"}
    assert table.meta["flag_bits"]["1"] == f"EDGE: {FLAG_MEANINGS[Flag.EDGE]}"


def test_without_wcs_and_scale_sky_columns_are_nan(small_image, found):
    image = small_image()
    bare = Field("a", {"r": image}, np.zeros(image.shape, np.bool_))
    table = catalogue_table(bare, found, {})
    for name in ("ra", "dec", "radius_arcsec"):
        assert np.isnan(table[name]).all()
    assert np.isfinite(table["x"]).all()


def test_positions_are_icrs_whatever_the_frame_of_the_wcs(small_image, found):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    wcs.wcs.crval = [120.0, 40.0]
    wcs.wcs.crpix = [101, 101]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    image = small_image()
    table = catalogue_table(Field("a", {"r": image}, np.zeros(image.shape, np.bool_), wcs=wcs), found, {})
    galactic = SkyCoord(*wcs.pixel_to_world_values(table["x"], table["y"]), unit="deg", frame="galactic")
    assert galactic.separation(SkyCoord(table["ra"], table["dec"])).arcsec.max() < 1e-6


def test_astropy_reads_what_was_written(tmp_path, table):
    write_parquet(tmp_path / "c.parquet", table)
    for back in (Table.read(tmp_path / "c.parquet"), read_parquet(tmp_path / "c.parquet")):
        assert back.colnames == NAMES
        assert back.meta["survey"] == "none"
        assert back.meta["flag_bits"] == table.meta["flag_bits"]
        for name in NAMES:
            assert back[name].unit == table[name].unit
            assert back[name].description == table[name].description
            assert back[name].tolist() == table[name].tolist()


def test_pandas_and_pyarrow_read_what_was_written(tmp_path, table):
    write_parquet(tmp_path / "c.parquet", table)
    frame = pd.read_parquet(tmp_path / "c.parquet")
    assert list(frame.columns) == NAMES
    assert frame["field"].tolist() == ["a"] * 4
    assert frame["id"].dtype == frame["flags"].dtype == np.int64
    assert pq.read_table(tmp_path / "c.parquet").column("x").to_pylist() == table["x"].tolist()


def test_an_empty_catalogue_keeps_its_columns_and_types(tmp_path, field):
    write_parquet(tmp_path / "c.parquet", catalogue_table(field, nothing(), {}))
    schema = pq.read_schema(tmp_path / "c.parquet")
    assert schema.names == NAMES
    assert [str(kind) for kind in schema.types] == (
        ["string", "int64"] + ["double"] * 9 + ["string", "double", "int64"]
    )
    assert len(Table.read(tmp_path / "c.parquet")) == 0


def test_metadata_are_those_written_and_none_where_none_were(tmp_path, table):
    write_parquet(tmp_path / "c.parquet", table)
    assert read_parquet(tmp_path / "c.parquet").meta["survey"] == "none"
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "plain.parquet")
    assert read_parquet(tmp_path / "plain.parquet").meta == {}


def test_a_file_that_is_no_catalogue_is_an_input_error(tmp_path):
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"c\.parquet: not a readable catalogue"):
        read_parquet(tmp_path / "c.parquet")


def test_catalogues_join_into_one_with_long_names_and_empty_fields(tmp_path, field, found):
    tables = [
        catalogue_table(field, found, {}),
        catalogue_table(field, nothing(), {}),
        catalogue_table(Field("a-much-longer-name-é", field.bands, field.mask), found, {}),
    ]
    paths = [tmp_path / f"{i}.parquet" for i in range(3)]
    for path, table in zip(paths, tables, strict=True):
        write_parquet(path, table)
    assert join_catalogues(paths, tmp_path / "all.parquet", {"detector": "spots"}) == 8
    joined = Table.read(tmp_path / "all.parquet")
    assert joined["field"].tolist() == ["a"] * 4 + ["a-much-longer-name-é"] * 4
    assert joined["ra"].unit == u.deg
    assert joined.meta["detector"] == "spots"
    assert list(pd.read_parquet(tmp_path / "all.parquet").columns) == NAMES


def test_no_catalogue_joins_into_an_empty_one(tmp_path):
    assert join_catalogues([], tmp_path / "all.parquet", {}) == 0
    assert Table.read(tmp_path / "all.parquet").colnames == NAMES


def test_json_is_json(tmp_path):
    write_json(tmp_path / "a.json", {"path": tmp_path, "n": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"path": str(tmp_path), "n": 1}


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half(error):
        with atomic(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "old"
            raise error

    with pytest.raises(OutputError, match=r"a\.txt: cannot be written \(No space left on device\)"):
        write_half(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(KeyboardInterrupt):
        write_half(KeyboardInterrupt())
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_json(tmp_path / "no" / "a.json", {})
