"""The sheet of candidates of a change: science, template and difference of each, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from fullfield.classification import DIFFERENCE
from fullfield.drawing import FONT, INK

if TYPE_CHECKING:
    from astropy.table import Table

    from fullfield.transients import Changes

    Picture = npt.NDArray[np.uint8]

SHOWN = 40
ACROSS = 4
PANEL_PX, GAP_PX, LINE_PX, TOP_PX = 126, 2, 16, 26
SOFT = 3.0  # in noise: light up to it is shown as it is, more than that ever less
BACKGROUND = (34, 34, 34)
DIM = (150, 150, 150)


def candidate_sheet(changes: Changes) -> Picture:
    """
    Picture of the candidates that are likeliest real.

    Parameters
    ----------
    changes : Changes
        What has changed.

    Returns
    -------
    3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
        Blue, green, red. Science and template of a candidate have one stretch, the difference is gray where nothing has
        changed. `SHOWN` are shown, by falling probability of the first class, else by signal to noise, the usable ones
        first; the title says of how many.
    """
    table = changes.table
    order = _likeliest(table)
    shown = order[:SHOWN]
    width = ACROSS * (3 * (PANEL_PX + GAP_PX) + 4 * GAP_PX)
    height = TOP_PX + max(1, -(-len(shown) // ACROSS)) * (PANEL_PX + 2 * LINE_PX + 2 * GAP_PX)
    sheet = np.full((height, width, 3), BACKGROUND, np.uint8)
    which = f"{len(shown)} of {len(order)} candidates" if len(shown) < len(order) else f"{len(order)} candidates"
    title = f"{which}: science, template, difference" if len(order) else "no candidate of a change"
    cv2.putText(sheet, title, (6, 18), FONT, 0.5, INK, 1, cv2.LINE_AA)
    for place, i in enumerate(shown.tolist()):
        x0 = place % ACROSS * (3 * (PANEL_PX + GAP_PX) + 4 * GAP_PX)
        y0 = TOP_PX + place // ACROSS * (PANEL_PX + 2 * LINE_PX + 2 * GAP_PX)
        for k, panel in enumerate(_panels(changes.stamps[i])):
            left = x0 + k * (PANEL_PX + GAP_PX)
            sheet[y0 : y0 + PANEL_PX, left : left + PANEL_PX] = panel[..., None]
        for line, (text, colour) in enumerate(zip(_told(table, i), (INK, DIM), strict=True)):
            at = (x0 + 2, y0 + PANEL_PX + (line + 1) * LINE_PX - 4)
            cv2.putText(sheet, text, at, FONT, 0.38, colour, 1, cv2.LINE_AA)
    return sheet


def _likeliest(table: Table) -> npt.NDArray[np.int64]:
    """Rows by falling probability of the first class; by signal to noise where there is none."""
    names = [name for name in table.colnames if name.startswith(f"{DIFFERENCE}_p_")]
    strength = np.asarray(table[names[0] if names else "signal_to_noise"], np.float64)
    return np.lexsort([-np.nan_to_num(strength, nan=-1.0), np.asarray(table["unusable"])])


def _told(table: Table, i: int) -> tuple[str, str]:
    row = table[i]
    name, probability = f"{DIFFERENCE}_class", f"{DIFFERENCE}_probability"
    given = f"  {row[name]} {row[probability]:.2f}" if name in table.colnames and row[name] else ""
    unusable = "  unusable pixels" if row["unusable"] else ""
    inside = f"  in {row['detection']}" if row["detection"] else ""
    first = f"{row['id']}{given}  S/N {row['signal_to_noise']:.1f} {'+' if row['flux'] > 0 else '-'}"
    return first, f"x {row['x']:.0f} y {row['y']:.0f}{inside}{unusable}"


def _panels(stamp: npt.NDArray[np.float32]) -> list[Picture]:
    light, change = stamp[..., :2], stamp[..., 2]
    finite = light[np.isfinite(light)]
    low, middle, high = np.percentile(finite, [16, 50, 84]) if finite.size else (0.0, 0.5, 1.0)
    soft = np.arcsinh((np.nan_to_num(light, nan=low) - middle) / max(SOFT * (high - low) / 2, 1e-12))
    darkest, brightest = float(np.arcsinh(-2 / SOFT)), max(float(soft.max()), 1.0)
    largest = float(np.nanmax(np.abs(change))) if np.isfinite(change).any() else 1.0
    scaled = [(soft[..., k] - darkest) / (brightest - darkest) for k in range(2)]
    tinted = 0.5 + 0.5 * np.nan_to_num(change) / max(largest, 1e-12)
    return [_enlarged(np.clip(one, 0, 1)) for one in (*scaled, tinted)]


def _enlarged(values: npt.NDArray[np.float32]) -> Picture:
    # rows as DS9 shows them, the first at the bottom
    shown = cv2.resize(values[::-1].astype(np.float32), (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.rint(255 * shown), np.uint8)
