"""Which master bias, dark and flat an exposure is corrected by. Needs the reduce extra."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fieldprep.errors import InputError
from fieldprep.reduction.masters import Corrections, Master, combined, dark_frame, flat_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from fieldprep.field import FloatImage
    from fieldprep.reduction.exposures import Exposure, Reduction

SAME_EXPOSURE = 0.01  # share by which exposure times may differ and be called the same


@dataclass
class Masters:
    """
    Master frames of a set of exposures.

    Parameters
    ----------
    reduction : Reduction
        Which corrections are made.
    made : list of Master
        In the order they were made.
    """

    reduction: Reduction
    made: list[Master] = field(default_factory=list)

    def build(self, exposures: Iterable[Exposure], scratch: Path, failed: Callable[[Exposure, str], None]) -> None:
        """
        Make every master that the exposures allow.

        Parameters
        ----------
        exposures : iterable of Exposure
            All of them; the lights are passed over.
        scratch : path
            Folder for large temporary files.
        failed : callable
            Told of each frame that cannot be used, and why.
        """
        frames = list(exposures)
        for kind, wanted in (
            ("bias", self.reduction.bias),
            ("dark", self.reduction.dark),
            ("flat", self.reduction.flat),
        ):
            for group in self._groups([frame for frame in frames if frame.kind == kind and wanted]):
                master = combined(self._name(group[0]), group, self._counts, scratch, failed)
                if master is not None:
                    self.made.append(master)

    def corrections(self, exposure: Exposure) -> Corrections:
        """
        Masters for an exposure.

        Parameters
        ----------
        exposure : Exposure
            A light, a flat (which takes no flat) or a dark (which takes neither dark nor flat).

        Returns
        -------
        Corrections

        Raises
        ------
        fieldprep.errors.InputError
            If one that is to be used is not there; the text names what there is, and the option to do without.
        """
        bias = dark = flat = None
        scale = 0.0
        if self.reduction.bias:
            (bias, *_) = self._of("bias", exposure)
        if self.reduction.dark and exposure.kind != "dark":
            dark, scale = self._dark(exposure)
        if self.reduction.flat and exposure.kind == "light":
            (flat, *_) = self._of("flat", exposure)
        return Corrections(bias, dark, flat, scale)

    def _of(self, kind: str, exposure: Exposure) -> list[Master]:
        """Masters of a kind that fit an exposure's camera (and, flats, its filter); at least one."""
        band = f" in filter {exposure.band or '(none)'}" if kind == "flat" else ""
        alike = [
            one for one in self.made if one.kind == kind and (kind != "flat" or one.frames[0].band == exposure.band)
        ]
        fitting = [one for one in alike if one.camera == exposure.camera]
        if not fitting:
            have = "; ".join(sorted({str(one.camera) for one in alike}))
            why = f"this one is {exposure.camera}, the {kind} frames are {have}" if have else "there is none"
            raise InputError(
                f"{exposure.path}: no {kind}{band} for a {exposure.kind} exposure ({why}); add such frames, or go on "
                f"without by --no-{kind}"
            )
        return fitting

    def _dark(self, exposure: Exposure) -> tuple[Master, float]:
        """Dark of the same exposure time, else the nearest and the factor to it."""
        darks = self._of("dark", exposure)
        tolerance = self.reduction.temperature_tolerance
        apart = [_kelvin_apart(one.temperature, exposure.temperature) for one in darks]
        cold = [one for one, difference in zip(darks, apart, strict=True) if difference <= tolerance]
        if not cold:
            have = ", ".join(f"{one.temperature:g}" for one in darks)
            raise InputError(
                f"{exposure.path}: taken at {exposure.temperature:g} degrees, the darks at {have}; add darks of that "
                "temperature, allow more by --temperature-tolerance, or go on without by --no-dark"
            )
        dark = min(cold, key=lambda one: (abs(math.log(one.seconds / exposure.seconds)), one.name))
        scale = exposure.seconds / dark.seconds
        if abs(scale - 1) <= SAME_EXPOSURE:
            return dark, 1.0
        if not self.reduction.bias and not exposure.camera.overscan:  # the bias in the dark does not grow with time
            raise InputError(
                f"{exposure.path}: no dark of {exposure.seconds:g} s, and without a bias that of {dark.seconds:g} s "
                "cannot be scaled; add bias frames or such darks, or go on without by --no-dark"
            )
        return dark, scale

    def _groups(self, frames: Sequence[Exposure]) -> list[list[Exposure]]:
        """Frames of one kind that are combined: same camera, and same filter, or exposure time and temperature."""
        groups: list[list[Exposure]] = []
        for frame in sorted(frames, key=lambda one: (one.band, one.seconds, one.temperature or 0.0, str(one.path))):
            for group in groups:
                if group[0].camera == frame.camera and self._together(group[0], frame):
                    group.append(frame)
                    break
            else:
                groups.append([frame])
        return groups

    def _together(self, first: Exposure, second: Exposure) -> bool:
        if first.kind == "flat":
            return first.band == second.band
        if first.kind == "dark":
            near = _kelvin_apart(first.temperature, second.temperature) <= self.reduction.temperature_tolerance
            return near and abs(second.seconds / first.seconds - 1) <= SAME_EXPOSURE
        return True

    def _name(self, frame: Exposure) -> str:
        """Name of a master, unique: bias, dark-60s, flat-r, numbered where cameras or temperatures differ."""
        words = {"bias": "", "dark": f"-{frame.seconds:g}s", "flat": f"-{_safe(frame.band) or 'none'}"}
        name = frame.kind + words[frame.kind]
        before = sum(one.name == name or one.name.startswith(f"{name}-") for one in self.made)
        return f"{name}-{before + 1}" if before else name

    def _counts(self, frame: Exposure) -> tuple[FloatImage, FloatImage]:
        """Image of a calibration frame, itself corrected by the masters made so far, and its variance."""
        if frame.kind == "bias":
            return dark_frame(frame, None)
        corrections = self.corrections(frame)
        return flat_frame(frame, corrections) if frame.kind == "flat" else dark_frame(frame, corrections.bias)


def _kelvin_apart(first: float | None, second: float | None) -> float:
    """Difference of two temperatures; 0 where one is not known."""
    return abs(first - second) if first is not None and second is not None else 0.0


def _safe(text: str) -> str:
    return "".join(c if c.isalnum() or c in "+-." else "_" for c in text)
