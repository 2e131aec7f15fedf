"""From a cluster's place to a classifier of its members: services, sample, cutouts, training, page."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.config import paths
from cluster_sky import ClusterSky, photo, spectrum
from survey import Survey
from vizier_service import vizier

from fieldprep.clusters import PERSEUS, REGIONS
from fieldprep.errors import UsageError
from fullfield.clusters import cluster_named

ALL = "name,group,part,region,modelMag_g,modelMag_r,modelMag_i,g_z"


@pytest.fixture
def services(serve, tmp_path, monkeypatch):
    """Stand-in of SkyServer with an empty sky, and an empty cache."""
    monkeypatch.setenv("FULLFIELD_TIMEOUT", "60")
    (tmp_path / "astropy").mkdir()
    with paths.set_temp_cache(tmp_path / "astropy"):
        yield serve(Survey())


def test_the_sample_of_perseus_is_written_with_what_was_removed_and_why(services, tmp_path, cli):
    sky = ClusterSky()
    sky.fill(services.content)
    with vizier({f"{PERSEUS.table}/table3": sky.catalogue}, tmp_path):
        code, said, told = cli("cluster", "perseus", "--out", tmp_path / "perseus")
    assert code == 0, told
    out = tmp_path / "perseus"
    sample, removed, steps = (pd.read_csv(out / f"{name}.csv") for name in ("sample", "removed", "cleaning"))
    assert f"{len(sample)} objects" in said
    assert len(sample) + len(removed) == 5437 + 335
    assert steps.groupby("step", sort=False)["gone"].sum().tolist() == (
        removed["step"].value_counts().reindex(steps["step"].unique(), fill_value=0).tolist()
    )
    assert set(sample["part"]) == {"train", "validation", "test"}
    assert (out / "diagram.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.train
def test_any_cluster_goes_from_its_place_to_a_page_on_real_frames(services, sdss_folder, tmp_path, cli):
    """Objects of a real field, of which every third is moved to the cluster's redshift, the reddest by their light."""
    folder = sdss_folder
    table = pd.read_csv(folder / "catalogue.csv")
    seen = table[(table["modelMag_r"] < 19.3) & (table["ignore"] == 0)].sort_values("modelMag_g", kind="stable")
    random = np.random.default_rng(0)
    member = (seen["type"] == 3).to_numpy() & (np.arange(len(seen)) % 2 == 0)
    rows = zip(seen["ra"], seen["dec"], seen["modelMag_r"], member, seen["type"], strict=True)
    photometry, spectra = [], []
    for i, (ra, dec, r, of_cluster, kind) in enumerate(rows):
        z = 0.05 + 0.002 * random.normal() if of_cluster else (0.0 if kind == 6 else 0.2)
        g_z = 1.6 - 0.05 * (r - 16) + (0.05 if of_cluster else 0.5) * random.normal()
        photometry.append(photo(i, ra, dec, r, g_z))
        spectra.append(spectrum(i, ra, dec, max(z, 0.0)))
    services.content.fill("PhotoObjAll", photometry)
    services.content.fill("SpecObj", spectra)
    middle = f"{seen['ra'].mean():.5f} {seen['dec'].mean():+.5f}"
    code, _, told = cli("cluster", middle, "--radius", 0.3, "--redshifts", "0.04,0.06", "--out", tmp_path / "cluster")
    assert code == 0, told
    sample = pd.read_csv(tmp_path / "cluster" / "sample.csv")
    assert (sample["label"] == "member").sum() == member.sum()

    stamps = tmp_path / "stamps"
    code, _, told = cli(
        *("prepare", folder, "--recipe", "cutouts", "--floats", "--catalogue", tmp_path / "cluster" / "sample.csv"),
        *("--label", "label", "--radius", "fixed:10", "--size", "arcsec:25.4", "--pixels", 64, "--keep", ALL),
        *("--out", stamps),
    )
    assert code == 0, told
    labels = pd.read_csv(stamps / "labels.csv")
    assert set(labels["region"]) <= set(REGIONS)
    assert labels.set_index("name")["part"].to_dict() == {
        name: part for name, part in sample.set_index("name")["part"].items() if name in set(labels["name"])
    }

    task = tmp_path / "members.toml"
    task.write_text(
        'name = "cluster_member"\nclasses = ["member", "background"]\nnetwork = "compact"\n'
        '[stamps]\nsize = 32\nchannels = 3\n[recipe]\nepochs = 2\nbatch = 20\noptimiser = "sgd"\nrate = 0.05\n'
        'schedule = "exponential"\nfall = 0.06\n'
    )
    code, _, told = cli("train", task, stamps, "--out", tmp_path / "trained", "--group", "group")
    assert code == 0, told
    split = pd.read_csv(tmp_path / "trained" / "split.csv")
    assert split["part"].value_counts().to_dict() == (
        labels["part"].replace({"validation": "validate"}).value_counts().to_dict()
    )
    log = pd.read_csv(tmp_path / "trained" / "log" / "metrics.csv")
    assert log["lr-SGD"].dropna().tolist() == pytest.approx([0.05, 0.05 * np.exp(-0.06)])

    code, _, told = cli(
        *("evaluate", task, stamps, "--classifier", tmp_path / "trained" / "cluster_member.onnx", "--group", "group"),
        *("--out", tmp_path / "page"),
    )
    assert code == 0, told
    result = json.loads((tmp_path / "page" / "evaluation.json").read_text())
    test = labels[labels["part"] == "test"]
    assert {name: row["accuracy"]["n"] for name, row in result["regions"].items()} == test[
        "region"
    ].value_counts().to_dict()
    judged = pd.read_csv(tmp_path / "page" / "evaluation.csv")
    by_name = judged.set_index("name")
    for region, row in result["regions"].items():
        names = test.loc[test["region"] == region]
        stamp_names = names["field"].astype(str) + "/" + names["stamp"].astype(str)
        some = by_name.loc[stamp_names]
        assert row["accuracy"]["k"] == int((some["label"] == some["given"]).sum())
        assert row["completeness"]["n"] == int((some["label"] == "member").sum())
    for name in ("sky", "colours", "pairs"):
        assert (tmp_path / "page" / "evaluation" / f"{name}.png").stat().st_size > 5000
    assert "Of the cluster" in (tmp_path / "page" / "evaluation.html").read_text()

    against_gray(cli, tmp_path, task, stamps, test, result)


