"""Catalogues of what is known to be in a field, and its objects as boxes on the field's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.table import Table

from fieldprep.boxes import clip_boxes, petrosian_boxes
from fieldprep.errors import InputError, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.wcs import WCS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

GALAXY, STAR = 3, 6  # SDSS's photometric types
DEFAULT_PIXEL_SCALE = 0.396  # SDSS's, for a catalogue on a field whose scale nobody knows


@dataclass(frozen=True, eq=False)
class Sources:
    """
    Objects of a catalogue on the pixels of one field.

    Parameters
    ----------
    x, y : 1D float64 `~numpy.ndarray`, shape (N,)
        Centres, 0-based pixels.
    xyxy : 2D float64 `~numpy.ndarray`, shape (N, 4)
        Boxes, clipped at the field's edge.
    galaxy : 1D bool `~numpy.ndarray`, shape (N,)
        True = galaxy, False = star or another point source.
    magnitude : 1D float64 `~numpy.ndarray`, shape (N,)
        r magnitude, NaN where the catalogue has none.
    ignore : 1D bool `~numpy.ndarray`, shape (N,)
        True = to be scored neither for nor against.
    """

    x: Floats
    y: Floats
    xyxy: Floats
    galaxy: Bools
    magnitude: Floats
    ignore: Bools

    def __post_init__(self) -> None:
        n = len(self.x)
        for name in ("y", "xyxy", "galaxy", "magnitude", "ignore"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} must have {n} rows as x, got {len(getattr(self, name))}")
        if self.xyxy.shape != (n, 4):
            raise ValueError(f"xyxy must be of shape ({n}, 4), got {self.xyxy.shape}")

    def __len__(self) -> int:
        return len(self.x)

    def select(self, chosen: Bools) -> Sources:
        """Sources where ``chosen``, bool of shape (N,), is True."""
        return Sources(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def read_catalogue(path: Path) -> pd.DataFrame:
    """
    Read a catalogue as a table: CSV, ECSV, FITS, VOTable or Parquet, by the file's ending.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    `~pandas.DataFrame`

    Raises
    ------
    fieldprep.errors.InputError
        If it is missing, cannot be read or has no rows' columns.
    """
    if not path.exists():
        raise InputError(f"{path}: no such catalogue")
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path)
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        table: pd.DataFrame = Table.read(path).to_pandas()
    except Exception as error:
        raise InputError(f"{path}: not a catalogue that can be read ({one_line(error)})") from error
    return table


def sources_on_field(
    table: pd.DataFrame, shape: tuple[int, int], *, wcs: WCS | None, pixel_scale: float | None, name: str = "catalogue"
) -> Sources:
    """
    Objects of a catalogue that lie on a field, with our boxes.

    Parameters
    ----------
    table : `~pandas.DataFrame`
        Columns ``ra``, ``dec`` (degrees) or ``x``, ``y`` (0-based pixels); ``petroRad_r`` (arcsec);
        optionally ``type`` (3 galaxy, 6 star; without it all are galaxies), ``axis_ratio`` (1),
        ``theta_deg`` (0, in pixel coordinates from +x towards +y), ``modelMag_r``, ``ignore`` (0).
    shape : (ny, nx)
        Shape of the field.
    wcs : `~astropy.wcs.WCS` or None
        WCS of the field; with it ``ra`` and ``dec`` place the objects, without it ``x`` and ``y``.
    pixel_scale : float or None
        Arcsec per pixel of the field; 0.396 if not known.
    name : str
        What to call the catalogue in an error.

    Returns
    -------
    Sources
        Those whose centre lies on the field.

    Raises
    ------
    fieldprep.errors.InputError
        If a needed column is missing or a column holds no numbers.
    """
    by_sky = wcs is not None and {"ra", "dec"} <= set(table.columns)
    needed = {"petroRad_r"} | (set() if by_sky else {"x", "y"})
    missing = sorted(needed - set(table.columns))
    if missing:
        raise InputError(f"{name}: no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    column = partial(_column, table, name)
    if by_sky and wcs is not None:
        x, y = wcs.world_to_pixel_values(column("ra"), column("dec"))
    else:
        x, y = column("x"), column("y")
    radius = column("petroRad_r") / (pixel_scale or DEFAULT_PIXEL_SCALE)
    boxes = petrosian_boxes(x, y, radius, column("axis_ratio", 1.0), column("theta_deg", 0.0))
    ny, nx = shape
    with np.errstate(invalid="ignore"):
        on_field = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5) & np.isfinite(boxes).all(axis=1)
    return Sources(
        x=x,
        y=y,
        xyxy=clip_boxes(boxes, shape),
        galaxy=column("type", GALAXY) == GALAXY,
        magnitude=column("modelMag_r", np.nan),
        ignore=np.nan_to_num(column("ignore", 0)) != 0,
    ).select(on_field)


def _column(table: pd.DataFrame, catalogue: str, name: str, default: float | None = None) -> Floats:
    if name not in table.columns and default is not None:
        return np.full(len(table), default, np.float64)
    try:
        return table[name].to_numpy(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{catalogue}: column {name} must hold numbers ({one_line(error)})") from error
