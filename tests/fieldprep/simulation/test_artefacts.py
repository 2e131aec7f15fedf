import numpy as np
import pandas as pd
import pytest

from fieldprep.errors import UsageError
from fieldprep.simulation.artefacts import BITS, COLUMNS, KINDS, Exposure, artefact_kinds, artefact_table, mask_on_grid

pytest.importorskip("galsim")
camera_module = pytest.importorskip("fieldprep.simulation.camera")
charge = pytest.importorskip("fieldprep.simulation.stray_charge")
light = pytest.importorskip("fieldprep.simulation.stray_light")
simulation = pytest.importorskip("fieldprep.simulation.simulate")

SHAPE = (300, 420)
SCALE = 0.396


@pytest.fixture
def exposure():
    """Factory of frames without anything in them: ``exposure("g")``."""
    camera = camera_module.sdss_camera(np.random.default_rng(0), SHAPE)

    def make(band="r"):
        return Exposure(band, np.zeros(SHAPE), camera.bands[band], SCALE)

    return make


def _star(x=200.0, y=150.0, magnitude=9.0):
    return pd.DataFrame({"x": [x], "y": [y], "modelMag_g": [magnitude], "modelMag_r": [magnitude], "modelMag_i": [9.0]})


def _in_box(row):
    """Rows and columns of a row's box, which must be whole pixels."""
    edges = np.array([row["x_min"], row["y_min"], row["x_max"], row["y_max"]]) + 0.5
    np.testing.assert_array_equal(edges, np.rint(edges))
    x0, y0, x1, y1 = edges.astype(int)
    return slice(y0, y1), slice(x0, x1)


def _check(exposure, kind):
    """Every row of a kind has its pixels in its box, its bits in the mask, and no bit lies outside a box."""
    rows = [row for row in exposure.rows if row["kind"] == kind]
    assert rows
    boxes = np.zeros(SHAPE, bool)
    for row in rows:
        assert tuple(row) == COLUMNS
        part = _in_box(row)
        bits = exposure.mask[part] & BITS[kind] > 0
        assert bits.any()
        for edge in (bits[0], bits[-1], bits[:, 0], bits[:, -1]):  # the box is no larger than its pixels
            assert edge.any()
        assert exposure.image[part][bits].max() >= 0.999 * row["peak"]
        assert 0 <= row["angle"] < 180
        boxes[part] = True
    assert not (exposure.mask & BITS[kind])[~boxes].any()
    return rows


def test_spikes_cross_the_star_at_right_angles(exposure):
    frame = exposure()
    light.draw_stray_light(frame, ("spike",), _star(), 20.0, np.random.default_rng(0))
    first, second = _check(frame, "spike")
    assert {round(first["angle"]), round(second["angle"])} == {20, 110}
    assert (first["x"], first["y"]) == (200.0, 150.0)
    for angle in (20.0, 110.0):
        x, y = (200 + 40 * np.cos(np.radians(angle)), 150 + 40 * np.sin(np.radians(angle)))
        aside = (200 + 40 * np.cos(np.radians(angle + 20)), 150 + 40 * np.sin(np.radians(angle + 20)))
        assert frame.image[round(y), round(x)] > 20 * frame.image[round(aside[1]), round(aside[0])]


def test_spikes_hold_their_share_of_the_stars_light(exposure):
    frame = exposure()
    light.draw_stray_light(frame, ("spike",), _star(magnitude=11.0), 20.0, np.random.default_rng(0))
    star = 10 ** (0.4 * (22.5 - 11.0))
    assert frame.image.sum() == pytest.approx(2 * light.SPIKE_SHARE * star, rel=0.1)


def test_a_halo_surrounds_its_star(exposure):
    frame = exposure()
    light.draw_stray_light(frame, ("halo",), _star(), 0.0, np.random.default_rng(0))
    (row,) = _check(frame, "halo")
    assert (row["x"], row["y"]) == (200.0, 150.0)
    assert row["x_min"] < 150
    assert row["x_max"] > 250


def test_faint_stars_have_neither(exposure):
    frame = exposure()
    light.draw_stray_light(frame, ("spike", "halo"), _star(magnitude=16.9), 0.0, np.random.default_rng(0))
    assert frame.rows == []
    assert not frame.image.any()


def test_a_trail_crosses_the_whole_frame_as_wide_as_the_psf(exposure, monkeypatch):
    monkeypatch.setattr(light, "TRAILS", 60.0)
    frame = exposure()
    light.draw_stray_light(frame, ("trail",), _star().iloc[:0], 0.0, np.random.default_rng(3))
    rows = _check(frame, "trail")
    for row in rows:
        half = row["length"] / 2
        for sign in (-1, 1):  # its ends lie on the frame's edge
            x = row["x"] + sign * half * np.cos(np.radians(row["angle"]))
            y = row["y"] + sign * half * np.sin(np.radians(row["angle"]))
            assert min(abs(x + 0.5), abs(x - SHAPE[1] + 0.5), abs(y + 0.5), abs(y - SHAPE[0] + 0.5)) < 1e-6
        assert frame.image[round(row["y"]), round(row["x"])] > 0.6 * row["peak"]


def test_cosmic_rays_are_not_blurred(exposure, monkeypatch):
    monkeypatch.setattr(charge, "COSMIC_RAYS", 500.0)
    frame = exposure()
    charge.draw_stray_charge(frame, ("cosmic_ray",), np.random.default_rng(1))
    rows = _check(frame, "cosmic_ray")
    assert len(rows) > 10
    for row in rows:
        sides = (row["x_max"] - row["x_min"], row["y_max"] - row["y_min"])
        assert max(sides) <= row["length"] + 2
    # charge is in the crossed pixels and in no others
    assert (frame.image > 0).sum() == (frame.mask > 0).sum()


