"""What ships of classifiers: it loads, is small, and both runtimes say the same of real stamps."""

import numpy as np
import pytest

from classifiers.cards import Card
from classifiers.classify import Classifier
from classifiers.stampsets import read_stamps
from classifiers.tasks import Task
from fieldprep import resources
from fieldprep.census import census
from fieldprep.stamps import stamps_about

NAMES = ("real_bogus", "real_bogus_difference", "star_galaxy")
CLASSES = {
    "real_bogus": ("real", "bogus"),
    "real_bogus_difference": ("real", "bogus"),
    "star_galaxy": ("galaxy", "star"),
}
LARGEST, LARGEST_TOGETHER = 25e6, 60e6  # bytes


@pytest.fixture(scope="module")
def stamps_of(sdss_field, data):
    """Factory of real stamps for a shipped classifier: of a field's objects, or ZTF's triplets with their gaps."""

    def make(name):
        if name == "real_bogus_difference":
            return read_stamps(data / "ztf").stamps[:96]
        seen = census(sdss_field.bands["r"])
        brightest = np.argsort(-seen.flux)[:96]
        centres = np.stack([seen.x, seen.y], axis=1)[brightest]
        cut = Card.beside(resources.weights_path(name)).cut
        boxes = np.concatenate([centres - 10, centres + 10], axis=1)
        return stamps_about(sdss_field, centres, boxes, cut, zoom=cut.zoom(sdss_field))

    return make


@pytest.mark.parametrize("name", NAMES)
def test_both_runtimes_say_the_same_of_real_stamps(name, stamps_of):
    pytest.importorskip("onnxruntime")
    stamps = stamps_of(name)
    found = [Classifier.load(name, runtime=runtime).predict(stamps) for runtime in ("openvino", "onnxruntime")]
    np.testing.assert_allclose(*found, atol=1e-4)
    np.testing.assert_allclose(found[0].sum(axis=1), 1)
    assert np.ptp(found[0][:, 0]) > 0.01  # it says something of each


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_card_has_what_it_answers_and_how_it_scored(name):
    card = Card.beside(resources.weights_path(name))
    assert (card.name, card.task, card.classes) == (name, name, CLASSES[name])
    assert card.scores
    assert card.limits
    task = Task.read(name)
    assert card.preparation == task.stamps
    assert (card.sides, card.stars) == (task.sides, task.stars)


@pytest.mark.parametrize("name", ["real_bogus", "star_galaxy"])
def test_one_band_is_as_good_as_the_same_in_three(name, stamps_of):
    classifier = Classifier.load(name)
    gray = stamps_of(name)[..., 1:2]
    np.testing.assert_allclose(classifier.predict(gray), classifier.predict(np.repeat(gray, 3, axis=3)), atol=1e-6)


def test_what_ships_is_small():
    sizes = [resources.find("weights", name).stat().st_size for name in resources.names("weights", ".onnx")]
    assert max(sizes) < LARGEST
    assert sum(sizes) < LARGEST_TOGETHER
