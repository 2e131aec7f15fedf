import warnings

import cv2
import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from fieldprep import Field

MARK = (11, 33)  # row, column of the marked object in an image of 40 x 50


def colour_image(dtype, shape=(40, 50)):
    top = np.iinfo(dtype).max
    return np.random.default_rng(3).integers(0, top, (*shape, 3), dtype=dtype, endpoint=True)


def stacked(field):
    return np.stack([field.bands[band] for band in "RGB"], axis=-1)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_keeps_its_order_and_depth(tmp_path, ending, dtype):
    image = colour_image(dtype)
    path = tmp_path / f"a.{ending}"
    cv2.imwrite(str(path), image[..., ::-1])
    field = Field.read(path)
    assert list(field.bands) == ["B", "G", "R"]
    assert np.array_equal(stacked(field), image)
    assert not field.mask.any()


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_is_one_band_of_full_depth(tmp_path, ending, dtype):
    image = colour_image(dtype)[..., 0]
    Image.fromarray(image).save(tmp_path / f"a.{ending}")
    field = Field.read(tmp_path / f"a.{ending}")
    assert list(field.bands) == ["gray"]
    assert np.array_equal(field.bands["gray"], image)
    assert field.bands["gray"].max() > (60000 if dtype == np.uint16 else 250)


def test_colour_picture_of_gray_is_one_band(tmp_path):
    gray = colour_image(np.uint8)[..., 0]
    Image.fromarray(np.stack([gray] * 3, axis=-1)).save(tmp_path / "a.png")
    assert list(Field.read(tmp_path / "a.png").bands) == ["gray"]


