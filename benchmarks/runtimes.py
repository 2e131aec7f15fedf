"""
The same network by several runtimes and precisions: time on one field in SEP's, and what each costs in quality.

    python benchmarks/runtimes.py FIELD... [--detector NAME] [--repeat N] [--calibrate FIELD]... [--json FILE]

A FIELD is a folder with the frames and ``catalogue.csv``; the first is timed on, all are scored on. The 8-bit networks
are calibrated on the tiles of the ``--calibrate`` fields (none given: no 8-bit networks), which must not be among those
scored. Rounds alternate between all candidates in one process. Times are the process's own processor seconds, the sum
over its threads, so that other work on the machine counts for little; FULLFIELD_THREADS sets the threads, and with one
the processor's seconds are the wall's.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from detector import Detector
from detector.cards import Card
from detector.evaluate import Scene, score
from detector.instruments import detect_at_scale
from detector.rivals import sep_detect
from fieldprep import Field
from fieldprep.catalogues import read_catalogue, sources_on_field
from fieldprep.cores import cores
from fieldprep.network import load_network
from fieldprep.resources import weights_path
from fieldprep.tiles import windows
from fieldprep.variants import picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from fieldprep.network import Network

    Batch = npt.NDArray[np.float32]

TILE = 640
CALIBRATION_TILES = 36
LIMIT = 20.5  # r magnitude, of the average precision that is compared
MOST_LOST = 0.003  # of AP50, for a precision to be offered


def main() -> None:
    """Time, score, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", nargs="+", type=Path)
    parser.add_argument("--detector", default="galaxy")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--calibrate", action="append", type=Path, default=[])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    path = weights_path(arguments.detector)
    card = Card.beside(path)
    with tempfile.TemporaryDirectory() as folder:
        networks = candidates(path, calibration_tiles(arguments.calibrate, card), Path(folder))
        detectors = {name: Detector(network, card) for name, network in networks.items()}
        times = timed(detectors, Field.read(arguments.fields[0]), arguments.repeat)
        quality = {name: scored(detector, arguments.fields) for name, detector in detectors.items()}
    print(table(times, quality))
    if arguments.json:
        arguments.json.write_text(json.dumps({"seconds": times, "quality": quality, "threads": cores()}, indent=2))


def candidates(path: Path, tiles: list[Batch], folder: Path) -> dict[str, Network]:
    """Every way to run the network that is compared, by name."""
    networks = {
        "OpenVINO float32": load_network(path, runtime="openvino", precision="f32"),
        "ONNX Runtime float32": load_network(path, runtime="onnxruntime"),
    }
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        networks["OpenVINO bfloat16"] = load_network(path, runtime="openvino", precision="bf16")
    openvino.save_model(openvino.Core().read_model(path), folder / "half.xml", compress_to_fp16=True)
    networks["OpenVINO float32, weights float16"] = load_network(folder / "half.xml", precision="f32")
    if tiles:
        networks["OpenVINO int8 (NNCF)"] = load_network(_nncf(path, tiles, folder / "int8.xml"), precision="f32")
        networks["ONNX Runtime int8"] = load_network(
            _quantised(path, tiles, folder / "int8.onnx"), runtime="onnxruntime"
        )
    return networks


