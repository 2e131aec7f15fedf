import numpy as np
import pytest
from astropy.io import fits

from fieldprep.errors import InputError

pytest.importorskip("galsim")
camera_module = pytest.importorskip("fieldprep.simulation.camera")
files = pytest.importorskip("fieldprep.simulation.files")
simulation = pytest.importorskip("fieldprep.simulation.simulate")

NMGY = {"BUNIT": "nanomaggy"}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A simulated field with stars enough for its PSF."""
    folder = tmp_path_factory.mktemp("crowded") / "field"
    recipe = simulation.Recipe(crowding=4, artefacts=("saturation",))
    files.write_field(folder, seed=2, shape=(500, 600), recipe=recipe)
    return folder


def _empty_sky(make_fits, folder, bands=("g", "r", "i"), header=NMGY, **options):
    rng = np.random.default_rng(0)
    for band in bands:
        image = rng.normal(0, 0.03, (120, 150)).astype(np.float32)
        make_fits(f"{band}.fits", image, band=band, header=header, folder=folder, **options)
    return folder


def test_a_simulated_fields_camera_is_found_again(crowded):
    found = camera_module.camera_like(crowded)
    header = {band: fits.getheader(crowded / f"field-{band}.fits.bz2") for band in ("g", "r", "i")}
    assert found.notes == ()
    for band, camera in found.bands.items():
        assert camera.noise == pytest.approx(camera_module.SKY_NOISE[band], rel=0.02)
        assert camera.psf.fwhm == pytest.approx(header[band]["SEEING"], rel=0.02)
        assert camera.count == camera_module.COUNT[band]
        assert camera.electrons == pytest.approx(camera_module.GAIN[band] / camera_module.COUNT[band])
        assert camera.full_well == pytest.approx(camera_module.FULL_WELL * camera_module.COUNT[band])
        assert camera.shape == (500, 600)
    assert found.pixel_scale == pytest.approx(0.396)


def test_a_field_made_after_it_has_the_same_noise_and_seeing(crowded, tmp_path):
    files.write_fields(tmp_path / "like", seed=5, like=crowded)
    first, second = (camera_module.camera_like(folder) for folder in (crowded, tmp_path / "like"))
    for band in ("g", "r", "i"):
        assert second.bands[band].noise == pytest.approx(first.bands[band].noise, rel=0.02)
        assert second.bands[band].psf.fwhm == pytest.approx(first.bands[band].psf.fwhm, rel=0.03)
        np.testing.assert_allclose(second.bands[band].wcs.wcs.crval, first.bands[band].wcs.wcs.crval)


def test_a_field_without_stars_has_the_surveys_seeing_and_says_so(make_fits, tmp_path):
    camera = camera_module.camera_like(_empty_sky(make_fits, tmp_path))
    assert camera.bands["g"].psf.fwhm == pytest.approx(camera_module.SEEING["g"], rel=0.01)
    notes = [note for note in camera.notes if note.startswith("r.fits")]
    assert any("bright single stars" in note and "1.3 arcsec" in note for note in notes)
    assert any("no gain" in note for note in notes)
    assert all("\n" not in note for note in notes)


def test_gain_of_a_camera_column_is_the_surveys(make_fits, tmp_path):
    header = NMGY | {"CAMCOL": 2, "NMGY": 0.005, "RUN": 1, "FRAME": 1}
    camera = camera_module.camera_like(_empty_sky(make_fits, tmp_path, bands=("r",), header=header))
    assert camera.bands["r"].electrons == pytest.approx(4.6 / 0.005)
    assert camera.bands["r"].full_well == pytest.approx(camera_module.FULL_WELL * 0.005)


def test_one_band_is_enough_if_it_is_r(make_fits, tmp_path):
    assert set(camera_module.camera_like(_empty_sky(make_fits, tmp_path, bands=("r", "z"))).bands) == {"r"}


def test_a_folder_without_r_is_refused(make_fits, tmp_path, refused):
    _empty_sky(make_fits, tmp_path / "gi", bands=("g", "i"))
    refused(tmp_path / "gi", "no r band", "g.fits", read=camera_module.camera_like)


def test_no_folder_is_refused(tmp_path, refused):
    refused(tmp_path / "nowhere", "no such folder", read=camera_module.camera_like)


def test_an_empty_folder_is_refused(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no FITS file", read=camera_module.camera_like)


def test_frames_of_another_unit_are_refused(make_fits, tmp_path, refused):
    folder = _empty_sky(make_fits, tmp_path / "counts", header={"BUNIT": "adu"})
    refused(folder, "adu", "nanomaggies", read=camera_module.camera_like, name="g.fits")


def test_frames_without_a_wcs_are_refused(make_fits, tmp_path, refused):
    folder = _empty_sky(make_fits, tmp_path / "lost", wcs=None)
    refused(folder, "no WCS", read=camera_module.camera_like, name="g.fits")


def test_bands_in_one_file_are_refused(make_fits, tmp_path):
    image = np.zeros((50, 60), np.float32)
    make_fits("both.fits", [(image, {"BAND": "g"}), (image, {"BAND": "r"})], folder=tmp_path)
    with pytest.raises(InputError, match="2 bands in one file"):
        camera_module.camera_like(tmp_path)
