"""
What the detector is trained on: real fields, fields simulated and injected into, and pictures of HST and JWST.

Seven labelled SDSS fields are shared out to three folds by sky, and so are the pictures; each fold's sets hold what
the others leave to it. `benchmarks/folds.py` trains and scores.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fieldprep import Field
from fieldprep.boxes import petrosian_boxes
from fieldprep.catalogues import Sources, read_catalogue, read_table, sources_on_field
from fieldprep.census import census
from fieldprep.cores import cores
from fieldprep.levels import DISPLAY_WHITE, white_of
from fieldprep.scale import resampled
from fieldprep.training.recipes import RECIPES, Recipe
from fieldprep.training.trainingsets import join_fields, write_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fieldprep.field import FloatImage

FOLDS = (
    ("001737-5-0039", "001043-5-0025"),
    ("008162-6-0080", "007264-3-0111"),
    ("001035-6-0017", "002820-3-0122", "003184-2-0169"),
)
PICTURES = (
    ("jwst_ceers.png", "jwst_leda2046648.jpg"),
    ("hst_xdf_west.png",),
    ("jwst_rxj2129.jpg", "jwst_sdssj1226_2149.jpg"),
)
STARS_ONLY, TRAINED_COLUMNS = "002583-2-0136", 1024  # M2: its left half is trained on
ZOOMS = (0.6, 0.8, 1.0)  # of the pictures
CURVES: dict[str, Callable[[FloatImage], FloatImage]] = {
    # of their values, 0 at the sky and 1 at white: less and more contrast, and the stretch that moved recall most
    "0.67": lambda x: x * np.float32(2 / 3),
    "1.00": lambda x: x,
    "1.50": lambda x: x * np.float32(1.5),
    "log": lambda x: np.sign(x) * np.log1p(np.abs(x) * np.float32(5)) / np.float32(np.log1p(5)),
}
# objects whose types in a catalogue are wrong to the eye, x and y: two spirals called stars, and pieces of one called
# galaxies. Taught otherwise; scored as the catalogue has them
SPIRALS = {"001737-5-0039": ((488, 385), (696, 282))}
PIECES = {"001737-5-0039": ((161, 352), (141, 283))}
FAINTEST = 22.0
KINDS = ("real", "injected", "simulated", "space", "stars")  # the last: globular clusters, real and simulated
LOGGED = "plain-0016"  # the simulated field that the first training's log is scored on
RECIPE = replace(RECIPES["galaxies-stars"], faintest=FAINTEST)
ONE_PICTURE = replace(RECIPE, variants=("N",))


def simulate(data: Path, out: Path) -> None:
    """Render the fields that are trained on, and under ``test`` those that are scored on; what is there is kept."""
    for jobs in _simulations(data, out):  # the later ones are injected into the earlier
        with ProcessPoolExecutor(cores()) as pool:
            for job in [pool.submit(job) for job in jobs]:
                job.result()


def _simulations(data: Path, out: Path) -> tuple[list[Callable[[], object]], list[Callable[[], object]]]:
    from fullfield.simulation import inject_fields, simulate_fields  # noqa: PLC0415 -- needs the train extra

    seen = partial(simulate_fields, seeing="1.0:2.0", artefacts="all")
    first = [
        partial(seen, out / "sim" / "plain", seed=501, number=16),
        partial(seen, out / "sim" / "crowd", seed=502, number=5, crowding=4),
        partial(seen, out / "sim" / "cluster", seed=503, number=3, seeing="1.0:1.6", cluster=6000),
        partial(seen, out / "sim" / "arcs", seed=504, number=3, seeing="1.0:1.8", arcs=25),
        partial(seen, out / "sim" / "bent", seed=505, number=3, seeing="1.0:1.8", arcs=25, shear=0.75),
        partial(seen, out / "test" / "plain", seed=9001, number=3, seeing="1.1:1.6"),
    ]
    large = partial(inject_fields, galaxies=10, magnitudes="12.5:17", sizes="3:15")
    for k, name in enumerate(sorted(name for fold in FOLDS for name in fold), start=1):
        into = data / "sdss" / name
        first += [
            partial(
                inject_fields, out / "inj" / name, into, seed=600 + k, number=2, galaxies=60, magnitudes="15.5:20.5"
            ),
            partial(large, out / "big" / f"{name}-big", into, seed=700 + k),
            partial(inject_fields, out / "testinj" / name, into, seed=9600 + k, galaxies=60, magnitudes="17:21.5"),
        ]
    names = [f"plain-{k:04d}" for k in range(1, 7)]
    then = [
        partial(large, out / "bigsim" / f"{name}-big", out / "sim" / "plain" / name, seed=707 + k)
        for k, name in enumerate(names, start=1)
    ]
    return first, then


def prepare(data: Path, out: Path) -> None:
    """Cut every field into tiles once, and join them to the sets of each fold; what is cut is kept."""
    with ProcessPoolExecutor(cores()) as pool:
        for job in [pool.submit(_cut, out / "fields" / kind / name, load) for kind, name, load in _fields(data, out)]:
            job.result()
    for fold in range(len(FOLDS)):
        for kind in KINDS:
            shutil.rmtree(sets_folder(out, fold) / kind, ignore_errors=True)
            folders = _clusters(out) if kind == "stars" else _folders(out, kind)
            chosen = [(folder, half) for folder in folders for half in _halves(folder.name, kind, fold)]
            join_fields(chosen, sets_folder(out, fold) / kind, _recipe(kind))
    first = [(f, "val" if f.name == LOGGED else "train") for f in _folders(out, "simulated")]
    shutil.rmtree(out / "sets" / "first", ignore_errors=True)
    join_fields(first, out / "sets" / "first", ONE_PICTURE)


def _cut(folder: Path, load: Callable[[], tuple[Field, Sources]]) -> None:
    if not folder.exists():
        unfinished = folder.with_name(f".{folder.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        field, sources = load()
        write_field(replace(field, name=folder.name), sources, _recipe(folder.parent.name), unfinished)
        unfinished.replace(folder)


def sets_folder(out: Path, fold: int) -> Path:
    """Folder of a fold's training sets."""
    return out / "sets" / str(fold)


