from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.calibration import Calibration, fit_calibration
from detector.cards import Card
from fieldprep import Field
from fieldprep.errors import InputError
from fieldprep.reliability import reliability

PLATT = Calibration("platt", a=1.7, b=-0.4)
ISOTONIC = Calibration("isotonic", raw=(0.0, 0.3, 0.5, 1.0), probability=(0.0, 0.1, 0.8, 1.0))


def overconfident(n=3000, seed=0):
    """Raw confidences whose logit is twice that of the probability."""
    random = np.random.default_rng(seed)
    logit = random.normal(0, 2, n)
    return 1 / (1 + np.exp(-logit)), random.random(n) < 1 / (1 + np.exp(-(logit / 2 - 0.5)))


def test_platt_finds_the_slope_and_offset_that_are_there():
    found = fit_calibration(*overconfident(100_000))
    assert found.a == pytest.approx(0.5, abs=0.02)
    assert found.b == pytest.approx(-0.5, abs=0.02)


@pytest.mark.parametrize("n", [10, 300, 3000])
def test_platt_is_scikit_learns_logistic_regression_on_platts_targets(n):
    linear_model = pytest.importorskip("sklearn.linear_model")
    raw, true = overconfident(n)
    found = fit_calibration(raw, true)
    # a target t is t of a true one and 1 - t of a false one
    target = np.where(true, (true.sum() + 1) / (true.sum() + 2), 1 / ((~true).sum() + 2))
    logit = np.log(raw / (1 - raw))[:, None]
    reference = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.concatenate([logit, logit]), np.repeat([1, 0], n), sample_weight=np.concatenate([target, 1 - target])
    )
    assert found.a == pytest.approx(reference.coef_[0, 0], abs=1e-4)
    assert found.b == pytest.approx(reference.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("decimals", [1, 12])
def test_isotonic_is_scikit_learns_at_the_middle_of_each_step(decimals):
    isotonic = pytest.importorskip("sklearn.isotonic")
    raw, true = overconfident()
    raw = raw.round(decimals).clip(0.01, 0.99)
    found = fit_calibration(raw, true, "isotonic")
    reference = isotonic.IsotonicRegression(out_of_bounds="clip").fit(raw, true)
    inner = np.array(found.raw[1:-1])
    # ours rises a thousandth of the way, so that no two confidences become one
    assert np.abs(found.apply(inner) - reference.predict(inner)).max() < 1.1e-3
    assert len(np.unique(reference.predict(raw))) == len(inner)


def test_separable_and_tiny_sets_give_finite_calibrations():
    raw, true = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    for kind in ("platt", "isotonic"):
        p = fit_calibration(raw, true, kind).apply(raw)
        assert (np.diff(p) > 0).all()
        assert p[1] < 0.5 < p[2]


@pytest.mark.parametrize("true", [[0, 0, 0], [1, 1, 1]])
def test_only_true_or_only_false_detections_are_refused(true):
    with pytest.raises(ValueError, match="needs true and false detections"):
        fit_calibration([0.1, 0.5, 0.9], true)


def test_nothing_to_fit_on_is_refused():
    with pytest.raises(ValueError, match="needs true and false detections, got 0 true of 0"):
        fit_calibration([], [])


def test_confidences_that_fall_with_the_truth_are_refused():
    with pytest.raises(ValueError, match="no higher confidences"):
        fit_calibration([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["platt", "isotonic"]))
def test_ranks_stay_as_they_are_and_the_inverse_is_the_raw_confidence(seed, kind):
    raw, true = overconfident(200, seed)
    found = fit_calibration(raw, true, kind)
    values = np.unique(np.random.default_rng(seed).uniform(1e-6, 1 - 1e-6, 300))
    assert (np.diff(found.apply(values)) > 0).all()
    assert found.invert(found.apply(values)) == pytest.approx(values, abs=1e-9)
    assert (found.apply([0, 1]) >= 0).all()
    assert (found.apply([0, 1]) <= 1).all()


@pytest.mark.parametrize("calibration", [PLATT, ISOTONIC], ids=lambda c: c.kind)
def test_a_card_keeps_a_calibration(calibration, tmp_path):
    weights = tmp_path / "own.onnx"
    weights.write_bytes(b"weights")
    sha256 = "9f4dd9b4d8ea6f97a3ba7f9ff6d0a5f5d5b0d07bd9ccf8fb1cd2ac7a4f1a4d3e"
    Card("own", "detect", "x", ("galaxy",), "N", 32, 0.25, sha256, calibration=calibration.as_card()).write(
        tmp_path / "own.json"
    )
    with pytest.raises(InputError, match="sha256"):  # all but the checksum was read
        Card.beside(weights)
    assert Calibration.from_card(calibration.as_card()) == calibration
    assert Calibration.from_card(None) is None


@pytest.mark.parametrize(
    "content",
    [
        {},
        "platt",
        {"kind": "spline"},
        {"kind": "platt", "a": 1.0},
        {"kind": "platt", "a": -1.0, "b": 0.0},
        {"kind": "platt", "a": float("nan"), "b": 0.0},
        {"kind": "platt", "a": None, "b": 0.0},
        {"kind": "isotonic", "raw": [0, 0.5, 1], "probability": [0, 1]},
        {"kind": "isotonic", "raw": [0, 0.5, 0.5, 1], "probability": [0, 0.2, 0.4, 1]},
        {"kind": "isotonic", "raw": [0, 1], "probability": [0.2, 1]},
        {"kind": "isotonic", "raw": [], "probability": []},
    ],
)
def test_a_calibration_that_is_none_is_refused_by_the_card(content):
    with pytest.raises(ValueError, match="a calibration"):
        Card("own", "detect", "x", ("galaxy",), "N", 32, 0.25, "0" * 64, calibration=content)


def test_calibrated_confidences_have_a_smaller_error_on_others():
    raw, true = overconfident(2000, seed=1)
    for kind in ("platt", "isotonic"):
        calibration = fit_calibration(*overconfident(2000, seed=2), kind)
        assert reliability(calibration.apply(raw), true)["ece"] < 0.4 * reliability(raw, true)["ece"]


def head(*rows):
    return np.array(rows, np.float32).T[None]


@pytest.mark.parametrize("calibration", [PLATT, ISOTONIC], ids=lambda c: c.kind)
def test_a_detector_gives_calibrated_confidences_in_the_same_order(calibration, as_detector):
    output = head(*((20 + 40 * i, 30, 8, 8, score) for i, score in enumerate((0.9, 0.3, 0.6, 0.1))))
    plain = as_detector(lambda _: output)
    detector = type(plain)(plain.network, replace(plain.card, calibration=calibration.as_card()))
    picture = np.zeros((64, 192, 3), np.uint8), np.zeros((64, 192), np.bool_)
    raw, found = plain.detect_picture(*picture), detector.detect_picture(*picture)
    assert np.array_equal(found.xyxy, raw.xyxy)
    assert found.confidence == pytest.approx(calibration.apply(raw.confidence), abs=1e-7)


def test_the_least_confidence_asked_for_is_a_calibrated_one(as_detector):
    shy = Calibration("platt", a=1.0, b=3.0)  # 0.001 is 0.0197
    output = head((20, 30, 8, 8, 0.001), (60, 30, 8, 8, 0.0004))
    plain = as_detector(lambda _: output)
    detector = type(plain)(plain.network, replace(plain.card, calibration=shy.as_card()))
    picture = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.bool_)
    assert len(plain.detect_picture(*picture)) == 0
    assert len(detector.detect_picture(*picture)) == 1
    assert len(detector.detect_picture(*picture, confidence=0.5)) == 0


