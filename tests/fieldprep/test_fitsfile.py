import bz2
import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from fieldprep import Field
from fieldprep.fitsfile import is_fits, kind_by_name, split_extension
from fieldprep.fitsroles import as_noise


def noise_image(shape=(40, 50), seed=1, dtype=np.float32):
    return np.random.default_rng(seed).normal(100, 5, shape).astype(dtype)


def only(field):
    (image,) = field.bands.values()
    return image


def test_plain_gz_bz2_and_fz_give_the_same_bits(tmp_path, make_fits):
    image = noise_image()
    plain = make_fits("a.fits", image, band="r")
    content = plain.read_bytes()
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(content))
    (tmp_path / "a.fits.bz2").write_bytes(bz2.compress(content))
    packed = fits.CompImageHDU(image, fits.getheader(plain), compression_type="GZIP_2", quantize_level=0)
    packed.writeto(tmp_path / "a.fits.fz")
    for name in ("a.fits", "a.fits.gz", "a.fits.bz2", "a.fits.fz"):
        field = Field.read(tmp_path / name)
        assert field.name == "a", name
        assert list(field.bands) == ["r"], name
        assert only(field).tobytes() == image.tobytes(), name
        assert field.wcs.wcs.crval == pytest.approx([150, 2]), name


def test_bzip2_of_many_streams_is_read_whole(tmp_path, make_fits):
    content = make_fits("a.fits", noise_image((200, 200))).read_bytes()
    (tmp_path / "c.fits.bz2").write_bytes(bz2.compress(content[:50000]) + bz2.compress(content[50000:]))
    assert np.array_equal(only(Field.read(tmp_path / "c.fits.bz2")), only(Field.read(tmp_path / "a.fits")))


@pytest.mark.parametrize("empty", [0, 1, 3])
def test_the_image_may_be_in_any_hdu(tmp_path, empty):
    image = noise_image()
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU() for _ in range(empty)), fits.ImageHDU(image)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    assert np.array_equal(only(Field.read(tmp_path / "a.fits")), image)


@pytest.mark.parametrize("key", ["BAND", "FILTER"])
def test_bands_as_hdus_carry_their_own_names(make_fits, key):
    images = {band: noise_image(seed=k) for k, band in enumerate("zgr")}
    field = Field.read(make_fits("a.fits", [(image, {key: band}) for band, image in images.items()]))
    assert list(field.bands) == ["g", "r", "z"]  # by wavelength, not as the file has them
    for band, image in images.items():
        assert np.array_equal(field.bands[band], image)


@pytest.mark.parametrize(
    "keys",
    [
        {"BAND1": "g", "BAND2": "r", "BAND3": "z"},
        {"BAND0": "g", "BAND1": "r", "BAND2": "z"},
        {"FILTER1": "g.MP9401", "FILTER2": "r.MP9601", "FILTER3": "z.MP9801"},
        {"BANDS": "grz"},
        {"BANDS": "g,r,z"},
    ],
)
def test_named_planes_of_a_cube_are_bands(make_fits, make_wcs, keys):
    cube = noise_image((3, 40, 50))
    field = Field.read(make_fits("a.fits", cube, wcs=make_wcs((40, 50)), header=keys))
    assert list(field.bands) == ["g", "r", "z"]
    for plane, image in zip(cube, field.bands.values(), strict=True):
        assert np.array_equal(image, plane)
    assert field.wcs.wcs.crval == pytest.approx([150, 2])


def test_a_cube_of_one_plane_is_an_image(make_fits, make_wcs):
    image = noise_image((1, 40, 50))
    assert np.array_equal(only(Field.read(make_fits("a.fits", image, wcs=make_wcs((40, 50))))), image[0])


def test_scaled_integers_are_physical_values_and_blank_is_nan(tmp_path):
    stored = np.arange(-6, 6, dtype=np.int16).reshape(3, 4)
    hdu = fits.PrimaryHDU(stored)
    hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = 0.5, 100.0, -6
    hdu.writeto(tmp_path / "a.fits")
    # astropy rescales on writing; put the integers back as an instrument's software stores them
    with fits.open(tmp_path / "a.fits", mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].data[:] = stored
        hdus[0].header["BSCALE"], hdus[0].header["BZERO"], hdus[0].header["BLANK"] = 0.5, 100.0, -6
    field = Field.read(tmp_path / "a.fits")
    expected = (stored * 0.5 + 100).astype(np.float32)
    expected[0, 0] = np.nan
    assert np.array_equal(only(field), expected, equal_nan=True)
    assert field.mask[0, 0]
    assert field.mask.sum() == 1


