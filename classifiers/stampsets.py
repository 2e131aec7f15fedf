"""
Labelled stamps, read from whatever layout they come in.

- a table of labels (``labels.csv``) and images beside it: Galaxy Zoo's, ARIES's, the SDSS-II supernova survey's;
- what ``fullfield prepare --recipe cutouts`` writes, its float stamps where they are there, else its pictures;
- ``triplets.npz`` with ``alerts.csv``: science, template and difference of ZTF alerts;
- a folder of ZTF's Avro alerts, with a table of labels by ``candid`` or ``objectId``;
- Galaxy10's HDF5 files;
- Kaggle's Galaxy Zoo challenge, or any table with the votes for Galaxy Zoo 2's 37 answers, and its images.
"""

from __future__ import annotations

import gzip
import io
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.io import fits

from classifiers.galaxy10 import ENDINGS as GALAXY10
from classifiers.galaxy10 import read_galaxy10
from classifiers.pictures import Pictures
from classifiers.series import Series, objects_of, times_of
from classifiers.tasks import EITHER
from classifiers.votes import fractions_of, has_votes, leading
from fieldprep.catalogues import read_table
from fieldprep.errors import InputError, UsageError, one_line
from fieldprep.picturefile import PICTURE_ENDINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from classifiers.tasks import Task

Stamp = npt.NDArray[Any]

LABELS, ALERTS, TRIPLETS = "labels.csv", "alerts.csv", "triplets.npz"
TRIPLET = ("science", "template", "difference")
GROUPS = (
    "objectId",
    "object",
    "sky",
    "pointing",
    "field",
    "GalaxyID",
    "dr7objid",
    "OBJID",
    "iauname",
)  # what may not be split, best first
IMAGES = ("image", "name", "file", "filename", "GalaxyID", "dr7objid", "OBJID", "iauname", "id")
MOST_NAMED = 3  # of what is missing


