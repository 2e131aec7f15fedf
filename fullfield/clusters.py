"""From a cluster of galaxies to the labelled sample that cutouts are made of, as files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from fieldprep.clusters import PERSEUS, WITTMANN, Classes, Cleaning, Cluster, Parts, Sample, cluster_sample
from fieldprep.errors import OutputError, UsageError
from fieldprep.surveys.positions import parse_position, resolve_name
from fullfield.catalogue import atomic
from fullfield.clusterplots import diagram

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE_FILE, REMOVED_FILE, CLEANING_FILE, DIAGRAM_FILE = "sample.csv", "removed.csv", "cleaning.csv", "diagram.png"
VIZIER = "vizier:"


def cluster_named(
    place: str,
    *,
    radius: float | None = None,
    redshifts: str | None = None,
    catalogue: str | None = None,
    classes: Classes = WITTMANN,
) -> Cluster:
    """
    Cluster that a user names.

    Parameters
    ----------
    place : str
        ``perseus``, which brings the rest with it, or a position or the name of an object.
    radius : float, optional
        How far about it objects are looked for, degrees.
    redshifts : str, optional
        Window of its members, as ``0.01,0.033``.
    catalogue : str, optional
        ``vizier:TABLE`` that classes its galaxies.
    classes : Classes
        What the catalogue's classes say.

    Returns
    -------
    Cluster

    Raises
    ------
    fieldprep.errors.UsageError
        If a part is missing or makes no sense.
    fieldprep.errors.InputError
        If no service knows the name.
    """
    if catalogue is not None and not catalogue.startswith(VIZIER):
        raise UsageError(f"--catalogue wants {VIZIER}TABLE, as {VIZIER}{PERSEUS.table}; got {catalogue}")
    window = _window(redshifts)
    if place.strip().lower() == PERSEUS.name.lower():
        known = PERSEUS if radius is None else replace(PERSEUS, radius_deg=radius)
        known = known if window is None else replace(known, redshifts=window)
        given = known.table if catalogue is None else catalogue.removeprefix(VIZIER)
        return replace(known, table=given, classes=classes)
    if radius is None or window is None:
        raise UsageError(f"{place}: --radius and --redshifts are wanted; only perseus brings its own")
    position = parse_position(place) or resolve_name(place)
    table = "" if catalogue is None else catalogue.removeprefix(VIZIER)
    return Cluster(place, position.ra, position.dec, radius, window, table=table, classes=classes)


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--redshifts wants LOW,HIGH as in 0.01,0.033; got {text}") from error
    return low, high


def write_sample(cluster: Cluster, out: Path, *, faintest: float = Cleaning().faintest, seed: int = 0) -> Sample:
    """
    Make the sample of a cluster, and write it.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    out : path
        Folder for ``sample.csv``, a row an object with ``label``, ``part``, ``group``, ``region`` and what is known of
        it; ``removed.csv``, who was left out, at which step and why; ``cleaning.csv``, how many were left after each;
        ``diagram.png``.
    faintest : float
        r magnitude that all must be brighter than.
    seed : int
        Of how it is shared out.

    Returns
    -------
    Sample

    Raises
    ------
    fieldprep.errors.InputError
        As of `fieldprep.clusters.cluster_sample`.
    fieldprep.errors.OutputError
        If a file cannot be written.
    """
    sample = cluster_sample(cluster, cleaning=Cleaning(faintest=faintest), parts=Parts(seed=seed))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror})") from error
    steps = [
        {"step": step.what, "reason": reason, "gone": count, "before": step.before, "left": step.left}
        for step in sample.cleaned.steps
        for reason, count in step.gone.items()
    ]
    tables = {
        SAMPLE_FILE: sample.rows.drop(columns=["angles_deg"]),
        REMOVED_FILE: sample.cleaned.removed,
        CLEANING_FILE: pd.DataFrame(steps),
    }
    for name, table in tables.items():
        with atomic(out / name) as temporary:
            table.to_csv(temporary, index=False)
    with atomic(out / DIAGRAM_FILE) as temporary:
        temporary.write_bytes(diagram(sample))
    return sample
