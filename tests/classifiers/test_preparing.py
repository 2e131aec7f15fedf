import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.preparing import SCALINGS, Preparation
from fieldprep.errors import InputError


def stamps(n=3, side=32, channels=3, seed=0, dtype=np.float32):
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    source = 40 * np.exp(-(x**2 + y**2) / 18)[None, ..., None]
    return (random.normal(10, 1, (n, side, side, channels)) + source).astype(dtype)


@pytest.mark.parametrize("scaling", [(name,) for name in SCALINGS] + [("noise", "peak")])
@pytest.mark.parametrize(("side", "size"), [(32, 32), (32, 20), (32, 48), (33, 16)])
def test_the_input_has_the_size_asked_for_and_the_channels_of_each_scaling(scaling, side, size):
    prepare = Preparation(size, 3, scaling=scaling)
    prepared = prepare(stamps(side=side))
    assert prepared.shape == (3, 3 * len(scaling), size, size)
    assert prepared.dtype == np.float32
    assert np.isfinite(prepared).all()


@given(scale=st.floats(1e-3, 1e6), offset=st.floats(-100, 100), scaling=st.sampled_from(["noise", "peak"]))
def test_unit_and_zero_point_of_a_stamp_do_not_matter(scale, offset, scaling):
    prepare, plain = Preparation(32, 3, scaling=(scaling,)), stamps(dtype=np.float64)
    assert prepare((plain + offset) * scale) == pytest.approx(prepare(plain), abs=2e-3)


def test_pixels_without_data_are_the_sky():
    plain = stamps(1)
    holed = plain.copy()
    holed[0, :, -6:] = np.nan
    prepared = Preparation(32, 3)(holed)
    assert (prepared[0, :, :, -6:] == 0).all()
    assert prepared[0, :, :, :26] == pytest.approx(Preparation(32, 3)(plain)[0, :, :, :26], abs=0.1)


def test_a_channel_without_data_is_nothing_and_the_others_stay():
    holed = stamps(1)
    holed[..., 1] = np.nan
    prepared = Preparation(32, 3, scaling=("noise", "peak"))(holed)
    assert (prepared[0, [1, 4]] == 0).all()
    assert prepared[0, 0].max() > 1


def test_a_ring_without_data_leaves_the_sky_to_the_rest():
    holed = np.full((1, 32, 32, 1), np.nan, np.float32)
    holed[0, 8:24, 8:24] = stamps(1, 16, 1)[0]
    assert np.isfinite(Preparation(32, 1)(holed)).all()


def test_a_gray_stamp_is_repeated_where_that_is_allowed():
    gray = stamps(2, channels=1)
    prepared = Preparation(32, 3, gray=True, scaling=("noise", "peak"))(gray)
    assert prepared.shape == (2, 6, 32, 32)
    assert (prepared[:, 0] == prepared[:, 2]).all()
    assert (prepared[:, 3] == prepared[:, 5]).all()


def test_stamps_of_several_sizes_are_prepared_as_each_alone():
    some = [stamps(1, side)[0] for side in (20, 32, 45)]
    prepare = Preparation(24, 3)
    assert np.array_equal(prepare(some), np.concatenate([prepare(one[None]) for one in some]))


def test_eight_and_sixteen_bits_are_shares_of_their_highest():
    for dtype in (np.uint8, np.uint16):
        full = np.full((1, 8, 8, 1), np.iinfo(dtype).max, dtype)
        assert (Preparation(8, 1, scaling=("unit",))(full) == 1).all()


def test_a_stamp_of_one_value_is_nothing():
    assert (Preparation(8, 1, scaling=("noise", "peak"))(np.full((1, 8, 8, 1), 7, np.uint8)) == 0).all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((2, 8, 8, 2)), "stamp 0: 2 channels, where the classifier takes 1 or 3"),
        (np.zeros((2, 8, 8)), r"shape \(N, ny, nx, C\), got \(2, 8, 8\)"),
        (np.zeros((2, 0, 8, 3)), "shape"),
        (np.stack([np.zeros((8, 8, 3)), np.full((8, 8, 3), np.nan)]), "stamp 1: not a finite pixel"),
        ([np.zeros((8, 8, 3)), np.full((9, 9, 3), np.inf)], "stamp 1: not a finite pixel"),
        (np.full((1, 8, 8, 3), "a"), "no numbers"),
    ],
)
def test_what_is_no_stamp_is_refused_in_one_line(bad, message):
    with pytest.raises(InputError, match=message):
        Preparation(8, 3, gray=True)(bad)


def test_no_stamps_are_no_input():
    assert Preparation(8, 3)(np.zeros((0, 5, 5, 3))).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("bad", [{"size": 0}, {"channels": 1.5}, {"scaling": ()}, {"scaling": ("sharp",)}])
def test_a_preparation_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Preparation(**{"size": 8, "channels": 3, **bad})


@given(order=st.permutations(range(3)), scaling=st.sampled_from([*SCALINGS]), dtype=st.sampled_from(["f4", "u1"]))
def test_what_is_averaged_knows_no_colour(order, scaling, dtype):
    prepare, plain = Preparation(16, 3, averaged=True, scaling=(scaling,)), stamps(dtype=dtype)
    prepared = prepare(plain)
    assert prepared.shape == (3, prepare.inputs, 16, 16)
    assert prepared == pytest.approx(prepare(plain[..., order]), abs=1e-4)


@pytest.mark.parametrize("scaling", [("unit",), ("noise", "peak")])
def test_what_is_averaged_is_prepared_as_the_mean_of_its_channels(scaling):
    plain = stamps()
    mean = Preparation(16, 1, scaling=scaling)(plain.mean(axis=3, keepdims=True))
    assert Preparation(16, 3, averaged=True, scaling=scaling)(plain) == pytest.approx(mean, abs=1e-4)


def test_the_mean_is_of_the_channels_that_are_there():
    holed = stamps()
    holed[..., 1] = np.nan
    holed[0, 3:5, :, 0] = np.nan
    holed[1, 7, 7] = np.nan  # in none
    prepared = Preparation(32, 3, averaged=True, scaling=("unit",))(holed)
    with np.errstate(invalid="ignore"):
        there = np.isfinite(holed)
        mean = np.where(there, holed, 0).sum(axis=3) / np.maximum(there.sum(axis=3), 1)
    assert prepared[:, 0] == pytest.approx(mean, rel=1e-5)


def test_a_gray_stamp_has_its_own_mean():
    gray = stamps(channels=1)
    prepare = Preparation(16, 3, gray=True, averaged=True)
    assert prepare(gray) == pytest.approx(prepare(np.repeat(gray, 3, axis=3)), abs=1e-4)
