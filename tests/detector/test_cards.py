import json

import pytest

from detector import Detector
from detector.cards import Card
from fieldprep.cards import sha256
from fieldprep.errors import InputError
from fieldprep.resources import weights_path


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "own.onnx"
    path.write_bytes(b"weights")
    Card("own", "detect", "yolo11n", ("galaxy",), "N", 32, 0.25, sha256(path), limits=["none known"]).write(
        path.with_suffix(".json")
    )
    return path


def test_sha256_is_that_of_the_standard(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_card_written_is_the_card_read(weights):
    card = Card.beside(weights)
    card.write(weights.with_suffix(".json"))
    assert Card.beside(weights) == card
    assert card.classes == ("galaxy",)
    assert card.limits == ["none known"]


def test_weights_that_are_not_the_cards_are_refused(weights):
    weights.write_bytes(b"other weights")
    with pytest.raises(InputError, match=r"own\.onnx: sha256 \w{12}\.\.\. is not the card's"):
        Card.beside(weights)


def test_weights_without_a_card_are_refused(weights):
    weights.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"own\.json: no such file"):
        Card.beside(weights)


def test_a_card_without_weights_is_refused(weights):
    weights.unlink()
    with pytest.raises(InputError, match=r"own\.onnx: no such file"):
        Card.beside(weights)


@pytest.mark.parametrize(
    "change",
    [
        "not json",
        "[]",
        "{}",
        {"classes": 1},
        {"unknown": 1},
        {"sha256": 5},
        {"stride": 0},
        {"stride": "32"},
        {"confidence": "high"},
        {"classes": []},
        {"calibration": {"kind": "platt"}},
        {"display_calibration": {"kind": "unheard of"}},
    ],
)
def test_a_malformed_card_is_refused_in_one_line(weights, change):
    path = weights.with_suffix(".json")
    text = change if isinstance(change, str) else json.dumps({**json.loads(path.read_text()), **change})
    path.write_text(text)
    with pytest.raises(
        InputError, match=r"own\.json: not the card of a network of this kind|not a network.s card"
    ) as error:
        Card.beside(weights)
    assert "\n" not in str(error.value)


def test_the_shipped_detector_has_a_card_of_its_own():
    card = Card.beside(weights_path("galaxy"))
    assert (card.name, card.task, card.classes) == ("galaxy", "detect", ("galaxy",))
    assert card.licence == "AGPL-3.0-or-later"
    assert 0.01 < card.confidence < 1


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(InputError, match=r"nosuch\.onnx: not in weights \(there is .*galaxy\.onnx"):
        Detector.load("nosuch")


def test_a_path_names_weights_anywhere(weights):
    assert weights_path(weights) == weights
    with pytest.raises(InputError, match="not a network"):  # the path is followed, and what is there is looked at
        Detector.load(weights)
