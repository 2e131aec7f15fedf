import numpy as np
import pandas as pd
import pytest

from fieldprep.simulation.population import Density, area_deg2

pytest.importorskip("galsim")
camera_module = pytest.importorskip("fieldprep.simulation.camera")
files = pytest.importorskip("fieldprep.simulation.files")
likeness = pytest.importorskip("fieldprep.simulation.likeness")
simulation = pytest.importorskip("fieldprep.simulation.simulate")

SHAPE = (900, 1000)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """An r frame of a known density, richer than usual."""
    folder = tmp_path_factory.mktemp("given") / "field"
    sdss = camera_module.sdss_camera(np.random.default_rng(0), SHAPE)
    camera = camera_module.Camera({"r": sdss.bands["r"]}, Density(galaxies=2000.0, stars=6000.0))
    folder.mkdir()
    files._write(simulation.simulate(3, camera=camera), folder, "field", 3)
    return folder


def test_density_is_that_put_in(given):
    truth = pd.read_csv(given / "catalogue.csv")
    area = area_deg2(SHAPE, 0.396)
    put_in = Density.of(truth["modelMag_r"].to_numpy(), (truth["kind"] == "star").to_numpy(), area)
    found = likeness.matched(given).density
    assert found.galaxies == pytest.approx(put_in.galaxies, rel=0.25)
    assert found.stars == pytest.approx(put_in.stars, rel=0.25)


def test_what_is_seen_again_is_what_was_seen(given):
    image = files.fits.getdata(given / "field-r.fits.bz2")
    camera = likeness.matched(given)
    first = likeness.seen_density(image, 0.396)
    again = likeness.seen_density(simulation.simulate(8, camera=camera).images["r"], 0.396)
    assert again.galaxies == pytest.approx(first.galaxies, rel=0.25)
    assert again.stars == pytest.approx(first.stars, rel=0.2)


def test_an_empty_field_stays_empty(make_fits, tmp_path):
    image = np.random.default_rng(0).normal(0, 0.03, (120, 150)).astype(np.float32)
    make_fits("r.fits", image, band="r", header={"BUNIT": "nanomaggy"}, folder=tmp_path)
    assert likeness.matched(tmp_path).density == Density(0.0, 0.0)


def test_a_globular_cluster_is_not_taken_for_galaxies(tmp_path):
    sdss = camera_module.sdss_camera(np.random.default_rng(0), (600, 700))
    camera = camera_module.Camera({"r": sdss.bands["r"]}, Density(galaxies=1000.0, stars=2000.0))
    crowd = simulation.simulate(3, camera=camera, recipe=simulation.Recipe(cluster=12_000))
    files._write(crowd, tmp_path, "field", 3)
    found = likeness.matched(tmp_path)
    assert found.density.galaxies == Density().galaxies
    assert any("crowded with stars" in note for note in found.notes)
