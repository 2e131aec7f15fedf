import json

import numpy as np
import pytest
from astropy.io import fits
from astroquery.mast import conf
from mast_archive import DOWNLOAD, INVOKE, hst_mosaic, jwst_mosaic
from misbehaving import PASSING, meets
from sky_fixtures import F105W, F160W, VISIT

from fieldprep import Field
from fieldprep.errors import InputError, UsageError
from fieldprep.surveys.mast import parse_mast


def exposure(image):
    """WHT as the archive's drizzling leaves it: seconds, zero where nothing was exposed."""
    seconds = np.full(image.shape, 1200, np.float32)
    seconds[:3] = 0
    return seconds


def fetched(text, folder):
    (one,) = parse_mast(text)
    return one, one.fetch(folder)


def refusal(text, folder):
    """The one line by which fetching is refused."""
    with pytest.raises(InputError) as caught:
        fetched(text, folder)
    line = str(caught.value)
    assert "\n" not in line
    assert not list(folder.glob("*.fits"))
    assert not list(folder.glob(".*"))
    return line


@pytest.mark.parametrize(
    "source", [f"mast:{F105W},{F160W}", f"mast:{VISIT.format('f*')}", "MAST: hst_11563_01_*ib5x01"]
)
def test_two_filters_read_as_the_original_files_do(hubble, xdf, tmp_path, source):
    one, paths = fetched(source, tmp_path)
    assert [path.name for path in paths] == [f"{F105W}_drz.fits", f"{F160W}_drz.fits"]
    field = Field.read(paths, name=one.name)
    original = Field.read(xdf[0])
    assert list(field.bands) == ["F105W", "F160W"] == list(field.noise)
    for band in field.bands:
        assert np.array_equal(field.bands[band], original.bands[band])
        assert np.array_equal(field.noise[band], original.noise[band])
    assert field.pixel_scale == pytest.approx(0.06, rel=1e-6)
    assert field.survey == "HST"
    assert np.argwhere(field.mask).tolist() == [[100, 50]]  # the flagged pixel
    corners = ([0, 199, 0], [0, 0, 199])
    assert np.allclose(field.wcs.pixel_to_world_values(*corners), original.wcs.pixel_to_world_values(*corners), atol=0)


def test_one_filter_makes_a_gray_field(hubble, xdf, tmp_path):
    _, paths = fetched(f"mast:{F160W}", tmp_path)
    field = Field.read(paths)
    assert list(field.bands) == ["F160W"]
    assert np.array_equal(field.bands["F160W"], xdf[1]["F160W"][0])


def test_what_is_there_is_not_asked_for_again(hubble, tmp_path):
    one, paths = fetched(f"mast:{VISIT.format('f*')}", tmp_path)
    hubble.server.forget()
    assert one.fetch(tmp_path) == paths
    assert not hubble.server.asked
    paths[1].unlink()
    assert one.fetch(tmp_path) == paths  # only the missing file
    assert hubble.server.asked == {DOWNLOAD: 1}


def test_a_damaged_record_is_asked_for_anew(hubble, tmp_path):
    one, paths = fetched(f"mast:{F105W}", tmp_path)
    (record,) = tmp_path.glob("*.json")
    record.write_text(record.read_text()[:20])
    assert one.fetch(tmp_path) == paths
    assert json.loads(record.read_text())["source"] == one.source


def test_the_exposure_time_of_a_drizzled_image_is_no_noise_but_its_zeros_are_no_data(archive, xdf, tmp_path):
    science, _, wcs = xdf[1]["F160W"]
    archive.add(F160W, "F160W", hst_mosaic(science, wcs, "F160W", exposure=exposure(science)))
    field = Field.read(fetched(f"mast:{F160W}", tmp_path)[1])
    assert not field.noise
    assert np.isnan(field.bands["F160W"][:3]).all()
    assert field.mask[:3].all()
    assert not field.mask[3:].any()
    assert np.array_equal(field.bands["F160W"][3:], science[3:])


