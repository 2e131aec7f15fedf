import hashlib

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from fieldprep.errors import UsageError
from fullfield.sources import find_sources


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"SIMPLE")


def names(found):
    return [source.name for source in found]


def test_a_folder_of_band_files_is_one_field_named_for_it(tmp_path):
    touch(tmp_path, "m31/g.fits", "m31/r.fits.gz", "m31/catalogue.csv")
    found = find_sources([str(tmp_path / "m31")])
    assert names(found) == ["m31"]
    assert found[0].paths == (tmp_path / "m31",)
    assert found[0].folder == tmp_path / "m31"


def test_a_folder_of_sdss_frames_is_named_by_the_survey(tmp_path):
    touch(tmp_path, *(f"any/frame-{band}-003184-2-0169.fits.bz2" for band in "gri"))
    assert names(find_sources([str(tmp_path / "any")])) == ["003184-2-0169"]


def test_several_sdss_fields_flat_in_one_folder_are_told_apart(tmp_path):
    fields = ("003184-2-0169", "001043-5-0025")
    touch(tmp_path, *(f"frame-{band}-{field}.fits.bz2" for band in "gri" for field in fields))
    found = find_sources([str(tmp_path)])
    assert names(found) == ["001043-5-0025", "003184-2-0169"]
    assert [len(source.paths) for source in found] == [3, 3]
    assert all(source.name in path.name for source in found for path in source.paths)


def test_a_folder_of_folders_is_many_fields(tmp_path):
    touch(tmp_path, "many/b/r.fits", "many/a/r.fits", "many/deep/er/g.fits")
    touch(tmp_path, "many/notes/readme.txt", "many/.cache/x.fits")
    assert names(find_sources([str(tmp_path / "many")])) == ["a", "b", "er"]


def test_pictures_of_a_folder_are_a_field_each(tmp_path):
    touch(tmp_path, "pictures/one.png", "pictures/two.JPG", "pictures/three.tiff", "pictures/one.reference.csv")
    assert names(find_sources([str(tmp_path / "pictures")])) == ["one", "three", "two"]


def test_the_output_of_a_run_is_no_source(tmp_path):
    touch(tmp_path, "sky/a/r.fits", "sky/out/fields/a/detections.png", "sky/out/run.json", "sky/out/fields.csv")
    assert names(find_sources([str(tmp_path / "sky")])) == ["a"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("mosaic.fits", "mosaic"),
        ("mosaic.fits.gz", "mosaic"),
        ("mosaic_drz.fits.fz", "mosaic_drz"),
        ("deep.field.png", "deep.field"),
        ("frame-r-003184-2-0169.fits.bz2", "003184-2-0169"),
    ],
)
def test_a_file_is_a_field_named_by_its_stem(tmp_path, file, name):
    touch(tmp_path, file)
    found = find_sources([str(tmp_path / file)])
    assert names(found) == [name]
    assert not found[0].error


def test_an_extension_in_brackets_stays_with_its_file(tmp_path):
    touch(tmp_path, "hst.fits")
    found = find_sources([f"{tmp_path}/hst.fits[SCI]", f"{tmp_path}/hst.fits[2]"])
    assert len({source.key for source in found}) == 2
    assert str(found[0].paths[0]).endswith("hst.fits[SCI]")


def write_list(folder, kind, table):
    path = folder / f"list.{kind}"
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "parquet":
        table.to_parquet(path)
    else:
        Table.from_pandas(table).write(path, format="ascii.ecsv")
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "ecsv", "parquet"])
def test_a_list_names_fields_by_paths_relative_to_itself(tmp_path, monkeypatch, kind):
    touch(tmp_path, "lists/sky/a.fits", "lists/sky/b/r.fits")
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"source": ["sky/a.fits", "sky/b"], "name": ["first", "second"]})
    found = find_sources([write_list(tmp_path / "lists", kind, table)])
    assert names(found) == ["first", "second"]
    assert found[0].paths == (tmp_path / "lists" / "sky" / "a.fits",)
    assert not any(source.error for source in found)


def test_names_of_a_list_may_be_numbers(tmp_path):
    touch(tmp_path, "a.fits", "b.fits")
    (tmp_path / "list.csv").write_text("source,name\na.fits,17\nb.fits,18\n")
    assert names(find_sources([str(tmp_path / "list.csv")])) == ["17", "18"]


def test_a_list_may_leave_names_out(tmp_path):
    touch(tmp_path, "a.fits", "b.fits")
    (tmp_path / "list.csv").write_text("source,name\na.fits,first\nb.fits,\n")
    assert names(find_sources([str(tmp_path / "list.csv")])) == ["first", "b"]


def test_a_list_may_hold_absolute_paths_and_paths_from_here(tmp_path, monkeypatch):
    touch(tmp_path, "a.fits", "lists/placeholder", "b.fits")
    (tmp_path / "lists" / "list.csv").write_text(f"source\n{tmp_path}/a.fits\nb.fits\n")
    monkeypatch.chdir(tmp_path)
    found = find_sources(["lists/list.csv"])
    assert names(found) == ["a", "b"]
    assert all(source.paths[0].exists() for source in found)


def test_a_list_without_the_column_says_what_it_has(tmp_path):
    (tmp_path / "list.csv").write_text("path,ra\nx,1\n")
    with pytest.raises(UsageError, match="needs a column 'source'; it has path, ra"):
        find_sources([str(tmp_path / "list.csv")])


def test_a_list_that_cannot_be_read_is_a_usage_error(tmp_path):
    (tmp_path / "list.parquet").write_bytes(b"no parquet")
    with pytest.raises(UsageError, match=r"list\.parquet: not a catalogue"):
        find_sources([str(tmp_path / "list.parquet")])


