import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from fieldprep import Field
from fieldprep.errors import UsageError
from fieldprep.fitsfile import read_planes
from fieldprep.simulation import stray_charge
from fieldprep.simulation.artefacts import BITS

pytest.importorskip("galsim")
camera_module = pytest.importorskip("fieldprep.simulation.camera")
files = pytest.importorskip("fieldprep.simulation.files")
injection = pytest.importorskip("fieldprep.simulation.injection")
rendering = pytest.importorskip("fieldprep.simulation.rendering")
simulation = pytest.importorskip("fieldprep.simulation.simulate")

Injection = injection.Injection
FEW = Injection(galaxies=6, magnitudes=(17.0, 19.0))


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A small field that stands for a real one."""
    folder = tmp_path_factory.mktemp("real") / "field"
    files.write_field(folder, seed=2, shape=(400, 500), recipe=simulation.Recipe(crowding=3))
    return folder


@pytest.fixture(scope="module")
def injected(real, tmp_path_factory):
    """That field with six galaxies more."""
    out = tmp_path_factory.mktemp("injected") / "more"
    injection.write_injected(out, real, seed=4, injection=FEW)
    return out


def _difference(out, real, band):
    new, old = (next(folder.glob(f"*-{band}.fits.bz2")) for folder in (out, real))
    return fits.getdata(new).astype(float) - fits.getdata(old).astype(float)


def _light(real, seed, band, wanted=FEW):
    """The galaxies' own light, without noise, as the same seed draws them."""
    planes = camera_module.band_planes(real)
    camera = camera_module.camera_of(planes)
    image = next(plane.image for plane in planes.values() if plane.band == "r")
    galaxies = injection._galaxies(simulation.generators(seed, 2)[0], image, camera, wanted)
    light = np.zeros(image.shape)
    here = rendering.on_frame(galaxies, camera, band)
    for stamp in rendering.galaxy_stamps(here, camera.bands[band], band, camera.pixel_scale):
        rendering.add_stamp(light, stamp)
    return light, camera.bands[band].electrons


@pytest.mark.parametrize("band", ["g", "r", "i"])
def test_what_is_added_is_the_galaxies_light_within_its_photons_noise(real, injected, band):
    light, electrons = _light(real, 4, band)
    difference = _difference(injected, real, band)
    saturated = read_planes(next(real.glob(f"*-{band}.fits.bz2")))[0].unusable
    counted = (light * electrons > 30) & ~saturated
    assert counted.sum() > 500
    pull = (difference - light)[counted] / np.sqrt(light[counted] / electrons)
    assert pull.mean() == pytest.approx(0, abs=4 / np.sqrt(counted.sum()))
    assert pull.std() == pytest.approx(1, abs=0.06)


def test_where_no_galaxy_is_nothing_changes(real, injected):
    light, electrons = _light(real, 4, "r")
    dark = light * electrons < 1e-4
    assert dark.any()
    # float32 keeps seven digits of the sum
    assert np.abs(_difference(injected, real, "r")[dark]).max() < 1e-6


def test_headers_and_hdus_stay(real, tmp_path):
    changed = tmp_path / "survey"
    changed.mkdir()
    for path in real.glob("*-[gri].fits.bz2"):
        with fits.open(path) as hdus:
            hdus[0].header["NIGHT"] = ("a dark one", "kept")
            hdus.append(fits.BinTableHDU.from_columns([fits.Column("SKY", "E", array=[1.0, 2.0])]))
            hdus.writeto(changed / path.name)
    injection.write_injected(tmp_path / "out", changed, seed=4, injection=FEW)
    for path in changed.iterdir():
        new = next((tmp_path / "out").glob(path.name.replace("field", "out")))
        with fits.open(path) as old, fits.open(new) as out:
            assert len(old) == len(out)
            kept = out[0].header.copy()
            del kept["HISTORY"]
            assert fits.HeaderDiff(old[0].header, kept).identical
            np.testing.assert_array_equal(old[1].data, out[1].data)


def test_truth_holds_the_injected_and_what_was_there(real, injected):
    truth, known = (pd.read_csv(folder / "catalogue.csv") for folder in (injected, real))
    added = truth[truth["injected"] == 1]
    assert len(added) == 6
    assert added["modelMag_r"].between(17, 19).all()
    assert (added["type"] == 3).all()
    rest = truth[truth["injected"] == 0].reset_index(drop=True)
    assert (rest["kind"] == "real").all()
    np.testing.assert_allclose(rest["modelMag_r"], known["modelMag_r"])
    assert Field.read(injected).shape == (400, 500)


