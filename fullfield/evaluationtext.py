"""An evaluation as lines to read in a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def as_text(result: Mapping[str, Any]) -> str:
    """
    Scores as a table to read.

    Parameters
    ----------
    result : mapping
        As `fullfield.evaluation.evaluate_run` gives it.

    Returns
    -------
    str
    """
    lines = [f"{note}\n" for note in result.get("notes", [])]
    if "catalogue" in result:
        lines += _catalogue_lines(result["catalogue"])
    for task, scores in result.get("classifiers", {}).items():
        chain = scores["chain"]["all"]
        told = ", ".join(f"{name} {entry['k']}" for name, entry in chain.items())
        lines.append(
            f"{task}: accuracy {number(scores['accuracy'])} over {scores['n']} matched objects; "
            f"of {chain['missed']['n']} labelled galaxies {told}"
        )
    for task, under in result.get("calls", {}).items():
        for name, row in under.items():
            called = [(one, entry) for one, entry in row.items() if entry["n"]]
            if len(called) > 2:  # of many classes those that are said at all, the commonest first
                called = sorted((pair for pair in called if pair[1]["k"]), key=lambda pair: -pair[1]["k"])
            told = ", ".join(f"{one} {number(entry)}" for one, entry in called)
            if told:
                lines.append(f"{task}, of {next(iter(row.values()))['n']} detections on {name}: {told}")
    if "pictures" in result:
        scores = result["pictures"]["pooled"]
        lines.append(
            f"\n{scores['fields']} picture(s): "
            f"recall of bright rows {number(scores['recall'])} (n {scores['recall']['n']}), "
            f"purity {number(scores['purity'])} (n {scores['purity']['n']}), "
            f"{scores['left_out']} detections left out"
        )
    if result["without_truth"]:
        lines.append(f"without a truth, left out: {', '.join(result['without_truth'])}")
    return "\n".join(lines).strip()


def _catalogue_lines(catalogue: Mapping[str, Any]) -> list[str]:
    scores = catalogue["pooled"]
    lines = [
        (
            f"{scores['fields']} field(s), {scores['galaxies']} galaxies, {scores['detections']} detections at "
            f"confidence >= {scores['confidence']:g}; 68 % intervals in brackets"
        ),
        "",
        f"{'r <':>5} {'n':>4}  {'completeness':<19} {'purity':<19} {'mean IoU':<19} {'AP50':<19} {'AP50-95':<19}",
    ]
    for limit, row in scores["limits"].items():
        cells = "  ".join(_cell(row[name]) for name in ("completeness", "purity", "mean_iou", "ap50", "ap"))
        lines.append(f"{limit:>5} {row['completeness']['n']:>4}  {cells}")
    apart = scores["unmatched"]
    lines.append(f"\nno object under them: {apart['k']} of {apart['n']} detections, {number(apart)}")
    large = scores["astrocv"]["at_0.10"]["over_22_px"]
    lines += [
        f"false detections a field: {number(scores['false_per_field'])}",
        (
            f"boxes over 22 px, confidence >= 0.10: recall {number(large['recall'])}, "
            f"mean IoU {number(large['mean_iou'])} (n {large['recall']['n']})"
        ),
        f"confidences: expected calibration error {_error(scores['reliability'])}",
    ]
    offsets = catalogue["positions"]
    if offsets["n"]:
        lines.append(f'positions: median offset {offsets["median_arcsec"]:.3f}" over {offsets["n"]} matched galaxies')
    return lines + taken_lines(catalogue["taken"])


def taken_lines(taken: Mapping[str, str]) -> list[str]:
    """What was taken for what in the truth, said once for all files that were read in one way."""
    ways = {notes: path for path, notes in reversed(list(taken.items()))}
    return [f"{path}: {notes}" for notes, path in ways.items()]


def number(entry: Mapping[str, Any]) -> str:
    """Figure with its 68 % interval."""
    if not entry["n"] or not math.isfinite(entry["value"]):
        return "–"
    digits = 1 if entry["value"] >= 10 else 3
    return f"{entry['value']:.{digits}f} [{entry['low']:.{digits}f} {entry['high']:.{digits}f}]"


def _error(reliability: Mapping[str, Any]) -> str:
    given = f"{reliability['given']['ece']:.3f} (n {reliability['given']['n']})"
    return f"{given}, {reliability['raw']['ece']:.3f} before the card's calibration" if "raw" in reliability else given


def _cell(entry: Mapping[str, Any]) -> str:
    return f"{number(entry):<18}"
