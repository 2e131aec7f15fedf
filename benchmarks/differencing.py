"""
Difference images of real fields: transients found and missed, false ones, positions, fluxes, noise; peers beside ours.

    python benchmarks/differencing.py DATA --out WORK [--fields N] [--only METHOD]...

DATA holds ``sdss/RUN-CAMCOL-FIELD`` with catalogues. Of each field's r frame pairs of nights are made (`epochs`), one
a setting, and subtracted by each method: ours, the same without kernels, with photutils' two ways to make a kernel for
the sharper image, and with ZOGY's. What is found of a pair is kept in ``WORK/found`` and not found again. Writes
``differencing.md``, ``differencing.json``, ``differencing.png`` and, as ZTF's alerts are laid out, the stamps of what
ours and the subtraction without kernels find: ``WORK/triplets/METHOD/{triplets.npz,alerts.csv}``. hotpants is not
compared with: it has no package to install.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import epochs
import matplotlib as mpl
import numpy as np
import pandas as pd
from astropy.stats import binom_conf_interval, poisson_conf_interval
from photutils.psf_matching import SplitCosineBellWindow, make_kernel, make_wiener_kernel
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from fieldprep.differencing import Difference, candidates, matching, subtract, triplets

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Matching = Callable[[Floats, Floats], tuple[Floats, Floats]]

mpl.use("Agg")

MATCH_PX, OWN_PX = 3.0, 8.0  # a candidate is a transient's, or at least its fault
EMPTY_PX, CORE_PX, CORE_MAGNITUDE = 8, 3, 20.0
MAGNITUDES = (18.0, 20.0, 21.0, 21.5, 22.0, 22.5, 23.0)
BRIGHTER = 21.5  # of the completeness by which methods are compared
KEPT = {"ours": "ours", "no kernel": "no_kernel"}  # methods whose stamps are kept, and their folders
CELL_PX = 63  # of the sky that is one object to a split
SHOWN = 4  # stamps of a kind


def _identity(side: int) -> Floats:
    kernel = np.zeros((side, side))
    kernel[side // 2, side // 2] = 1
    return kernel


def _sharper(make: Callable[[Floats, Floats], Floats]) -> Matching:
    """A way to make one kernel, laid over whichever is the sharper."""

    def kernels(science: Floats, template: Floats) -> tuple[Floats, Floats]:
        one = _identity(len(science))
        if (template**2).sum() > (science**2).sum():
            return one, make(template, science)
        return make(science, template), one

    return kernels


def zogy(science: Floats, template: Floats) -> tuple[Floats, Floats]:
    """Kernels of the proper difference, for images of one noise (Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27, eq. 13)."""
    ours, theirs = (np.fft.fft2(np.fft.ifftshift(psf)) for psf in (science, template))
    # where neither has signal the ratio is nought over nought
    whitening = np.sqrt(np.abs(ours) ** 2 + np.abs(theirs) ** 2 + 1e-6)
    first, second = (np.fft.fftshift(np.fft.ifft2(one / whitening).real) for one in (theirs, ours))
    return first / first.sum(), second / second.sum()


METHODS: dict[str, Matching] = {
    "ours": matching,
    "no kernel": lambda science, _: (_identity(len(science)),) * 2,
    "photutils, Wiener": _sharper(lambda a, b: make_wiener_kernel(a, b, penalty="laplacian")),
    "photutils, cosine window": _sharper(lambda a, b: make_kernel(a, b, window=SplitCosineBellWindow(0.35, 0.3))),
    "ZOGY": zogy,
}


def main() -> None:
    """Make the pairs, subtract, score, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--fields", type=int, help="how many, the first by name; all that have a catalogue if not given"
    )
    parser.add_argument("--only", action="append", default=[], choices=METHODS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folders = sorted(path.parent for path in (arguments.data / "sdss").glob("*/catalogue.csv"))[: arguments.fields]
    kept = arguments.out / "found"
    kept.mkdir(parents=True, exist_ok=True)
    methods = [name for name in METHODS if not arguments.only or name in arguments.only]
    for number, folder in enumerate(folders):
        find(folder, kept, methods, seed=arguments.seed + 100 * number)
    rows, false, noise, stamps = collected(kept, [folder.name for folder in folders], methods)
    result = scores(rows, false, noise, len(folders))
    (arguments.out / "differencing.json").write_text(json.dumps(result, indent=1))
    (arguments.out / "differencing.md").write_text(text := tables(result))
    for method in set(KEPT) & set(methods):
        write_alerts(rows, false, stamps, method, arguments.out / "triplets" / KEPT[method])
    draw(rows, false, stamps, arguments.out / "differencing.png")
    print(text)


def find(folder: Path, kept: Path, methods: list[str], seed: int) -> None:
    """Subtract each pair of a field by each method, unless it is done; a file for each."""
    paths = {
        (setting, method): kept / f"{folder.name}-{s}-{list(METHODS).index(method)}.npz"
        for s, setting in enumerate(epochs.SETTINGS)
        for method in methods
    }
    if all(path.exists() for path in paths.values()):
        return
    frame = epochs.read_frame(folder)
    for s, (setting, nights) in enumerate(epochs.SETTINGS.items()):
        todo = {method: paths[setting, method] for method in methods if not paths[setting, method].exists()}
        if not todo:
            continue
        search, template, truth = epochs.two_nights(frame, nights, seed + s)
        for method, path in todo.items():
            difference = subtract(search, template, kernels=METHODS[method])
            found = scored(frame, truth, difference, keep=method in KEPT)
            told = {key: found.pop(key).to_json(orient="split", double_precision=15) for key in ("truth", "false")}
            part = path.with_suffix(".part.npz")
            np.savez_compressed(part, told=json.dumps(told), **found)
            part.replace(path)
            print(folder.name, setting, method, flush=True)


def scored(frame: epochs.Frame, truth: pd.DataFrame, difference: Difference, *, keep: bool) -> dict[str, Any]:
    """What came of each transient, the false candidates and where they lie, noise over its estimate, stamps."""
    found = candidates(difference)
    sign = np.where(found["positive"], 1, -1)
    apart = np.hypot(*(truth[[c]].to_numpy() - found[c].to_numpy() for c in ("x", "y")))
    matching_sign = np.sign(truth["flux"].to_numpy())[:, None] == sign
    usable = np.where(matching_sign & (apart < MATCH_PX), apart, np.inf)
    best = usable.argmin(axis=1) if len(found) else np.zeros(len(truth), int)
    hit = np.isfinite(usable.min(axis=1)) if len(found) else np.zeros(len(truth), bool)
    truth = truth.assign(found=hit)
    for column in ("x", "y", "flux", "signal_to_noise", "unusable"):
        truth[f"found_{column}"] = np.where(hit, found[column].to_numpy(np.float64)[best], np.nan) if len(found) else 0
    false = found[apart.min(axis=0) > OWN_PX].reset_index(drop=True)
    false = false.assign(on=_what_it_is_on(frame, difference, false))
    result = {"truth": truth, "false": false, **_noise(frame, truth, difference)}
    if keep:
        result["stamps"] = triplets(
            difference, truth["found_x"].fillna(truth["x"]), truth["found_y"].fillna(truth["y"])
        )
        result["false_stamps"] = triplets(difference, false["x"].to_numpy(), false["y"].to_numpy())
    return {k: v.astype(np.float16) if "stamps" in k else v for k, v in result.items()}


def _what_it_is_on(frame: epochs.Frame, difference: Difference, false: pd.DataFrame) -> list[str]:
    table = frame.catalogue
    near, nearest = cKDTree(table[["x", "y"]]).query(false[["x", "y"]])
    edge = distance_transform_edt(np.isfinite(np.pad(difference.difference, 1, constant_values=np.nan)))[1:-1, 1:-1]
    kinds = []
    for row, away, k in zip(false.itertuples(), near, nearest, strict=True):
        bright = table["modelMag_r"][k] < epochs.BRIGHT_MAGNITUDE
        if row.unusable:
            kinds.append("saturated star (told)")
        elif edge[round(row.y), round(row.x)] < epochs.PSF_PX // 2:
            kinds.append("edge")
        elif table["type"][k] == 6 and away < (25 if bright else 6):
            kinds.append("bright star" if bright else "star")
        elif table["type"][k] == 3 and away < max(4.0, table["petroR50_r"][k] / epochs.PIXEL_SCALE):
            kinds.append("galaxy")
        else:
            kinds.append("nothing catalogued")
    return kinds


def _noise(frame: epochs.Frame, truth: pd.DataFrame, difference: Difference) -> dict[str, Floats]:
    """Root-mean-square of the difference over its noise away from all sources, and at galaxies' cores."""
    ratio = difference.difference / difference.noise
    clear = np.ones(ratio.shape, bool)
    clear[np.rint(truth["y"]).astype(int), np.rint(truth["x"]).astype(int)] = False
    clear = distance_transform_edt(clear) > epochs.PSF_PX
    empty = clear & np.isfinite(ratio) & (distance_transform_edt(frame.seen.segments == 0) > EMPTY_PX)
    table = frame.catalogue
    hosts = table[(table["type"] == 3) & (table["ignore"] == 0) & (table["modelMag_r"] < CORE_MAGNITUDE)]
    core = np.ones(ratio.shape, bool)
    inside = hosts["x"].between(0, ratio.shape[1] - 1) & hosts["y"].between(0, ratio.shape[0] - 1)
    core[np.rint(hosts["y"][inside]).astype(int), np.rint(hosts["x"][inside]).astype(int)] = False
    core = (distance_transform_edt(core) < CORE_PX) & clear & np.isfinite(ratio)
    return {"empty": np.array([ratio[empty].std(), empty.sum()]), "core": np.array([ratio[core].std(), core.sum()])}


def collected(
    kept: Path, fields: list[str], methods: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, npt.NDArray[np.float16]]]:
    """Transients, false candidates and noise of all pairs, and the stamps of the methods they are kept of."""
    rows, false, noise = [], [], []
    stamps: dict[str, list[Any]] = {f"{method} {kind}": [] for method in KEPT for kind in ("stamps", "false_stamps")}
    for method in methods:
        for field in fields:
            for s, setting in enumerate(epochs.SETTINGS):
                of = {"field": field, "setting": setting, "method": method}
                with np.load(kept / f"{field}-{s}-{list(METHODS).index(method)}.npz") as content:
                    told = json.loads(str(content["told"]))
                    rows.append(pd.DataFrame(**json.loads(told["truth"])).assign(**of))
                    false.append(pd.DataFrame(**json.loads(told["false"])).assign(**of))
                    noise.append(of | {name: float(content[name][0]) for name in ("empty", "core")})
                    for kind in ("stamps", "false_stamps"):
                        if kind in content:
                            stamps[f"{method} {kind}"].append(content[kind])
    joined = {name: np.concatenate(parts) for name, parts in stamps.items() if parts}
    return pd.concat(rows, ignore_index=True), pd.concat(false, ignore_index=True), pd.DataFrame(noise), joined


