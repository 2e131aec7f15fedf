import cv2
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detector import Detector
from detector.cards import Card
from detector.merging import SAME_OBJECT_IOU
from detector.tiling import OVERLAP, TILE, WHOLE_PIXELS, Found, levels, settled, spoken_for
from fieldprep import Field, resources
from fieldprep.boxes import iou_table
from fieldprep.tiles import Tile, Window
from fieldprep.variants import picture
from fieldprep.views import PictureView

CARD = Card("fake", "detect", "fake", ("galaxy",), "N", 32, 0.25, "0" * 64)


def bright_blocks(batch):
    """Network that finds what is brighter than 0.5: the exact extent of each connected block, its level as score."""
    level = batch[0, 0]
    n, _, stats, _ = cv2.connectedComponentsWithStats((level > 0.5).astype(np.uint8), connectivity=4)
    rows = [(x + w / 2, y + h / 2, w, h, level[y : y + h, x : x + w].max()) for x, y, w, h, _ in stats[1:n]]
    return np.array(rows, np.float32).reshape(-1, 5).T[None]


def channels(batch):
    """The same in each channel alone, so that what lies over another thing is told from it by its colour."""
    parts = [bright_blocks(batch[:, k : k + 1]) for k in range(3)]
    return np.concatenate(parts, axis=2)


def found_in(rgb, tile=None, network=bright_blocks):
    return Detector(network, CARD).detect_picture(rgb, np.zeros(rgb.shape[:2], np.bool_), tile=tile)


@st.composite
def block_fields(draw):
    """
    A field of separate blocks, none larger than half a tile, and the side of a tile.

    They are as far from each other as they are large, so that averaged down they do not run into one.
    """
    tile = draw(st.integers(48, 120))
    largest = tile // 4
    ny, nx = draw(st.integers(30, 260)), draw(st.integers(30, 260))
    rgb, cell = np.zeros((ny, nx, 3), np.uint8), 2 * largest
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    n = 0
    for y in range(0, ny - cell + 1, cell):
        for x in range(0, nx - cell + 1, cell):
            h, w = random.integers(1, largest + 1, 2)
            dy, dx = random.integers(0, largest - h + 1), random.integers(0, largest - w + 1)
            rgb[y + dy : y + dy + h, x + dx : x + dx + w] = 130 + random.integers(0, 50)
            n += 1
    return rgb, tile, n


@settings(max_examples=60, deadline=None)
@given(block_fields())
def test_objects_at_seams_are_found_once_and_as_in_one_piece(scene):
    rgb, tile, n = scene
    whole, tiled = found_in(rgb), found_in(rgb, tile)
    assert len(whole) == n
    assert tiled.xyxy.tolist() == whole.xyxy.tolist()
    assert tiled.confidence.tolist() == whole.confidence.tolist()


@settings(max_examples=60, deadline=None)
@given(x=st.integers(0, 240), y=st.integers(0, 140), side=st.integers(1, 16))
@example(x=64, y=64, side=16)
def test_one_object_is_found_once_wherever_it_lies(x, y, side):
    rgb = np.zeros((160, 260, 3), np.uint8)
    rgb[y : y + side, x : x + side] = 200
    found = found_in(rgb, 64)
    assert found.xyxy.tolist() == [[x - 0.5, y - 0.5, min(x + side, 260) - 0.5, min(y + side, 160) - 0.5]]


@settings(max_examples=40, deadline=None)
@given(block_fields(), st.sampled_from([(0,), (1,), (0, 1)]))
def test_a_flipped_field_gives_flipped_detections(scene, axes):
    rgb, tile, _ = scene
    ny, nx = rgb.shape[:2]
    found, flipped = found_in(rgb, tile).xyxy, found_in(np.flip(rgb, axes).copy(), tile).xyxy
    if 0 in axes:
        flipped = np.stack([flipped[:, 0], ny - 1 - flipped[:, 3], flipped[:, 2], ny - 1 - flipped[:, 1]], axis=1)
    if 1 in axes:
        flipped = np.stack([nx - 1 - flipped[:, 2], flipped[:, 1], nx - 1 - flipped[:, 0], flipped[:, 3]], axis=1)
    assert sorted(flipped.tolist()) == sorted(found.tolist())


