import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detector import Detector
from detector.cards import Card
from detector.detect import OVERLAP, SAME_OBJECT_IOU, WHOLE_PIXELS, decode, one_each, vote
from detector.detections import Flag
from detector.evaluate import match
from fieldprep import Field
from fieldprep.catalogues import read_catalogue, sources_on_field
from fieldprep.variants import picture


def head(*rows, classes=1):
    """Dense output (1, 4 + classes, anchors) of rows (centre x, centre y, width, height, scores...)."""
    return np.array(rows, np.float32).reshape(-1, 4 + classes).T[None]


def clear(shape):
    return np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.bool_)


def of_field(output, shape, as_detector, mask=None, classes=("galaxy",)):
    rgb, nothing = clear(shape)
    return as_detector(lambda _: output, classes).detect_picture(rgb, nothing if mask is None else mask)


def ious(boxes):
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return overlap / (area[:, None] + area[None] - overlap)


def bright_blocks(batch):
    """Network that finds what is brighter than 0.5: the exact extent of each connected block, its level as score."""
    level = batch[0, 0]
    n, _, stats, _ = cv2.connectedComponentsWithStats((level > 0.5).astype(np.uint8))
    rows = [(x + w / 2, y + h / 2, w, h, level[y : y + h, x : x + w].max()) for x, y, w, h, _ in stats[1:n]]
    return head(*rows)


def test_boxes_of_the_network_count_from_the_corner_and_ours_from_the_first_pixels_centre(as_detector):
    found = of_field(head((10, 20, 8, 4, 0.5)), (64, 64), as_detector)
    # the pixels 6..13 in x and 18..21 in y, edges included
    assert found.xyxy.tolist() == [[5.5, 17.5, 13.5, 21.5]]
    assert found.confidence.tolist() == [0.5]


def test_a_block_of_pixels_gets_the_box_of_its_outer_edges(as_detector):
    rgb, mask = clear((40, 50))
    rgb[10:20, 30:35] = 200
    assert as_detector(bright_blocks).detect_picture(rgb, mask).xyxy.tolist() == [[29.5, 9.5, 34.5, 19.5]]


def test_there_is_no_cap_on_the_number_of_detections(as_detector):
    y, x = np.divmod(np.arange(5000), 100)
    rows = np.stack([10.0 * x + 5, 10.0 * y + 5, np.full(5000, 6), np.full(5000, 6), np.linspace(0.02, 0.99, 5000)])
    found = of_field(rows[None].astype(np.float32), (500, 1000), as_detector)
    assert len(found) == 5000
    assert len(np.unique(found.centres, axis=0)) == 5000


def test_a_network_that_finds_nothing_gives_empty_arrays_of_the_right_shapes(as_detector):
    for output in (head(), head((10, 10, 8, 8, 0.001))):
        found = of_field(output, (64, 64), as_detector)
        assert found.xyxy.shape == (0, 4)
        assert found.confidence.shape == found.class_id.shape == found.flags.shape == (0,)


def test_boxes_are_clipped_at_the_field_and_flagged(as_detector):
    rows = [(2, 30, 10, 8, 0.9), (48, 30, 10, 8, 0.8), (25, 38, 8, 10, 0.7), (25, 2, 8, 10, 0.6), (25, 20, 8, 8, 0.5)]
    found = of_field(head(*rows), (40, 50), as_detector)
    assert found.xyxy[0].tolist() == [-0.5, 25.5, 6.5, 33.5]
    assert found.xyxy[1].tolist() == [42.5, 25.5, 49.5, 33.5]
    assert found.xyxy[:, 3].max() == 39.5
    assert found.xyxy[:, 1].min() == -0.5
    assert (found.flags & Flag.EDGE > 0).tolist() == [True] * 4 + [False]


def test_a_box_that_ends_one_pixel_from_the_edge_is_not_flagged(as_detector):
    found = of_field(head((25, 20, 48, 38, 0.9)), (40, 50), as_detector)
    assert found.xyxy.tolist() == [[0.5, 0.5, 48.5, 38.5]]
    assert found.flags.tolist() == [0]


