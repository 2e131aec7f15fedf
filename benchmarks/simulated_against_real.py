"""
A real field beside simulations made after it: noise, seeing, counts, colours and sizes, and the detector on both.

    python benchmarks/simulated_against_real.py FIELD --out FOLDER [--number N] [--seed S] [--detector NAME]

FIELD is a folder with g, r and i frames and ``catalogue.csv``. Everything is measured in the same way in both, by
SEP on the r frame. FOLDER gets the simulated fields, ``simulated_against_real.png`` and ``.json``; the tables are
printed. Several simulations are averaged, so that the scatter seen is the real field's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import sep

from detector import Detector
from detector.evaluate import Scene, score
from detector.instruments import detect_at_scale
from fieldprep import Field
from fieldprep.catalogues import read_catalogue, sources_on_field
from fieldprep.census import Census, census
from fieldprep.fitsfile import SDSS_SATURATION_COUNTS
from fieldprep.simulation.camera import band_planes
from fieldprep.simulation.files import write_fields
from fieldprep.simulation.psf import measure_psf
from fieldprep.variants import picture

mpl.use("Agg")
from matplotlib import pyplot as plt

BANDS = ("g", "r", "i")
APERTURE_PX = 5.0
EDGE_PX = 15
MAGNITUDES = np.arange(16.0, 22.6, 0.5)
WIDE = ((17.0, 19.0), (19.0, 20.0), (20.0, 21.0), (21.0, 22.0))
COUNT = 0.005  # nmgy: about an SDSS count, to leave saturated stars out of the PSF


def main() -> None:
    """Render, measure, plot, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("field", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--number", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--detector", default="galaxy")
    arguments = parser.parse_args()
    fields = arguments.out / "fields"
    write_fields(fields, seed=arguments.seed, number=arguments.number, like=arguments.field)
    folders = sorted(folder for folder in fields.iterdir() if folder.is_dir()) if arguments.number > 1 else [fields]
    real, simulated = measured([arguments.field]), measured(folders)
    detector = Detector.load(arguments.detector)
    results = {
        "frames": frames_table(real["frames"], simulated["frames"]),
        "sources": sources_table(real["sources"], simulated["sources"], len(folders)),
        "detector": {
            name: detector_scores(detector, found)
            for name, found in (("real", [arguments.field]), ("simulated", folders))
        },
    }
    print(as_text(results))
    (arguments.out / "simulated_against_real.json").write_text(json.dumps(results, indent=2))
    plot(real, simulated, len(folders), arguments.out / "simulated_against_real.png")


def measured(folders: list[Path]) -> dict[str, Any]:
    """Noise and seeing of each frame, and every source of the r frames."""
    frames, sources, pictures = [], [], []
    for folder in folders:
        for plane in band_planes(folder).values():
            objects = census(plane.image)
            psf = measure_psf(objects, 0.396, saturation=SDSS_SATURATION_COUNTS * COUNT)
            frames.append({"band": plane.band, "noise": objects.noise, "fwhm": psf.fwhm, "stars": psf.stars})
        field = Field.read(folder)
        sources.append(field_sources(field))
        pictures.append(picture(field, "N"))
    return {"frames": pd.DataFrame(frames), "sources": pd.concat(sources), "picture": pictures[0]}


def field_sources(field: Field) -> pd.DataFrame:
    """Sources of one field off the edge and the mask: r, colours, Petrosian radius, asymmetry, whether a star."""
    objects = census(field.bands["r"])
    own = {"segmap": objects.segments, "seg_id": np.arange(1, len(objects) + 1), "mask": objects.missing}
    scale = field.pixel_scale or 0.396
    table = pd.DataFrame({"x": objects.x, "y": objects.y, "star": objects.star})
    with np.errstate(invalid="ignore", divide="ignore"):
        table["r"] = 22.5 - 2.5 * np.log10(objects.flux)
        light = {
            band: sep.sum_circle(_flat(field, band, objects), objects.x, objects.y, APERTURE_PX, **own)[0]
            for band in BANDS
        }
        table["g_r"] = -2.5 * np.log10(light["g"] / light["r"])
        table["r_i"] = -2.5 * np.log10(light["r"] / light["i"])
    table["petrosian"] = petrosian_radii(objects) * scale
    table["asymmetry"] = [asymmetry(objects, k, table["petrosian"][k] / scale) for k in range(len(table))]
    ny, nx = field.shape
    inside = table["x"].between(EDGE_PX, nx - EDGE_PX) & table["y"].between(EDGE_PX, ny - EDGE_PX)
    at = [np.clip(np.rint(table[axis]).astype(int), 0, n - 1) for axis, n in (("y", ny), ("x", nx))]
    return table[inside & ~field.mask[at[0], at[1]]]


