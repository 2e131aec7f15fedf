import numpy as np
import pytest
from astropy.io import fits

from fieldprep.reduction.exposures import Reduction
from fieldprep.reduction.reduce import reduce_exposures


@pytest.fixture
def small(ccd):
    return ccd.Camera(shape=(90, 100))


@pytest.fixture
def raw(tmp_path, ccd, small):
    """Folder with calibration frames for 60 s in filter r, and one light that no frame but its own fits."""
    ccd.calibrations(tmp_path / "raw", small, n=3)
    return tmp_path / "raw"


def light_of(raw, ccd, camera, sky, **extra):
    ccd.lights(raw, camera, sky, dithers=((0.0, 0.0),), rays=0, **extra)


def only_failure(raw, out, **options):
    ((_, reason),) = reduce_exposures([raw], out, Reduction(**options)).failures
    assert "\n" not in reason
    return reason


def test_a_dark_of_another_exposure_time_is_scaled_and_says_so(raw, tmp_path, ccd, small, sky):
    light_of(raw, ccd, small, sky, seconds=120.0)
    assert not reduce_exposures([raw], tmp_path / "out").failures
    assert ccd.rows_of(tmp_path / "out").loc["light-r0.fits", "masters"] == "bias; dark-60s x 2; flat-r"
    result = ccd.opened(tmp_path / "out", sky)
    assert result.pulls[result.empty].std() == pytest.approx(1, abs=0.05)
    assert abs(result.pulls[result.empty].mean()) < 0.1


def test_the_dark_of_the_same_exposure_time_comes_first(raw, tmp_path, ccd, small, sky):
    ccd.calibrations(raw, small, n=3, seconds=100.0, kinds=("dark",))
    light_of(raw, ccd, small, sky)
    reduce_exposures([raw], tmp_path / "out")
    assert "dark-60s;" in ccd.rows_of(tmp_path / "out").loc["light-r0.fits", "masters"]
    assert sorted(path.name for path in (tmp_path / "out" / "masters").glob("*.fits")) == [
        "bias.fits",
        "dark-100s.fits",
        "dark-60s.fits",
        "flat-r.fits",
    ]


def test_without_a_bias_a_dark_is_not_scaled(tmp_path, ccd, small, sky):
    raw = tmp_path / "raw"
    ccd.calibrations(raw, small, n=3, kinds=("dark",))
    light_of(raw, ccd, small, sky, seconds=120.0)
    reason = only_failure(raw, tmp_path / "out", bias=False, flat=False)
    assert "cannot be scaled" in reason
    assert "--no-dark" in reason


def test_a_dark_with_its_bias_left_in_takes_both_away(tmp_path, ccd, small, sky):
    raw = tmp_path / "raw"
    ccd.calibrations(raw, small, n=5, kinds=("dark",))
    small.flat = np.ones(small.shape)
    light_of(raw, ccd, small, sky)
    assert not reduce_exposures([raw], tmp_path / "out", Reduction(bias=False, flat=False)).failures
    result = ccd.opened(tmp_path / "out", sky)
    assert result.pulls[result.empty].std() == pytest.approx(1, abs=0.05)
    assert abs(result.pulls[result.empty].mean()) < 0.1


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"CCD-TEMP": -12.0}, ("taken at -12 degrees", "darks at -20", "--temperature-tolerance")),
        ({"XBINNING": 2, "YBINNING": 2}, ("no bias", "binning 2x2", "--no-bias")),
        ({"GAIN": 3.0}, ("no bias", "gain 3", "gain 1.6")),
        ({"INSTRUME": "other"}, ("no bias", "other")),
        ({"FILTER": "Sloan g'"}, ("no flat in filter Sloan g'", "there is none", "--no-flat")),
    ],
)
def test_a_light_that_its_calibration_frames_do_not_fit_fails_in_one_line(raw, tmp_path, ccd, small, sky, extra, words):
    light_of(raw, ccd, small, sky, **extra)
    reason = only_failure(raw, tmp_path / "out")
    for word in ("light-r0.fits", *words):
        assert word in reason


def test_another_shape_is_told_with_both_shapes(raw, tmp_path, ccd, sky):
    light_of(raw, ccd, ccd.Camera(shape=(80, 100)), sky)
    reason = only_failure(raw, tmp_path / "out")
    assert "80 x 100 pixels" in reason
    assert "90 x 100 pixels" in reason


def test_a_wider_tolerance_takes_the_warmer_dark(raw, tmp_path, ccd, small, sky):
    light_of(raw, ccd, small, sky, **{"CCD-TEMP": -12.0})
    assert len(reduce_exposures([raw], tmp_path / "out", Reduction(temperature_tolerance=10)).frames) == 1


