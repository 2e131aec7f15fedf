"""SOURCEs as a user names them to the fields they stand for."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fieldprep.catalogues import read_table
from fieldprep.errors import FullfieldError, InputError, UsageError
from fieldprep.field import Field
from fieldprep.fitsfile import is_fits, split_extension
from fieldprep.opening import open_field
from fieldprep.picturefile import is_picture
from fieldprep.readers import field_name, sdss_id
from fieldprep.surveys.positions import parse_position
from fieldprep.surveys.prefix import survey_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fieldprep.mosaic import Sky
    from fullfield.remotes import Remote

_OUTPUTS = ("run.json", "preparation.json")
LIST_ENDINGS = (".csv", ".ecsv", ".parquet")
_NAME = re.compile(r"^[A-Za-z0-9][\w +.\-*\[\]]*$")  # of an object: no path, as far as one can tell


@runtime_checkable
class Choosing(Protocol):
    """A remote that chooses among several files of a field, and says what it chose."""

    def notes(self, folder: Path) -> list[str]:
        """What was chosen, one line each, of what was fetched into a folder."""


@dataclass(frozen=True)
class Source:
    """
    One field to be run.

    Parameters
    ----------
    name : str
        Name of the field, unique in a run.
    paths : tuple of path
        One file (an extension may stand in brackets), one folder, or the band files of a field; none while
        they are still to be fetched.
    error : str
        Why it cannot be a field; empty where it may be one. Such a source fails when its turn comes, so that
        it is recorded like any other failure.
    remote : Remote, optional
        What fetches the field's files, if they are a survey's.
    notes : tuple of str
        What a reader of its catalogue must know of the choice of its files, one line each.
    template : Source, optional
        What is subtracted from it.
    """

    name: str
    paths: tuple[Path, ...]
    error: str = ""
    remote: Remote | None = None
    notes: tuple[str, ...] = ()
    template: Source | None = None

    @property
    def key(self) -> str:
        """What identifies the source from run to run: the survey's id, or its full paths."""
        if self.remote is not None:
            return self.remote.source
        return "|".join(os.path.abspath(path) for path in self.paths)  # noqa: PTH100 -- a link stays its own field

    @property
    def label(self) -> str:
        """What to call the source in an error."""
        return self.remote.source if self.remote is not None else str(self.paths[0])

    @property
    def folder(self) -> Path:
        """Folder in which the source's files lie."""
        return self.paths[0] if self.paths[0].is_dir() else self.paths[0].parent

    def fetched(self, folder: Path) -> Source:
        """
        Source with its files at hand.

        Parameters
        ----------
        folder : path
            Where to put a survey's files; what is there is not fetched again.

        Returns
        -------
        Source
            Itself where the files are the user's own.

        Raises
        ------
        fieldprep.errors.InputError
            If they cannot be had.
        """
        if self.remote is None:
            return self
        paths = tuple(self.remote.fetch(folder))
        notes = self.remote.notes(folder) if isinstance(self.remote, Choosing) else []
        return replace(self, paths=paths, notes=tuple(notes))

    def read(self) -> Field:
        """
        Field of the source's files, which must be at hand.

        Returns
        -------
        Field
            Its notes are those of its files and the source's own.

        Raises
        ------
        fieldprep.errors.InputError
            If they cannot be read as one field.
        """
        field = Field.read(list(self.paths), name=self.name)
        return replace(field, provenance=self._provenance(field))

    def opened(self) -> Sky:
        """Field of the source's files, or the mosaic they are where that is too large for memory; see `read`."""
        sky = open_field(list(self.paths), name=self.name)
        return replace(sky, provenance=self._provenance(sky))

    def _provenance(self, sky: Sky) -> dict[str, Any]:
        return {**sky.provenance, "notes": [*sky.notes, *(f"{self.name}: {note}" for note in self.notes)]}


