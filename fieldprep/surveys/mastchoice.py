"""Which of MAST's observations are one field, and which of their files is the image."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fieldprep.surveys.mastportal import Observation, Product

# a science image by the end of its name, best first: drizzled with the charge transfer corrected, drizzled, JWST's
_SUFFIXES = ("drc", "drz", "i2d")
# of the same exposures, best first: Hubble Advanced Products, the instruments' pipelines, Hubble Legacy Archive
_PIPELINES = ("HAP", "CAL", "HLA")
# ipppssoot: instrument, programme, visit, observation, type; no name of a galaxy
HST_ROOTNAME = re.compile(r"(?!ngc|ugc|ic\d)[ijlnouwx][0-9a-z]{8}", re.IGNORECASE)
_HST_PRODUCT = re.compile(r"hst_[^_]+_([^_]+)_", re.IGNORECASE)


def grouped(found: Iterable[Observation], *attributes: str) -> dict[str, list[Observation]]:
    """Observations that are alike in some attributes together, in the order they came."""
    groups: dict[str, list[Observation]] = {}
    for one in found:
        groups.setdefault("|".join(getattr(one, attribute) for attribute in attributes), []).append(one)
    return groups


def fields_of(found: Iterable[Observation]) -> list[list[Observation]]:
    """Observations by telescope, instrument, proposal and target, apart where a filter would come twice."""
    fields = []
    for group in grouped(found, "telescope", "instrument", "proposal", "target").values():
        fields += _apart(best_pipeline(group)[0])
    return [sorted(field, key=lambda one: one.obs_id) for field in fields]


def _apart(group: list[Observation]) -> list[list[Observation]]:
    """The group as one field; else by what its ids say beside the filter (the visit); else one by one."""
    if _each_band_once(group):
        return [group]
    visits: dict[str, list[Observation]] = {}
    for one in group:
        by_name = one.obs_id[:6] if HST_ROOTNAME.fullmatch(one.obs_id) else one.obs_id
        visits.setdefault(re.sub(re.escape(one.band), "", by_name, flags=re.IGNORECASE), []).append(one)
    parted = []
    for visit in visits.values():
        parted += [visit] if _each_band_once(visit) else [[one] for one in visit]
    return parted


def _each_band_once(group: Sequence[Observation]) -> bool:
    return len({one.band for one in group}) == len(group)


def best_pipeline(found: Iterable[Observation]) -> tuple[list[Observation], list[str]]:
    """Of each visit and filter the observations of the best pipeline, and a note on those left aside."""
    best, notes = [], []
    for alike in grouped(found, "proposal", "band").values():
        visits: dict[str, list[Observation]] = {}
        for one in alike:
            visits.setdefault(_visit(one), []).append(one)
        for several in visits.values():
            rank = min(_rank(one) for one in several)
            best += [one for one in several if _rank(one) == rank]
            aside = sorted(one.obs_id for one in several if _rank(one) > rank)
            if aside:
                notes.append(f"{best[-1].obs_id} of {best[-1].provenance}, not {', '.join(aside)} of the same visit")
    return best, notes


def _visit(one: Observation) -> str:
    """Visit of a proposal of HST as the name tells it; the name itself where it does not."""
    if HST_ROOTNAME.fullmatch(one.obs_id):
        return one.obs_id[4:6].lower()
    match = _HST_PRODUCT.match(one.obs_id)
    return match[1].lower() if match else one.obs_id


def _rank(one: Observation) -> int:
    starts = [one.provenance.upper().startswith(pipeline) for pipeline in _PIPELINES]
    return starts.index(True) if any(starts) else 0  # JWST has but one pipeline


def best_product(one: Observation, products: Iterable[Product]) -> tuple[Product, list[str]]:
    """The observation's science image of the best kind and highest version."""
    images = [product for product in products if product.obs_id.lower() == one.obs_id.lower() and _suffix(product)]
    if not images:
        kinds = " or ".join(f"_{suffix}.fits" for suffix in _SUFFIXES)
        raise InputError(f"mast:{one.obs_id}: has no drizzled or level-3 image ({kinds}) among its files")
    kind = min((_suffix(product) for product in images), key=_SUFFIXES.index)
    same = sorted((product for product in images if _suffix(product) == kind), key=_version)
    if len(same) == 1:
        return same[0], []
    versions = ", ".join(product.version or product.name for product in same)
    return same[-1], [f"{one.obs_id}: the highest of its versions {versions}"]


def _suffix(product: Product) -> str:
    """Which of the science images a file is; empty if none."""
    match = re.search(r"_(\w{3})\.fits$", product.name.lower())
    return match[1] if match and match[1] in _SUFFIXES else ""


def _version(product: Product) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", product.version)], product.name
