"""The sheet of galaxies that are likeliest to be given each of Galaxy Zoo's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from classifiers.galaxy_zoo_tree import ANSWERS, TREE
from fieldprep.errors import OutputError
from fullfield.drawing import FONT, INK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fieldprep.variants import Picture

    Floats = npt.NDArray[np.float64]

SHOWN = 8  # galaxies an answer
COLUMNS = 2  # of answers
PANEL_PX, GAP_PX, HEAD_PX, FOOT_PX, MARGIN_PX, TOP_PX = 96, 3, 20, 15, 16, 30
BACKGROUND = (34, 34, 34)
DIM = (165, 165, 165)


def answer_sheet(stamps: Sequence[Any] | npt.NDArray[Any], fractions: Floats) -> Picture:
    """
    Picture of the galaxies with the highest fraction of each answer.

    Parameters
    ----------
    stamps : sequence of N 3D `~numpy.ndarray`, shape (ny, nx, C)
        What was looked at, red first; those shown are read, each once.
    fractions : 2D float64 `~numpy.ndarray`, shape (N, 37)
        Vote fractions, columns as `ANSWERS`.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        Blue, green, red: for each answer `SHOWN` galaxies, by falling fraction, which stands under each.
    """
    best = {k: np.argsort(-fractions[:, k], kind="stable")[:SHOWN] for k in range(len(ANSWERS))}
    panels = {i: _panel(np.asarray(stamps[i])) for i in sorted({int(i) for shown in best.values() for i in shown})}
    height, width = HEAD_PX + PANEL_PX + FOOT_PX, SHOWN * (PANEL_PX + GAP_PX) + MARGIN_PX
    rows = -(-len(ANSWERS) // COLUMNS)
    sheet = np.full((TOP_PX + rows * height + MARGIN_PX, COLUMNS * width + MARGIN_PX, 3), BACKGROUND, np.uint8)
    title = f"of {len(fractions)} galaxies those with the highest vote fraction of each answer, as predicted"
    cv2.putText(sheet, title, (MARGIN_PX, 20), FONT, 0.5, INK, 1, cv2.LINE_AA)
    words = [f"{question.text} {name.replace('_', ' ')}" for question in TREE for name in question.answers]
    for k, (answer, text) in enumerate(zip(ANSWERS, words, strict=True)):
        left, top = MARGIN_PX + k // rows * width, TOP_PX + k % rows * height
        cv2.putText(sheet, f"{answer}  {text}", (left, top + HEAD_PX - 6), FONT, 0.42, INK, 1, cv2.LINE_AA)
        for place, i in enumerate(best[k].tolist()):
            x, y = left + place * (PANEL_PX + GAP_PX), top + HEAD_PX
            sheet[y : y + PANEL_PX, x : x + PANEL_PX] = panels[i]
            at = (x + 2, y + PANEL_PX + FOOT_PX - 4)
            cv2.putText(sheet, f"{fractions[i, k]:.2f}", at, FONT, 0.36, DIM, 1, cv2.LINE_AA)
    return sheet


def encoded(sheet: Picture) -> bytes:
    """
    Picture as a PNG.

    Parameters
    ----------
    sheet : 3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        Blue, green, red.

    Returns
    -------
    bytes

    Raises
    ------
    fieldprep.errors.OutputError
        If it cannot be encoded.
    """
    ok, content = cv2.imencode(".png", sheet)
    if not ok:
        raise OutputError("the sheet of galaxies cannot be encoded")
    return content.tobytes()


def _panel(stamp: npt.NDArray[Any]) -> Picture:
    values = np.repeat(stamp, 3, axis=2) if stamp.shape[2] == 1 else stamp[..., 2::-1]
    if values.dtype != np.uint8:  # floats are shares of white, as the network takes them
        most = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
        values = np.rint(255 * np.clip(np.nan_to_num(values.astype(np.float64)) / most, 0, 1)).astype(np.uint8)
    how = cv2.INTER_AREA if min(values.shape[:2]) >= PANEL_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(values), (PANEL_PX, PANEL_PX), interpolation=how), np.uint8)