@dataclass(frozen=True)
class _OnTheSky:
    """A SOURCE that names a piece of sky, before the survey is asked what is there."""

    text: str
    name: str | None = None
    listed: bool = False


def find_sources(given: Sequence[str], taken: Mapping[str, str] | None = None) -> list[Source]:
    """
    Fields that the SOURCEs of a command line stand for.

    Parameters
    ----------
    given : sequence of str
        FITS files, pictures, folders of band files, folders of those, what a survey has (``sdss:3184-2-169``,
        ``mast:OBSERVATION``, a position, a name), lists of these (CSV, ECSV or Parquet with a column ``source``
        and optionally ``name``).
    taken : mapping of str to str, optional
        Names in use from an earlier run, with the `Source.key` each is of.

    Returns
    -------
    list of Source
        In the order given, each field once, names unique.

    Raises
    ------
    fieldprep.errors.UsageError
        If nothing is given, or a SOURCE of the command line makes no sense.
    """
    found = _looked_up([source for text in given for source in _expand(text)])
    if not found:
        raise UsageError("no SOURCE given")
    once = {source.key: source for source in _joined_frames(found)}
    return _unique_names(once.values(), taken or {})


def with_templates(sources: Sequence[Source], text: str) -> list[Source]:
    """
    Sources with what is to be subtracted from each.

    Parameters
    ----------
    sources : sequence of Source
        The fields.
    text : str
        SOURCE of the template: that of one field is for all; of several, such as a folder of folders or a list with a
        column ``name``, each is for the field of its name.

    Returns
    -------
    list of Source
        A field without a template of its name has that as its error.

    Raises
    ------
    fieldprep.errors.UsageError
        If ``text`` makes no sense as a SOURCE, or a single template cannot be one.
    """
    found = find_sources([text])
    if len(found) == 1:
        missing = [path for path in found[0].paths if not split_extension(str(path))[0].exists()]
        if found[0].error or missing:
            raise UsageError(f"--template {found[0].error or f'{missing[0]}: no such file'}")
        return [replace(source, template=found[0]) for source in sources]
    named = {template.name: template for template in found}
    return [
        replace(source, template=named[source.name])
        if source.name in named
        else replace(source, error=source.error or f"{text}: none of its {len(found)} templates is named {source.name}")
        for source in sources
    ]


def _looked_up(found: Sequence[Source | _OnTheSky]) -> list[Source]:
    """All as sources; the surveys are asked once for all pieces of sky together."""
    wanted = [entry for entry in found if isinstance(entry, _OnTheSky)]
    if wanted:
        from fullfield.remotes import find_remotes  # noqa: PLC0415 -- files at hand need no client of a survey

        answers = iter(find_remotes([entry.text for entry in wanted]))
    out: list[Source] = []
    for entry in found:
        if isinstance(entry, Source):
            out.append(entry)
            continue
        answer = next(answers)
        if isinstance(answer, UsageError) and not entry.listed:
            raise answer
        if isinstance(answer, FullfieldError):
            out.append(Source(entry.name or entry.text, (Path(entry.text),), str(answer)))
        else:
            name = entry.name if len(answer) == 1 else None
            out += [Source(name or remote.name, (), remote=remote) for remote in answer]
    return out


def _joined_frames(sources: Iterable[Source]) -> list[Source]:
    """Frames of one SDSS field, named one by one as a shell does with ``frames/*.bz2``, are one field."""
    joined: dict[tuple[str, Path] | int, Source] = {}
    for i, source in enumerate(sources):
        first = source.paths[0] if len(source.paths) == 1 and not source.error else None
        field_id = sdss_id(first) if first and not first.is_dir() else None
        key = (field_id, first.parent) if first and field_id and source.name == field_id else i
        paths = joined[key].paths if key in joined else ()
        joined[key] = replace(source, paths=paths + tuple(path for path in source.paths if path not in paths))
    return list(joined.values())


