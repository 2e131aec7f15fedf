"""How detections agree with what is known to be in a field."""

from detector.evaluate.matching import Scene, match
from detector.evaluate.precision import ALL, average_precision
from detector.evaluate.scores import LIMITS, labelled_confidences, score, score_in_full
from detector.evaluate.statistics import Share

__all__ = [
    "ALL",
    "LIMITS",
    "Scene",
    "Share",
    "average_precision",
    "labelled_confidences",
    "match",
    "score",
    "score_in_full",
]
