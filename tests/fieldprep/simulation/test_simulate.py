import time

import numpy as np
import pandas as pd
import pytest

from fieldprep.census import census
from fieldprep.simulation import population
from fieldprep.simulation.artefacts import Exposure
from fieldprep.simulation.population import Density

galsim = pytest.importorskip("galsim")
simulation = pytest.importorskip("fieldprep.simulation.simulate")
camera_module = pytest.importorskip("fieldprep.simulation.camera")
rendering = pytest.importorskip("fieldprep.simulation.rendering")

SHAPE = (240, 320)
QUIET = simulation.Recipe(artefacts=())


def _camera(shape=SHAPE, *, noise=1e-5, galaxies=1140.0, stars=2300.0):
    """SDSS's camera with hardly any noise, so that light is seen alone."""
    camera = camera_module.sdss_camera(np.random.default_rng(0), shape)
    bands = {
        name: camera_module.BandCamera(
            band.shape, band.wcs, band.psf, noise, count=0.0, electrons=1e12, full_well=band.full_well
        )
        for name, band in camera.bands.items()
    }
    return camera_module.Camera(bands, Density(galaxies, stars))


def _part(image, x, y, reach):
    return image[round(y) - reach : round(y) + reach + 1, round(x) - reach : round(x) + reach + 1]


def test_the_same_seed_gives_the_same_field():
    first, second = simulation.simulate(3, (120, 160)), simulation.simulate(3, (120, 160))
    np.testing.assert_array_equal(first.images["r"], second.images["r"])
    assert first.truth.equals(second.truth)
    assert first.artefacts.equals(second.artefacts)


def test_another_seed_gives_another_field():
    assert not np.array_equal(
        simulation.simulate(3, (120, 160)).images["r"], simulation.simulate(4, (120, 160)).images["r"]
    )


def test_a_spawned_seed_is_used_as_often_as_one_likes():
    child = np.random.SeedSequence(3).spawn(2)[1]
    first, second = (simulation.simulate(child, (120, 160), recipe=QUIET) for _ in range(2))
    np.testing.assert_array_equal(first.images["g"], second.images["g"])


def test_arcs_move_no_star():
    plain = simulation.simulate(3, SHAPE, recipe=QUIET).truth
    arcs = simulation.simulate(3, SHAPE, recipe=simulation.Recipe(arcs=3, shear=0.4, artefacts=())).truth
    columns = ["x", "y", "modelMag_r"]
    stars = [truth.loc[truth["kind"] == "star", columns].reset_index(drop=True) for truth in (plain, arcs)]
    assert stars[0].equals(stars[1])
    assert (arcs["kind"] == "arc").sum() == 3
    assert (arcs.loc[arcs["kind"] == "arc", "shear"] == 0.4).all()
    assert (plain["shear"] == 0).all()


@pytest.mark.parametrize("band", ["g", "r", "i"])
def test_noise_is_that_of_the_survey_in_every_band(band):
    frame = simulation.simulate(11, (400, 400)).images[band]
    assert census(frame).noise == pytest.approx(camera_module.SKY_NOISE[band], rel=0.02)


def test_values_are_whole_counts_less_a_sky_that_is_not():
    image = simulation.simulate(3, (120, 160), recipe=QUIET).images["r"].astype(float) / camera_module.COUNT["r"]
    for row in (0, 60, 119):
        steps = image[row] - image[row, 0]
        np.testing.assert_allclose(steps, np.rint(steps), atol=2e-3)
    phase = (image[0, 0] - image[119, 0]) % 1
    assert phase == pytest.approx(simulation.SKY_DRIFT, abs=2e-3)


def test_bands_are_offset_as_their_wcs_says():
    field = simulation.simulate(8, SHAPE, recipe=simulation.Recipe(crowding=5))
    truth = field.truth
    bright = truth[(truth["modelMag_r"] < 19.5) & (truth["type"] == 6)]
    bright = bright[bright["x"].between(30, SHAPE[1] - 30) & bright["y"].between(30, SHAPE[0] - 30)]
    assert len(bright)
    for band in ("g", "i"):
        x, y = field.wcs[band].world_to_pixel_values(bright["ra"], bright["dec"])
        np.testing.assert_allclose(x - bright["x"], camera_module.BAND_OFFSET_PX[band][0], atol=0.01)
        np.testing.assert_allclose(y - bright["y"], camera_module.BAND_OFFSET_PX[band][1], atol=0.01)
        peak = np.array([field.images[band][round(b), round(a)] for a, b in zip(x, y, strict=True)])
        assert (peak > 5 * camera_module.SKY_NOISE[band]).all()


def test_a_star_alone_lies_where_its_row_says():
    rng = np.random.default_rng(2)
    camera = _camera().bands["r"]
    dy, dx = np.mgrid[-20:21, -20:21]
    for x, y in rng.uniform(60, 180, (20, 2)):
        exposure = Exposure("r", np.zeros(camera.shape), camera, 0.396)
        rendering.draw_stars(exposure, pd.DataFrame({"x": [x], "y": [y], "modelMag_r": [19.0]}))
        light = _part(exposure.image, x, y, 20)
        assert (dx * light).sum() / light.sum() + round(x) == pytest.approx(x, abs=0.02)
        assert (dy * light).sum() / light.sum() + round(y) == pytest.approx(y, abs=0.02)
        assert 22.5 - 2.5 * np.log10(light.sum()) == pytest.approx(19.0, abs=0.01)


