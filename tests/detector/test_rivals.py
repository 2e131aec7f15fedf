import numpy as np
import pytest

from detector.evaluate import match
from detector.rivals import sep_detect
from fieldprep import Field
from fieldprep.catalogues import read_catalogue, sources_on_field


def field_of(image, band="r"):
    return Field("one", {band: image.astype(np.float32)}, ~np.isfinite(image))


def noise(seed=0, shape=(400, 400)):
    return np.random.default_rng(seed).normal(0, 1, shape)


def with_objects(image, rows):
    """Gaussians of (x, y, sigma, amplitude) added."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    for cx, cy, sigma, amplitude in rows:
        image = image + amplitude * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    return image


STARS = [(30 + 60 * i, 40 + 70 * j, 1.5, 400) for i in range(6) for j in range(5)]
GALAXIES = [(60, 75, 5, 60), (180, 145, 6, 50), (300, 285, 4, 80)]


def test_sep_finds_the_catalogued_galaxies_of_a_real_field(sdss_field, sdss_folder):
    found = sep_detect(sdss_field)
    catalogue = read_catalogue(sdss_folder / "catalogue.csv")
    truth = sources_on_field(catalogue, sdss_field.shape, wcs=sdss_field.wcs, pixel_scale=sdss_field.pixel_scale)
    wanted = truth.galaxy & ~truth.ignore & (truth.magnitude < 20)
    assert wanted.sum() > 20
    assert np.isin(np.flatnonzero(wanted), match(found.centres, truth)).mean() >= 0.85


def test_galaxies_are_told_from_stars_by_their_size():
    found = sep_detect(field_of(with_objects(noise(), STARS + GALAXIES)))
    wanted, stars = np.array(GALAXIES)[:, :2], np.array(STARS)[:, :2]
    distance = np.linalg.norm(found.centres[:, None] - wanted[None], axis=2)
    assert (distance.min(axis=0) < 1.5).all()
    assert (np.linalg.norm(found.centres[:, None] - stars[None], axis=2) > 5).all()


def test_the_brightest_comes_first():
    found = sep_detect(field_of(with_objects(noise(), [*STARS, (60, 75, 5, 60), (180, 145, 5, 300)])))
    assert found.centres[0] == pytest.approx([180, 145], abs=1)


def test_empty_noise_holds_few_galaxies():
    # 1.5 sigma over five pixels lets a few noise peaks through
    assert len(sep_detect(field_of(noise()))) < 30


def test_a_flat_field_holds_none():
    assert len(sep_detect(field_of(np.zeros((100, 120))))) == 0


def test_missing_pixels_neither_crash_nor_are_found():
    image = with_objects(noise(), STARS + GALAXIES)
    image[:, :20] = np.nan
    image[190:260, 30:170] = np.nan
    found = sep_detect(field_of(image))
    x, y = found.centres.T
    assert not (x < 19).any()
    assert not ((x > 32) & (x < 168) & (y > 192) & (y < 258)).any()
    assert (np.linalg.norm(found.centres - np.array(GALAXIES[2][:2]), axis=1) < 1.5).any()


def test_the_band_can_be_named():
    field = Field(
        "two",
        {"g": noise().astype(np.float32), "r": with_objects(noise(1), STARS + GALAXIES).astype(np.float32)},
        np.zeros((400, 400), np.bool_),
    )
    assert len(sep_detect(field, "g")) < len(sep_detect(field, "r"))
    assert sep_detect(field).xyxy.tolist() == sep_detect(field, "r").xyxy.tolist()


def test_the_field_is_left_as_it_was():
    field = field_of(with_objects(noise(), STARS))
    before = field.bands["r"].copy()
    sep_detect(field)
    assert np.array_equal(field.bands["r"], before)
