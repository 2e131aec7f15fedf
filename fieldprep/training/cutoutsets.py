"""Sets of labelled stamps for the classifiers, cut out of fields by their catalogues."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldprep.cutouts import cutouts
from fieldprep.errors import InputError, OutputError, UsageError
from fieldprep.training.recipes import ASTROCV_CLASSES, astrocv_classes
from fieldprep.training.records import OBJECTS_FILE, FieldRecord, join_objects, link, object_columns
from fieldprep.training.splits import footprint_of
from fieldprep.variants import picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fieldprep.catalogues import Sources
    from fieldprep.field import Field

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[Any]

LABELS_FILE = "labels.csv"
R90_OF_PETROSIAN = 1.06  # of an exponential disc (1.37 of a de Vaucouleurs profile), for catalogues without the former
PART = "part"  # column that shares objects out
AT_ONCE = 64  # stamps in memory


@dataclass(frozen=True)
class CutoutRecipe:
    """
    How fields and their catalogues become a set of labelled stamps.

    Parameters
    ----------
    name : str
        What to ask for it by.
    variants : tuple of str
        Pictures that stamps are cut from.
    label : str
        Column whose text is the label; ``type``: galaxy or star; ``votes``: AstroCV's class.
    size : str
        Width of a stamp: ``petrosian:4.24`` (in radii that hold 90 % of the Petrosian flux, ``petroR90_r``; the
        central half of a Galaxy Zoo 2 picture is 4.24 of them wide, the whole 8.48) or ``arcsec:20``.
    pixels : int
        Side of a stamp in pixels.
    floats : bool
        Whether to write the flux of the bands too, as ``stamps/HALF/FIELD.npz``.
    keep : tuple of str
        Further columns of the catalogue that ``labels.csv`` has. With ``part`` among them the objects are shared out
        already, and the fields are not.
    faintest : float, optional
        Objects fainter than this r magnitude are left out; those without a magnitude are not.

    References
    ----------
    Willett et al. 2013, MNRAS 435, 2835, section 2.1: 424 pixels of 0.02 petroR90_r.
    """

    name: str = "cutouts"
    variants: tuple[str, ...] = ("N",)
    label: str = "type"
    size: str = "petrosian:4.24"
    pixels: int = 128
    floats: bool = False
    keep: tuple[str, ...] = ()
    faintest: float | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(petrosian|arcsec):\d*\.?\d+", self.size) or self.width <= 0:
            raise UsageError(f"--size wants petrosian:FACTOR or arcsec:WIDTH, as in petrosian:4.24; got {self.size}")

    @property
    def shared_out(self) -> bool:
        """Whether the catalogue says which objects are trained on."""
        return PART in self.keep

    @property
    def width(self) -> float:
        """Width in arcsec or in radii."""
        return float(self.size.partition(":")[2])


def write_cutouts(field: Field, sources: Sources, recipe: CutoutRecipe, folder: Path) -> FieldRecord:
    """
    Cut the labelled objects out of a field.

    Parameters
    ----------
    field : Field
        The field.
    sources : Sources
        What is in it.
    recipe : CutoutRecipe
        How.
    folder : path
        Where to write ``LABEL/FIELD-VARIANT-OBJID.png``, ``objects.parquet`` (a row for each), ``record.json``, and
        ``stamps.npz`` if asked for.

    Returns
    -------
    FieldRecord
        Its counts tell what became of every row of the catalogue on the field.

    Raises
    ------
    fieldprep.errors.InputError
        If the catalogue lacks the label's column or one to keep, or the field its pixel scale.
    fieldprep.errors.OutputError
        If a picture cannot be written.
    """
    if not field.pixel_scale:
        raise InputError(f"{field.name}: its pixel scale is not known, so a width in arcsec cannot be cut")
    labels, widths = labels_of(sources, recipe.label), _widths(sources, recipe, field)
    chosen, counts = _chosen(sources, recipe, labels, widths)
    lacking = [name for name in recipe.keep if name not in sources.rows.columns]
    if lacking:
        have = ", ".join(map(str, sources.rows.columns))
        raise InputError(f"{field.name}: its catalogue has no column {', '.join(lacking)} to keep; it has {have}")
    kept, texts, arcsec = sources.select(chosen), labels[chosen], widths[chosen]
    table = pd.DataFrame(
        {
            "field": field.name,
            **object_columns(field, kept),
            "label": texts,
            "class_name": texts,
            "width_arcsec": arcsec,
            "scale_arcsec": arcsec / recipe.pixels,
            "radius_px": kept.radius,
            "ignore": kept.ignore,
            **{name: kept.rows[name].to_numpy() for name in recipe.keep},
        }
    )
    names = _file_names(table)
    table["covered"] = _covered(field, table, recipe)
    _write_pictures(field, table, names, recipe, folder)
    if recipe.floats:
        bands = np.stack(list(field.bands.values()), axis=-1)
        cut = cutouts(bands, *_place(field, table), recipe.pixels, conserve_flux=True)
        np.savez(folder / "stamps.npz", stamps=cut.stamps, bands=list(field.bands), objid=table["objid"].to_numpy(str))
        table["stamp"] = np.arange(len(table))
    for variant in recipe.variants:
        table[f"image_{variant}"] = [_path(field.name, variant, *row) for row in zip(texts, names, strict=True)]
    table.to_parquet(folder / OBJECTS_FILE)
    counts["partly_covered"] = int((table["covered"] < 1).sum())
    left_out = "" if len(table) else f"no object with a {recipe.label} and a size"
    estimated = recipe.size.startswith("petrosian") and "petroR90_r" not in sources.rows.columns
    notes = [f"no petroR90_r: {R90_OF_PETROSIAN} petroRad_r taken for it, as of an exponential disc"] * estimated
    record = FieldRecord(field.name, footprint_of(field), counts, left_out=left_out, about={"taken": notes})
    record.write(folder)
    return record


def join_cutouts(fields: Sequence[tuple[Path, str]], out: Path, recipe: CutoutRecipe) -> dict[str, int]:
    """
    Make one set of the stamps of many fields.

    Parameters
    ----------
    fields : sequence of (path, {'train', 'val'})
        Folders that `write_cutouts` wrote, and the half each belongs to.
    out : path
        The folder to write: ``images/{train,val}/LABEL/*.png``, ``stamps/{train,val}/FIELD.npz`` if asked for, and
        ``labels.csv`` with a row for each object.
    recipe : CutoutRecipe
        What they were written by.

    Returns
    -------
    dict of str to int
        Stamps of each half; a variant counts once.
    """
    counts = dict.fromkeys(("train_stamps", "val_stamps"), 0)
    for folder, half in fields:
        table = pd.read_parquet(folder / OBJECTS_FILE)
        for path in pd.unique(table[[f"image_{variant}" for variant in recipe.variants]].to_numpy().ravel()):
            target = out / "images" / half / path
            target.parent.mkdir(parents=True, exist_ok=True)
            link(folder / path, target)
        if recipe.floats:
            target = out / "stamps" / half / f"{FieldRecord.read(folder).name}.npz"
            target.parent.mkdir(parents=True, exist_ok=True)
            link(folder / "stamps.npz", target)
        counts[f"{half}_stamps"] += len(table)
    join_objects(fields, out).drop(columns=["class_name", "ignore"]).to_csv(out / LABELS_FILE, index=False)
    return counts


def labels_of(sources: Sources, label: str) -> Texts:
    """
    Label of each object.

    Parameters
    ----------
    sources : Sources, N of them
        The objects.
    label : str
        A column of the catalogue, ``type`` (galaxy or star) or ``votes`` (AstroCV's class).

    Returns
    -------
    1D object `~numpy.ndarray`, shape (N,)
        Text; empty where there is none.

    Raises
    ------
    fieldprep.errors.InputError
        If the catalogue has no such column.
    """
    if label == "type":
        return np.where(sources.galaxy, "galaxy", "star").astype(object)
    if label == "votes":
        class_id, _, voted = astrocv_classes(sources.rows)
        return np.where(voted, np.array(ASTROCV_CLASSES)[class_id], "").astype(object)
    if label not in sources.rows.columns:
        raise InputError(f"no column {label} for the label; it has {', '.join(map(str, sources.rows.columns))}")
    column = sources.rows[label]
    return np.where(column.notna(), column.astype(str), "").astype(object)


def _widths(sources: Sources, recipe: CutoutRecipe, field: Field) -> Floats:
    """Width of each object's stamp in arcsec."""
    if recipe.size.startswith("arcsec"):
        return np.full(len(sources), recipe.width)
    estimate = R90_OF_PETROSIAN * sources.radius * (field.pixel_scale or np.nan)
    if "petroR90_r" not in sources.rows.columns:
        return recipe.width * estimate
    given = sources.rows["petroR90_r"].to_numpy(np.float64)
    return recipe.width * np.where(np.isfinite(given), given, estimate)


def _chosen(
    sources: Sources, recipe: CutoutRecipe, labels: Texts, widths: Floats
) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
    left = np.ones(len(sources), np.bool_)
    counts = {"objects": len(sources)}
    with np.errstate(invalid="ignore"):
        reasons = {
            "ignored": sources.ignore,
            "fainter": sources.magnitude > (recipe.faintest or np.inf),
            "without_label": labels == "",
            "without_size": ~(np.isfinite(widths) & (widths > 0)),
        }
    for name, reason in reasons.items():
        counts[name] = int((left & reason).sum())
        left &= ~reason
    return left, counts | {"labelled": int(left.sum())}


def _file_names(table: pd.DataFrame) -> list[str]:
    """Unique names that are fit for files: the object's id, else its number in the field."""
    names = [re.sub(r"[^\w.+-]", "_", text) for text in table["objid"]]
    return [name if name and names.count(name) == 1 else f"{name or 'object'}_{i + 1}" for i, name in enumerate(names)]


def _path(field: str, variant: str, label: str, name: str) -> str:
    safe = re.sub(r"[^\w+-]", "_", label)
    return f"{safe}/{field}-{variant}-{name}.png"


def _write_pictures(
    field: Field, table: pd.DataFrame, names: Sequence[str], recipe: CutoutRecipe, folder: Path
) -> None:
    for variant in recipe.variants:
        whole = picture(field, variant)
        for start in range(0, len(table), AT_ONCE):
            part = table.iloc[start : start + AT_ONCE]
            stamps = cutouts(whole, *_place(field, part), recipe.pixels).stamps
            for stamp, label, name in zip(stamps, part["label"], names[start : start + AT_ONCE], strict=True):
                path = folder / _path(field.name, variant, label, name)
                path.parent.mkdir(exist_ok=True)
                if not cv2.imwrite(str(path), np.ascontiguousarray(stamp[..., ::-1])):
                    raise OutputError(f"{path}: cannot be written")


def _covered(field: Field, table: pd.DataFrame, recipe: CutoutRecipe) -> Floats:
    """Share of each stamp for which all bands have data."""
    gaps = np.zeros(field.shape, np.float32)
    for image in field.bands.values():
        gaps[~np.isfinite(image)] = np.nan
    parts = (table.iloc[start : start + AT_ONCE] for start in range(0, len(table), AT_ONCE))
    shares = [cutouts(gaps, *_place(field, part), recipe.pixels).covered for part in parts]
    return np.concatenate(shares) if shares else np.zeros(0)


def _place(field: Field, table: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Centres and widths in pixels."""
    return (
        table["x"].to_numpy(np.float64),
        table["y"].to_numpy(np.float64),
        table["width_arcsec"].to_numpy(np.float64) / (field.pixel_scale or np.nan),
    )
