import numpy as np
import pytest

from fieldprep.reliability import reliability


def test_the_error_of_confidences_counted_by_hand():
    # bin 0.2 to 0.4: mean 0.3, half of them true; bin 0.8 to 1: mean 0.9, all true
    found = reliability([0.25, 0.35, 0.9], [0, 1, 1], bins=5)
    assert found["ece"] == pytest.approx((2 * 0.2 + 1 * 0.1) / 3)
    assert found["brier"] == pytest.approx((0.25**2 + 0.65**2 + 0.1**2) / 3)
    assert [(row["n"], row["true"]) for row in found["bins"]] == [(2, 1), (1, 1)]


def test_a_confidence_of_1_is_in_the_last_bin_and_nothing_has_no_error():
    assert reliability([1.0], [1])["bins"][0]["high"] == 1
    assert np.isnan(reliability([], [])["ece"])
