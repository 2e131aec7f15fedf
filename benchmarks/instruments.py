"""
The detector on HST and JWST pictures and other cameras' fields, at the scale and level it chooses by itself.

    python benchmarks/instruments.py DATA --weights FILE [FILE FILE] --out DIR [--zooms 0.5,0.7,...] [--bands]

DATA holds ``hst_jwst/``. With three weights each picture is looked at with those of the fold that was not trained on
it (`folds.PICTURES`); with one, all are looked at with it. ``--zooms`` adds scores at given zooms, and how far the
chosen one falls short of the best; ``--bands`` adds each channel alone and channels in other orders. Writes
``instruments.json`` and a picture for each image: found bright references green, missed ones blue, detections with
nothing under them red, others grey.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from folds import PICTURES

from detector import Detector
from detector.instruments import detect_at_scale
from detector.pictures import LEAST_MATCH_PX, judge, read_reference
from fieldprep import Field
from fieldprep.scale import zoom_factor
from fieldprep.variants import picture

if TYPE_CHECKING:
    from detector.detections import Detections
    from detector.pictures import Reference

PURITY = 0.85  # the target's
WITHOUT_REFERENCE = ("jwst_smacs0723.jpg", "cfhtls_w3", "legacy_survey", "hst_xdf_small")
GREEN, BLUE, RED, GREY = (60, 220, 60), (255, 130, 40), (60, 60, 255), (150, 150, 150)  # B, G, R
ORDERS = ("BGR", "GRB")  # what serves as R, G, B


def main() -> None:
    """Detect, score, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--zooms", default="")
    parser.add_argument("--bands", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    zooms = [float(zoom) for zoom in arguments.zooms.split(",") if zoom]
    rows = []
    for fold, names in enumerate((*PICTURES, WITHOUT_REFERENCE)):
        detector = Detector.load(arguments.weights[min(fold, len(arguments.weights) - 1)])
        for name in names:
            if arguments.only and name not in arguments.only:
                continue
            row = _picture(detector, arguments.data / "hst_jwst" / name, arguments.out, zooms, bands=arguments.bands)
            rows.append(row)
            print(json.dumps(row), flush=True)
    (arguments.out / "instruments.json").write_text(json.dumps(rows, indent=1))


def _picture(detector: Detector, path: Path, out: Path, zooms: list[float], *, bands: bool) -> dict[str, Any]:
    """Scores of one image by its own zoom and by given ones; its picture is drawn."""
    field = Field.read(path)
    beside = path.parent / f"{path.stem}.reference.csv"
    reference = read_reference(beside) if beside.exists() else None
    zoom = zoom_factor(field)
    found = detect_at_scale(detector, field, zoom=zoom)
    row: dict[str, Any] = {"picture": path.name, "zoom": round(zoom, 3), "detections": len(found)}
    threshold = detector.card.confidence
    if reference is not None:
        row |= working_point(found, reference)
        row["at_default"] = at_threshold(found, reference, threshold)
        threshold = row["threshold"]
        others = {z: working_point(detect_at_scale(detector, field, zoom=z), reference)["recall"] for z in zooms}
        row["by_zoom"] = others
        if others:
            row["short_of_best"] = round(max(0.0, max(others.values()) - row["recall"]), 3)
    if bands and set(field.bands) == {"R", "G", "B"}:
        row["bands"] = _other_bands(detector, field, found, reference, threshold)
    rgb = picture(field, "N") if reference is None else np.stack([field.bands[b] for b in "RGB"], axis=-1)
    drawn = draw(rgb, found.select(found.confidence >= threshold), reference)
    cv2.imwrite(str(out / f"{path.stem}.png"), drawn)
    return row


def working_point(found: Detections, reference: Reference, purity: float = PURITY) -> dict[str, Any]:
    """Greatest recall of the bright references at this purity or more, whatever the threshold, and that threshold."""
    found = found.sorted()
    _, verdict = judge(found.centres, reference)
    wanted = reference.bright & ~reference.ignore
    near = np.linalg.norm(found.centres[:, None] - reference.xy[None, wanted], axis=2) <= reference.reach[wanted]
    first = np.sort(np.where(near.any(axis=0), near.argmax(axis=0), len(found))) if len(found) else np.zeros(0)
    true, false = np.cumsum(verdict == 1), np.cumsum(verdict == 0)
    pure = np.flatnonzero(true >= purity * (true + false))
    n = int(wanted.sum())
    if not len(pure):
        return {"recall": 0.0, "n": n, "purity": 0.0, "threshold": 1.0}
    last = pure[-1]
    recall = int((first <= last).sum()) / n
    share = float(true[last] / max(true[last] + false[last], 1))
    return {"recall": round(recall, 3), "n": n, "purity": round(share, 3), "threshold": float(found.confidence[last])}


def at_threshold(found: Detections, reference: Reference, threshold: float) -> list[float]:
    """Recall and purity at one threshold."""
    kept = found.select(found.confidence >= threshold)
    is_found, verdict = judge(kept.centres, reference)
    wanted = reference.bright & ~reference.ignore
    true, false = int((verdict == 1).sum()), int((verdict == 0).sum())
    return [round(float(is_found[wanted].mean()), 3), round(true / max(true + false, 1), 3)]


def _other_bands(
    detector: Detector, field: Field, found: Detections, reference: Reference | None, threshold: float
) -> dict[str, Any]:
    """Each channel alone as grey, and channels in other orders: share of the detections kept, and the scores."""
    kept = found.select(found.confidence >= threshold)
    fields = {band: replace(field, bands={"gray": field.bands[band]}) for band in "RGB"}
    for order in ORDERS:
        fields[order] = replace(field, bands=dict(zip("RGB", (field.bands[b] for b in order), strict=True)))
    rows = {}
    for name, other in fields.items():
        again = detect_at_scale(detector, other)
        row: dict[str, Any] = {"zoom": round(zoom_factor(other), 3)}
        row["share_kept"] = round(share_found(kept, again.select(again.confidence >= threshold)), 3)
        if reference is not None:
            row |= working_point(again, reference)
        rows[name] = row
    return rows


def share_found(wanted: Detections, found: Detections) -> float:
    """Share of detections that lie within max(4 px, half the shorter side) of a detection of another run."""
    if not len(wanted) or not len(found):
        return float(not len(wanted))
    reach = np.maximum(LEAST_MATCH_PX, (wanted.xyxy[:, 2:] - wanted.xyxy[:, :2]).min(axis=1) / 2)
    nearest = np.linalg.norm(wanted.centres[:, None] - found.centres[None], axis=2).min(axis=1)
    return float((nearest <= reach).mean())


def draw(rgb: np.ndarray, found: Detections, reference: Reference | None) -> np.ndarray:
    """Picture with boxes, for OpenCV (B, G, R)."""
    drawn = np.ascontiguousarray(np.clip(rgb[..., ::-1], 0, 255).astype(np.uint8))
    if reference is None:
        _boxes(drawn, found.xyxy, GREEN)
        return drawn
    is_found, verdict = judge(found.centres, reference)
    wanted = reference.bright & ~reference.ignore
    offset = np.linalg.norm(found.centres[:, None] - reference.xy[None, wanted], axis=2)
    bright = (offset <= reference.reach[wanted]).any(axis=1)
    for chosen, colour in ((~bright & (verdict != 0), GREY), (bright, GREEN), (~bright & (verdict == 0), RED)):
        _boxes(drawn, found.xyxy[chosen], colour)
    missed = reference.xy[wanted & ~is_found]
    _boxes(drawn, np.concatenate([missed - 8, missed + 8], axis=1), BLUE)
    return drawn


def _boxes(drawn: np.ndarray, xyxy: np.ndarray, colour: tuple[int, int, int]) -> None:
    for x0, y0, x1, y1 in np.rint(xyxy).astype(int).tolist():
        cv2.rectangle(drawn, (x0, y0), (x1, y1), colour, 1)


if __name__ == "__main__":
    main()