def test_jwst_mosaics_bring_their_noise_whatever_their_weight(archive, xdf, tmp_path):
    name = "jw02736-o001_t001_nircam_clear-{}"
    for band, (science, rms, wcs) in xdf[1].items():
        weight = np.full(science.shape, 7.5, np.float32)
        weight[:, -2:] = 0
        archive.add(
            name.format(band.lower()), band, jwst_mosaic(science, rms, wcs, band, weight=weight), suffix="i2d",
            obs_collection="JWST", provenance_name="CALJWST", instrument_name="NIRCAM/IMAGE",
        )  # fmt: skip
    one, paths = fetched("mast:jw02736-o001_t001_nircam_clear-f*", tmp_path)
    assert one.name == "jw02736-o001_t001_nircam_clear-f"
    field = Field.read(paths)
    assert field.survey == "JWST"
    assert list(field.bands) == ["F105W", "F160W"]
    assert np.array_equal(field.noise["F105W"], xdf[1]["F105W"][1])
    assert np.argwhere(field.mask)[:, 1].tolist() == [198, 199] * 200


def test_a_filter_behind_another_is_the_band(archive, xdf, tmp_path):
    science, rms, wcs = xdf[1]["F160W"]
    content = jwst_mosaic(science, rms, wcs, "F150W2", pupil="F162M")
    archive.add("jw01_nircam_f150w2-f162m", "F150W2;F162M", content, suffix="i2d", obs_collection="JWST")
    field = Field.read(fetched("mast:jw01_nircam_f150w2-f162m", tmp_path)[1])
    assert list(field.bands) == ["F162M"]


def test_filters_on_grids_of_their_own_come_onto_one(archive, xdf, tmp_path):
    for obs_id, band, part in ((F105W, "F105W", np.s_[:]), (F160W, "F160W", np.s_[20:180, 30:190])):
        science, rms, wcs = xdf[1][band]
        cut = part if isinstance(part, tuple) else (part, part)
        content = hst_mosaic(science[cut], wcs[cut], band, exposure=np.ones_like(science[cut]), error=rms[cut])
        archive.add(obs_id, band, content)
    field = Field.read(fetched(f"mast:{F105W},{F160W}", tmp_path)[1])
    # the grid is that of the longer wavelength, which lies 20 rows and 30 columns into the other
    assert field.shape == (160, 160)
    assert field.bands["F105W"] == pytest.approx(xdf[1]["F105W"][0][20:180, 30:190], abs=1e-7)


def test_the_charge_transfer_corrected_image_is_taken(hubble, xdf, tmp_path):
    (row,) = [row for row in hubble.observations if row["obs_id"] == F105W]
    science, _, wcs = xdf[1]["F105W"]
    corrected = hst_mosaic(science + 1, wcs, "F105W", exposure=np.ones_like(science))
    hubble.add_product(row, f"{F105W}_drc.fits", corrected)
    (path,) = fetched(f"mast:{F105W}", tmp_path)[1]
    assert path.name == f"{F105W}_drc.fits"
    assert np.array_equal(Field.read(path).bands["F105W"], science + 1)


def test_of_several_versions_the_highest_is_taken_and_a_note_says_so(hubble, xdf, tmp_path):
    (row,) = [row for row in hubble.observations if row["obs_id"] == F105W]
    science, _, wcs = xdf[1]["F105W"]
    for version, step in (("3.10.1", 2), ("3.9.0", 1)):
        newer = hst_mosaic(science + step, wcs, "F105W", exposure=np.ones_like(science))
        hubble.add_product(row, f"{F105W}_drz.fits", newer, version=version)
    one, (path,) = fetched(f"mast:{F105W}", tmp_path)
    assert np.array_equal(Field.read(path).bands["F105W"], science + 2)
    (note,) = one.notes(tmp_path)
    assert "3.10.1" in note
    assert F105W in note


