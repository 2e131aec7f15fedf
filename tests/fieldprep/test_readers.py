import shutil

import numpy as np
import pytest

from fieldprep import Field
from fieldprep.errors import InputError
from fieldprep.readers import field_name, sdss_id


def image(seed=0, shape=(40, 50)):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def test_folder_list_and_order_of_files_give_one_and_the_same_field(make_fits):
    paths = [make_fits(f"m51/{band}.fits", image(k), band=band) for k, band in enumerate("irg")]
    whole = Field.read(paths[0].parent)
    assert whole.name == "m51"
    assert list(whole.bands) == ["g", "r", "i"]
    for given in (paths, paths[::-1], [str(path) for path in paths]):
        field = Field.read(given)
        assert field.name == "m51"
        assert list(field.bands) == ["g", "r", "i"]
        for band in "gri":
            assert np.array_equal(field.bands[band], whole.bands[band])
    assert whole.provenance["files"] == sorted(map(str, paths))


def test_names_of_fields(tmp_path):
    frame = "frame-{}-003184-2-0169.fits.bz2"
    assert sdss_id(tmp_path / frame.format("r")) == "003184-2-0169"
    assert sdss_id(tmp_path / "m51-r.fits") is None
    assert field_name([tmp_path / frame.format(band) for band in "gri"]) == "003184-2-0169"
    assert field_name([tmp_path / "m51.tar.fits.gz"]) == "m51.tar"
    assert field_name([tmp_path / "a.b.png"]) == "a.b"
    assert field_name([tmp_path]) == tmp_path.name
    assert field_name([tmp_path / "g.fits", tmp_path / "r.fits"]) == tmp_path.name


def test_a_given_name_wins(make_fits):
    assert Field.read(make_fits("a.fits", image()), name="mine").name == "mine"


def test_the_real_field_is_what_the_survey_says(sdss_field):
    assert sdss_field.name == "003184-2-0169"
    assert sdss_field.survey == "SDSS"
    assert list(sdss_field.bands) == ["g", "r", "i"]
    assert sdss_field.shape == (1489, 2048)
    assert sdss_field.pixel_scale == pytest.approx(0.396, abs=0.001)
    assert sdss_field.notes == []


def test_rms_files_beside_the_images_are_their_noise(data):
    from astropy.io import fits  # noqa: PLC0415

    folder = data / "hst_jwst" / "hst_xdf_small"
    field = Field.read(folder)
    assert list(field.bands) == ["F105W", "F160W"] == list(field.noise)
    for band in field.bands:
        (science,) = folder.glob(f"*{band.lower()}_sci.fits")
        (rms,) = folder.glob(f"*{band.lower()}_rms.fits")
        assert np.array_equal(field.bands[band], fits.getdata(science))
        assert np.array_equal(field.noise[band], fits.getdata(rms))
    assert field.pixel_scale == pytest.approx(0.06, rel=1e-6)


def test_weight_files_beside_the_images_become_sigma(make_fits):
    path = make_fits("f/a_f606w_drz.fits", image())
    make_fits("f/a_f606w_wht.fits", np.full((40, 50), 25, np.float32))
    field = Field.read(path.parent)
    assert list(field.bands) == ["F606W"]
    assert field.noise["F606W"] == pytest.approx(np.full((40, 50), 0.2))


def test_flag_files_are_no_bands(make_fits):
    path = make_fits("f/a_r.fits", image())
    make_fits("f/a_r_mask.fits", image())
    assert list(Field.read(path.parent).bands) == ["r"]


def test_without_a_wcs_a_note_says_so(make_fits):
    field = Field.read(make_fits("a.fits", image(), wcs=None))
    assert field.wcs is None
    assert field.pixel_scale is None
    assert len(field.notes) == 1
    assert "no WCS" in field.notes[0]
    assert "a" in field.notes[0].split(":")[0]


