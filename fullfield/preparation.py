"""
One field and its catalogue, to what a training set or a cutout set takes of it.

The field gets a folder of its own, which appears whole or not at all; `fullfield.sets` joins them.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldprep.catalogues import NothingHereError, Sources, sources_on_field
from fieldprep.errors import InputError, OutputError, UsageError, one_line
from fieldprep.surveys.download import cache_folder
from fieldprep.training.cutoutsets import CutoutRecipe, write_cutouts
from fieldprep.training.recipes import Recipe, recipe_named
from fieldprep.training.records import FieldRecord
from fieldprep.training.splits import footprint_of
from fieldprep.training.trainingsets import write_field
from fullfield.centring import centre_errors
from fullfield.pipeline import frames_folder
from fullfield.processes import told
from fullfield.truths import Place, catalogue_file, catalogue_of_field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fieldprep.catalogues import Catalogue
    from fieldprep.field import Field
    from fullfield.sources import Source


@dataclass(frozen=True)
class Asked:
    """
    What is asked of every field of a set.

    Parameters
    ----------
    recipe : Recipe or CutoutRecipe
        What to make of it: labelled tiles, or labelled stamps.
    catalogue : str
        A catalogue of all fields, the name of a file in each field's folder, ``sdss`` or ``vizier:TABLE``.
    columns : mapping of str to str
        The catalogue's names of columns, by ours, where they are not found by themselves.
    radius : str, optional
        What the catalogue's radius is, where it does not tell.
    empty : mapping of str to (int, int) or None
        Fields in which nothing is a galaxy, and the columns of them to take (first, first not taken).
    frames : path, optional
        Where to put the files of a survey; the cache folder if not given.
    """

    recipe: Recipe | CutoutRecipe
    catalogue: str = "catalogue.csv"
    columns: Mapping[str, str] = field(default_factory=dict)
    radius: str | None = None
    empty: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    frames: Path | None = None

    def options(self) -> dict[str, Any]:
        """What the result depends on, as JSON keeps it."""
        content = asdict(self)
        del content["frames"]
        kept: dict[str, Any] = json.loads(json.dumps(content))
        return kept


@dataclass
class Outcome:
    """
    What became of a field.

    Parameters
    ----------
    field : str
        Its name.
    error : str
        Why it failed; empty if it did not.
    details : str
        Traceback of an error that is ours, not the input's.
    """

    field: str
    error: str = ""
    details: str = ""


def named_recipe(
    name: str,
    *,
    variants: tuple[str, ...] | None = None,
    faintest: float | None = None,
    cutouts: Mapping[str, Any] = MappingProxyType({}),
) -> Recipe | CutoutRecipe:
    """
    Recipe by its name, with what is asked for otherwise.

    Parameters
    ----------
    name : str
        One of `fieldprep.training.recipes.RECIPES`, or ``cutouts``.
    variants : tuple of str, optional
        Pictures to make.
    faintest : float, optional
        r magnitude of the faintest objects labelled.
    cutouts : mapping
        Further fields of `CutoutRecipe`, which other recipes do not have.

    Returns
    -------
    Recipe or CutoutRecipe

    Raises
    ------
    fieldprep.errors.UsageError
        If there is no such recipe.
    """
    changes: dict[str, Any] = {"variants": variants, "faintest": faintest}
    given = {key: value for key, value in changes.items() if value is not None}
    if name == CutoutRecipe.name:
        return CutoutRecipe(**cutouts, **given)
    return replace(recipe_named(name), **given)


def parse_empty(text: str) -> tuple[str, tuple[int, int] | None]:
    """Read NAME or NAME:X0:X1, as `Asked.empty` keeps it; UsageError if it is neither."""
    name, *ends = text.split(":")
    if len(ends) not in {0, 2} or not all(end.isdigit() for end in ends):
        raise UsageError(f"--empty wants NAME or NAME:X0:X1, got {text}")
    return name, (int(ends[0]), int(ends[1])) if ends else None


def prepare_field(source: Source, asked: Asked, out: Path) -> Outcome:
    """
    Prepare one field; what is wrong with it is told in the outcome, not raised.

    Parameters
    ----------
    source : Source
        The field's files.
    asked : Asked
        What to make of it.
    out : path
        Folder in which the field's own appears, whole or not at all.

    Returns
    -------
    Outcome

    Raises
    ------
    fieldprep.errors.OutputError
        If the output cannot be written, which no other field would survive either.
    fieldprep.errors.UsageError
        If the request cannot be met on any field.
    """
    outcome = Outcome(source.name)
    try:
        _prepare(source, asked, out)
    except Exception as error:  # noqa: BLE001 -- many fields survive our own mistake with one
        outcome.error, outcome.details = told(error, source.label)
    return outcome


def catalogue_of(source: Source, field: Field, asked: Asked) -> Catalogue:
    """
    Catalogue of a field.

    Parameters
    ----------
    source : Source
        Where the field's files are.
    field : Field
        The field itself.
    asked : Asked
        Which catalogue, and which of its columns is which.

    Returns
    -------
    Catalogue

    Raises
    ------
    fieldprep.catalogues.NothingHereError
        If the field has none.
    fieldprep.errors.InputError
        If it cannot be had or read.
    """
    path = catalogue_file(asked.catalogue, Place.of(field), [source.folder / asked.catalogue])
    if path is None:
        raise NothingHereError(f"no catalogue {asked.catalogue}")
    return catalogue_of_field(path, field.name, columns=asked.columns, radius=asked.radius)


def _prepare(source: Source, asked: Asked, out: Path) -> None:
    if source.error:
        raise InputError(source.error)
    source = source.fetched(frames_folder(source, asked.frames or cache_folder()))
    field = source.read()
    about: dict[str, Any] = {"source": source.key, "notes": field.notes, "taken": []}
    if source.name in asked.empty:
        field = _columns(field, asked.empty[source.name])
    try:
        sources = _known(source, field, asked, about)
    except NothingHereError as error:
        with _folder(out, source.name) as folder:
            reason = one_line(error)
            FieldRecord(field.name, footprint_of(field), {}, left_out=reason, about=about).write(folder)
        return
    about["centre_errors_px"] = centre_errors(field, sources).round(4).tolist()
    with _folder(out, source.name) as folder:
        if isinstance(asked.recipe, Recipe):
            record = write_field(field, sources, asked.recipe, folder)
        else:
            record = write_cutouts(field, sources, asked.recipe, folder)
        about["taken"] += record.about.get("taken", [])
        replace(record, about=about).write(folder)


def _known(source: Source, field: Field, asked: Asked, about: dict[str, Any]) -> Sources:
    """What is known to be on a field; where that is from goes into ``about``."""
    if source.name in asked.empty:
        about["catalogue"] = "none: named as empty"
        return Sources.none()
    catalogue = catalogue_of(source, field, asked)
    about |= {"catalogue": catalogue.name, "radius_kind": catalogue.radius_kind, "taken": list(catalogue.notes)}
    return sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)


def _columns(field: Field, columns: tuple[int, int] | None) -> Field:
    """Some columns of a field, or all."""
    if columns is None:
        return field
    part = slice(*columns)
    return replace(
        field,
        bands={band: np.ascontiguousarray(image[:, part]) for band, image in field.bands.items()},
        noise={},
        mask=np.ascontiguousarray(field.mask[:, part]),
        wcs=None if field.wcs is None else field.wcs.slice((slice(None), part)),
    )


@contextmanager
def _folder(out: Path, name: str) -> Iterator[Path]:
    """Give a temporary folder that becomes that of the field when the block ends well."""
    temporary, final = out / f".{name}", out / name
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        shutil.rmtree(final, ignore_errors=True)
        temporary.replace(final)
    except OSError as error:
        raise OutputError(f"{error.filename or out}: cannot be written ({error.strerror})") from error
