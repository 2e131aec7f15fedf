from types import SimpleNamespace

import numpy as np
import pytest

from fieldprep import Field

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from detector.rivals.on_pictures import galaxies  # noqa: E402 -- as below
from detector.rivals.two_stage import ANCHORS_PX, CLASSES, LEVELS, MOST, TwoStage, network  # noqa: E402 -- needs torch
from detector.rivals.two_stage_training import _as_torchvision, _fast_on_a_cpu, _rate  # noqa: E402 -- needs torch
from detector.rivals.ultralytics_predict import UltralyticsPredict  # noqa: E402 -- needs ultralytics

# torch and ultralytics warn of their own affairs
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]


class Predicting:
    """Stands for a YOLO: gives these boxes, keeps what it was asked."""

    def __init__(self, xyxy, confidence, classes):
        self.boxes = SimpleNamespace(
            xyxy=torch.tensor(xyxy, dtype=torch.float32),
            conf=torch.tensor(confidence, dtype=torch.float32),
            cls=torch.tensor(classes, dtype=torch.float32),
        )
        self.asked = {}

    def predict(self, image, **options):
        self.asked = {"image": image, **options}
        return [SimpleNamespace(boxes=self.boxes)]


def field(shape=(70, 90)):
    return Field("one", {"r": np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)}, np.zeros(shape, bool))


def test_ultralytics_boxes_count_from_the_corner_and_ours_from_the_first_pixels_centre():
    model = Predicting([[0, 0, 10, 12], [20, 30, 200, 60]], [0.4, 0.9], [0, 0])
    found = UltralyticsPredict(model).detect(field())
    assert found.xyxy.tolist() == [[19.5, 29.5, 89.5, 59.5], [-0.5, -0.5, 9.5, 11.5]]
    assert found.confidence == pytest.approx([0.9, 0.4])


def test_stars_are_no_galaxies_of_ultralytics():
    model = Predicting([[0, 0, 10, 12], [20, 30, 40, 60]], [0.4, 0.9], [0, 1])
    assert len(UltralyticsPredict(model).detect(field())) == 1


def test_ultralytics_is_left_as_it_comes_unless_the_whole_field_is_wanted():
    model = Predicting(np.zeros((0, 4)), [], [])
    assert len(UltralyticsPredict(model).detect(field())) == 0
    assert not {"imgsz", "conf", "max_det"} & set(model.asked)
    UltralyticsPredict(model, whole=True).detect(field())
    assert model.asked["imgsz"] == [96, 96]
    assert (model.asked["conf"], model.asked["max_det"]) == (0.01, 100_000)


def test_ultralytics_is_given_blue_green_red():
    model = Predicting(np.zeros((0, 4)), [], [])
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[..., 0] = 200
    UltralyticsPredict(model).detect_picture(rgb)
    assert model.asked["image"][0, 0].tolist() == [0, 0, 200]


def test_no_box_at_all_is_no_detection():
    assert len(galaxies([], [], (10, 10))) == 0


def test_sahi_runs_a_checkpoint_over_a_field_larger_than_its_slices(tmp_path):
    pytest.importorskip("sahi")
    from ultralytics import YOLO  # noqa: PLC0415 -- beside what it needs

    from detector.rivals.sahi_slices import Sahi  # noqa: PLC0415 -- as above

    checkpoint = tmp_path / "untrained.pt"
    YOLO("yolo11n.yaml").save(checkpoint)
    found = Sahi.load(checkpoint, slice_px=64, confidence=0.0001).detect(field())
    assert (found.xyxy >= -0.5).all()
    assert (found.xyxy <= [89.5, 69.5, 89.5, 69.5]).all()


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return network()


def test_the_two_stage_network_has_no_cap_a_field_could_reach(untrained):
    assert untrained.roi_heads.detections_per_img == MOST
    assert untrained.rpn.post_nms_top_n() == 500  # in training
    untrained.eval()
    assert untrained.rpn.post_nms_top_n() == MOST


def test_the_two_stage_network_looks_at_a_field_as_it_is(untrained):
    assert len(LEVELS) == len(ANCHORS_PX)
    seen = {}
    hook = untrained.backbone.register_forward_hook(
        lambda _module, given, made: seen.update(given=given[0].shape, made=[one.shape[-2:] for one in made.values()])
    )
    TwoStage(untrained).detect(field((96, 128)))
    hook.remove()
    assert seen["given"][-2:] == (96, 128)
    assert [tuple(one) for one in seen["made"]] == [(12, 16), (6, 8), (3, 4)]


def test_boxes_of_the_two_stage_network_lie_in_the_field(untrained):
    found = TwoStage(untrained).detect(field())
    assert (found.xyxy >= -0.5).all()
    assert (found.xyxy <= [89.5, 69.5, 89.5, 69.5]).all()


def test_labels_come_to_torchvision_in_pixels_and_an_empty_tile_with_none():
    boxes = torch.tensor([[0.5, 0.25, 0.25, 0.5], [0.5, 0.5, 0.5, 0.5]])
    full = {"img": torch.zeros(3, 64, 128, dtype=torch.uint8), "bboxes": boxes, "cls": torch.tensor([[0.0], [1.0]])}
    empty = {
        "img": torch.full((3, 64, 128), 255, dtype=torch.uint8),
        "bboxes": torch.zeros(0, 4),
        "cls": torch.zeros(0, 1),
    }
    images, targets = _as_torchvision([full, empty])
    assert targets[0]["boxes"].tolist() == [[48, 0, 80, 32], [32, 16, 96, 48]]
    assert [CLASSES[label] for label in targets[0]["labels"]] == ["galaxy", "star"]
    assert targets[1]["labels"].dtype == torch.int64
    assert targets[1]["boxes"].shape == (0, 4)
    assert images[1].max() == 1


def test_depthwise_in_float32_changes_no_sum(untrained):
    images = [torch.rand(3, 96, 96)]
    targets = [{"boxes": torch.tensor([[10.0, 10, 40, 40]]), "labels": torch.ones(1, dtype=torch.int64)}]
    sums = []
    for model in (untrained, _fast_on_a_cpu(untrained)):
        model.train()
        torch.manual_seed(3)
        sums.append(float(sum(model(images, targets).values()).detach()))
    assert sums[0] == pytest.approx(sums[1], rel=1e-3)


def test_the_learning_rate_rises_then_falls_to_a_fiftieth():
    rates = [_rate(step, 600) for step in range(600)]
    assert np.argmax(rates) in range(90, 110)
    assert rates[0] < 0.02
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)
