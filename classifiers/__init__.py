"""Cutouts to classes: `Classifier` runs a trained one, `Task` says what one is."""

from classifiers.classify import Classifier
from classifiers.tasks import Task

__all__ = ["Classifier", "Task"]
