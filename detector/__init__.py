"""Pictures to boxes."""

from detector.detect import Detector
from detector.detections import Detections
from detector.instruments import detect_at_scale

__all__ = ["Detections", "Detector", "detect_at_scale"]
