"""Cleaning of a cluster's objects, step by step: how many are left after each, and why the others went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldprep.clusters.cluster import STAR, Cluster
from fieldprep.clusters.regions import RED_SEQUENCE, REGIONS, ColourRegions
from fieldprep.errors import InputError, UsageError
from fieldprep.surveys.sdss_columns import FLAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

Bools = npt.NDArray[np.bool_]

# the flags that Pruitt and Romanowsky list of stars that pass for galaxies; they do not say which they cut by
TALK_FLAGS = ("NODEBLEND", "CHILD", "SUBTRACTED", "SATURATED", "COSMIC_RAY", "NOPETRO")
NEEDED = ("class", "kind", "known_by", "flags", "modelMag_r", "g_z")


@dataclass(frozen=True)
class Cleaning:
    """
    What objects are kept.

    Parameters
    ----------
    faintest : float
        r magnitude that they must be brighter than.
    regions : tuple of str
        Regions of the colour-magnitude diagram in which the catalogue's class is believed; what has a redshift to be
        trusted stays in any.
    flags : tuple of str
        SDSS's flags that an object must not carry, by `fieldprep.surveys.sdss_columns.FLAGS`. Those in the default tell
        of a star's halo or of a radius that is none; of `TALK_FLAGS` they leave out CHILD, which most galaxies in the
        middle of a cluster carry, and COSMIC_RAY, one pixel that was mended. What is a star by its redshift stays: it
        is there to be told from galaxies.
    """

    faintest: float = 19.4
    regions: tuple[str, ...] = (RED_SEQUENCE,)
    flags: tuple[str, ...] = ("NODEBLEND", "SUBTRACTED", "SATURATED", "NOPETRO")

    def __post_init__(self) -> None:
        for what, given, known in (("region", self.regions, REGIONS), ("flag", self.flags, tuple(FLAGS))):
            wrong = [name for name in given if name not in known]
            if wrong:
                raise UsageError(f"no {what} is called {', '.join(wrong)}; there are {', '.join(known)}")


@dataclass(frozen=True)
class Step:
    """
    One step of the cleaning.

    Parameters
    ----------
    what : str
        What is asked of an object.
    before : int
        How many there were.
    gone : mapping of str to int
        How many went, by the reason.
    """

    what: str
    before: int
    gone: Mapping[str, int]

    @property
    def left(self) -> int:
        """How many are left."""
        return self.before - sum(self.gone.values())

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.gone.items() if count)
        return f"{self.what}: {self.left} of {self.before} left" + (f" ({reasons})" if reasons else "")


@dataclass(frozen=True, eq=False)
class Cleaned:
    """
    Objects that are kept, and those that are not.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        What is kept, with its ``region``.
    removed : `~pandas.DataFrame`
        What is not, with ``step`` and ``why``.
    steps : tuple of Step
        In their order.
    """

    rows: pd.DataFrame
    removed: pd.DataFrame
    steps: tuple[Step, ...]


def clean(rows: pd.DataFrame, cluster: Cluster, regions: ColourRegions, cleaning: Cleaning | None = None) -> Cleaned:
    """
    Clean the objects of a cluster.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        As of `fieldprep.clusters.objects.joined`.
    cluster : Cluster
        The cluster: the classes that are dropped, and the window of redshifts.
    regions : ColourRegions
        Its red sequence.
    cleaning : Cleaning, optional
        What is kept; by default as Pruitt and Romanowsky did.

    Returns
    -------
    Cleaned
        Steps ``label``, ``brightness``, ``colour``, ``flags``.

    Raises
    ------
    fieldprep.errors.InputError
        If a column is missing.
    """
    cleaning = cleaning or Cleaning()
    missing = [name for name in NEEDED if name not in rows.columns]
    if missing:
        raise InputError(f"{cluster.name}: objects without {', '.join(missing)} cannot be cleaned")
    r, g_z = (rows[name].to_numpy(np.float64) for name in ("modelMag_r", "g_z"))
    rows = rows.assign(region=regions.of(r, g_z))
    in_region = {name: (rows["region"] == name).to_numpy() for name in REGIONS if name not in cleaning.regions}
    by_class = (rows["known_by"] == "class").to_numpy()
    flags, star = rows["flags"].to_numpy(np.uint64), (rows["kind"] == STAR).to_numpy()
    dropped = {name: (rows["class"] == name).to_numpy() for name in cluster.classes.dropped}
    low, high = cluster.redshifts
    plan: dict[str, dict[str, Bools]] = {
        f"label (members at {low:g} to {high:g})": {
            **{f"of class {name}": mask for name, mask in dropped.items()},
            "without a class or a redshift to be trusted": (rows["kind"] == "").to_numpy(),
        },
        f"r < {cleaning.faintest:g}": {
            "not in SDSS, or fainter than was asked for": ~np.isfinite(r),
            "fainter": r >= cleaning.faintest,
        },
        f"{' or '.join(cleaning.regions)}, if by class alone": {
            "without g or z": by_class & (rows["region"] == "").to_numpy(),
            **{f"in the {name}": by_class & mask for name, mask in in_region.items()},
        },
        "flags": {name: ~star & ((flags & np.uint64(FLAGS[name])) != 0) for name in cleaning.flags},
    }
    step, why, steps = np.full(len(rows), "", object), np.full(len(rows), "", object), []
    for what, reasons in plan.items():
        before = int((why == "").sum())
        gone = {}
        for reason, mask in reasons.items():  # of several reasons the first counts
            now = mask & (why == "")
            step[now], why[now], gone[reason] = what, reason, int(now.sum())
        steps.append(Step(what, before, gone))
    kept = why == ""
    removed = rows.assign(step=step, why=why)[~kept].reset_index(drop=True)
    return Cleaned(rows[kept].reset_index(drop=True), removed, tuple(steps))