def test_unsigned_16_bit_counts_above_32767_stay(tmp_path):
    counts = np.array([[0, 1, 40000], [65535, 32768, 32767]], np.uint16)
    fits.PrimaryHDU(counts).writeto(tmp_path / "a.fits")
    assert np.array_equal(only(Field.read(tmp_path / "a.fits")), counts)


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i2", ">i4", "u1"])
def test_any_stored_type_becomes_native_float32(make_fits, kind):
    image = np.arange(12).reshape(3, 4).astype(kind)
    read = only(Field.read(make_fits("a.fits", image)))
    assert read.dtype == np.dtype("=f4")
    assert read.dtype.isnative
    assert np.array_equal(read, image)


def test_rows_come_in_the_order_of_the_file(tmp_path, make_fits):
    image = np.zeros((4, 5), np.float32)
    image[0, 3] = 7
    path = make_fits("a.fits", image)
    assert np.frombuffer(path.read_bytes(), ">f4", 5, offset=2880)[3] == 7  # the file's own first row
    assert only(Field.read(path))[0, 3] == 7


def test_saturate_masks_but_keeps_the_value(make_fits):
    image = noise_image()
    image[3, 4] = 60000
    field = Field.read(make_fits("a.fits", image, header={"SATURATE": 50000.0}))
    assert field.mask[3, 4]
    assert field.mask.sum() == 1
    assert only(field)[3, 4] == 60000


def test_sdss_frames_of_one_field_have_one_id_though_frame_differs(make_fits):
    for band, frame in {"u": 104, "g": 108, "r": 100, "i": 102, "z": 106}.items():
        keys = {"RUN": 756, "CAMCOL": 3, "FRAME": frame, "FILTER": band, "NMGY": 0.005}
        path = make_fits(f"field/{band}.fits", noise_image(), header=keys)
    field = Field.read(path.parent)
    assert field.survey == "SDSS"
    assert list(field.bands) == ["u", "g", "r", "i", "z"]


def test_sdss_cores_above_30000_counts_are_masked(make_fits):
    image = np.zeros((10, 10), np.float32)
    image[2, 3], image[5, 6] = 151, 149  # nanomaggies: 30,200 and 29,800 counts
    keys = {"RUN": 756, "CAMCOL": 3, "FRAME": 100, "FILTER": "r", "NMGY": 0.005}
    field = Field.read(make_fits("a.fits", image, header=keys))
    assert field.mask[2, 3]
    assert not field.mask[5, 6]


def sci_wht_err(*, errors_first=False):
    image, err = noise_image(), np.full((40, 50), 2, np.float32)
    exposure = np.full((40, 50), 1000, np.float32)
    beside = [(exposure, {"EXTNAME": "WHT"}), (err, {"EXTNAME": "ERR"})]
    flags = (np.zeros((40, 50), np.int32), {"EXTNAME": "DQ"})
    return image, [(image, {"EXTNAME": "SCI"}), *(beside[::-1] if errors_first else beside), flags]


@pytest.mark.parametrize("errors_first", [False, True])
def test_err_of_an_hst_file_is_its_noise_whatever_wht_says(make_fits, errors_first):
    # WHT of a drizzled image may be an exposure time or leave out the sources' own noise; ERR never does
    image, parts = sci_wht_err(errors_first=errors_first)
    field = Field.read(make_fits("a_drz.fits", parts, header={"FILTER": "F160W"}))
    assert np.array_equal(field.bands["F160W"], image)
    assert np.array_equal(field.noise["F160W"], np.full((40, 50), 2, np.float32))


def test_a_band_named_in_the_primary_header_alone_is_found(tmp_path, make_fits):
    image, parts = sci_wht_err()
    path = make_fits("a_drz.fits", parts)
    with fits.open(path, mode="update") as hdus:  # as HST and JWST pipelines write it
        hdus[0].header["FILTER"], hdus[0].header["TELESCOP"] = "F200W", "JWST"
    field = Field.read(path)
    assert list(field.bands) == ["F200W"]
    assert np.array_equal(field.bands["F200W"], image)
    assert field.survey == "JWST"


@pytest.mark.parametrize("extension", ["SCI", "1"])
def test_an_extension_in_brackets_is_the_one_read(make_fits, extension):
    image, parts = sci_wht_err()
    path = make_fits("a.fits", parts)
    field = Field.read(f"{path}[{extension}]")
    assert np.array_equal(only(field), image)
    assert field.name == "a"


