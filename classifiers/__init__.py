"""Cutouts to classes: `Classifier` runs a trained one, `Task` says what one is, `Series` is an object several times."""

from classifiers.classify import Classifier
from classifiers.series import Series
from classifiers.tasks import Task

__all__ = ["Classifier", "Series", "Task"]
