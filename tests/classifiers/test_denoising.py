"""A U-Net takes the noise out of short exposures."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from classifiers.denoise import denoised  # noqa: E402 -- after what may be missing
from classifiers.denoising import UNet, _Denoiser, train_denoiser  # noqa: E402
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


def test_a_flat_picture_stays_flat_and_noise_on_it_is_smoothed(trained):
    levels = np.array([[20, 20, 20], [40, 30, 20], [60, 45, 30]], np.uint8)
    flat = np.broadcast_to(levels[:, None, None], (3, 32, 32, 3)).copy()
    assert denoised(flat, trained)[:, 8:-8, 8:-8].std(axis=(1, 2)).max() <= 1
    sky = sdss_picture(np.zeros((8, 32, 32, 3), np.float32))
    short = shorter_pictures(sky, (0.03, 0.1), 5)
    assert denoised(short, trained)[:, 8:-8, 8:-8].std() < 0.5 * short[:, 8:-8, 8:-8].std()


def test_it_is_run_without_torch(trained):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np; from pathlib import Path; from classifiers.denoise import denoised\n"
        f"print(denoised(np.zeros((1, 5, 7, 3), np.uint8), Path({str(trained)!r})).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 5, 7, 3)"


def test_a_file_that_strays_from_the_network_is_refused(tmp_path, monkeypatch):
    def other(*_, **__):
        return lambda pictures: pictures + 1

    monkeypatch.setattr("classifiers.denoising.load_network", other)
    with pytest.raises(InputError, match="strays from the network"):
        train_denoiser(galaxies(4, 0), tmp_path, epochs=1, precision="32-true")


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


def test_a_training_that_was_stopped_goes_on_to_the_same_curve(tmp_path, monkeypatch):
    pictures, step = galaxies(24, 0), _Denoiser.training_step

    def losses(folder):
        return pd.read_csv(folder / "log" / "metrics.csv")["train_loss"].dropna().tolist()

    def train(folder):
        train_denoiser(pictures, folder, epochs=4, batch=8, precision="32-true")

    def stopping(self, batch, number):
        if self.current_epoch == 2:
            raise RuntimeError("stopped")
        return step(self, batch, number)

    monkeypatch.setattr("classifiers.denoising._exported", lambda _, path: path)
    train(tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(_Denoiser, "training_step", stopping)
        with pytest.raises(RuntimeError, match="stopped"):
            train(tmp_path / "parts")
    train(tmp_path / "parts")
    assert losses(tmp_path / "parts")[-2:] == pytest.approx(losses(tmp_path / "whole")[2:])
    one, other = (torch.load(tmp_path / name / "last.ckpt", weights_only=False) for name in ("whole", "parts"))
    for name, weights in one["state_dict"].items():
        assert torch.allclose(weights, other["state_dict"][name]), name


def test_bad_pictures_and_files_are_refused(tmp_path):
    pictures = galaxies(8, 0)
    for wrong in (pictures[:0], pictures[:, :30]):
        with pytest.raises(InputError, match="multiples of 4"):
            train_denoiser(wrong, tmp_path)
    (tmp_path / "other.onnx").write_bytes(b"no")
    with pytest.raises(InputError, match="not a network"):
        denoised(pictures, tmp_path / "other.onnx")