@pytest.mark.parametrize("extension", ["SCI", "1"])
def test_a_named_extension_brings_the_noise_and_flags_beside_it(make_fits, extension):
    image, parts = sci_wht_err()
    parts[-1][0][3, 4] = 16
    other = [(part + 1, {**keys, "EXTVER": 2}) for part, keys in parts]
    field = Field.read(f"{make_fits('a.fits', parts + other)}[{extension}]")
    assert np.array_equal(only(field), image)
    assert np.array_equal(field.noise["gray"], np.full((40, 50), 2, np.float32))
    assert np.argwhere(field.mask).tolist() == [[3, 4]]


def test_a_named_extension_does_not_take_the_weight_of_another_band(make_fits):
    parts = []
    for k, band in enumerate("gr"):
        parts += [
            (noise_image(seed=k), {"BAND": band}),
            (np.full((40, 50), 4.0**k), {"BAND": band, "IMAGETYP": "invvar"}),
        ]
    field = Field.read(f"{make_fits('a.fits', parts)}[3]")
    assert list(field.bands) == ["r"]
    assert (field.noise["r"] == 0.5).all()


@pytest.mark.parametrize(
    ("telescope", "bad"), [("HST", {1, 2, 4, 64, 4096}), ("", {1, 2, 4, 64, 4096}), ("JWST", {1, 2})]
)
def test_flags_mask_pixels_and_leave_their_values(make_fits, telescope, bad):
    image = noise_image()
    flags = np.zeros(image.shape, np.int32)
    bits = [1, 2, 4, 64, 4096]
    flags[5, : len(bits)] = bits
    header = {"TELESCOP": telescope} if telescope else {}
    field = Field.read(make_fits("a.fits", [(image, {"EXTNAME": "SCI"}), (flags, {"EXTNAME": "DQ"})], header=header))
    assert {bits[x] for y, x in np.argwhere(field.mask) if y == 5} == bad
    assert field.mask.sum() == len(bad)
    assert np.array_equal(only(field), image)


@pytest.mark.parametrize("keys", [{"TELESCOP": "HST"}, {"TELESCOP": "JWST"}, {"NDRIZIM": 4}, {"D001VER": "3.5.0"}])
def test_the_weight_of_a_drizzled_image_is_no_inverse_variance(tmp_path, make_fits, keys):
    image, weight = noise_image(), np.full((40, 50), 1000, np.float32)
    weight[:, :2] = 0
    path = make_fits("a.fits", [(image, {"EXTNAME": "SCI"}), (weight, {"EXTNAME": "WHT"})])
    with fits.open(path, mode="update") as hdus:  # as DrizzlePac writes it
        hdus[0].header.update(keys)
    field = Field.read(path)
    assert not field.noise
    assert field.mask[:, :2].all()
    assert field.mask.sum() == 80
    assert np.isnan(only(field)[:, :2]).all()
    assert np.array_equal(only(field)[:, 2:], image[:, 2:])


def test_the_weight_of_any_other_image_is_its_inverse_variance(make_fits):
    weight = np.full((40, 50), 25, np.float32)
    field = Field.read(make_fits("a.fits", [(noise_image(), {"EXTNAME": "SCI"}), (weight, {"EXTNAME": "WHT"})]))
    assert field.noise["gray"] == pytest.approx(np.full((40, 50), 0.2))


def test_a_cube_of_inverse_variances_is_the_noise_of_the_cubes_bands(make_fits, make_wcs):
    names = {"BANDS": "grz", "BAND0": "g", "BAND1": "r", "BAND2": "z"}
    cube = noise_image((3, 40, 50))
    weight = np.stack([np.full((40, 50), value, np.float32) for value in (1, 4, 25)])
    parts = [(cube, {**names, "IMAGETYP": "IMAGE"}), (weight, {**names, "IMAGETYP": "INVVAR"})]
    field = Field.read(make_fits("a.fits", parts, wcs=make_wcs((40, 50))))
    assert list(field.bands) == ["g", "r", "z"] == list(field.noise)
    assert [float(noise[0, 0]) for noise in field.noise.values()] == pytest.approx([1, 0.5, 0.2])


def test_one_band_named_as_the_first_of_a_cube_is_that_band(make_fits):
    assert list(Field.read(make_fits("a.fits", noise_image(), header={"BANDS": "r", "BAND0": "r"})).bands) == ["r"]


def test_panstarrs_stacks_are_made_linear(make_fits):
    flux = np.linspace(-3, 500, 2000).reshape(40, 50)
    softening, offset = 5.0, 0.25
    # the inverse of the survey's formula, flux = BOFFSET + BSOFTEN (exp(x / a) - exp(-x / a)), a = 2.5 log10 e
    stored = 1.0857362047581296 * np.arcsinh((flux - offset) / (2 * softening))
    keys = {"BSOFTEN": softening, "BOFFSET": offset}
    field = Field.read(make_fits("a.fits", stored.astype(np.float32), header=keys))
    assert only(field) == pytest.approx(flux, rel=1e-5, abs=1e-4)


