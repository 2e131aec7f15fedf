import numpy as np
import pytest

from detector import Detections
from fieldprep import Field
from fieldprep.light import signal_to_noise
from fullfield.photometry import centroids


def field_of(*images, mask=None):
    bands = {name: image.astype(np.float32) for name, image in zip("gri", images, strict=False)}
    return Field("one", bands, np.zeros(images[0].shape, np.bool_) if mask is None else mask)


def gaussians(*rows, shape=(80, 120), noise=1.0):
    """Gaussians of (x, y, sigma, height) on noise."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.random.default_rng(0).normal(0, noise, shape)
    for cx, cy, sigma, height in rows:
        image = image + height * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    return image


def boxes(*xywh):
    table = np.array(xywh, np.float64).reshape(-1, 4)
    xyxy = np.concatenate([table[:, :2] - table[:, 2:] / 2, table[:, :2] + table[:, 2:] / 2], axis=1)
    zeros = np.zeros(len(table), np.int64)
    return Detections(xyxy, np.full(len(table), 0.5), zeros, zeros)


@pytest.mark.parametrize("offset", [(0, 0), (1.3, -0.8), (-2, 2)])
def test_the_centroid_is_where_the_light_is_not_where_the_box_is(offset):
    x, y = 60.3, 40.7
    field = field_of(gaussians((x, y, 2.5, 400)))
    xy, found = centroids(field, boxes((x + offset[0], y + offset[1], 16, 16)))
    assert found.all()
    assert xy[0] == pytest.approx([x, y], abs=0.05)


def test_a_pixels_centre_is_an_integer():
    image = np.zeros((40, 40))
    image[17:20, 22:25] = 50.0  # centred on pixel (x 23, y 18)
    xy, found = centroids(field_of(image), boxes((23.4, 17.8, 10, 10)))
    assert found.all()
    assert xy[0] == pytest.approx([23, 18], abs=0.01)


def test_neighbours_keep_their_own_light():
    field = field_of(gaussians((50, 40, 2, 300), (62, 40, 2, 300)))
    xy, found = centroids(field, boxes((50.5, 40, 12, 12), (61.5, 40, 12, 12)))
    assert found.all()
    assert xy[:, 0] == pytest.approx([50, 62], abs=0.15)


def test_a_faint_companion_is_not_pulled_onto_its_bright_neighbour():
    field = field_of(gaussians((50, 40, 2, 3000), (60, 40, 2, 60)))
    xy, _ = centroids(field, boxes((60, 40, 10, 10)))
    assert abs(xy[0, 0] - 60) <= 2.5  # a quarter of the box's side at most


def test_an_empty_box_has_no_centroid_and_keeps_its_centre():
    image = gaussians((100, 40, 2.5, 400))
    image[:, :50] = 0
    field = field_of(image)
    xy, found = centroids(field, boxes((100, 40, 16, 16), (20, 30, 12, 12)))
    assert found.tolist() == [True, False]
    assert xy[1].tolist() == [20, 30]


def test_light_far_from_the_boxs_centre_is_a_neighbours():
    field = field_of(gaussians((60, 40, 3, 400), noise=0.01))
    xy, found = centroids(field, boxes((53, 40, 12, 12)))
    assert not found[0]
    assert xy[0].tolist() == [53, 40]


def test_missing_pixels_do_not_spread():
    image = gaussians((60, 40, 2.5, 400))
    image[:, 90:] = np.nan
    xy, found = centroids(field_of(image), boxes((60.5, 40, 16, 16), (105, 40, 16, 16)))
    assert xy[0] == pytest.approx([60, 40], abs=0.05)
    assert np.isfinite(xy).all()
    assert found.tolist() == [True, False]


def test_all_bands_add_up_each_over_its_own_noise():
    quiet, loud = gaussians((60, 40, 2.5, 40)), 1000 * gaussians((60, 40, 2.5, 40))
    total = signal_to_noise(field_of(quiet, loud))
    one = signal_to_noise(field_of(quiet))
    assert total[40, 60] == pytest.approx(2 * one[40, 60], rel=0.02)
    assert abs(np.median(total)) < 0.1


def test_no_detection_has_no_centroid():
    xy, found = centroids(field_of(gaussians()), boxes())
    assert xy.shape == (0, 2)
    assert found.shape == (0,)


def test_a_mosaic_is_measured_by_windows_as_it_would_be_whole(monkeypatch, as_mosaic):
    random = np.random.default_rng(1)
    stars = np.stack(
        [random.uniform(0, 400, 40), random.uniform(0, 300, 40), np.full(40, 2), random.uniform(20, 900, 40)]
    )
    field = field_of(gaussians(*stars.T, shape=(300, 400)), gaussians(*stars.T, shape=(300, 400)))
    found = boxes(*np.stack([stars[0] + 1, stars[1], np.full(40, 14), np.full(40, 11)], axis=1))
    monkeypatch.setattr("fullfield.photometry.WINDOW_PX", 64)
    mosaic = as_mosaic(field)
    for got, expected in zip(centroids(mosaic, found), centroids(field, found), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)
    assert centroids(mosaic, found)[1].mean() > 0.8


def test_a_galaxy_larger_than_a_window_is_measured_averaged_down(monkeypatch, as_mosaic):
    monkeypatch.setattr("fullfield.photometry.LARGEST_PX", 32)
    field = field_of(gaussians((151.2, 120.6, 30, 50), shape=(300, 400)))
    mosaic = as_mosaic(field)
    (xy,), found = centroids(mosaic, boxes((155, 118, 160, 160)))
    assert found.all()
    assert xy == pytest.approx([151.2, 120.6], abs=0.3)


def test_a_box_at_the_edge_has_a_centroid():
    xy, found = centroids(field_of(gaussians((1.0, 40, 2.5, 400))), boxes((2.75, 40, 6.5, 12)))
    assert found.all()
    assert xy[0] == pytest.approx([1, 40], abs=1.0)