@pytest.mark.parametrize("kind", ["smooth", "spiral", "merger"])
def test_a_galaxys_image_lies_and_shines_as_its_row_says(kind):
    rng = np.random.default_rng(1)
    n = 6
    table = population.galaxies_at(rng, rng.uniform(50, 250, n), rng.uniform(50, 200, n), np.linspace(17, 22, n))
    table = table.assign(kind=kind, bulge=0.0 if kind == "merger" else table["bulge"])
    camera = _camera()
    for band in ("g", "r", "i"):
        here = rendering.on_frame(table, camera, band)
        stamps = rendering.galaxy_stamps(here, camera.bands[band], band, camera.pixel_scale)
        for row, stamp in zip(here.itertuples(), stamps, strict=True):
            image = stamp.array
            y, x = np.mgrid[stamp.ymin : stamp.ymax + 1, stamp.xmin : stamp.xmax + 1]
            magnitude = 22.5 - 2.5 * np.log10(image.sum())
            assert magnitude == pytest.approx(getattr(row, f"modelMag_{band}"), abs=0.01)
            if band == "r":
                assert (x * image).sum() / image.sum() == pytest.approx(row.x, abs=0.02)
                assert (y * image).sum() / image.sum() == pytest.approx(row.y, abs=0.02)


def test_the_light_of_a_field_is_that_of_its_truth():
    field = simulation.simulate(9, SHAPE, camera=_camera(), recipe=QUIET)
    truth = field.truth
    edge = (truth["x"].between(25, SHAPE[1] - 25)) & (truth["y"].between(25, SHAPE[0] - 25))
    flux = 10 ** (0.4 * (22.5 - truth["modelMag_r"]))
    # what lies at the edge sheds up to half its light over it
    image = field.images["r"].astype(float).sum()
    assert flux[edge].sum() * 0.97 < image < flux.sum() * 1.03


def test_what_is_centred_where_a_band_has_no_frame_is_ignored():
    field = simulation.simulate(9, SHAPE, recipe=QUIET)
    truth = field.truth
    outside = np.zeros(len(truth), np.bool_)
    for wcs in field.wcs.values():
        x, y = wcs.world_to_pixel_values(truth["ra"], truth["dec"])
        outside |= (np.abs(x - (SHAPE[1] - 1) / 2) > SHAPE[1] / 2) | (np.abs(y - (SHAPE[0] - 1) / 2) > SHAPE[0] / 2)
    assert 0 < outside.sum() < len(truth) / 4
    assert (truth["ignore"][outside] == 1).all()
    inner = truth["x"].between(20, SHAPE[1] - 20) & truth["y"].between(20, SHAPE[0] - 20)
    assert (truth["ignore"][inner & (truth["kind"] == "star")] == 0).all()


def test_sizes_are_in_order_and_stars_have_the_psfs():
    truth = simulation.simulate(9, SHAPE, recipe=QUIET).truth
    assert (truth["petroR50_r"] < truth["petroR90_r"]).all()
    assert (truth["petroR50_r"] < truth["petroRad_r"]).all()
    stars = truth[truth["kind"] == "star"]
    assert (stars["petroRad_r"] == stars["petroRad_r"].iloc[0]).all()
    assert stars["bulge_fraction"].isna().all()
    assert truth.loc[truth["type"] == 3, "bulge_fraction"].between(0, 1).all()
    assert (truth["injected"] == 0).all()


def test_crowding_multiplies_the_stars_and_a_cluster_adds_its_own():
    counts = {
        name: (simulation.simulate(2, SHAPE, recipe=recipe).truth["kind"] == "star").sum()
        for name, recipe in (
            ("plain", QUIET),
            ("crowded", simulation.Recipe(crowding=10, artefacts=())),
            ("empty", simulation.Recipe(crowding=0, artefacts=())),
            ("cluster", simulation.Recipe(crowding=0, cluster=300, artefacts=())),
        )
    }
    assert counts["empty"] == 0
    assert counts["crowded"] == pytest.approx(10 * counts["plain"], rel=0.4)
    assert 200 < counts["cluster"] <= 300


def test_galaxies_under_a_bright_star_are_ignored():
    truth = simulation.simulate(4, SHAPE, recipe=simulation.Recipe(cluster=400, artefacts=())).truth
    galaxies = truth[truth["type"] == 3]
    assert galaxies["ignore"].sum() > 0
    assert (truth.loc[truth["type"] == 6, "ignore"] == 0).all()


def test_the_largest_galaxy_takes_no_more_than_a_moment():
    table = population.galaxies_at(
        np.random.default_rng(0), np.full(3, 20.0), np.full(3, 20.0), np.full(3, 15.0), np.full(3, 30.0)
    ).assign(kind=["smooth", "spiral", "merger"], bulge=[0.5, 0.3, 0.0])
    camera = _camera()
    start = time.process_time()
    stamps = list(rendering.galaxy_stamps(table, camera.bands["r"], "r", camera.pixel_scale))
    assert time.process_time() - start < 5
    for stamp in stamps:
        assert stamp.array.sum() == pytest.approx(1000, rel=0.01)
