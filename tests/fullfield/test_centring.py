import numpy as np
import pytest

from fieldprep.catalogues import Sources, read_catalogue, sources_on_field
from fullfield.centring import centre_errors


@pytest.fixture(scope="module")
def truth(sdss_folder, sdss_field):
    catalogue = read_catalogue(sdss_folder / "catalogue.csv")
    return sources_on_field(catalogue, sdss_field.shape, wcs=sdss_field.wcs, pixel_scale=sdss_field.pixel_scale)


def test_the_boxes_of_a_real_field_are_centred_on_its_light(sdss_field, truth):
    errors = centre_errors(sdss_field, truth)
    assert len(errors) >= 15
    assert np.median(errors) < 0.5
    print(f"median centre error {np.median(errors):.2f} px, n {len(errors)}")  # noqa: T201 -- shown by pytest -s


@pytest.mark.parametrize("shift", [0.5, 1.0])
def test_a_catalogue_that_is_off_shows(sdss_field, truth, shift):
    truth = truth.select(np.ones(len(truth), bool))
    truth.x[:] += shift
    truth.y[:] -= shift
    assert np.median(centre_errors(sdss_field, truth)) == pytest.approx(shift * np.sqrt(2), abs=0.25)


def test_a_field_without_galaxies_has_no_centres_to_check(sdss_field):
    assert centre_errors(sdss_field, Sources.none()).shape == (0,)
