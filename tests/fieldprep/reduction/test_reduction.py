import os

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import mad_std

from fieldprep import Field
from fieldprep.reduction.calibrated import BAD_PIXEL, COSMIC_RAY, SATURATED
from fieldprep.reduction.exposures import Reduction
from fieldprep.reduction.reduce import reduce_exposures


@pytest.fixture(scope="module")
def reduced(night, tmp_path_factory):
    out = tmp_path_factory.mktemp("reduced")
    return out, reduce_exposures([night[0]], out)


@pytest.fixture(scope="module")
def result(reduced, ccd, sky):
    return ccd.opened(reduced[0], sky)


def test_the_sky_comes_back_within_the_noise_that_is_claimed(result, ccd):
    pulls = result.pulls[result.empty]
    assert pulls.size > 50_000
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1, abs=0.03)
    assert mad_std(pulls) == pytest.approx(1, abs=0.03)
    assert result.header["NCOMBINE"] == 5
    assert result.header["EXPTIME"] == 5 * ccd.SECONDS
    assert result.header["BUNIT"] == "electron/s"


def test_no_cosmic_ray_and_no_hot_pixel_is_left(result, night):
    assert sum(hit.sum() for hit in night[1].hits[-5:]) > 500
    pulls = np.abs(result.pulls[result.empty])
    assert (pulls > 6).sum() == 0
    assert (pulls > 4.5).sum() <= 3  # of as many normal values 0.4


def test_fluxes_of_stars_and_galaxies_are_true_within_their_errors(result, sky):
    ny, nx = result.value.shape
    inside = [one for one in (*sky.stars[:-1], *sky.galaxies) if 16 < one[0] < nx - 16 and 16 < one[1] < ny - 16]
    away = [one for one in inside if np.hypot(one[0] - sky.stars[-1][0], one[1] - sky.stars[-1][1]) > 25]
    ratio, error = np.array([result.flux(*one[:2]) for one in away]).T
    pulls = (ratio - 1) / error
    assert len(pulls) > 30
    assert abs(pulls.mean()) < 4 / np.sqrt(len(pulls))
    assert 0.7 < pulls.std() < 1.4
    assert np.abs(ratio[error < 0.005] - 1).max() < 0.01
    assert (error < 0.005).sum() >= 3


def test_a_saturated_star_is_masked_and_keeps_its_light(result, sky):
    x, y, _ = sky.stars[-1]
    row, column = round(y + result.dither[1]), round(x + result.dither[0])
    assert result.mask[row, column] == SATURATED
    assert np.isnan(result.error[row, column])
    assert result.value[row, column] > 500
    assert 100 < (result.mask == SATURATED).sum() < 600


def test_coverage_counts_the_exposures(result):
    inner = result.count[20:-20, 20:-20]
    assert inner.max() == 5
    assert np.median(inner) == 5
    assert result.count[result.usable].min() >= 1
    assert result.usable.mean() > 0.99  # the reference covers all of its own grid


def test_the_output_reads_as_a_field(reduced):
    field = Field.read(reduced[0] / "M_51")
    assert field.name == "M_51"
    assert list(field.bands) == ["r"]
    assert 0.01 > field.mask.mean() > 0
    assert np.nanmedian(field.noise["r"]) == pytest.approx(np.nanstd(field.bands["r"][field.bands["r"] < 0.6]), rel=0.2)


def test_every_file_has_a_row_that_says_what_became_of_it(reduced, night, ccd):
    table = ccd.rows_of(reduced[0])
    assert sorted(table["file"]) == sorted(map(str, night[0].iterdir()))
    assert set(table["status"]) == {"used"}
    assert table.loc["bias0.fits", "result"] == "masters/bias.fits"
    lights = table[table["kind"] == "light"]
    assert set(lights["masters"]) == {"bias; dark-60s; flat-r"}
    assert set(lights["result"]) == {"M_51/M_51-r.fits"}
    assert lights["cosmic_ray_pixels"].astype(int).between(80, 350).all()
    assert lights["transparency"].astype(float).between(0.98, 1.02).all()
    assert not reduced[1].notes
    history = "".join(fits.getheader(reduced[0] / "M_51" / "M_51-r.fits")["HISTORY"])
    assert "light-r3.fits: bias; dark-60s; flat-r" in history
    assert [path.name for path in reduced[0].rglob(".*")] == []