def test_a_note_in_the_header_is_a_note_of_the_field(make_fits):
    path = make_fits("a.fits", noise_image(), header={"NOTE": "blank pixels: r 3.1 %; no image in band g"})
    assert Field.read(path).notes == ["a: blank pixels: r 3.1 %", "a: no image in band g"]


@pytest.mark.parametrize(
    ("keys", "band"),
    [
        ({"TELESCOP": "JWST", "FILTER": "F150W2", "PUPIL": "F162M"}, "F162M"),
        ({"TELESCOP": "JWST", "FILTER": "CLEAR", "PUPIL": "F090W"}, "F090W"),
        ({"TELESCOP": "JWST", "FILTER": "F444W", "PUPIL": "CLEAR"}, "F444W"),
        ({"TELESCOP": "HST", "FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "F814W"),
        ({"TELESCOP": "HST", "FILTER1": "F606W", "FILTER2": "POL0V"}, "F606W"),
        ({"TELESCOP": "HST", "FILTNAM1": "F555W", "FILTER1": 25}, "F555W"),
        ({"TELESCOP": "AAT", "FILTER": "r", "PUPIL": "open air"}, "r"),
    ],
)
def test_the_band_is_the_filter_in_the_beam(make_fits, keys, band):
    assert list(Field.read(make_fits("a.fits", noise_image(), header=keys)).bands) == [band]


def test_an_extension_that_is_no_image_is_refused_by_name(tmp_path, refused):
    Table({"ra": [1.0]}).write(tmp_path / "a.fits")
    refused(f"{tmp_path}/a.fits[1]", "HDU 1 is not an image", name="a.fits")
    refused(f"{tmp_path}/a.fits[0]", "HDU 0 is not an image", name="a.fits")


def test_brackets_of_a_name_that_exists_are_its_own(make_fits):
    path = make_fits("m[1].fits", noise_image())
    assert split_extension(str(path)) == (path, None)
    path = make_fits("m.fits[1]", noise_image())
    assert split_extension(str(path)) == (path, None)


def test_an_unknown_extension_is_refused_with_those_there_are(make_fits, refused):
    path = make_fits("a.fits", sci_wht_err()[1])
    refused(f"{path}[FOO]", "no HDU 'FOO'", "1:SCI", "2:WHT", name="a.fits")
    refused(f"{path}[9]", "no HDU 9", name="a.fits")


def test_inverse_variance_beside_each_band_is_its_noise(data):
    (path,) = (data / "hst_jwst" / "legacy_survey").glob("*.fits")
    field = Field.read(path)
    assert list(field.bands) == ["g", "r", "z"] == list(field.noise)
    with fits.open(path) as hdus:
        for k, band in enumerate("grz"):
            assert np.array_equal(field.bands[band], hdus[1 + 2 * k].data)
            invvar = hdus[2 + 2 * k].data
            good = invvar > 0
            assert field.noise[band][good] == pytest.approx(invvar[good] ** -0.5, rel=1e-6)
            assert np.isnan(field.noise[band][~good]).all()
    assert field.survey == "DECaLS"
    assert field.pixel_scale == pytest.approx(0.262, rel=1e-4)


def test_noise_of_a_weight_of_zero_or_less_is_nan():
    weight = np.array([[4, 0], [-1, np.nan]], np.float32)
    assert np.array_equal(as_noise(weight, "weight"), [[0.5, np.nan], [np.nan, np.nan]], equal_nan=True)
    sigma = np.array([[4, 0], [-1, np.inf]], np.float32)
    assert np.array_equal(as_noise(sigma, "noise"), [[4, np.nan], [np.nan, np.nan]], equal_nan=True)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("xdf_f105w_rms.fits", "noise"),
        ("xdf_f105w_sci.fits", "image"),
        ("m31_wht.fits", "weight"),
        ("a-invvar-r.fits.fz", "weight"),
        ("a_mask.fits", "other"),
        ("sigmaori_r.fits", "image"),
        ("frame-r-003184-2-0169.fits.bz2", "image"),
    ],
)
def test_kind_is_read_off_the_name(tmp_path, name, kind):
    assert kind_by_name(tmp_path / name) == kind


def test_endings_of_fits_files(tmp_path):
    assert is_fits(tmp_path / "A.FITS.GZ")
    assert is_fits(tmp_path / "a.fits[SCI]")
    assert not is_fits(tmp_path / "a.csv.gz")
    assert not is_fits(tmp_path / "a.png")


