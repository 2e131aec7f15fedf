import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldprep.tiles import Window, tiles, whole, windows

sides = st.integers(1, 300)


@settings(deadline=None)
@given(ny=sides, nx=sides, size=st.integers(1, 120), share=st.floats(0, 0.99))
def test_windows_cover_every_pixel_overlap_and_end_at_the_edge(ny, nx, size, share):
    overlap = int(size * share)
    tiles = windows((ny, nx), size, overlap)
    for length, starts, ends in (
        (ny, sorted({w.y0 for w in tiles}), sorted({w.y1 for w in tiles})),
        (nx, sorted({w.x0 for w in tiles}), sorted({w.x1 for w in tiles})),
    ):
        assert starts[0] == 0
        assert ends[-1] == length
        assert len(starts) == len(ends)
        assert all(end - start == min(size, length) for start, end in zip(starts, ends, strict=True))
        assert all(end - start >= overlap for start, end in zip(starts[1:], ends[:-1], strict=True))
        # not one window more than needed
        assert len(starts) == (1 if length <= size else -(-(length - overlap) // (size - overlap)))
    assert len(tiles) == len({w.x0 for w in tiles}) * len({w.y0 for w in tiles}) == len(set(tiles))


@settings(deadline=None)
@given(ny=sides, nx=sides, size=st.integers(1, 120), share=st.floats(0, 0.99))
def test_cores_cover_every_pixel_once_half_an_overlap_from_where_their_windows_end(ny, nx, size, share):
    overlap = int(size * share)
    owners = np.zeros((ny, nx), int)
    found = tiles((ny, nx), size, overlap)
    for one in found:
        owners[one.core.rows, one.core.columns] += 1
        for low, core_low in ((one.window.x0, one.core.x0), (one.window.y0, one.core.y0)):
            assert core_low - low >= overlap // 2 or low == 0
        for high, core_high, end in ((one.window.x1, one.core.x1, nx), (one.window.y1, one.core.y1, ny)):
            assert high - core_high >= overlap // 2 or high == end
    assert (owners == 1).all()
    assert [one.window for one in found] == windows((ny, nx), size, overlap)


def test_the_whole_is_one_window():
    assert whole((20, 30)) == Window(0, 0, 30, 20)
    assert whole((20, 30)).shape == (20, 30)


def test_slices_cut_what_the_window_says():
    image = np.arange(20 * 30).reshape(20, 30)
    window = Window(3, 5, 10, 9)
    assert np.array_equal(image[window.rows, window.columns], image[5:9, 3:10])


def test_an_sdss_field_has_twelve_windows_row_by_row():
    tiles = windows((1489, 2048), 640, 160)
    assert len(tiles) == 12
    assert tiles[0] == Window(0, 0, 640, 640)
    assert tiles[1].y0 == 0
    assert tiles[-1] == Window(2048 - 640, 1489 - 640, 2048, 1489)


@pytest.mark.parametrize("overlap", [-1, 640, 700])
def test_an_overlap_that_cannot_be_is_refused(overlap):
    with pytest.raises(ValueError, match="overlap"):
        windows((1000, 1000), 640, overlap)
