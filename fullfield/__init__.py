"""
Object detection for full survey fields.

The public face: `Field` reads a field, `Detector` finds its objects, `run` does both for many fields.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector import Detections, Detector
    from fieldprep import Field
    from fullfield.batch import run
    from fullfield.pipeline import Request

_HOMES = {
    "Detections": "detector",
    "Detector": "detector",
    "Field": "fieldprep",
    "Request": "fullfield.pipeline",
    "run": "fullfield.batch",
}

__all__ = ["Detections", "Detector", "Field", "Request", "run"]


def __getattr__(name: str) -> Any:
    """Import on first use: the command line answers --help, or names a missing system library, without it all."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fullfield' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
