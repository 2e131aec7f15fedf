import json
import re

import cv2
import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from detector import Detections
from fieldprep import Field
from fieldprep.errors import InputError, UsageError
from fullfield.catalogue import catalogue_table, read_parquet, write_parquet
from fullfield.chain import parse_labels
from fullfield.evaluation import evaluate_run
from fullfield.evaluationtext import as_text

SCALE = 0.4
SHAPE = (200, 300)


def square(x, y, side=20.0):
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


@pytest.fixture
def write_run(tmp_path, make_wcs):
    """Folder of a run whose fields have these detections: ``write_run({"a": (source, boxes, confidences)})``."""

    def write(fields, *, wcs=True, confidence=0.25, classes=None, calibration=None):
        out = tmp_path / "out"
        for name, (source, boxes, scores) in fields.items():
            image = np.zeros(SHAPE, np.float32)  # without light a centroid is the box's centre
            field = Field(
                name, {"r": image}, image > 0, wcs=make_wcs(SHAPE, scale=SCALE) if wcs else None, pixel_scale=SCALE
            )
            zeros = np.zeros(len(boxes), np.int64)
            found = Detections(np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float64), zeros, zeros)
            header = {} if field.wcs is None else dict(field.wcs.to_header(relax=True))
            meta = {"source": str(source), "shape": list(SHAPE), "pixel_scale_arcsec": SCALE, "wcs": header}
            (out / "fields" / name).mkdir(parents=True)
            meta |= {"confidence": confidence, "calibration": calibration}
            table = catalogue_table(field, found, meta)
            write_parquet(out / "fields" / name / "all_detections.parquet", table)
            table = table[table["confidence"] >= confidence]
            for column, values in (classes or {}).items():
                table[column] = values
            write_parquet(out / "fields" / name / "catalogue.parquet", table)
        (out / "fields.csv").write_text("field,source,galaxies,detections\n")
        return out

    return write


def catalogue(*rows):
    """Rows (x, y, type, magnitude); a Petrosian radius of 20 / 2.1 pixels makes boxes of 20 x 20."""
    table = pd.DataFrame(rows, columns=["x", "y", "type", "modelMag_r"])
    return table.assign(petroRad_r=20 / 2.1 * SCALE)


# galaxies at r 18 and 19.5, one of them found; a star found; a false detection; one under the threshold
TRUTH = catalogue((50, 50, 3, 18.0), (150, 50, 3, 19.5), (50, 150, 6, 17.0))
FOUND = ([square(50, 50), square(50, 150), square(250, 100), square(150, 50)], [0.9, 0.8, 0.7, 0.1])


def shares(entry):
    return entry["k"], entry["n"]


def check(pooled):
    row = pooled["limits"]["20"]
    assert shares(row["completeness"]) == (1, 2)
    assert shares(row["purity"]) == (1, 2)
    assert shares(pooled["unmatched"]) == (1, 3)
    assert row["mean_iou"]["value"] == pytest.approx(1, abs=1e-6)
    # in order: true, false, false, true at recall 1 with precision 2/4
    assert row["ap50"]["value"] == pytest.approx((51 * 1 + 50 * 0.5) / 101, abs=1e-6)


def test_a_run_is_scored_as_counted_by_hand(write_run, tmp_path):
    TRUTH.to_csv(tmp_path / "truth.csv", index=False)
    result = evaluate_run(write_run({"a": ("/none/a.fits", *FOUND)}, wcs=False), str(tmp_path / "truth.csv"))
    check(result["catalogue"]["pooled"])
    check(result["catalogue"]["fields"]["a"])
    assert result["confidence"] == 0.25
    assert result["without_truth"] == []


@pytest.mark.parametrize("ending", ["ecsv", "fits", "vot", "parquet"])
def test_a_truth_may_be_a_table_of_any_kind(write_run, tmp_path, ending):
    path = tmp_path / f"truth.{ending}"
    Table.from_pandas(TRUTH).write(path, format={"vot": "votable"}.get(ending))
    result = evaluate_run(write_run({"a": ("/none/a.fits", *FOUND)}, wcs=False), str(path))
    check(result["catalogue"]["pooled"])


