import csv
import json
import os
import shutil
import signal
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from fieldprep import Field
from fieldprep.boxes import read_yolo
from fieldprep.errors import InputError, OutputError, UsageError
from fieldprep.training import trainingsets
from fieldprep.training.recipes import RECIPES
from fullfield import preparation, sets
from fullfield.preparation import Asked, named_recipe, parse_empty, prepare_field
from fullfield.sets import Division, prepare_set, read_names
from fullfield.sources import find_sources

SHAPE = (200, 260)
SMALL = replace(RECIPES["galaxies"], variants=("N", "L"))
FORMATS = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "fits": "fits", "xml": "votable", "parquet": "parquet"}
SECOND = Division(validation=["second"])
VOTES = ("p_el", "p_cw", "p_acw", "p_edge", "p_dk", "p_mg", "p_cs")


@pytest.fixture(autouse=True)
def without_report(request, monkeypatch):
    """The report has tests of its own, and takes half a second."""
    if "cli" not in request.fixturenames:
        monkeypatch.setattr(sets, "write_report", lambda *_: {})


@pytest.fixture
def write_field(tmp_path, make_fits, make_wcs):
    """Factory of fields/NAME: g, r, i far from the others on the sky, and a catalogue of one galaxy."""

    def write(name, k, *, catalogue="catalogue.csv", **row):
        folder = tmp_path / "fields" / name
        image = np.random.default_rng(k).normal(0, 1, SHAPE).astype(np.float32)
        image[95:106, 115:126] += 40
        for band in "gri":
            wcs = make_wcs(SHAPE, crval=(10.0 + 20 * k, 2.0))
            make_fits(f"{name}-{band}.fits", image, band=band, wcs=wcs, folder=folder)
        if catalogue:
            given = {"objid": 10**18 + k, "x": 120, "y": 100, "petroRad_r": 4.0, "type": 3, "modelMag_r": 18.0, **row}
            pd.DataFrame([given]).to_csv(folder / catalogue, index=False)
        return folder

    return write


@pytest.fixture
def three_fields(tmp_path, write_field):
    """Three folders: two with a catalogue, one without."""
    write_field("first", 0)
    write_field("second", 1)
    write_field("bare", 2, catalogue=None)
    return tmp_path / "fields"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "set"


def prepare(fields, out, *, recipe=SMALL, division=SECOND, workers=1, **options):
    return prepare_set([str(fields)], out, Asked(recipe, **options), division, workers=workers)


def told(out):
    """Field to half and reason, as fields.csv tells."""
    with (out / "fields.csv").open(newline="") as handle:
        return {row["field"]: (row["half"], row["reason"]) for row in csv.DictReader(handle)}


def contents(out):
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.suffix in {".png", ".txt", ".csv", ".yaml"} and path.name != "failures.csv"
    }


def test_a_set_has_what_ultralytics_and_coco_want(three_fields, out):
    made = prepare(three_fields, out, empty={"bare": None})
    assert made.counts == {
        "train_fields": 2,
        "val_fields": 1,
        "train_tiles": 4,
        "train_boxes": 2,
        "val_tiles": 1,
        "val_boxes": 1,
    }
    names = sorted(path.name for path in (out / "images" / "train").iterdir())
    assert names == ["bare-L-0-0.png", "bare-N-0-0.png", "first-L-0-0.png", "first-N-0-0.png"]
    labels = out / "labels" / "train"
    assert (labels / "bare-N-0-0.txt").read_text() == ""
    boxes, _ = read_yolo(labels / "first-N-0-0.txt", SHAPE)
    np.testing.assert_allclose((boxes[0, :2] + boxes[0, 2:]) / 2, [120, 100], atol=1e-4)
    coco = json.loads((out / "annotations" / "val.json").read_text())
    assert len(coco["annotations"]) == 1
    assert not list(out.parent.glob(".*-partial"))


def test_the_box_falls_on_the_light(three_fields, out):
    prepare(three_fields, out)
    image = cv2.imread(str(out / "images" / "train" / "first-N-0-0.png"), cv2.IMREAD_GRAYSCALE)
    ((x0, y0, x1, y1),) = np.rint(read_yolo(out / "labels/train/first-N-0-0.txt", image.shape)[0]).astype(int)
    assert image[y0:y1, x0:x1].mean() > 2 * np.median(image)


def test_no_variant_of_a_validation_field_is_trained_on(three_fields, out):
    prepare(three_fields, out)
    assert not list((out / "images" / "train").glob("second*"))
    assert [path.name for path in (out / "images" / "val").iterdir()] == ["second-N-0-0.png"]


