"""Stamps that are told apart at a glance, and tasks that are trained on them in a second."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from classifiers.preparing import Preparation
from classifiers.stampsets import StampSet
from classifiers.tasks import Recipe, Task


@pytest.fixture
def blobs():
    """Stamps of round blobs: ``wide`` and ``narrow``, in noise."""

    def make(n=40, side=16, channels=1, seed=0):
        random = np.random.default_rng(seed)
        labels = np.where(np.arange(n) % 2 == 0, "wide", "narrow")
        y, x = np.mgrid[:side, :side] - (side - 1) / 2
        widths = np.where(labels == "wide", 3.0, 1.0)[:, None, None]
        light = 60 * np.exp(-(x**2 + y**2)[None] / (2 * widths**2))[..., None]
        stamps = (light + random.normal(100, 1, (n, side, side, channels))).astype(np.float32)
        names = np.array([f"s{i}" for i in range(n)])
        return StampSet(stamps, labels, names, names, pd.DataFrame(index=range(n)))

    return make


@pytest.fixture
def task():
    """Task of telling them apart: ``task(epochs=2)`` changes its recipe, ``task(network="negm")`` itself."""

    def make(network="compact", classes=("wide", "narrow"), channels=1, **recipe):
        how = replace(Recipe(epochs=2, batch=16, shift=0.1, noise=0.05), **recipe)
        return Task("blob", classes, Preparation(16, channels, gray=channels > 1), network, recipe=how)

    return make
