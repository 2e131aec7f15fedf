"""
Object detection for full survey fields.

The public face: `Field` reads a field, `detect_at_scale` finds its objects with a `Detector`, `run` does both for many.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector import Detections, Detector, detect_at_scale
    from fieldprep import Field
    from fullfield.batch import run
    from fullfield.pipeline import Request

_HOMES = {
    "Detections": "detector",
    "Detector": "detector",
    "Field": "fieldprep",
    "Request": "fullfield.pipeline",
    "detect_at_scale": "detector",
    "run": "fullfield.batch",
}

__all__ = ["Detections", "Detector", "Field", "Request", "detect_at_scale", "run"]


def __getattr__(name: str) -> Any:
    """Import on first use: the command line answers --help, or names a missing system library, without it all."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fullfield' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