@settings(max_examples=60, deadline=None)
@given(x=st.integers(0, 500), y=st.integers(0, 500), w=st.integers(20, 400), h=st.integers(20, 400))
@example(x=37, y=115, w=44, h=64)
@example(x=6, y=0, w=20, h=259)
def test_an_object_of_any_size_is_found_once(x, y, w, h):
    rgb = np.zeros((600, 640, 3), np.uint8)
    rgb[y : y + h, x : x + w] = 255  # so that 20 px on either side of two blocks of 16 still are over a half
    (box,) = found_in(rgb, 128).xyxy
    true = np.array([x, y, min(x + w, 640), min(y + h, 600)]) - 0.5
    # a level averaged down by 4 ** k speaks for what lies on 9 of its pixels, and knows edges to a pixel of it
    assert np.abs(box - true).max() <= 4 ** max(0, np.ceil(np.log(max(w, h) / 28) / np.log(4)))


def test_nested_and_overlapping_galaxies_are_both_kept_at_a_seam():
    rgb = np.zeros((256, 400, 3), np.uint8)
    for at in (0, 37, 64, 96, 130):  # seams of tiles of 128 with cores of 64 lie at multiples of about 64
        image = rgb.copy()
        image[100:130, 100 + at : 130 + at, 0] = 200
        image[110:118, 110 + at : 118 + at, 1] = 180  # nested
        image[100:130, 115 + at : 145 + at, 2] = 190  # a half overlaps: IoU a third
        found = found_in(image, 128, channels)
        assert len(found) == 3
        assert np.allclose(sorted(found.xyxy[:, 0] - at), [99.5, 109.5, 114.5])


def test_a_galaxy_of_1500_px_in_a_mosaic_is_found_once():
    rgb = np.zeros((3000, 3200, 3), np.uint8)
    cv2.ellipse(rgb, (1700, 1400), (750, 400), 30, 0, 360, (200, 200, 200), -1)
    rgb[100:110, 100:110] = 200
    expected = found_in(rgb, 4000)
    found = found_in(rgb)
    assert len(found) == len(expected) == 2
    assert np.abs(found.xyxy - expected.xyxy).max() <= 2
    assert (expected.xyxy[:, 2] - expected.xyxy[:, 0]).max() > 1300


def blank_view(ny, nx):
    return PictureView(np.zeros((ny, nx, 3), np.uint8), np.zeros((ny, nx), np.bool_))


