import gzip
import io

import cv2
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from classifiers.stampsets import read_alert, read_stamps
from classifiers.tasks import Task
from fieldprep.errors import InputError, UsageError

ROWS = pd.DataFrame({"name": ["a.png", "b.png", "c.png"], "label": ["star", "galaxy", "star"], "sky": ["1", "1", "2"]})


@pytest.fixture
def table(tmp_path):
    """Folder with three images and their labels."""

    def write(rows=ROWS, images="images"):
        rows.to_csv(tmp_path / "labels.csv", index=False)
        (tmp_path / images).mkdir(exist_ok=True)
        for i, name in enumerate(("a.png", "b.png", "c.png")):
            picture = np.zeros((6, 8, 3), np.uint8)
            picture[..., 2] = 10 * (i + 1)  # red, as OpenCV orders it
            cv2.imwrite(str(tmp_path / images / name), picture)
        return tmp_path

    return write


def test_a_table_of_labels_and_the_images_beside_it(table):
    stamps = read_stamps(table())
    assert stamps.labels.tolist() == ["star", "galaxy", "star"]
    assert stamps.groups.tolist() == ["1", "1", "2"]
    assert [stamp[0, 0].tolist() for stamp in stamps.stamps] == [[10, 0, 0], [20, 0, 0], [30, 0, 0]]


def test_names_without_their_ending_and_images_elsewhere_are_found(table, tmp_path):
    folder = table(ROWS.assign(name=["a", "b", "c"]).rename(columns={"name": "GalaxyID"}), images="pictures")
    assert len(read_stamps(folder / "labels.csv", images=tmp_path / "pictures")) == 3


def test_another_column_may_be_label_or_group(table):
    stamps = read_stamps(table(ROWS.assign(kind=["x", "y", None])), label="kind", group="label")
    assert stamps.labels.tolist() == ["x", "y"]
    assert stamps.groups.tolist() == ["star", "galaxy"]


def test_a_tasks_stamps_are_those_of_its_classes(table):
    stamps = read_stamps(table(ROWS.assign(label=["galaxy", "star", "trail"]))).of_task(Task.read("star_galaxy"))
    assert stamps.names.tolist() == ["a.png", "b.png"]
    assert len(stamps.stamps) == len(stamps.rows) == 2


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        (ROWS, {"label": "kind"}, InputError, "no column kind for the labels"),
        (ROWS[:0], {}, InputError, "no labelled stamp"),
        (ROWS.assign(name=["a.png", "x.png", "y.png"]), {}, InputError, r"no image for 2 of 3 labels \(x.png, y.png\)"),
        (ROWS.drop(columns="name"), {}, InputError, "names no images"),
        (ROWS, {"group": "night"}, UsageError, "no column night"),
    ],
)
def test_labels_without_images_and_the_like_are_refused(table, rows, options, error, message):
    with pytest.raises(error, match=message):
        read_stamps(table(rows), **options)