def test_the_columns_and_the_radius_of_a_truth_can_be_said_and_are_told(write_run, tmp_path):
    theirs = TRUTH.rename(columns={"x": "col", "y": "row"}).drop(columns="petroRad_r")
    theirs.to_csv(tmp_path / "truth.csv", index=False)
    out = write_run({"a": ("/none/a.fits", *FOUND)}, wcs=False)
    options = {"columns": {"x": "col", "y": "row"}, "radius": f"fixed:{20 / 2.1 * SCALE}"}
    result = evaluate_run(out, str(tmp_path / "truth.csv"), **options)
    check(result["catalogue"]["pooled"])
    assert "truth.csv: pixels: col, row; type: type; radius: fixed, 3.80952 arcsec" in as_text(result)


def test_a_field_that_no_row_of_the_truth_lies_on_has_none(write_run, make_wcs, tmp_path):
    ra, dec = make_wcs(SHAPE, scale=SCALE).pixel_to_world_values(TRUTH["x"], TRUTH["y"])
    here = TRUTH.drop(columns=["x", "y"]).assign(ra=ra, dec=dec)
    here.assign(ra=ra + 90).to_csv(tmp_path / "truth.csv", index=False)
    out = write_run({"a": ("/none/a.fits", *FOUND)})
    with pytest.raises(InputError, match=r"truth\.csv: no field of .*, or no row of it lies on one"):
        evaluate_run(out, str(tmp_path / "truth.csv"))


def test_a_truth_in_sky_positions_is_placed_by_the_wcs_of_the_run(write_run, make_wcs, tmp_path):
    wcs = make_wcs(SHAPE, scale=SCALE)
    # 0.5 px off in x: the catalogue's centre, 0.2 arcsec away
    ra, dec = wcs.pixel_to_world_values(TRUTH["x"] + 0.5, TRUTH["y"])
    TRUTH.drop(columns=["x", "y"]).assign(ra=ra, dec=dec).to_csv(tmp_path / "truth.csv", index=False)
    result = evaluate_run(write_run({"a": ("/none/a.fits", *FOUND)}), str(tmp_path / "truth.csv"))
    assert shares(result["catalogue"]["pooled"]["limits"]["20"]["completeness"]) == (1, 2)
    positions = result["catalogue"]["positions"]
    assert positions["n"] == 1
    assert positions["median_arcsec"] == pytest.approx(0.5 * SCALE, rel=1e-3)


def test_a_truth_beside_the_frames_is_found_by_its_name(write_run, tmp_path):
    (tmp_path / "sky/b").mkdir(parents=True)
    TRUTH.to_csv(tmp_path / "sky/catalogue.csv", index=False)
    TRUTH.to_csv(tmp_path / "sky/b/catalogue.csv", index=False)
    fields = {"a": (tmp_path / "sky/a.fits", *FOUND), "b": (tmp_path / "sky/b", *FOUND), "c": ("/none/c.fits", *FOUND)}
    result = evaluate_run(write_run(fields, wcs=False), "catalogue.csv")
    assert set(result["catalogue"]["fields"]) == {"a", "b"}
    assert result["without_truth"] == ["c"]
    assert shares(result["catalogue"]["pooled"]["limits"]["20"]["completeness"]) == (2, 4)
    assert "without a truth, left out: c" in as_text(result)


def test_a_truth_of_many_fields_is_told_apart_by_its_field_column(write_run, tmp_path):
    both = pd.concat([TRUTH.assign(field="a"), catalogue((250, 100, 3, 18.0)).assign(field="b")])
    both.to_csv(tmp_path / "truth.csv", index=False)
    out = write_run({name: (f"/none/{name}.fits", *FOUND) for name in "ab"}, wcs=False)
    fields = evaluate_run(out, str(tmp_path / "truth.csv"))["catalogue"]["fields"]
    assert shares(fields["a"]["limits"]["20"]["completeness"]) == (1, 2)
    assert shares(fields["b"]["limits"]["20"]["completeness"]) == (1, 1)