def _flat(field: Field, band: str, objects: Census) -> Any:
    return objects.image if band == "r" else census(field.bands[band]).image


def petrosian_radii(objects: Census) -> Any:
    """Petrosian radii in pixels, neighbours' pixels left out; NaN where 70 pixels do not reach it."""
    own = {"segmap": objects.segments, "seg_id": np.arange(1, len(objects) + 1), "mask": objects.missing}
    radii = np.arange(2.0, 70.0, 0.5)

    def within(radius: float) -> Any:
        return sep.sum_circle(objects.image, objects.x, objects.y, radius, subpix=5, **own)[0]

    inner, whole, outer = (np.array([within(k * radius) for radius in radii]) for k in (0.8, 1.0, 1.25))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (outer - inner) / (1.25**2 - 0.8**2) / whole
    below = ratio < 0.2
    return np.where(below.any(axis=0), radii[below.argmax(axis=0)], np.nan)


def asymmetry(objects: Census, k: int, radius: float) -> float:
    """
    Share of a source's light that is not there after half a turn, within a Petrosian radius.

    References
    ----------
    Conselice 2003, ApJS 147, 1 (A); the noise's own share is taken off by its expectation.
    """
    if not np.isfinite(radius) or objects.flux[k] < 16:  # r > 19.5: nothing but noise is left
        return float("nan")
    reach = int(np.ceil(radius))
    x, y = round(objects.x[k]), round(objects.y[k])
    ny, nx = objects.image.shape
    if not (reach <= x < nx - reach and reach <= y < ny - reach):
        return float("nan")
    part = (slice(y - reach, y + reach + 1), slice(x - reach, x + reach + 1))
    dy, dx = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    owner = objects.segments[part]
    free = (np.hypot(dx, dy) <= radius) & ((owner == 0) | (owner == k + 1))
    free &= free[::-1, ::-1]
    image = objects.image[part].astype(float)
    left = np.abs(image - image[::-1, ::-1])[free].sum()
    noise = 2 / np.sqrt(np.pi) * objects.noise * free.sum()
    return float((left - noise) / (2 * np.abs(image[free]).sum()))


def frames_table(real: pd.DataFrame, simulated: pd.DataFrame) -> list[dict[str, Any]]:
    """Noise and seeing by band."""
    rows = []
    for band in BANDS:
        first, second = (table[table["band"] == band] for table in (real, simulated))
        rows.append(
            {"band": band}
            | {
                f"{name} {kind}": float(t[name].mean())
                for name in ("noise", "fwhm")
                for kind, t in _both(first, second)
            }
        )
    return rows


def _both(real: Any, simulated: Any) -> tuple[tuple[str, Any], tuple[str, Any]]:
    return ("real", real), ("simulated", simulated)


def sources_table(real: pd.DataFrame, simulated: pd.DataFrame, number: int) -> list[dict[str, Any]]:
    """Counts a field, and medians of colours, sizes and asymmetry, by magnitude."""
    rows = []
    for star in (False, True):
        for low, high in WIDE:
            row: dict[str, Any] = {"kind": "stars" if star else "galaxies", "r": f"{low:g}-{high:g}"}
            for name, table, fields in (("real", real, 1), ("simulated", simulated, number)):
                chosen = table[(table["star"] == star) & table["r"].between(low, high)]
                row[f"n {name}"] = len(chosen) / fields
                for column in ("g_r", "r_i", "petrosian", "asymmetry"):
                    values = chosen[column].dropna()
                    row[f"{column} {name}"] = float(values.median()) if len(values) else float("nan")
                    if column in {"g_r", "r_i"} and len(values):
                        row[f"{column} scatter {name}"] = float(np.diff(np.percentile(values, [16, 84]))[0] / 2)
            rows.append(row)
    return rows


def detector_scores(detector: Detector, folders: list[Path]) -> dict[str, Any]:
    """Completeness and purity of a detector on fields with a catalogue."""
    scenes = []
    for folder in folders:
        field = Field.read(folder)
        catalogue = read_catalogue(folder / "catalogue.csv")
        truth = sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)
        scenes.append(Scene(detect_at_scale(detector, field), truth, field.shape))
    return score(scenes, detector.card.confidence, limits=(19, 20, 20.5, 21, 21.5), ap=False)