def test_a_field_without_a_catalogue_is_left_out_and_told(three_fields, out):
    made = prepare(three_fields, out)
    assert made.left_out == {"bare": "no catalogue catalogue.csv"}
    assert told(out)["bare"] == ("left out", "no catalogue catalogue.csv")
    assert not list(out.rglob("bare*"))


def test_a_field_on_which_no_row_lies_is_left_out_and_told(three_fields, write_field, out):
    write_field("off", 3, x=900)
    assert "none of its 1 rows lies on the field" in prepare(three_fields, out).left_out["off"]


def test_only_the_named_columns_of_an_empty_field_are_taken(three_fields, out):
    prepare(three_fields, out, empty={"bare": (30, 130)})
    tile = cv2.imread(str(out / "images" / "train" / "bare-N-0-0.png"))
    assert tile.shape == (200, 100, 3)
    split = pd.read_csv(out / "split.csv").set_index("field")
    assert split.loc["bare", "ra"] == pytest.approx(50 + (129.5 - 79.5) * 0.4 / 3600, abs=1e-4)


def test_a_bad_field_fails_alone_and_is_recorded(three_fields, write_field, out):
    write_field("bad", 3)
    (three_fields / "bad" / "bad-r.fits").write_text("an error page, with status 200")
    made = prepare(three_fields, out)
    assert [failure.field for failure in made.failures] == ["bad"]
    assert "bad-r.fits: not a FITS file" in made.failures[0].error
    with (out / "failures.csv").open(newline="") as handle:
        header, row = list(csv.reader(handle))
    assert header == ["field", "stage", "error"]
    assert row[:2] == ["bad", "prepare"]
    assert told(out)["bad"][0] == "failed"
    assert made.counts["train_fields"] == 1


def test_our_own_mistake_with_a_field_is_its_failure(three_fields, out, monkeypatch):
    def mistaken(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(preparation, "centre_errors", mistaken)
    outcome = prepare_field(find_sources([str(three_fields / "first")])[0], Asked(SMALL), out.parent)
    assert "unexpected ZeroDivisionError: ours; please report it" in outcome.error
    assert "Traceback" in outcome.details
    assert not list(out.parent.glob("first"))


def test_the_split_is_written_down_and_drawn_alike_again(write_field, tmp_path):
    for k in range(7):
        write_field(f"f{k}", k)
    drawn = Division(share=0.3, seed=5)
    first = prepare(tmp_path / "fields", tmp_path / "a", division=drawn)
    again = prepare(
        tmp_path / "fields", tmp_path / "b", division=drawn, recipe=replace(SMALL, variants=("N", "L", "Q"))
    )
    assert (first.counts["train_fields"], first.counts["val_fields"]) == (5, 2)
    assert again.counts["val_fields"] == 2
    tables = [pd.read_csv(tmp_path / name / "split.csv") for name in "ab"]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0].columns.tolist() == ["field", "half", "block", "ra", "dec", "radius_deg", "chosen"]
    assert set(tables[0]["chosen"]) == {"seed 5"}
    other = prepare(tmp_path / "fields", tmp_path / "c", division=replace(drawn, seed=6))
    assert other.counts["val_fields"] == 2
    assert not pd.read_csv(tmp_path / "c" / "split.csv")["half"].equals(tables[0]["half"])


def test_fields_on_the_same_sky_never_stand_apart(three_fields, write_field, out):
    again = write_field("again", 1)  # where the second one is
    made = prepare(three_fields, out)
    assert made.left_out[again.name] == "touches second, which is kept for validation"


def test_one_piece_of_sky_is_not_enough(three_fields, out):
    with pytest.raises(InputError, match="give fields elsewhere on the sky"):
        prepare(three_fields / "first", out, division=Division())
    assert not out.exists()


def test_what_was_prepared_is_kept_when_no_set_can_be_made_of_it(three_fields, out, monkeypatch):
    with pytest.raises(InputError):
        prepare(three_fields, out, division=Division(validation=["bare"]))
    calls = []
    monkeypatch.setattr(sets, "prepare_field", lambda source, **_: calls.append(source))
    assert prepare(three_fields, out).counts["train_fields"] == 1
    assert calls == []


def test_another_recipe_does_not_go_on_from_what_was_prepared(three_fields, out):
    with pytest.raises(InputError):
        prepare(three_fields, out, division=Division(validation=["bare"]))
    with pytest.raises(UsageError, match="begun with another recipe; remove that folder, or ask for the same"):
        prepare(three_fields, out, recipe=RECIPES["T1"])


