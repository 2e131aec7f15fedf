import numpy as np
import pytest

from detector.calibration import Calibration
from detector.pictures import PictureScene, Reference, read_reference, score_pictures, score_pictures_in_full
from fieldprep.errors import InputError

HEADER = "x,y,x_min,x_max,y_min,y_max,bright,ignore\n"


def square(x, y, side=6):
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def reference(*rows, circles=()):
    """Rows (x, y, side, bright, ignore)."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Reference(
        table[:, :2],
        np.maximum(4, table[:, 2] / 2),
        table[:, 3] != 0,
        table[:, 4] != 0,
        np.array(circles, np.float64).reshape(-1, 3),
    )


def counts(scores):
    recall, purity = scores["recall"], scores["purity"]
    return (recall["k"], recall["n"]), (purity["k"], purity["n"]), scores["left_out"]


@pytest.fixture
def counted(detections):
    def count(known, *boxes, confidence=0.25):
        return counts(score_pictures([PictureScene(detections(boxes), known)], confidence))

    return count


def test_a_scene_counted_by_hand(counted):
    known = reference((50, 50, 20, 1, 0), (150, 50, 20, 1, 0), (250, 50, 20, 0, 0), (350, 50, 20, 1, 1))
    found = [square(50, 50), square(250, 50), square(350, 50), square(400, 300)]
    # one of two bright rows; the bright and the faint one are true, the ignored one left out, the last false
    assert counted(known, *found) == ((1, 2), (2, 3), 1)


def test_the_reach_is_half_the_shorter_side_and_at_least_four_pixels(counted):
    known = reference((50, 50, 4, 1, 0), (150, 50, 20, 1, 0))
    assert counted(known, square(54, 50), square(160, 50)) == ((2, 2), (2, 2), 0)
    assert counted(known, square(54.1, 50), square(160.1, 50)) == ((0, 2), (0, 2), 0)


def test_detections_in_a_circle_are_left_out_also_on_a_row(counted):
    known = reference((50, 50, 20, 1, 0), circles=[(60, 50, 15), (200, 200, 5)])
    assert counted(known, square(50, 50), square(70, 50), square(200, 206)) == ((1, 1), (0, 1), 2)


def test_an_ignored_row_leaves_out_only_what_is_nearest_to_it(counted):
    known = reference((50, 50, 20, 1, 0), (58, 50, 20, 1, 1))
    assert counted(known, square(51, 50)) == ((1, 1), (1, 1), 0)
    assert counted(known, square(57, 50)) == ((1, 1), (0, 0), 1)


def test_detections_under_the_threshold_do_not_count(detections):
    scene = PictureScene(detections([square(50, 50), square(50, 52)], [0.2, 0.1]), reference((50, 50, 20, 1, 0)))
    assert counts(score_pictures([scene], 0.25)) == ((0, 1), (0, 0), 0)
    assert counts(score_pictures([scene], 0.2)) == ((1, 1), (1, 1), 0)


def test_pictures_are_pooled(detections):
    scene = PictureScene(detections([square(50, 50)]), reference((50, 50, 20, 1, 0), (90, 90, 20, 1, 0)))
    scores = score_pictures([scene, scene], 0.25)
    assert counts(scores) == ((2, 4), (2, 2), 0)
    assert scores["fields"] == 2


def test_no_detection_and_no_row_are_scored_too(counted):
    assert counted(reference((50, 50, 20, 1, 0))) == ((0, 1), (0, 0), 0)
    assert counted(reference(), square(50, 50)) == ((0, 0), (0, 1), 0)
    assert counted(reference(circles=[(50, 50, 5)]), square(50, 50)) == ((0, 0), (0, 0), 1)


def test_a_reference_is_read_with_the_circles_beside_it(tmp_path):
    path = tmp_path / "deep.reference.csv"
    path.write_text(HEADER + "10,20,0,20,15,25,1,0\n30,40,28,32,38,42,0,1\n")
    (tmp_path / "deep.ignore.csv").write_text("x,y,radius\n5,6,7\n")
    known = read_reference(path)
    assert known.xy.tolist() == [[10, 20], [30, 40]]
    assert known.reach.tolist() == [5, 4]  # half the shorter side; four pixels at least
    assert known.bright.tolist() == [True, False]
    assert known.ignore.tolist() == [False, True]
    assert known.circles.tolist() == [[5, 6, 7]]


def test_a_reference_without_circles_has_none(tmp_path):
    path = tmp_path / "deep.reference.csv"
    path.write_text(HEADER + "10,20,0,20,15,25,1,0\n")
    assert read_reference(path).circles.shape == (0, 3)


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "deep.reference.csv"
    path.write_text("x,y,bright\n1,2,1\n")
    with pytest.raises(InputError, match=r"deep\.reference\.csv: no column x_min, x_max, y_min, y_max, ignore"):
        read_reference(path)


def test_circles_without_a_radius_are_an_input_error(tmp_path):
    path = tmp_path / "deep.reference.csv"
    path.write_text(HEADER + "10,20,0,20,15,25,1,0\n")
    (tmp_path / "deep.ignore.csv").write_text("x,y\n5,6\n")
    with pytest.raises(InputError, match=r"deep\.ignore\.csv: no column radius"):
        read_reference(path)


def test_the_real_references_can_be_read(data):
    paths = sorted((data / "hst_jwst").glob("*.reference.csv"))
    assert paths
    for path in paths:
        known = read_reference(path)
        assert (known.bright & ~known.ignore).any()
        assert (known.reach >= 4).all()


def test_the_overlap_is_that_of_the_nearest_detection_with_the_rows_box(detections, tmp_path):
    path = tmp_path / "deep.reference.csv"
    path.write_text(HEADER + "50,50,40,60,40,60,1,0\n150,50,140,160,40,60,1,0\n250,50,240,260,40,60,0,0\n")
    boxes = [square(50, 50, 20), square(53, 50, 6), square(150, 50, 10), square(250, 50, 20)]
    scores = score_pictures([PictureScene(detections(boxes), read_reference(path))], 0.25)
    # the third row is not bright
    assert scores["mean_iou"]["value"] == pytest.approx((1 + 0.25) / 2)
    assert scores["mean_iou"]["n"] == 2


def test_pictures_in_full_tell_of_every_threshold_and_of_the_confidences(detections):
    known = reference((50, 50, 20, 1, 0), (350, 50, 20, 1, 1))
    scene = PictureScene(detections([square(50, 50), square(90, 90), square(350, 50)], [0.9, 0.3, 0.8]), known)
    told = score_pictures_in_full([scene], 0.25, calibration=Calibration("platt", a=2.0, b=0.0))
    assert counts(told) == ((1, 1), (1, 2), 1)
    assert told["false_per_field"] == 1
    for row in told["thresholds"]:
        assert counts(row) == counts(score_pictures([scene], row["confidence"]))
    assert told["reliability"]["given"]["brier"] == pytest.approx((0.1**2 + 0.3**2) / 2)
    assert told["reliability"]["raw"]["n"] == 2


def test_a_picture_without_a_detection_is_told_in_full(detections):
    told = score_pictures_in_full([PictureScene(detections([]), reference((50, 50, 20, 1, 0)))], 0.25)
    assert counts(told) == ((0, 1), (0, 0), 0)
    assert told["reliability"]["given"]["n"] == 0