def test_a_box_in_the_padding_beside_the_field_is_no_detection(as_detector):
    # 40 x 50 is padded to 64 x 64
    found = of_field(head((58, 20, 8, 8, 0.9), (20, 52, 8, 8, 0.8), (20, 20, 8, 8, 0.7)), (40, 50), as_detector)
    assert found.confidence.tolist() == pytest.approx([0.7])


@pytest.mark.parametrize(("bad_pixels", "flagged"), [(9, False), (10, True)])
def test_a_box_is_masked_from_a_tenth_of_its_pixels(as_detector, bad_pixels, flagged):
    mask = np.zeros((64, 64), np.bool_)
    mask[20, 20 : 20 + bad_pixels] = True  # in the box of pixels 20..29
    mask[40:, :] = True  # far from it
    found = of_field(head((25, 25, 10, 10, 0.9)), (64, 64), as_detector, mask)
    assert bool(found.flags[0] & Flag.MASKED) is flagged


def test_flags_add_up(as_detector):
    found = of_field(head((2, 25, 10, 10, 0.9)), (64, 64), as_detector, np.ones((64, 64), np.bool_))
    assert found.flags.tolist() == [Flag.EDGE | Flag.MASKED]


def test_confidence_is_the_least_score_kept(as_detector):
    rgb, mask = clear((64, 64))
    detector = as_detector(lambda _: head((10, 10, 8, 8, 0.25), (40, 40, 8, 8, 0.125)))
    assert len(detector.detect_picture(rgb, mask, confidence=0.125)) == 2
    assert detector.detect_picture(rgb, mask, confidence=0.2).confidence.tolist() == [0.25]


def test_the_network_sees_red_green_blue_from_0_to_1_padded_with_black(as_detector):
    seen = []

    def network(batch):
        seen.append(batch)
        return head()

    rgb, mask = clear((40, 50))
    rgb[3, 7] = (255, 51, 0)
    as_detector(network).detect_picture(rgb, mask)
    assert seen[0].shape == (1, 3, 64, 64)
    assert seen[0].dtype == np.float32
    assert seen[0][0, :, 3, 7].tolist() == pytest.approx([1, 0.2, 0])
    assert np.count_nonzero(seen[0]) == 2


def test_decode_takes_the_best_class_of_each_anchor():
    xyxy, scores, class_id = decode(head((10, 10, 4, 4, 0.2, 0.7), (20, 20, 4, 4, 0.6, 0.1), classes=2), 0.01)
    assert class_id.tolist() == [1, 0]
    assert scores.tolist() == pytest.approx([0.7, 0.6])
    assert xyxy.tolist() == [[8, 8, 12, 12], [18, 18, 22, 22]]


def test_a_small_galaxy_nested_in_a_large_one_is_kept():
    boxes = np.array([[0, 0, 100, 100], [40, 40, 60, 60], [10, 10, 90, 90.0]])
    assert sorted(one_each(boxes, np.array([0.9, 0.8, 0.7]), np.zeros(3, np.int64)).tolist()) == [0, 1]


def test_two_galaxies_side_by_side_are_kept_even_if_their_boxes_overlap_by_half():
    # one third of a side apart: IoU 0.5
    boxes = np.array([[0, 0, 30, 30], [10, 0, 40, 30.0]])
    assert sorted(one_each(boxes, np.array([0.9, 0.8]), np.zeros(2, np.int64)).tolist()) == [0, 1]


def test_of_two_boxes_of_one_galaxy_at_the_edge_one_is_left(as_detector):
    # alike in the field, unlike beyond its edge, where both are cut off
    found = of_field(head((5, 20, 30, 20, 0.9), (-10, 20, 60, 20, 0.8)), (40, 64), as_detector)
    assert found.xyxy.tolist() == [[-0.5, 9.5, 19.5, 29.5]]


def test_of_two_boxes_of_one_object_the_more_confident_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10.0]])
    assert one_each(boxes, np.array([0.3, 0.8]), np.zeros(2, np.int64)).tolist() == [1]


