"""Searches of the SDSS catalogue in a circle on the sky: photometry of the primary objects, and spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fieldprep.surveys.sdss_catalogue import MISSING
from fieldprep.surveys.sdss_columns import RELEASE, SPECTRA, VOTE_PLACE, described
from fieldprep.surveys.skyserver import query

if TYPE_CHECKING:
    import pandas as pd
    from astropy.coordinates import Angle, SkyCoord

PHOTOMETRY = tuple(
    map(described, ("objid", "ra", "dec", "type", "flags", *(f"modelMag_{band}" for band in "griz"), "extinction_r"))
)


def photometry_in(centre: SkyCoord, reach: Angle, *, faintest: float, release: int = RELEASE) -> pd.DataFrame:
    """
    Primary objects of the survey in a circle, as SkyServer's radial search of the imaging has them.

    Parameters
    ----------
    centre : `~astropy.coordinates.SkyCoord`
        Middle of the circle.
    reach : `~astropy.coordinates.Angle`
        Its radius.
    faintest : float
        Model magnitude in r from which objects are not asked for.
    release : int
        Data release.

    Returns
    -------
    `~pandas.DataFrame`
        ``objid``, ``ra``, ``dec`` (degrees), ``type`` (3 galaxy, 6 star), ``flags``, ``modelMag_g`` to ``modelMag_z``
        and ``extinction_r``, which is not taken off them; NaN where the survey measured nothing. By ``objid``.

    Raises
    ------
    fieldprep.errors.InputError
        If no whole answer can be had.
    """
    ra, dec = centre.icrs.ra.deg, centre.icrs.dec.deg
    rest = (
        f"FROM dbo.fGetNearbyObjEq({ra:.6f},{dec:.6f},{reach.arcmin:.4f}) AS n "
        f"JOIN PhotoPrimary AS p ON p.objID=n.objID WHERE p.modelMag_r>0 AND p.modelMag_r<{faintest:g}"
    )
    what = f"SDSS photometry within {reach.deg:g} deg of {ra:.4f} {dec:+.4f}"
    found = query(PHOTOMETRY, rest, release=release, what=what, keep=True)
    return found.replace(MISSING, np.nan).sort_values("objid", ignore_index=True)


def spectra_in(centre: SkyCoord, reach: Angle, *, release: int = RELEASE) -> pd.DataFrame:
    """
    Spectra of the survey in a circle, the best of each object, as SkyServer's spectroscopic radial search has them.

    Parameters
    ----------
    centre, reach, release
        As of `photometry_in`.

    Returns
    -------
    `~pandas.DataFrame`
        ``specobjid``, ``ra``, ``dec`` (degrees), ``z``, ``z_err``, ``z_warning``, ``class`` (GALAXY, QSO or STAR) and
        ``subclass``, by ``specobjid``.

    Raises
    ------
    fieldprep.errors.InputError
        If no whole answer can be had.
    """
    ra, dec = centre.icrs.ra.deg, centre.icrs.dec.deg
    rest = (
        f"FROM dbo.fGetNearbySpecObjEq({ra:.6f},{dec:.6f},{reach.arcmin:.4f}) AS n "
        "JOIN SpecObj AS v ON v.specObjID=n.specObjID"
    )
    what = f"SDSS spectra within {reach.deg:g} deg of {ra:.4f} {dec:+.4f}"
    found = query((*VOTE_PLACE, *SPECTRA), rest, release=release, what=what, keep=True)
    found = found.rename(columns={"vote_ra": "ra", "vote_dec": "dec"})
    return found.sort_values("specobjid", ignore_index=True)