def test_a_folder_without_a_table_and_nothing_at_all_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"labels\.csv: no such table"):
        read_stamps(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        read_stamps(tmp_path / "none")


def test_labels_of_one_class_only_are_refused(table):
    with pytest.raises(InputError, match="labels of fewer than two classes of star_galaxy"):
        read_stamps(table(ROWS.assign(label="star"))).of_task(Task.read("star_galaxy"))


def test_an_image_that_is_none_is_named(table):
    folder = table()
    (folder / "images" / "b.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"b\.png"):
        read_stamps(folder)


def triplets(folder, n=4, rows=None):
    planes = {name: np.full((n, 5, 5), i, np.float16) for i, name in enumerate(("science", "template", "difference"))}
    np.savez(folder / "triplets.npz", **planes)
    alerts = pd.DataFrame(
        {"objectId": ["o1", "o1", "o2", "o3"], "candid": range(4), "label": ["real", "real", "bogus", "real"]}
    )
    (alerts if rows is None else alerts[:rows]).to_csv(folder / "alerts.csv", index=False)
    return folder


def test_triplets_are_science_template_difference_by_object(tmp_path):
    stamps = read_stamps(triplets(tmp_path))
    assert stamps.stamps.shape == (4, 5, 5, 3)
    assert stamps.stamps[0, 0, 0].tolist() == [0, 1, 2]
    assert stamps.groups.tolist() == ["o1", "o1", "o2", "o3"]


def test_triplets_that_are_not_as_many_as_their_labels_are_refused(tmp_path):
    with pytest.raises(InputError, match="for the 3 labels"):
        read_stamps(triplets(tmp_path, rows=3))


def test_triplets_that_cannot_be_read_are_refused(tmp_path):
    (triplets(tmp_path) / "triplets.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InputError, match=r"triplets\.npz: no arrays science, template, difference"):
        read_stamps(tmp_path)


def test_float_stamps_of_a_prepared_set_are_taken_by_their_number(tmp_path):
    for half, field in (("train", "f1"), ("val", "f2")):
        (tmp_path / "stamps" / half).mkdir(parents=True)
        values = np.arange(3, dtype=np.float32)[:, None, None, None] * np.ones((1, 4, 4, 2), np.float32)
        np.savez(tmp_path / "stamps" / half / f"{field}.npz", stamps=values + (10 if half == "val" else 0))
    rows = {"field": ["f1", "f2"], "half": ["train", "val"], "stamp": [2, 1], "label": ["star", "galaxy"]}
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    stamps = read_stamps(tmp_path)
    assert [float(stamp[0, 0, 0]) for stamp in stamps.stamps] == [2, 11]
    assert stamps.groups.tolist() == ["f1", "f2"]


SCHEMA = {
    "type": "record",
    "name": "alert",
    "fields": [
        {"name": "objectId", "type": "string"},
        {"name": "candid", "type": "long"},
        {
            "name": "candidate",
            "type": {"type": "record", "name": "candidate", "fields": [{"name": "rb", "type": "float"}]},
        },
        *(
            {
                "name": f"cutout{kind}",
                "type": {
                    "type": "record",
                    "name": f"cutout{kind}",
                    "fields": [{"name": "fileName", "type": "string"}, {"name": "stampData", "type": "bytes"}],
                },
            }
            for kind in ("Science", "Template", "Difference")
        ),
    ],
}


def packed(value):
    memory = io.BytesIO()
    fits.PrimaryHDU(np.full((63, 63), value, np.float32)).writeto(memory)
    return {"fileName": "cutout.fits.gz", "stampData": gzip.compress(memory.getvalue())}


def alert(path, candid=7):
    fastavro = pytest.importorskip("fastavro")
    record = {"objectId": "ZTF18abc", "candid": candid, "candidate": {"rb": 0.5}}
    record |= {f"cutout{kind}": packed(i) for i, kind in enumerate(("Science", "Template", "Difference"))}
    with path.open("wb") as handle:
        fastavro.writer(handle, fastavro.parse_schema(SCHEMA), [record])
    return path


def test_alerts_are_read_from_avro_as_the_survey_packs_them(tmp_path):
    [(stamp, told)] = read_alert(alert(tmp_path / "7.avro"))
    assert stamp.shape == (63, 63, 3)
    assert stamp[0, 0].tolist() == [0, 1, 2]
    assert (told["objectId"], told["candid"], told["rb"]) == ("ZTF18abc", "7", 0.5)


def test_a_folder_of_alerts_takes_its_labels_by_candid(tmp_path):
    for candid in (7, 8, 9):
        alert(tmp_path / f"{candid}.avro", candid)
    pd.DataFrame({"candid": [9, 7], "label": ["bogus", "real"]}).to_csv(tmp_path / "labels.csv", index=False)
    stamps = read_stamps(tmp_path)
    assert stamps.names.tolist() == ["7", "9"]
    assert stamps.labels.tolist() == ["real", "bogus"]
    assert stamps.groups.tolist() == ["ZTF18abc"] * 2


def test_a_corrupt_alert_is_named(tmp_path):
    path = alert(tmp_path / "7.avro")
    path.write_bytes(path.read_bytes()[:-40] + b"\x00" * 40)
    with pytest.raises(InputError, match=r"7\.avro: not a file of ZTF alerts"):
        read_alert(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"7\.avro: not a file of ZTF alerts"):
        read_alert(path)


def test_the_surveys_own_triplets_and_pictures_are_read(data):
    ztf, aries = read_stamps(data / "ztf"), read_stamps(data / "aries")
    assert (len(ztf), ztf.stamps.shape[1:]) == (1052, (63, 63, 3))
    assert sorted(set(ztf.labels)) == ["bogus", "real"]
    assert len(set(aries.groups)) == 19
    assert {stamp.shape for stamp in aries.stamps} == {(64, 64, 3)}
