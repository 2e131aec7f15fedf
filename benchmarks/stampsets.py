"""
What the stamp classifiers are trained on: stamps of real, injected and simulated fields, cut as a run cuts them.

    python benchmarks/stampsets.py real_bogus --out SET FIELD...
    python benchmarks/stampsets.py star_galaxy --out SET FIELD...

FIELD is a folder with frames, ``catalogue.csv`` and, where artefacts were drawn, ``artefacts.csv`` and a mask. Written
is what `classifiers.stampsets.read_stamps` reads: ``labels.csv`` and ``stamps/all/FIELD.npz``.

real_bogus: real are catalogued stars and galaxies (r < 22), each about where a detection would be; bogus are places on
artefacts, by ``kind``, with no catalogued source near, and places at the field's edge, half of them with a few bright
rows or columns. star_galaxy: catalogued types, those of simulated fields exact. Some stamps are of one band.
"""

from __future__ import annotations

import argparse
import zlib
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.io import fits

from classifiers.tasks import Task
from fieldprep import Field
from fieldprep.catalogues import read_catalogue, sources_on_field
from fieldprep.cores import cores
from fieldprep.simulation.artefacts import BITS
from fieldprep.stamps import stamps_about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fieldprep.catalogues import Sources
    from fieldprep.field import FloatImage
    from fieldprep.stamps import Cut

Floats = npt.NDArray[np.float64]

FAINTEST = {"real_bogus": 22.0, "star_galaxy": 22.0}
MOST = {"galaxy": 250, "star": 150}  # of a field, drawn at random
EACH = {"spike": 70, "halo": 50, "bleed": 20, "trail": 60, "cosmic_ray": 60, "hot_pixels": 60, "edge": 50}
SIDES = {"spike": (8, 40), "halo": (10, 80), "bleed": (8, 30), "trail": (8, 60), "edge": (8, 40)}  # px, of boxes
ALONE_PX = 7.0  # no catalogued source is nearer to what is called bogus
OFF_STAR_PX = 14.0  # nor is a spike's or a halo's place nearer to its star
FAINTEST_NEAR = 23.0
FAINTER_NEIGHBOUR = 2.0  # magnitudes by which a neighbour is too faint to be one
GRAY = 0.4  # share of stamps of one band
EDGE_PX, EDGE_SIGMA = 6, (5.0, 60.0)
OFF_SIZE, UNSIZED = (0.94, 0.97, 1.0, 1.0, 1.03, 1.06), 0.1  # scatter of the stars' size, share without one
OFF_PX = 0.6  # scatter of a centroid


