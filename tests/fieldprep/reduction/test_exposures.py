import gzip

import numpy as np
import pytest
from astropy.io import fits

from fieldprep.errors import InputError, UsageError
from fieldprep.reduction.exposures import Reduction, raw_files, read_counts, read_exposure
from fieldprep.reduction.rawheaders import kind_of

COUNTS = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40)


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"IMAGETYP": "Bias Frame"}, "bias"),
        ({"IMAGETYP": "zero"}, "bias"),
        ({"OBSTYPE": "BIAS"}, "bias"),
        ({"IMAGETYP": "DARK"}, "dark"),
        ({"IMAGETYP": "Dark Frame"}, "dark"),
        ({"IMAGETYP": "DARKFLAT"}, "dark"),
        ({"IMAGETYP": "Flat Dark"}, "dark"),
        ({"IMAGETYP": "Flat Field"}, "flat"),
        ({"IMAGETYP": "FLAT"}, "flat"),
        ({"OBSTYPE": "dome flat"}, "flat"),
        ({"OBSTYPE": "Twilight"}, "flat"),
        ({"HIERARCH ESO DPR TYPE": "FLAT,SKY"}, "flat"),
        ({"IMAGETYP": "LIGHT"}, "light"),
        ({"IMAGETYP": "Light Frame"}, "light"),
        ({"IMAGETYP": "object"}, "light"),
        ({"OBSTYPE": "science"}, "light"),
        ({"IMAGETYP": "UNKNOWN", "OBSTYPE": "OBJECT"}, "light"),
        ({"IMAGETYP": "sci"}, "light"),
        ({"IMAGETYP": "master dark"}, ""),
        ({"IMAGETYP": "arc"}, ""),
        ({"IMAGETYP": "focus"}, ""),
        ({}, ""),
    ],
)
def test_kinds_are_told_in_their_many_spellings(keys, kind):
    header = fits.Header()
    for key, value in keys.items():
        header[key] = value
    found, sky_flat = kind_of(header)
    assert found == kind
    assert sky_flat == (any(word in str(keys.values()) for word in ("SKY", "Twilight")))


def test_a_light_is_read_off_its_header(tmp_path, ccd):
    path = ccd.write(tmp_path / "a.fits", COUNTS, "LIGHT", 30.0, OBJECT=" M  31 ", FILTER="Sloan r", SATURATE=4000)
    found = read_exposure(path, Reduction())
    assert (found.kind, found.target, found.band, found.seconds) == ("light", "M 31", "Sloan r", 30.0)
    assert (found.gain, found.read_noise, found.saturation, found.temperature) == (1.6, 6.0, 4000, -20.0)


def test_an_object_without_a_name_has_that_of_its_folder(tmp_path, ccd):
    path = ccd.write(tmp_path / "ngc1275" / "a.fits", COUNTS, "LIGHT", 30.0)
    assert read_exposure(path, Reduction()).target == "ngc1275"


@pytest.mark.parametrize("pack", ["plain", "gz", "fz"])
def test_unsigned_counts_come_back_and_saturate_where_the_file_is_full(tmp_path, ccd, pack):
    counts = COUNTS + np.uint16(64336)
    path = ccd.write(tmp_path / "a.fits", counts, "LIGHT", 30.0)
    if pack == "gz":
        path = tmp_path / "a.fits.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    if pack == "fz":
        path = tmp_path / "a.fits.fz"
        packed = fits.CompImageHDU(counts, fits.getheader(tmp_path / "a.fits"), compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path)
    found = read_exposure(path, Reduction())
    assert found.saturation == 65535
    ccd_data = read_counts(found)
    assert np.array_equal(ccd_data.data, counts)
    assert ccd_data.mask.sum() == 1


@pytest.mark.parametrize(
    ("keys", "gain"),
    [
        ({"EGAIN": 0.8, "GAIN": 139}, 0.8),
        ({"GAIN": 2.5}, 2.5),
        ({"GAIN": "2.5"}, 2.5),
        ({"EGAIN": 0, "GAIN": 3.1}, 3.1),
    ],
)
def test_gain_is_electrons_a_count_not_the_setting_of_the_camera(tmp_path, ccd, keys, gain):
    path = ccd.write(tmp_path / "a.fits", COUNTS, "LIGHT", 30.0, **keys)
    assert read_exposure(path, Reduction()).gain == gain
    assert read_exposure(path, Reduction(gain=7.0)).gain == 7.0


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"GAIN": None}, ("no EGAIN or GAIN", "--gain")),
        ({"GAIN": 139}, ("GAIN = 139", "--gain")),
        ({"RDNOISE": None}, ("no read noise", "--read-noise")),
    ],
)
def test_a_header_silent_on_the_noise_is_refused_with_the_option_that_mends_it(tmp_path, ccd, keys, words):
    path = ccd.write(tmp_path / "a.fits", COUNTS, "LIGHT", 30.0, **keys)
    with pytest.raises(UsageError) as caught:
        read_exposure(path, Reduction())
    assert all(word in str(caught.value) for word in (str(path), *words))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"EXPTIME": None}, ("exposure time", "EXPTIME")),
        ({"EXPTIME": 0.0}, ("exposure time",)),
        ({"BAYERPAT": "RGGB"}, ("one-shot colour", "RGGB")),
        ({"BIASSEC": "[1:8,1:30]"}, ("TRIMSEC",)),
        ({"BIASSEC": "[1:8,1:31]", "TRIMSEC": "[9:40,1:30]"}, ("BIASSEC = [1:8,1:31]", "40 columns and 30 rows")),
        ({"BIASSEC": "left", "TRIMSEC": "[9:40,1:30]"}, ("BIASSEC = left",)),
    ],
)
def test_a_header_that_no_option_mends_fails_its_file(tmp_path, ccd, keys, words, refused):
    path = ccd.write(tmp_path / "a.fits", COUNTS, "LIGHT", 30.0, **keys)
    refused(path, *words, read=lambda source: read_exposure(source, Reduction()))