def as_text(results: dict[str, Any]) -> str:
    """All of it as Markdown tables."""
    lines = ["| band | sky noise, nmgy | seeing, arcsec |\n|---|---|---|"]
    lines += [
        f"| {row['band']} | {row['noise real']:.4f} / {row['noise simulated']:.4f} | "
        f"{row['fwhm real']:.3f} / {row['fwhm simulated']:.3f} |"
        for row in results["frames"]
    ]
    lines.append(
        "\n| real / simulated | r | n a field | g-r | its scatter | r-i | its scatter | Petrosian radius, arcsec | "
        "asymmetry |\n|---|---|---|---|---|---|---|---|---|"
    )
    for row in results["sources"]:
        cells = [f"{row['n real']:.0f} / {row['n simulated']:.1f}"]
        for name in ("g_r", "g_r scatter", "r_i", "r_i scatter", "petrosian", "asymmetry"):
            values = [row.get(f"{name} {kind}", float("nan")) for kind in ("real", "simulated")]
            cells.append(" / ".join("-" if np.isnan(v) else f"{v:.2f}" for v in values))
        lines.append(f"| {row['kind']} | {row['r']} | {' | '.join(cells)} |")
    lines.append(
        "\n| detector on | r < | completeness | purity | mean IoU | nothing under |\n|---|---|---|---|---|---|"
    )
    for name, scores in results["detector"].items():
        under = f"{scores['unmatched']['k']} of {scores['unmatched']['n']}"
        for limit, row in scores["limits"].items():
            cells = " | ".join(
                f"{row[m]['value']:.3f} ({row[m]['low']:.3f}-{row[m]['high']:.3f}, n {row[m]['n']})"
                for m in ("completeness", "purity", "mean_iou")
            )
            lines.append(f"| {name} | {limit} | {cells} | {under} |")
    return "\n".join(lines)


def plot(real: dict[str, Any], simulated: dict[str, Any], number: int, path: Path) -> None:
    """Counts, colours and sizes by magnitude, and a piece of each picture."""
    figure, axes = plt.subplots(2, 4, figsize=(20, 9.5), layout="constrained")
    pairs = (("real", real, 1, "tab:blue"), ("simulated", simulated, number, "tab:orange"))
    for name, found, fields, colour in pairs:
        sources = found["sources"]
        for axis, star in ((axes[0, 0], False), (axes[0, 1], True)):
            counts = np.histogram(sources["r"][sources["star"] == star], MAGNITUDES)[0] / fields
            axis.errorbar(
                MAGNITUDES[:-1] + 0.25,
                counts,
                np.sqrt(counts / fields),
                color=colour,
                marker="o",
                label=name,
                capsize=3,
            )
            axis.set(
                xlabel="r", ylabel="n a field and half magnitude", title="stars" if star else "galaxies", yscale="log"
            )
        galaxies, stars = sources[~sources["star"]], sources[sources["star"]]
        for axis, table, column, label in (
            (axes[0, 2], galaxies, "g_r", "galaxies, g - r"),
            (axes[1, 0], galaxies, "r_i", "galaxies, r - i"),
            (axes[1, 1], stars, "g_r", "stars, g - r"),
            (axes[1, 2], galaxies, "petrosian", "galaxies, Petrosian radius, arcsec"),
        ):
            spread = np.array([_percentiles(table, column, low) for low in MAGNITUDES[:-1]])
            axis.plot(MAGNITUDES[:-1] + 0.25, spread[:, 1], color=colour, marker="o", label=name)
            axis.fill_between(MAGNITUDES[:-1] + 0.25, spread[:, 0], spread[:, 2], color=colour, alpha=0.2)
            axis.set(xlabel="r", ylabel=label, title=f"{label}: median, 16 to 84 %")
    for axis, (name, found, _, _) in zip(axes[:, 3], pairs, strict=True):
        axis.imshow(found["picture"][400:1000, 600:1400], origin="lower")
        axis.set(title=f"{name}, a quarter of the picture", xticks=[], yticks=[])
    for axis in axes[:, :3].ravel():
        axis.legend()
    figure.savefig(path, dpi=70)


def _percentiles(table: pd.DataFrame, column: str, low: float) -> Any:
    values = table.loc[table["r"].between(low, low + 0.5), column].dropna()
    return np.percentile(values, [16, 50, 84]) if len(values) >= 3 else np.full(3, np.nan)


if __name__ == "__main__":
    main()