def test_pictures_are_scored_by_the_reference_named_for_them(write_run, tmp_path):
    rows = ["x,y,x_min,x_max,y_min,y_max,bright,ignore"]
    rows += [f"{x},{y},{x - 10},{x + 10},{y - 10},{y + 10},{b},{i}" for x, y, b, i in
             ((50, 50, 1, 0), (150, 50, 1, 0), (50, 150, 1, 1))]  # fmt: skip
    (tmp_path / "deep.reference.csv").write_text("\n".join(rows))
    result = evaluate_run(write_run({"deep": (tmp_path / "deep.png", *FOUND)}, wcs=False), "reference.csv")
    pooled = result["pictures"]["pooled"]
    assert shares(pooled["recall"]) == (1, 2)
    assert shares(pooled["purity"]) == (1, 2)
    assert pooled["left_out"] == 1
    assert "catalogue" not in result
    assert "recall of bright rows 0.500" in as_text(result)


def test_what_is_written_is_json_without_nan(write_run, tmp_path):
    TRUTH.to_csv(tmp_path / "truth.csv", index=False)
    out = write_run({"a": ("/none/a.fits", [], [])}, wcs=False)
    evaluate_run(out, str(tmp_path / "truth.csv"))

    def refuse(name):
        raise AssertionError(name)

    told = json.loads((out / "evaluation.json").read_text(), parse_constant=refuse)
    row = told["catalogue"]["pooled"]["limits"]["20"]
    assert row["completeness"]["value"] == 0
    assert row["purity"]["value"] is None
    assert row["ap50"]["value"] == 0


def test_the_text_has_a_row_for_each_limit(write_run, tmp_path):
    TRUTH.to_csv(tmp_path / "truth.csv", index=False)
    text = as_text(evaluate_run(write_run({"a": ("/none/a.fits", *FOUND)}, wcs=False), str(tmp_path / "truth.csv")))
    assert "1 field(s), 2 galaxies, 3 detections at confidence >= 0.25" in text
    for limit in ("19", "20", "20.5", "21", "21.5"):
        assert any(line.split()[:1] == [limit] for line in text.splitlines())
    assert "no object under them: 1 of 3 detections, 0.333" in text


def test_a_folder_that_is_no_run_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="not the folder of a run"):
        evaluate_run(tmp_path, "catalogue.csv")


def test_a_truth_that_no_field_has_is_an_input_error(write_run):
    with pytest.raises(InputError, match=r"nosuch\.csv: no field of .* has such a catalogue"):
        evaluate_run(write_run({"a": ("/none/a.fits", *FOUND)}), "nosuch.csv")


def test_a_truth_without_the_columns_is_an_input_error(write_run, tmp_path):
    (tmp_path / "truth.csv").write_text("name\nM31\n")
    with pytest.raises(InputError, match=r"truth\.csv: no column"):
        evaluate_run(write_run({"a": ("/none/a.fits", *FOUND)}), str(tmp_path / "truth.csv"))


def test_a_run_of_the_command_is_scored_from_the_command_line(run_spots, cli, frame, objects, tmp_path):
    source = frame("a")
    table = catalogue(*((x, y, 3, 18.0) for x, y, _ in objects)).assign(petroRad_r=16 / 2.1 * SCALE)
    table.to_csv(tmp_path / "catalogue.csv", index=False)
    run_spots(source)
    status, out, err = cli("evaluate", "run", tmp_path / "out", "--truth", "catalogue.csv")
    assert (status, err) == (0, "")
    assert "1 field(s), 4 galaxies, 3 detections" in out
    pooled = json.loads((tmp_path / "out/evaluation.json").read_text())["catalogue"]["pooled"]
    assert shares(pooled["limits"]["19"]["completeness"]) == (3, 4)
    assert shares(pooled["limits"]["19"]["purity"]) == (3, 3)
    assert pooled["limits"]["19"]["ap50"]["value"] == pytest.approx(1, abs=1e-6)
    assert f"page: {tmp_path / 'out' / 'evaluation.html'}" in out