def test_boxes_of_different_classes_are_never_merged(as_detector):
    found = of_field(
        head((20, 20, 10, 10, 0.9, 0), (20, 20, 10, 10, 0, 0.8), classes=2), (64, 64), as_detector, classes=("a", "b")
    )
    assert found.class_id.tolist() == [0, 1]


def test_the_output_does_not_hang_on_the_order_of_the_anchors(as_detector):
    random = np.random.default_rng(3)
    places, sizes = random.uniform(0, 200, (2, 300)), random.uniform(8, 40, (2, 300))
    rows = np.stack([*places, *sizes, random.permutation(300) / 300])
    first = of_field(rows[None].astype(np.float32), (200, 200), as_detector)
    second = of_field(rows[None, :, ::-1].astype(np.float32), (200, 200), as_detector)
    np.testing.assert_allclose(first.xyxy, second.xyxy, atol=1e-9)  # the last digit of a mean hangs on its order


@st.composite
def block_fields(draw):
    """A field of separate bright blocks, none larger than half an overlap, and the side of a tile."""
    tile = draw(st.integers(48, 120))
    largest = tile // 4
    ny, nx = draw(st.integers(30, 260)), draw(st.integers(30, 260))
    rgb, cell = np.zeros((ny, nx, 3), np.uint8), largest + 2
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    n = 0
    for y in range(0, ny - cell + 1, cell):
        for x in range(0, nx - cell + 1, cell):
            h, w = random.integers(1, largest + 1, 2)
            dy, dx = random.integers(0, largest - h + 1), random.integers(0, largest - w + 1)
            rgb[y + dy : y + dy + h, x + dx : x + dx + w] = 130 + random.integers(0, 120)
            n += 1
    return rgb, tile, n


@settings(max_examples=40, deadline=None)
@given(block_fields())
def test_objects_at_seams_are_found_once_and_as_in_one_piece(scene):
    rgb, tile, n = scene
    mask = np.zeros(rgb.shape[:2], np.bool_)
    detector = Detector(bright_blocks, Card("fake", "detect", "fake", ("galaxy",), "N", 32, 0.25, "0" * 64))
    whole, tiled = detector.detect_picture(rgb, mask), detector.detect_picture(rgb, mask, tile=tile)
    assert len(whole) == n
    assert tiled.xyxy.tolist() == whole.xyxy.tolist()
    assert tiled.confidence.tolist() == whole.confidence.tolist()


@settings(max_examples=60, deadline=None)
@given(x=st.integers(0, 240), y=st.integers(0, 140), side=st.integers(1, 16))
@example(x=64, y=64, side=16)
def test_one_object_is_found_once_wherever_it_lies(x, y, side):
    rgb = np.zeros((160, 260, 3), np.uint8)
    rgb[y : y + side, x : x + side] = 200
    detector = Detector(bright_blocks, Card("fake", "detect", "fake", ("galaxy",), "N", 32, 0.25, "0" * 64))
    found = detector.detect_picture(rgb, np.zeros((160, 260), np.bool_), tile=64)
    assert found.xyxy.tolist() == [[x - 0.5, y - 0.5, min(x + side, 260) - 0.5, min(y + side, 160) - 0.5]]


