"""
EfficientNets B0 to B7 with the tail of the votes: parameters, multiply-adds, time of an image.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --networks efficientnet_b0 --size 224 --repeats 3

Each at the size that it was published with, or all at ``--size``. Compound scaling is to double the multiply-adds from
each to the next, as depth, width and size grow by 1.2, 1.1 and 1.15 together (Tan & Le 2019, section 3.3; their table 2
has 0.39, 0.70, 1.0, 1.8, 4.2, 9.9, 19 and 37 thousand million). The time is torch's processor time of one image, the
least of the repeats, summed over ``--threads`` threads, random weights.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from classifiers.efficientnets import EFFICIENTNETS, published_size
from classifiers.galaxy_zoo_tree import ANSWERS
from classifiers.networks import build, parameters, tail_of


@dataclass(frozen=True)
class Scale:
    """
    What a network takes.

    Parameters
    ----------
    name : str
        As of `classifiers.networks.build`.
    size : int
        Side of the input in pixels.
    parameters, of_tail : int
        Weights that are trained, of all and of the tail.
    multiply_adds : float
        Of an image, in thousand millions.
    seconds : float
        Of processor time, of an image.
    """

    name: str
    size: int
    parameters: int
    of_tail: int
    multiply_adds: float
    seconds: float


def main() -> None:
    """Print the table, a line as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(EFFICIENTNETS), default=list(EFFICIENTNETS))
    parser.add_argument("--size", type=int, help="of all, instead of the published")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'network':16} {'px':>4} {'parameters':>11} {'tail':>8} {'1e9 mult-adds':>14} {'ms an image':>12}")
    for name in arguments.networks:
        one = scale_of(name, arguments.size or published_size(name), arguments.repeats)
        print(
            f"{one.name:16} {one.size:4} {one.parameters:11,} {one.of_tail:8,} {one.multiply_adds:14.3f} "
            f"{1000 * one.seconds:12.1f}",
            flush=True,
        )


def scale_of(name: str, size: int, repeats: int = 5) -> Scale:
    """
    Measure a network.

    Parameters
    ----------
    name : str
        One of `EFFICIENTNETS`.
    size : int
        Side of its input in pixels.
    repeats : int
        How often an image is timed.

    Returns
    -------
    Scale
    """
    network = build(name, 3, size, len(ANSWERS)).eval()
    image = torch.zeros(1, 3, size, size)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(image)
    times = []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.process_time()
            network(image)
            times.append(time.process_time() - start)
    # the counter has two operations for each multiply-add
    flops = counter.get_total_flops() / 2e9
    return Scale(name, size, parameters(network), parameters(tail_of(network)), flops, min(times))


if __name__ == "__main__":
    main()
