import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from astropy.table import Table

COMMANDS = (
    ("run",),
    ("prepare",),
    ("simulate",),
    ("weights",),
    ("train", "detector"),
    ("evaluate", "run"),
    ("evaluate", "detector"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_shows_an_example(cli, command):
    status, out, _ = cli(*command, "--help")
    assert status == 0
    example = re.search(r"Example: (fullfield .*)", out)
    assert example
    assert example[1].startswith(f"fullfield {' '.join(command)}")


def test_the_help_lists_every_command(cli):
    status, out, _ = cli("--help")
    assert status == 0
    for command in COMMANDS:
        assert command[0] in out


def test_the_readme_tells_of_every_command():
    readme = Path(__file__).resolve().parents[2] / "README.md"
    text = readme.read_text() if readme.exists() else ""
    if len(text.splitlines()) < 20:
        pytest.skip("no README yet")
    for command in COMMANDS:
        assert f"fullfield {' '.join(command)}" in text


def test_a_run_tells_what_it_found_and_where(run_spots, frame, tmp_path):
    status, out, err = run_spots(frame("a"), frame("b", 1))
    assert status == 0
    assert re.fullmatch(r"2 fields, 6 galaxies at confidence >= 0\.25, \d+\.\d s: (.+)\n", out)
    assert out.strip().endswith(str(tmp_path / "out" / "catalogue.parquet"))
    assert err == ""


def test_the_installed_command_runs_a_list(frame, tmp_path, spots):
    frame("a")
    (tmp_path / "list.csv").write_text("source,name\na.fits,first\n")
    command = [Path(sys.executable).with_name("fullfield"), "run", "list.csv", "--out", "out", "--detector", spots]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 field, 3 galaxies")
    assert set(pd.read_parquet(tmp_path / "out" / "catalogue.parquet")["field"]) == {"first"}


def test_a_failed_field_gives_status_1_one_line_and_its_file(run_spots, frame, tmp_path):
    (tmp_path / "bad.fits").write_text("no FITS")
    status, out, err = run_spots(tmp_path / "bad.fits", frame("a"))
    assert status == 1
    assert err.count("\n") == 1
    assert err.startswith("failed: bad (read): ")
    assert "1 failed (see" in out
    assert "1 field, 3 galaxies" in out


def test_a_rerun_says_what_was_done_before(run_spots, frame):
    run_spots(frame("a"))
    status, out, _ = run_spots(frame("a"), frame("b", 1))
    assert status == 0
    assert "2 fields, 6 galaxies" in out
    assert "1 done before" in out


def test_other_options_on_the_same_folder_give_status_2(run_spots, frame):
    run_spots(frame("a"))
    status, _, err = run_spots(frame("a"), "--confidence", "0.5")
    assert status == 2
    assert err.startswith("fullfield: ")
    assert err.count("\n") == 1


def test_the_options_reach_the_field(run_spots, make_fits, small_image, tmp_path):
    for seed, band in enumerate("gri"):
        make_fits(f"sky/{band}.fits", small_image(seed), band=band)
    options = ("--confidence", "0.01", "--bands", "g,r,i", "--variant", "N", "--no-pictures")
    status, _, err = run_spots(tmp_path / "sky", *options)
    assert (status, err) == (0, "")
    meta = Table.read(tmp_path / "out/catalogue.parquet").meta
    assert (meta["variant"], meta["confidence"]) == ("N", 0.01)
    assert not list((tmp_path / "out").rglob("*.png"))
    assert len(pd.read_parquet(tmp_path / "out/catalogue.parquet")) == 4


def test_several_workers_are_asked_for_on_the_command_line(run_spots, frame, tmp_path):
    status, out, err = run_spots(frame("a"), frame("b", 1), "--workers", "2")
    assert (status, err) == (0, "")
    assert "2 fields, 6 galaxies" in out


def test_weights_shows_the_card(cli):
    status, out, _ = cli("weights")
    assert status == 0
    assert re.search(r"galaxy: detect, \w+, classes galaxy, picture N, confidence 0\.\d+", out)
    assert "galaxy.onnx" in out
    assert re.search(r"r < 20: completeness 0\.\d+ \(.* n \d+\)", out)
    assert re.search(r"  JWST: recall 0\.\d+ \(.* n \d+\)", out)
    assert "  limit: " in out


def test_help_comes_without_loading_the_libraries():
    code = (
        "import sys, fullfield.cli\n"
        "heavy = {'torch', 'openvino', 'astropy', 'cv2', 'pandas'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_system_library_is_told_plainly(tmp_path):
    text = "libGL.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({text!r})\n")
    done = subprocess.run(
        [sys.executable, "-m", "fullfield.cli", "run", "a.fits", "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "libGL.so.1" in line
    assert "apt-get install libgl1 libglib2.0-0" in line
