import bz2
import gzip

import cv2
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldprep import Field, opening
from fieldprep.mosaic import Mosaic
from fieldprep.opening import open_field
from fieldprep.sky import sky_level_and_noise
from fieldprep.tiles import Window, whole
from fieldprep.variants import VARIANTS, picture
from fieldprep.views import HELD_PIXELS, FieldView, MosaicView, view_of

SHAPE = (90, 130)


def noise_image(seed=0, shape=SHAPE):
    image = np.random.default_rng(seed).normal(100, 3, shape).astype(np.float32)
    image[10:14, 20:40] = np.nan
    image[50:60, 70:80] += 500
    return image


def opened(source):
    """The same source as a mosaic, whatever its size."""
    sky = open_field(source, largest=0)
    assert isinstance(sky, Mosaic)
    return sky


def assert_same(part, expected):
    assert list(part.bands) == list(expected.bands)
    for band, image in expected.bands.items():
        np.testing.assert_array_equal(part.bands[band], image)
    np.testing.assert_array_equal(part.mask, expected.mask)
    assert set(part.noise) == set(expected.noise)
    for band, image in expected.noise.items():
        np.testing.assert_array_equal(part.noise[band], image)
    assert (part.name, part.survey, part.pixel_scale) == (expected.name, expected.survey, expected.pixel_scale)
    if expected.wcs is None:
        assert part.wcs is None
        return
    sky = [one.wcs.pixel_to_world_values(3, 4) for one in (part, expected)]
    np.testing.assert_allclose(*sky, atol=1e-10)


