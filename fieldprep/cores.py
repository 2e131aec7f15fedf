"""How many processor cores this process may use."""

from __future__ import annotations

import os

THREADS = "FULLFIELD_THREADS"  # environment variable: an upper limit, set for each process of a batch


def cores() -> int:
    """
    Cores this process may use.

    Returns
    -------
    int
        Those the scheduler allows it, at most what the environment variable FULLFIELD_THREADS says.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get(THREADS, "")
    return max(1, min(allowed, int(limit))) if limit.isdigit() else allowed