def test_a_field_too_large_for_one_pass_is_tiled_by_itself(as_detector):
    sizes = []

    def network(batch):
        sizes.append(batch.shape[2:])
        return bright_blocks(batch)

    rgb, mask = clear((300, WHOLE_PIXELS // 300 + 1))
    rgb[100:110, 2040:2060] = 200
    found = as_detector(network).detect_picture(rgb, mask)
    assert len(sizes) > 1
    assert max(size[1] for size in sizes) == 2048
    assert OVERLAP < 2048
    assert found.xyxy.tolist() == [[2039.5, 99.5, 2059.5, 109.5]]


@pytest.fixture(scope="module")
def real(sdss_field, galaxy):
    """The real field's picture, its mask, and what is found in it in one piece."""
    rgb = picture(sdss_field, galaxy.card.variant)
    return rgb, sdss_field.mask, galaxy.detect_picture(rgb, sdss_field.mask)


def test_tiles_of_a_real_field_find_what_one_piece_does(real, galaxy):
    rgb, mask, whole = real
    tiled = galaxy.detect_picture(rgb, mask, tile=640)
    for found in (whole, tiled):
        np.fill_diagonal(overlaps := ious(found.xyxy), 0)
        assert overlaps.max() <= SAME_OBJECT_IOU + 1e-6
    for some, others in ((whole, tiled), (tiled, whole)):
        sure = some.select(some.confidence >= 0.4)
        assert len(sure) > 30
        distance = np.linalg.norm(sure.centres[:, None] - others.centres[None], axis=2).min(axis=1)
        # 4 px, the least matching distance; a tile's edge changes what the network sees around an object
        assert distance.max() < 4
        assert np.median(distance) < 0.5


def test_padding_to_whole_strides_does_not_shift_boxes(real, galaxy):
    rgb, mask, _ = real
    whole = galaxy.detect_picture(rgb[:640, :640], mask[:640, :640])
    padded = galaxy.detect_picture(rgb[:621, :613], mask[:621, :613])
    sure = whole.select((whole.confidence >= 0.4) & (whole.centres < 540).all(axis=1))
    assert len(sure) >= 5
    nearest = np.linalg.norm(sure.centres[:, None] - padded.centres[None], axis=2).argmin(axis=1)
    moved = padded.xyxy[nearest] - sure.xyxy
    assert np.abs(moved).max() < 1.5
    assert np.abs(np.median(moved, axis=0)).max() < 0.1


def test_the_shipped_detector_finds_bright_catalogued_galaxies(sdss_folder, sdss_field, real):
    _, _, whole = real
    catalogue = read_catalogue(sdss_folder / "catalogue.csv")
    truth = sources_on_field(catalogue, sdss_field.shape, wcs=sdss_field.wcs, pixel_scale=sdss_field.pixel_scale)
    wanted = truth.galaxy & ~truth.ignore & (truth.magnitude < 20)
    matched = match(whole.select(whole.confidence >= 0.25).centres, truth)
    assert np.isin(np.flatnonzero(wanted), matched).mean() > 0.7


def test_detect_takes_the_picture_that_the_card_names(galaxy):
    image = np.random.default_rng(0).normal(0, 1, (64, 96)).astype(np.float32)
    y, x = np.mgrid[:64, :96]
    image += (60 * np.exp(-((x - 50) ** 2 + (y - 30) ** 2) / 2 / 3**2)).astype(np.float32)
    field = Field("one", {"r": image}, np.zeros(image.shape, np.bool_))
    by_default = galaxy.detect(field)
    named = galaxy.detect_picture(picture(field, galaxy.card.variant), field.mask)
    assert by_default.xyxy.tolist() == named.xyxy.tolist()


def test_a_kept_box_moves_to_the_weighted_mean_of_its_objects_boxes():
    xyxy = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [40, 40, 50, 50], [0, 0, 10, 10]], float)
    scores, class_id = np.array([0.8, 0.4, 0.9, 0.9]), np.array([0, 0, 0, 1])
    moved = vote(xyxy, scores, class_id, np.array([0, 2]))
    shift = 0.4**2 / (0.8**2 + 0.4**2)
    np.testing.assert_allclose(moved, [[shift, 0, 10 + shift, 10], [40, 40, 50, 50]])


def test_votes_do_not_hang_on_how_many_boxes_are_counted_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 200, (300, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(8, 40, (300, 2))], axis=1)
    scores, class_id = rng.uniform(0.01, 1, 300), np.zeros(300, np.int64)
    kept = one_each(xyxy, scores, class_id)
    whole = vote(xyxy, scores, class_id, kept)
    monkeypatch.setattr("detector.detect.VOTERS_AT_ONCE", 7)
    np.testing.assert_allclose(vote(xyxy, scores, class_id, kept), whole)
