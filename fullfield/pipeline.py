"""One field, from its files to its catalogue and picture."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import time
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from detector.cards import Card
from detector.detect import Detector
from detector.fusion import detect_fused
from fieldprep.errors import InputError, OutputError, UsageError
from fieldprep.picturefile import is_picture
from fieldprep.resources import weights_path
from fieldprep.surveys.download import cache_folder
from fieldprep.variants import VARIANTS
from fieldprep.views import view_of
from fullfield.candidatedrawing import candidate_sheet
from fullfield.catalogue import COLUMNS, catalogue_table, write_parquet
from fullfield.classification import DIFFERENCE, NONE, add_classes, chosen_cards, class_columns, loaded_classifier
from fullfield.drawing import draw_detections, shown_picture, write_png
from fullfield.processes import told
from fullfield.transients import CANDIDATES, IN_CATALOGUE, add_changes, find_changes, likely_real
from fullfield.truths import Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from astropy.table import Table

    from fieldprep.mosaic import Sky
    from fieldprep.views import View
    from fullfield.catalogue import Columns
    from fullfield.sources import Source
    from fullfield.transients import Changes

ZOOMS = (0.25, 4.0)  # the least and the largest that can be asked for
STAGES = ("fetch", "read", "picture", "detect", "measure", "classify", "subtract", "write")


@dataclasses.dataclass(frozen=True)
class Request:
    """
    What is asked of every field of a run.

    Parameters
    ----------
    detector : str
        Name or path of the weights.
    detector_sha256 : str
        Their checksum.
    variants : tuple of str
        The pictures the detector looks at; the first is the one that is drawn on.
    confidence : float
        Threshold of the catalogue.
    bands : tuple of three str, optional
        Bands for R, G, B.
    zooms : tuple of float
        Scales it looks at, of the one that the field asks for.
    classifiers, classifiers_sha256 : tuple of str
        Names or paths of the cutout classifiers, and their checksums.
    class_columns : tuple of (name, unit, description)
        Columns that they fill.
    template : str, optional
        SOURCE of what is subtracted, as of `fullfield.sources.with_templates`.
    change_classifier, change_classifier_sha256 : str, optional
        Name or path of the classifier of what has changed, and its checksum.
    change_columns : tuple of (name, unit, description)
        Columns that it fills.
    pictures : bool
        Whether to write ``detections.png``.
    frames : path, optional
        Where to put the files of a survey; the cache folder if not given.
    keep_frames : bool
        Whether a field's stay there; a template's do.
    """

    detector: str
    detector_sha256: str
    variants: tuple[str, ...]
    confidence: float
    bands: tuple[str, ...] | None = None
    zooms: tuple[float, ...] = (1.0,)
    classifiers: tuple[str, ...] = ()
    classifiers_sha256: tuple[str, ...] = ()
    class_columns: Columns = ()
    template: str | None = None
    change_classifier: str | None = None
    change_classifier_sha256: str | None = None
    change_columns: Columns = ()
    pictures: bool = True
    frames: Path | None = None
    keep_frames: bool = True

    @classmethod
    def of(
        cls,
        detector: str,
        *,
        variant: str | None = None,
        zooms: str | None = None,
        bands: str | None = None,
        confidence: float | None = None,
        classifiers: str = NONE,
        template: str | None = None,
        **rest: Any,
    ) -> Request:
        """
        Request as a user words it; what is None is the card's.

        Parameters
        ----------
        detector : str
            Name or path of the weights.
        variant, zooms, bands : str, optional
            Joined by commas: pictures, scales, three bands.
        confidence : float, optional
            Threshold.
        classifiers : str
            Names or paths of the cutout classifiers joined by commas, or ``none``; one for what has changed is asked of
            candidates.
        template : str, optional
            SOURCE of what is subtracted.
        **rest
            As of the class.

        Returns
        -------
        Request

        Raises
        ------
        fieldprep.errors.InputError
            If there are no such weights.
        fieldprep.errors.UsageError
            If there is no such picture, a scale is none, the bands are not three, or a classifier is not for
            detections.
        """
        card = Card.beside(weights_path(detector))
        variants = tuple(variant.split(",")) if variant else (card.variant,)
        for unknown in sorted(set(variants) - set(VARIANTS)):
            raise UsageError(f"unknown variant {unknown!r}: it is one of {', '.join(VARIANTS)}")
        chosen = tuple(bands.split(",")) if bands else None
        if chosen is not None and len(chosen) != 3:
            raise UsageError(f"--bands wants three bands, as in i,r,g; got {bands}")
        cards = chosen_cards(classifiers, template=template is not None)
        changes = {name: of_card for name, of_card in cards.items() if of_card.task == DIFFERENCE}
        cards = {name: of_card for name, of_card in cards.items() if name not in changes}
        return cls(
            detector,
            card.sha256,
            variants,
            card.confidence if confidence is None else confidence,
            chosen,
            _scales(zooms) if zooms else (1.0,),
            tuple(cards),
            tuple(of_card.sha256 for of_card in cards.values()),
            class_columns(list(cards.values())),
            template,
            next(iter(changes), None),
            next((of_card.sha256 for of_card in changes.values()), None),
            class_columns(list(changes.values())),
            **rest,
        )

    @property
    def columns(self) -> Columns:
        """Columns of the catalogue."""
        changes = (*IN_CATALOGUE, *self.change_columns) if self.template else ()
        return (*COLUMNS, *self.class_columns, *changes)

    @property
    def candidate_columns(self) -> Columns:
        """Columns of the table of candidates."""
        return (*CANDIDATES, *self.change_columns)

    def options(self) -> dict[str, Any]:
        """What the result depends on."""
        options = dataclasses.asdict(self)
        for name in ("frames", "keep_frames", "class_columns", "change_columns"):
            del options[name]
        return options


def _scales(text: str) -> tuple[float, ...]:
    try:
        zooms = tuple(float(part) for part in text.split(","))
    except ValueError:
        zooms = ()
    low, high = ZOOMS
    if not zooms or not all(low <= zoom <= high for zoom in zooms):
        raise UsageError(f"--zooms wants scales from {low:g} to {high:g}, as in 0.8,1,1.25; got {text}")
    return zooms


@dataclasses.dataclass
class Outcome:
    """
    What became of a field.

    Parameters
    ----------
    field : str
        Its name.
    galaxies : int
        Rows of its catalogue.
    detections : int
        Detections down to the floor of confidence.
    seconds : dict of str to float
        Time by stage.
    notes : list of str
        What a reader of its catalogue must know.
    stage, error : str
        Where and why it failed; empty if it did not.
    details : str
        Traceback of an error that is ours, not the input's.
    """

    field: str
    galaxies: int = 0
    detections: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    stage: str = ""
    error: str = ""
    details: str = ""


@lru_cache(maxsize=2)
def loaded_detector(name: str) -> Detector:
    """Load a detector once a process; see `Detector.load`."""
    return Detector.load(name)


def run_field(source: Source, request: Request, out: Path) -> Outcome:
    """
    Run one field; what is wrong with it is told in the outcome, not raised.

    Parameters
    ----------
    source : Source
        The field's files.
    request : Request
        What to do.
    out : path
        Folder of the run; ``fields/NAME/`` in it is written, the catalogue last, each file whole or not at
        all.

    Returns
    -------
    Outcome

    Raises
    ------
    fieldprep.errors.OutputError
        If the output cannot be written, which no other field would survive either.
    fieldprep.errors.UsageError
        If the request cannot be met on any field, as when the runtime asked for is not installed.
    """
    outcome = Outcome(source.name)
    try:
        _run(source, request, out, outcome)
    except Exception as error:  # noqa: BLE001 -- a batch of a million fields survives our own mistakes too
        outcome.error, outcome.details = told(error, source.label)
    return outcome


def _run(source: Source, request: Request, out: Path, outcome: Outcome) -> None:
    if source.error:
        outcome.stage = "read"
        raise InputError(source.error)
    with _timed("fetch", outcome):
        folder = frames_folder(source, request.frames or cache_folder())
        source = source.fetched(folder)
        template = source.template and source.template.fetched(
            frames_folder(source.template, request.frames or cache_folder())
        )
    with _timed("read", outcome):
        field_ = source.opened()
    with _timed("picture", outcome):
        view = view_of(field_, request.variants[0], bands=request.bands)
    with _timed("detect", outcome):
        detections = detect_fused(
            loaded_detector(request.detector),
            field_,
            zooms=request.zooms,
            variants=request.variants,
            bands=request.bands,
            view=view,
        )
    with _timed("measure", outcome):
        table = catalogue_table(field_, detections, _meta(source, request, field_, view))
    with _timed("classify", outcome):
        add_classes(table, field_, request.classifiers, request.bands)
    with _timed("subtract", outcome):
        changes = None if template is None else _changes(field_, template, request, table)
    catalogue = table[table["confidence"] >= request.confidence]
    with _timed("write", outcome):
        results = out / "fields" / source.name
        try:
            results.mkdir(parents=True, exist_ok=True)
            for stale in results.glob(".*-*"):  # left by a run that was killed while it wrote
                stale.unlink()
        except OSError as error:
            raise OutputError(f"{results}: cannot be written ({error.strerror})") from error
        write_parquet(results / "all_detections.parquet", table)
        if request.pictures:
            upwards = not is_picture(source.paths[0])
            rgb, shrunk = shown_picture(view)
            real = None if changes is None else likely_real(changes)
            drawn = draw_detections(rgb, catalogue, field_, row_0_at_bottom=upwards, shrunk=shrunk, changed=real)
            write_png(results / "detections.png", drawn)
        if changes is not None:
            write_parquet(results / "candidates.parquet", changes.table)
            if request.pictures:
                write_png(results / "candidates.png", candidate_sheet(changes))
        write_parquet(results / "catalogue.parquet", catalogue)
    if source.remote is not None and not request.keep_frames:
        shutil.rmtree(folder, ignore_errors=True)
    outcome.galaxies, outcome.detections = len(catalogue), len(table)
    outcome.notes = [*field_.notes, *(changes.notes if changes is not None else [])]
    outcome.stage = ""


def _changes(sky: Sky, template: Source, request: Request, table: Table) -> Changes:
    """What has changed since the template; what is in a detection is told in its row too."""
    name = request.change_classifier
    changes = find_changes(sky, template.opened(), table, name, request.bands)
    add_changes(table, changes, None if name is None else loaded_classifier(name).card)
    return changes


def frames_folder(source: Source, root: Path) -> Path:
    """Folder under ``root`` for the files of a survey's field, one for each survey and field."""
    if source.remote is None:
        return root
    survey, _, _ = source.remote.source.partition(":")
    # two choices of a visit's filters may have one name, and one must not drop the other's files
    digest = hashlib.sha256(source.remote.source.encode()).hexdigest()
    return root / survey / f"{source.remote.name}-{digest[:8]}"