def share(hit: pd.Series) -> dict[str, float]:
    """Share, n and its 68 % Jeffreys interval."""
    n = len(hit)
    if not n:
        return {"n": 0}
    low, high = binom_conf_interval(int(hit.sum()), n, interval="jeffreys")
    return {"value": float(hit.mean()), "low": float(low), "high": float(high), "n": n}


def rate(count: int, fields: int) -> dict[str, float]:
    """Number a field and its 68 % Poisson interval."""
    low, high = poisson_conf_interval(count, interval="frequentist-confidence")
    return {"value": count / fields, "low": float(low) / fields, "high": float(high) / fields, "n": count}


def errors(rows: pd.DataFrame) -> dict[str, float]:
    """Position errors in pixels, bias and scatter of the flux, and its pull, of what was found."""
    rows = rows[rows["found"]]
    if len(rows) < 2:
        return {"n": len(rows)}
    away = np.hypot(rows["found_x"] - rows["x"], rows["found_y"] - rows["y"])
    ratio = rows["found_flux"] / rows["flux"] - 1
    pull = (rows["found_flux"] - rows["flux"]) / (rows["found_flux"] / rows["found_signal_to_noise"]).abs()
    middle, spread = _median_spread(ratio)
    return {
        "n": len(rows),
        "position_median_px": float(away.median()),
        "position_95_px": float(away.quantile(0.95)),
        "flux_bias": middle,
        "flux_bias_error": 1.2533 * spread / np.sqrt(len(rows)),
        "flux_scatter": spread,
        "pull_scatter": _median_spread(pull)[1],
    }


