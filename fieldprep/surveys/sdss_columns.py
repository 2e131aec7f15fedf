"""
What is asked of the SDSS catalogue: columns under our names, and the flags that matter.

Columns are those of SkyServer's tables PhotoObjAll, zooSpec, zooNoSpec, zoo2MainSpecz and SpecObj (schema browser of
data release 17); flags are those of its table PhotoFlags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldprep.surveys.skyserver import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

RELEASE = 17
GALAXY, STAR = 3, 6

# SkyServer, table PhotoFlags
FLAGS = {
    "BRIGHT": 0x2,
    "EDGE": 0x4,
    "BLENDED": 0x8,
    "CHILD": 0x10,
    "NODEBLEND": 0x40,
    "NOPROFILE": 0x80,
    "NOPETRO": 0x100,
    "MANYPETRO": 0x200,
    "NOPETRO_BIG": 0x400,
    "DEBLEND_TOO_MANY_PEAKS": 0x800,
    "COSMIC_RAY": 0x1000,
    "INTERP": 0x20000,
    "SATURATED": 0x40000,
    "SUBTRACTED": 0x100000,
    "BADSKY": 0x400000,
    "TOO_LARGE": 0x1000000,
    "DEBLENDED_AS_PSF": 0x2000000,
    "BINNED1": 0x10000000,
    "BINNED2": 0x20000000,
    "BINNED4": 0x40000000,
    "PEAKS_TOO_CLOSE": 0x2000000000,
    "SATUR_CENTER": 0x80000000000,
    "DEBLEND_NOPEAK": 0x400000000000,
    "PSF_FLUX_INTERP": 0x800000000000,
    "MAYBE_CR": 0x100000000000000,
    "MAYBE_EGHOST": 0x200000000000000,
    "NOTCHECKED_CENTER": 0x400000000000000,
}
# objects that count neither for nor against: cut by the edge, or probably nothing in the sky
IGNORED = ("EDGE", "BADSKY", "MAYBE_CR", "MAYBE_EGHOST", "NOTCHECKED_CENTER")
# galaxies that may be a star's halo, or whose radius is not one
IGNORED_GALAXIES = ("SATURATED", "SUBTRACTED", "NOPETRO", "NOPETRO_BIG", "TOO_LARGE", "DEBLEND_TOO_MANY_PEAKS")

_BY_FIT = "CASE WHEN p.fracDeV_r>0.5 THEN p.deV{0}_r ELSE p.exp{0}_r END"
PHOTO = (
    Column("objid", "p.objID", "uint64", "", "SDSS objID"),
    Column("ra", "p.ra", unit="deg", description="right ascension, ICRS"),
    Column("dec", "p.dec", unit="deg", description="declination, ICRS"),
    Column("type", "p.type", "int64", "", "3 galaxy, 6 star, 0 unknown"),
    Column("mode", "p.mode", "int64", "", "1 primary, 2 secondary, 3 other"),
    Column("clean", "p.clean", "int64", "", "1 = clean photometry"),
    Column("flags", "p.flags", "uint64", "", "bits of PhotoFlags"),
    Column("rowc", "p.rowc", unit="pix", description="row in the object's own r frame, from its first pixel's corner"),
    Column("colc", "p.colc", unit="pix", description="column there, from its first pixel's corner"),
    Column("petroRad_r", "p.petroRad_r", unit="arcsec", description="Petrosian radius"),
    Column("petroRadErr_r", "p.petroRadErr_r", unit="arcsec", description="error of petroRad_r"),
    Column("petroR50_r", "p.petroR50_r", unit="arcsec", description="radius of 50 % of the Petrosian flux"),
    Column("petroR90_r", "p.petroR90_r", unit="arcsec", description="radius of 90 % of the Petrosian flux"),
    *(Column(f"modelMag_{band}", f"p.modelMag_{band}", unit="mag", description="model magnitude") for band in "ugriz"),
    Column("extinction_r", "p.extinction_r", unit="mag", description="Galactic extinction, not taken off"),
    Column("fracDeV_r", "p.fracDeV_r", description="weight of the de Vaucouleurs fit"),
    Column("axis_ratio", _BY_FIT.format("AB"), description="b/a of the fit of more weight"),
    Column("position_angle_deg", _BY_FIT.format("Phi"), unit="deg", description="of that fit, from north to east"),
)
VOTE_PLACE = (Column("vote_ra", "v.ra"), Column("vote_dec", "v.dec"))
VOTES = (
    Column("nvote", "v.nvote", description="Galaxy Zoo 1 votes"),
    *(
        Column(f"p_{short}", f"v.p_{short}", description=f"Galaxy Zoo 1 fraction for {answer}")
        for short, answer in (
            *(("el", "elliptical"), ("cw", "clockwise spiral"), ("acw", "anticlockwise spiral"), ("edge", "edge-on")),
            *(("dk", "don't know"), ("mg", "merger"), ("cs", "combined spiral: cw, acw and edge-on")),
        )
    ),
)
VOTES_2 = (
    Column("gz2_votes", "v.total_votes", description="Galaxy Zoo 2 votes"),
    *(
        Column(f"gz2_{name}", f"v.{answer}_fraction", description=f"Galaxy Zoo 2 fraction {answer}")
        for name, answer in (
            ("smooth", "t01_smooth_or_features_a01_smooth"),
            ("features", "t01_smooth_or_features_a02_features_or_disk"),
            ("artifact", "t01_smooth_or_features_a03_star_or_artifact"),
            ("edge_on", "t02_edgeon_a04_yes"),
            ("bar", "t03_bar_a06_bar"),
            ("spiral", "t04_spiral_a08_spiral"),
            ("odd", "t06_odd_a14_yes"),
            ("round", "t07_rounded_a16_completely_round"),
            ("in_between", "t07_rounded_a17_in_between"),
            ("cigar", "t07_rounded_a18_cigar_shaped"),
            ("merger", "t08_odd_feature_a24_merger"),
        )
    ),
)
SPECTRA = (
    Column("specobjid", "v.specObjID", "uint64", "", "SDSS specObjID, 0 without a spectrum"),
    Column("z", "v.z", description="spectroscopic redshift"),
    Column("z_err", "v.zErr", description="error of z"),
    Column("z_warning", "v.zWarning", description="0 = nothing wrong with z"),
    Column("class", "v.class", "str", "", "GALAXY, QSO or STAR by the spectrum"),
    Column("subclass", "v.subClass", "str", "", "subclass by the spectrum"),
)
# what we add
DERIVED = (
    Column("x", "", unit="pix", description="column of the field's r frame or grid, pixel centres are integers from 0"),
    Column("y", "", unit="pix", description="row there"),
    Column("flag_names", "", "str", "", "names of the bits in flags that matter"),
    Column(
        *("ignore", "", "int64", ""),
        f"1 = neither for nor against: {', '.join(IGNORED)}; neither galaxy nor star; for a galaxy also "
        f"{', '.join(IGNORED_GALAXIES)}",
    ),
)


_ABOUT = {column.name: column for column in (*PHOTO, *VOTES, *VOTES_2, *SPECTRA, *DERIVED)}


def described(name: str) -> Column:
    """Type, unit and description of a column by our name of it."""
    return _ABOUT[name]


def names_of(flags: npt.NDArray[np.uint64]) -> npt.NDArray[np.object_]:
    """Names of the set bits of each object's flags, those in `FLAGS`, with spaces between; shape (N,)."""
    return np.array([" ".join(name for name, bit in FLAGS.items() if int(value) & bit) for value in flags], np.object_)


def is_ignored(
    flags: npt.NDArray[np.uint64], kind: npt.NDArray[np.int64], radius: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """
    Which objects count neither for nor against: the survey does not tell surely enough what they are.

    Parameters
    ----------
    flags, kind, radius : 1D `~numpy.ndarray`, shape (N,)
        PhotoFlags, type (3 galaxy, 6 star) and Petrosian radius.

    Returns
    -------
    1D bool `~numpy.ndarray`, shape (N,)
        True for `IGNORED`, for what is neither galaxy nor star, for `IGNORED_GALAXIES` among the galaxies, and for
        galaxies without a radius.
    """
    galaxy = kind == GALAXY
    unsure = galaxy & (_has(flags, IGNORED_GALAXIES) | ~(radius > 0))
    return np.asarray(unsure | ~np.isin(kind, (GALAXY, STAR)) | _has(flags, IGNORED), np.bool_)


def _has(flags: npt.NDArray[np.uint64], names: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.asarray((flags & np.uint64(sum(FLAGS[name] for name in names))) != 0, np.bool_)