def _expand(text: str) -> Sequence[Source | _OnTheSky]:
    path, _ = split_extension(text)
    if path.is_dir():
        return _expand_folder(path)
    if path.exists() or is_fits(path) or is_picture(path):
        if path.suffix.lower() in LIST_ENDINGS:
            return _expand_list(path)
        # a missing file is a failed field, not a usage error: the others of a list go on
        return [Source(field_name([path]), (Path(text),))]
    if survey_of(text) or parse_position(text) or _NAME.match(text):
        return [_OnTheSky(text)]
    return [Source(path.name or "source", (Path(text),), f"{text}: no such file or folder")]


def _expand_folder(folder: Path) -> list[Source]:
    """Fields in a folder: its own band files together, its pictures one by one, its subfolders likewise."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        return [Source(folder.name, (folder,), f"{folder}: cannot be read ({error.strerror})")]
    fits_files = [path for path in entries if path.is_file() and is_fits(path)]
    found = []
    if fits_files:
        ids = {sdss_id(path) for path in fits_files}
        if len(ids) > 1 and None not in ids:  # the frames of several SDSS fields in one folder
            found += [
                Source(field_id, tuple(path for path in fits_files if sdss_id(path) == field_id))
                for field_id in sorted(str(one) for one in ids)
            ]
        else:
            name = str(next(iter(ids))) if None not in ids else field_name([folder])
            found.append(Source(name, (folder,)))
    found += [Source(field_name([path]), (path,)) for path in entries if path.is_file() and is_picture(path)]
    for path in entries:
        # the output of an earlier run holds pictures too, and so does a training set
        ours = any((path / name).exists() for name in _OUTPUTS)
        if path.is_dir() and not path.name.startswith(".") and not ours:
            found += [source for source in _expand_folder(path) if not source.error]
    if not found:
        return [Source(folder.name, (folder,), f"{folder}: no FITS file and no picture in it")]
    return found


def _expand_list(path: Path) -> list[Source | _OnTheSky]:
    try:
        table = read_table(path)
    except InputError as error:
        raise UsageError(str(error)) from error
    if "source" not in table.columns:
        raise UsageError(f"{path}: a list of fields needs a column 'source'; it has {', '.join(table.columns)}")
    found: list[Source | _OnTheSky] = []
    for i, text in enumerate(table["source"]):
        if not isinstance(text, str) or not text.strip():
            found.append(Source(f"{path.stem}-{i + 1}", (path,), f"{path}: row {i + 1} names no source"))
            continue
        # a relative path is relative to the list, so that a list can travel with its fields
        beside = path.parent / text
        try:
            sources = _expand(str(beside) if split_extension(str(beside))[0].exists() else text)
        except UsageError as error:  # one row of a list that cannot be read is one failed field
            sources = [Source(text, (Path(text),), str(error))]
        name = table["name"].iloc[i] if "name" in table.columns else None
        if not isinstance(name, float | None) and len(sources) == 1:  # an empty cell is NaN
            sources = [replace(sources[0], name=str(name))]
        found += [replace(one, listed=True) if isinstance(one, _OnTheSky) else one for one in sources]
    return found


def _unique_names(sources: Iterable[Source], taken: Mapping[str, str]) -> list[Source]:
    """Sources with safe names; one whose name is another's gets a suffix from the hash of its full path."""
    given = list(sources)
    safe = [re.sub(r"[^\w.+-]", "_", source.name).lstrip(".") or "field" for source in given]
    earlier = {key: name for name, key in taken.items()}
    out = []
    for source, name in zip(given, safe, strict=True):
        unique = name
        if safe.count(name) > 1 or taken.get(name, source.key) != source.key:
            unique = f"{name}-{hashlib.sha256(source.key.encode()).hexdigest()[:8]}"
        # a field of an earlier run keeps its name, or it would be run again and listed twice
        out.append(replace(source, name=earlier.get(source.key, unique)))
    return out
