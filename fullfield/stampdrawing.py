"""Stamps as a classifier sees them, to look at: a picture of each, and of where a class is seen in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from fieldprep.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classifiers.preparing import FloatArray, Preparation
    from fieldprep.variants import Picture

PANEL_PX = 110  # side of a panel on the page, as nearly as whole pixels allow
GAP_PX = 1
DARKEST, BRIGHTEST = 0.5, 99.8  # percentiles of a panel that are black and white
LEAST_SPAN = {"noise": 0.5, "peak": 0.3, "unit": 0.02}  # between them, so that bare sky stays dark
HEAT = 0.6  # share of the colour where the map is highest


def stamp_rows(inputs: FloatArray, preparation: Preparation, like: npt.NDArray[Any]) -> list[list[Picture]]:
    """
    Panels of a prepared stamp.

    Parameters
    ----------
    inputs : 3D float32 `~numpy.ndarray`, shape (inputs, size, size)
        The stamp as the network takes it.
    preparation : Preparation
        How it was made.
    like : 3D `~numpy.ndarray`, shape (ny, nx, C)
        The stamp itself: one of one channel is one gray panel, one of 8 bits and three channels a panel in colour,
        others are a panel a channel.

    Returns
    -------
    list of list of 3D uint8 `~numpy.ndarray`, shape (size, size, 3)
        A row of panels for each scaling.
    """
    planes = inputs.reshape(len(preparation.scaling), preparation.channels, *inputs.shape[1:])
    rows = []
    for name, channels in zip(preparation.scaling, planes, strict=True):
        if like.shape[2] == 1:
            rows.append([_gray(channels[0], name)])
        elif like.shape[2] == 3 and like.dtype == np.uint8:
            rows.append([_stretched(np.moveaxis(channels, 0, 2), name)])
        else:
            rows.append([_gray(channel, name) for channel in channels])
    return rows


def with_heat(panels: Sequence[Picture], heat: FloatArray) -> list[Picture]:
    """
    Panels of a stamp with a map on them.

    Parameters
    ----------
    panels : sequence of 3D uint8 `~numpy.ndarray`, shape (size, size, 3)
        A row of `stamp_rows`.
    heat : 2D float32 `~numpy.ndarray`, shape (size, size)
        The map, from 0 to 1.

    Returns
    -------
    list of 3D uint8 `~numpy.ndarray`, shape (size, size, 3)
    """
    colour = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = HEAT * heat[..., None]
    return [
        np.asarray(np.rint((1 - share) * panel.mean(axis=2, keepdims=True) + share * colour), np.uint8)
        for panel in panels
    ]


def block(rows: Sequence[Sequence[Picture]]) -> tuple[bytes, tuple[int, int]]:
    """
    Panels as one PNG; rows of one panel each stand side by side.

    Parameters
    ----------
    rows : sequence of sequence of 3D uint8 `~numpy.ndarray`, shape (size, size, 3)
        Panels, as many in each row.

    Returns
    -------
    png : bytes
        The picture, a pixel of it a pixel of the stamps.
    size : (int, int)
        Width and height that it is to be shown at.

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be encoded.
    """
    if all(len(row) == 1 for row in rows):
        rows = [[panel for row in rows for panel in row]]
    side = len(rows[0][0])
    step = side + GAP_PX
    canvas = np.full((len(rows) * step - GAP_PX, len(rows[0]) * step - GAP_PX, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            canvas[i * step : i * step + side, j * step : j * step + side] = panel
    ok, encoded = cv2.imencode(".png", canvas[..., ::-1])
    if not ok:
        raise OutputError("the picture of a stamp cannot be encoded")
    zoom = max(1, round(PANEL_PX / side))
    return encoded.tobytes(), (zoom * canvas.shape[1], zoom * canvas.shape[0])


def _gray(values: FloatArray, scaling: str) -> Picture:
    return np.repeat(_stretched(values[..., None], scaling), 3, axis=2)


def _stretched(values: FloatArray, scaling: str) -> Picture:
    low, high = np.percentile(values, [DARKEST, BRIGHTEST])
    span = max(high - low, LEAST_SPAN[scaling])
    return np.asarray(np.rint(255 * np.clip((values - low) / span, 0, 1)), np.uint8)
