import cv2
import numpy as np
import pytest
from astropy.table import Table

from detector.detections import Flag
from fieldprep import Field
from fullfield.drawing import BOX, CHANGED, COMPASS_SHARE, DOUBTED, INK, draw_detections, write_png

SHAPE = (240, 320)


def field_of(wcs=None, scale=None):
    return Field("one", {"r": np.zeros(SHAPE, np.float32)}, np.zeros(SHAPE, np.bool_), wcs=wcs, pixel_scale=scale)


def rows(*xyxy):
    table = Table(names=("id", "x_min", "y_min", "x_max", "y_max"), dtype=(int, float, float, float, float))
    for i, box in enumerate(xyxy):
        table.add_row((i + 1, *box))
    return table


def black():
    return np.zeros((*SHAPE, 3), np.uint8)


def test_row_0_of_a_fits_field_is_drawn_at_the_bottom_and_red_stays_red():
    rgb = black()
    rgb[0, 5] = (250, 10, 20)
    drawn = draw_detections(rgb, rows(), field_of(), row_0_at_bottom=True)
    assert drawn.shape == rgb.shape
    assert drawn[-1, 5].tolist() == [20, 10, 250]  # blue, green, red
    assert np.count_nonzero(drawn) == 3


def test_a_picture_keeps_its_own_rows():
    rgb = black()
    rgb[0, 5] = (250, 10, 20)
    assert draw_detections(rgb, rows(), field_of(), row_0_at_bottom=False)[0, 5].tolist() == [20, 10, 250]


def test_drawing_leaves_the_picture_itself_alone():
    rgb = black()
    draw_detections(rgb, rows((100, 100, 130, 130)), field_of(scale=0.4), row_0_at_bottom=False)
    assert not rgb.any()


@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("low", [(100, 60), (100.4, 60.6)])
def test_a_box_does_not_paint_over_an_8_pixel_galaxy(upwards, low):
    x, y = low
    rgb = black()
    rgb[60:69, 100:109] = 77
    drawn = draw_detections(rgb, rows((x - 0.5, y - 0.5, x + 7.5, y + 7.5)), field_of(), row_0_at_bottom=upwards)
    if upwards:
        drawn = drawn[::-1]
    x0, y0 = round(x), round(y)
    assert (drawn[y0 : y0 + 8, x0 : x0 + 8] == rgb[y0 : y0 + 8, x0 : x0 + 8]).all()
    lines = (drawn == BOX).all(axis=-1)
    assert lines.any()
    at_y, at_x = np.nonzero(lines)
    # the line runs two pixels outside, the same on each side, so that the galaxy is in its middle
    assert (at_x.min(), at_x.max()) == pytest.approx((x - 2, x + 9), abs=1)
    assert (at_y.min(), at_y.max()) == pytest.approx((y - 2, y + 9), abs=1)


def test_the_box_is_drawn_around_its_pixels_exactly():
    drawn = draw_detections(black(), rows((99.5, 59.5, 107.5, 67.5)), field_of(), row_0_at_bottom=True)[::-1]
    at_y, at_x = np.nonzero((drawn == BOX).all(axis=-1))
    # pixels 100..107 and 60..67 with two free pixels... the line is the second pixel out
    assert (at_x.min(), at_x.max(), at_y.min(), at_y.max()) == (98, 109, 58, 69)


def test_only_larger_boxes_carry_their_number():
    def painted(side):
        box = (100, 100, 100 + side, 100 + side)
        outside = draw_detections(black(), rows(box), field_of(), row_0_at_bottom=False)
        outside[96 : 100 + side + 5, 96 : 100 + side + 5] = 0
        return outside.any()

    assert painted(40)
    assert not painted(10)


@pytest.mark.parametrize(("scale", "arcsec"), [(0.4, 30), (0.03, 2), (1.0, 60)])
def test_the_scale_bar_is_as_long_as_it_says(scale, arcsec):
    drawn = draw_detections(black(), rows(), field_of(scale=scale), row_0_at_bottom=True)
    line = (drawn == INK).all(axis=-1)[SHAPE[0] - round(SHAPE[0] * 0.03)]
    ends = np.flatnonzero(line)
    assert np.all(np.diff(ends) == 1)
    # the longest round length that fits a quarter of the picture; the line's caps add a pixel or two
    assert ends[-1] - ends[0] == pytest.approx(arcsec / scale, abs=3)