def test_float_tiff_stays_float(tmp_path):
    image = np.random.default_rng(1).normal(0, 1e-3, (40, 50)).astype(np.float32)
    Image.fromarray(image).save(tmp_path / "a.tiff")
    field = Field.read(tmp_path / "a.tiff")
    assert np.array_equal(field.bands["gray"], image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparent_pixels_are_masked(tmp_path, dtype):
    image = colour_image(dtype)
    alpha = np.full((40, 50, 1), np.iinfo(dtype).max, dtype)
    alpha[:5] = 0
    cv2.imwrite(str(tmp_path / "a.png"), np.concatenate([image[..., ::-1], alpha], axis=-1))
    field = Field.read(tmp_path / "a.png")
    assert field.mask[:5].all()
    assert not field.mask[5:].any()
    assert np.array_equal(stacked(field)[5:], image[5:])


@pytest.mark.parametrize("mode", ["P", "1", "LA"])
def test_other_kinds_of_png_are_what_pillow_shows(tmp_path, mode):
    image = colour_image(np.uint8)
    image[:20] = 255
    picture = Image.fromarray(image).convert(mode)
    picture.save(tmp_path / "a.png")
    expected = np.asarray(picture.convert("RGB"))
    field = Field.read(tmp_path / "a.png")
    shown = stacked(field) if len(field.bands) == 3 else np.stack([field.bands["gray"]] * 3, axis=-1)
    assert np.array_equal(shown, expected)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_is_what_pillow_decodes(tmp_path, mode):
    smooth = cv2.GaussianBlur(colour_image(np.uint8, (64, 96)), (0, 0), 5)
    Image.fromarray(smooth).convert(mode).save(tmp_path / "a.jpg", quality=95)
    expected = np.asarray(Image.open(tmp_path / "a.jpg"))
    field = Field.read(tmp_path / "a.jpg")
    got = stacked(field) if mode == "RGB" else field.bands["gray"]
    assert np.abs(got - expected).max() <= 2  # decoders may round differently


def test_orientation_of_a_camera_turns_nothing(tmp_path):
    image = colour_image(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(stacked(Field.read(tmp_path / "a.png")), image)


def test_without_a_wcs_there_is_none_and_a_note(tmp_path):
    Image.fromarray(colour_image(np.uint8)).save(tmp_path / "a.png")
    field = Field.read(tmp_path / "a.png")
    assert field.wcs is None
    assert "no WCS" in field.notes[0]


def marked_fits_and_picture(make_fits, make_wcs, ending, angle=25):
    """Same scene as FITS and, turned upside down as pictures are drawn, as a picture."""
    image = np.zeros((40, 50), np.float32)
    image[MARK] = 250
    wcs = make_wcs((40, 50), crpix=(20, 13), angle=angle, scale=0.7)
    path = make_fits("a.fits", image, wcs=wcs)
    picture = path.with_name(f"b.{ending}")
    Image.fromarray(np.stack([image[::-1], image[::-1] * 0.5, image[::-1]], axis=-1).astype(np.uint8)).save(picture)
    return path, picture, wcs


def sky_of_mark(field):
    image = next(iter(field.bands.values()))
    row, column = np.unravel_index(np.argmax(image), image.shape)
    return (row, column), field.wcs.pixel_to_world(column, row)


def check_same_sky(path, picture):
    (row, column), sky = sky_of_mark(Field.read(path))
    (picture_row, picture_column), picture_sky = sky_of_mark(Field.read(picture))
    assert (row, column) == MARK
    assert (picture_row, picture_column) == (39 - row, column)
    assert sky.separation(picture_sky).arcsec < 1e-4
    assert Field.read(picture).pixel_scale == pytest.approx(0.7, rel=1e-6)


@pytest.mark.parametrize("form", ["CD", "PC", "CROTA"])
@pytest.mark.parametrize("name", ["b.wcs", "b.hdr", "b.wcs.fits", "b.png.wcs"])
def test_sidecar_counts_rows_as_the_picture_stores_them(make_fits, make_wcs, name, form):
    path, picture, wcs = marked_fits_and_picture(make_fits, make_wcs, "png")
    Image.open(picture).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(picture)  # rows as in the FITS file
    header = wcs.to_header()
    matrix = header["PC*"]
    if form != "PC":
        del header["PC*"], header["CDELT*"]
    if form == "CD":
        header.update({"CD" + key[2:]: value for key, value in matrix.items()})
    if form == "CROTA":
        header.update({"CDELT1": -0.7 / 3600, "CDELT2": 0.7 / 3600, "CROTA2": -25.0})
    sidecar = path.with_name(name)
    if name.endswith(".hdr"):
        header.totextfile(sidecar)
    else:
        fits.PrimaryHDU(header=header).writeto(sidecar)
    (row, column), sky = sky_of_mark(Field.read(path))
    mark, picture_sky = sky_of_mark(Field.read(picture))
    assert mark == (row, column) == MARK
    assert sky.separation(picture_sky).arcsec < 1e-4


def with_avm(path, picture):
    from pyavm import AVM  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pyavm itself
        AVM.from_header(fits.getheader(path)).embed(str(picture), str(picture.with_stem("c")))
    return picture.with_stem("c")


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize("angle", [0, 25, -25, 110, 160])
def test_avm_puts_the_mark_where_fits_has_it(make_fits, make_wcs, ending, angle):
    path, picture, _ = marked_fits_and_picture(make_fits, make_wcs, ending, angle)
    check_same_sky(path, with_avm(path, picture))


def test_avm_of_a_larger_edition_fits_the_smaller_one(make_fits, make_wcs):
    path, picture, wcs = marked_fits_and_picture(make_fits, make_wcs, "png")
    Image.open(picture).resize((25, 20)).save(picture)
    field = Field.read(with_avm(path, picture))
    assert field.pixel_scale == pytest.approx(1.4, rel=1e-6)
    # the upper left corner of the small picture is that of the large one
    assert field.wcs.pixel_to_world(-0.5, -0.5).separation(wcs.pixel_to_world(-0.5, 39.5)).arcsec < 1e-4
    assert field.wcs.pixel_to_world(24.5, 19.5).separation(wcs.pixel_to_world(49.5, -0.5)).arcsec < 1e-4


def test_avm_of_another_shape_is_no_wcs(make_fits, make_wcs):
    path, picture, _ = marked_fits_and_picture(make_fits, make_wcs, "png")
    Image.open(picture).crop((0, 0, 50, 30)).save(picture)
    field = Field.read(with_avm(path, picture))
    assert field.wcs is None
    assert "no WCS" in field.notes[0]


def test_a_damaged_sidecar_is_refused_by_name(tmp_path, refused):
    Image.fromarray(colour_image(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.wcs").write_bytes(b"\xff\xfe\x00 no header")
    refused(tmp_path / "a.png", "FITS header", name="a.wcs")


@pytest.mark.parametrize(("ending", "depth"), [("jpg", 8), ("png", 8), ("tif", 8), ("png", 16), ("tif", 16)])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_picture_is_refused(tmp_path, refused, ending, depth, share):
    image = colour_image(np.uint8, (120, 150)) if depth == 8 else colour_image(np.uint16, (120, 150))[..., 0]
    Image.fromarray(image).save(tmp_path / f"whole.{ending}")
    content = (tmp_path / f"whole.{ending}").read_bytes()
    (tmp_path / f"a.{ending}").write_bytes(content[: int(len(content) * share)])
    refused(tmp_path / f"a.{ending}")


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_text_called_a_picture_is_refused(tmp_path, refused, ending):
    (tmp_path / f"a.{ending}").write_text("this is no picture")
    refused(tmp_path / f"a.{ending}", "not a")


def test_missing_and_empty_pictures_are_refused(tmp_path, refused):
    refused(tmp_path / "a.png", "no such file")
    (tmp_path / "a.png").touch()
    refused(tmp_path / "a.png", "empty", "again")


def test_a_picture_of_many_pixels_is_neither_refused_nor_warned_of(tmp_path, monkeypatch):
    # Pillow takes pictures of more than 89 million pixels for an attack; a mosaic has that many
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    Image.fromarray(colour_image(np.uint8)).save(tmp_path / "a.png")
    assert Field.read(tmp_path / "a.png").shape == (40, 50)
    assert Image.MAX_IMAGE_PIXELS == 500


def test_a_picture_that_opencv_stumbles_over_is_refused(tmp_path, refused, monkeypatch):
    def too_large(*_):
        raise cv2.error("validateInputImageSize\nCV_IO_MAX_IMAGE_PIXELS")

    Image.fromarray(colour_image(np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(cv2, "imdecode", too_large)
    refused(tmp_path / "a.png", "cannot be decoded", "CV_IO_MAX_IMAGE_PIXELS")


def test_real_pictures_of_jwst_have_their_pixels(data):
    path = data / "hst_jwst" / "jwst_ceers.png"
    field = Field.read(path)
    assert np.array_equal(stacked(field), np.asarray(Image.open(path).convert("RGB")))
