"""
Training of the two-stage rival (torchvision's Faster R-CNN) on the three sky folds and the tiles of `folds.py`.

    python benchmarks/two_stage.py WORK [--passes N] [--fold K]...

WORK is the ``--out`` of ``folds.py prepare``; checkpoints go to ``WORK/rivals/fasterrcnn/FOLD``. Stopped, it goes on
where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from folds import FOLDS, OPTIONS, SHARES
from foldsets import sets_folder

from detector.rivals.two_stage_training import train_two_stage
from detector.train import Training
from fieldprep.cores import cores


def main() -> None:
    """Train each fold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--passes", type=int, default=2400)
    parser.add_argument("--fold", type=int, action="append", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    for fold in arguments.fold or range(len(FOLDS)):
        sets = [sets_folder(arguments.work, fold) / kind for kind in SHARES]
        out = arguments.work / "rivals" / "fasterrcnn" / str(fold)
        how = {key: OPTIONS[key] for key in ("seed", "variant_weights", "large_weight")}
        training = Training(passes=arguments.passes, shares=tuple(SHARES.values()), **how)
        print(train_two_stage(sets, out, training), flush=True)


if __name__ == "__main__":
    main()
