"""A U-Net takes the noise out of short exposures."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from classifiers.denoising import UNet, denoised, train_denoiser  # noqa: E402 -- after what may be missing
from classifiers.networks import parameters  # noqa: E402
from fieldprep.errors import InputError  # noqa: E402
from fieldprep.portraits import sdss_picture  # noqa: E402
from fieldprep.simulation.exposures import shorter_pictures  # noqa: E402

pytestmark = pytest.mark.train


def galaxies(n, seed):
    """Pictures of smooth light, without noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-16:16, -16:16]
    radius = np.hypot(x[None] / random.uniform(3, 8, (n, 1, 1)), y[None] / random.uniform(3, 8, (n, 1, 1)))
    return sdss_picture((random.uniform(0.3, 2, (n, 1, 1)) * np.exp(-radius))[..., None] * np.array([1.0, 0.7, 0.4]))


def error(seen, true):
    return float(np.abs(seen.astype(float) - true).mean())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("denoiser")
    return train_denoiser(
        galaxies(96, 0), folder, shares=(0.03, 0.1), epochs=40, batch=16, rate=5e-3, precision="32-true"
    )


def test_pictures_that_were_not_seen_come_nearer_to_the_long_exposure(trained):
    true = galaxies(32, 1)
    short = shorter_pictures(true, (0.03, 0.1), 99)
    assert error(denoised(short, trained), true) < 0.6 * error(short, true)


def test_the_file_says_what_the_network_says_at_any_size(trained):
    module = torch.load(trained.with_name("last.ckpt"), weights_only=False)["state_dict"]
    network = UNet()
    network.load_state_dict({name.removeprefix("network."): weights for name, weights in module.items()})
    pictures = shorter_pictures(np.tile(galaxies(3, 2), (1, 1, 2, 1)), (0.05, 0.1), 3)
    with torch.no_grad():
        wanted = network(torch.from_numpy(np.moveaxis(pictures, 3, 1).astype(np.float32) / 255)).numpy()
    found = denoised(pictures, trained).astype(float)
    assert found == pytest.approx(255 * np.moveaxis(wanted, 1, 3).clip(0, 1), abs=0.51)
    assert denoised(pictures[:, :31, :29], trained).shape == (3, 31, 29, 3)


def test_it_is_small_and_takes_the_noise_from_its_input():
    network = UNet()
    assert parameters(network) < 150_000
    torch.nn.init.zeros_(network.noise.weight)
    torch.nn.init.zeros_(network.noise.bias)
    stamps = torch.rand(1, 3, 12, 20)
    assert torch.equal(network(stamps), stamps)


def test_a_training_goes_on_and_bad_pictures_are_refused(tmp_path):
    pictures = galaxies(8, 0)
    train_denoiser(pictures, tmp_path, epochs=1, precision="32-true")
    train_denoiser(pictures, tmp_path, epochs=2, precision="32-true")
    assert torch.load(tmp_path / "last.ckpt", weights_only=False)["epoch"] == 1
    for wrong in (pictures[:0], pictures[:, :30]):
        with pytest.raises(InputError, match="multiples of 4"):
            train_denoiser(wrong, tmp_path)
    (tmp_path / "other.onnx").write_bytes(b"no")
    with pytest.raises(InputError, match="not a network"):
        denoised(pictures, tmp_path / "other.onnx")
