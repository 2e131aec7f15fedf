import cv2
import numpy as np
import pandas as pd
import pytest

from fieldprep import Field
from fieldprep.boxes import petrosian_boxes
from fieldprep.catalogues import Sources
from fieldprep.errors import InputError, UsageError
from fieldprep.training.cutoutsets import CutoutRecipe, join_cutouts, labels_of, write_cutouts
from fieldprep.training.records import FieldRecord

SHAPE = (120, 160)
LARGE_ID = 1237651752939159556  # as SDSS's: a float would lose its last digits


def field(name="f", seed=0, scale=0.4, bands="gri"):
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    images = {}
    for k, band in enumerate(bands):
        image = np.random.default_rng(seed + k).normal(0, 0.01, SHAPE)
        for x, y in ((40.3, 50.2), (100.7, 60.1), (3.0, 100.0)):
            image += 5 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 2.0**2))
        images[band] = image.astype(np.float32)
    return Field(name, images, np.zeros(SHAPE, bool), pixel_scale=scale)


def sources(**columns):
    """A galaxy, a star and a galaxy at the edge, then one ignored; ``columns`` are further ones of the catalogue."""
    x, y, radius = np.array([40.3, 100.7, 3.0, 40.0]), np.array([50.2, 60.1, 100.0, 20.0]), np.full(4, 5.0)
    rows = pd.DataFrame({"objid": [LARGE_ID + k for k in range(4)], **columns})
    return Sources(
        x,
        y,
        petrosian_boxes(x, y, radius, np.ones(4), np.zeros(4)),
        np.array([True, False, True, True]),
        np.array([18.0, 16.0, 19.0, 17.0]),
        np.array([False, False, False, True]),
        radius,
        rows,
    )


@pytest.fixture
def made(tmp_path):
    recipe = CutoutRecipe(variants=("N", "L"), size="arcsec:8", pixels=32, floats=True)
    folders = []
    for half, seed in (("train", 0), ("val", 10)):
        folder = tmp_path / half
        folder.mkdir()
        write_cutouts(field(half, seed), sources(), recipe, folder)
        folders.append((folder, half))
    out = tmp_path / "set"
    out.mkdir()
    return out, join_cutouts(folders, out, recipe), folders


def test_a_set_is_folders_of_labels(made):
    out, counts, _ = made
    assert counts == {"train_stamps": 3, "val_stamps": 3}
    names = sorted(str(path.relative_to(out / "images")) for path in (out / "images").rglob("*.png"))
    assert len(names) == 12
    assert f"train/galaxy/train-N-{LARGE_ID}.png" in names
    assert f"val/star/val-L-{LARGE_ID + 1}.png" in names
    for name in names:
        assert cv2.imread(str(out / "images" / name)).shape == (32, 32, 3)


def test_the_table_tells_what_each_stamp_is(made):
    out, _, _ = made
    table = pd.read_csv(out / "labels.csv", dtype={"objid": "uint64"})
    assert table["objid"].tolist() == [LARGE_ID, LARGE_ID + 1, LARGE_ID + 2] * 2
    assert table["label"].tolist() == ["galaxy", "star", "galaxy"] * 2
    assert table["half"].tolist() == ["train"] * 3 + ["val"] * 3
    assert table["scale_arcsec"].unique().tolist() == [0.25]
    assert table["covered"].to_numpy() == pytest.approx([1, 1, 0.7] * 2, abs=0.03)
    for row in table.itertuples():
        assert (out / "images" / row.half / row.image_N).exists()


def test_the_light_is_in_the_middle_of_the_picture(made):
    out, _, _ = made
    image = cv2.imread(str(out / "images" / "train" / "galaxy" / f"train-N-{LARGE_ID}.png"), cv2.IMREAD_GRAYSCALE)
    bright = np.argwhere(image > 0.8 * image.max())
    assert bright.mean(axis=0) == pytest.approx([15.5, 15.5], abs=0.3)


