"""
A mosaic of any size, made of a field whose contents are known: memory, time, what is found, lost and found twice.

    python benchmarks/mosaic.py FIELD --side 6000

FIELD is a folder of frames with its catalogue, as `fullfield simulate` writes them. The mosaic is that field's r frame
over and over, each copy flipped in another way, written by sections; one galaxy of 1,500 px is laid over its middle.
`fullfield run` then finds what is in it in a process of its own, whose peak of resident memory is the kernel's count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree

from detector.merging import overlapping_pairs
from fieldprep import Field
from fieldprep.catalogues import read_catalogue, sources_on_field
from fieldprep.sky import sky_level_and_noise
from fullfield.catalogue import read_parquet

if TYPE_CHECKING:
    import numpy.typing as npt

LARGE_RADIUS_PX = 715.0  # Petrosian; its box is 1,500 px wide
MAGNITUDE = 20.0  # completeness is of galaxies brighter than this
MIN_MATCH_PX = 3.0


def _large_galaxy(rows: npt.NDArray[np.int64], side: int, peak: float) -> npt.NDArray[np.float32]:
    """Exponential disc, seen at an angle, in some rows of the mosaic."""
    y, x = rows[:, None] - side / 2, np.arange(side)[None] - side / 2
    radius = np.hypot((x + y) / np.sqrt(2), (x - y) / np.sqrt(2) / 0.6)
    # an exponential's Petrosian radius is about 3.6 scale lengths
    return np.asarray(peak * np.exp(-radius / (LARGE_RADIUS_PX / 3.6)), np.float32)


def write_mosaic(field: Field, band: str, path: Path, side: int) -> list[tuple[int, int, int, int]]:
    """Write the mosaic by rows; gives (row, column, flip in y, flip in x) of each copy."""
    image = field.bands[band]
    ny, nx = image.shape
    _, noise = sky_level_and_noise(image)
    header = field.wcs.to_header() if field.wcs is not None else fits.Header()
    header.update({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": side, "NAXIS2": side, "FILTER": band})
    start = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", side), ("NAXIS2", side)])
    start.update(header)
    copies = []
    path.unlink(missing_ok=True)  # astropy would append
    stream = fits.StreamingHDU(str(path), start)
    for top in range(0, side, ny):
        flips = [((top // ny) % 2, (left // nx + top // ny) % 2) for left in range(0, side, nx)]
        copies += [(top, left, *flip) for left, flip in zip(range(0, side, nx), flips, strict=True)]
        turned = [image[:: 1 - 2 * fy, :: 1 - 2 * fx] for fy, fx in flips]
        strip = np.concatenate(turned, axis=1)[: side - top, :side]
        for at in range(0, len(strip), 64):
            rows = np.arange(top + at, top + min(at + 64, len(strip)))
            stream.write((strip[at : at + 64] + _large_galaxy(rows, side, 20 * noise)).astype(">f4"))
    stream.close()
    return copies


def known(field: Field, folder: Path, copies: list[tuple[int, int, int, int]], side: int) -> npt.NDArray[np.float64]:
    """Columns x, y, half the shorter side and r of the mosaic's galaxies, away from its edges and the large one."""
    truth = sources_on_field(
        read_catalogue(folder / "catalogue.csv"), field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale
    )
    ny, nx = field.shape
    half = (truth.xyxy[:, 2:] - truth.xyxy[:, :2]).min(axis=1) / 2
    magnitude = np.where(truth.galaxy & ~truth.ignore, truth.magnitude, np.inf)
    parts = []
    for top, left, fy, fx in copies:
        x = left + (nx - 1 - truth.x if fx else truth.x)
        y = top + (ny - 1 - truth.y if fy else truth.y)
        parts.append(np.stack([x, y, half, magnitude], axis=1))
    rows = np.concatenate(parts)
    away = np.hypot(rows[:, 0] - side / 2, rows[:, 1] - side / 2) > LARGE_RADIUS_PX
    inside = (rows[:, :2] > rows[:, 2:3]).all(axis=1) & (rows[:, :2] < side - 1 - rows[:, 2:3]).all(axis=1)
    return rows[away & inside]