def calibration_tiles(folders: list[Path], card: Card) -> list[Batch]:
    """Tiles of fields as the network gets them."""
    tiles = []
    for folder in folders:
        rgb = picture(Field.read(folder), card.variant)
        for window in windows(rgb.shape[:2], TILE, TILE // 4):
            tile = np.moveaxis(rgb[window.rows, window.columns], -1, 0)[None]
            tiles.append(np.ascontiguousarray(tile, np.float32) / 255)
    return tiles[:: max(1, len(tiles) // CALIBRATION_TILES)]


def _nncf(path: Path, tiles: list[Batch], to: Path) -> Path:
    os.environ.setdefault("NNCF_TELEMETRY", "0")
    import nncf  # noqa: PLC0415 -- slow to import, and wanted here only

    # the head's last sums make pixels of fractions: rounded to 8 bits, boxes would jump by several pixels
    head = nncf.IgnoredScope(
        patterns=[r".*/model\.23/dfl.*", r".*/model\.23/(Sub|Add|Mul|Div|Concat|Sigmoid).*"], validate=False
    )
    model = nncf.quantize(
        openvino.Core().read_model(path), nncf.Dataset(tiles), subset_size=len(tiles), ignored_scope=head
    )
    openvino.save_model(model, to)
    return to


def _quantised(path: Path, tiles: list[Batch], to: Path) -> Path:
    import onnx  # noqa: PLC0415
    from onnxruntime.quantization import (  # noqa: PLC0415 -- wanted here only
        CalibrationDataReader,
        QuantFormat,
        quantize_static,
    )

    graph = onnx.load(path).graph

    class Tiles(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(tiles)

        def get_next(self) -> dict[str, Any] | None:
            tile = next(self.left, None)
            return None if tile is None else {graph.input[0].name: tile}

    convolutions = [node.name for node in graph.node if node.op_type == "Conv" and "dfl" not in node.name]
    quantize_static(path, to, Tiles(), quant_format=QuantFormat.QDQ, nodes_to_quantize=convolutions, per_channel=True)
    return to


def timed(detectors: dict[str, Detector], field: Field, repeat: int) -> dict[str, dict[str, float]]:
    """Median processor seconds of each: whole field, the same in tiles; and of SEP, and of the network's input."""
    jobs: dict[str, dict[str, Callable[[], Any]]] = {}
    for name, detector in detectors.items():
        rgb = picture(field, detector.card.variant)
        batch = detector._batch(rgb)  # noqa: SLF001 -- what is timed is the network alone
        tiles = np.concatenate(list(_tiles(batch)))
        jobs[name] = {
            "picture to detections": lambda d=detector, rgb=rgb: d.detect_picture(rgb, field.mask),
            "network, whole": lambda d=detector, batch=batch: d.network(batch),
            "network, tiles one by one": lambda d=detector, tiles=tiles: [d.network(t[None]) for t in tiles],
            "network, tiles in one batch": lambda d=detector, tiles=tiles: d.network(tiles),
        }
    jobs["SEP, one band"] = {"picture to detections": lambda: sep_detect(field)}
    seconds: dict[str, dict[str, list[float]]] = {name: {what: [] for what in parts} for name, parts in jobs.items()}
    for turn in range(repeat + 1):
        for name, parts in jobs.items():
            for what, job in parts.items():
                start = time.process_time()
                job()
                if turn:  # the first compiles
                    seconds[name][what].append(time.process_time() - start)
    return {name: {what: median(values) for what, values in parts.items()} for name, parts in seconds.items()}


def _tiles(batch: Batch) -> Iterator[Batch]:
    for window in windows(batch.shape[2:], TILE, TILE // 4):
        yield batch[:, :, window.rows, window.columns]


def scored(detector: Detector, folders: list[Path]) -> dict[str, float]:
    """Average precision and mean IoU over the fields."""
    scenes = []
    for folder in folders:
        field = Field.read(folder)
        catalogue = read_catalogue(folder / "catalogue.csv")
        truth = sources_on_field(catalogue, field.shape, wcs=field.wcs, pixel_scale=field.pixel_scale)
        scenes.append(Scene(detect_at_scale(detector, field), truth, field.shape))
    row = score(scenes, detector.card.confidence, limits=(LIMIT,))["limits"][f"{LIMIT:g}"]
    return {measure: row[measure]["value"] for measure in ("ap50", "ap", "mean_iou", "completeness", "purity")}


def table(times: dict[str, dict[str, float]], quality: dict[str, dict[str, float]]) -> str:
    """Markdown, every time in SEP's."""
    sep = times["SEP, one band"]["picture to detections"]
    kinds = list(next(iter(times.values())))
    lines = [
        f"{cores()} threads; SEP on one band {sep:.3f} s = 1; r < {LIMIT:g}; offered only if AP50 loses < {MOST_LOST}",
        "",
        f"| runtime | {' | '.join(kinds)} | AP50 | lost | AP50-95 | mean IoU | completeness | purity |",
        "|---|" + "---|" * (len(kinds) + 6),
    ]
    best = quality["OpenVINO float32"]
    for name, parts in times.items():
        cells = [f"{parts[kind] / sep:.2f}" if kind in parts else "" for kind in kinds]
        if name in quality:
            q = quality[name]
            cells += [f"{q['ap50']:.4f}", f"{best['ap50'] - q['ap50']:+.4f}"]
            cells += [f"{q[measure]:.3f}" for measure in ("ap", "mean_iou", "completeness", "purity")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