def test_nothing_is_drawn_where_neither_scale_nor_wcs_is_known():
    assert not draw_detections(black(), rows(), field_of(), row_0_at_bottom=True).any()


def foot_and_length():
    """Where the compass's arrows start, and how long they are."""
    ny, nx = SHAPE
    length = round(min(nx, ny) * COMPASS_SHARE)
    return (nx - 2 * length, ny - 2 * length), length


@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("angle", [0, 90, 180, 215])
def test_the_compass_points_north_and_east(make_wcs, upwards, angle):
    wcs = make_wcs(SHAPE, angle=angle)
    drawn = draw_detections(black(), rows(), field_of(wcs=wcs), row_0_at_bottom=upwards)
    (x0, y0), length = foot_and_length()
    # sky directions by the WCS itself: which pixel step raises Dec, which raises RA
    middle = np.array([(SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2])
    ra, dec = wcs.wcs.crval
    for sky in ((ra, dec + 0.001), (ra + 0.001, dec)):
        step = np.array(wcs.world_to_pixel_values(*sky)) - middle
        step /= np.hypot(*step)
        if upwards:
            step[1] *= -1
        on = [drawn[round(y0 + t * step[1]), round(x0 + t * step[0])].min() for t in range(2, length - 1)]
        off = [drawn[round(y0 - t * step[1]), round(x0 - t * step[0])].min() for t in range(4, length - 1)]
        assert np.mean(on) > 120
        assert np.mean(off) < 60


def test_a_field_with_everything_is_drawn_at_any_size(make_wcs):
    for shape in ((2, 2), (8, 300), (1500, 40)):
        field = Field(
            "one", {"r": np.zeros(shape, np.float32)}, np.zeros(shape, np.bool_), wcs=make_wcs(shape), pixel_scale=0.4
        )
        rgb = np.zeros((*shape, 3), np.uint8)
        drawn = draw_detections(rgb, rows((-0.5, -0.5, 1.5, 1.5)), field, row_0_at_bottom=True)
        assert drawn.shape == (*shape, 3)


def test_a_png_holds_what_was_drawn(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", image)
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png")), image)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_boxes_on_a_picture_averaged_down_are_where_the_objects_are():
    large = rows((99.5, 59.5, 199.5, 139.5))
    shrunk = draw_detections(black(), large, field_of(), row_0_at_bottom=False, shrunk=4)
    same = draw_detections(black(), rows((24.5, 14.5, 49.5, 34.5)), field_of(), row_0_at_bottom=False)
    assert np.array_equal(shrunk, same)
    turned = draw_detections(black(), large, field_of(), row_0_at_bottom=True, shrunk=4)
    assert np.array_equal(
        turned, draw_detections(black(), rows((24.5, 14.5, 49.5, 34.5)), field_of(), row_0_at_bottom=True)
    )


def test_the_scale_bar_of_a_picture_averaged_down_is_of_its_own_pixels():
    shrunk = draw_detections(black(), rows(), field_of(scale=0.1), row_0_at_bottom=False, shrunk=4)
    assert np.array_equal(shrunk, draw_detections(black(), rows(), field_of(scale=0.4), row_0_at_bottom=False))


def test_what_a_classifier_doubts_has_another_colour_and_what_has_changed_a_ring():
    table = rows((20, 20, 40, 40), (60, 60, 80, 80), (100, 100, 120, 120))
    table["flags"] = [0, int(Flag.CALLED_STAR), int(Flag.CALLED_BOGUS | Flag.NO_CENTROID)]
    changed = Table({"x": [200.0], "y": [50.0]})
    drawn = draw_detections(black(), table, field_of(), row_0_at_bottom=True, changed=changed)[::-1]
    for colour, (low, high) in ((BOX, (18, 41)), (DOUBTED, (58, 121))):
        at_y, at_x = np.nonzero((drawn == colour).all(axis=-1))
        assert low <= at_x.min() <= at_x.max() <= high + 2
        assert low - 20 <= at_y.min() <= at_y.max() <= high + 20
    at_y, at_x = np.nonzero((drawn == CHANGED).all(axis=-1))
    np.testing.assert_allclose(np.hypot(at_x - 200, at_y - 50), 9, atol=1)
