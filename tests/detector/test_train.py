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
from fieldprep.errors import InputError, UsageError
from fieldprep.training.recipes import RECIPES
from fieldprep.training.trainingsets import write_training_set

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from ultralytics.cfg import get_cfg  # noqa: E402 -- needs what is asked for above
from ultralytics.nn.tasks import DetectionModel  # noqa: E402 -- as above
from ultralytics.utils.loss import v8DetectionLoss  # noqa: E402 -- as above
from ultralytics.utils.tal import TaskAlignedAssigner  # noqa: E402 -- needs what is asked for above

from detector import export as exporting  # noqa: E402 -- needs what is asked for above
from detector import train as training  # noqa: E402 -- as above
from detector.draws import DrawnTiles, turned  # noqa: E402 -- as above
from detector.export import check_parity  # noqa: E402 -- as above
from detector.losses import FieldLoss, WholeConfidence  # noqa: E402 -- as above
from detector.train import PARITY, Training, parse_shares, train_and_export  # noqa: E402 -- as above

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

    def __init__(self, variants, sides=(), sets=()):
        self.labels = [{"bboxes": np.array([[0.5, 0.5, side, 0.01]])} for side in sides or [0.02] * len(variants)]
        folders = sets or ["/set"] * len(variants)
        names = [f"001-2-{variant}-0-{480 * i}.png" for i, variant in enumerate(variants)]
        self.im_files = [f"{folder}/images/train/{name}" for folder, name in zip(folders, names, strict=True)]

    def __getitem__(self, i):
        return {"img": torch.full((3, 2, 2), float(i)), "bboxes": torch.zeros(0, 4)}


def drawn(tiles, seed, **options):
    weights = {"variant_weights": {"N": 5.0}, "large_weight": 3.0}
    draws = DrawnTiles(tiles, passes=2000, seed=seed, **(weights | options))
    return [int(draws[i]["img"][0, 0, 0]) for i in range(len(draws))]


def test_variants_are_drawn_by_their_weight():
    numbers = np.array(drawn(Tiles(["N", "L", "LH", "S", "SH", "Q"]), seed=1))
    # N weighs as much as the five others together; 2000 draws have a sigma of 1.1 %
    assert (numbers == 0).mean() == pytest.approx(0.5, abs=0.05)
    for other in range(1, 6):
        assert (numbers == other).mean() == pytest.approx(0.1, abs=0.035)


def test_tiles_of_one_band_show_one_channel_in_all_three():
    class Coloured(Tiles):
        def __getitem__(self, i):
            image = torch.arange(3.0)[:, None, None].expand(3, 2, 2)
            return {"img": image, "bboxes": torch.zeros(0, 4)}

    weights = {"variant_weights": {}, "large_weight": 1.0}
    draws = DrawnTiles(Coloured(["N"]), passes=2000, seed=1, one_band=0.25, **weights)
    shown = [draws[i]["img"][:, 0, 0].tolist() for i in range(2000)]
    gray = [levels for levels in shown if levels[0] == levels[1] == levels[2]]
    assert len(gray) / 2000 == pytest.approx(0.25, abs=0.04)
    for channel in range(3):
        assert gray.count([channel] * 3) / len(gray) == pytest.approx(1 / 3, abs=0.08)
    assert all(levels == [0, 1, 2] for levels in shown if levels not in gray)


def test_the_draw_hangs_on_the_seed_alone():
    tiles = Tiles(["N", "L", "Q"])
    assert drawn(tiles, seed=3) == drawn(tiles, seed=3)
    assert drawn(tiles, seed=3) != drawn(tiles, seed=4)


def test_sets_are_drawn_by_their_shares_whatever_their_sizes():
    tiles = Tiles(["N"] * 8, sets=["/one"] * 7 + ["/two"])
    folders = ["/one/images/train", "/two/images/train"]
    numbers = np.array(drawn(tiles, seed=1, shares=(0.25, 0.75), folders=folders))
    assert (numbers == 7).mean() == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("text", ["0.5", "1,0", "1,x", "1,nan", "1,2,3", ""])
def test_shares_that_make_no_sense_are_refused(text):
    with pytest.raises(UsageError, match="--shares wants a number over 0 for each of the 2 sets"):
        parse_shares(text, 2)