def with_truth(folder: Path) -> tuple[Field, Sources]:
    """Field of a folder, and what its ``catalogue.csv`` has on it."""
    field = Field.read(folder)
    catalogue = read_catalogue(folder / "catalogue.csv")
    return field, sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)


def picture_with_truth(path: Path, zoom: float = 1.0, curve: str = "1.00") -> tuple[Field, Sources]:
    """
    Picture enlarged by a factor and its values bent by one of `CURVES`, with the rows of its reference.

    The circles that its reference leaves out are ignored rows.
    """
    field = Field.read(path)
    rows = read_table(path.parent / f"{path.stem}.reference.csv")
    circles = read_table(path.parent / f"{path.stem}.ignore.csv")
    circles = circles.assign(ignore=1, **_around(circles))
    rows = pd.concat([rows, circles], ignore_index=True)
    boxes = (rows[["x_min", "y_min", "x_max", "y_max"]].to_numpy(np.float64) + 0.5) * zoom - 0.5
    sky = {band: np.float32(np.median(image)) for band, image in field.bands.items()}
    # read before the values change: by it N knows a display picture
    white = white_of(field)
    above = np.float32(DISPLAY_WHITE if white is None else white)
    bands = {
        band: CURVES[curve]((image - sky[band]) / above) * above + sky[band] for band, image in field.bands.items()
    }
    as_shown = {**field.provenance, "white": white}
    field = resampled(replace(field, bands=bands, provenance=as_shown), zoom)
    ny, nx = field.shape
    sources = Sources(
        (rows["x"].to_numpy() + 0.5) * zoom - 0.5,
        (rows["y"].to_numpy() + 0.5) * zoom - 0.5,
        np.clip(boxes, -0.5, np.array([nx, ny, nx, ny]) - 0.5),
        np.ones(len(rows), np.bool_),
        np.full(len(rows), np.nan),
        rows["ignore"].to_numpy() != 0,
        (boxes[:, 2] - boxes[:, 0]) / 2,
        pd.DataFrame(index=rows.index),
    )
    return field, sources


