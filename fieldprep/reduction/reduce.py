"""
Raw CCD exposures to calibrated frames: bias, dark, flat, cosmic rays, alignment, stack. Needs the reduce extra.

References
----------
Nunez Beltran & Reyes Sierra 2023, "Galaxy morphology classification using artificial neural networks", appendix
A.1, for the steps; `ccdproc` and `astroscrappy` (van Dokkum 2001, PASP 113, 1420) for what does them.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy.io import fits

from fieldprep.errors import InputError, OutputError, one_line
from fieldprep.reduction.calibrated import COSMIC_RAY, MASK_BITS, SATURATED, Calibrated
from fieldprep.reduction.calibration import calibrate
from fieldprep.reduction.corrections import Masters
from fieldprep.reduction.exposures import Exposure, Reduction, raw_files, read_exposure, read_header
from fieldprep.reduction.masters import master_hdus
from fieldprep.reduction.registration import Placement, find_stars, place
from fieldprep.reduction.stacking import Stack, on_disk, stack
from fieldprep.sky import sky_level_and_noise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fieldprep.reduction.registration import Stars

FRAMES_COLUMNS = (
    "file", "kind", "object", "filter", "exposure_s", "temperature", "masters", "cosmic_ray_pixels", "sky_electron_s",
    "alignment", "shift_x", "shift_y", "transparency", "result", "status", "reason",
)  # fmt: skip
HAZE = 0.8  # of the other exposures' brightness: what is fainter is told of
SURPRISING_NOISE = 1.25  # times what gain and read noise say: what is more, or less by as much, is told of
_VERSIONS = {name: version(name) for name in ("fullfield", "ccdproc", "astroscrappy", "astroalign")}
_KEPT_KEYS = ("TELESCOP", "INSTRUME", "OBSERVER", "DATE-OBS", "MJD-OBS")


@dataclass
class Reduced:
    """
    What came of a set of raw exposures.

    Parameters
    ----------
    frames : list of path
        Calibrated frames that were written.
    failures : list of (str, str)
        Raw file and why it could not be used.
    notes : list of str
        What a reader of the frames must know, one line each.
    rows : dict of path to dict
        What became of each file: the rows of ``frames.csv``.
    """

    frames: list[Path] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def failed(self, path: Path, reason: str) -> None:
        """Record a file that cannot be used."""
        self.failures.append((str(path), reason))
        self.rows[path] |= {"status": "failed", "reason": reason}


@dataclass(frozen=True, eq=False)
class _Light:
    """A calibrated light: its images in files, its stars."""

    exposure: Exposure
    masters: str
    calibrated: Calibrated
    stars: Stars


def reduce_exposures(
    given: Sequence[str | Path],
    out: Path,
    reduction: Reduction | None = None,
    *,
    progress: Callable[[str, int], None] | None = None,
) -> Reduced:
    """
    Reduce raw exposures: one calibrated frame for each object and filter.

    Parameters
    ----------
    given : sequence of path
        RAW folders and files; what each file is, its header tells.
    out : path
        Folder to write: ``OBJECT/OBJECT-FILTER.fits`` (electrons a second, sky subtracted; noise as ERR, bits of
        `fieldprep.reduction.calibrated.MASK_BITS` as MASK, exposures in each pixel as NSAMP), ``masters/``, and
        ``frames.csv`` with a row for each file given.
    reduction : Reduction, optional
        What is done, and what the headers do not say.
    progress : callable, optional
        Told the name of each light that is done, and how many there are.

    Returns
    -------
    Reduced

    Raises
    ------
    fieldprep.errors.UsageError
        If there is no FITS file, or gain or read noise are nowhere told.
    fieldprep.errors.OutputError
        If the results cannot be written.
    """
    reduction = reduction or Reduction()
    paths = raw_files(given, out)
    result = Reduced(rows={path: dict.fromkeys(FRAMES_COLUMNS, "") | {"file": str(path)} for path in paths})
    exposures = _sorted_out(paths, reduction, result)
    lights = sorted((one for one in exposures if one.kind == "light"), key=lambda one: (one.date, str(one.path)))
    try:
        (out / "masters").mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out, prefix=".reduce-") as name:
            scratch = Path(name)
            masters = _masters(exposures, reduction, out, scratch, result)
            for target in dict.fromkeys(_safe(light.target) for light in lights):
                with on_disk(scratch) as keep:
                    ready = []
                    for light in lights:
                        if _safe(light.target) == target:
                            ready += _calibrated(light, masters, keep, result)
                            if progress is not None:
                                progress(light.path.name, len(lights))
                    _stack_object(target, ready, out, scratch, result)
        table = pd.DataFrame(list(result.rows.values()), columns=list(FRAMES_COLUMNS))
        _write(out / "frames.csv", lambda partial: table.to_csv(partial, index=False))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or one_line(error)})") from error
    return result


def _sorted_out(paths: Sequence[Path], reduction: Reduction, result: Reduced) -> list[Exposure]:
    """Exposures that take part; the others' rows say why not."""
    exposures = []
    for path in paths:
        try:
            exposure = read_exposure(path, reduction)
        except InputError as error:
            result.failed(path, str(error))
            continue
        if isinstance(exposure, str):
            result.rows[path] |= {"status": "left out", "reason": exposure}
            continue
        result.rows[path] |= {
            "kind": exposure.kind,
            "object": exposure.target if exposure.kind == "light" else "",
            "filter": exposure.band if exposure.kind in {"light", "flat"} else "",
            "exposure_s": exposure.seconds,
            "temperature": "" if exposure.temperature is None else exposure.temperature,
        }
        if exposure.kind != "light" and not getattr(reduction, exposure.kind):
            result.rows[path] |= {"status": "left out", "reason": f"--no-{exposure.kind}"}
            continue
        exposures.append(exposure)
    return exposures


