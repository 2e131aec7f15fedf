"""The objects about a cluster: a catalogue's classes, SDSS's magnitudes and redshifts, one row each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.coordinates import SkyCoord

from fieldprep.catalogues.places import nearest_rows
from fieldprep.clusters.classed import classed_rows
from fieldprep.clusters.cluster import BACKGROUND, MEMBER, Cluster
from fieldprep.surveys.sdss_search import photometry_in, spectra_in
from fieldprep.surveys.vizier import vizier_table

SAME_ARCSEC = 2.0  # rows of two tables this near to each other are one object
CATALOGUE, SEARCH = "catalogue", "search"
# z is of little use with any warning but that of many outlying points, which very bright objects have: SkyServer,
# table SpeczWarning
MANY_OUTLIERS = 0x10
_COLUMNS: dict[str, tuple[str, float | str]] = {
    **dict.fromkeys(("z", "z_err", "z_warning"), ("float64", np.nan)),
    "spectral_class": ("object", ""),
    "objid": ("uint64", 0),
    "type": ("int64", 0),
    "flags": ("uint64", 0),
    **{f"modelMag_{band}": ("float64", np.nan) for band in "griz"},
    "extinction_r": ("float64", np.nan),
}


def objects_of(cluster: Cluster, *, faintest: float) -> pd.DataFrame:
    """
    Fetch what is known of the objects about a cluster.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    faintest : float
        r magnitude from which the survey's objects are not asked for.

    Returns
    -------
    `~pandas.DataFrame`
        As of `joined`.

    Raises
    ------
    fieldprep.errors.InputError
        If a service cannot be had, or the catalogue has no positions or classes.
    """
    classed = None
    if cluster.table:
        table = vizier_table(cluster.table, cluster.centre, cluster.reach)
        classed = classed_rows(table, f"vizier:{cluster.table}", cluster.classes)
    photometry = photometry_in(cluster.centre, cluster.reach, faintest=faintest)
    return joined(cluster, classed, photometry, spectra_in(cluster.centre, cluster.reach))


def joined(
    cluster: Cluster, classed: pd.DataFrame | None, photometry: pd.DataFrame, spectra: pd.DataFrame
) -> pd.DataFrame:
    """
    One row an object: those of the catalogue, then those that have a spectrum besides.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    classed : `~pandas.DataFrame` or None
        As of `fieldprep.clusters.classed.classed_rows`.
    photometry, spectra : `~pandas.DataFrame`
        As of `fieldprep.surveys.sdss_search`; a row belongs to the object that it is nearest to, within 2 arcsec.

    Returns
    -------
    `~pandas.DataFrame`
        ``name``, ``source`` (``catalogue`` or ``search``), ``ra``, ``dec`` (ICRS degrees), ``class`` (of the
        catalogue), ``z``, ``z_err``, ``z_warning``, ``spectral_class``, ``objid`` (0 without photometry), ``type``,
        ``flags``, ``modelMag_g`` to ``modelMag_z``, ``extinction_r``, ``g_z``; ``kind`` (member, background or star;
        empty if not known), ``known_by`` (``redshift`` or ``class``), ``disagrees`` (redshift and class say different
        things of membership: the redshift is believed) and ``label`` (member or background, which stars are too).
    """
    if classed is None:
        classed = pd.DataFrame({"ra": np.zeros(0), "dec": np.zeros(0), "class": np.zeros(0, object)})
    spectra = spectra.rename(columns={"class": "spectral_class"})
    of_class = nearest_rows(_sky(classed), _sky(spectra), SAME_ARCSEC)
    alone = _far_from(_sky(spectra), _sky(classed))  # a further spectrum of a classed object is none of its own
    rows = pd.DataFrame(
        {
            "source": [CATALOGUE] * len(classed) + [SEARCH] * len(alone),
            **{name: [*classed[name], *spectra[name].to_numpy()[alone]] for name in ("ra", "dec")},
            "class": [*classed["class"], *[""] * len(alone)],
        }
    ).astype({"ra": "float64", "dec": "float64"})
    rows.insert(0, "name", names_at(_sky(rows)))
    rows = _beside(rows, spectra, np.concatenate([of_class, alone]), ("z", "z_err", "z_warning", "spectral_class"))
    wanted = [name for name in _COLUMNS if name in photometry.columns]
    rows = _beside(rows, photometry, nearest_rows(_sky(rows), _sky(photometry), SAME_ARCSEC), wanted)
    rows["g_z"] = rows["modelMag_g"] - rows["modelMag_z"]
    return labelled(rows, cluster)


def labelled(rows: pd.DataFrame, cluster: Cluster) -> pd.DataFrame:
    """
    Objects with what they are: by their redshift where that is to be trusted, else by the catalogue's class.

    Parameters
    ----------
    rows : `~pandas.DataFrame`
        With ``class``, ``z`` and ``z_warning``.
    cluster : Cluster
        The cluster.

    Returns
    -------
    `~pandas.DataFrame`
        With ``kind``, ``known_by``, ``disagrees`` and ``label``; see `joined`.
    """
    warning = rows["z_warning"].fillna(0).to_numpy(np.int64)
    z = rows["z"].where((warning & ~MANY_OUTLIERS) == 0).to_numpy(np.float64)
    by_z = cluster.kinds(z)
    classes = cluster.classes
    by_class = (
        rows["class"]
        .map(dict.fromkeys(classes.member, MEMBER) | dict.fromkeys(classes.background, BACKGROUND))
        .fillna("")
        .to_numpy(object)
    )
    kind = np.where(by_z != "", by_z, by_class)
    both = (by_z != "") & (by_class != "")
    return rows.assign(
        kind=kind,
        known_by=np.select([by_z != "", by_class != ""], ["redshift", "class"], "").astype(object),
        disagrees=both & ((by_z == MEMBER) != (by_class == MEMBER)),
        label=np.select([kind == MEMBER, kind != ""], [MEMBER, BACKGROUND], "").astype(object),
    )


def names_at(sky: SkyCoord) -> list[str]:
    """
    Names of objects after their positions; a split goes by them.

    Parameters
    ----------
    sky : `~astropy.coordinates.SkyCoord`, shape (N,)
        Positions.

    Returns
    -------
    list of str
        As ``J031948.16+413042.1``.
    """
    if not len(sky):
        return []
    ra = sky.ra.to_string(unit="hourangle", sep="", precision=2, pad=True)
    dec = sky.dec.to_string(unit="deg", sep="", precision=1, pad=True, alwayssign=True)
    return [f"J{lon}{lat}" for lon, lat in zip(ra, dec, strict=True)]


def _sky(rows: pd.DataFrame) -> SkyCoord:
    return SkyCoord(rows["ra"].to_numpy(np.float64), rows["dec"].to_numpy(np.float64), unit="deg")


def _far_from(here: SkyCoord, there: SkyCoord) -> npt.NDArray[np.int64]:
    """Which of some positions have none of the others beside them."""
    if not len(here) or not len(there):
        return np.arange(len(here))
    _, apart, _ = here.match_to_catalog_sky(there)
    return np.flatnonzero(apart.arcsec > SAME_ARCSEC)


def _beside(
    rows: pd.DataFrame, table: pd.DataFrame, index: npt.NDArray[np.int64], columns: list[str] | tuple[str, ...]
) -> pd.DataFrame:
    """Rows with columns of another table beside them, from the rows of that index; where it is -1, empty."""
    found = index >= 0
    for name in columns:
        dtype, empty = _COLUMNS[name]
        values = np.full(len(rows), empty, dtype)
        values[found] = table[name].fillna(empty).to_numpy()[index[found]]
        rows = rows.assign(**{name: values})
    return rows