def test_a_band_without_a_wcs_is_taken_on_the_grid_and_a_note_says_so(make_fits):
    make_fits("f/g.fits", image(1), band="g", wcs=None)
    path = make_fits("f/r.fits", image(2), band="r")
    field = Field.read(path.parent)
    assert field.wcs is not None
    assert field.notes == ["f: no WCS in band g, taken to be on the grid of band r"]
    assert np.array_equal(field.bands["g"], image(1))


def test_a_header_with_an_unreadable_wcs_gives_none_and_a_note(make_fits):
    field = Field.read(make_fits("a.fits", image(), wcs=None, header={"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}))
    assert field.wcs is None
    assert "no WCS" in field.notes[0]


def test_bands_of_different_sdss_fields_are_refused(make_fits, refused):
    for band, frame in {"g": 108, "r": 100, "i": 103}.items():
        keys = {"RUN": 756, "CAMCOL": 3, "FRAME": frame, "FILTER": band}
        path = make_fits(f"mixed/{band}.fits", image(), header=keys)
    refused(path.parent, "different fields", "000756-3-0100", "000756-3-0101")


def test_bands_of_different_shape_without_a_wcs_are_refused(make_fits, refused):
    make_fits("f/g.fits", image(shape=(41, 50)), band="g", wcs=None)
    path = make_fits("f/r.fits", image(), band="r", wcs=None)
    refused(path.parent, "41 x 50", "40 x 50", "WCS", name="g.fits")


@pytest.mark.parametrize("crval", [(150.5, 2.0), (330.0, -2.0)])
def test_bands_elsewhere_on_the_sky_are_refused(make_fits, make_wcs, refused, crval):
    make_fits("f/g.fits", image(), band="g", wcs=make_wcs((40, 50), crval=crval))
    path = make_fits("f/r.fits", image(), band="r")
    text = refused(path.parent, "g against r", name="g.fits")
    assert "overlap" in text or "different parts of the sky" in text


def test_two_files_of_one_band_are_refused(make_fits, refused):
    make_fits("f/a.fits", image(), band="r")
    path = make_fits("f/b.fits", image(), band="r")
    refused(path.parent, "band r", "a.fits", "FILTER", name="b.fits")


def test_folder_without_fits_is_refused(tmp_path, refused):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "notes.txt").write_text("nothing here")
    refused(tmp_path / "f", "no FITS file")


def test_folder_of_weights_alone_is_refused(make_fits, refused):
    make_fits("f/a_wht.fits", image())
    path = make_fits("f/b_wht.fits", image())
    refused(path.parent, "no science image")


def test_bands_that_leave_no_common_pixel_are_refused(make_fits, refused):
    left, right = image(1), image(2)
    left[:, :25], right[:, 25:] = np.nan, np.nan
    make_fits("f/g.fits", left, band="g")
    path = make_fits("f/r.fits", right, band="r")
    refused(path.parent, "no pixel is usable")


def test_nothing_to_read_is_refused():
    with pytest.raises(InputError, match="no files"):
        Field.read([])


def test_a_copy_of_a_real_frame_under_another_name_keeps_its_survey(sdss_folder, tmp_path):
    shutil.copy(sdss_folder / "frame-r-003184-2-0169.fits.bz2", tmp_path / "mine.fits.bz2")
    field = Field.read(tmp_path / "mine.fits.bz2")
    assert field.survey == "SDSS"
    assert list(field.bands) == ["r"]


def test_a_field_refuses_bands_that_do_not_fit_its_mask():
    with pytest.raises(InputError, match=r"band r must be float32 of shape \(3, 4\)"):
        Field("a", {"r": np.zeros((3, 5), np.float32)}, np.zeros((3, 4), bool))
    with pytest.raises(InputError, match="float64"):
        Field("a", {"r": np.zeros((3, 4))}, np.zeros((3, 4), bool))
    with pytest.raises(InputError, match="at least one band"):
        Field("a", {}, np.zeros((3, 4), bool))