def _masters(exposures: Sequence[Exposure], reduction: Reduction, out: Path, scratch: Path, result: Reduced) -> Masters:
    masters = Masters(reduction)
    masters.build(exposures, scratch, lambda frame, reason: result.failed(frame.path, reason))
    for master in masters.made:
        path = out / "masters" / f"{master.name}.fits"
        _write(path, master_hdus(master).writeto)
        for frame in master.frames:
            result.rows[frame.path] |= {"status": "used", "result": str(path.relative_to(out))}
    # a folder with this file in it is passed over where `fullfield run` looks for fields
    content = json.dumps({"versions": _VERSIONS, "options": asdict(reduction)}, indent=2)
    _write(out / "masters" / "run.json", lambda partial: partial.write_text(f"{content}\n"))
    return masters


def _calibrated(light: Exposure, masters: Masters, keep: Callable[..., Any], result: Reduced) -> list[_Light]:
    """Calibrate one light, if it can be."""
    try:
        corrections = masters.corrections(light)
        done = calibrate(light, corrections, cosmic_rays=masters.reduction.cosmic_rays)
    except InputError as error:
        result.failed(light.path, str(error))
        return []
    result.rows[light.path] |= {
        "masters": corrections.names,
        "cosmic_ray_pixels": int(np.count_nonzero(done.flags & COSMIC_RAY)),
        "sky_electron_s": round(done.sky, 5),
    }
    stars = find_stars(done.value, done.variance, (done.flags & SATURATED) > 0)
    images = {name: keep(getattr(done, name)) for name in ("value", "variance", "common_variance", "flags")}
    return [_Light(light, corrections.names, replace(done, **images), stars)]