def scores(table_path: Path, truth: npt.NDArray[np.float64], confidence: float, side: int) -> dict[str, float]:
    """Completeness, duplicates and what was found of the large galaxy, at a threshold."""
    table = read_parquet(table_path)
    table = table[table["confidence"] >= confidence]
    xyxy = np.stack([table[name] for name in ("x_min", "y_min", "x_max", "y_max")], axis=1).astype(float)
    centres = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    bright = truth[truth[:, 3] < MAGNITUDE]
    reach = np.maximum(bright[:, 2], MIN_MATCH_PX)
    distance, _ = cKDTree(centres).query(bright[:, :2])
    first, _, _ = overlapping_pairs(xyxy, np.zeros(len(xyxy), np.int64), 0.5)
    sides = xyxy[:, 2:] - xyxy[:, :2]
    large = (sides.max(axis=1) > LARGE_RADIUS_PX) & (np.abs(centres - side / 2).max(axis=1) < LARGE_RADIUS_PX)
    return {
        "detections": len(table),
        "galaxies known": len(bright),
        "completeness": float((distance < reach).mean()),
        "pairs over IoU 0.5": len(first),
        "boxes over 715 px at the large galaxy": int(large.sum()),
        "boxes over 384 px": int((sides.max(axis=1) > 384).sum()),
    }


def seams(table_path: Path, truth: npt.NDArray[np.float64], confidence: float, side: int) -> dict[str, float]:
    """Completeness of galaxies within 64 px of a seam between the tiles, and of the others."""
    from detector.tiling import OVERLAP, TILE  # noqa: PLC0415 -- only the script's own process needs it
    from fieldprep.tiles import tiles  # noqa: PLC0415 -- as above

    table = read_parquet(table_path)
    table = table[table["confidence"] >= confidence]
    centres = np.stack([(table["x_min"] + table["x_max"]) / 2, (table["y_min"] + table["y_max"]) / 2], axis=1)
    bright = truth[truth[:, 3] < MAGNITUDE]
    lines = np.array(sorted({one.core.x0 for one in tiles((side, side), TILE, OVERLAP)} - {0}))
    near = (np.abs(bright[:, :2, None] - lines).min(axis=(1, 2)) < 64) if len(lines) else np.zeros(len(bright), bool)
    distance, _ = cKDTree(centres).query(bright[:, :2])
    found = distance < np.maximum(bright[:, 2], MIN_MATCH_PX)
    return {
        "n at seams": int(near.sum()),
        "at seams": float(found[near].mean()),
        "elsewhere": float(found[~near].mean()),
    }


def main() -> None:
    """Make the mosaic, run it, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("field", type=Path)
    parser.add_argument("--side", type=int, default=6000)
    parser.add_argument("--band", default="r")
    parser.add_argument("--detector", default="galaxy")
    parser.add_argument("--out", type=Path, help="keep the mosaic and the run here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = given.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        field, path = Field.read(given.field), out / "mosaic.fits"
        truth = known(field, given.field, write_mosaic(field, given.band, path, given.side), given.side)
        start = time.perf_counter()
        command = ["run", path, "--out", out / "run", "--detector", given.detector]
        subprocess.run([sys.executable, "-m", "fullfield.cli", *map(str, command)], check=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 2**30
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = out / "run" / "fields" / "mosaic" / "catalogue.parquet"
        confidence = float(read_parquet(result).meta["confidence"])
        found = scores(result, truth, confidence, given.side)
        stages = json.loads((out / "run" / "run.json").read_text())["seconds_by_stage"]
        print("seconds by stage:", {stage: one["total"] for stage, one in stages.items()})
        print(f"side {given.side} px, {path.stat().st_size / 2**30:.2f} GiB, confidence {confidence}")
        print(f"peak resident memory {peak:.2f} GiB; {seconds:.0f} s, {cpu.ru_utime + cpu.ru_stime:.0f} s of CPU")
        print(json.dumps({**found, **seams(result, truth, confidence, given.side)}, indent=1))
        print(f"threads {os.environ.get('FULLFIELD_THREADS', 'all')}")


if __name__ == "__main__":
    main()