@dataclass(frozen=True, eq=False)
class StampSet:
    """
    Labelled stamps.

    Parameters
    ----------
    stamps : sequence of N 3D `~numpy.ndarray`, shape (ny, nx, C), or of N `~classifiers.series.Series`
        Or one 4D array of them.
    labels : 1D str `~numpy.ndarray`, shape (N,)
        Labels as the files have them.
    groups : 1D str `~numpy.ndarray`, shape (N,)
        What may not stand on both sides of a split: the object, or the patch of sky.
    names : 1D str `~numpy.ndarray`, shape (N,)
        What each is called.
    rows : `~pandas.DataFrame`
        The table's other columns.
    """

    stamps: Sequence[Stamp | Series] | Stamp
    labels: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]
    rows: pd.DataFrame

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.stamps, self.labels, self.groups, self.names, self.rows)}
        if len(lengths) != 1:
            raise ValueError(f"stamps, labels, groups, names and rows must be of one length, got {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, chosen: npt.NDArray[Any]) -> StampSet:
        """Stamps by a bool mask or an index array."""
        index = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        stamps: Sequence[Stamp | Series] | Stamp
        if isinstance(self.stamps, np.ndarray):
            stamps = self.stamps[index]
        elif isinstance(self.stamps, Pictures):
            stamps = self.stamps.select(index)
        else:
            stamps = [self.stamps[int(i)] for i in index]
        return StampSet(
            stamps,
            self.labels[index],
            self.groups[index],
            self.names[index],
            self.rows.iloc[index].reset_index(drop=True),
        )

    def of_task(self, task: Task, *, either: bool = False) -> StampSet:
        """
        Stamps whose label is one of a task's, under the names of its classes; in series, where it takes several epochs.

        For a task of votes all stamps, under the leading answer of the first question.

        Parameters
        ----------
        task : Task
            The task.
        either : bool
            Those too whose label is several classes, under these joined by ``|``: to train on.

        Returns
        -------
        StampSet

        Raises
        ------
        fieldprep.errors.InputError
            If fewer than two classes are there, stamps cannot be put in series, or there are no votes.
        """
        if task.of_votes:
            return replace(self, labels=leading(fractions_of(self.rows)))
        given = [task.class_of(str(label)) for label in self.labels]
        sure = np.array([name is not None and EITHER not in name for name in given], np.bool_)
        kept = np.array([name is not None for name in given], np.bool_) if either else sure
        if len({name for name, of_one in zip(given, sure, strict=True) if of_one}) < 2:
            have = ", ".join(sorted(set(map(str, self.labels)))[:5]) or "none"
            raise InputError(
                f"labels of fewer than two classes of {task.name} ({', '.join(task.classes)}): "
                f"the stamps' labels are {have}; a task's [labels] says what they are"
            )
        of_class = np.array([name or "" for name in given], np.str_)
        chosen = replace(self, labels=of_class).select(kept)
        return chosen.in_series() if task.stamps.epochs > 1 else chosen

    def in_series(self) -> StampSet:
        """
        All stamps of an object as one series in time order.

        Returns
        -------
        StampSet
            A series an object, in the order in which objects come first, named for it; its group and its other columns
            are those of its latest epoch. It is itself where it is in series already.

        Raises
        ------
        fieldprep.errors.InputError
            If no column tells objects or times, or an object has two labels.
        """
        if len(self) and isinstance(self.stamps[0], Series):
            return self
        objects, times = objects_of(self.rows), times_of(self.rows)
        series: list[Series] = []
        latest: list[int] = []
        for name, found in pd.Series(range(len(self))).groupby(objects, sort=False):
            index = found.to_numpy()[np.argsort(times[found], kind="stable")]
            labels = sorted(set(map(str, self.labels[index])))
            if len(labels) > 1:
                raise InputError(
                    f"object {name}: its stamps are labelled {' and '.join(labels)}; a series has one label"
                )
            series.append(Series([np.asarray(self.stamps[int(i)]) for i in index], times[index]))
            latest.append(int(index[-1]))
        return replace(self.select(np.array(latest, np.int64)), stamps=series, names=objects[latest])


def read_stamps(
    path: Path,
    *,
    label: str = "label",
    group: str | None = None,
    images: Path | None = None,
    centre: float = 1.0,
) -> StampSet:
    """
    Read labelled stamps of any layout that the module names.

    Parameters
    ----------
    path : path
        A folder, a table of labels, a ``.npz`` of triplets, or a ``.h5`` of Galaxy10.
    label : str
        Column of the label. A table with the votes for all of Galaxy Zoo's answers needs none: the label is then the
        leading answer of the first question.
    group : str, optional
        Column of what may not be split; by default the first of `GROUPS` that is there, else each stamp is its own.
    images : path, optional
        Folder of the images, by default found beside the table.
    centre : float
        Share of the side of images that is kept about their middle; see `classifiers.tasks.Task`.

    Returns
    -------
    StampSet

    Raises
    ------
    fieldprep.errors.InputError
        If there are no labels, no stamps or none in common, or a file cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    folder = path if path.is_dir() else path.parent
    stamps: Sequence[Stamp] | Stamp
    if path.suffix in GALAXY10:
        stamps, table = read_galaxy10(path, centre=centre)
        names = table["name"].to_numpy(np.str_)
    elif path.suffix == ".npz" or (path.is_dir() and (path / TRIPLETS).is_file()):
        table = _labels(folder / ALERTS, label)
        stamps = _triplets(path if path.is_file() else path / TRIPLETS, len(table))
        names = table["candid" if "candid" in table.columns else table.columns[0]].astype(str).to_numpy(np.str_)
    elif path.is_dir() and (alerts := sorted(path.glob("*.avro"))):
        stamps, table, names = _of_alerts(alerts, _labels(folder / LABELS, label))
    else:
        table = _labels(_table_in(path) if path.is_dir() else path, label)
        stamps, names = _beside(table, folder, images, centre)
    if not len(table):
        raise InputError(f"{path}: no labelled stamp in it")
    column = group or next((name for name in GROUPS if name in table.columns), None)
    if column is not None and column not in table.columns:
        raise UsageError(f"no column {column} to tell what may not be split; there is {', '.join(table.columns)}")
    groups = np.asarray(names if column is None else table[column].astype(str).to_numpy(np.str_))
    labels = table[label].astype(str).to_numpy(np.str_)
    return StampSet(stamps, labels, groups, np.asarray(names), table.reset_index(drop=True))


def read_alert(path: Path) -> list[tuple[Stamp, dict[str, Any]]]:
    """
    Stamps and candidates of an Avro file of ZTF alerts.

    Parameters
    ----------
    path : path
        The ``.avro``.

    Returns
    -------
    list of (3D float32 `~numpy.ndarray`, dict)
        Science, template and difference, shape (ny, nx, 3), and ``objectId``, ``candid`` and the candidate's own
        entries.

    Raises
    ------
    fieldprep.errors.InputError
        If it is no such file.

    References
    ----------
    Masci et al. 2019, PASP 131, 018003, section 6.3: cutouts are FITS files compressed by gzip.
    """
    import fastavro  # noqa: PLC0415 -- of the train extra, and of alerts only

    try:
        with path.open("rb") as handle:
            records: list[Any] = list(fastavro.reader(handle))
        found = []
        for record in records:
            planes = [_cutout(record[f"cutout{kind.capitalize()}"]["stampData"]) for kind in TRIPLET]
            side = np.array([plane.shape for plane in planes]).min(axis=0)
            stamp = np.stack([plane[: side[0], : side[1]] for plane in planes], axis=-1)
            told = {"objectId": record["objectId"], "candid": str(record["candid"]), **(record.get("candidate") or {})}
            found.append((stamp, told | {"candid": str(record["candid"])}))
    except Exception as error:  # fastavro and zlib raise whatever a broken byte leads them to
        raise InputError(f"{path}: not a file of ZTF alerts ({one_line(error)})") from error
    return found


def _cutout(data: bytes) -> Stamp:
    unpacked = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy remarks on the headers of the survey
        with fits.open(io.BytesIO(unpacked)) as hdus:
            return np.asarray(hdus[0].data, np.float32)


def _labels(path: Path, label: str) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such table of labels")
    table = read_table(path)
    if label not in table.columns and has_votes(table.columns):
        try:
            return table.assign(**{label: leading(fractions_of(table))})
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    if label not in table.columns:
        raise InputError(f"{path}: no column {label} for the labels; it has {', '.join(map(str, table.columns))}")
    known = table[label].notna() & (table[label].astype(str) != "")
    return table[known].reset_index(drop=True)


def _table_in(folder: Path) -> Path:
    """Table of labels in a folder: ``labels.csv``, else the only CSV with Galaxy Zoo's votes, as Kaggle has it."""
    if (folder / LABELS).is_file():
        return folder / LABELS
    voted = [path for path in sorted(folder.glob("*.csv")) if has_votes(_header(path))]
    if len(voted) > 1:
        raise InputError(f"{folder}: votes in {', '.join(path.name for path in voted)}; name the one that is meant")
    return voted[0] if voted else folder / LABELS


def has_table(folder: Path) -> bool:
    """Whether a folder holds a table of labels or of Galaxy Zoo's votes."""
    return _table_in(folder).is_file()


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as handle:
            return [name.strip() for name in handle.readline().split(",")]
    except (OSError, UnicodeDecodeError):
        return []


def _triplets(path: Path, rows: int) -> Stamp:
    try:
        with path.open("rb") as handle, np.load(handle) as content:
            planes = [content[name] for name in TRIPLET]
    except Exception as error:
        raise InputError(f"{path}: no arrays {', '.join(TRIPLET)} to be read ({one_line(error)})") from error
    if any(plane.ndim != 3 or len(plane) != rows for plane in planes):
        raise InputError(f"{path}: {[plane.shape for plane in planes]} stamps for the {rows} labels of {ALERTS}")
    return np.stack(planes, axis=-1).astype(np.float32)


def _of_alerts(paths: Iterable[Path], labels: pd.DataFrame) -> tuple[list[Stamp], pd.DataFrame, npt.NDArray[np.str_]]:
    key = next((name for name in ("candid", "objectId") if name in labels.columns), None)
    if key is None:
        raise InputError(f"{LABELS}: no column candid or objectId to tell which alert a label is of")
    of_key = labels.assign(**{key: labels[key].astype(str)}).drop_duplicates(key).set_index(key)
    alerts = [alert for path in paths for alert in read_alert(path) if str(alert[1][key]) in of_key.index]
    extra = of_key.loc[[str(told[key]) for _, told in alerts]].reset_index(drop=True)
    table = pd.DataFrame([told for _, told in alerts])
    table = table.drop(columns=[name for name in extra.columns if name in table.columns]).join(extra)
    return [stamp for stamp, _ in alerts], table, table["candid"].to_numpy(np.str_) if len(table) else np.zeros(0, "U1")


def _beside(
    table: pd.DataFrame, folder: Path, images: Path | None, centre: float
) -> tuple[Sequence[Stamp], npt.NDArray[np.str_]]:
    """Stamps of a table's rows: floats that its ``stamp`` numbers, or images that it names; unread, where of votes."""
    if {"stamp", "field", "half"} <= set(table.columns):
        return _floats(table, folder / "stamps")
    columns = [*IMAGES, *(name for name in table.columns if str(name).startswith("image_"))]
    column = next((name for name in columns if name in table.columns), None)
    if column is None:
        raise InputError(f"the table of labels names no images: no column {', '.join(IMAGES)}")
    names = table[column].astype(str).to_numpy(np.str_)
    known = _files(images or (folder / "images" if (folder / "images").is_dir() else folder))
    paths = [known.get(str(name)) or known.get(Path(name).name) for name in names]
    missing = [str(name) for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        told = ", ".join(missing[:MOST_NAMED]) + (", ..." if len(missing) > MOST_NAMED else "")
        raise InputError(f"{images or folder}: no image for {len(missing)} of {len(names)} labels ({told})")
    pictures = Pictures([path for path in paths if path is not None], centre)
    return pictures if has_votes(table.columns) else pictures[:], names


def read_pictures(folder: Path, *, centre: float = 1.0) -> StampSet:
    """
    All images of a folder, which nothing is known of.

    Parameters
    ----------
    folder : path
        The folder, looked through with those in it.
    centre : float
        As of `read_stamps`.

    Returns
    -------
    StampSet
        In the order of their names, each its own group, with empty labels.

    Raises
    ------
    fieldprep.errors.InputError
        If there is none, or two have one name.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_ENDINGS)
    if not paths:
        raise InputError(f"{folder}: no image in it")
    twice = [name for name, count in Counter(path.stem for path in paths).items() if count > 1]
    if twice:
        raise InputError(f"{folder}: {len(twice)} names are those of several images ({', '.join(twice[:MOST_NAMED])})")
    names = np.array([path.stem for path in paths], np.str_)
    return StampSet(Pictures(paths, centre), np.full(len(paths), ""), names, names, pd.DataFrame({"GalaxyID": names}))


def _files(folder: Path) -> dict[str, Path]:
    """Images under a folder, by path in it, by name, and by name without its ending."""
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_ENDINGS):
        for name in (path.stem, path.name, str(path.relative_to(folder))):
            found.setdefault(name, path)
    twice = [name for name, count in Counter(path.name for path in set(found.values())).items() if count > 1]
    for name in twice:  # only its path tells which
        found.pop(name, None)
        found.pop(Path(name).stem, None)
    return found


def _floats(table: pd.DataFrame, folder: Path) -> tuple[list[Stamp], npt.NDArray[np.str_]]:
    stamps: list[Stamp] = [np.zeros(0)] * len(table)
    of_file = table["half"].astype(str) + "/" + table["field"].astype(str)
    for name, rows in of_file.groupby(of_file).groups.items():
        path = folder / f"{name}.npz"
        try:
            with path.open("rb") as handle, np.load(handle) as content:
                of_field = content["stamps"]
        except Exception as error:
            raise InputError(f"{path}: no stamps to be read ({one_line(error)})") from error
        for row in rows:
            stamps[int(row)] = of_field[int(table["stamp"].iloc[int(row)])]
    names = (table["field"].astype(str) + "/" + table["stamp"].astype(str)).to_numpy(np.str_)
    return stamps, names
