"""What ships of classifiers: it loads, is small, and both runtimes say the same of real stamps."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from classifiers.cards import Card
from classifiers.classify import Classifier
from classifiers.metrics import auc
from classifiers.stampsets import read_stamps
from classifiers.tasks import Task
from fieldprep import Field, resources
from fieldprep.catalogues import read_catalogue, sources_on_field
from fieldprep.census import census
from fieldprep.portraits import portraits_about
from fieldprep.stamps import stamps_about

NAMES = ("morphology", "real_bogus", "real_bogus_difference", "star_galaxy")
CLASSES = {
    "morphology": (
        *("smooth_round", "smooth_inbetween", "smooth_cigar", "edge_on", "spiral"),
        *("merger", "not_a_galaxy"),
    ),
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
        card = Card.beside(resources.weights_path(name))
        boxes = np.concatenate([centres - 10, centres + 10], axis=1)
        if card.framing is not None:
            return portraits_about(sdss_field, centres, boxes, card.framing, card.preparation.size)
        cut = card.cut
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
def test_in_bfloat16_stamps_are_told_the_same_and_share_no_score_for_want_of_digits(name, stamps_of):
    stamps = stamps_of(name)
    exact = Classifier.load(name).predict(stamps)
    rough = Classifier.load(name, runtime="openvino", precision="bf16")
    found = rough.predict(stamps)
    assert np.abs(found - exact).max() < 0.05
    assert np.abs(found - exact).mean() < 0.005
    clear = np.ptp(np.sort(exact, axis=1)[:, -2:], axis=1) > 0.1
    assert (found.argmax(axis=1) == exact.argmax(axis=1))[clear].all()
    scores = rough.logits(stamps)[:, 0, 0]
    assert len(np.unique(scores)) > 0.95 * len(np.unique(stamps.reshape(len(stamps), -1), axis=0))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_card_has_what_it_answers_and_how_it_scored(name):
    card = Card.beside(resources.weights_path(name))
    assert (card.name, card.task, card.classes) == (name, name, CLASSES[name])
    assert card.scores
    assert card.limits
    task = Task.read(name)
    assert card.preparation == task.stamps
    assert (card.sides, card.stars, card.portrait, card.unsure) == (task.sides, task.stars, task.portrait, task.unsure)


@pytest.mark.parametrize("name", ["real_bogus", "star_galaxy"])
def test_one_band_is_as_good_as_the_same_in_three(name, stamps_of):
    classifier = Classifier.load(name)
    gray = stamps_of(name)[..., 1:2]
    np.testing.assert_allclose(classifier.predict(gray), classifier.predict(np.repeat(gray, 3, axis=3)), atol=1e-6)


def test_what_ships_is_small():
    sizes = [resources.find("weights", name).stat().st_size for name in resources.names("weights", ".onnx")]
    assert max(sizes) < LARGEST
    assert sum(sizes) < LARGEST_TOGETHER


def test_stars_galaxies_and_artefacts_of_the_embedded_field_are_told_apart():
    """Its truth is exact, and none of it was trained on."""
    folder = resources.find("datasets", "sample")
    field = Field.read(folder)
    catalogue = read_catalogue(folder / "catalogue.csv")
    truth = sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)
    truth = truth.select(~truth.ignore & (truth.magnitude < 20.5))
    centres = np.stack([truth.x, truth.y], axis=1)

    def ask(name, at, boxes):
        classifier = Classifier.load(name)
        cut = classifier.card.cut
        return classifier.predict(stamps_about(field, at, boxes, cut, zoom=cut.zoom(field)))[:, 0]

    assert auc(truth.galaxy, ask("star_galaxy", centres, truth.xyxy)) > 0.97
    real = ask("real_bogus", centres, truth.xyxy)
    told = pd.read_csv(folder / "artefacts.csv")
    spikes = told[(told["kind"] == "spike") & (told["length"] > 60)]
    along = np.radians(spikes["angle"].to_numpy(float))
    arm = 0.25 * spikes["length"].to_numpy(float)[:, None] * np.stack([np.cos(along), np.sin(along)], axis=1)
    places = np.concatenate([spikes[["x", "y"]].to_numpy(float) + sign * arm for sign in (1, -1)])
    ny, nx = field.shape
    alone = (cKDTree(centres).query(places)[0] > 10) & ((places > 5) & (places < (nx - 5, ny - 5))).all(axis=1)
    places = places[alone]
    bogus = ask("real_bogus", places, np.concatenate([places - 5, places + 5], axis=1))
    assert len(bogus) > 5
    assert auc(np.arange(len(real) + len(bogus)) < len(real), np.concatenate([real, bogus])) > 0.97
