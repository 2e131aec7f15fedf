import numpy as np
import pytest
import sep

from detector.evaluate import match
from detector.rivals import sep_detect
from detector.rivals.segmentation import photutils_detect
from detector.rivals.sep_objects import measured, ranked
from detector.rivals.tuned_sep import tuned_sep_detect
from fieldprep import Field
from fieldprep.catalogues import read_catalogue, sources_on_field
from fieldprep.census import extracted


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


RIVALS = (sep_detect, tuned_sep_detect, photutils_detect)


@pytest.mark.parametrize("detect", RIVALS)
def test_a_flat_field_holds_nothing(detect):
    assert len(detect(field_of(np.zeros((100, 120))))) == 0


@pytest.mark.parametrize("detect", RIVALS)
def test_every_rival_finds_clear_galaxies_and_no_clear_star(detect):
    found = detect(field_of(with_objects(noise(), STARS + GALAXIES) / 40))
    wanted, stars = np.array(GALAXIES)[:, :2], np.array(STARS)[:, :2]
    assert (np.linalg.norm(found.centres[:, None] - wanted[None], axis=2).min(axis=0) < 1.5).all()
    assert (np.linalg.norm(found.centres[:, None] - stars[None], axis=2) > 5).all()


@pytest.mark.parametrize("detect", RIVALS)
def test_boxes_of_rivals_lie_inside_the_field(detect):
    found = detect(field_of(with_objects(noise(), [*STARS, (3, 200, 6, 100), (396, 397, 8, 100)]) / 40))
    assert len(found)
    assert found.xyxy.min() >= -0.5
    assert found.xyxy.max() <= 399.5


def test_a_crowd_that_overflows_seps_defaults_is_detected_all_the_same():
    sep.set_extract_pixstack(1000)  # as if the field had as many pixels over the threshold as M2's
    image = with_objects(noise(), STARS + GALAXIES)
    assert (image > 1.5).sum() > 1000
    seen = extracted(image.astype(np.float32), sigma=1.5, mesh_px=64)
    assert len(measured(seen)) >= len(STARS + GALAXIES)


def test_tuned_sep_drops_what_is_as_bright_as_only_a_saturated_star_is():
    small = with_objects(noise(), [*STARS, (180, 145, 6, 50)])
    burnt = with_objects(small, [(300, 285, 6, 4000)])
    for image in (small, burnt):
        found = tuned_sep_detect(field_of(image / 40))
        near = np.linalg.norm(found.centres[:, None] - np.array([(180, 145), (300, 285)])[None], axis=2) < 2
        assert near.any(axis=0).tolist() == [True, False]


def test_ranked_detections_fall_in_brightness():
    found = ranked(np.array([[0, 0, 8, 8], [10, 10, 20, 20], [30, 30, 40, 40.0]]), np.array([5.0, 50.0, 20.0]))
    assert found.xyxy[:, 0].tolist() == [10, 30, 0]
    assert found.confidence.tolist() == [0.75, 0.5, 0.25]
