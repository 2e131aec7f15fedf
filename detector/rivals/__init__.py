"""What the detector is held against, a module a rival, each from a field to detections."""

from detector.rivals.plain_sep import sep_detect

__all__ = ["sep_detect"]
