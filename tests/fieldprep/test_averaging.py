import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldprep import Field
from fieldprep.averaging import block_mask, block_means, block_picture

sides, factors = st.integers(1, 40), st.integers(1, 9)


@settings(deadline=None)
@given(ny=sides, nx=sides, factor=factors, seed=st.integers(0, 1000))
def test_each_pixel_is_the_mean_of_its_blocks_finite_pixels(ny, nx, factor, seed):
    random = np.random.default_rng(seed)
    image = random.normal(5, 1, (ny, nx)).astype(np.float32)
    image[random.random((ny, nx)) < 0.3] = np.nan
    means = block_means(image, factor)
    assert means.shape == (-(-ny // factor), -(-nx // factor))
    assert means.dtype == np.float32
    for (row, column), mean in np.ndenumerate(means):
        block = image[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        finite = block[np.isfinite(block)]
        assert mean == pytest.approx(finite.mean(), rel=1e-5) if finite.size else np.isnan(mean)


@settings(deadline=None)
@given(ny=sides, nx=sides, factor=factors, seed=st.integers(0, 1000))
def test_a_block_is_unusable_from_half_of_its_pixels(ny, nx, factor, seed):
    mask = np.random.default_rng(seed).random((ny, nx)) < 0.5
    for (row, column), unusable in np.ndenumerate(block_mask(mask, factor)):
        block = mask[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        assert unusable == (2 * block.sum() >= block.size)


def test_infinite_pixels_are_left_out():
    assert block_means(np.array([[1, np.inf], [-np.inf, 3]], np.float32), 2).tolist() == [[2]]


def test_a_picture_keeps_its_colours():
    rgb = np.zeros((5, 7, 3), np.uint8)
    rgb[..., 1], rgb[..., 2] = 100, 255
    assert (block_picture(rgb, 2) == (0, 100, 255)).all()
    assert block_picture(rgb, 2).shape == (3, 4, 3)


def test_a_field_averaged_down_has_larger_pixels_and_no_wcs(make_wcs):
    image = np.arange(24, dtype=np.float32).reshape(4, 6)
    field = Field("a", {"r": image}, image > 22, wcs=make_wcs((4, 6)), pixel_scale=0.4, noise={"r": image})
    binned = field.binned(2)
    assert binned.bands["r"].tolist() == [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]
    assert (binned.pixel_scale, binned.wcs, dict(binned.noise), binned.mask.any()) == (0.8, None, {}, False)
