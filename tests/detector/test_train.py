from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from detector import Detector
from detector.cards import Card
from fieldprep import Field
from fieldprep.boxes import petrosian_boxes
from fieldprep.catalogues import Sources
from fieldprep.errors import InputError
from fieldprep.training.recipes import RECIPES
from fieldprep.training.trainingsets import write_training_set

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from detector import train as training  # noqa: E402 -- needs what is asked for above
from detector.train import LARGE_WEIGHT, PARITY, DrawnTiles, check_parity, train_and_export, turned  # noqa: E402 -- as above

# torch and ultralytics warn of their own affairs while they train and export
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]


def tile_with(x, y, size=8):
    """A tile with one lit pixel and the box of exactly that pixel."""
    image = torch.zeros(3, size, size)
    image[:, y, x] = 1
    box = [(x + 0.5) / size, (y + 0.5) / size, 1 / size, 2 / size]
    return {"img": image, "bboxes": torch.tensor([box]), "name": "a"}


@pytest.mark.parametrize("quarter_turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_the_box_stays_on_its_pixel_in_every_turn(quarter_turns, flip):
    out = turned(tile_with(2, 5), quarter_turns=quarter_turns, flip=flip)
    lit = np.argwhere(out["img"][0].numpy())
    assert len(lit) == 1
    y, x = lit[0]
    cx, cy, w, h = out["bboxes"][0].tolist()
    assert (cx * 8 - 0.5, cy * 8 - 0.5) == pytest.approx((x, y), abs=1e-5)
    assert (w * 8, h * 8) == pytest.approx((1, 2) if quarter_turns % 2 == 0 else (2, 1))
    assert out["name"] == "a"


def test_the_eight_turns_are_all_different():
    places = set()
    for quarter_turns in range(4):
        for flip in (False, True):
            lit = np.argwhere(turned(tile_with(1, 5), quarter_turns=quarter_turns, flip=flip)["img"][0].numpy())
            places.add(tuple(lit[0].tolist()))
    assert len(places) == 8


def test_turning_leaves_the_tile_itself_alone():
    sample = tile_with(2, 5)
    before = sample["bboxes"].clone()
    turned(sample, quarter_turns=1, flip=True)
    assert torch.equal(sample["bboxes"], before)
    assert sample["img"][0, 5, 2] == 1


class Tiles:
    """What DrawnTiles needs of ultralytics' dataset; a tile is its number."""

    collate_fn = staticmethod(list)

    def __init__(self, variants, sides=()):
        self.labels = [{"bboxes": np.array([[0.5, 0.5, side, 0.01]])} for side in sides or [0.02] * len(variants)]
        self.im_files = [f"/set/images/train/001-2-{variant}-0-{480 * i}.png" for i, variant in enumerate(variants)]

    def __getitem__(self, i):
        return {"img": torch.full((3, 2, 2), float(i)), "bboxes": torch.zeros(0, 4)}


def drawn(tiles, seed):
    draws = DrawnTiles(tiles, passes=2000, seed=seed)
    return [int(draws[i]["img"][0, 0, 0]) for i in range(len(draws))]


def test_variants_are_drawn_by_their_weight():
    numbers = np.array(drawn(Tiles(["N", "L", "LH", "S", "SH", "Q"]), seed=1))
    # N weighs as much as the five others together; 2000 draws have a sigma of 1.1 %
    assert (numbers == 0).mean() == pytest.approx(0.5, abs=0.05)
    for other in range(1, 6):
        assert (numbers == other).mean() == pytest.approx(0.1, abs=0.035)


def test_the_draw_hangs_on_the_seed_alone():
    tiles = Tiles(["N", "L", "Q"])
    assert drawn(tiles, seed=3) == drawn(tiles, seed=3)
    assert drawn(tiles, seed=3) != drawn(tiles, seed=4)


def small_field(name, seed):
    random = np.random.default_rng(seed)
    x, y = random.uniform(12, 116, (2, 12))
    row, column = np.mgrid[:128, :128]
    image = random.normal(0, 1, (128, 128))
    for cx, cy in zip(x, y, strict=True):
        image += 60 * np.exp(-((column - cx) ** 2 + (row - cy) ** 2) / (2 * 3.0**2))
    ones = np.ones(12)
    sources = Sources(
        x,
        y,
        petrosian_boxes(x, y, 7 * ones, ones, 0 * ones),
        ones > 0,
        18 * ones,
        ones < 0,
        7 * ones,
        pd.DataFrame(index=range(12)),
    )
    return Field(name, {"r": image.astype(np.float32)}, np.zeros((128, 128), np.bool_)), sources


@pytest.fixture(scope="module")
def training_set(tmp_path_factory):
    out = tmp_path_factory.mktemp("set") / "tiles"
    fields = [small_field("001-1", 1), small_field("001-2", 2)]
    recipe = replace(RECIPES["galaxies"], variants=("N", "L"), tile=64, overlap=16)
    write_training_set(fields, out, validation=["001-2"], recipe=recipe)
    return out


@pytest.fixture(scope="module")
def trained(training_set, tmp_path_factory):
    """A training of eight tile passes, exported; it learns nothing, but goes all the way."""
    out = tmp_path_factory.mktemp("training") / "run"
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        weights = train_and_export(training_set, out, passes=8, seed=5)
    return out, weights


def make_small(patch):
    patch.setattr(training, "PASSES_PER_EPOCH", 4)
    patch.setattr(training, "SETTINGS", {**training.SETTINGS, "imgsz": 64, "batch": 2, "nbs": 2, "device": "cpu"})


def score_difference(checkpoint, weights, tile):
    """Largest difference of any score: after eight passes none is over the 0.01 from which `check_parity` looks."""
    batch = np.ascontiguousarray(np.moveaxis(cv2.imread(str(tile))[..., ::-1], -1, 0)[None], np.float32) / 255
    model = training.YOLO(checkpoint).model.float().eval()
    with torch.no_grad():
        found = model(torch.from_numpy(batch))
    theirs = (found[0] if isinstance(found, tuple | list) else found).numpy()
    return float(np.abs(training.load_network(weights)(batch)[0, 4:] - theirs[0, 4:]).max())


def test_a_training_ends_in_a_network_that_loads_with_its_card(trained):
    out, weights = trained
    assert weights == out / "yolo11n.onnx"
    card = Card.beside(weights)
    assert card.classes == ("galaxy",)
    assert card.scores == {}
    assert card.training["passes"] == 8
    assert card.training["seed"] == 5
    detector = Detector.load(weights)
    field, _ = small_field("other", 3)
    assert detector.detect(field, confidence=0.0).xyxy.shape[1] == 4


def test_the_export_is_the_trained_network(trained, training_set):
    out, weights = trained
    tiles = sorted((training_set / "images" / "val").glob("*.png"))
    assert tiles
    assert check_parity(out / "weights" / "last.pt", weights, tiles) < PARITY
    assert score_difference(out / "weights" / "last.pt", weights, tiles[0]) < 1e-5
    assert Card.beside(weights).training["onnx_parity"] < PARITY


def test_the_export_has_no_cap_and_takes_any_shape(trained):
    _, weights = trained
    network = Detector.load(weights).network
    assert network(np.zeros((1, 3, 64, 64), np.float32)).shape == (1, 5, 84)
    assert network(np.zeros((1, 3, 96, 128), np.float32)).shape == (1, 5, 12 * 16 + 6 * 8 + 3 * 4)


def test_the_parity_check_notices_another_network(trained, training_set, monkeypatch):
    out, weights = trained
    tiles = sorted((training_set / "images" / "val").glob("*.png"))[:1]
    as_it_is = training.load_network(weights)

    def a_little_off(batch):
        output = as_it_is(batch)
        output[0, 4] += 0.01
        return output

    class Confident:
        """The trained network with its scores lifted over the 0.01 from which anchors are compared."""

        def __init__(self, checkpoint):
            self.model = training_yolo(checkpoint).model
            self.model.register_forward_hook(lambda _module, _inputs, found: lifted(found))

    def lifted(found):
        found = found[0] if isinstance(found, tuple | list) else found
        found[:, 4] += 0.5
        return found

    training_yolo = training.YOLO
    monkeypatch.setattr(training, "YOLO", Confident)
    monkeypatch.setattr(training, "load_network", lambda _: lambda batch: lifted(as_it_is(batch)))
    assert check_parity(out / "weights" / "last.pt", weights, tiles) < PARITY
    monkeypatch.setattr(training, "load_network", lambda _: lambda batch: lifted(a_little_off(batch)))
    assert check_parity(out / "weights" / "last.pt", weights, tiles) == pytest.approx(0.01, rel=0.05)


def test_a_stopped_training_goes_on_from_its_last_checkpoint(training_set, tmp_path, monkeypatch):
    make_small(monkeypatch)
    out = tmp_path / "run"
    save = training.FieldTrainer.save_model

    def save_and_stop(trainer):
        save(trainer)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.FieldTrainer, "save_model", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train_and_export(training_set, out, passes=8, seed=5)
    assert (out / "weights" / "last.pt").exists()
    assert not list(out.glob("*.onnx"))
    weights = train_and_export(training_set, out, passes=8, seed=5, resume=True)
    assert [line.split(",")[0] for line in (out / "results.csv").read_text().splitlines()[1:]] == ["1", "2"]
    assert Card.beside(weights).classes == ("galaxy",)


def test_a_folder_that_is_no_training_set_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no training set \(no data\.yaml in it\)"):
        train_and_export(tmp_path, tmp_path / "out")


def test_nothing_to_resume_is_refused(training_set, tmp_path):
    with pytest.raises(InputError, match=r"no weights/last\.pt to resume from"):
        train_and_export(training_set, tmp_path / "out", resume=True)


def test_training_leaves_nothing_outside_its_folder(trained, training_set):
    out, _ = trained
    assert not (Path.cwd() / "runs").exists()
    assert {path.name for path in out.parent.iterdir()} == {"run"}
    assert (out / "results.csv").exists()


def test_tiles_with_a_large_galaxy_are_drawn_more_often():
    draws = drawn(Tiles(["N", "N", "N"], sides=[0.02, 0.02, 0.3]), 0)
    assert np.bincount(draws, minlength=3)[2] / 2000 == pytest.approx(LARGE_WEIGHT / (2 + LARGE_WEIGHT), abs=0.04)