def test_missing_file_is_refused(tmp_path, refused):
    refused(tmp_path / "gone.fits", "no such file")


def test_empty_file_is_refused(tmp_path, refused):
    (tmp_path / "a.fits").touch()
    refused(tmp_path / "a.fits", "empty", "again")


@pytest.mark.parametrize("kept", [10, 1000, 2880, 5000, 9000])
def test_truncated_fits_is_refused(tmp_path, make_fits, refused, kept):
    content = make_fits("whole.fits", noise_image()).read_bytes()
    assert len(content) > 9000
    (tmp_path / "a.fits").write_bytes(content[:kept])
    refused(tmp_path / "a.fits", "again")


@pytest.mark.parametrize("ending", ["gz", "bz2"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_truncated_compressed_file_is_refused(tmp_path, make_fits, refused, ending, share):
    content = make_fits("whole.fits", noise_image((200, 200))).read_bytes()
    packed = {"gz": gzip, "bz2": bz2}[ending].compress(content)
    (tmp_path / f"a.fits.{ending}").write_bytes(packed[: max(8, int(len(packed) * share))])
    refused(tmp_path / f"a.fits.{ending}", "truncated or corrupt", "fetch it again")


@pytest.mark.parametrize("ending", ["gz", "bz2"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_one_flipped_byte_is_noticed(tmp_path, make_fits, refused, ending, share):
    content = make_fits("whole.fits", noise_image((200, 200))).read_bytes()
    packed = bytearray({"gz": gzip, "bz2": bz2}[ending].compress(content))
    packed[int(len(packed) * share)] ^= 0xFF
    (tmp_path / f"a.fits.{ending}").write_bytes(packed)
    refused(tmp_path / f"a.fits.{ending}", "corrupt", "fetch it again")


def test_an_error_page_called_fits_is_refused(tmp_path, refused):
    (tmp_path / "a.fits").write_text("<html>404, though the server said 200</html>")
    refused(tmp_path / "a.fits", "not a FITS file")


def test_text_in_gzip_is_refused(tmp_path, refused):
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(b"hello, this is no image"))
    refused(tmp_path / "a.fits.gz", "not a FITS file")


def test_a_table_is_refused(tmp_path, refused):
    Table({"ra": [1.0]}).write(tmp_path / "a.fits")
    refused(tmp_path / "a.fits", "tables only", "image was expected")


def test_a_file_without_any_image_is_refused(tmp_path, refused):
    fits.PrimaryHDU().writeto(tmp_path / "a.fits")
    refused(tmp_path / "a.fits", "no image")


def test_a_cube_of_unnamed_planes_is_refused_and_told_how_to_name_them(make_fits, make_wcs, refused):
    path = make_fits("a.fits", noise_image((3, 40, 50)), wcs=make_wcs((40, 50)))
    refused(path, "3 x 40 x 50", "BAND1, BAND2")


def test_a_cube_that_names_a_plane_twice_is_refused(make_fits, make_wcs, refused):
    cube = noise_image((3, 40, 50))
    refused(make_fits("a.fits", cube, wcs=make_wcs((40, 50)), header={"BANDS": "grg"}), "not named")


def test_several_unnamed_images_are_refused_and_told_how_to_choose(make_fits, refused):
    path = make_fits("a.fits", [(noise_image(), {}), (noise_image(seed=2), {})])
    refused(path, "2 images", "no telling", "a.fits[1]", "BAND")


def test_weights_alone_are_refused(make_fits, refused):
    path = make_fits("a.fits", [(noise_image(), {"EXTNAME": "WHT"})])
    refused(path, "no science image")


def test_nothing_but_nan_is_refused(make_fits, refused):
    refused(make_fits("a.fits", np.full((9, 9), np.nan, np.float32)), "no finite pixel")


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_one_row_of_pixels_is_no_field(make_fits, refused, shape):
    refused(make_fits("a.fits", np.ones(shape, np.float32)), f"{shape[0]} x {shape[1]} pixels")


def test_an_image_without_pixels_is_refused_by_name(tmp_path, refused):
    header = "".join(
        card.ljust(80) for card in ("SIMPLE  = T", "BITPIX  = -32", "NAXIS   = 2", "NAXIS1  = 0", "NAXIS2  = 5", "END")
    )
    header = header.replace("= T", "=                    T").replace("= -32", "=                  -32")
    (tmp_path / "a.fits").write_bytes(header.ljust(2880).encode())
    refused(tmp_path / "a.fits")