def _stack_object(target: str, lights: Sequence[_Light], out: Path, scratch: Path, result: Reduced) -> None:
    """Stack the exposures of one object, filter by filter, all on the grid of the one with the most stars."""
    if not lights:
        return
    reference = max(lights, key=lambda light: len(light.stars))
    placed: dict[str, list[tuple[_Light, Placement]]] = {}
    for light in lights:
        try:
            placement = _placed(light, reference)
        except InputError as error:
            result.failed(
                light.exposure.path, f"{light.exposure.path}: {error} (against {reference.exposure.path.name})"
            )
            continue
        result.rows[light.exposure.path] |= {
            "alignment": placement.how,
            "shift_x": round(placement.shift[0], 3),
            "shift_y": round(placement.shift[1], 3),
        }
        placed.setdefault(_safe(light.exposure.band) or "none", []).append((light, placement))
    for band, members in placed.items():
        path = out / target / f"{target}-{band}.fits"
        made = stack(
            [light.calibrated for light, _ in members],
            [placement for _, placement in members],
            reference.calibrated.value.shape,
            reference.stars.xy,
            scratch,
        )
        path.parent.mkdir(exist_ok=True)
        _write(path, _frame_hdus(made, members, reference.calibrated.wcs).writeto)
        result.frames.append(path)
        result.notes += _notes(path.stem, made, members)
        for (light, _), transparency in zip(members, made.transparency, strict=True):
            result.rows[light.exposure.path] |= {
                "transparency": round(transparency, 3),
                "result": str(path.relative_to(out)),
                "status": "used",
            }


def _placed(light: _Light, reference: _Light) -> Placement:
    if light is reference:
        return Placement(lambda image: image, (0.0, 0.0), "reference")
    ny, nx = reference.calibrated.value.shape
    return place(light.stars, reference.stars, (ny, nx), light.calibrated.wcs, reference.calibrated.wcs)


def _notes(name: str, made: Stack, members: Sequence[tuple[_Light, Placement]]) -> list[str]:
    """What is odd about a stack."""
    notes = [
        f"{name}: {light.exposure.path.name} shows its stars at {transparency:.0%} of the others' brightness (cloud?)"
        for (light, _), transparency in zip(members, made.transparency, strict=True)
        if transparency < HAZE
    ]
    _, scatter = sky_level_and_noise(made.value, made.mask > 0)
    claimed = float(np.nanmedian(made.error))
    if not 1 / SURPRISING_NOISE < scatter / claimed < SURPRISING_NOISE:
        notes.append(
            f"{name}: its sky scatters by {scatter / claimed:.2f} times what gain and read noise say; are they right?"
        )
    return notes


def _frame_hdus(made: Stack, members: Sequence[tuple[_Light, Placement]], wcs: Any) -> fits.HDUList:
    """File of a calibrated frame, as `Field.read` takes it: the image first, its noise as ERR."""
    first = members[0][0].exposure
    source = read_header(first)
    header = fits.Header() if wcs is None else wcs.to_header(relax=True)
    header.update({key: source[key] for key in _KEPT_KEYS if key in source})
    header["OBJECT"], header["FILTER"] = _ascii(first.target), _ascii(first.band)
    header["BUNIT"] = "electron/s"
    header["EXPTIME"] = (sum(light.exposure.seconds for light, _ in members), "[s] of all exposures together")
    header["NCOMBINE"] = (len(members), "exposures")
    sky = np.average([light.calibrated.sky for light, _ in members], weights=made.weights)
    header["SKYLEVEL"] = (float(sky), "[electron/s] subtracted, a pixel")
    header["NOISCORR"] = (made.correlation, "noise of large apertures / that by ERR alone")
    header.add_history("reduced by " + ", ".join(f"{name} {number}" for name, number in _VERSIONS.items()))
    for light, placement in members:
        header.add_history(f"{_ascii(light.exposure.path.name)}: {light.masters or 'no masters'}; {placement.how}")
    bits = fits.Header({f"BIT{int(bit)}": meaning for meaning, bit in MASK_BITS.items()})
    return fits.HDUList([
        fits.PrimaryHDU(made.value, header),
        fits.ImageHDU(made.error, name="ERR"),
        fits.ImageHDU(made.mask, bits, name="MASK"),
        fits.ImageHDU(made.count, name="NSAMP"),
    ])  # fmt: skip


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _safe(name: str) -> str:
    """Name fit for a file; `masters` is taken."""
    safe = re.sub(r"[^\w.+-]", "_", name).lstrip(".")
    return f"{safe}_" if safe.lower() == "masters" else safe


def _ascii(text: str) -> str:
    """Text as a FITS header can hold it."""
    return text.encode("ascii", "replace").decode()
