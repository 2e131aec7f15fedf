"""What classifiers say of each detection."""

from dataclasses import replace

import numpy as np
import pytest

from detector.detections import Flag
from fieldprep.errors import InputError, UsageError
from fullfield.batch import run
from fullfield.catalogue import read_parquet
from fullfield.classification import chosen_cards, class_columns
from fullfield.pipeline import Request, run_field
from fullfield.sources import find_sources


def asked(spots, *classifiers):
    return Request.of(spots, classifiers=",".join(classifiers) or "none", confidence=0.25)


def test_each_detection_has_a_class_and_probabilities_and_disagreement_is_flagged(
    frame, spots, make_classifier, tmp_path, objects
):
    # the mean of a stamp of 24 px about an object over the noise: the brightest are over a half, the faintest not
    weights = make_classifier("star_galaxy", ("galaxy", "star"))
    outcome = run_field(find_sources([frame("a")])[0], asked(spots, weights), tmp_path / "out")
    assert outcome.error == ""
    table = read_parquet(tmp_path / "out/fields/a/all_detections.parquet")
    given, p = np.asarray(table["star_galaxy_class"]), np.asarray(table["star_galaxy_p_galaxy"])
    assert len(table) == len(objects)
    assert given.tolist() == ["galaxy", "galaxy", "galaxy", "star"]
    np.testing.assert_allclose(p + table["star_galaxy_p_star"], 1)
    np.testing.assert_allclose(table["star_galaxy_probability"], np.maximum(p, 1 - p))
    assert (np.asarray(table["flags"]) & int(Flag.CALLED_STAR) > 0).tolist() == [False, False, False, True]
    assert "CALLED_STAR" in str(table.meta["flag_bits"])
    assert list(table.meta["classifiers"]) == [weights]


def test_the_joined_catalogue_has_the_columns_even_without_a_row(frame, spots, make_classifier, tmp_path):
    weights = make_classifier("real_bogus", ("real", "bogus"))
    request = replace(asked(spots, weights), pictures=False)
    for threshold, rows in ((0.25, 3), (1.0, 0)):
        out = tmp_path / f"out{threshold}"
        run([frame("a")], out, replace(request, confidence=threshold))
        table = read_parquet(out / "catalogue.parquet")
        assert len(table) == rows
        names = [name for name, _, _ in class_columns(list(chosen_cards(weights).values()))]
        assert (
            table.colnames[-4:]
            == names
            == [f"real_bogus_{end}" for end in ("class", "probability", "p_real", "p_bogus")]
        )
        assert table["real_bogus_p_real"].description


def test_a_detection_without_data_has_no_class(make_fits, small_image, spots, make_classifier, tmp_path, monkeypatch):
    from fullfield import classification  # noqa: PLC0415 -- patched

    weights = make_classifier("real_bogus", ("real", "bogus"))
    path = str(make_fits("a.fits", small_image(), band="r"))
    cut = classification.stamps_about

    def without_the_second(*arguments, **options):
        stamps = cut(*arguments, **options)
        stamps[1] = np.nan
        return stamps

    monkeypatch.setattr(classification, "stamps_about", without_the_second)
    assert run_field(find_sources([path])[0], asked(spots, weights), tmp_path / "out").error == ""
    table = read_parquet(tmp_path / "out/fields/a/all_detections.parquet")
    assert table["real_bogus_class"].tolist()[1] == ""
    assert np.isnan(table["real_bogus_probability"][1])
    assert np.isfinite(np.asarray(table["real_bogus_probability"])[[0, 2, 3]]).all()


def test_a_single_band_is_repeated_for_a_classifier_of_three(frame, spots, make_classifier, tmp_path):
    found = {}
    for gray in (True, False):
        weights = make_classifier("real_bogus", ("real", "bogus"), gray=gray)
        out = tmp_path / f"out{gray}"
        assert run_field(find_sources([frame("a")])[0], asked(spots, weights), out).error == ""
        found[gray] = np.asarray(read_parquet(out / "fields/a/all_detections.parquet")["real_bogus_p_real"])
    np.testing.assert_allclose(found[True], found[False], atol=1e-6)


def test_what_is_not_for_detections_or_not_there_is_refused(spots, make_classifier, cli, frame, tmp_path):
    triplets = make_classifier("comet", ("comet", "star"), sides=None)
    with pytest.raises(UsageError, match="its stamps are not those of a detection"):
        asked(spots, triplets)
    weights = make_classifier("real_bogus", ("real", "bogus"))
    with pytest.raises(UsageError, match="two answer the same"):
        asked(spots, weights, weights)
    with pytest.raises(InputError, match="not the card of a network of this kind"):
        asked(spots, spots)
    status, _, error = cli("run", frame("a"), "--out", tmp_path / "out", "--classifiers", "nosuch")
    assert status == 1
    assert error.startswith("fullfield: nosuch")
    assert error.count("\n") == 1


def test_a_classifier_of_pictures_sees_portraits_and_says_what_is_too_small_or_unsure(
    make_fits, small_image, spots, make_classifier, tmp_path, objects
):
    # a picture's mean over a half of white is "bright"
    weights = make_classifier(
        "morphology", ("bright", "dark"), sides=None, size=32, portrait={"sides": 0.4, "least": 8.0}, unsure=0.99
    )
    image = np.stack([small_image(seed) for seed in range(3)])
    path = str(make_fits("a.fits", [(plane, {"BAND": band}) for plane, band in zip(image, "gri", strict=True)]))
    assert run_field(find_sources([path])[0], asked(spots, weights), tmp_path / "out").error == ""
    table = read_parquet(tmp_path / "out/fields/a/all_detections.parquet")
    sides = np.maximum(table["x_max"] - table["x_min"], table["y_max"] - table["y_min"])
    given, p = np.asarray(table["morphology_class"]), np.asarray(table["morphology_p_bright"])
    assert (given == "too_small").tolist() == (sides < 8).tolist()
    assert np.isnan(p[sides < 8]).all()
    told = sides >= 8
    assert told.any()
    assert np.isfinite(p[told]).all()
    surest = np.maximum(p, 1 - p)[told]
    expected = np.where(surest < 0.99, "uncertain", np.where(p[told] > 0.5, "bright", "dark"))
    assert given[told].tolist() == expected.tolist()
    assert "too_small" in table["morphology_class"].description