def test_the_same_exposures_of_an_older_pipeline_are_left_aside_with_a_note(hubble, tmp_path):
    hubble.add("hst_11563_01_wfc3_ir_f105w", "F105W", b"", obs_collection="HLA", provenance_name="HLA")
    one, paths = fetched("mast:hst_11563_01_wfc3_ir_f105w*", tmp_path)
    assert [path.name for path in paths] == [f"{F105W}_drz.fits"]
    assert one.notes(tmp_path) == [f"{F105W} of HAP, not hst_11563_01_wfc3_ir_f105w of the same visit"]


def test_files_of_the_legacy_archive_lie_behind_a_query_string(archive, xdf, tmp_path):
    science, _, wcs = xdf[1]["F160W"]
    content = hst_mosaic(science, wcs, "F160W", exposure=np.ones_like(science))
    archive.add("hst_05091_xy_wfpc2_f606w_wf", "F606W", content, obs_collection="HLA", provenance_name="HLA")
    (path,) = fetched("mast:hst_05091_xy_wfpc2_f606w_wf", tmp_path)[1]
    assert path.name == "hst_05091_xy_wfpc2_f606w_wf_drz.fits"


def test_a_position_gives_each_field_with_its_filters(hubble, xdf):
    hubble.add("jw1-o001_t001_nircam_clear-f090w", "F090W", None, obs_collection="JWST", instrument_name="NIRCAM/IMAGE")
    hubble.add("jw1-o001_t001_nircam_clear-f200w", "F200W", None, obs_collection="JWST", instrument_name="NIRCAM/IMAGE")
    hubble.add("hst_11563_01_wfc3_uvis_f606w_ib5x01", "F606W", None, instrument_name="WFC3/UVIS")
    hubble.add("hst_11563_01_wfc3_ir_total_ib5x01", "detection", None)  # all filters together
    hubble.add("ib5x01010", "F160W", None, provenance_name="CALWF3")  # the same exposures by another pipeline
    hubble.add("hst_elsewhere_f160w", "F160W", None, s_ra=200.0)
    hubble.add("ib5x01a1q", "F160W", None, calib_level=2)
    hubble.add("ob5x01010", "G430L", None, dataproduct_type="spectrum")
    found = parse_mast("mast:53.1575 -27.8035 1arcmin")
    assert [one.source for one in found] == [
        f"mast:{F105W},{F160W}",
        "mast:jw1-o001_t001_nircam_clear-f090w,jw1-o001_t001_nircam_clear-f200w",
        "mast:hst_11563_01_wfc3_uvis_f606w_ib5x01",
    ]
    assert [one.name for one in found] == [
        "hst_11563_01_wfc3_ir_ib5x01", "jw1-o001_t001_nircam", "hst_11563_01_wfc3_uvis_f606w_ib5x01"
    ]  # fmt: skip
    assert [one.source for one in parse_mast(found[0].source)] == [found[0].source]


def test_a_visit_that_only_a_lesser_pipeline_has_is_not_lost(hubble):
    hubble.add("ib5x07010", "F160W", None, provenance_name="CALWF3")
    assert [one.source for one in parse_mast("mast:53.1575 -27.8035")] == [f"mast:{F105W},{F160W}", "mast:ib5x07010"]


def test_visits_of_one_target_are_fields_of_their_own(hubble):
    for visit in ("02", "03"):
        for band in ("F105W", "F160W"):
            hubble.add(f"hst_11563_{visit}_wfc3_ir_{band.lower()}_ib5x{visit}", band, None)
    found = parse_mast("mast:53.1575,-27.8035")
    assert [one.name for one in found] == [f"hst_11563_{n}_wfc3_ir_ib5x{n}" for n in ("01", "02", "03")]
    assert all(one.observation.count(",") == 1 for one in found)