def test_shares_are_read_and_by_default_all_alike():
    assert parse_shares("0.7,0.3", 2) == (0.7, 0.3)
    assert parse_shares(None, 4) == (0.25,) * 4


def assigned(assigner, boxes):
    """Targets for predictions that are the given boxes, one at each anchor of an 8 x 8 grid of 8 px."""
    anchors = torch.cartesian_prod(torch.arange(8), torch.arange(8)).flip(1) * 8 + 4.0
    wanted = torch.tensor([[[10.0, 10, 30, 30], [40, 40, 52, 52]]])
    scores = torch.full((1, 64, 1), 0.1)
    predicted = torch.cat([anchors - boxes, anchors + boxes], dim=1)[None]
    return assigner(scores, predicted, anchors, torch.zeros(1, 2, 1), wanted, torch.ones(1, 2, 1))


def test_the_best_anchor_of_each_object_is_taught_the_confidence_one():
    own = training_assigner()
    theirs = TaskAlignedAssigner(own.topk, 1, own.alpha, own.beta, own.stride)
    half = 9.0
    _, _, whole, foreground, index = assigned(own, half)
    _, _, overlap, as_before, _ = assigned(theirs, half)
    assert torch.equal(foreground, as_before)
    for number in (0, 1):
        of_object = foreground[0] & (index[0] == number)
        assert whole[0, of_object].max() == pytest.approx(1)
        assert overlap[0, of_object].max() < 0.9
        # the order of the anchors is ultralytics' own
        ratio = whole[0, of_object] / overlap[0, of_object]
        assert torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=1e-4)
    assert (whole[0, ~foreground[0]] == 0).all()


def test_a_tile_without_objects_teaches_nothing_but_background():
    empty = training_assigner()(
        torch.full((1, 4, 1), 0.1),
        torch.zeros(1, 4, 4),
        torch.zeros(4, 2),
        torch.zeros(1, 0, 1),
        torch.zeros(1, 0, 4),
        torch.zeros(1, 0, 1),
    )
    assert not empty[2].any()


def training_assigner():
    return WholeConfidence(10, 1, 0.5, 6.0, [8, 16, 32])


def small_network():
    network = DetectionModel("yolo11n.yaml", nc=1, verbose=False)
    network.args = get_cfg()
    return network.train()


def batch_of(network, seed=0):
    torch.manual_seed(seed)
    return {
        "img": torch.rand(2, 3, 64, 64),
        "cls": torch.zeros(6, 1),
        "bboxes": torch.tensor([[0.3, 0.4, 0.2, 0.3], [0.7, 0.6, 0.1, 0.1], [0.5, 0.5, 0.8, 0.7]]).repeat(2, 1),
        "batch_idx": torch.tensor([0.0, 0, 0, 1, 1, 1]),
    }


def test_the_loss_is_that_of_ultralytics_but_for_the_confidence():
    network = small_network()
    batch = batch_of(network)
    found = network(batch["img"])
    theirs, _ = v8DetectionLoss(network)(found, batch)
    ours, _ = FieldLoss(network, whole=False)(found, batch)
    whole, _ = FieldLoss(network, whole=True)(found, batch)
    assert torch.equal(ours, theirs)
    assert not torch.allclose(whole, theirs)


def test_channels_last_changes_no_gradient():
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(3)
        network = small_network().to(memory_format=layout)
        network.loss(batch_of(network))[0].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    scale = gradients[0].abs().max()
    # float32 sums in another order, through ninety layers
    assert (gradients[0] - gradients[1]).abs().max() < 1e-3 * scale