def test_a_killed_preparation_goes_on_and_ends_in_the_same_set(write_field, tmp_path, spawn, wait_for):
    for k in range(4):
        write_field(f"f{k}", k)
    fields, whole, killed = tmp_path / "fields", tmp_path / "whole", tmp_path / "killed"
    process = spawn("prepare", fields, "--variants", "N,L", "--out", killed)
    done = tmp_path / ".killed-partial" / "fields"
    wait_for(lambda: list(done.glob("f?/record.json")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not killed.exists()
    prepare(fields, whole, division=Division())
    prepare(fields, killed, division=Division())
    assert contents(killed) == contents(whole)
    assert not done.exists()


def test_processes_do_not_change_the_set(write_field, tmp_path):
    for k in range(4):
        write_field(f"f{k}", k)
    for name, workers in (("one", 1), ("two", 2)):
        prepare(tmp_path / "fields", tmp_path / name, division=Division(), workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_formats_of_a_catalogue_give_the_same_labels(three_fields, tmp_path):
    table = Table.read(three_fields / "first" / "catalogue.csv")
    made = {}
    for ending, kind in FORMATS.items():
        table.write(tmp_path / f"c.{ending}", format=kind)
        prepare(three_fields, tmp_path / ending, catalogue=str(tmp_path / f"c.{ending}"))
        made[ending] = {path.name: path.read_text() for path in (tmp_path / ending).glob("labels/*/*.txt")}
    assert made["csv"]["first-N-0-0.txt"]
    assert all(labels == made["csv"] for labels in made.values())


def test_one_catalogue_of_all_fields_serves(three_fields, tmp_path, out):
    rows = [pd.read_csv(three_fields / name / "catalogue.csv").assign(field=name) for name in ("first", "second")]
    pd.concat(rows).to_parquet(tmp_path / "all.parquet")
    for name in ("first", "second"):
        (three_fields / name / "catalogue.csv").unlink()
    shutil.rmtree(three_fields / "bare")
    made = prepare(three_fields, out, catalogue=str(tmp_path / "all.parquet"))
    assert made.counts["train_boxes"] == 2
    assert pd.read_parquet(out / "objects.parquet").groupby("field").size().to_dict() == {"first": 1, "second": 1}


def test_ids_keep_all_their_digits(three_fields, out):
    prepare(three_fields, out)
    assert sorted(pd.read_parquet(out / "objects.parquet")["objid"]) == ["1000000000000000000", "1000000000000000001"]


def test_votes_make_astrocvs_classes(three_fields, write_field, tmp_path, out):
    shares = {"first": {"p_el": 0.9}, "second": {"p_el": 0.1, "p_cw": 0.6, "p_cs": 0.8}}
    for name, votes in shares.items():
        path = three_fields / name / "catalogue.csv"
        table = pd.read_csv(path).assign(petroRad_r=6.0, **dict.fromkeys(VOTES, 0.0))
        table.assign(**votes).to_csv(path, index=False)
    write_field("unseen", 4, petroRad_r=6.0)
    made = prepare(three_fields, out, recipe=RECIPES["T3"])
    table = pd.read_parquet(out / "objects.parquet").set_index("field")
    assert table["class_name"].to_dict() == {"first": "Elliptical", "second": "Spiral", "unseen": "Unknown"}
    assert table.loc["second", "side_px"] / table.loc["first", "side_px"] == pytest.approx(1.1)
    assert made.notes[0].startswith("1 of 3 labelled galaxies have no votes and are Unknown")


def test_s1_is_a_part_of_the_fields_drawn_from_the_seed(write_field, tmp_path):
    for k in range(5):
        write_field(f"f{k}", k, petroRad_r=6.0)
    given = tmp_path / "fields"
    made = prepare(given, tmp_path / "T1", recipe=RECIPES["T1"], division=Division(seed=2))
    assert made.counts["train_fields"] + made.counts["val_fields"] == 3  # 7,397 of 12,171
    assert set(made.left_out.values()) == {"not drawn for S1 (7,397 of 12,171 fields, seed 2)"}
    again = prepare(given, tmp_path / "T2", recipe=RECIPES["T2"], division=Division(seed=2))
    assert again.left_out == made.left_out
    listed = read_names(tmp_path / "T1" / "split.csv")
    own = prepare(given, tmp_path / "T6", recipe=RECIPES["T6"], division=Division(seed=9, fields=listed))
    assert set(own.left_out) == set(made.left_out)
    assert set(own.left_out.values()) == {"not among --fields"}


def test_a_field_without_a_large_galaxy_is_no_field_of_astrocvs(three_fields, write_field, out):
    for k, name in enumerate(("third", "fourth"), 4):
        write_field(name, k, petroRad_r=6.0)
    made = prepare(three_fields, out, recipe=RECIPES["T3"], division=Division())
    assert made.left_out["first"] == "no galaxy with a box over 22 px"
    assert made.counts["train_fields"] + made.counts["val_fields"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"division": Division(validation=["third"])}, "no field third"),
        ({"recipe": replace(SMALL, variants=("X",))}, "unknown variant X"),
        ({"empty": {"nowhere": None}}, "no field nowhere"),
        ({"division": Division(fields=["first", "nowhere"])}, "no field nowhere"),
    ],
)
def test_a_request_that_makes_no_sense_is_a_usage_error(three_fields, out, options, words):
    with pytest.raises(UsageError, match=words):
        prepare(three_fields, out, **options)
    assert not out.exists()
    assert not list(out.parent.glob(".*-partial"))