def test_filters_of_one_visit_of_the_instruments_pipeline_are_one_field(archive):
    for obs_id, band in (("ib5x01010", "F105W"), ("ib5x01020", "F160W"), ("ib5x02010", "F105W")):
        archive.add(obs_id, band, None, provenance_name="CALWF3")
    found = [one.observation for one in parse_mast("mast:53.1575 -27.8035")]
    assert found == ["ib5x01010,ib5x01020", "ib5x02010"]


def test_an_answer_in_pages_is_read_to_its_end(archive):
    for i in range(25):
        archive.add(f"hst_{i:05}_01_wfc3_ir_f160w", "F160W", None, proposal_id=str(i))
    with conf.set_temp("pagesize", 4):
        assert len(parse_mast("mast:53.1575 -27.8035")) == 25
    assert archive.server.asked[INVOKE] == 7


def test_an_answer_that_lacks_rows_is_not_taken(archive):
    archive.add("hst_1", "F160W", None)
    archive.lost_rows = 1
    with pytest.raises(InputError, match=r"MAST gives 0 of 1 rows \(3 tries\)"):
        parse_mast("mast:53.1575 -27.8035")


def test_a_question_that_takes_long_is_asked_until_it_is_answered(hubble, tmp_path):
    hubble.executing = 3
    assert fetched(f"mast:{F105W}", tmp_path)[1]


# but for a flipped bit in an answer, which nothing in it tells: that is what TLS is for
@pytest.mark.parametrize("fault", [fault for fault in PASSING if fault != "flip"])
@pytest.mark.parametrize("path", [INVOKE, DOWNLOAD])
def test_what_goes_wrong_once_is_tried_again(hubble, xdf, tmp_path, monkeypatch, path, fault):
    monkeypatch.setenv("FULLFIELD_TIMEOUT", "0.5")
    hubble.server.faults = meets(path, fault, times=1)
    (found,) = fetched(f"mast:{F105W}", tmp_path)[1]
    assert np.array_equal(Field.read(found).bands["F105W"], xdf[1]["F105W"][0])


def test_a_flipped_byte_is_noticed_by_the_files_checksum(hubble, xdf, tmp_path):
    hubble.server.faults = meets(DOWNLOAD, "flip", times=1)
    (found,) = fetched(f"mast:{F105W}", tmp_path)[1]
    assert hubble.server.asked[DOWNLOAD] == 2
    assert np.array_equal(Field.read(found).bands["F105W"], xdf[1]["F105W"][0])


@pytest.mark.parametrize(
    ("path", "fault", "words"),
    [
        (INVOKE, "busy", "503"),
        (INVOKE, "page", "web page"),
        (INVOKE, "cut", "breaks off"),
        (INVOKE, "silence", "no answer within"),
        (DOWNLOAD, "busy", "503"),
        (DOWNLOAD, "page", "web page"),
        (DOWNLOAD, "cut", "(3 tries)"),
        (DOWNLOAD, "flip", "hecksum"),
        (DOWNLOAD, "missing", "no such thing"),
    ],
)
def test_what_stays_wrong_is_one_line(hubble, tmp_path, monkeypatch, path, fault, words):
    monkeypatch.setenv("FULLFIELD_TIMEOUT", "0.3")
    hubble.server.faults = meets(path, fault)
    line = refusal(f"mast:{F105W}", tmp_path)
    assert words in line
    assert F105W in line


def test_a_file_that_is_kept_from_everybody_is_one_line(hubble, tmp_path):
    hubble.is_exclusive = True
    line = refusal(f"mast:{F105W}", tmp_path)
    assert "401" in line
    assert F105W in line
    assert hubble.server.asked[DOWNLOAD] == 1


