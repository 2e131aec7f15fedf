"""
Radii of a catalogue's objects, brought to the one that our boxes are made from.

A box is that of the Petrosian ellipse, so that other radii are brought to the Petrosian radius r_P, SDSS's: where
the mean brightness between 0.8 and 1.25 r is a fifth of that within r (Blanton et al. 2001, AJ 121, 2358). What
it is in units of the others follows from the profile, and hangs on it (Graham & Driver 2005, PASA 22, 118):

==================================  =============  ==================  ========  ========================
radius                              exponential    de Vaucouleurs      factor    measured on SDSS fields
==================================  =============  ==================  ========  ========================
Kron aperture, 2.5 first moments    0.71           0.30 (0.51 [1]_)    0.71      0.70 (0.58 - 0.91)
half of the light, as seen          2.13 [2]_      2.40 [2]_           2.2       2.23, 2.28 [3]_
half of the light, of a fit         2.11           1.71                2.0
==================================  =============  ==================  ========  ========================

.. [1] With the first moment taken within six half-light radii, about as SExtractor does.
.. [2] Half of the light within two Petrosian radii.
.. [3] ``petroR50_r`` of the fields' own catalogues (n = 814; two thirds lie between 1.97 and 2.82); SEP's
   half-light radius within the Kron aperture (n = 777, as for Kron, with the range of two thirds). Medians of
   galaxies with r < 21 in seven fields.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from astropy import units as u

from fieldprep.catalogues.axes import likelier
from fieldprep.errors import InputError, UsageError

if TYPE_CHECKING:
    from fieldprep.catalogues.columns import Columns

Floats = npt.NDArray[np.float64]

KINDS = ("petrosian", "kron", "half-light", "fixed")
FROM_KRON = 0.71
FROM_HALF = 2.2
FROM_FITTED_HALF = 2.0
KRON_APERTURE = 2.5  # first moments: SExtractor's and photutils' default
PETROSIAN_APERTURE = 2.0  # Petrosian radii: SExtractor's default
SEXTRACTOR_AXES = (("A_WORLD", "deg"), ("A_IMAGE", "pix"))
PHOTUTILS_AXES = (("semimajor_axis", "pix"), ("semimajor_sigma", "pix"))


class Rule(NamedTuple):
    """Names of one radius, what it is, the factor to the Petrosian radius, its unit or what it is in units of."""

    kind: str
    names: tuple[str, ...]
    factor: float
    unit: str = "arcsec"
    axes: tuple[tuple[str, str], ...] = ()


RULES = (
    Rule("petrosian", ("petroRad_r", "petroRad", "petrotheta_r", "petrosian_radius", "r_petro", "rpetro", "rpet"), 1.0),
    Rule("petrosian", ("PETRO_RADIUS",), 1 / PETROSIAN_APERTURE, axes=SEXTRACTOR_AXES),
    Rule("kron", ("KRON_RADIUS",), FROM_KRON, axes=SEXTRACTOR_AXES),
    Rule("kron", ("kron_radius",), FROM_KRON * KRON_APERTURE, axes=PHOTUTILS_AXES),
    Rule("kron", ("rKronRad",), FROM_KRON * KRON_APERTURE),  # Pan-STARRS gives the first moment
    Rule(
        "half-light", ("petroR50_r", "petroR50", "petroth50_r", "r50", "half_light_radius", "hlr", "rhalf"), FROM_HALF
    ),
    Rule("half-light", ("flux_radius",), FROM_HALF, "pix"),
    Rule("half-light", ("shape_r", "r_eff", "reff", "re", "radius_sersic"), FROM_FITTED_HALF),
)
UCDS = ("phys.angSize", "phys.angSize.smajAxis")
# of a radius known by its kind alone: a Kron radius is then that of the aperture
BY_KIND = {"petrosian": 1.0, "kron": FROM_KRON, "half-light": FROM_HALF}
# how a name or a description tells the kind of a radius, the surest first
TOLD = (
    (
        "half-light",
        re.compile(r"half|(?<!\d)50(?!\d)|\br_?e(ff)?\b|effective|s[eé]rsic|vaucouleurs|exponential", re.IGNORECASE),
    ),
    ("kron", re.compile(r"kron", re.IGNORECASE)),
    ("petrosian", re.compile(r"petro|r_?pet", re.IGNORECASE)),
)
OTHER_SHARE = re.compile(r"(?<!\d)([1-4678]0 ?%|90(?!\d))")
DIAMETER = re.compile(r"diam|\bd25", re.IGNORECASE)


class Radius(NamedTuple):
    """A radius brought to the Petrosian one, in arcsec or pixels, with what it was taken from."""

    kind: str
    text: str
    radii: Floats
    unit: str


def find_radius(columns: Columns, forced: str | None) -> Radius | None:
    """
    Petrosian radii, from what the catalogue has: Petrosian before Kron before half-light.

    Parameters
    ----------
    columns : Columns
        The catalogue.
    forced : str, optional
        The kind to take, or ``fixed:ARCSEC`` for one radius for all; of a radius named by the user: what it is.

    Returns
    -------
    Radius or None
        Arcsec, or pixels where the catalogue gives it so; NaN where it is missing or negative.

    Raises
    ------
    fieldprep.errors.UsageError
        If ``forced`` is none of these.
    fieldprep.errors.InputError
        If that kind is not there, or there is more than one candidate.
    """
    kind, _, size = (forced or "").partition(":")
    if forced and (kind not in KINDS or (kind == "fixed") != bool(size)):
        raise UsageError(f"--radius wants petrosian, kron, half-light or fixed:ARCSEC, got {forced}")
    if kind == "fixed":
        return _fixed(columns, size)
    radius = _mapped(columns, kind) or _by_rule(columns, kind) or _by_word_alone(columns, kind)
    if radius is None and forced:
        raise InputError(f"{columns.name}: no column for a {forced} radius; it has {columns.listed()}")
    return radius


def _fixed(columns: Columns, size: str) -> Radius:
    try:
        arcsec = float(size)
    except ValueError:
        arcsec = np.nan
    if not 0 < arcsec < np.inf:
        raise UsageError(f"--radius fixed:ARCSEC wants a positive number, got {size}")
    text = f"fixed, {arcsec:g} arcsec for all, taken as the Petrosian radius"
    return Radius("fixed", text, np.full(len(columns), arcsec), "arcsec")


def _mapped(columns: Columns, kind: str) -> Radius | None:
    """Radius that the user names; its own name tells what it is unless the user says."""
    for ours, own_kind in (("radius", kind), ("petroRad_r", "petrosian"), ("petroR50_r", "half-light")):
        column = columns.mapping.get(ours)
        if column is None or (kind and own_kind != kind):
            continue
        for rule in RULES:
            fits = column.lower() in map(str.lower, rule.names) and own_kind in {"", rule.kind}
            if fits and (not rule.axes or columns.named(*(axis for axis, _ in rule.axes))):
                return _ruled(columns, column, rule)
        return _plain(columns, column, own_kind) if own_kind else _by_word(columns, column)
    return None


def _by_rule(columns: Columns, kind: str) -> Radius | None:
    empty = None
    for rule in RULES:
        column = columns.named(*rule.names)
        axis = columns.named(*(axis for axis, _ in rule.axes)) if rule.axes else ""
        if column is None or axis is None or (kind and rule.kind != kind):
            continue
        radius = _ruled(columns, column, rule)
        if np.isfinite(radius.radii).any():
            return radius
        empty = empty or radius  # a column without a single value is passed over if there is another
    fitted = likelier(columns, ("expRad_r", "theta_exp_r"), ("deVRad_r", "theta_dev_r"))
    if fitted is not None and kind in {"", "half-light"}:
        values, name = fitted
        return Radius("half-light", f"half-light, {name} x {FROM_FITTED_HALF:g}", values * FROM_FITTED_HALF, "arcsec")
    return empty


def _ruled(columns: Columns, column: str, rule: Rule) -> Radius:
    """Radius by the rule for its name."""
    if not rule.axes:
        return _plain(columns, column, rule.kind, rule.factor, rule.unit)
    axis, default = next((columns.named(axis), unit) for axis, unit in rule.axes if columns.named(axis))
    scaled = _plain(columns, str(axis), rule.kind, rule.factor, default)
    text = f"{rule.kind}, {column} x {axis} x {rule.factor:.3g}"
    return scaled._replace(text=text, radii=scaled.radii * columns.numbers(column))


def _by_word_alone(columns: Columns, kind: str) -> Radius | None:
    """Radius called just that, else one by UCD; its name and description tell its kind."""
    found = list(filter(None, [columns.named("radius")])) or columns.all_with_ucd(*UCDS, but=("stat.", "arith."))
    found = [column for column in found if not OTHER_SHARE.search(_told(columns, column))]
    main = [column for column in found if "meta.main" in columns.table.ucds.get(column, "").lower()]
    for wanted in (kind,) if kind else KINDS[:-1]:
        of_kind = [column for column in main or found if (_told_kind(columns, column) or "petrosian") == wanted]
        if len(of_kind) > 1:
            columns.ambiguous("radius", of_kind)
        if of_kind:
            return _by_word(columns, of_kind[0])
    return None


def _told(columns: Columns, column: str) -> str:
    return f"{column} {columns.table.descriptions.get(column, '')}"


def _told_kind(columns: Columns, column: str) -> str:
    """Kind of a radius by its name and description; empty where neither tells."""
    told = _told(columns, column)
    return next((kind for kind, pattern in TOLD if pattern.search(told)), "")


def _by_word(columns: Columns, column: str) -> Radius:
    """Radius of the kind that its name or description tells; the Petrosian one where neither does."""
    kind = _told_kind(columns, column)
    radius = _plain(columns, column, kind or "petrosian")
    return radius if kind else radius._replace(text=f"{radius.text}, though nothing says of what kind it is")


def _plain(columns: Columns, column: str, kind: str, factor: float | None = None, default: str = "arcsec") -> Radius:
    """Radius in one column, in arcsec or pixels."""
    factor = BY_KIND[kind] if factor is None else factor
    text = f"{kind}, {column}"
    if DIAMETER.search(_told(columns, column)):
        factor, text = factor / 2, f"{text}, a diameter"
    unit = "pix" if columns.unit(column, default).is_equivalent(u.pix) else "arcsec"
    text += f" ({columns.table.units.get(column) or f'no unit given: {default}'})"
    values = columns.in_unit(column, unit, default) * factor
    with np.errstate(invalid="ignore"):
        values = np.where(values < 0, np.nan, values)
    return Radius(kind, text if factor == 1 else f"{text} x {factor:.3g}", values, unit)