def test_hot_pixels_and_columns(exposure, monkeypatch):
    monkeypatch.setattr(charge, "HOT_PIXELS", 200.0)
    monkeypatch.setattr(charge, "HOT_COLUMNS", 100.0)
    frame = exposure()
    charge.draw_stray_charge(frame, ("hot_pixels",), np.random.default_rng(1))
    rows = _check(frame, "hot_pixels")
    columns = [row for row in rows if row["length"] > 1]
    assert columns
    assert len(columns) < len(rows)
    for row in columns:
        assert row["x_max"] - row["x_min"] == 1
        assert row["y_max"] == SHAPE[0] - 0.5


def test_bleeding_keeps_the_charge_and_fills_columns(exposure):
    frame = exposure()
    full = frame.camera.full_well
    frame.image[148:153, 199:202] = 3 * full
    before = frame.image.sum()
    charge.fill_wells(frame, ("saturation", "bleed"))
    assert frame.image.max() <= full * (1 + 1e-12)
    assert frame.image.sum() == pytest.approx(before)
    (saturated,) = _check(frame, "saturation")
    assert (saturated["x"], saturated["y"]) == (200.0, 150.0)
    (bled,) = {row["x"]: row for row in _check(frame, "bleed") if row["y"] < 150}.values()
    assert (bled["x_min"], bled["x_max"], bled["y_max"]) == (198.5, 201.5, 147.5)
    assert bled["length"] == 5  # ten pixels' worth over the well of a column, half of it up
    assert not frame.image[:, :199].any()


def test_charge_bled_off_the_frame_is_lost(exposure):
    frame = exposure()
    full = frame.camera.full_well
    frame.image[1, 200] = 21 * full
    charge.fill_wells(frame, ("bleed",))
    assert (frame.image[:12, 200] == full).all()
    assert frame.image.sum() == pytest.approx(12 * full)


def test_saturation_without_bleeding_loses_the_charge(exposure):
    frame = exposure()
    frame.image[150, 200] = 5 * frame.camera.full_well
    charge.fill_wells(frame, ("saturation",))
    assert frame.image.sum() == frame.camera.full_well
    assert [row["kind"] for row in frame.rows] == ["saturation"]


def test_neither_leaves_the_image_as_it_is(exposure):
    frame = exposure()
    frame.image[150, 200] = 5 * frame.camera.full_well
    charge.fill_wells(frame, ("trail",))
    assert frame.image[150, 200] == 5 * frame.camera.full_well
    assert frame.rows == []


def test_rows_and_masks_come_onto_the_fields_grid(exposure):
    frames = [exposure(band) for band in ("g", "r", "i")]
    for frame in frames:
        frame.image[100, 80] = 2 * frame.camera.full_well
        charge.fill_wells(frame, ("saturation",))
    reference = frames[1].camera
    table = artefact_table(frames, reference).set_index("band")
    for frame in frames:
        dx, dy = camera_module.BAND_OFFSET_PX[frame.band]
        row = table.loc[frame.band]
        assert (row["x"], row["y"]) == pytest.approx((80 - dx, 100 - dy), abs=0.01)
        assert (row["x_min"], row["y_max"]) == pytest.approx((79.5 - dx, 100.5 - dy), abs=0.01)
        x, y = reference.wcs.world_to_pixel_values(row["ra"], row["dec"])
        assert (x, y) == pytest.approx((row["x"], row["y"]), abs=1e-6)
        bits = np.argwhere(mask_on_grid(frame, reference))
        assert len(bits) == 1
        assert abs(bits - [row["y"], row["x"]]).max() <= 0.51


def test_no_artefact_is_an_empty_table(exposure):
    table = artefact_table([exposure()], exposure().camera)
    assert len(table) == 0
    assert set(COLUMNS) <= set(table.columns)


def test_a_whole_field_has_each_kind_in_its_own_band_only():
    recipe = simulation.Recipe(artefacts=KINDS, cluster=2000)
    field = simulation.simulate(1, (400, 500), recipe=recipe)
    for row in field.artefacts[field.artefacts["kind"] == "cosmic_ray"].itertuples():
        others = field.artefacts[(field.artefacts["kind"] == "cosmic_ray") & (field.artefacts["band"] != row.band)]
        assert not ((others["x"] - row.x).abs() + (others["y"] - row.y).abs() < 0.5).any()
    assert set(field.masks) == {"g", "r", "i"}
    assert {"saturation", "bleed"} <= set(field.artefacts["kind"])


def test_none_leaves_no_row():
    field = simulation.simulate(1, (200, 200), recipe=simulation.Recipe(artefacts=()))
    assert len(field.artefacts) == 0
    assert not any(mask.any() for mask in field.masks.values())


@pytest.mark.parametrize(
    ("text", "kinds"), [("all", KINDS), ("none", ()), ("trail", ("trail",)), ("spike, halo", ("spike", "halo"))]
)
def test_kinds_by_name(text, kinds):
    assert artefact_kinds(text) == kinds


@pytest.mark.parametrize("text", ["ghost", "trail,ghost", "", "all,none"])
def test_unknown_kinds_are_one_line(text):
    with pytest.raises(UsageError, match="unknown artefact") as caught:
        artefact_kinds(text)
    assert "\n" not in str(caught.value)
    assert "cosmic_ray" in str(caught.value)
