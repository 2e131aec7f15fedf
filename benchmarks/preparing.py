"""
Fields prepared per minute, ours against AstroCV's way on the same frames, and how many labels each recipe gives.

    python benchmarks/preparing.py FIELD... [--catalogue NAME] [--repeat N] [--recipes T1,T2]

AstroCV's way is that of ``03_fitstojpg.py`` in its code: astropy reads the three frames, ``reproject_interp`` brings g
and i onto r, ``make_lupton_rgb`` makes the picture L, Pillow writes it as a JPEG. Ours is timed making the same one
picture, and the six pictures in tiles of the default recipe. With ``--recipes`` each of them is built from the fields,
as ``fullfield prepare FIELD... --recipe T1 --out SET`` does, and what is in it counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.visualization import make_lupton_rgb
from PIL import Image
from reproject import reproject_interp

from fieldprep.cores import cores
from fieldprep.training.recipes import ASTROCV_CLASSES, RECIPES, Recipe
from fullfield.preparation import Asked, prepare_field
from fullfield.sets import Division, prepare_set
from fullfield.sources import Source, find_sources

ONE_PICTURE = replace(RECIPES["T3"], needs_galaxy=False)


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", nargs="+")
    parser.add_argument("--catalogue", default="catalogue.csv")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--recipes", default="")
    arguments = parser.parse_args()
    sources = find_sources(arguments.fields)
    if arguments.repeat:
        _speed(sources, arguments.catalogue, arguments.repeat)
    if arguments.recipes:
        _counts(arguments.fields, arguments.catalogue, arguments.recipes.split(","))


def _speed(sources: list[Source], catalogue: str, repeat: int) -> None:
    times: dict[str, list[float]] = {"AstroCV": [], "ours, the same picture": [], "ours, six pictures in tiles": []}
    for _ in range(repeat):
        for source in sources:
            with tempfile.TemporaryDirectory() as folder:
                times["AstroCV"].append(_timed(lambda: _astrocv(source, Path(folder))))  # noqa: B023 -- called here
            for name, recipe in zip(list(times)[1:], (ONE_PICTURE, RECIPES["galaxies"]), strict=True):
                times[name].append(_ours(source, Asked(recipe, catalogue)))
    theirs = median(times["AstroCV"])
    print(f"{len(sources)} fields, {repeat} times, {cores()} cores, one process; medians\n")
    print("| way | seconds a field | fields a minute | x AstroCV |\n|---|---|---|---|")
    for name, values in times.items():
        print(f"| {name} | {median(values):.2f} | {60 / median(values):.0f} | {theirs / median(values):.1f} |")


def _timed(call) -> float:  # noqa: ANN001 -- a lambda
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _ours(source: Source, asked: Asked) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        outcome = prepare_field(source, asked, Path(folder))
        seconds = time.perf_counter() - start
    if outcome.error:
        raise SystemExit(outcome.error)
    return seconds


def _astrocv(source: Source, folder: Path) -> None:
    frames = {band: next(source.folder.glob(f"frame-{band}-*")) for band in "gri"}
    hdus = {band: fits.open(path)[0] for band, path in frames.items()}
    header = hdus["r"].header
    green, _ = reproject_interp(hdus["g"], header)
    infrared, _ = reproject_interp(hdus["i"], header)
    picture = make_lupton_rgb(infrared, hdus["r"].data, green)
    Image.fromarray(picture).save(folder / "picture.jpg", "jpeg", quality=97)


def _counts(fields: list[str], catalogue: str, names: list[str]) -> None:
    print(
        "\n| recipe | variants | fields (train + val) | pictures (train + val) | " + " | ".join(ASTROCV_CLASSES) + " |"
    )
    print("|---" * (4 + len(ASTROCV_CLASSES)) + "|")
    for name in names:
        recipe: Recipe = RECIPES[name]
        with tempfile.TemporaryDirectory() as folder:
            made = prepare_set(fields, Path(folder) / name, Asked(recipe, catalogue), Division())
            objects = pd.read_parquet(Path(folder) / name / "objects.parquet")
        labelled = objects[~objects["ignore"].to_numpy(np.bool_)]["class_name"].value_counts()
        cells = [str(labelled.get(one, 0)) for one in ASTROCV_CLASSES]
        fields_text, pictures = (
            f"{made.counts[f'train_{key}']} + {made.counts[f'val_{key}']}" for key in ("fields", "tiles")
        )
        print(f"| {name} | {' '.join(recipe.variants)} | {fields_text} | {pictures} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
