"""Galaxy Zoo's votes by the command line: trained, scored, predicted, asked of a field."""

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("lightning")

from classifiers.classify import Classifier
from classifiers.galaxy_zoo_tree import ANSWERS, TREE, places, totals
from classifiers.votes import fractions_of, write_predictions
from fullfield import chain
from fullfield.catalogue import read_parquet
from fullfield.votegallery import HEAD_PX, MARGIN_PX, PANEL_PX, TOP_PX, answer_sheet

pytestmark = pytest.mark.train

TASK = f"""
name = "gz2"
classes = {list(ANSWERS)}
centre = 0.5
tree = true
[portrait]
sides = 2.14
least = 8.0
[stamps]
size = 16
channels = 3
scaling = ["unit"]
[recipe]
rate = 0.01
schedule = "plateau"
frozen_epochs = 2
epochs = 8
patience = 8
batch = 8
loss = "votes"
balance = false
augment = ["rotations", "flips"]
zoom = 0.1
"""


@pytest.fixture
def challenge(tmp_path):
    """Folder as the challenge unpacks, of wide blobs that are called smooth and of bars seen edge-on, and a task."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48] - 23.5
    folder = tmp_path / "challenge"
    for part in ("images_training_rev1", "images_test_rev1"):
        (folder / part).mkdir(parents=True)
    votes, names = [], []
    for i in range(60):
        smooth = i % 2 == 0
        light = np.exp(-(x**2 / 30 + y**2 / (30 if smooth else 2)) / 2)
        picture = np.clip(20 + 180 * light[..., None] + random.normal(0, 5, (48, 48, 3)), 0, 255).astype(np.uint8)
        part = "images_training_rev1" if i < 48 else "images_test_rev1"
        cv2.imwrite(str(folder / part / f"{100000 + i}.jpg"), picture)
        if i < 48:
            given = {"Class6.2", *(("Class1.1", "Class7.1") if smooth else ("Class1.2", "Class2.1", "Class9.1"))}
            votes.append([float(answer in given) for answer in ANSWERS])
            names.append(str(100000 + i))
    write_predictions(folder / "training_solutions_rev1.csv", names, np.array(votes))
    (tmp_path / "gz2.toml").write_text(TASK)
    return folder


def test_votes_are_trained_scored_and_predicted_in_kaggles_layout(cli, challenge, tmp_path, frame, spots):
    trained = tmp_path / "trained"
    status, out_text, err = cli("train", tmp_path / "gz2.toml", challenge, "--out", trained)
    assert status == 0, err
    assert f"trained: {trained / 'gz2.onnx'}" in out_text
    for part in ("frozen", "."):
        assert (trained / part / "best.ckpt").is_file()
    scored = tmp_path / "scored"
    arguments = ("--classifier", trained / "gz2.onnx", "--out")
    status, out_text, err = cli("evaluate", tmp_path / "gz2.toml", challenge, *arguments, scored)
    assert status == 0, err
    assert "none of them seen in training" in out_text
    assert "rmse 0." in out_text
    assert "7. how round?" in out_text
    assert {path.name for path in scored.iterdir()} >= {"predictions.csv", "evaluation.html", "evaluation.json"}
    assert (scored / "evaluation" / "gallery.png").is_file()

    status, out_text, err = cli(
        "evaluate", tmp_path / "gz2.toml", challenge / "images_test_rev1", *arguments, tmp_path / "predicted"
    )
    assert status == 0, err
    assert "12 galaxies whose votes are not known: nothing is scored" in out_text
    table = pd.read_csv(tmp_path / "predicted" / "predictions.csv")
    assert table.columns.tolist() == ["GalaxyID", *ANSWERS]
    assert table["GalaxyID"].tolist() == list(range(100048, 100060))
    told = fractions_of(table)
    assert (told[::2, 0] > told[1::2, 0]).mean() > 0.8

    status, _, err = cli("evaluate", tmp_path / "gz2.toml", challenge, *arguments, scored, "--map", "S=smooth")
    assert status == 2, err
    assert "gz2 is of votes: leave --map, --magnitude and --against out" in err
    status, _, err = cli("evaluate", tmp_path / "gz2.toml", challenge, "--classifier", "star_galaxy")
    assert status == 1, err
    assert "says galaxy, star, where gz2 is of Galaxy Zoo's votes" in err

    run = ("run", frame("a"), "--out", tmp_path / "run", "--detector", spots, "--classifiers", trained / "gz2.onnx")
    status, _, err = cli(*run)
    assert status == 0, err
    table = read_parquet(tmp_path / "run/fields/a/all_detections.parquet")
    names = [name for name in table.colnames if name.startswith("gz2_")]
    assert names == ["gz2_class", "gz2_probability", *(f"gz2_p_{answer}" for answer in ANSWERS)]
    found = np.stack([np.asarray(table[f"gz2_p_{answer}"]) for answer in ANSWERS], axis=1)
    asked = np.isfinite(found).all(axis=1)
    assert asked.any()
    sums = np.stack([found[:, places(question)].sum(axis=1) for question in TREE], axis=1)
    np.testing.assert_allclose(sums[asked], totals(found)[asked], atol=1e-5)
    leading = np.array(["smooth", "featured", "artifact"])[found[asked][:, :3].argmax(axis=1)]
    assert np.asarray(table["gz2_class"])[asked].tolist() == leading.tolist()
    np.testing.assert_allclose(np.asarray(table["gz2_probability"])[asked], found[asked][:, :3].max(axis=1))
    assert table["gz2_p_Class4.1"].description == "vote fraction, 4. spiral arms? spiral, 0 to 1"
    assert "leading answer" in table["gz2_class"].description
    assert chain._classes("gz2", [(table, None)]) == ["smooth", "featured", "artifact"]


def test_an_image_that_cannot_be_read_ends_the_training_in_one_line(cli, challenge, tmp_path):
    broken = challenge / "images_training_rev1" / "100006.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    status, _, err = cli("train", tmp_path / "gz2.toml", challenge, "--out", tmp_path / "t", "--epochs", 1)
    assert status == 1, err
    assert "100006.jpg" in err
    assert err.count("\n") == 1


def test_what_is_shipped_says_gz2_in_the_list_of_tasks(cli, challenge, tmp_path):
    status, _, err = cli("train", "gz3", challenge, "--out", tmp_path / "out")
    assert status == 2, err
    assert "gz2" in err


def test_the_sheet_shows_the_galaxies_of_the_highest_fractions_first():
    stamps = np.zeros((12, 20, 20, 3), np.uint8)
    stamps[..., 0] = 20 * np.arange(12)[:, None, None]  # red
    fractions = np.zeros((12, 37))
    fractions[:, 0] = np.linspace(0.1, 0.9, 12)
    sheet = answer_sheet(stamps, fractions)
    middle = TOP_PX + HEAD_PX + PANEL_PX // 2
    shown = [int(sheet[middle, MARGIN_PX + k * (PANEL_PX + 3) + PANEL_PX // 2, 2]) for k in range(8)]
    assert shown == [20 * k for k in range(11, 3, -1)]
    floats = answer_sheet(stamps.astype(np.float32) / 255, fractions)
    np.testing.assert_array_equal(floats, sheet)
    assert answer_sheet(stamps[:1], fractions[:1]).shape == sheet.shape


def test_a_classifier_of_votes_is_loaded_with_its_portrait(cli, challenge, tmp_path):
    status, _, err = cli("train", tmp_path / "gz2.toml", challenge, "--out", tmp_path / "t", "--epochs", 1)
    assert status == 0, err
    card = Classifier.load(tmp_path / "t" / "gz2.onnx").card
    assert (card.tree, card.activation, card.portrait) == (True, "fractions", {"sides": 2.14, "least": 8.0})
    assert card.training["recipe"]["frozen_epochs"] == card.training["recipe"]["epochs"] == 1
