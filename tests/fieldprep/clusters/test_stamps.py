"""Pictures cut out of fields, real ones too."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fieldprep import Field
from fieldprep.clusters import cluster_stamps, shared_out, turned_copies
from fieldprep.errors import InputError

SHAPE = (300, 400)


@pytest.fixture
def made(make_wcs):
    """A field with three stars about its middle, two bands of five and one, and a gap."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = sum(
        peak * np.exp(-((column - x) ** 2 + (row - y) ** 2) / 8)
        for x, y, peak in ((200, 150, 10), (240, 150, 5), (200, 180, 3))
    ).astype(np.float32)
    r = (2 * image).astype(np.float32)
    r[:20, :20] = np.nan
    mask = ~np.isfinite(r)
    return Field("made", {"g": image, "r": r}, mask, wcs=make_wcs(SHAPE), pixel_scale=0.4)


def at(field, *places, **columns):
    ra, dec = field.wcs.pixel_to_world_values(*np.array(places, float).T)
    return pd.DataFrame({"name": [f"o{i}" for i in range(len(places))], "ra": ra, "dec": dec, **columns})


def peak(stamp):
    return np.unravel_index(np.nanargmax(stamp), stamp.shape)[::-1]


def test_an_object_stands_in_the_middle_of_its_picture_in_the_bands_asked_for(made):
    cut = cluster_stamps(made, at(made, (200, 150)), ["r", "g"])
    assert cut.stamps.shape == (1, 200, 200, 2)
    assert cut.stamps.dtype == np.float32
    np.testing.assert_allclose(cut.stamps[..., 0], 2 * cut.stamps[..., 1], atol=1e-5)
    index = np.arange(200)
    part = np.where(np.hypot(index - 99.5, index[:, None] - 99.5) < 12, cut.stamps[0, ..., 1], 0)
    assert (part.sum(axis=0) * index).sum() / part.sum() == pytest.approx(99.5, abs=0.02)
    assert (part.sum(axis=1) * index).sum() / part.sum() == pytest.approx(99.5, abs=0.02)


@pytest.mark.parametrize("angle", [0.0, 24.0, 90.0, 156.0, 270.0, 336.0])
def test_a_picture_is_turned_from_x_to_y(made, angle):
    (stamp,) = cluster_stamps(made, at(made, (200, 150), angle_deg=[angle]), ["g"]).stamps[..., 0]
    for x, y, height in ((40, 0, 5), (0, 30, 3)):
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        there_x, there_y = 99.5 + cos * x - sin * y, 99.5 + sin * x + cos * y
        near = stamp.copy()
        index = np.arange(200)
        near[np.hypot(index - there_x, index[:, None] - there_y) > 8] = np.nan
        assert peak(near) == pytest.approx((there_x, there_y), abs=0.9)
        assert np.nanmax(near) == pytest.approx(height, rel=0.12)


def test_corners_of_a_turned_picture_show_the_field_and_nothing_off_it(made):
    flat = replace(made, bands={"g": np.full(SHAPE, 7, np.float32)}, mask=np.zeros(SHAPE, bool))
    rows = at(flat, (200, 150), (5, 150), angle_deg=[45.0, 45.0])
    cut = cluster_stamps(flat, rows, ["g"], size=150)
    inside, edge = cut.stamps[..., 0]
    assert inside == pytest.approx(np.full((150, 150), 7.0), abs=1e-4)
    # of the second's square all lies off that is more than 5.5 px to the left of its middle: x' cos + y' sin
    index = np.arange(150) - 74.5
    left = (index + index[:, None]) * np.sqrt(0.5)
    assert np.isnan(edge[left < -7]).all()
    assert edge[left > -4] == pytest.approx(7.0, abs=1e-4)
    assert cut.covered == pytest.approx([1.0, np.mean(left > -5.5)], abs=0.02)


def test_what_has_its_middle_off_the_field_is_counted(made):
    rows = at(made, (200, 150), (-0.6, 10), (399.4, 299.4), (200, 900))
    cut = cluster_stamps(made, rows, ["g"], size=20)
    assert cut.rows["name"].tolist() == ["o0", "o2"]
    assert cut.off_field == 2
    assert len(cut) == 2
    assert cut.rows["x"].tolist() == pytest.approx([200, 399.4], abs=1e-6)
    assert np.isnan(cut.stamps[1, 15:]).all()
    assert cluster_stamps(made, rows.iloc[:0], ["g"]).stamps.shape == (0, 200, 200, 1)