def test_float_stamps_keep_the_flux_and_their_order(made):
    out, _, _ = made
    content = np.load(out / "stamps" / "train" / "train.npz")
    assert content["bands"].tolist() == ["g", "r", "i"]
    assert content["objid"].tolist() == [str(LARGE_ID + k) for k in range(3)]
    assert content["stamps"].shape == (3, 32, 32, 3)
    assert content["stamps"].dtype == np.float32
    assert content["stamps"][0].sum(axis=(0, 1)) == pytest.approx(np.full(3, 5 * 2 * np.pi * 4), rel=0.02)
    assert np.isnan(content["stamps"][2]).any()  # beyond the field's edge


def test_every_row_is_accounted_for(made):
    _, _, folders = made
    assert FieldRecord.read(folders[0][0]).counts == {
        "objects": 4,
        "ignored": 1,
        "fainter": 0,
        "without_label": 0,
        "without_size": 0,
        "labelled": 3,
        "partly_covered": 1,
    }


def widths(tmp_path, truth, size="petrosian:4.24", scale=0.4, **options):
    tmp_path.mkdir(exist_ok=True)
    record = write_cutouts(field(scale=scale), truth, CutoutRecipe(size=size, pixels=16, **options), tmp_path)
    return record, pd.read_parquet(tmp_path / "objects.parquet")["width_arcsec"].tolist()


def test_a_galaxy_zoo_stamp_is_4_24_petrosian_90_radii_wide(tmp_path):
    record, given = widths(tmp_path / "a", sources(petroR90_r=[3.0, 2.0, np.nan, 4.0]))
    # where there is none, that of an exponential disc: 1.06 Petrosian radii of 5 px of 0.4 arcsec
    assert given == pytest.approx([12.72, 8.48, 4.24 * 1.06 * 2])
    assert record.about["taken"] == []
    record, estimated = widths(tmp_path / "b", sources())
    assert estimated == pytest.approx([4.24 * 1.06 * 2] * 3)
    assert "no petroR90_r" in record.about["taken"][0]


def test_labels_come_from_any_column(tmp_path):
    truth = sources(morphology=["spiral", None, "a/b", "x"])
    folder = tmp_path / "f"
    folder.mkdir()
    record = write_cutouts(field(), truth, CutoutRecipe(label="morphology", size="arcsec:8", pixels=16), folder)
    assert record.counts["without_label"] == 1
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"spiral", "a_b"}
    with pytest.raises(InputError, match="no column kind for the label; it has objid"):
        labels_of(sources(), "kind")


def test_labels_from_votes_leave_out_what_has_none():
    shares = {name: [0.0] * 4 for name in ("p_cw", "p_acw", "p_edge", "p_dk", "p_mg", "p_cs")}
    truth = sources(p_el=[0.9, np.nan, 0.9, 0.9], **shares)
    assert labels_of(truth, "votes").tolist() == ["Elliptical", "", "Elliptical", "Elliptical"]


def test_faint_objects_are_left_out_where_asked_for(tmp_path):
    record, kept = widths(tmp_path / "a", sources(), faintest=18.5)
    assert len(kept) == 2
    assert record.counts["fainter"] == 1


def test_names_of_files_are_unique_and_safe(tmp_path):
    truth = sources()
    truth.rows["objid"] = ["J0 + 1/2", "same", "same", "x"]
    folder = tmp_path / "f"
    folder.mkdir()
    write_cutouts(field(), truth, CutoutRecipe(size="arcsec:8", pixels=16), folder)
    names = sorted(path.name for path in folder.rglob("*.png"))
    assert names == ["f-N-J0_+_1_2.png", "f-N-same_2.png", "f-N-same_3.png"]


def test_a_field_with_nothing_to_cut_is_left_out(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    record = write_cutouts(field(), Sources.none(), CutoutRecipe(size="arcsec:8", pixels=16), folder)
    assert record.left_out == "no object with a type and a size"


def test_a_field_without_a_pixel_scale_is_refused(tmp_path):
    with pytest.raises(InputError, match="f: its pixel scale is not known"):
        widths(tmp_path, sources(), scale=None)


@pytest.mark.parametrize("size", ["12", "arcsec", "arcsec:", "arcsec:0", "kron:3", "petrosian:x", "arcsec:-2"])
def test_a_size_that_makes_no_sense_is_refused(size):
    with pytest.raises(UsageError, match=r"--size wants petrosian:FACTOR or arcsec:WIDTH"):
        CutoutRecipe(size=size)
