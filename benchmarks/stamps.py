"""
Stamps a second of each shipped classifier, from stamps as they come to probabilities, on one thread.

    FULLFIELD_THREADS=1 python benchmarks/stamps.py [NAME...]

Processor time, the best of five, as in a run (in bfloat16 where the processor can) and in float32; beside them ONNX
Runtime on the same stamps, where it is installed, and what the preparation alone takes.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from classifiers.cards import Card
from classifiers.classify import AT_ONCE, Classifier
from fieldprep import resources
from fieldprep.cards import read_card
from fieldprep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from classifiers.preparing import Preparation
    from fieldprep.field import FloatImage

STAMPS, TIMES = 512, 5


def main() -> None:
    """Time each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    shipped = [name.removesuffix(".onnx") for name in resources.names("weights", ".onnx")]
    names = arguments.names or [name for name in shipped if "stamps" in read_card(resources.weights_path(name))]
    print("| classifier | network | stamps a second | in float32 | preparation alone | ONNX Runtime |")
    print("|---|---|---|---|---|---|")
    for name in names:
        card = Card.beside(resources.weights_path(name))
        prepare = card.preparation
        stamps = np.random.default_rng(0).normal(0, 1, (STAMPS, prepare.size, prepare.size, prepare.channels))
        stamps = stamps.astype(np.float32)
        ours, exact = (
            rate(partial(Classifier.load(name, runtime="openvino", precision=precision).predict, stamps))
            for precision in (None, "f32")
        )
        alone = rate(partial(_prepared, prepare, stamps))
        try:
            theirs = f"{rate(partial(Classifier.load(name, runtime='onnxruntime').predict, stamps)):.0f}"
        except UsageError:
            theirs = "not installed"
        network = f"{card.network}, {prepare.size} px"
        print(f"| {name} | {network} | {ours:.0f} | {exact:.0f} | {alone:.0f} | {theirs} |", flush=True)


def _prepared(prepare: Preparation, stamps: FloatImage) -> None:
    for start in range(0, STAMPS, AT_ONCE):
        prepare(stamps[start : start + AT_ONCE])


def rate(work: Callable[[], object]) -> float:
    """Stamps a second of processor time."""
    work()
    taken = []
    for _ in range(TIMES):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return STAMPS / min(taken)


if __name__ == "__main__":
    main()
