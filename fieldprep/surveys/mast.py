"""HST and JWST images from MAST: drizzled and level-3 mosaics, by observation id or by position."""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from astropy.time import Time

from fieldprep.errors import InputError, UsageError
from fieldprep.surveys.download import fetch, fetch_all, write_whole
from fieldprep.surveys.fitscheck import check_fits
from fieldprep.surveys.mastchoice import HST_ROOTNAME, best_pipeline, best_product, fields_of, grouped
from fieldprep.surveys.mastportal import (
    MOSAIC_LEVEL,
    Observation,
    Product,
    file_url,
    mosaics_at,
    observations_named,
    products_of,
)
from fieldprep.surveys.positions import parse_position, resolve_name

if TYPE_CHECKING:
    from pathlib import Path

POINT_DEG = 1 / 3600  # radius about a position that is given without a size

_TYPED_AS_FILE = re.compile(r"(_(drc|drz|i2d))?(\.fits)?$", re.IGNORECASE)
_ID = re.compile(r"[\w*%][\w.+*%-]*")
_NAME = re.compile(r"[A-Za-z0-9][\w +.\-*\[\]'\"°]*")


@dataclass(frozen=True)
class MastObservation:
    """
    Observations of MAST that are one field, one for each filter.

    Parameters
    ----------
    observation : str
        Observation ids, comma separated; ``*`` in an id stands for any characters.
    """

    observation: str

    @property
    def name(self) -> str:
        """The observation id, or what the ids have in common."""
        ids = [re.sub(r"[*%]+", "", one).strip("_-.") for one in self._ids]
        shared = [part for part in ids[0].split("_") if all(part in one.split("_") for one in ids)]
        text = "_".join(shared) if len(shared) > 1 or len(ids) == 1 else "+".join(ids)
        return re.sub(r"[^\w.+-]", "_", text) or "mast"

    @property
    def source(self) -> str:
        """The SOURCE that stands for this field."""
        return f"mast:{self.observation}"

    @property
    def _ids(self) -> list[str]:
        return self.observation.split(",")

    def fetch(self, folder: Path) -> list[Path]:
        """
        Fetch the field's images unless they are there.

        Parameters
        ----------
        folder : path
            Where to put them.

        Returns
        -------
        list of path
            FITS files, one for each filter, to be read together as one field.

        Raises
        ------
        fieldprep.errors.InputError
            If MAST has no such image, or none that anyone may have; if it cannot be had.
        fieldprep.errors.OutputError
            If it cannot be written.
        """
        kept = self._kept(folder)
        if kept is None:
            chosen, notes = self._chosen()
            kept = {"source": self.source, "files": {product.name: product.uri for product in chosen}, "notes": notes}
            write_whole(self._record(folder), json.dumps(kept, indent=1).encode())
        return fetch_all(
            [
                partial(fetch, file_url(uri), folder / name, what=f"{self.source} ({name})", verify=_check)
                for name, uri in kept["files"].items()
            ]
        )

    def notes(self, folder: Path) -> list[str]:
        """What was chosen among several, one line each, of what `fetch` put into a folder."""
        kept = self._kept(folder)
        return list(kept["notes"]) if kept else []

    def _record(self, folder: Path) -> Path:
        return folder / f"{self.name}.mast.json"

    def _kept(self, folder: Path) -> dict[str, Any] | None:
        """What an earlier fetch found out, so that MAST is not asked again."""
        try:
            kept = json.loads(self._record(folder).read_text())
            return dict(kept) if kept["source"] == self.source and kept["files"] and "notes" in kept else None
        except (OSError, ValueError, KeyError, TypeError):  # not there, or not ours: asked anew and written over
            return None

    def _chosen(self) -> tuple[list[Product], list[str]]:
        """One file for each filter, and what was left aside."""
        found = [one for pattern in self._ids for one in self._matching(pattern)]
        found, notes = best_pipeline({one.obsid: one for one in found}.values())
        for band, several in grouped(found, "band").items():
            if len(several) > 1:
                ids = ", ".join(sorted(one.obs_id for one in several))
                raise InputError(f"{self.source}: {band or 'one image'} is in {ids}; name one for each filter")
        for one in found:
            if not one.is_public:
                raise InputError(f"mast:{one.obs_id}: {_proprietary(one)}")
        products = products_of(found, self.source)
        chosen = []
        for one in found:
            product, note = best_product(one, products)
            chosen.append(product)
            notes += note
        return chosen, notes

    def _matching(self, pattern: str) -> list[Observation]:
        """Observations that an id means: that one whatever its level, of a pattern the mosaics of one filter."""
        pattern = pattern.replace("%", "*")
        found = [
            one
            for one in observations_named(pattern, self.source)
            if fnmatch.fnmatchcase(one.obs_id.lower(), pattern.lower())
        ]
        if not found:
            raise InputError(
                f"mast:{pattern}: MAST has no observation of that name; see to the typing, or give * for what you do "
                "not know of it, as in mast:jw02736-o001_t001_nircam_*"
            )
        images = [one for one in found if one.is_image]
        if "*" in pattern:
            images = [one for one in images if one.level >= MOSAIC_LEVEL and one.band]
        if not images:
            raise InputError(
                f"mast:{pattern}: {len(found)} observations of that name, none of them a drizzled or level-3 image; "
                "single exposures, spectra and catalogues are not read"
            )
        return images


def parse_mast(text: str) -> list[MastObservation]:
    """
    Fields that a SOURCE of MAST stands for.

    Parameters
    ----------
    text : str
        ``mast:`` and one of: an observation id; several, comma separated, or one with ``*``, that are the filters of
        one field; a position or the name of an object, with a size or without, which stands for every mosaic of HST
        and JWST there.

    Returns
    -------
    list of MastObservation
        One; at a position one for each telescope, instrument, proposal and target, their filters together. Where
        a filter would come twice the visits are fields of their own; exposures that several pipelines have
        drizzled are there once, by the best of them.

    Raises
    ------
    fieldprep.errors.UsageError
        If it is none of these.
    fieldprep.errors.InputError
        If MAST has no mosaic there, or cannot be asked.
    """
    given = re.sub(r"^mast:", "", text.strip(), flags=re.IGNORECASE).strip()
    position = parse_position(given)
    if position is None:
        ids = [_TYPED_AS_FILE.sub("", one.strip()) for one in given.split(",")]
        if all(_is_id(one) for one in ids):
            return [MastObservation(",".join(dict.fromkeys(ids)))]
        if not _NAME.fullmatch(given):
            raise UsageError(
                f"{text}: mast: wants an observation id (mast:jw02736-o001_t001_nircam_clear-f090w), several of one "
                "field (comma separated, or with *), or a position (mast:53.16 -27.78 1arcmin)"
            )
        position = resolve_name(given)
    radius = POINT_DEG if position.size_deg is None else position.size_deg / 2
    found = [one for one in mosaics_at(position, radius, text) if one.band]
    if not found:
        raise InputError(f"{text}: no drizzled or level-3 image of HST or JWST there; a larger size may reach one")
    return [MastObservation(",".join(one.obs_id for one in field)) for field in fields_of(found)]


def _is_id(text: str) -> bool:
    return bool(_ID.fullmatch(text)) and (any(sign in text for sign in "_*%") or bool(HST_ROOTNAME.fullmatch(text)))


def _proprietary(one: Observation) -> str:
    until = "" if one.release_mjd != one.release_mjd else f" until {Time(one.release_mjd, format='mjd').iso[:10]}"
    return f"proprietary{until}; fetch it with your own account at MAST and give the file"


def _check(path: Path) -> None:
    check_fits(path, extension="SCI")