def test_the_page_holds_its_plots_and_tells_of_every_field(write_run, tmp_path):
    TRUTH.to_csv(tmp_path / "truth.csv", index=False)
    out = write_run({name: (f"/none/{name}.fits", *FOUND) for name in ("one", "two&more")}, wcs=False)
    evaluate_run(out, str(tmp_path / "truth.csv"))
    page = (out / "evaluation.html").read_text()
    assert page.count('src="data:image/png;base64,') == 3
    assert not re.search(r'src="(?!data:)|href=', page)
    for words in ("one", "two&amp;more", "small", "1024 to 9216", "box over 22 px", "0.500"):
        assert words in page
    for name in ("completeness", "curves", "reliability"):
        assert cv2.imread(str(out / "evaluation" / f"{name}.png")) is not None


def test_confidences_before_the_cards_calibration_are_told_beside_those_given(write_run, tmp_path):
    TRUTH.to_csv(tmp_path / "truth.csv", index=False)
    platt = {"kind": "platt", "a": 2.0, "b": 0.5}
    result = evaluate_run(
        write_run({"a": ("/none/a.fits", *FOUND)}, wcs=False, calibration=platt), f"{tmp_path}/truth.csv"
    )
    told = result["catalogue"]["pooled"]["reliability"]
    assert told["given"]["n"] == told["raw"]["n"] == 4
    assert told["given"]["ece"] != told["raw"]["ece"]
    assert "before the card's calibration" in as_text(result)


def test_fields_of_several_calibrations_have_no_one_curve_before(write_run, tmp_path):
    TRUTH.to_csv(tmp_path / "truth.csv", index=False)
    out = write_run({"a": ("/none/a.fits", *FOUND)}, wcs=False, calibration={"kind": "platt", "a": 2.0, "b": 0.5})
    write_run({"b": ("/none/b.fits", *FOUND)}, wcs=False, calibration={"kind": "platt", "a": 2.0, "b": 0.1})
    told = evaluate_run(out, f"{tmp_path}/truth.csv")["catalogue"]["pooled"]["reliability"]
    assert told["given"]["n"] == 8
    assert "raw" not in told


def test_an_empty_catalogue_beside_a_field_says_that_nothing_is_there(write_run, tmp_path):
    (tmp_path / "sky/bare").mkdir(parents=True)
    TRUTH[:0].to_csv(tmp_path / "sky/bare/catalogue.csv", index=False)
    out = write_run({"bare": (tmp_path / "sky/bare", *FOUND)}, wcs=False)
    pooled = evaluate_run(out, "catalogue.csv")["catalogue"]["pooled"]
    assert shares(pooled["unmatched"]) == (3, 3)
    assert pooled["galaxies"] == 0


# of the galaxies at r 18, 18.5 and 19.5 two are found, one of them with its right class; the star is found too
LABELLED = catalogue((50, 50, 3, 18.0), (250, 100, 3, 18.5), (150, 50, 3, 19.5), (50, 150, 6, 17.0)).assign(
    shape=["spiral", "spiral", "round", ""]
)
CLASSES = {
    "shape_class": ["spiral", "round", "round"],
    "shape_probability": [0.8, 0.5, 0.6],
    "shape_p_spiral": [0.8, 0.4, 0.4],
    "shape_p_round": [0.2, 0.6, 0.6],
    "star_galaxy_class": ["galaxy", "galaxy", "star"],
}