def test_a_width_on_the_sky_keeps_the_flux(made):
    fine = cluster_stamps(made, at(made, (200, 150)), ["g"], size=60, width_arcsec=12.0)
    coarse = cluster_stamps(made, at(made, (200, 150), angle_deg=[30.0]), ["g"], size=15, width_arcsec=12.0)
    total = 10 * 2 * np.pi * 4
    assert fine.stamps.sum() == pytest.approx(total, rel=0.01)
    assert coarse.stamps.sum() == pytest.approx(total, rel=0.01)


def test_a_field_that_will_not_do_is_refused_in_a_line(made):
    rows = at(made, (200, 150))
    with pytest.raises(InputError, match=r"^made: no band i, z to cut; it has g, r$"):
        cluster_stamps(made, rows, ["r", "i", "z"])
    with pytest.raises(InputError, match=r"^made: no band is asked for"):
        cluster_stamps(made, rows, [])
    with pytest.raises(InputError, match=r"^made: it has no WCS"):
        cluster_stamps(replace(made, wcs=None), rows, ["g"])
    with pytest.raises(InputError, match=r"^made: its pixel scale is not known"):
        cluster_stamps(replace(made, pixel_scale=None), rows, ["g"], width_arcsec=30.0)


@pytest.fixture(scope="module")
def real(sdss_field, sdss_folder):
    """A real field and its galaxies."""
    rows = pd.read_csv(sdss_folder / "catalogue.csv")
    rows = rows[(rows["type"] == 3) & (rows["modelMag_r"] < 19) & (rows["ignore"] == 0)].reset_index(drop=True)
    rows = rows.rename(columns={"x": "x_there", "y": "y_there"})
    label = np.where(np.arange(len(rows)) % 2, "member", "background")
    return sdss_field, rows.assign(name=rows["objID"].astype(str), label=label)


def test_real_galaxies_stand_in_the_middle_in_every_band(real):
    field, rows = real
    cut = cluster_stamps(field, rows, ["g", "r", "i"])
    assert len(cut) == len(rows) > 10
    assert (
        np.hypot(cut.rows["x"] - rows["x_there"], cut.rows["y"] - rows["y_there"]).max() < 0.1
    )  # its positions have five decimals
    whole = cut.covered == 1
    assert whole.sum() > 5
    middle = cut.stamps[whole, 95:105, 95:105].sum(axis=(1, 2))
    frame = np.median(cut.stamps[whole].reshape(whole.sum(), -1, 3), axis=1)
    assert (middle > 100 * frame + 1).all()
    with pytest.raises(InputError, match=f"^{field.name}: no band z to cut; it has g, r, i"):
        cluster_stamps(field, rows, ["g", "z"])


def test_copies_of_real_galaxies_hold_the_same_light_and_noise(real):
    field, rows = real
    shared = shared_out(rows)
    inside = shared["x_there"].between(160, 1880) & shared["y_there"].between(160, 1330)
    train = shared[inside & (shared["part"] == "train")].iloc[:3]
    cut = cluster_stamps(field, turned_copies(train), ["r"])
    assert len(cut) == 45
    index = np.arange(200) - 99.5
    round_about = np.hypot(index, index[:, None])
    inner = (cut.stamps[..., 0] * (round_about < 60)).reshape(3, 15, -1)
    flux = inner.sum(axis=-1)
    noise = 0.03 * np.sqrt((round_about < 60).sum())
    assert (np.abs(flux - flux[:, :1]) < 0.003 * flux[:, :1] + noise).all()
    # a network must not tell a turned picture by its noise: differences of neighbouring pixels
    rough = np.array([np.median(np.abs(np.diff(stamp[..., 0]))) for stamp in cut.stamps]).reshape(3, 15)
    assert (np.abs(rough[:, 1:] / rough[:, :1] - 1) < 0.15).all()
    assert (cut.covered == 1).all()
    assert np.isfinite(cut.stamps).all()