def test_masters_are_what_the_camera_is_within_the_noise_they_claim(reduced, night, ccd):
    _, camera = night
    for name, truth in (
        ("bias", camera.bias),
        ("dark-60s", camera.dark * ccd.SECONDS / ccd.GAIN),
        ("flat-r", camera.flat),
    ):
        with fits.open(reduced[0] / "masters" / f"{name}.fits") as hdus:
            image, error, bad = (hdu.data for hdu in hdus)
        if name == "dark-60s":  # the bias that was subtracted has noise too
            image = image + fits.getdata(reduced[0] / "masters" / "bias.fits") - camera.bias
        pulls = ((image - truth) / error)[bad == 0]
        assert abs(pulls.mean()) < 0.05
        assert pulls.std() == pytest.approx(1, abs=0.03)


def test_hot_and_dead_pixels_are_marked_bad_and_few_others(reduced, night):
    _, camera = night
    dark = fits.getdata(reduced[0] / "masters" / "dark-60s.fits", "MASK").astype(bool)
    assert dark.ravel()[camera.hot].mean() > 0.98
    assert dark.sum() <= len(camera.hot) + 3
    assert fits.getdata(reduced[0] / "masters" / "flat-r.fits", "MASK")[camera.dead].all()


@pytest.mark.parametrize(
    ("left_out", "mean", "spread"),
    [
        (Reduction(dark=False), 0.5, 1.0),  # times the noise that is claimed, at least
        (Reduction(flat=False), 0.0, 2.0),
        (Reduction(bias=False, dark=False), 20.0, 3.0),
        (Reduction(cosmic_rays=False), 0.0, 1.1),  # the stack tells most of them too
    ],
)
def test_each_correction_left_out_shows(night, tmp_path, ccd, sky, left_out, mean, spread):
    reduce_exposures([night[0]], tmp_path, left_out)
    worse = ccd.opened(tmp_path, sky)
    pulls = worse.pulls[worse.empty]
    assert abs(pulls.mean()) > mean
    assert pulls.std() > spread


def one_light(night, folder, **options):
    """Reduce the first light alone: nothing but the search for cosmic rays can tell them."""
    files = [path for path in night[0].iterdir() if not path.name.startswith("light") or path.name == "light-r0.fits"]
    return reduce_exposures(files, folder, Reduction(**options))


def test_a_single_exposure_is_as_honest(night, tmp_path, ccd, sky):
    one_light(night, tmp_path)
    single = ccd.opened(tmp_path, sky)
    hit = night[1].hits[-5]
    pulls = single.pulls[single.empty & ~hit]
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1, abs=0.03)
    assert (np.abs(pulls) > 6).sum() == 0
    assert (single.pulls[single.empty & hit] > 6).sum() < 0.12 * hit.sum()  # without another exposure to compare with
    assert {BAD_PIXEL, COSMIC_RAY, SATURATED} <= set(single.mask.ravel().tolist())
    assert np.isfinite(single.value).all()  # patched for the eye; the mask tells
    assert single.header["NOISCORR"] == 1


def test_cosmic_rays_not_looked_for_stay(night, tmp_path, ccd, sky):
    one_light(night, tmp_path, cosmic_rays=False)
    single = ccd.opened(tmp_path, sky)
    assert (single.pulls[single.empty] > 6).sum() > 0.7 * night[1].hits[-5].sum()


