"""What is drawn anew for each stamp of a batch."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from classifiers.augmenting import augmented, degraded  # noqa: E402 -- after what may be missing
from classifiers.tasks import Recipe  # noqa: E402
from fieldprep.portraits import SDSS_NOISE, flux_of, shown  # noqa: E402

pytestmark = pytest.mark.train


def blob(side=33, offset=8, n=24):
    """A round spot to the right of the middle of each stamp."""
    y, x = torch.meshgrid(torch.arange(side) - side // 2, torch.arange(side) - side // 2, indexing="ij")
    light = torch.exp(-((x - offset) ** 2 + y**2) / (2 * 2.0**2))
    return light.expand(n, 1, side, side).clone(), x.float(), y.float()


def radii_and_angles(stamps, x, y):
    light = stamps[:, 0]
    total = light.sum((1, 2))
    at_x, at_y = (light * x).sum((1, 2)) / total, (light * y).sum((1, 2)) / total
    return torch.hypot(at_x, at_y), torch.atan2(at_y, at_x)


def test_a_rotation_is_by_any_angle_about_the_middle():
    torch.manual_seed(0)
    stamps, x, y = blob()
    radius, angle = radii_and_angles(augmented(stamps, Recipe(augment=("rotations",))), x, y)
    assert radius == pytest.approx(8, abs=0.2)
    quarters = torch.remainder(angle, torch.pi / 2)
    assert angle.max() > 2
    assert angle.min() < -2
    assert ((quarters > 0.2) & (quarters < 1.3)).any()


def test_a_zoom_enlarges_and_shrinks_by_at_most_what_is_told():
    torch.manual_seed(0)
    stamps, x, y = blob()
    radius, angle = radii_and_angles(augmented(stamps, Recipe(augment=(), zoom=0.25)), x, y)
    assert angle == pytest.approx(0, abs=1e-3)
    assert radius.max() <= 8 * 1.25 + 0.1
    assert radius.min() >= 8 / 1.25 - 0.1
    assert radius.max() > 9
    assert radius.min() < 7


def test_brightness_is_a_factor_a_stamp_between_its_ends():
    torch.manual_seed(0)
    stamps, _, _ = blob()
    found = augmented(stamps, Recipe(augment=(), brightness=(0.9, 1.2)))
    factors = found.sum((1, 2, 3)) / stamps.sum((1, 2, 3))
    assert torch.allclose(found, stamps * factors[:, None, None, None], atol=1e-6)
    assert 0.9 <= factors.min() < 0.97
    assert 1.13 < factors.max() <= 1.2


def test_a_tint_is_a_factor_a_channel_the_same_for_all_epochs_of_a_series():
    torch.manual_seed(0)
    stamps = torch.ones(300, 2, 3, 4, 4)
    found = augmented(stamps, Recipe(augment=(), tint=0.1))
    factors = found[:, :1, :, :1, :1]
    assert torch.equal(found, factors.expand_as(found))
    scatter = factors.flatten(1).log()
    assert scatter.std(dim=0).numpy() == pytest.approx(0.1, rel=0.15)
    assert abs(float(torch.corrcoef(scatter.T)[0, 1])) < 0.2


def test_half_of_a_batch_is_made_fainter_and_coarser_with_the_noise_of_the_sky():
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    light = torch.exp(-torch.hypot(x, y) / 8).numpy()[..., None] * np.array([1.0, 0.8, 0.5], np.float32)
    picture = torch.from_numpy(shown(light)).permute(2, 0, 1)
    pictures = picture.expand(32, 3, 64, 64)
    found = degraded(pictures, Recipe(faintest=0.1, coarsest=4.0))
    assert torch.equal(found[16:], pictures[16:])
    middles = found[:16, :, 28:36, 28:36].mean((1, 2, 3)) / picture[:, 28:36, 28:36].mean()
    assert middles.max() < 1.05
    assert middles.min() < 0.6
    assert (found >= 0).all()
    assert (found <= 1).all()
    whole = degraded(pictures, Recipe(faintest=1.0, coarsest=1.0))[:16]
    flux = flux_of(whole.permute(0, 2, 3, 1).numpy())[:, 16:48, 16:48]
    away = flux - flux_of(shown(light))[16:48, 16:48]
    assert away.std(axis=(0, 1, 2)) == pytest.approx(SDSS_NOISE, rel=0.2)


def test_nothing_is_drawn_that_is_not_asked_for():
    stamps, _, _ = blob()
    assert torch.equal(augmented(stamps, Recipe(augment=())), stamps)
    series = stamps.reshape(8, 3, 1, 33, 33)
    assert augmented(series, Recipe(augment=("rotations", "flips"), zoom=0.1, shift=0.1)).shape == series.shape


def test_the_epochs_of_a_series_are_turned_alike():
    torch.manual_seed(0)
    stamps, x, y = blob()
    turned = augmented(stamps.reshape(8, 3, 1, 33, 33), Recipe(augment=("rotations",), zoom=0.2))
    radius, angle = (found.reshape(8, 3) for found in radii_and_angles(turned.reshape(24, 1, 33, 33), x, y))
    assert torch.allclose(radius, radius[:, :1].expand(8, 3), atol=1e-4)
    assert torch.allclose(angle, angle[:, :1].expand(8, 3), atol=1e-4)


def test_what_is_black_in_a_picture_is_sky_in_its_fainter_copy():
    torch.manual_seed(0)
    black = torch.zeros(8, 3, 64, 64)
    found = degraded(black, Recipe(faintest=0.1, coarsest=1.0))[:4].mean((0, 2, 3)).numpy()
    noise = np.random.default_rng(0).normal(0, SDSS_NOISE, (4 * 64 * 64, 3)).astype(np.float32)
    assert found == pytest.approx(shown(noise).mean(axis=0), rel=0.1)


def test_a_lifted_sky_is_brighter_than_a_black_one():
    black, faint = torch.zeros(8, 3, 64, 64), {"faintest": 0.5, "coarsest": 1.0}
    skies = {}
    for sky in ("black", "lifted"):
        torch.manual_seed(0)
        skies[sky] = degraded(black, Recipe(**faint, sky=sky))[:4]
    assert (skies["lifted"] >= skies["black"]).all()
    assert skies["lifted"].mean() > 1.5 * skies["black"].mean()


def test_a_sky_of_both_is_now_black_now_lifted():
    torch.manual_seed(0)
    faint = Recipe(faintest=0.9, coarsest=1.0, sky="both")
    found = degraded(torch.zeros(1024, 3, 16, 16), faint)[:512]
    of_part = found.reshape(64, 8, -1).mean(2)  # parts have one sky
    brightest = {}
    for sky in ("black", "lifted"):
        other = degraded(torch.zeros(1024, 3, 16, 16), replace(faint, sky=sky))[:512].reshape(64, 8, -1).mean(2)
        brightest[sky] = float(other.mean())
    middle = (brightest["black"] + brightest["lifted"]) / 2
    lifted = of_part > middle
    assert (lifted == lifted[:, :1]).all()
    assert 16 < int(lifted[:, 0].sum()) < 48
