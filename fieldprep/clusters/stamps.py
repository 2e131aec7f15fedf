"""Pictures of a cluster's objects: squares cut out of a field, in any of its bands, turned where asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldprep.cutouts import cutouts
from fieldprep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fieldprep.field import Field, FloatImage

SIZE = 200  # pixels of Pruitt and Romanowsky's pictures


@dataclass(frozen=True, eq=False)
class ClusterStamps:
    """
    Pictures of objects on a field.

    Parameters
    ----------
    stamps : 4D float32 `~numpy.ndarray`, shape (N, size, size, bands)
        Flux in the unit of the field, NaN where a band has none.
    covered : 1D float64 `~numpy.ndarray`, shape (N,)
        Share of each that has data.
    rows : `~pandas.DataFrame`, N rows
        The objects whose centres lie on the field, with ``x`` and ``y``, its 0-based pixels.
    off_field : int
        How many others there were.
    """

    stamps: FloatImage
    covered: npt.NDArray[np.float64]
    rows: pd.DataFrame
    off_field: int

    def __len__(self) -> int:
        return len(self.stamps)


def cluster_stamps(
    field: Field, rows: pd.DataFrame, bands: Sequence[str], *, size: int = SIZE, width_arcsec: float | None = None
) -> ClusterStamps:
    """
    Cut objects out of a field.

    Parameters
    ----------
    field : Field
        The field.
    rows : `~pandas.DataFrame`
        With ``ra`` and ``dec`` (ICRS degrees), one row a picture; if it has ``angle_deg``, as
        `fieldprep.clusters.parts.turned_copies` gives it, pictures are turned so far from +x towards +y.
    bands : sequence of str
        Bands to cut, in this order; of SDSS any of g, r, i and z that the field has.
    size : int
        Side of a picture in pixels; 200 in three bands are half a megabyte, so many are better cut in batches.
    width_arcsec : float, optional
        Its side on the sky; by default a pixel is one of the field.

    Returns
    -------
    ClusterStamps

    Raises
    ------
    fieldprep.errors.InputError
        If the field lacks a band, its WCS or, where a width is given, its pixel scale.
    """
    lacking = [band for band in bands if band not in field.bands]
    if lacking or not bands:
        what = f"no band {', '.join(lacking)} to cut" if lacking else "no band is asked for"
        raise InputError(f"{field.name}: {what}; it has {', '.join(field.bands)}")
    if field.wcs is None:
        raise InputError(f"{field.name}: it has no WCS, so objects cannot be placed on it")
    if width_arcsec is not None and not field.pixel_scale:
        raise InputError(f"{field.name}: its pixel scale is not known, so a width in arcsec cannot be cut")
    width = float(size) if width_arcsec is None else width_arcsec / (field.pixel_scale or np.nan)
    x, y = _pixels(field, rows)
    ny, nx = field.shape
    on = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    kept = rows.assign(x=x, y=y)[on].reset_index(drop=True)
    image = np.stack([field.bands[band] for band in bands], axis=-1)
    angles = kept["angle_deg"].to_numpy(np.float64) if "angle_deg" in kept.columns else None
    cut = cutouts(image, x[on], y[on], np.full(len(kept), width), size, conserve_flux=True, angles_deg=angles)
    return ClusterStamps(np.asarray(cut.stamps, np.float32), cut.covered, kept, int((~on).sum()))


def _pixels(field: Field, rows: pd.DataFrame) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Pixels of objects, NaN where the field's projection does not see them."""
    ra, dec = (rows[name].to_numpy(np.float64) for name in ("ra", "dec"))
    if not len(ra) or field.wcs is None:
        return np.zeros(len(ra)), np.zeros(len(ra))
    x, y = field.wcs.world_to_pixel_values(ra, dec)
    return np.asarray(x, np.float64), np.asarray(y, np.float64)