def against_gray(cli, tmp_path, task, stamps, test, result):
    """The same once more without colour, and both held against each other."""
    gray = tmp_path / "gray.toml"
    gray.write_text(task.read_text().replace("channels = 3", "channels = 3\naveraged = true"))
    code, _, told = cli("train", gray, stamps, "--out", tmp_path / "gray", "--group", "group")
    assert code == 0, told
    code, said, told = cli(
        *("evaluate", task, stamps, "--classifier", tmp_path / "trained" / "cluster_member.onnx", "--group", "group"),
        *("--against", tmp_path / "gray" / "cluster_member.onnx", "--out", tmp_path / "both"),
    )
    assert code == 0, told
    both = json.loads((tmp_path / "both" / "evaluation.json").read_text())
    assert {name: row["n"] for name, row in both["against"]["regions"].items()} == test[
        "region"
    ].value_counts().to_dict()
    assert both["against"]["accuracy"]["one"]["value"] == result["accuracy"]["value"]
    assert "against cluster_member" in said


@pytest.mark.parametrize(
    ("place", "given", "message"),
    [
        ("12.3 +4.5", {}, "--radius and --redshifts are wanted"),
        ("12.3 +4.5", {"radius": 1.0, "redshifts": "0.1"}, "wants LOW,HIGH"),
        ("12.3 +4.5", {"radius": 1.0, "redshifts": "0.2,0.1"}, "window of redshifts"),
        ("12.3 +4.5", {"radius": 0.0, "redshifts": "0.1,0.2"}, "radius of over 0"),
        ("perseus", {"catalogue": "J/ApJS/245/10"}, "wants vizier:TABLE"),
    ],
)
def test_a_cluster_that_is_not_told_well_is_refused(place, given, message):
    with pytest.raises(UsageError, match=message):
        cluster_named(place, **given)


def test_perseus_brings_its_own_and_takes_what_is_given():
    assert cluster_named(" Perseus") == PERSEUS
    assert cluster_named("perseus", radius=0.2, redshifts="0.01,0.02") == replace(
        PERSEUS, radius_deg=0.2, redshifts=(0.01, 0.02)
    )
    other = cluster_named("194.95 +27.98", radius=1.0, redshifts="0.016,0.032", catalogue="vizier:J/A+A/1/1")
    assert (other.ra, other.dec, other.table, other.regions) == (194.95, 27.98, "J/A+A/1/1", None)
