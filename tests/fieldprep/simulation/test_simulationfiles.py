import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from fieldprep import Field
from fieldprep.errors import OutputError
from fieldprep.simulation.artefacts import BITS, KINDS

pytest.importorskip("galsim")
files = pytest.importorskip("fieldprep.simulation.files")
simulation = pytest.importorskip("fieldprep.simulation.simulate")

SHAPE = (120, 160)
ALL = simulation.Recipe(artefacts=KINDS, crowding=60)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One small field with every artefact."""
    folder = tmp_path_factory.mktemp("simulated") / "field"
    files.write_field(folder, seed=11, shape=(240, 320), recipe=ALL)
    return folder


def _contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _images(folder):
    return {path.name: fits.getdata(path) for path in sorted(folder.glob("*.fits.bz2"))}


def test_a_field_is_read_as_one_on_the_r_grid(written):
    field = Field.read(written)
    assert list(field.bands) == ["g", "r", "i"]
    assert field.shape == (240, 320)
    assert field.pixel_scale == pytest.approx(0.396)
    np.testing.assert_array_equal(field.bands["r"], fits.getdata(written / "field-r.fits.bz2"))


def test_truth_is_that_of_the_simulation(written):
    kept = pd.read_csv(written / "catalogue.csv")
    made = simulation.simulate(11, (240, 320), recipe=ALL).truth
    assert list(kept) == list(made)
    np.testing.assert_allclose(kept["x"], made["x"], atol=1e-6)
    assert (kept["kind"] == made["kind"]).all()


def test_saturated_pixels_are_masked_by_the_reader(written):
    rows = pd.read_csv(written / "artefacts.csv")
    saturated = rows[(rows["kind"] == "saturation") & (rows["band"] == "r")]
    assert len(saturated)
    mask = Field.read(written).mask
    for row in saturated.itertuples():
        assert mask[
            round(row.y_min + 0.5) : round(row.y_max + 0.5), round(row.x_min + 0.5) : round(row.x_max + 0.5)
        ].any()


def test_the_mask_names_its_bits_and_has_those_of_each_row(written):
    rows = pd.read_csv(written / "artefacts.csv")
    with fits.open(written / "field-mask.fits.gz") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["G", "R", "I"]
        for hdu in hdus[1:]:
            assert hdu.data.shape == (240, 320)
            assert {hdu.header[f"BIT{k}"]: 1 << k for k in range(len(KINDS))} == BITS
        for row in rows[rows["band"] == "r"].itertuples():
            inside = hdus["R"].data[
                max(0, round(row.y_min + 0.5)) : round(row.y_max + 0.5),
                max(0, round(row.x_min + 0.5)) : round(row.x_max + 0.5),
            ]
            assert (inside & BITS[row.kind]).any()


def test_no_artefact_leaves_no_mask(tmp_path):
    files.write_field(tmp_path / "bare", seed=1, shape=SHAPE, recipe=simulation.Recipe(artefacts=()))
    assert not list((tmp_path / "bare").glob("*mask*"))
    assert len(pd.read_csv(tmp_path / "bare" / "artefacts.csv")) == 0


def test_several_fields_differ_and_do_not_hang_on_their_number(tmp_path):
    files.write_fields(tmp_path / "two" / "sky", seed=5, number=2, shape=SHAPE)
    files.write_fields(tmp_path / "three" / "sky", seed=5, number=3, shape=SHAPE)
    names = [folder.name for folder in sorted((tmp_path / "three" / "sky").iterdir())]
    assert names == ["sky-0001", "sky-0002", "sky-0003"]
    first, second = (tmp_path / "three" / "sky" / name for name in names[:2])
    assert not np.array_equal(_images(first)["sky-0001-r.fits.bz2"], _images(second)["sky-0002-r.fits.bz2"])
    for name in names[:2]:
        assert _contents(tmp_path / "two" / "sky" / name) == _contents(tmp_path / "three" / "sky" / name)


def test_a_field_is_the_same_to_the_byte(written, tmp_path):
    files.write_field(tmp_path / "field", seed=11, shape=(240, 320), recipe=ALL)
    assert _contents(tmp_path / "field") == _contents(written)


def test_what_is_done_is_not_done_again(tmp_path):
    recipe = simulation.Recipe(seeing=(1.0, 2.0))
    files.write_fields(tmp_path / "sky", seed=5, number=2, shape=SHAPE, recipe=recipe)
    (tmp_path / "sky" / "sky-0001" / "catalogue.csv").write_text("touched")
    files.write_fields(tmp_path / "sky", seed=5, number=3, shape=SHAPE, recipe=recipe)
    assert (tmp_path / "sky" / "sky-0001" / "catalogue.csv").read_text() == "touched"
    assert (tmp_path / "sky" / "sky-0003" / "catalogue.csv").exists()


def test_killed_half_way_and_run_again_it_is_as_if_it_had_not_been(tmp_path):
    call = (
        "import sys; from pathlib import Path; from fieldprep.simulation.files import write_fields; "
        f"write_fields(Path(sys.argv[1]), seed=5, number=4, shape={SHAPE})"
    )
    out = tmp_path / "sky"
    process = subprocess.Popen([sys.executable, "-c", call, str(out)])
    deadline = time.monotonic() + 60
    while not (out / "sky-0002").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for folder in out.glob("sky-*"):  # whatever has its name is whole
        assert (folder / files.REQUEST).exists()
        assert len(list(folder.glob("*.fits.bz2"))) == 3
    files.write_fields(out, seed=5, number=4, shape=SHAPE)
    files.write_fields(tmp_path / "whole" / "sky", seed=5, number=4, shape=SHAPE)
    assert _contents(out) == _contents(tmp_path / "whole" / "sky")


def test_a_field_of_other_options_is_not_overwritten(tmp_path):
    files.write_field(tmp_path / "sky", seed=1, shape=SHAPE)
    before = _contents(tmp_path / "sky")
    for options in ({"seed": 2}, {"seed": 1, "recipe": simulation.Recipe(crowding=2)}):
        with pytest.raises(OutputError, match="not empty") as caught:
            files.write_field(tmp_path / "sky", shape=SHAPE, **options)
        assert "\n" not in str(caught.value)
    assert _contents(tmp_path / "sky") == before


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        files.write_field(tmp_path, seed=1, shape=SHAPE)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "sky").mkdir()
    files.write_field(tmp_path / "sky", seed=1, shape=SHAPE)
    assert json.loads((tmp_path / "sky" / files.REQUEST).read_text())["seed"] == 1


def test_a_damaged_request_is_one_line(tmp_path):
    files.write_field(tmp_path / "sky", seed=1, shape=SHAPE)
    (tmp_path / "sky" / files.REQUEST).write_text("{")
    with pytest.raises(OutputError, match="damaged"):
        files.write_field(tmp_path / "sky", seed=1, shape=SHAPE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        files.write_field(tmp_path / "sky", seed=1, shape=SHAPE)


def test_a_file_in_the_way_is_one_line(tmp_path):
    Path(tmp_path / "sky").write_text("a file")
    with pytest.raises(OutputError, match="sky: cannot be written"):
        files.write_field(tmp_path / "sky", seed=1, shape=SHAPE)
