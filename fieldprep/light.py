"""The light of a field in all its bands together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fieldprep.field import Field, FloatImage

    Levels = Mapping[str, tuple[float, float]]


def signal_to_noise(field: Field, levels: Levels | None = None) -> FloatImage:
    """
    Sum of the bands, each over its sky noise.

    Parameters
    ----------
    field : Field
        The field, or a window of a mosaic.
    levels : mapping of str to (float, float), optional
        Sky and noise by band; the field's own if not given.

    Returns
    -------
    2D float32 `~numpy.ndarray`, shape (ny, nx)
        Sky at 0; 0 where a band has no data.
    """
    total = np.zeros(field.shape, np.float32)
    for band, (level, noise) in (levels or field.sky_levels).items():
        total += (field.bands[band] - np.float32(level)) / np.float32(noise)
    return np.nan_to_num(total, copy=False)