def test_a_row_that_names_no_source_fails_alone(tmp_path):
    touch(tmp_path, "a.fits")
    (tmp_path / "list.csv").write_text("source,name\n,x\na.fits,y\n")
    found = find_sources([str(tmp_path / "list.csv")])
    assert [bool(source.error) for source in found] == [True, False]
    assert "row 1 names no source" in found[0].error


def test_a_field_given_twice_is_run_once(tmp_path, monkeypatch):
    touch(tmp_path, "a.fits", "b.fits")
    monkeypatch.chdir(tmp_path)
    assert names(find_sources(["a.fits", str(tmp_path / "a.fits"), "./a.fits", "b.fits"])) == ["a", "b"]


def test_fields_of_one_name_get_a_suffix_from_their_full_path(tmp_path):
    touch(tmp_path, "one/a.fits", "two/a.fits")
    found = find_sources([str(tmp_path / "one/a.fits"), str(tmp_path / "two/a.fits")])
    assert names(found) == [
        f"a-{hashlib.sha256(str(tmp_path / folder / 'a.fits').encode()).hexdigest()[:8]}" for folder in ("one", "two")
    ]


def test_a_name_taken_by_an_earlier_run_goes_to_no_other_field(tmp_path):
    touch(tmp_path, "one/a.fits", "two/a.fits")
    first, second = str(tmp_path / "one/a.fits"), str(tmp_path / "two/a.fits")
    taken = {"a": first}
    assert names(find_sources([first], taken)) == ["a"]
    assert names(find_sources([second], taken))[0].startswith("a-")
    # and the first keeps its name when the second joins it, or it would be run and listed twice
    found = find_sources([first, second], taken)
    assert found[0].name == "a"
    assert found[1].name.startswith("a-")


def test_a_suffixed_field_keeps_its_name_when_the_other_leaves(tmp_path):
    touch(tmp_path, "one/a.fits", "two/a.fits")
    both = [str(tmp_path / "one/a.fits"), str(tmp_path / "two/a.fits")]
    earlier = {source.name: source.key for source in find_sources(both)}
    assert names(find_sources(both[:1], earlier)) == [name for name, key in earlier.items() if key == both[0]]


def test_names_are_safe_as_folders(tmp_path):
    touch(tmp_path, "a b;c.fits")
    (tmp_path / "list.csv").write_text('source,name\n"a b;c.fits",../../etc\n')
    assert names(find_sources([str(tmp_path / "a b;c.fits")])) == ["a_b_c"]
    name = find_sources([str(tmp_path / "list.csv")])[0].name
    assert "/" not in name
    assert not name.startswith(".")


@pytest.mark.parametrize("text", ["nothing.fits", "nothing.png", "nothing", "nothing.csv", "no/such/folder"])
def test_a_missing_file_is_a_source_that_fails_when_its_turn_comes(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    found = find_sources([text])
    assert len(found) == 1
    assert found[0].error or not found[0].paths[0].exists()


def test_an_empty_folder_is_a_source_that_fails(tmp_path):
    assert "no FITS file and no picture" in find_sources([str(tmp_path)])[0].error


@pytest.mark.parametrize(
    "text", ["sdss:3184-2", "sdss:3184-9-169", "mast:", "hips:CDS/P/SDSS9/r", "legacy:229.54 +42.76"]
)
def test_a_piece_of_sky_that_makes_no_sense_is_a_usage_error(text):
    with pytest.raises(UsageError, match=text.split(":")[0]):
        find_sources([text])


def test_in_a_list_it_is_a_source_that_fails(tmp_path):
    (tmp_path / "list.csv").write_text("source\nsdss:3184-9-169\nsdss:3184-2-169\n")
    wrong, right = find_sources([str(tmp_path / "list.csv")])
    assert "camcol 1 to 6" in wrong.error
    assert not right.error


def test_a_survey_field_needs_no_service_to_be_a_source():
    (found,) = find_sources(["sdss:3184-2-169"])
    assert (found.name, found.key, found.paths) == ("003184-2-0169", "sdss:3184-2-169", ())
    assert find_sources(["SDSS:003184-2-0169", "sdss:3184-2-169"]) == [found]


def test_no_source_is_a_usage_error(tmp_path):
    (tmp_path / "list.csv").write_text("source\n")
    for given in ([], [str(tmp_path / "list.csv")]):
        with pytest.raises(UsageError, match="no SOURCE given"):
            find_sources(given)


def test_thousands_of_fields_are_found_in_the_order_given(tmp_path):
    touch(tmp_path, "a.fits")
    order = np.random.default_rng(0).permutation(3000)
    (tmp_path / "list.csv").write_text("source\n" + "".join(f"missing/{i}.fits\n" for i in order))
    assert names(find_sources([str(tmp_path / "list.csv")])) == [str(i) for i in order]


def test_frames_of_one_field_named_one_by_one_are_one_field(tmp_path):
    names = [f"frame-{band}-003184-2-0169.fits.bz2" for band in "gri"] + ["frame-r-001043-5-0025.fits.bz2"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    found = find_sources([str(tmp_path / name) for name in names])
    assert [source.name for source in found] == ["003184-2-0169", "001043-5-0025"]
    assert [len(source.paths) for source in found] == [3, 1]


def test_two_spellings_of_a_path_are_one_field(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"x")
    (tmp_path / "b").mkdir()
    assert len(find_sources([str(tmp_path / "a.fits"), str(tmp_path / "b" / ".." / "a.fits")])) == 1