def _meta(source: Source, request: Request, field_: Sky, view: View) -> dict[str, Any]:
    ny, nx = field_.shape
    calibration = loaded_detector(request.detector).card.calibration_of(display=view.display)
    header = {} if field_.wcs is None else dict(field_.wcs.to_header(relax=True))
    asked = dict(zip(request.classifiers, request.classifiers_sha256, strict=True))
    if request.change_classifier and request.change_classifier_sha256:
        asked[request.change_classifier] = request.change_classifier_sha256
    return {
        "source": source.key,
        "survey": field_.survey,
        "sdss_id": Place.of(field_).sdss_id,
        "bands": list(field_.bands),
        "shape": [ny, nx],
        "pixel_scale_arcsec": field_.pixel_scale,
        "wcs": header,
        "notes": field_.notes,
        "detector": request.detector,
        "detector_sha256": request.detector_sha256,
        "calibration": None if calibration is None else calibration.as_card(),
        "classifiers": asked,
        "template": None if source.template is None else source.template.key,
        "variant": ",".join(request.variants),
        "zooms": list(request.zooms),
        "confidence": request.confidence,
    }


@contextmanager
def _timed(stage: str, outcome: Outcome) -> Iterator[None]:
    outcome.stage = stage
    start = time.perf_counter()
    yield
    outcome.seconds[stage] = time.perf_counter() - start