def _median_spread(values: pd.Series) -> tuple[float, float]:
    """Median, and the normal sigma of as wide a middle 68 %."""
    low, middle, high = np.quantile(values, [0.159, 0.5, 0.841])
    return float(middle), float((high - low) / 2)


def scores(rows: pd.DataFrame, false: pd.DataFrame, noise: pd.DataFrame, fields: int) -> dict[str, Any]:
    """All figures, by setting and method, and ours by magnitude, surroundings and signal to noise."""
    new = rows[rows["kind"] != "variable star"]  # a change of magnitude 21 is nothing to a star of magnitude 15
    by = []
    for (setting, method), part in new.groupby(["setting", "method"], sort=False):
        wrong = false[(false["setting"] == setting) & (false["method"] == method)]
        told = wrong["unusable"].astype(bool)
        of = noise[(noise["setting"] == setting) & (noise["method"] == method)]
        by.append(
            {
                "setting": setting,
                "method": method,
                "complete": share(part["found"][part["magnitude"] < BRIGHTER]),
                "false": rate(int((~told).sum()), fields),
                "told": rate(int(told.sum()), fields),
                "noise_empty": _range(of["empty"]),
                "noise_core": _range(of["core"]),
                **errors(part[part["found_signal_to_noise"] > 10]),
            }
        )
    ours = rows[rows["method"] == "ours"]
    edges = list(pairwise(MAGNITUDES))
    complete = [
        {
            "kind": kind,
            "setting": setting,
            "from": a,
            "to": b,
            **share(group["found"][group["magnitude"].between(a, b)]),
        }
        for (setting, kind), group in ours.groupby(["setting", "kind"], sort=False)
        for a, b in edges
    ]
    pooled = [
        {"kind": kind, "from": a, "to": b, **share(group["found"][group["magnitude"].between(a, b)])}
        for kind, group in ours.groupby("kind", sort=False)
        for a, b in edges
    ]
    strength = [(5, 7), (7, 10), (10, 20), (20, 50), (50, np.inf)]
    precise = [
        {"from": a, "to": float(b), **errors(ours[ours["found_signal_to_noise"].between(a, b)])} for a, b in strength
    ]
    wrong = false.groupby(["method", "on"], sort=False).size().reset_index(name="n")
    pairs = fields * len(epochs.SETTINGS)
    where = [{**row, **rate(int(row["n"]), pairs)} for row in wrong.to_dict("records")]
    return {"fields": fields, "pairs": pairs, "by_setting": by, "completeness": complete, "pooled": pooled,
            "precision": precise, "false_on": where}  # fmt: skip