def main() -> None:
    """Write the set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(FAINTEST))
    parser.add_argument("fields", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    (arguments.out / "stamps/all").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(cores()) as pool:
        tables = list(pool.map(partial(write, task=arguments.task, out=arguments.out), arguments.fields))
    table = pd.concat(tables, ignore_index=True)
    table.to_csv(arguments.out / "labels.csv", index=False)
    print(table.groupby(["origin", "label", "kind"]).size().to_string())


def write(folder: Path, task: str, out: Path) -> pd.DataFrame:
    """Stamps of a field, as one file; its rows of the table."""
    field = Field.read(folder)
    rng = np.random.default_rng(zlib.crc32(f"{task} {field.name}".encode()))
    sources = sources_on_field(
        read_catalogue(folder / "catalogue.csv"), field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale
    )
    rows = _sources(sources, rng, FAINTEST[task])
    if task == "real_bogus":
        rows = rows.assign(label="real")
        rows = pd.concat([rows, *_artefacts(folder, field, sources, rng)], ignore_index=True)
    boxes, centres = rows[["x_min", "y_min", "x_max", "y_max"]].to_numpy(float), rows[["x", "y"]].to_numpy(float)
    stamps = _stamps(field, centres, boxes, Task.read(task).cut, rng)
    if task == "real_bogus":
        _brighten_edges(stamps, rows, field, rng)
    stamps, of_band = _some_gray(stamps, rows, rng)
    np.savez(out / f"stamps/all/{field.name}.npz", stamps=stamps)
    origin = "simulated" if (folder / "simulation.json").exists() and "injected" not in sources.rows else "real"
    origin = "simulated" if field.survey == "simulation" else origin
    return rows.assign(field=field.name, half="all", stamp=np.arange(len(rows)), origin=origin, band=of_band)


def _stamps(field: Field, centres: Floats, boxes: Floats, cut: Cut, rng: np.random.Generator) -> FloatImage:
    """Stamps as a run cuts them; where stars are brought to one size, not quite, and some of them not at all."""
    zoom = cut.zoom(field)
    drawn = zoom * rng.choice(OFF_SIZE, len(centres))
    drawn[rng.random(len(centres)) < UNSIZED] = 1.0
    if not cut.stars:
        return stamps_about(field, centres, boxes, cut)
    stamps = np.zeros((len(centres), cut.size, cut.size, 3), np.float32)
    for one in np.unique(drawn):
        stamps[drawn == one] = stamps_about(field, centres[drawn == one], boxes[drawn == one], cut, zoom=float(one))
    return stamps


def _sources(sources: Sources, rng: np.random.Generator, faintest: float) -> pd.DataFrame:
    """Catalogued stars and galaxies, where a detection would have them."""
    type_ = np.where(sources.galaxy, "galaxy", "star")
    known = ~sources.ignore & (sources.magnitude < faintest)
    kept = np.zeros(len(sources), np.bool_)
    for name, most in MOST.items():
        kept[rng.permutation(np.flatnonzero(known & (type_ == name)))[:most]] = True
    some = sources.select(kept)
    boxes = some.xyxy
    middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    sides = sides * rng.uniform(0.85, 1.25, (len(sides), 1))
    far = rng.random(len(sides)) < 0.15  # no centroid was found: the middle of a box that is a little off
    off = np.where(far[:, None], rng.normal(0, 0.08, sides.shape) * sides, rng.normal(0, OFF_PX, sides.shape))
    columns = {"kind": type_[kept], "label": type_[kept], "modelMag_r": some.magnitude}
    return _table(middle + off, sides, neighbour_px=_neighbours(sources)[kept], **columns)


def _neighbours(sources: Sources) -> Floats:
    """Distance in pixels of each source from the nearest that is not two magnitudes fainter."""
    xy = np.stack([sources.x, sources.y], axis=1)
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    faint = sources.magnitude[None] > sources.magnitude[:, None] + FAINTER_NEIGHBOUR
    apart[faint | np.eye(len(xy), dtype=np.bool_)] = np.inf
    return np.asarray(apart.min(axis=1, initial=np.inf))


def _table(centres: Floats, sides: Floats, **columns: object) -> pd.DataFrame:
    low, high = centres - sides / 2, centres + sides / 2
    places = {"x": centres[:, 0], "y": centres[:, 1], "x_min": low[:, 0], "y_min": low[:, 1]}
    return pd.DataFrame({**places, "x_max": high[:, 0], "y_max": high[:, 1], **columns})


def _artefacts(folder: Path, field: Field, sources: Sources, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
    """Places on each kind of artefact that no source is near to."""
    near = sources.select(~(sources.magnitude > FAINTEST_NEAR))
    ny, nx = field.shape
    found = {"edge": _at_edge(field, rng)}
    if (folder / "artefacts.csv").exists():
        told = pd.read_csv(folder / "artefacts.csv")
        masks = np.bitwise_or.reduce(_masks(folder))
        stars = told[told["kind"].isin(["spike", "halo", "saturation"])][["x", "y"]].to_numpy(float)
        for kind in ("spike", "halo", "bleed", "trail"):
            y, x = np.nonzero((masks & BITS[kind]) > 0)
            some = rng.permutation(len(x))[:4000]
            at = np.stack([x[some], y[some]], axis=1).astype(float)
            found[kind] = at[_apart(at, stars) > OFF_STAR_PX] if kind != "trail" else at
        for kind in ("cosmic_ray", "hot_pixels"):
            rows = told[told["kind"] == kind]
            found[kind] = rng.permutation(rows[["x", "y", "x_min", "y_min", "x_max", "y_max"]].to_numpy(float))
    for kind, candidates in found.items():
        at = candidates[:, :2]
        inside = ((at > 0) & (at < (nx - 1, ny - 1))).all(axis=1)
        alone = _apart(at, np.stack([near.x, near.y], axis=1)) > ALONE_PX
        places = candidates[inside & alone][: EACH[kind]]
        n = len(places)
        if kind in SIDES:
            longer, ratio = rng.uniform(*SIDES[kind], n), rng.uniform(0.5, 1, n)
            sides = np.stack([longer, longer * ratio], axis=1)
            sides = np.where(rng.random((n, 1)) < 0.5, sides, sides[:, ::-1])
        else:  # a box about all of it, or about a hot column's end
            extent = np.minimum(places[:, 4:] - places[:, 2:4], 40)
            sides = np.maximum(extent * rng.uniform(1.2, 2.5, (n, 1)), 8)
        off = rng.normal(0, 1.0, (n, 2))
        yield _table(places[:, :2] + off, sides, kind=kind, label="bogus", modelMag_r=np.nan)


def _at_edge(field: Field, rng: np.random.Generator) -> Floats:
    """Places within a few pixels of where the data end."""
    data = np.logical_and.reduce([np.isfinite(image) for image in field.bands.values()])
    rows, columns = np.flatnonzero(data.any(axis=1)), np.flatnonzero(data.any(axis=0))
    n = 4 * EACH["edge"]
    side = rng.integers(0, 4, n)
    deep = rng.uniform(0, EDGE_PX, n)
    x = np.where(side == 0, columns[0] + deep, np.where(side == 1, columns[-1] - deep, rng.choice(columns, n)))
    y = np.where(side == 2, rows[0] + deep, np.where(side == 3, rows[-1] - deep, rng.choice(rows, n)))
    return np.stack([x, y], axis=1)


def _masks(folder: Path) -> list[npt.NDArray[np.uint8]]:
    with fits.open(next(folder.glob("*-mask.fits.gz"))) as hdus:
        return [np.asarray(hdu.data, np.uint8) for hdu in hdus if hdu.data is not None]


def _apart(places: Floats, others: Floats) -> Floats:
    """Distance of each place from the nearest of others."""
    nearest = np.full(len(places), np.inf)
    for start in range(0, len(others), 200):
        offsets = places[:, None] - others[None, start : start + 200]
        nearest = np.minimum(nearest, np.hypot(*np.moveaxis(offsets, -1, 0)).min(axis=1, initial=np.inf))
    return nearest


def _brighten_edges(
    stamps: npt.NDArray[np.float32], rows: pd.DataFrame, field: Field, rng: np.random.Generator
) -> None:
    """Half of the edges have rows or columns of too high a level in one band, as an ill-read border has."""
    noise = np.array([noise for _, noise in field.sky_levels.values()], np.float32)
    for i in np.flatnonzero(rows["kind"] == "edge"):
        data = np.isfinite(stamps[i]).all(axis=-1)
        if rng.random() < 0.5 or not data.any():
            continue
        wide, band = int(rng.integers(1, 5)), int(rng.integers(0, stamps.shape[3]))
        axis = int(np.argmin([data.any(axis=1).sum(), data.any(axis=0).sum()]))  # across the edge
        there = np.flatnonzero(data.any(axis=1 - axis))
        ends = (there[:wide], there[-wide:])
        end = ends[int(there[0] == 0)]  # the side on which there is nothing
        part = (i, end, slice(None), band) if axis == 0 else (i, slice(None), end, band)
        stamps[part] += noise[band] * np.float32(10 ** rng.uniform(*np.log10(EDGE_SIGMA)))


def _some_gray(
    stamps: npt.NDArray[np.float32], rows: pd.DataFrame, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Some stamps with one band in all channels: that in which most is to be seen of an artefact, else any."""
    gray = rng.random(len(stamps)) < GRAY
    bands = ["all"] * len(stamps)
    for i in np.flatnonzero(gray):
        band = int(rng.integers(0, stamps.shape[3]))
        if rows["label"].iloc[i] == "bogus":
            middle = stamps[i, 16:-16, 16:-16]
            with np.errstate(invalid="ignore"):
                band = int(
                    np.argmax(np.nan_to_num(np.nanmax(middle, axis=(0, 1)) - np.nanmedian(stamps[i], axis=(0, 1))))
                )
        stamps[i] = stamps[i][..., band : band + 1]
        bands[i] = "gri"[band]
    return stamps, bands


if __name__ == "__main__":
    main()
