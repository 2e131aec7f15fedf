"""
Our detect stage beside SEP, photutils, ultralytics' predict and SAHI: one field, one run, the same weights.

    python benchmarks/detect.py FIELD --checkpoint WEIGHTS.pt --detector WEIGHTS.onnx [--repeat N] [--json FILE]

FIELD is a folder with the frames and ``catalogue.csv``; the checkpoint and the exported detector are of one training,
which did not see the field. The rounds alternate between all. Times are the process's own processor seconds, the sum
over its threads, from the picture (for SEP and photutils: from the band) to the detections, and are given in SEP's.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from detector import Detector
from detector.evaluate import Scene, score
from detector.instruments import detect_at_scale
from detector.rivals import sep_detect
from detector.rivals.sahi_slices import Sahi
from detector.rivals.segmentation import photutils_detect
from detector.rivals.tuned_sep import tuned_sep_detect
from detector.rivals.ultralytics_predict import UltralyticsPredict
from fieldprep import Field
from fieldprep.catalogues import read_catalogue, sources_on_field
from fieldprep.cores import cores
from fieldprep.variants import picture
from fieldprep.views import PictureView

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.detections import Detections

LIMIT = 20.5


def main() -> None:
    """Time all in turn, score what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("field", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--detector", default="galaxy")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    field = Field.read(arguments.field)
    found, seconds = compared(contestants(field, arguments.checkpoint, arguments.detector), arguments.repeat)
    catalogue = read_catalogue(arguments.field / "catalogue.csv")
    truth = sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)
    rows = {}
    for name, detections in found.items():
        scored = score([Scene(detections, truth, field.shape)], 0.0, limits=(LIMIT,))["limits"][f"{LIMIT:g}"]
        rows[name] = {
            "seconds": seconds[name],
            "x_sep": seconds[name] / seconds["SEP, one band"],
            "detections": len(detections),
            **{measure: scored[measure]["value"] for measure in ("ap50", "ap")},
        }
    print(f"{arguments.field.name}, {field.shape[0]} x {field.shape[1]}, {cores()} threads, medians of", end=" ")
    print(f"{arguments.repeat}, r < {LIMIT:g}\n")
    print("| what | seconds | x SEP | detections | AP50 | AP50-95 |\n|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(
            f"| {name} | {row['seconds']:.2f} | {row['x_sep']:.1f} | {row['detections']} "
            f"| {row['ap50']:.3f} | {row['ap']:.3f} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def contestants(field: Field, checkpoint: Path, weights: str) -> dict[str, Callable[[], Detections]]:
    """What is compared, each ready to be called; learned ones start from the picture."""
    ours = Detector.load(weights)
    rgb = picture(field, ours.card.variant)
    ways = {"view": PictureView(rgb, field.mask)}
    elsewhere = Detector.load(weights, runtime="onnxruntime")
    return {
        "SEP, one band": partial(sep_detect, field),
        "SEP, three bands, tuned": partial(tuned_sep_detect, field),
        "photutils, one band": partial(photutils_detect, field),
        "ours": partial(detect_at_scale, ours, field, **ways),
        "ours, the network's own boxes": partial(detect_at_scale, ours, field, measured=False, **ways),
        "ours, ONNX Runtime": partial(detect_at_scale, elsewhere, field, **ways),
        "ultralytics predict": partial(UltralyticsPredict.load(checkpoint).detect_picture, rgb),
        "ultralytics predict, whole field": partial(
            UltralyticsPredict.load(checkpoint, whole=True).detect_picture, rgb
        ),
        "SAHI, slices of 640": partial(Sahi.load(checkpoint).detect_picture, rgb),
        "SAHI, slices of 640, confidence 0.25": partial(Sahi.load(checkpoint, confidence=0.25).detect_picture, rgb),
        "SAHI, slices of 512": partial(Sahi.load(checkpoint, slice_px=512).detect_picture, rgb),
    }


def compared(jobs: dict[str, Callable[[], Any]], repeat: int) -> tuple[dict[str, Detections], dict[str, float]]:
    """What each found, and its median processor seconds; the first round, which loads and compiles, is not counted."""
    found: dict[str, Detections] = {}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeat + 1):
        for name, job in jobs.items():
            start = time.process_time()
            found[name] = job()
            if turn:
                seconds[name].append(time.process_time() - start)
    return found, {name: median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
