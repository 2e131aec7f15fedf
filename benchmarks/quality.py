"""
Our detector and plain SEP on the same fields, by the same rules, in one run.

    python benchmarks/quality.py FIELD... [--detector NAME] [--confidence C] [--json FILE]

A FIELD is a folder with the frames and ``catalogue.csv``. Use fields the detector was not trained on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector import Detector
from detector.evaluate import Scene, score
from detector.rivals import sep_detect
from fieldprep import Field
from fieldprep.catalogues import Sources, read_catalogue, sources_on_field

if TYPE_CHECKING:
    from detector.detections import Detections

MEASURES = ("completeness", "purity", "mean_iou", "ap50", "ap")


def main() -> None:
    """Score both and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", nargs="+", type=Path)
    parser.add_argument("--detector", default="galaxy")
    parser.add_argument("--confidence", type=float)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    detector = Detector.load(arguments.detector)
    confidence = detector.card.confidence if arguments.confidence is None else arguments.confidence
    fields = [_with_truth(folder) for folder in arguments.fields]
    results = {
        f"{detector.card.name} ({detector.card.network})": _score(
            [(field, truth, detector.detect(field)) for field, truth in fields], confidence
        ),
        "SEP, concentration cut": _score([(field, truth, sep_detect(field)) for field, truth in fields], 0.0),
    }
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown table: a row a detector and magnitude limit."""
    lines = [
        "| detector | r < | n | completeness | purity | mean IoU | AP50 | AP50-95 | nothing under |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, scores in results.items():
        apart = f"{scores['unmatched']['k']} of {scores['unmatched']['n']}"
        for limit, row in scores["limits"].items():
            cells = " | ".join(f"{row[m]['value']:.3f} ({row[m]['low']:.3f}-{row[m]['high']:.3f})" for m in MEASURES)
            lines.append(f"| {name} | {limit} | {row['completeness']['n']} | {cells} | {apart} |")
    return "\n".join(lines)


def _with_truth(folder: Path) -> tuple[Field, Sources]:
    field = Field.read(folder)
    catalogue = read_catalogue(folder / "catalogue.csv")
    return field, sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)


def _score(found: list[tuple[Field, Sources, Detections]], confidence: float) -> dict[str, Any]:
    scenes = [Scene(detections, truth, field.shape) for field, truth, detections in found]
    return score(scenes, confidence, limits=(19, 20, 20.5, 21, 21.5))


if __name__ == "__main__":
    main()