def _range(values: pd.Series) -> list[float]:
    return [float(values.median()), float(values.min()), float(values.max())]


def tables(result: dict[str, Any]) -> str:
    """Markdown of the figures."""
    lines = [f"{result['fields']} fields, {result['pairs']} pairs of nights; 68 % intervals", ""]
    heads = ["nights", "method", f"found, < {BRIGHTER}", "false a field", "told as saturated", "noise, empty sky",
             "noise, cores", "position, S/N > 10 (median, 95 %), px", "flux, S/N > 10 (bias, scatter), %"]  # fmt: skip
    lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in result["by_setting"]:
        position = f"{row['position_median_px']:.2f}, {row['position_95_px']:.2f}"
        flux = f"{100 * row['flux_bias']:+.1f} ± {100 * row['flux_bias_error']:.1f}, {100 * row['flux_scatter']:.1f}"
        lines.append(
            f"| {row['setting']} | {row['method']} | {_share(row['complete'])} | {_rate(row['false'])} "
            f"| {_rate(row['told'])} | {row['noise_empty'][0]:.2f} | {row['noise_core'][0]:.2f} | {position} | {flux} |"
        )
    kinds = list(dict.fromkeys(row["kind"] for row in result["pooled"]))
    lines += ["", "| magnitude | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for a, b in pairwise(MAGNITUDES):
        of = {row["kind"]: row for row in result["pooled"] if row["from"] == a}
        lines.append(f"| {a:g}-{b:g} | " + " | ".join(_share(of[kind]) for kind in kinds) + " |")
    lines += ["", "| S/N | n | position (median, 95 %), px | flux (bias, scatter), % | pull |", "|---|---|---|---|---|"]
    for row in result["precision"]:
        if row["n"] < 2:
            continue
        position = f"{row['position_median_px']:.2f}, {row['position_95_px']:.2f}"
        lines.append(
            f"| {row['from']:g}-{row['to']:g} | {row['n']} | {position} "
            f"| {100 * row['flux_bias']:+.1f} ± {100 * row['flux_bias_error']:.1f}, {100 * row['flux_scatter']:.1f} "
            f"| {row['pull_scatter']:.2f} |"
        )
    lines += ["", "| false candidates of | on | a field | n |", "|---|---|---|---|"]
    for row in sorted(result["false_on"], key=lambda row: (list(METHODS).index(row["method"]), -row["n"])):
        lines.append(f"| {row['method']} | {row['on']} | {_rate(row)} | {row['n']} |")
    return "\n".join(lines) + "\n"


def _share(row: dict[str, float]) -> str:
    return f"{row['value']:.2f} ({row['low']:.2f}-{row['high']:.2f}, n {row['n']})" if row["n"] else "-"


def _rate(row: dict[str, float]) -> str:
    return f"{row['value']:.1f} ({row['low']:.1f}-{row['high']:.1f})"


def write_alerts(rows: pd.DataFrame, false: pd.DataFrame, stamps: dict[str, Any], method: str, out: Path) -> None:
    """Found transients and false candidates of a method, as `classifiers.stampsets.read_stamps` takes ZTF's."""
    out.mkdir(parents=True, exist_ok=True)
    real, bogus = rows[rows["method"] == method].reset_index(drop=True), false[false["method"] == method]
    kept = real["found"].to_numpy(bool)
    planes = np.concatenate([stamps[f"{method} stamps"][kept], stamps[f"{method} false_stamps"]])
    at = {name: real[f"found_{name}"] for name in ("x", "y", "signal_to_noise", "unusable")}
    real = real.assign(label="real", on=real["kind"], positive=real["flux"] > 0, **at)[kept]
    table = pd.concat([real, bogus.assign(label="bogus")], ignore_index=True)
    table["unusable"] = table["unusable"].astype(int)
    cell = (table[["x", "y"]] // CELL_PX).astype(int).astype(str).agg("-".join, axis=1)
    table["objectId"] = table["field"] + "-" + cell
    table["candid"] = np.arange(len(table))
    table["isdiffpos"] = np.where(table["positive"].astype(bool), "t", "f")
    # a faded star's difference is turned, as ZTF's is by isdiffpos
    turned = np.where(table["positive"].astype(bool), 1, -1).astype(np.float16)
    arrays = {name: planes[..., k] for k, name in enumerate(("science", "template", "difference"))}
    arrays["difference"] = arrays["difference"] * turned[:, None, None]
    columns = ["objectId", "candid", "label", "isdiffpos", "on", "magnitude", "signal_to_noise", "unusable", "x", "y"]
    for path, write in (
        (out / "triplets.npz", lambda part: np.savez_compressed(part, **arrays)),
        (out / "alerts.csv", lambda part: table[[*columns, "field", "setting"]].to_csv(part, index=False)),
    ):
        part = path.with_name(f"part-{path.name}")
        write(part)
        part.replace(path)


def draw(rows: pd.DataFrame, false: pd.DataFrame, stamps: dict[str, Any], path: Path) -> None:
    """Science, template and difference of found and missed transients and of the surest false candidates."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 -- after the backend is set

    ours = rows[rows["method"] == "ours"].reset_index(drop=True)
    wrong = false[false["method"] == "ours"].reset_index(drop=True)
    groups: list[tuple[str, npt.NDArray[np.int64], Any, pd.DataFrame]] = []
    for kind, part in ours[ours["found"]].groupby("kind", sort=False):
        part = part.sort_values("magnitude")  # noqa: PLW2901 -- the same rows
        index = part.index.to_numpy()[np.linspace(0, len(part) - 1, SHOWN).astype(int)]
        groups.append((kind, index, stamps["ours stamps"], ours))
    missed = ours[~ours["found"]].sort_values("magnitude").index.to_numpy()[:SHOWN]
    groups.append(("missed", missed, stamps["ours stamps"], ours))
    surest = wrong.sort_values("signal_to_noise", ascending=False)
    told = surest["unusable"].astype(bool)
    for kind, part in (("false", surest[~told]), ("false, told", surest[told])):
        groups.append((kind, part.index.to_numpy()[:SHOWN], stamps["ours false_stamps"], wrong))
    figure, axes = plt.subplots(len(groups), 3 * SHOWN, figsize=(15, 1.45 * len(groups)), layout="constrained")
    for row, (kind, index, planes, table) in zip(axes, groups, strict=True):
        for axis in row:
            axis.set_axis_off()
        for k, number in enumerate(index):
            stamp = planes[number].astype(np.float32)
            noise = np.nanmedian(np.abs(stamp[..., 2])) / 0.6745
            for plane in range(3):
                axis = row[3 * k + plane]
                limits = (-5, 5) if plane == 2 else (-5, 25)
                axis.imshow(stamp[..., plane] / noise, vmin=limits[0], vmax=limits[1], cmap="gray", origin="lower")
            seen = table.loc[number]
            what = (
                f"S/N {seen['signal_to_noise']:.0f}, {seen['on']}" if "on" in seen else f"{seen['magnitude']:.1f} mag"
            )
            row[3 * k].set_title(f"{kind}, {what}", fontsize=7, loc="left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