def sources(make_fits, make_wcs, tmp_path):
    """Files of every layout that `Field.read` takes, by what is special about them."""
    image = noise_image()
    err = np.where(image > 400, 0, 3).astype(np.float32)
    dq = (image > 500).astype(np.int16)
    beside = [(image, {"EXTNAME": "SCI"}), (err, {"EXTNAME": "ERR"}), (dq, {"EXTNAME": "DQ"})]
    other = [(image, {"EXTNAME": "SCI"}), (err[:40], {"EXTNAME": "ERR"})]
    weight = [(image, {"EXTNAME": "SCI"}), (np.abs(err - 3), {"EXTNAME": "WHT"})]
    yield "plain", make_fits("plain.fits", image, band="r")
    yield "saturated", make_fits("saturated.fits", image, header={"SATURATE": 550.0})
    yield "no wcs", make_fits("bare.fits", image, wcs=None)
    yield "err and dq", make_fits("beside.fits", beside, header={"FILTER": "F160W"})
    yield "err of another shape", make_fits("other.fits", other)
    yield "coverage", make_fits("coverage.fits", weight, header={"TELESCOP": "HST"})
    yield "two hdus", make_fits("two.fits", [(image, {"BAND": "r"}), (image + 7, {"BAND": "g"})])
    cube = np.stack([image, image + 1, image + 2])
    yield "cube", make_fits("cube.fits", cube, wcs=make_wcs(SHAPE), header={"BANDS": "grz"})
    counts = np.nan_to_num(image).astype(np.int16)
    counts[3, 4] = -32768
    scaled = fits.PrimaryHDU(counts)
    scaled.header.update({"BSCALE": 2.0, "BZERO": 10.0, "BLANK": -32768})
    scaled.writeto(tmp_path / "scaled.fits")
    yield "scaled integers", tmp_path / "scaled.fits"
    for k, tile in enumerate(((1, 130), (32, 32))):
        hdu = fits.CompImageHDU(image, compression_type="RICE_1", tile_shape=tile, quantize_level=-0.01)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / f"packed{k}.fits.fz")
        yield f"tiles of {tile}", tmp_path / f"packed{k}.fits.fz"
    for band, add in (("g", 0), ("r", 5)):
        make_fits(f"field-{band}.fits", image + add, band=band, folder=tmp_path / "folder")
    make_fits("field-r_rms.fits", err, band="r", folder=tmp_path / "folder")
    yield "folder", tmp_path / "folder"
    levels = np.clip(np.nan_to_num(image), 0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "gray.png"), levels)
    yield "gray picture", tmp_path / "gray.png"
    cv2.imwrite(str(tmp_path / "rgba.png"), np.dstack([levels, levels // 2, levels // 3, (levels > 90) * 255]))
    yield "transparent picture", tmp_path / "rgba.png"


def test_a_window_of_a_mosaic_is_the_field_cropped(make_fits, make_wcs, tmp_path):
    windows = [
        whole(SHAPE),
        Window(0, 0, 1, 1),
        Window(15, 8, 90, 70),
        Window(60, 40, 130, 90),
        Window(129, 0, 130, 90),
    ]
    for what, source in sources(make_fits, make_wcs, tmp_path):
        field, mosaic = Field.read(source), opened(source)
        assert mosaic.shape == field.shape, what
        assert mosaic.bands == tuple(field.bands), what
        assert mosaic.notes == field.notes, what
        assert dict(mosaic.provenance) == dict(field.provenance), what
        for window in windows:
            assert_same(mosaic.window(window), field.window(window))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_window_is_the_field_cropped(make_fits, data):
    path = make_fits("a.fits", noise_image(), band="r")
    x0, y0 = data.draw(st.integers(0, SHAPE[1] - 1)), data.draw(st.integers(0, SHAPE[0] - 1))
    window = Window(x0, y0, data.draw(st.integers(x0 + 1, SHAPE[1])), data.draw(st.integers(y0 + 1, SHAPE[0])))
    assert_same(opened(path).window(window), Field.read(path).window(window))


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_a_mosaic_averaged_down_is_the_field_averaged_down(make_fits, monkeypatch, factor):
    monkeypatch.setattr("fieldprep.mosaic.READ_PIXELS", 2000)  # several reads a window
    path = make_fits("a.fits", noise_image(), band="r")
    binned, expected = opened(path).binned(factor), Field.read(path).binned(factor)
    assert binned.shape == expected.shape
    np.testing.assert_allclose(binned.window(whole(binned.shape)).bands["r"], expected.bands["r"], rtol=1e-5)
    window = Window(3, 2, 10, 9)
    np.testing.assert_allclose(
        binned.window(window).bands["r"], expected.bands["r"][window.rows, window.columns], rtol=1e-5
    )
    assert np.array_equal(binned.window(window).mask, expected.mask[window.rows, window.columns])


def test_sky_and_noise_of_a_sample_are_those_of_the_whole(make_fits, monkeypatch):
    monkeypatch.setattr("fieldprep.sky.SAMPLE", 500)
    monkeypatch.setattr("fieldprep.opening.READ_PIXELS", 700)  # several strips
    path = make_fits("a.fits", noise_image(), band="r")
    field, sample = Field.read(path), opened(path).sample()
    assert sample.mask.size < 1000
    assert sky_level_and_noise(sample.bands["r"], sample.mask) == sky_level_and_noise(field.bands["r"], field.mask)


@pytest.mark.parametrize("variant", VARIANTS)
def test_windows_of_a_mosaic_are_stretched_as_the_whole_field_is(make_fits, variant):
    folder = make_fits("x-g.fits", noise_image(0) / 100, band="g", folder=None).parent
    make_fits("x-r.fits", noise_image(1) / 90, band="r")
    make_fits("x-i.fits", noise_image(2) / 80, band="i")
    mosaic, expected = view_of(opened(folder), variant), picture(Field.read(folder), variant)
    assert isinstance(mosaic, MosaicView)
    for window in (Window(0, 0, 60, 50), Window(60, 0, 130, 50), Window(0, 50, 130, 90)):
        rgb, mask = mosaic.window(window)
        # a field of so few pixels is its own sample
        assert np.array_equal(rgb, expected[window.rows, window.columns])
        assert np.array_equal(mask, Field.read(folder).mask[window.rows, window.columns])


def test_a_view_averaged_down_is_held_where_it_fits(make_fits):
    path = make_fits("a.fits", noise_image(), band="r")
    binned = view_of(opened(path)).binned(2)
    assert isinstance(binned, FieldView)
    assert np.prod(binned.shape) < HELD_PIXELS
    assert np.abs(binned.rgb.astype(int) - view_of(Field.read(path)).binned(2).rgb).max() <= 1


def test_a_field_under_the_limit_is_read_whole(make_fits):
    path = make_fits("a.fits", noise_image())
    assert isinstance(open_field(path), Field)
    assert isinstance(open_field(path, largest=90 * 130), Field)
    assert isinstance(open_field(path, largest=90 * 130 - 1), Mosaic)


@pytest.mark.parametrize(("pack", "ending"), [(gzip.compress, "gz"), (bz2.compress, "bz2")])
def test_a_large_packed_file_is_unpacked_beside_the_cache_and_removed(make_fits, tmp_path, monkeypatch, pack, ending):
    monkeypatch.setattr(opening, "PACKED_BYTES", 1000)
    monkeypatch.setenv("FULLFIELD_CACHE", str(tmp_path / "cache"))
    plain = make_fits("a.fits", noise_image(), band="r")
    packed = tmp_path / f"a.fits.{ending}"
    packed.write_bytes(pack(plain.read_bytes()))
    mosaic = opened(packed)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    np.testing.assert_array_equal(mosaic.window(whole(SHAPE)).bands["r"], noise_image())
    assert mosaic.name == "a"
    assert mosaic.provenance["files"] == [str(packed)]
    assert "unpacked" in mosaic.notes[-1]
    del mosaic
    assert list((tmp_path / "cache").iterdir()) == []
    assert isinstance(open_field(packed), Field)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_packed_file_is_refused(make_fits, tmp_path, monkeypatch, refused):
    monkeypatch.setattr(opening, "PACKED_BYTES", 1000)
    content = make_fits("a.fits", noise_image()).read_bytes()
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress(content)[:-2000])
    (tmp_path / "c.fits.bz2").write_bytes(bz2.compress(content)[:-2000])
    refused(tmp_path / "b.fits.gz", "gzip", "fetch it again", read=opened)
    refused(tmp_path / "c.fits.bz2", "bzip2", "fetch it again", read=opened)


def test_bands_on_different_grids_are_to_be_aligned_first(make_fits, make_wcs, tmp_path, refused):
    make_fits("x-g.fits", noise_image(), band="g", folder=tmp_path / "a")
    make_fits("x-r.fits", noise_image(), band="r", folder=tmp_path / "a", wcs=make_wcs(SHAPE, angle=3))
    refused(tmp_path / "a", "grid", "onto one grid first", read=opened, name="x-g.fits")
    make_fits("x-g.fits", noise_image(), band="g", folder=tmp_path / "b")
    make_fits("x-r.fits", noise_image(shape=(70, 130)), band="r", folder=tmp_path / "b")
    refused(tmp_path / "b", "70 x 130", "onto one grid first", read=opened, name="x-r.fits")
    two = [(noise_image(), {"BAND": "r"}), (noise_image(shape=(70, 130)), {"BAND": "g"})]
    refused(make_fits("c.fits", two), "70 x 130", "onto one grid first", read=opened)


def test_a_mosaic_without_a_finite_pixel_or_of_tables_is_refused(make_fits, tmp_path, refused):
    refused(make_fits("a.fits", np.full(SHAPE, np.nan, np.float32)), "no finite pixel", read=opened, name="a")
    (tmp_path / "b.fits").write_text("no FITS")
    refused(tmp_path / "b.fits", "not a FITS file", read=opened)
    refused(tmp_path / "c.fits", "no such file", read=opened)
    refused(tmp_path / "c.png", "no such file", read=opened)


def test_a_file_cut_short_is_refused_where_it_ends(make_fits, refused):
    path = make_fits("a.fits", noise_image(shape=(400, 400)), wcs=None)
    path.write_bytes(path.read_bytes()[:400_000])
    refused(path, "damaged", read=opened)