def test_a_folder_that_is_not_empty_is_left_alone(three_fields, out):
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists and is not empty"):
        prepare(three_fields, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_full_disk_ends_it_in_one_line(three_fields, out, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
        prepare(three_fields, out)
    assert not out.exists()


@pytest.mark.parametrize("text", ["a:1", "a:1:2:3", "a:x:2", "a:-1:5"])
def test_columns_of_an_empty_field_are_two_numbers(text):
    assert parse_empty("a:10:30") == ("a", (10, 30))
    with pytest.raises(UsageError, match="NAME:X0:X1"):
        parse_empty(text)


def test_recipes_are_changed_by_what_is_asked_for():
    assert named_recipe("galaxies", variants=("Q",), faintest=20.0) == replace(
        RECIPES["galaxies"], variants=("Q",), faintest=20.0
    )
    assert named_recipe("cutouts", cutouts={"pixels": 64}).pixels == 64
    with pytest.raises(UsageError, match="unknown recipe"):
        named_recipe("T9")


def test_lists_of_fields_are_lines_or_the_first_column(tmp_path):
    path = tmp_path / "list"
    path.write_text("field,half\na,train\n\nb,val\n")
    assert read_names(path) == ["a", "b"]
    path.write_text("a\nb\n")
    assert read_names(path) == ["a", "b"]
    path.write_text("field\n")
    with pytest.raises(UsageError, match="names no field"):
        read_names(path)
    with pytest.raises(UsageError, match="not a list of fields"):
        read_names(tmp_path / "nowhere")


def test_the_command_makes_a_set_and_says_what_is_in_it(three_fields, out, cli):
    status, stdout, stderr = cli("prepare", three_fields, "--validation", "second", "--variants", "N", "--out", out)
    assert status == 0
    assert "1 train fields, 1 val fields, 1 train tiles, 1 train boxes, 1 val tiles, 1 val boxes" in stdout
    assert "left out: bare: no catalogue catalogue.csv" in stderr


def test_the_command_ends_with_1_where_a_field_failed(three_fields, write_field, out, cli):
    (write_field("bad", 3) / "bad-r.fits").write_text("no FITS")
    status, _, stderr = cli("prepare", three_fields, "--validation", "second", "--out", out)
    assert status == 1
    assert "failed: bad:" in stderr
    assert (out / "data.yaml").exists()


def test_the_command_makes_cutouts(three_fields, out, cli):
    status, stdout, _ = cli(
        "prepare", three_fields, "--recipe", "cutouts", "--size", "arcsec:12", "--pixels", "32", "--out", out
    )
    assert status == 0
    assert "1 train stamps, 1 val stamps" in stdout
    assert {path.name for path in out.glob("images/*/*")} == {"galaxy"}
    table = pd.read_csv(out / "labels.csv")
    assert table["width_arcsec"].tolist() == [12.0, 12.0]


@pytest.mark.parametrize("words", [("--recipe", "T9"), ("--size", "12", "--recipe", "cutouts"), ("--columns", "a")])
def test_the_command_refuses_what_makes_no_sense(three_fields, out, cli, words):
    status, _, stderr = cli("prepare", three_fields, *words, "--out", out)
    assert status == 2
    assert stderr.count("\n") == 1
    assert not out.exists()


def test_a_real_field_gives_the_same_labels_from_every_format(sdss_folder, sdss_field, tmp_path, monkeypatch):
    monkeypatch.setattr(Field, "read", lambda *_, **__: sdss_field)  # read once: it is the same field
    monkeypatch.setattr(trainingsets, "picture", lambda field, _: np.zeros((*field.shape, 3), np.uint8))
    table = Table.read(sdss_folder / "catalogue.csv")
    labels = {}
    for ending, kind in FORMATS.items():
        table.write(tmp_path / f"c.{ending}", format=kind)
        folder = tmp_path / ending
        folder.mkdir()
        asked = Asked(replace(SMALL, variants=("L",)), str(tmp_path / f"c.{ending}"))
        outcome = prepare_field(find_sources([str(sdss_folder)])[0], asked, folder)
        assert not outcome.error
        labels[ending] = {path.name: path.read_text() for path in folder.glob("*/*.txt")}
    assert sum(text.count("\n") for text in labels["csv"].values()) > 150
    assert all(texts == labels["csv"] for texts in labels.values())
