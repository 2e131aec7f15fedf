"""
From a detector's raw confidence to the probability that a galaxy is there.

A calibration is fitted on validation detections only and stored in the card as plain numbers. It rises everywhere, so
the order of the detections, and with it average precision, stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats = npt.NDArray[np.float64]

PLATT, ISOTONIC = "platt", "isotonic"
_NEAREST_TO_0_AND_1 = 1e-12
_LEAST_SLOPE = 1e-3  # of an isotonic calibration, so that two confidences never become one
_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """
    A rising function from raw confidence to probability.

    Parameters
    ----------
    kind : {'platt', 'isotonic'}
        Which function.
    a, b : float
        Platt: the probability's logit is ``a`` times the raw confidence's logit plus ``b``; ``a`` is the inverse of a
        temperature.
    raw, probability : tuple of float
        Isotonic: knots, both strictly rising from 0 to 1, with straight lines between them.

    References
    ----------
    Platt 1999, Advances in Large Margin Classifiers, 61; Oron & Flournoy 2017, Statistics in Biopharmaceutical
    Research 9, 258 (isotonic regression with straight lines between the blocks' centres).
    """

    kind: str
    a: float = 1.0
    b: float = 0.0
    raw: tuple[float, ...] = field(default=(0.0, 1.0))
    probability: tuple[float, ...] = field(default=(0.0, 1.0))

    def __post_init__(self) -> None:
        if self.kind not in {PLATT, ISOTONIC}:
            raise ValueError(f"a calibration's kind is {PLATT} or {ISOTONIC}, got {self.kind!r}")
        if not (self.a > 0 and math.isfinite(self.a) and math.isfinite(self.b)):
            raise ValueError(f"a calibration's a must be over 0 and a, b finite, got {self.a!r}, {self.b!r}")
        for name in ("raw", "probability"):
            knots = np.asarray(getattr(self, name), np.float64)
            if len(knots) < 2 or knots[0] != 0 or knots[-1] != 1 or not (np.diff(knots) > 0).all():
                raise ValueError(f"a calibration's {name} must rise from 0 to 1")
        if len(self.raw) != len(self.probability):
            raise ValueError("a calibration's raw and probability must have as many knots")

    @classmethod
    def from_card(cls, content: Mapping[str, Any] | None) -> Self | None:
        """
        Calibration as a card has it.

        Parameters
        ----------
        content : mapping or None
            ``{"kind": "platt", "a": ..., "b": ...}`` or ``{"kind": "isotonic", "raw": [...], "probability": [...]}``;
            other entries of it are for readers.

        Returns
        -------
        Calibration or None
            None where the card has none.

        Raises
        ------
        ValueError
            If it is no calibration.
        """
        if content is None:
            return None
        try:
            if content["kind"] == PLATT:
                return cls(PLATT, a=float(content["a"]), b=float(content["b"]))
            knots = (tuple(float(value) for value in content[name]) for name in ("raw", "probability"))
            return cls(str(content["kind"]), 1.0, 0.0, *knots)
        except (KeyError, TypeError) as error:
            raise ValueError(f"a calibration needs its kind and its numbers, got {content!r}") from error

    def as_card(self) -> dict[str, Any]:
        """Calibration as a card has it."""
        if self.kind == PLATT:
            return {"kind": PLATT, "a": self.a, "b": self.b}
        return {"kind": ISOTONIC, "raw": list(self.raw), "probability": list(self.probability)}

    def apply(self, raw: npt.ArrayLike) -> Floats:
        """Probabilities of raw confidences, of the same shape."""
        values = np.asarray(raw, np.float64)
        if self.kind == ISOTONIC:
            return np.asarray(np.interp(values, self.raw, self.probability), np.float64)
        return _sigmoid(self.a * _logit(values) + self.b)

    def invert(self, probability: npt.ArrayLike) -> Floats:
        """Raw confidences of probabilities, of the same shape."""
        values = np.asarray(probability, np.float64)
        if self.kind == ISOTONIC:
            return np.asarray(np.interp(values, self.probability, self.raw), np.float64)
        return _sigmoid((_logit(values) - self.b) / self.a)

    def at_odds(self, odds: float) -> Self:
        """Calibration to probabilities of so many times the odds, over 0: of a prior that differs."""
        if self.kind == PLATT:
            return replace(self, b=self.b + math.log(odds))
        knots = [odds * p / (1 - p + odds * p) for p in self.probability]
        return replace(self, probability=tuple(knots))


def fit_calibration(raw: npt.ArrayLike, true: npt.ArrayLike, kind: str = PLATT) -> Calibration:
    """
    Fit a calibration to validation detections.

    Parameters
    ----------
    raw : 1D array_like, shape (N,)
        Raw confidences, those of ignored objects left out.
    true : 1D array_like, shape (N,)
        1 (or True) where the detection is of a galaxy, else 0.
    kind : {'platt', 'isotonic'}
        Two parameters on the logit, or any rising function.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If true and false ones are not both there, or the true ones have no higher confidences.
    """
    confidence, truth = np.asarray(raw, np.float64), np.asarray(true, np.float64)
    if confidence.shape != truth.shape or confidence.ndim != 1:
        raise ValueError(f"raw and true must be of one length, got shapes {confidence.shape}, {truth.shape}")
    if not (0 < truth.sum() < len(truth)):
        raise ValueError(f"a calibration needs true and false detections, got {truth.sum():.0f} true of {len(truth)}")
    if kind == ISOTONIC:
        return _fit_isotonic(confidence, truth)
    if kind == PLATT:
        return _fit_platt(confidence, truth)
    raise ValueError(f"a calibration's kind is {PLATT} or {ISOTONIC}, got {kind!r}")


def _fit_platt(confidence: Floats, truth: Floats) -> Calibration:
    """Maximum likelihood by Newton's steps, with Platt's targets, which keep a separable set finite."""
    positives = truth.sum()
    target = np.where(truth > 0, (positives + 1) / (positives + 2), 1 / (len(truth) - positives + 2))
    design = np.stack([_logit(confidence), np.ones(len(truth))], axis=1)
    parameters = np.array([0.0, math.log(target.mean() / (1 - target.mean()))])
    for _ in range(_STEPS):
        p = _sigmoid(design @ parameters)
        hessian = design.T @ (design * (p * (1 - p))[:, None]) + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (target - p))
        parameters += step / max(1.0, float(np.abs(step).max()))  # a long step overshoots where p is flat
        if np.abs(step).max() < 1e-10:
            break
    if not parameters[0] > 0:
        raise ValueError("true detections have no higher confidences than false ones: there is nothing to calibrate")
    return Calibration(PLATT, a=float(parameters[0]), b=float(parameters[1]))


def _fit_isotonic(confidence: Floats, truth: Floats) -> Calibration:
    values, index, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    share = np.bincount(index, truth) / counts
    fitted = isotonic_regression(share, weights=counts)
    blocks = np.asarray(fitted.blocks)[:-1]
    weight = np.add.reduceat(counts, blocks)
    centre = np.add.reduceat(values * counts, blocks) / weight
    inside = (centre > 0) & (centre < 1)
    raw = np.concatenate([[0.0], centre[inside], [1.0]])
    probability = np.concatenate([[0.0], fitted.x[blocks][inside], [1.0]])
    probability = (1 - _LEAST_SLOPE) * probability + _LEAST_SLOPE * raw
    return Calibration(ISOTONIC, raw=tuple(raw.tolist()), probability=tuple(probability.tolist()))


def _logit(p: Floats) -> Floats:
    clipped = np.clip(p, _NEAREST_TO_0_AND_1, 1 - _NEAREST_TO_0_AND_1)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), np.float64)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)), np.float64)