def test_the_loss_takes_what_a_network_in_bfloat16_gives():
    network = small_network()
    batch = batch_of(network)
    in_full = FieldLoss(network, whole=True)(network(batch["img"]), batch)[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = network(batch["img"])
    loss = FieldLoss(network, whole=True)(found, batch)[0]
    assert loss.dtype == torch.float32
    assert torch.allclose(loss, in_full, rtol=0.05)


def test_several_sets_train_together_and_stars_are_taught_but_not_reported(tmp_path, monkeypatch):
    make_small(monkeypatch)
    recipe = replace(RECIPES["galaxies-stars"], variants=("N",), tile=64, overlap=16)
    for name, seed in (("one", 1), ("two", 3)):
        fields = [small_field(f"{name}-1", seed), small_field(f"{name}-2", seed + 1)]
        write_training_set(fields, tmp_path / name, validation=[f"{name}-2"], recipe=recipe)
    sets = [tmp_path / "one", tmp_path / "two"]
    weights = train_and_export(sets, tmp_path / "run", Training(passes=4, shares=(0.5, 0.5)))
    assert Card.beside(weights).classes == ("galaxy",)
    assert Detector.load(weights).network(np.zeros((1, 3, 64, 64), np.float32)).shape == (1, 6, 84)


def test_sets_of_different_classes_are_refused(training_set, tmp_path):
    recipe = replace(RECIPES["galaxies-stars"], variants=("N",), tile=64, overlap=16)
    fields = [small_field("001-1", 1), small_field("001-2", 2)]
    write_training_set(fields, tmp_path / "stars", validation=["001-2"], recipe=recipe)
    with pytest.raises(InputError, match="its classes are not those of the other training sets"):
        train_and_export([training_set, tmp_path / "stars"], tmp_path / "run", Training(shares=(0.5, 0.5)))


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
        weights = train_and_export([training_set], out, Training(passes=8, seed=5))
    return out, weights


def make_small(patch):
    patch.setattr(training, "PASSES_PER_EPOCH", 4)
    patch.setattr(training, "SETTINGS", {**training.SETTINGS, "imgsz": 64, "batch": 2, "nbs": 2, "device": "cpu"})


def score_difference(checkpoint, weights, tile):
    """Largest difference of any score: after eight passes none is over the 0.01 from which `check_parity` looks."""
    batch = np.ascontiguousarray(np.moveaxis(cv2.imread(str(tile))[..., ::-1], -1, 0)[None], np.float32) / 255
    model = exporting.YOLO(checkpoint).model.float().eval()
    with torch.no_grad():
        found = model(torch.from_numpy(batch))
    theirs = (found[0] if isinstance(found, tuple | list) else found).numpy()
    return float(np.abs(exporting.load_network(weights, precision="f32")(batch)[0, 4:] - theirs[0, 4:]).max())


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
    as_it_is = exporting.load_network(weights, precision="f32")

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

    training_yolo = exporting.YOLO
    monkeypatch.setattr(exporting, "YOLO", Confident)
    monkeypatch.setattr(exporting, "load_network", lambda _, **__: lambda batch: lifted(as_it_is(batch)))
    assert check_parity(out / "weights" / "last.pt", weights, tiles) < PARITY
    monkeypatch.setattr(exporting, "load_network", lambda _, **__: lambda batch: lifted(a_little_off(batch)))
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
            train_and_export([training_set], out, Training(passes=8, seed=5))
    assert (out / "weights" / "last.pt").exists()
    assert not list(out.glob("*.onnx"))
    weights = train_and_export([training_set], out, Training(), resume=True)
    assert [line.split(",")[0] for line in (out / "results.csv").read_text().splitlines()[1:]] == ["1", "2"]
    assert Card.beside(weights).classes == ("galaxy",)


def test_a_folder_that_is_no_training_set_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no training set \(no data\.yaml in it\)"):
        train_and_export([tmp_path], tmp_path / "out", Training())


def test_nothing_to_resume_is_refused(training_set, tmp_path):
    with pytest.raises(InputError, match=r"no weights/last\.pt to resume from"):
        train_and_export([training_set], tmp_path / "out", Training(), resume=True)


def test_training_leaves_nothing_outside_its_folder(trained, training_set):
    out, _ = trained
    assert not (Path.cwd() / "runs").exists()
    assert {path.name for path in out.parent.iterdir()} == {"run"}
    assert (out / "results.csv").exists()


def test_tiles_with_a_large_galaxy_are_drawn_more_often():
    draws = drawn(Tiles(["N", "N", "N"], sides=[0.02, 0.02, 0.3]), 0)
    assert np.bincount(draws, minlength=3)[2] / 2000 == pytest.approx(3 / (2 + 3), abs=0.04)
