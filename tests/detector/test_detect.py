import cv2
import numpy as np
import pytest

from detector.detect import decode
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
    xyxy, scores, class_id = decode(head((10, 10, 4, 4, 0.2, 0.7), (20, 20, 4, 4, 0.6, 0.1), classes=2), 0.01, 2)
    assert class_id.tolist() == [1, 0]
    assert scores.tolist() == pytest.approx([0.7, 0.6])
    assert xyxy.tolist() == [[8, 8, 12, 12], [18, 18, 22, 22]]


def test_of_two_boxes_of_one_galaxy_at_the_edge_one_is_left(as_detector):
    # alike in the field, unlike beyond its edge, where both are cut off
    found = of_field(head((5, 20, 30, 20, 0.9), (-10, 20, 60, 20, 0.8)), (40, 64), as_detector)
    assert found.xyxy.tolist() == [[-0.5, 9.5, 19.5, 29.5]]


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


@pytest.fixture(scope="module")
def real(sdss_field, galaxy):
    """The real field's picture, its mask, and what is found in it in one piece."""
    rgb = picture(sdss_field, galaxy.card.variant)
    return rgb, sdss_field.mask, galaxy.detect_picture(rgb, sdss_field.mask)


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


@pytest.mark.parametrize(("lost", "doubted"), [((2, 2), True), ((0, 0), False), ((30, 12), False)])
def test_a_few_unusable_pixels_in_the_middle_make_a_star_of_it_and_many_do_not(as_detector, lost, doubted):
    mask = np.zeros((64, 64), np.bool_)
    ny, nx = lost
    mask[32 - ny // 2 : 32 + (ny + 1) // 2, 32 : 32 + nx] = True
    found = of_field(head((32, 32, 16, 16, 0.8)), (64, 64), as_detector, mask)
    assert found.confidence.tolist() == [pytest.approx(0.08 / 0.28 if doubted else 0.8)]
