"""What has changed since a template, in a run."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from fieldprep.errors import UsageError
from fullfield import transients
from fullfield.catalogue import read_parquet
from fullfield.sources import find_sources, with_templates

SHAPE = (260, 320)
NEW = ((100.0, 90.0, 60.0), (211.0, 141.0, 45.0))  # x, y, height over the noise
GONE = (65.0, 200.0, 50.0)


@pytest.fixture
def night(make_fits, small_image):
    """Factory of an exposure of one sky: stars on a grid that is not quite one, ``changes``, and 2 px of seeing."""
    random = np.random.default_rng(8)
    grid = [(x, y) for y in range(25, 250, 42) for x in range(25, 310, 42)]
    stars = [
        (x + random.uniform(-4, 4), y + random.uniform(-4, 4), height)
        for (x, y), height in zip(grid, np.geomspace(40, 400, len(grid)), strict=True)
    ]

    def make(name, changes=(), *, seed=0, **options):
        image = small_image(seed, [*stars, *changes], SHAPE)
        return str(make_fits(f"{name}.fits", image, band=options.pop("band", "r"), **options))

    return make


@pytest.fixture
def pair(night):
    return night("tonight", NEW, seed=1), night("deep", [GONE], seed=2)


def columns(path):
    return pd.read_parquet(path)


def test_what_is_new_and_what_is_gone_are_candidates_and_are_told_with_the_detection_they_are_in(
    run_spots, pair, make_classifier, tmp_path
):
    # the mean of science, template and difference over the noise: whatever has light in it is real
    weights = make_classifier("real_bogus_difference", ("real", "bogus"), gray=False, sides=None)
    new, old = pair
    status, said, _ = run_spots(new, "--template", old, "--classifiers", weights)
    assert status == 0
    assert "3 candidates of a change" in said
    folder = tmp_path / "out/fields/tonight"
    found = columns(folder / "candidates.parquet")
    assert found["id"].tolist() == [1, 2, 3]
    assert (found["signal_to_noise"].diff().dropna() < 0).all()
    for x, y, height in (*NEW, (*GONE[:2], -GONE[2])):
        row = found.loc[np.hypot(found["x"] - x, found["y"] - y).idxmin()]
        assert np.hypot(row["x"] - x, row["y"] - y) < 0.5
        assert row["flux"] == pytest.approx(height * 2 * np.pi * 2.5**2, rel=0.15)
    assert set(found["real_bogus_difference_class"]) <= {"real", "bogus"}
    np.testing.assert_allclose(found["real_bogus_difference_p_real"] + found["real_bogus_difference_p_bogus"], 1)
    table = read_parquet(folder / "all_detections.parquet")
    assert table.meta["template"].endswith("deep.fits")
    assert weights in table.meta["classifiers"]
    rows = table.to_pandas().set_index("id")
    for candidate in found.itertuples():
        if not candidate.detection:
            assert candidate.flux < 0  # what is gone has no box
            continue
        box = rows.loc[candidate.detection]
        assert box["x_min"] <= candidate.x <= box["x_max"]
        assert box["y_min"] <= candidate.y <= box["y_max"]
        assert box["candidate"] == candidate.id
        assert box["real_bogus_difference_p_real"] == candidate.real_bogus_difference_p_real
    without = rows[rows["candidate"] == 0]
    assert len(without) == len(rows) - 2
    assert set(without["real_bogus_difference_class"]) == {""}
    assert without["real_bogus_difference_probability"].isna().all()
    joined = columns(tmp_path / "out/candidates.parquet")
    pd.testing.assert_frame_equal(joined, found)
    assert cv2.imread(str(folder / "candidates.png")).shape[1] > 1000
    assert json.loads((tmp_path / "out/run.json").read_text())["options"]["template"] == old


def test_positions_are_those_of_the_field_s_wcs(run_spots, pair, tmp_path, make_wcs):
    new, old = pair
    assert run_spots(new, "--template", old, "--classifiers", "none")[0] == 0
    found = columns(tmp_path / "out/candidates.parquet")
    ra, dec = make_wcs(SHAPE).pixel_to_world_values(found["x"], found["y"])
    np.testing.assert_allclose(found["ra"], ra, atol=1e-9)
    np.testing.assert_allclose(found["dec"], dec, atol=1e-9)
    assert not [name for name in found.columns if "real_bogus" in name]


def test_nothing_has_changed(run_spots, night, tmp_path):
    new, old = night("tonight", seed=1), night("deep", seed=2)
    status, said, _ = run_spots(new, "--template", old, "--classifiers", "none")
    assert (status, "0 candidates of a change" in said) == (0, True)
    assert len(columns(tmp_path / "out/candidates.parquet")) == 0
    assert set(columns(tmp_path / "out/fields/tonight/all_detections.parquet")["candidate"]) == {0}


def test_several_templates_are_each_for_the_field_of_its_name(run_spots, night, tmp_path):
    fields = [night(name, [change], seed=i) for i, (name, change) in enumerate(zip("ab", NEW, strict=True))]
    for i, name in enumerate("ab"):
        night(name, seed=5 + i, folder=tmp_path / "old" / name)
    lonely = night("c", seed=9)
    status, _, said = run_spots(*fields, lonely, "--template", str(tmp_path / "old"), "--classifiers", "none")
    assert status == 1
    assert "none of its 2 templates is named c" in said
    found = columns(tmp_path / "out/candidates.parquet")
    assert found["field"].tolist() == ["a", "b"]
    for row, (x, y, _) in zip(found.itertuples(), NEW, strict=True):
        assert np.hypot(row.x - x, row.y - y) < 0.5


def test_a_large_field_is_subtracted_in_parts_that_find_the_same(night, monkeypatch, run_spots, pair, tmp_path):
    new, old = pair
    found = {}
    for size in (transients.WHOLE_PX, 200):
        monkeypatch.setattr(transients, "WHOLE_PX", size)
        monkeypatch.setattr(transients, "PART_PX", 220)
        monkeypatch.setattr(transients, "OVERLAP_PX", 80)
        out = tmp_path / f"out{size}"
        assert run_spots(new, "--template", old, "--classifiers", "none", out=out)[0] == 0
        found[size] = columns(out / "candidates.parquet")
    whole, parts = found.values()
    assert len(whole) == len(parts) == 3
    np.testing.assert_allclose(whole[["x", "y"]], parts[["x", "y"]], atol=0.2)
    np.testing.assert_allclose(whole["flux"], parts["flux"], rtol=0.1)


def test_a_part_that_cannot_be_subtracted_is_told(night, monkeypatch, run_spots, tmp_path):
    new, old = night("tonight", NEW, seed=1), night("deep", seed=2)
    monkeypatch.setattr(transients, "WHOLE_PX", 200)
    monkeypatch.setattr(transients, "PART_PX", 220)
    monkeypatch.setattr(transients, "OVERLAP_PX", 80)
    subtract, refused = transients.subtract, []

    def not_the_first(search, template, band):
        if not refused:
            refused.append(search.name)
            raise transients.InputError("too cloudy")
        return subtract(search, template, band)

    monkeypatch.setattr(transients, "subtract", not_the_first)
    status, _, said = run_spots(new, "--template", old, "--classifiers", "none")
    assert status == 0
    assert "nothing subtracted at x 0 to" in said
    assert "too cloudy" in said


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"band": "g"}, ("template", "in g", "in r")),
        ({"wcs": None}, ("no WCS",)),
    ],
)
def test_a_template_that_cannot_be_subtracted_fails_the_field_in_one_line(run_spots, night, tmp_path, template, words):
    new, old = night("tonight", NEW), night("deep", **template)
    status, _, said = run_spots(new, "--template", old, "--classifiers", "none")
    assert status == 1
    (line,) = [line for line in said.splitlines() if "failed" in line]
    assert "(subtract)" in line
    assert all(word in line for word in words)
    assert not (tmp_path / "out/fields/tonight/catalogue.parquet").exists()


def test_a_template_of_another_sky_fails_the_field(run_spots, night, make_fits, small_image, tmp_path):
    new = night("tonight")
    old = str(make_fits("deep.fits", small_image(), band="r", header={"CRVAL1": 10.0}))
    status, _, said = run_spots(new, "--template", old, "--classifiers", "none")
    assert status == 1
    assert "shows no sky that tonight does" in said


def test_what_makes_no_sense_is_a_usage_error(run_spots, night, make_classifier, tmp_path):
    new, old = night("tonight"), night("deep")
    weights = make_classifier("real_bogus_difference", ("real", "bogus"), gray=False, sides=None)
    status, _, said = run_spots(new, "--classifiers", weights)
    assert status == 2
    assert "--template" in said
    status, _, said = run_spots(new, "--template", str(tmp_path / "none.fits"))
    assert status == 2
    assert "none.fits" in said
    assert run_spots(new, "--template", old, "--classifiers", "none")[0] == 0
    status, _, said = run_spots(new, "--template", night("older"), "--classifiers", "none")
    assert status == 2
    assert "template" in said


def test_templates_by_a_list_of_names(night, tmp_path):
    old = [night("first"), night("second")]
    pd.DataFrame({"source": old, "name": ["b", "a"]}).to_csv(tmp_path / "templates.csv", index=False)
    fields = find_sources([night("a"), night("b")])
    with pytest.raises(UsageError, match="no such file"):
        with_templates(fields, str(tmp_path / "nowhere.csv"))
    given = with_templates(fields, str(tmp_path / "templates.csv"))
    assert [source.template.paths[0].name for source in given] == ["second.fits", "first.fits"]


def test_what_has_gone_is_asked_as_what_has_come_seen_from_the_other_night(
    pair, monkeypatch, run_spots, make_classifier
):
    weights = make_classifier("real_bogus_difference", ("real", "bogus"), gray=False, sides=None)
    asked = []

    def remembered(classifier, stamps):
        asked.append(stamps)
        return transients.np.full((len(stamps), 2), 0.5)

    monkeypatch.setattr(transients, "probabilities_of", remembered)
    new, old = pair
    assert run_spots(new, "--template", old, "--classifiers", weights)[0] == 0
    (stamps,) = asked
    middle = stamps[:, 30:33, 30:33].mean(axis=(1, 2))
    assert (middle[:, 0] > 10 * np.abs(middle[:, 1])).all()  # light in the first, none in the second
    np.testing.assert_allclose(middle[:, 0] - middle[:, 1], middle[:, 2], rtol=0.1)