def test_classes_are_scored_on_matched_objects_beside_what_became_of_all(write_run, tmp_path):
    LABELLED.to_csv(tmp_path / "truth.csv", index=False)
    out = write_run({"a": ("/none/a.fits", *FOUND)}, wcs=False, classes=CLASSES)
    result = evaluate_run(out, str(tmp_path / "truth.csv"))
    shape = result["classifiers"]["shape"]
    assert (shape["n"], shape["classes"]) == (2, ["spiral", "round"])
    # the detections in the catalogue are of (50, 50), (50, 150) and (250, 100), in this order
    assert shape["confusion"] == [[1, 1], [0, 0]]
    assert shape["log_loss"]["value"] == pytest.approx(-(np.log(0.8) + np.log(0.4)) / 2)
    chain = shape["chain"]["all"]
    assert {name: shares(entry) for name, entry in chain.items()} == {
        "right": (1, 3),
        "misclassified": (1, 3),
        "unclassified": (0, 3),
        "missed": (1, 3),
    }
    # a task of stars and galaxies is held against the types
    types = result["classifiers"]["star_galaxy"]
    assert types["label_column"] == "the truth's types"
    assert types["confusion"] == [[1, 1], [1, 0]]
    # two detections are on galaxies of the truth, one on its star, and what each is called is told by what is under it
    assert {k: shares(v["galaxy"]) for k, v in result["calls"]["star_galaxy"].items()} == {
        "galaxies": (1, 2),
        "stars": (1, 1),
        "nothing": (0, 0),
    }
    assert "shape: accuracy 0.500" in as_text(result)
    assert "star_galaxy, of 2 detections on galaxies: galaxy 0.500" in as_text(result)
    page = (out / "evaluation.html").read_text()
    assert "Classifier: shape" in page
    assert (out / "evaluation" / "confusion_star_galaxy.png").exists()


def test_the_column_of_the_labels_can_be_said(write_run, tmp_path):
    theirs = LABELLED.rename(columns={"shape": "gz"}).replace({"gz": {"round": "merger"}})
    theirs.to_csv(tmp_path / "truth.csv", index=False)
    out = write_run({"a": ("/none/a.fits", *FOUND)}, wcs=False, classes=CLASSES)
    assert "shape" not in evaluate_run(out, f"{tmp_path}/truth.csv")["classifiers"]
    shape = evaluate_run(out, f"{tmp_path}/truth.csv", labels={"shape": "gz"})["classifiers"]["shape"]
    assert shape["other_labels"] == {"merger": 1}
    assert shape["chain"]["all"]["missed"]["n"] == 2
    with pytest.raises(InputError, match="--labels shape=nosuch: no such column in the truth; it has "):
        evaluate_run(out, f"{tmp_path}/truth.csv", labels={"shape": "nosuch"})
    with pytest.raises(InputError, match="--labels colour=gz: no column colour_class in the run's catalogue"):
        evaluate_run(out, f"{tmp_path}/truth.csv", labels={"colour": "gz"})


def test_classes_in_the_joined_catalogue_alone_are_taken_from_there(write_run, tmp_path):
    LABELLED.to_csv(tmp_path / "truth.csv", index=False)
    out = write_run({"a": ("/none/a.fits", *FOUND)}, wcs=False)
    table = read_parquet(out / "fields/a/catalogue.parquet")
    for column, values in CLASSES.items():
        table[column] = values
    write_parquet(out / "catalogue.parquet", table)
    shape = evaluate_run(out, str(tmp_path / "truth.csv"))["classifiers"]["shape"]
    assert shape["confusion"] == [[1, 1], [0, 0]]


@pytest.mark.parametrize("text", ["shape", "=gz", "shape=", "a=b=c"])
def test_labels_that_make_no_sense_are_a_usage_error(text):
    with pytest.raises(UsageError, match="--labels wants TASK=COLUMN"):
        parse_labels(text)


def test_labels_are_read():
    assert parse_labels("shape=gz, star_galaxy=type") == {"shape": "gz", "star_galaxy": "type"}
    assert parse_labels("") == {}


def test_of_many_classes_those_that_are_said_are_told_the_commonest_first():
    shares = {"round": 1, "cigar": 0, "spiral": 3, "merger": 0}
    row = {name: {"k": k, "n": 4, "value": k / 4, "low": 0.1, "high": 0.9} for name, k in shares.items()}
    text = as_text({"calls": {"kind": {"galaxies": row}}, "without_truth": []})
    assert text == "kind, of 4 detections on galaxies: spiral 0.750 [0.100 0.900], round 0.250 [0.100 0.900]"
