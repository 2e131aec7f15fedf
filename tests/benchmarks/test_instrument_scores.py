"""What the benchmarks across instruments count: turned references stay on their objects, working points are real."""

from pathlib import Path

import numpy as np
import pytest

from detector import Detections
from detector.pictures import Reference, read_reference

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def robustness(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import robustness  # noqa: PLC0415 -- only importable from its own folder

    return robustness


@pytest.fixture
def instruments(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import instruments  # noqa: PLC0415 -- as above

    return instruments


def found_at(xy, confidence):
    xy, n = np.asarray(xy, np.float64).reshape(-1, 2), len(confidence)
    zeros = np.zeros(n, np.int64)
    return Detections(np.hstack([xy - 5, xy + 5]), np.asarray(confidence, np.float64), zeros, zeros)


def reference_of(xy, bright):
    xy = np.asarray(xy, np.float64).reshape(-1, 2)
    bright = np.asarray(bright, np.bool_)
    return Reference(xy, np.full(len(xy), 4.0), bright, np.zeros(len(xy), np.bool_), np.zeros((0, 3)))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
def test_references_turn_and_grow_with_the_picture(robustness, turns, zoom):
    gray = np.zeros((40, 60), np.float32)
    gray[8:12, 20:24] = 200  # centre at x = 21.5, y = 9.5
    shown = np.rot90(robustness.zoomed(gray, zoom), turns)
    y, x = np.nonzero(shown > 100)
    shape = round(40 * zoom), round(60 * zoom)
    reference = robustness.moved(reference_of([[21.5, 9.5]], [True]), shape, zoom, turns)
    assert reference.xy[0] == pytest.approx([x.mean(), y.mean()], abs=0.3)


def test_stretches_keep_their_ends_and_their_order(robustness):
    x = np.linspace(0, 1, 50)
    for stretch in robustness.STRETCHES.values():
        y = stretch(x)
        assert y[[0, -1]] == pytest.approx([0, 1])
        assert (np.diff(y) > 0).all()


def test_the_field_of_the_robustness_figures_has_its_references(robustness, data):
    image, reference = robustness.f160w(data / "hst_jwst" / "hst_xdf_west.png")
    assert image.shape == (900, 1240)
    assert int((reference.bright & ~reference.ignore).sum()) == 195


def test_a_working_point_is_the_greatest_recall_pure_enough(instruments):
    reference = reference_of([[10, 10], [50, 50], [90, 90]], [True, True, True])
    found = found_at([[10, 10], [50, 50], [70, 10], [90, 90]], [0.9, 0.8, 0.7, 0.6])
    assert instruments.working_point(found, reference, purity=0.9)["recall"] == pytest.approx(0.667)
    assert instruments.working_point(found, reference, purity=0.75)["recall"] == 1
    assert instruments.working_point(found, reference, purity=0.75)["threshold"] == 0.6
    assert instruments.at_threshold(found, reference, 0.65) == [pytest.approx(0.667), pytest.approx(0.667)]


def test_nothing_found_has_no_working_point(instruments):
    reference = reference_of([[10, 10]], [True])
    assert instruments.working_point(found_at([], []), reference)["recall"] == 0
    assert instruments.at_threshold(found_at([], []), reference, 0.1) == [0, 0]


def test_faint_references_are_true_but_not_wanted(instruments, data):
    reference = read_reference(data / "hst_jwst" / "jwst_ceers.reference.csv")
    wanted = reference.bright & ~reference.ignore
    everything = found_at(reference.xy, np.full(len(reference.xy), 0.5))
    row = instruments.working_point(everything, reference)
    assert (row["recall"], row["n"]) == (1, int(wanted.sum()))


def test_detections_are_kept_when_another_run_has_them_nearby(instruments):
    one, other = found_at([[10, 10], [50, 50]], [0.5, 0.5]), found_at([[12, 10]], [0.5])
    assert instruments.share_found(one, other) == 0.5
    assert instruments.share_found(one, found_at([], [])) == 0
    assert instruments.share_found(found_at([], []), one) == 1