def _around(circles: pd.DataFrame) -> dict[str, pd.Series]:
    x, y, radius = circles["x"], circles["y"], circles["radius"]
    return {"x_min": x - radius, "x_max": x + radius, "y_min": y - radius, "y_max": y + radius}


def _fields(data: Path, out: Path) -> Iterator[tuple[str, str, Callable[[], tuple[Field, Sources]]]]:
    for folder in sorted((data / "sdss").iterdir()):
        yield "real", folder.name, partial(_half_of_m2 if folder.name == STARS_ONLY else _corrected, folder)
    for kind, pattern in (
        ("injected", "inj/*/*"),
        ("injected", "big/*"),
        ("simulated", "sim/*/*"),
        ("simulated", "bigsim/*"),
    ):
        for folder in sorted(path for path in out.glob(pattern) if not path.name.startswith(".")):
            yield kind, folder.name, partial(with_truth, folder)
    for name in (name for names in PICTURES for name in names):
        for zoom in ZOOMS:
            for curve in CURVES:
                told = f"{Path(name).stem}_{zoom:.2f}_{curve}".replace(".", "p")
                yield "space", told, partial(picture_with_truth, data / "hst_jwst" / name, zoom, curve)


def _corrected(folder: Path) -> tuple[Field, Sources]:
    """Field of a folder and what is taught of it."""
    field, sources = with_truth(folder)
    galaxy, ignore = sources.galaxy.copy(), sources.ignore.copy()
    galaxy[_at(sources, SPIRALS.get(folder.name, ()))] = True
    ignore[_at(sources, PIECES.get(folder.name, ()))] = True
    return field, replace(sources, galaxy=galaxy, ignore=ignore)


def _at(sources: Sources, places: Sequence[tuple[int, int]]) -> list[int]:
    return [int(np.argmin(np.hypot(sources.x - x, sources.y - y))) for x, y in places]


def _half_of_m2(folder: Path) -> tuple[Field, Sources]:
    """
    The half of the globular cluster that is trained on: what SEP sees in it as concentrated as a star is one.

    What is more extended is left out: blends of stars, and the galaxies behind the cluster.
    """
    whole, part = Field.read(folder), slice(0, TRAINED_COLUMNS)
    bands = {band: np.ascontiguousarray(image[:, part]) for band, image in whole.bands.items()}
    field = replace(whole, bands=bands, noise={}, mask=np.ascontiguousarray(whole.mask[:, part]), wcs=None)
    found = census(field.bands["r"])
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = 22.5 - 2.5 * np.log10(found.flux)
    kept = magnitude < FAINTEST
    n = int(kept.sum())
    x, y, none = found.x[kept], found.y[kept], np.zeros(n, np.bool_)
    radius = np.full(n, 2.1 * found.stellar)  # Petrosian radius of a point source over its half-light radius
    boxes = petrosian_boxes(x, y, radius, np.ones(n), np.zeros(n))
    extended = ~found.star[kept]
    return field, Sources(x, y, boxes, none, magnitude[kept], extended, radius, pd.DataFrame(index=range(n)))


def _recipe(kind: str) -> Recipe:
    return RECIPE if kind == "real" else ONE_PICTURE


def _folders(out: Path, kind: str) -> list[Path]:
    return sorted(path for path in (out / "fields" / kind).iterdir() if not path.name.startswith("."))


def _clusters(out: Path) -> list[Path]:
    """Fields of next to nothing but stars."""
    return [out / "fields" / "real" / STARS_ONLY, *(f for f in _folders(out, "simulated") if "cluster" in f.name)]


def _halves(name: str, kind: str, fold: int) -> list[str]:
    """Which halves of a fold's set a field belongs to."""
    held = {Path(n).stem for n in (*FOLDS[fold], *PICTURES[fold])}
    of = name[: len(FOLDS[0][0])] if kind == "injected" else name.rsplit("_", 2)[0] if kind == "space" else name
    if of not in held:
        return ["train"]
    return ["val"] if kind == "real" else []