def test_a_field_is_looked_at_in_one_piece_and_a_fourth_as_large():
    whole, last = levels(blank_view(1489, 2048))
    assert (whole.scale, whole.whole, whole.last) == (1, True, False)
    assert [one.window for one in whole.tiles()] == [Window(0, 0, 2048, 1489)]
    assert (last.scale, last.view.shape, last.whole, last.last) == (4, (373, 512), True, True)
    side = int(np.sqrt(WHOLE_PIXELS)) + 1
    first, last = levels(blank_view(side, side))
    assert (first.scale, first.tile, first.overlap, first.whole, first.last) == (1, TILE, OVERLAP, False, False)
    assert (last.scale, last.view.shape, last.last) == (4, (-(-side // 4), -(-side // 4)), True)
    (only,) = levels(blank_view(480, 640))
    assert (only.scale, only.whole, only.last) == (1, True, True)


def found(*rows):
    """Found boxes of (x, y, side, score, guest, tile)."""
    table = np.array(rows, float).reshape(-1, 6)
    half = table[:, 2:3] / 2
    xyxy = np.concatenate([table[:, :2] - half, table[:, :2] + half], axis=1)
    zeros = np.zeros(len(table), np.int64)
    return Found(xyxy, table[:, 3], zeros, zeros > 0, table[:, 4] > 0, table[:, 5].astype(np.int64))


def test_a_guest_goes_where_the_owner_found_something_and_stays_where_it_did_not():
    # moved by a half of the side: IoU a third
    assert settled(found((50, 50, 20, 0.5, 0, 1), (60, 50, 20, 0.9, 1, 2))).guest.tolist() == [False]
    both = settled(found((50, 50, 20, 0.5, 0, 1), (50, 51, 20, 0.9, 1, 2), (60, 50, 20, 0.8, 0, 1)))
    assert sorted(both.scores.tolist()) == [0.8, 0.9]  # an owner agrees with the guest, which stays beside a companion
    assert settled(found((60, 50, 20, 0.9, 1, 2))).guest.tolist() == [True]
    # two of one tile are two galaxies
    assert len(settled(found((50, 50, 20, 0.5, 0, 1), (60, 50, 20, 0.9, 1, 1))).scores) == 2
    assert len(settled(found((50, 50, 20, 0.5, 0, 1), (60, 50, 20, 0.9, 0, 2))).scores) == 2


def test_nothing_found_settles_to_nothing():
    assert settled(found()).xyxy.shape == (0, 4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_what_is_settled_does_not_hang_on_the_order_of_the_tiles(seed, random):
    rng = np.random.default_rng(seed)
    rows = np.stack(
        [
            *rng.integers(0, 60, (2, 40)),
            rng.choice([8, 16, 20], 40),
            rng.choice([0.2, 0.5, 0.9], 40),
            rng.integers(0, 2, 40),
            rng.integers(0, 4, 40),
        ],
        axis=1,
    )
    order = list(range(40))
    random.shuffle(order)
    one, other = settled(found(*rows)), settled(found(*rows[order]))
    assert sorted(one.xyxy.tolist()) == sorted(other.xyxy.tolist())


def test_a_tile_speaks_for_its_core_and_as_a_guest_for_a_quarter_of_a_box_beyond():
    first, _ = levels(blank_view(2000, 2300))
    tile = Tile(Window(0, 0, 1050, 2000), Window(0, 0, 1000, 2000))
    boxes = [
        (980, 100, 1000, 120),
        (994, 100, 1014, 120),
        (996, 100, 1016, 120),
        (100, 100, 240, 200),  # left to the next level
        (940, 100, 1049, 200),  # cut off by the window
        (0, 100, 120, 200),  # cut off by the field
    ]
    kept, guest = spoken_for(np.array(boxes, float), tile, first)
    assert kept.tolist() == [True, True, False, False, False, True]
    assert guest[:2].tolist() == [False, True]


def matched(some, others):
    """Largest shift of an edge for each box from the other detections' best overlapping one."""
    best = iou_table(some.xyxy, others.xyxy).argmax(axis=1)
    return np.abs(some.xyxy - others.xyxy[best]).max(axis=1), best


def check_tiled_as_whole(whole, tiled):
    """Confident detections match one to one, boxes within a pixel for nearly all."""
    for one in (whole, tiled):
        overlaps = iou_table(one.xyxy, one.xyxy)
        np.fill_diagonal(overlaps, 0)
        assert overlaps.max() <= SAME_OBJECT_IOU + 1e-6
    for some, others in ((whole, tiled), (tiled, whole)):
        sure = some.select(some.confidence >= 0.4)
        shift, best = matched(sure, others)
        assert len(sure) > 15
        assert len(np.unique(best)) == len(best)
        # the network's attention block sees all of a window, and so a little of where the window ends: most boxes
        # move by less than a pixel, one near a tile's edge or of a large galaxy by more, none to another object; of two
        # boxes of one object that overlap too little to be merged now the one, now the other is the more confident
        overlap = iou_table(sure.xyxy, others.xyxy).max(axis=1)
        assert np.median(shift) < 1
        assert np.quantile(shift, 0.9) < 4
        assert np.mean(overlap > 0.5) > 0.98
        assert overlap.min() > 0.35


def test_tiles_of_a_real_field_find_what_one_piece_does(sdss_field, galaxy):
    cut = sdss_field.window(Window(0, 0, 1400, 1100))
    rgb = picture(cut, galaxy.card.variant)
    check_tiled_as_whole(galaxy.detect_picture(rgb, cut.mask), galaxy.detect_picture(rgb, cut.mask, tile=1024))


def test_tiles_of_a_simulated_field_find_what_one_piece_does(galaxy):
    field = Field.read(resources.find("datasets", "sample"))
    check_tiled_as_whole(galaxy.detect(field), galaxy.detect(field, tile=1024))
