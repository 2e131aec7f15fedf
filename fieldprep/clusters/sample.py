"""From a cluster to its labelled sample: fetched, cleaned, shared out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fieldprep.clusters.cleaning import Cleaned, Cleaning, clean
from fieldprep.clusters.cluster import MEMBER, Cluster
from fieldprep.clusters.objects import objects_of
from fieldprep.clusters.parts import Parts, shared_out
from fieldprep.clusters.regions import ColourRegions
from fieldprep.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Sample:
    """
    The labelled sample of a cluster.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    regions : ColourRegions
        Its red sequence, as given or as fitted.
    rows : `~pandas.DataFrame`
        Objects, one row each: columns as of `fieldprep.clusters.objects.joined`, ``region``, ``group``, ``part`` and
        ``angles_deg``.
    cleaned : Cleaned
        How many were left after each step of the cleaning, and what was removed and why.
    """

    cluster: Cluster
    regions: ColourRegions
    rows: pd.DataFrame
    cleaned: Cleaned

    @property
    def notes(self) -> list[str]:
        """What a user of the sample must know, one line each."""
        line, told = self.regions, "given" if self.cluster.regions else "fitted to members with redshifts"
        sequence = (
            f"red sequence, {told}: g - z = {line.colour:.3f} {line.slope:+.4f} (r - {line.magnitude:.2f}), "
            f"{line.half_width:.3f} to either side"
        )
        disagree = int(self.rows["disagrees"].sum())
        note = f"{disagree} objects whose class says otherwise are labelled by their redshift"
        return [*map(str, self.cleaned.steps), sequence, *([note] if disagree else [])]


def cluster_sample(cluster: Cluster, *, cleaning: Cleaning | None = None, parts: Parts | None = None) -> Sample:
    """
    Make the sample of a cluster.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    cleaning : Cleaning, optional
        What is kept.
    parts : Parts, optional
        How it is shared out.

    Returns
    -------
    Sample

    Raises
    ------
    fieldprep.errors.InputError
        If a service cannot be had, no object is a member, a red sequence is to be fitted to fewer than ten members, or
        a part would lack a label.
    """
    cleaning = cleaning or Cleaning()
    rows = objects_of(cluster, faintest=cleaning.faintest)
    return sample_of(rows, cluster, cleaning=cleaning, parts=parts)


def sample_of(
    rows: pd.DataFrame, cluster: Cluster, *, cleaning: Cleaning | None = None, parts: Parts | None = None
) -> Sample:
    """
    Make the sample of a cluster from objects that are at hand.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        As of `fieldprep.clusters.objects.joined`.
    cluster, cleaning, parts
        As of `cluster_sample`.

    Returns
    -------
    Sample

    Raises
    ------
    fieldprep.errors.InputError
        As of `cluster_sample`.
    """
    member = (rows["kind"] == MEMBER).to_numpy()
    if not member.any():
        low, high = cluster.redshifts
        known = int(np.isfinite(rows["z"]).sum())
        by_class = " and none is classed a member" if cluster.table else ""
        raise InputError(
            f"{cluster.name}: of {known} redshifts none to be trusted lies in {low:g} to {high:g}{by_class}; "
            "widen the window or the radius, or name a catalogue that classes its galaxies"
        )
    regions = cluster.regions
    if regions is None:
        sure = rows[member & (rows["known_by"] == "redshift").to_numpy()]
        r, g_z = (sure[name].to_numpy(np.float64) for name in ("modelMag_r", "g_z"))
        try:
            regions = ColourRegions.fitted(r, g_z)
        except InputError as error:
            raise InputError(f"{cluster.name}: {error}") from error
    cleaned = clean(rows, cluster, regions, cleaning)
    return Sample(cluster, regions, shared_out(cleaned.rows, parts), cleaned)
