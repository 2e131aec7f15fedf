"""What the tests of the detector share: hand-made truth, hand-made detections, networks that are known."""

import numpy as np
import pandas as pd
import pytest

from detector import Detections, Detector
from detector.cards import Card
from fieldprep.boxes import SEMI_MAJOR
from fieldprep.catalogues import Sources


@pytest.fixture(scope="session")
def galaxy():
    return Detector.load("galaxy")


@pytest.fixture
def as_detector():
    """Detector around a callable that stands for a network."""

    def make(network, classes=("galaxy",)):
        return Detector(network, Card("fake", "detect", "fake", classes, "N", 32, 0.25, "0" * 64))

    return make


@pytest.fixture
def detections():
    """Detections from boxes and confidences."""

    def make(xyxy, confidence=None):
        xyxy = np.asarray(xyxy, np.float64).reshape(-1, 4)
        n = len(xyxy)
        confidence = np.full(n, 0.9) if confidence is None else np.asarray(confidence, np.float64)
        return Detections(xyxy, confidence, np.zeros(n, np.int64), np.zeros(n, np.int64))

    return make


@pytest.fixture
def truth():
    """Sources from (x, y, width, height, kind, magnitude) with kind g, s, or i for an ignored galaxy."""

    def make(*rows):
        xy = np.array([row[:2] for row in rows], np.float64).reshape(-1, 2)
        half = np.array([row[2:4] for row in rows], np.float64).reshape(-1, 2) / 2
        kinds = [row[4] for row in rows]
        return Sources(
            xy[:, 0],
            xy[:, 1],
            np.concatenate([xy - half, xy + half], axis=1),
            np.array([kind in "gi" for kind in kinds], np.bool_),
            np.array([row[5] for row in rows], np.float64),
            np.array([kind == "i" for kind in kinds], np.bool_),
            half.max(axis=1, initial=0) / SEMI_MAJOR,
            pd.DataFrame(index=range(len(rows))),
        )

    return make