def test_darks_of_two_temperatures_are_two_masters(raw, tmp_path, ccd, small, sky):
    for path in sorted(raw.glob("dark*")):
        header = fits.getheader(path)
        header["CCD-TEMP"] = -10.0
        fits.PrimaryHDU(fits.getdata(path), header).writeto(raw / f"warm-{path.name}")
    light_of(raw, ccd, small, sky, **{"CCD-TEMP": -10.5})
    reduce_exposures([raw], tmp_path / "out")
    table = ccd.rows_of(tmp_path / "out")
    assert table.loc["light-r0.fits", "masters"].split("; ")[1] == table.loc["warm-dark60-0.fits", "result"][8:-5]
    assert table.loc["dark60-0.fits", "result"] != table.loc["warm-dark60-0.fits", "result"]


def test_a_flat_that_is_saturated_or_dark_is_left_out_of_its_master(raw, tmp_path, ccd, small, sky):
    ccd.write(raw / "flat-over.fits", np.full(small.shape, 65535, np.uint16), "FLAT", 5.0, FILTER="r")
    ccd.write(raw / "flat-under.fits", small.expose(np.zeros(small.shape), 0), "FLAT", 0.001, FILTER="r")
    light_of(raw, ccd, small, sky)
    reduced = reduce_exposures([raw], tmp_path / "out")
    table = ccd.rows_of(tmp_path / "out")
    assert "100% of this flat is saturated" in table.loc["flat-over.fits", "reason"]
    assert len(reduced.frames) == 1
    assert fits.getheader(tmp_path / "out" / "masters" / "flat-r.fits")["NCOMBINE"] == 3 + (
        table.loc["flat-under.fits", "status"] == "used"
    )


def test_flats_that_are_all_useless_are_told_once_each(raw, tmp_path, ccd, small, sky):
    for path in raw.glob("flat*"):
        fits.PrimaryHDU(np.full(small.shape, 65535, np.uint16), fits.getheader(path)).writeto(path, overwrite=True)
    light_of(raw, ccd, small, sky)
    failures = reduce_exposures([raw], tmp_path / "out").failures
    assert sorted(path.rsplit("/", 1)[-1] for path, _ in failures) == [
        "flat-r0.fits", "flat-r1.fits", "flat-r2.fits", "light-r0.fits",
    ]  # fmt: skip


def test_flats_of_the_twilight_sky_lose_their_stars(raw, tmp_path, ccd, small):
    rng = np.random.default_rng(8)
    for path in raw.glob("flat-r*"):
        path.unlink()
    sky = ccd.Sky(tuple((x, y, 3e5) for x, y in rng.uniform(0, 100, (12, 2))), ())
    for k in range(7):
        light = 5000 + sky.image((9.0 * k, -7.0 * k), shape=small.shape)
        ccd.write(raw / f"sky{k}.fits", small.expose(light, 5.0), "Twilight Flat", 5.0, FILTER="r")
    ccd.write(raw / "light.fits", small.expose(np.full(small.shape, 10.0), 60), "LIGHT", 60.0, FILTER="r", OBJECT="a")
    assert not reduce_exposures([raw], tmp_path / "out").failures
    with fits.open(tmp_path / "out" / "masters" / "flat-r.fits") as hdus:
        apart = (hdus[0].data / small.flat - 1)[hdus["MASK"].data == 0]
    assert apart.std() < 0.006  # of which 0.003 is noise; with their stars in, 0.2
    assert np.percentile(np.abs(apart), 99) < 0.015


def test_an_overscan_does_for_a_bias(tmp_path, ccd, small, sky):
    """Each exposure has a level of its own, which its overscan tells and no bias frame could."""
    raw = tmp_path / "raw"
    small.bias = np.full(small.shape, 800.0)
    small.flat = np.ones(small.shape)
    ccd.calibrations(raw, small, n=5, kinds=("dark",))
    light_of(raw, ccd, small, sky, seconds=120.0)
    rng = np.random.default_rng(9)
    for k, path in enumerate(sorted(raw.iterdir())):
        counts, header = fits.getdata(path).astype(float), fits.getheader(path)
        overscan = 800 + rng.normal(0, ccd.READ_NOISE / ccd.GAIN, (90, 16))
        header["BIASSEC"], header["TRIMSEC"] = "[101:116,1:90]", "[1:100,1:90]"
        both = np.rint(np.hstack([counts, overscan]) + 7 * k).astype(np.uint16)
        fits.PrimaryHDU(both, header).writeto(path, overwrite=True)
    assert not reduce_exposures([raw], tmp_path / "out", Reduction(bias=False, flat=False)).failures
    assert "dark-60s x 2" in ccd.rows_of(tmp_path / "out").loc["light-r0.fits", "masters"]
    result = ccd.opened(tmp_path / "out", sky)
    assert abs(result.pulls[result.empty].mean()) < 0.25  # the level of an overscan is known to half a count
    assert result.pulls[result.empty].std() == pytest.approx(1, abs=0.05)
