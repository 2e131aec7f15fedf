"""Training sets from SOURCEs and their catalogues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fieldprep.catalogues import Sources, read_catalogue, sources_on_field
from fieldprep.errors import InputError, UsageError
from fieldprep.field import Field
from fieldprep.trainingsets import write_training_set
from fieldprep.variants import VARIANTS
from fullfield.sources import Source, find_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def prepare_training_set(
    given: Sequence[str],
    out: Path,
    *,
    catalogue: str,
    validation: Sequence[str],
    empty: Sequence[str] = (),
    variants: Sequence[str] = tuple(VARIANTS),
) -> dict[str, int]:
    """
    Cut the fields of SOURCEs into a training set.

    Parameters
    ----------
    given : sequence of str
        SOURCEs as on the command line.
    out : path
        Folder to write; see `fieldprep.trainingsets.write_training_set`.
    catalogue : str
        A catalogue of all fields, or the name of a file in each field's folder.
    validation : sequence of str
        Names of the fields kept for validation.
    empty : sequence of str
        Fields in which nothing is a galaxy, as NAME or NAME:X0:X1 (columns X0 to X1 - 1 only). A field
        without a catalogue is refused unless it is named here.
    variants : sequence of str
        Pictures made of each training field.

    Returns
    -------
    dict of str to int
        Counts of tiles and boxes.

    Raises
    ------
    fieldprep.errors.UsageError
        If a named field or variant does not exist, or a field has no catalogue and is not named empty.
    """
    unknown = sorted(set(variants) - set(VARIANTS))
    if unknown:
        raise UsageError(f"unknown variant {', '.join(unknown)}: it is one of {', '.join(VARIANTS)}")
    sources = find_sources(given)
    empties = dict(_empty(text) for text in empty)
    missing = sorted({*validation, *empties} - {source.name for source in sources})
    if missing:
        raise UsageError(f"no field {', '.join(missing)} among {', '.join(source.name for source in sources)}")
    truths = {source.name: _catalogue_of(source, catalogue) for source in sources if source.name not in empties}
    return write_training_set(_fields(sources, truths, empties), out, validation=validation, variants=variants)


def _fields(
    sources: Sequence[Source], truths: dict[str, Path], empties: dict[str, slice]
) -> Iterator[tuple[Field, Sources]]:
    for source in sources:
        if source.error:
            raise InputError(source.error)
        field = Field.read(list(source.paths), name=source.name)
        if source.name in empties:
            yield _columns(field, empties[source.name]), _nothing()
            continue
        path = truths[source.name]
        table = read_catalogue(path)
        yield field, sources_on_field(table, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale, name=str(path))


def _catalogue_of(source: Source, catalogue: str) -> Path:
    for path in (source.folder / catalogue, Path(catalogue)):
        if path.is_file():
            return path
    raise UsageError(
        f"{source.name}: no catalogue {catalogue}; name another, or --empty {source.name} if nothing in it is a galaxy"
    )


def _empty(text: str) -> tuple[str, slice]:
    name, *ends = text.split(":")
    if len(ends) not in {0, 2} or not all(end.isdigit() for end in ends):
        raise UsageError(f"--empty wants NAME or NAME:X0:X1, got {text}")
    return name, slice(*map(int, ends)) if ends else slice(None)


def _columns(field: Field, columns: slice) -> Field:
    """Some columns of a field, without its WCS, which is the whole field's."""
    return replace(
        field,
        bands={band: np.ascontiguousarray(image[:, columns]) for band, image in field.bands.items()},
        noise={},
        mask=np.ascontiguousarray(field.mask[:, columns]),
        wcs=None,
    )


def _nothing() -> Sources:
    none = np.zeros(0)
    flags = np.zeros(0, np.bool_)
    return Sources(none, none, none.reshape(0, 4), flags, none, flags)