def test_a_field_without_a_catalogue_has_a_note(real, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in real.glob("*-[gri].fits.bz2"):
        (bare / path.name).write_bytes(path.read_bytes())
    notes = injection.write_injected(tmp_path / "out", bare, seed=4, injection=FEW)
    assert any("no catalogue.csv" in note for note in notes)
    assert (pd.read_csv(tmp_path / "out" / "catalogue.csv")["injected"] == 1).all()


def test_no_pixel_goes_over_its_full_well(real, tmp_path):
    bright = Injection(galaxies=5, magnitudes=(10.5, 11.0), sizes=(0.3, 0.4))
    injection.write_injected(tmp_path / "out", real, seed=4, injection=bright)
    limit = camera_module.FULL_WELL * camera_module.COUNT["r"]
    image = fits.getdata(tmp_path / "out" / "out-r.fits.bz2")
    assert image.max() == pytest.approx(limit, rel=1e-5)
    old = fits.getdata(real / "field-r.fits.bz2")
    saturated = read_planes(real / "field-r.fits.bz2")[0].unusable
    np.testing.assert_array_equal(image[saturated], old[saturated])


@pytest.mark.parametrize("placing", ["random", "grid"])
def test_injected_galaxies_keep_their_distance_and_lie_off_the_edge(placing):
    image = np.zeros((600, 900), np.float32)
    wanted = Injection(galaxies=30, placing=placing)
    x, y = injection._places(np.random.default_rng(0), image, 0.396, wanted)
    assert len(x) == 30
    apart = np.hypot(x[:, None] - x, y[:, None] - y)[~np.eye(30, dtype=bool)]
    assert apart.min() * 0.396 >= injection.APART
    assert x.min() >= injection.MARGIN_PX - 0.5
    assert y.max() <= 600 - injection.MARGIN_PX
    if placing == "grid":
        assert len(set(np.rint(y / 5))) <= 12


def test_avoiding_keeps_clear_of_what_is_there(real):
    image = fits.getdata(real / "field-r.fits.bz2")
    x, y = injection._places(np.random.default_rng(0), image, 0.396, Injection(galaxies=12, avoid=True))
    known = injection.census(image)
    for cx, cy in zip(x, y, strict=True):
        assert (np.hypot(known.x - cx, known.y - cy) > injection.CLEAR_RADII * known.half_light).all()


def test_sizes_are_drawn_from_the_range(real):
    planes = camera_module.band_planes(real)
    camera = camera_module.camera_of(planes)
    image = np.zeros((3000, 3000), np.float32)
    wanted = Injection(galaxies=60, sizes=(0.5, 5.0), magnitudes=(18.0, 20.0))
    radius = injection._galaxies(np.random.default_rng(0), image, camera, wanted)["radius"]
    assert radius.between(0.5, 5).all()
    assert np.log(radius).mean() == pytest.approx(np.log(np.sqrt(2.5)), abs=0.3)


def test_artefacts_of_the_exposure_can_be_added(real, tmp_path, monkeypatch):
    monkeypatch.setattr(stray_charge, "COSMIC_RAYS", 300.0)
    wanted = Injection(galaxies=3, artefacts=("cosmic_ray", "trail"))
    injection.write_injected(tmp_path / "out", real, seed=4, injection=wanted)
    rows = pd.read_csv(tmp_path / "out" / "artefacts.csv")
    assert set(rows["kind"]) <= {"cosmic_ray", "trail"}
    added = _difference(tmp_path / "out", real, "r")
    for row in rows[(rows["kind"] == "cosmic_ray") & (rows["band"] == "r")].itertuples():
        part = added[round(row.y_min + 0.5) : round(row.y_max + 0.5), round(row.x_min + 0.5) : round(row.x_max + 0.5)]
        assert part.max() >= 0.99 * row.peak
    with fits.open(tmp_path / "out" / "out-mask.fits.gz") as hdus:
        assert (hdus["R"].data & BITS["cosmic_ray"]).any()


def test_more_galaxies_than_fit_is_one_line(real, tmp_path):
    for placing in ("random", "grid"):
        with pytest.raises(UsageError, match="do not fit") as caught:
            injection.write_injected(tmp_path / "out", real, seed=1, injection=Injection(500, placing=placing))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"artefacts": ("spike",)}, "spike cannot be added"),
        ({"placing": "ring"}, "random or grid"),
        ({"placing": "grid", "avoid": True}, "grid does not avoid"),
        ({"sizes": (1.0, 100.0)}, "half-light radii go up to"),
    ],
)
def test_options_that_make_no_sense_are_one_line(options, words):
    with pytest.raises(UsageError, match=words):
        Injection(**options)


def test_several_injections_differ(real, tmp_path):
    injection.write_injected(tmp_path / "out", real, seed=4, number=2, injection=FEW)
    first, second = (pd.read_csv(tmp_path / "out" / name / "catalogue.csv") for name in ("out-0001", "out-0002"))
    assert not np.allclose(first["x"][:6], second["x"][:6])


def test_a_real_frame_takes_them(sdss_folder, tmp_path):
    field = tmp_path / "frame"
    field.mkdir()
    original = next(sdss_folder.glob("frame-r-*"))
    (field / original.name).symlink_to(original)
    injection.write_injected(tmp_path / "out", field, seed=1, injection=Injection(galaxies=20))
    out = read_planes(tmp_path / "out" / "out-r.fits.bz2")[0]
    old = read_planes(original)[0]
    assert out.survey == "SDSS"
    assert out.field_id == old.field_id
    truth = pd.read_csv(tmp_path / "out" / "catalogue.csv")
    flux = (10 ** (0.4 * (22.5 - truth["modelMag_r"])))[truth["ignore"] == 0].sum()
    assert (out.image - old.image).sum() == pytest.approx(flux, rel=0.03)