def damaged(path, ccd, how):
    ccd.write(path, COUNTS, "LIGHT", 30.0)
    if how == "cut off":
        path.write_bytes(path.read_bytes()[:-2000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("no FITS at all")
    elif how == "two images":
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(COUNTS), fits.ImageHDU(COUNTS)]).writeto(path, overwrite=True)
    elif how == "cube":
        fits.PrimaryHDU(np.zeros((3, 4, 5), np.uint16)).writeto(path, overwrite=True)
    else:
        fits.PrimaryHDU().writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize("how", ["cut off", "empty", "text", "two images", "cube", "no image"])
def test_a_damaged_file_is_one_line(tmp_path, ccd, how, refused):
    path = damaged(tmp_path / "a.fits", ccd, how)
    refused(path, read=lambda source: read_counts(read_exposure(source, Reduction())))


def test_an_arc_and_a_master_are_left_out_and_say_why(tmp_path, ccd):
    for kind in ("arc", "master flat"):
        said = read_exposure(ccd.write(tmp_path / "a.fits", COUNTS, kind, 30.0), Reduction())
        assert f"IMAGETYP = {kind}" in said
    assert "no IMAGETYP" in read_exposure(ccd.write(tmp_path / "a.fits", COUNTS, None, 30.0), Reduction())


@pytest.mark.parametrize("where", ["left", "top"])
def test_the_overscan_is_subtracted_and_trimmed_and_the_wcs_follows(tmp_path, ccd, make_wcs, where):
    rng = np.random.default_rng(0)
    drift = np.linspace(0, 30, 200)
    light = np.zeros((200, 220)) + 500
    if where == "left":
        light[:, :20] = 0
        counts = light + 1000 + drift[:, None] + rng.normal(0, 4, light.shape)
        sections = {"BIASSEC": "[1:18,1:200]", "TRIMSEC": "[21:220,1:200]"}
    else:
        light[180:] = 0
        counts = light + 1000 + np.linspace(0, 30, 220)[None] + rng.normal(0, 4, light.shape)
        sections = {"BIASSEC": "[1:220,183:200]", "TRIMSEC": "[1:220,1:180]"}
    wcs = make_wcs(light.shape)
    path = ccd.write(tmp_path / "a.fits", counts.astype(np.float32), "LIGHT", 30.0, **sections, **wcs.to_header())
    found = read_counts(read_exposure(path, Reduction()))
    kept = (slice(None), slice(20, None)) if where == "left" else (slice(180), slice(None))
    assert found.data.shape == light[kept].shape
    assert found.data.mean() == pytest.approx(500, abs=0.5)
    assert (found.data.mean(axis=0 if where == "top" else 1) - 500).std() < 1.0  # the drift went with the overscan
    x = 20 if where == "left" else 0
    assert found.wcs.pixel_to_world(0, 0).separation(wcs.pixel_to_world(x, 0)).arcsec < 1e-6


@pytest.mark.parametrize(
    "sections", [{"BIASSEC": "[0:0,0:0]"}, {"TRIMSEC": "[1:40,1:30]"}, {"TRIMSEC": "[ 1 : 40 , 1 : 30 ]"}]
)
def test_sections_that_say_nothing_change_nothing(tmp_path, ccd, sections):
    plain = read_exposure(ccd.write(tmp_path / "a.fits", COUNTS, "LIGHT", 30.0), Reduction())
    other = read_exposure(ccd.write(tmp_path / "b.fits", COUNTS, "LIGHT", 30.0, **sections), Reduction())
    assert plain.camera == other.camera


def test_a_chip_in_an_extension_takes_what_only_the_primary_header_says(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header({"IMAGETYP": "LIGHT", "EXPTIME": 5.0, "GAIN": 2.0, "FILTER": "V"}))
    chip = fits.ImageHDU(COUNTS, fits.Header({"GAIN": 1.5, "RDNOISE": 3.0}))
    fits.HDUList([primary, chip]).writeto(tmp_path / "a.fits")
    found = read_exposure(tmp_path / "a.fits", Reduction())
    assert (found.hdu, found.band, found.gain, found.read_noise) == (1, "V", 1.5, 3.0)


def test_folders_are_looked_through_and_results_and_repeats_are_not_raw(tmp_path, ccd):
    for name in ("b.fits", "deep/er/a.fit", "out/M_1/x.fits", ".hidden.fits", "note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = raw_files([tmp_path, tmp_path / "b.fits"], tmp_path / "out")
    assert [path.name for path in found] == ["b.fits", "a.fit"]
    with pytest.raises(UsageError, match="no FITS file"):
        raw_files([tmp_path / "out"], tmp_path / "out")
    with pytest.raises(UsageError, match="no such file"):
        raw_files([tmp_path / "nowhere"], tmp_path / "out")


def test_counts_that_are_not_numbers_do_not_pass_for_saturated(tmp_path, ccd):
    counts = COUNTS.astype(np.float32)
    counts[3, 4] = np.nan
    found = read_counts(read_exposure(ccd.write(tmp_path / "a.fits", counts, "LIGHT", 30.0), Reduction()))
    assert np.isnan(found.data[3, 4])
    assert not found.mask.any()
    with pytest.raises(InputError):
        read_exposure(tmp_path / "nowhere.fits", Reduction())