@pytest.mark.parametrize("level", [10.0, 0.05])  # the noise is the sky's, or the read-out's
def test_exposures_without_dithers_own_up_to_the_noise_of_their_masters(tmp_path, ccd, sky, level):
    camera, raw, still = ccd.Camera(), tmp_path / "raw", ((0.0, 0.0),) * 6
    ccd.calibrations(raw, camera, n=3)
    ccd.lights(raw, camera, sky, dithers=still, level=level, rays=0)
    reduce_exposures([raw], tmp_path / "out")
    result = ccd.opened(tmp_path / "out", sky, level=level, dithers=still)
    assert result.pulls[result.empty].std() == pytest.approx(1, abs=0.03)


def test_two_filters_of_one_object_are_on_one_grid(tmp_path, ccd, sky):
    camera, raw = ccd.Camera(), tmp_path / "raw"
    ccd.calibrations(raw, camera, n=3)
    ccd.calibrations(raw, camera, n=3, band="g", kinds=("flat",))
    ccd.lights(raw, camera, sky, dithers=ccd.DITHERS[:2])
    ccd.lights(raw, camera, sky, dithers=((7.3, -4.4),), band="g")
    assert not reduce_exposures([raw], tmp_path / "out").failures
    field = Field.read(tmp_path / "out" / "M_51")
    assert list(field.bands) == ["g", "r"]
    both = ~field.mask
    apart = (field.bands["g"] - field.bands["r"])[both]
    claimed = np.hypot(field.noise["g"], field.noise["r"])[both]
    assert np.median(np.abs(apart / claimed)) == pytest.approx(0.6745, rel=0.1)
    bright = field.bands["r"][both] > 50
    assert abs(apart[bright].mean()) < 0.03 * field.bands["r"][both][bright].mean()


def test_a_missing_flat_fails_its_filter_and_names_it_and_the_others_go_on(tmp_path, ccd, sky):
    camera, raw = ccd.Camera(), tmp_path / "raw"
    ccd.calibrations(raw, camera, n=3)
    ccd.lights(raw, camera, sky, dithers=ccd.DITHERS[:1])
    ccd.lights(raw, camera, sky, dithers=ccd.DITHERS[:1], band="Halpha")
    reduced = reduce_exposures([raw], tmp_path / "out")
    assert [path.name for path in reduced.frames] == ["M_51-r.fits"]
    ((path, reason),) = reduced.failures
    assert path.endswith("light-Halpha0.fits")
    assert "no flat in filter Halpha" in reason
    assert "--no-flat" in reason
    assert "\n" not in reason
    assert ccd.rows_of(tmp_path / "out").loc["light-Halpha0.fits", ["status", "reason"]].tolist() == ["failed", reason]
    assert len(reduce_exposures([raw], tmp_path / "out", Reduction(flat=False)).frames) == 2


def test_the_same_command_again_writes_the_same_and_takes_no_result_for_raw(night, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in night[0].iterdir():
        os.link(path, raw / path.name)
    first = reduce_exposures([raw], raw / "out")
    before = {path: path.read_bytes() for path in (raw / "out").rglob("*") if path.is_file()}
    again = reduce_exposures([raw, raw / "light-r0.fits"], raw / "out")
    assert again.frames == first.frames
    assert before == {path: path.read_bytes() for path in (raw / "out").rglob("*") if path.is_file()}


def test_a_cloud_and_a_wrong_gain_are_told_of(night, tmp_path, ccd, sky):
    cloudy = ccd.Sky(tuple((x, y, flux / 2) for x, y, flux in sky.stars), ())
    raw, camera = tmp_path / "raw", ccd.Camera()
    for path in night[0].iterdir():
        raw.mkdir(exist_ok=True)
        os.link(path, raw / path.name)
    ccd.lights(raw, camera, cloudy, dithers=((1.0, 2.0),), rays=0)
    raw.joinpath("light-r0.fits").rename(raw / "light-r9.fits")
    os.link(night[0] / "light-r0.fits", raw / "light-r0.fits")
    (note,) = reduce_exposures([raw], tmp_path / "out").notes
    assert "light-r9.fits shows its stars at 5" in note
    (note,) = reduce_exposures([night[0]], tmp_path / "out2", Reduction(gain=6.0)).notes
    assert "what gain and read noise say" in note
