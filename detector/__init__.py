"""Pictures to boxes."""

from detector.detect import Detector
from detector.detections import Detections

__all__ = ["Detections", "Detector"]