@pytest.mark.parametrize("calibration", [PLATT, ISOTONIC], ids=lambda c: c.kind)
@pytest.mark.parametrize("odds", [0.25, 1.0, 3.0])
def test_odds_are_multiplied_and_order_kept(calibration, odds):
    raw = np.asarray(calibration.raw) if calibration.kind == "isotonic" else np.linspace(0.01, 0.99, 9)
    before, after = calibration.apply(raw)[1:-1], calibration.at_odds(odds).apply(raw)[1:-1]
    assert after / (1 - after) == pytest.approx(odds * before / (1 - before))
    assert calibration.at_odds(odds).invert(after) == pytest.approx(raw[1:-1])


def test_a_display_picture_has_its_own_calibration(as_detector):
    output = head((20, 30, 8, 8, 0.5), (60, 30, 8, 8, 0.2))
    plain = as_detector(lambda _: output)
    flux = np.random.default_rng(1).normal(60, 8, (64, 96)).round().astype(np.float32)
    shown = Field("shown", {"gray": flux}, np.zeros(flux.shape, np.bool_))
    measured = replace(shown, bands={"r": flux})
    card = replace(plain.card, calibration=PLATT.as_card(), display_calibration=PLATT.at_odds(0.5).as_card())
    detector = type(plain)(plain.network, card)
    odds = [(c / (1 - c)) for c in (detector.detect(field).confidence for field in (shown, measured))]
    assert odds[0] == pytest.approx(odds[1] / 2)
    alike = type(plain)(plain.network, replace(card, display_calibration=None))
    assert alike.detect(shown).confidence == pytest.approx(detector.detect(measured).confidence)
