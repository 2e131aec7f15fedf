"""
Time of one field from frames on disk to catalogue written, by stage, against SEP on one band in the same run.

    python benchmarks/stages.py FIELD [--repeat N] [--detector NAME]

Figures are medians over the repeats; the first, which loads the network, is told apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from detector.rivals import sep_detect
from fieldprep import Field
from fieldprep.cores import cores
from fullfield.pipeline import STAGES, Request, run_field
from fullfield.sources import find_sources


def main() -> None:
    """Run the field several times and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("field")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--detector", default="galaxy")
    arguments = parser.parse_args()
    request = Request.of(arguments.detector)
    (source,) = find_sources([arguments.field])
    field = Field.read(list(source.paths))
    sep_times, runs = [], []
    with tempfile.TemporaryDirectory() as folder:
        first = run_field(source, request, Path(folder))
        for _ in range(arguments.repeat):
            start = time.perf_counter()
            sep_detect(field)
            sep_times.append(time.perf_counter() - start)
            runs.append(run_field(source, request, Path(folder)).seconds)
    sep_time = median(sep_times)
    print(f"{source.name}, {field.shape[0]} x {field.shape[1]}, {cores()} cores, medians of {arguments.repeat}\n")
    print("| stage | seconds | x SEP, one band | first field |\n|---|---|---|---|")
    for stage in STAGES:
        value = median(run[stage] for run in runs)
        print(f"| {stage} | {value:.2f} | {value / sep_time:.1f} | {first.seconds[stage]:.2f} |")
    whole = median(sum(run.values()) for run in runs)
    print(f"| whole | {whole:.2f} | {whole / sep_time:.1f} | {sum(first.seconds.values()):.2f} |")
    print(f"| SEP with a concentration cut, r band | {sep_time:.2f} | 1.0 | |")


if __name__ == "__main__":
    main()
