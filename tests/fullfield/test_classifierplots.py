"""The receiver's curve of a classifier's page."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from classifiers.curves import curves
from fullfield.classifierplots import _curves


@pytest.fixture
def drawn():
    """The axis of the receiver's curve of 1000 stamps."""
    random = np.random.default_rng(0)
    own = np.arange(1000) % 2 == 0
    told = curves(own, np.clip(0.3 * own + random.uniform(0, 0.7, 1000), 0, 1))
    figure = Figure(figsize=(12, 5), layout="constrained")
    _curves({"classes": ["wide", "narrow"], "curves": {"wide": told}})(figure)
    figure.draw_without_rendering()
    return figure.axes[0]


def line(axis, label):
    """The one line of this label."""
    (found,) = (one for one in axis.lines if one.get_label() == label)
    return found


def test_chance_is_as_many_of_the_class_as_of_the_others_all_along_the_axis(drawn):
    chance = line(drawn, "chance")
    assert "chance" in [text.get_text() for text in drawn.get_legend().get_texts()]
    x, y = chance.get_data()
    np.testing.assert_array_equal(x, y)
    assert (x[0], x[-1]) == (0, 1)
    shares = np.linspace(0, 1, 5001)
    on_axis = drawn.transData.transform(np.stack([shares, shares], axis=1))
    corners = chance.get_transform().transform(np.stack([x, y], axis=1))
    # what is drawn between its corners is straight
    strays = np.interp(on_axis[:, 0], corners[:, 0], corners[:, 1]) - on_axis[:, 1]
    assert np.abs(strays).max() < 0.1  # pixels


def test_the_axis_has_no_kink(drawn):
    shares = np.linspace(0, 1, 2001)
    across = drawn.transData.transform(np.stack([shares, shares], axis=1))[:, 0]
    steps = np.diff(across)
    assert (steps > 0).all()
    assert (np.diff(steps) < 0).all()  # ever less
    assert (steps[1:] / steps[:-1]).min() > 0.9