def test_a_file_without_a_science_image_is_refused(archive, tmp_path):
    table = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((9, 9), np.float32), name="WHT")])
    table.writeto(tmp_path / "wht.fit")
    archive.add(F105W, "F105W", (tmp_path / "wht.fit").read_bytes())
    assert "no image SCI" in refusal(f"mast:{F105W}", tmp_path)


def test_an_unknown_observation_is_refused_with_what_would_mend_it(hubble, tmp_path):
    line = refusal("mast:jw99999-o001_t001_nircam_clear-f090w", tmp_path)
    assert "jw99999-o001_t001_nircam_clear-f090w" in line
    assert "typing" in line
    assert "*" in line
    # MAST takes _ for any letter, so this is what it answers, and not what was meant
    assert "no observation" in refusal(f"mast:{F105W.replace('_', '-', 1).replace('-', '_')[:-1]}_", tmp_path)


def test_a_spectrum_is_refused(archive, tmp_path):
    archive.add("ob5x01010", "G430L", None, dataproduct_type="spectrum")
    assert "spectra" in refusal("mast:ob5x01010", tmp_path)


def test_an_observation_without_a_mosaic_is_refused(archive, tmp_path):
    archive.add(F105W, "F105W", None)
    assert "_drc.fits or _drz.fits or _i2d.fits" in refusal(f"mast:{F105W}", tmp_path)


def test_proprietary_data_are_refused_with_their_date(archive, tmp_path):
    archive.add(F105W, "F105W", b"", dataRights="EXCLUSIVE_ACCESS", t_obs_release=61041.0)
    line = refusal(f"mast:{F105W}", tmp_path)
    assert "proprietary until 2026-01-01" in line
    assert not archive.server.asked[DOWNLOAD]


def test_a_filter_named_twice_is_refused(hubble, tmp_path):
    hubble.add("hst_11563_02_wfc3_ir_f105w_ib5x02", "F105W", b"")
    line = refusal("mast:hst_11563_0*", tmp_path)
    assert "F105W is in" in line
    assert "ib5x02" in line


def test_nothing_at_a_position_is_refused(hubble):
    with pytest.raises(InputError, match=r"mast:10 \+41 1arcmin: no drizzled or level-3 image"):
        parse_mast("mast:10 +41 1arcmin")


@pytest.mark.parametrize("text", ["mast:", "mast: ", "mast:,", "mast:a/b", "mast:hst_1,,hst_2", "mast:hst_1;drop"])
def test_nonsense_is_refused_before_anything_is_asked(archive, text):
    with pytest.raises(UsageError) as caught:
        parse_mast(text)
    assert "\n" not in str(caught.value)
    assert not archive.server.asked


def test_names_of_observations(archive):
    names = {
        "mast:hst_9978_01_acs_wfc_f606w": "hst_9978_01_acs_wfc_f606w",
        "mast:hst_9978_01_acs_wfc_f606w_drc.fits": "hst_9978_01_acs_wfc_f606w",
        "mast:J8M801010": "J8M801010",
        "mast:jw02736-o001_t001_nircam_*": "jw02736-o001_t001_nircam",
        "mast:j8m801010, j8m802010": "j8m801010+j8m802010",
        "mast:hst_9978_01_acs_wfc_f606w,hst_9978_01_acs_wfc_f814w": "hst_9978_01_acs_wfc",
    }
    for text, name in names.items():
        (one,) = parse_mast(text)
        assert one.name == name
        assert parse_mast(one.source) == [one]
    assert not archive.server.asked


@pytest.mark.remote_data
def test_the_archive_itself(tmp_path):
    assert any(one.name.startswith("hst_") for one in parse_mast("mast:10.6847 +41.2690"))
    (small,) = parse_mast("mast:jw02736-o*_t001_miri_f770w")  # SMACS J0723
    field = Field.read(small.fetch(tmp_path))
    assert list(field.bands) == ["F770W"] == list(field.noise)
    assert field.survey == "JWST"
    assert field.pixel_scale == pytest.approx(0.11, abs=0.01)
