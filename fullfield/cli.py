"""The command line."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Self

import typer
from tqdm import tqdm

from fieldprep.errors import FullfieldError, UsageError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED, USAGE, INTERRUPTED = 1, 2, 130
_KEPT = "interrupted: what was finished is kept, and the same command does the rest"

app = typer.Typer(
    name="fullfield",
    help="Object detection for full survey fields: a field goes in, a catalogue of galaxies comes out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class _OrTask(typer.core.TyperGroup):
    """A group whose every other word is the name of a classifier's task, or the path of one."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Command of a word."""
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, TASK)


TASK = "TASK"
evaluate_app = typer.Typer(
    help="Score detections, or a classifier of stamps, against what is known.", no_args_is_help=True, cls=_OrTask
)
app.add_typer(evaluate_app, name="evaluate")

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="FITS file, folder of band files, folder of such folders, JPEG/PNG/TIFF; sdss:RUN-CAMCOL-FIELD, a "
        "position ('229.54 +42.76') or name, mast:OBSERVATION, hips:SURVEY@POSITION SIZE, legacy:POSITION SIZE, "
        "ps1:POSITION SIZE; or a list of those (CSV, ECSV, Parquet with a column 'source').",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder to write.")]
Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Labelled stamps: a folder or a table of labels (or of Galaxy Zoo's votes) with its images, triplets.npz, "
        "Avro alerts.",
    ),
]
Label = Annotated[str, typer.Option(help="Column of the label.")]
Images = Annotated[Path | None, typer.Option(help="Folder of the images, where it is not beside the table.")]
Columns = Annotated[
    str, typer.Option(help="The catalogue's columns where they are not found by themselves, as in ra=RAJ2000,x=X.")
]
Radius = Annotated[
    str | None, typer.Option(help="What its radius is: petrosian, kron, half-light, or fixed:ARCSEC for all.")
]


Zooms = Annotated[
    str | None,
    typer.Option(help="Scales to look at, of the one the field asks for, as in 0.8,1,1.25; several are fused."),
]


@app.command()
def run(
    sources: Sources,
    out: Out,
    detector: Annotated[str, typer.Option(help="Weights: a shipped name, or the path of an .onnx.")] = "galaxy",
    variant: Annotated[
        str | None,
        typer.Option(
            help="Picture: N, L, LH, S, SH, Q, LIN, LOG, GAM or MAT (default: the card's); several are fused."
        ),
    ] = None,
    zooms: Zooms = None,
    bands: Annotated[str | None, typer.Option(help="Bands for red, green, blue, as in i,r,g.")] = None,
    classifiers: Annotated[
        str | None,
        typer.Option(
            help="Cutout classifiers, by name or path, or 'none' (default: real_bogus,star_galaxy,morphology, and "
            "real_bogus_difference with a template)."
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="SOURCE of an earlier image to subtract, for what has changed; of several, each is for the field of "
            "its name."
        ),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(min=0.01, max=1.0, help="Threshold of the catalogue (default: the card's).")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; the cores are shared among them.")] = 1,
    pictures: Annotated[bool, typer.Option(help="Write the annotated picture of each field.")] = True,
    frames: Annotated[
        Path | None, typer.Option(help="Folder for the files of a survey's fields (default: the user's cache).")
    ] = None,
    keep_frames: Annotated[
        bool, typer.Option("--keep-frames/--drop-frames", help="Whether those files stay once the field is done.")
    ] = True,
) -> None:
    """
    Find the galaxies of fields: catalogue and pictures into --out.

    A field that cannot be used is recorded in failures.csv and passed over; the same command again does what
    is missing, and only that.

    Example: fullfield run frames/003184-2-0169 --out out

    Example: fullfield run sdss:3184-2-169 "NGC 6976" "229.54 +42.76" --out out --workers 4

    Example: fullfield run tonight.fits --template deep.fits --out out
    """
    from fullfield.batch import run as run_batch  # noqa: PLC0415 -- --help answers without loading all this
    from fullfield.classification import DEFAULT, DIFFERENCE  # noqa: PLC0415 -- as above
    from fullfield.pipeline import Request  # noqa: PLC0415 -- as above

    request = Request.of(
        detector,
        variant=variant,
        zooms=zooms,
        bands=bands,
        confidence=confidence,
        classifiers=classifiers or (f"{DEFAULT},{DIFFERENCE}" if template else DEFAULT),
        template=template,
        pictures=pictures,
        frames=frames,
        keep_frames=keep_frames,
    )
    with _Progress() as progress:
        summary = run_batch(sources, out, request, workers=workers, progress=progress)
    for note in summary.notes:
        typer.echo(f"note: {note}", err=True)
    for failure in summary.failures:
        typer.echo(f"failed: {failure.field} ({failure.stage}): {failure.error}", err=True)
    total = summary.done + summary.skipped
    parts = [
        f"{total} field{'s' * (total != 1)}",
        f"{summary.galaxies} galaxies at confidence >= {request.confidence:g}",
        f"{summary.seconds:.1f} s",
    ]
    if template:
        parts.insert(2, f"{summary.candidates} candidates of a change")
    if summary.skipped:
        parts.append(f"{summary.skipped} done before")
    if summary.failed:
        parts.append(f"{summary.failed} failed (see {out / 'failures.csv'})")
    typer.echo(f"{', '.join(parts)}: {out / 'catalogue.parquet'}")
    if summary.failed:
        raise typer.Exit(FAILED)


@app.command()
def fetch(
    sources: Sources,
    out: Out,
    catalogue: Annotated[
        str | None, typer.Option(help="Put a catalogue beside each field: 'sdss' or 'vizier:TABLE'.")
    ] = None,
) -> None:
    """
    Fetch and verify fields of the surveys, without running anything; the same command again does what is missing.

    Example: fullfield fetch sdss:3184-2-169 --catalogue sdss --out frames
    """
    from fullfield.fetching import fetch_fields  # noqa: PLC0415 -- --help answers without loading it

    with tqdm(unit="field", disable=None, file=sys.stderr) as bar:

        def progress(name: str, total: int) -> None:
            bar.total = total
            bar.update(bool(name))

        fetched = fetch_fields(sources, out, catalogue=catalogue, progress=progress)
    for note in fetched.notes:
        typer.echo(f"note: {note}", err=True)
    for field, stage, error in fetched.failures:
        typer.echo(f"failed: {field} ({stage}): {error}", err=True)
    failed = f", {len(fetched.failures)} failed (see {out / 'failures.csv'})" if fetched.failures else ""
    typer.echo(f"{len(fetched.fields)} field{'s' * (len(fetched.fields) != 1)}{failed}: {out}")
    if fetched.failures:
        raise typer.Exit(FAILED)


@app.command()
def prepare(
    sources: Sources,
    out: Out,
    recipe: Annotated[
        str,
        typer.Option(help="galaxies, galaxies-stars, T1 to T6 (AstroCV's sets), or cutouts (labelled stamps)."),
    ] = "galaxies",
    catalogue: Annotated[
        str, typer.Option(help="A catalogue file, the name of one in each field's folder, 'sdss' or 'vizier:TABLE'.")
    ] = "catalogue.csv",
    columns: Columns = "",
    radius: Radius = None,
    validation: Annotated[
        list[str],
        typer.Option("--validation", help="A field kept for validation (default: drawn); may be repeated."),
    ] = [],  # noqa: B006 -- typer's way of a repeatable option
    validation_share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the fields drawn for validation, in blocks of sky.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
    block: Annotated[float, typer.Option(min=0.01, max=50, help="Size of a block of sky in degrees.")] = 2.0,
    fields: Annotated[
        Path | None,
        typer.Option(help="File that names the only fields to use, one a line (T1, T2, T6: in place of a draw)."),
    ] = None,
    empty: Annotated[
        list[str],
        typer.Option("--empty", help="A field without galaxies, as NAME or NAME:X0:X1 (columns); may be repeated."),
    ] = [],  # noqa: B006 -- as above
    variants: Annotated[str | None, typer.Option(help="Pictures made of each field (default: the recipe's).")] = None,
    faintest: Annotated[
        float | None, typer.Option(help="r magnitude of the faintest objects labelled (default: the recipe's).")
    ] = None,
    label: Annotated[str, typer.Option(help="Cutouts: a column of the catalogue, 'type' or 'votes'.")] = "type",
    size: Annotated[
        str, typer.Option(help="Cutouts: width, petrosian:FACTOR (of petroR90_r) or arcsec:WIDTH.")
    ] = "petrosian:4.24",
    pixels: Annotated[int, typer.Option(min=8, help="Cutouts: side in pixels.")] = 128,
    floats: Annotated[bool, typer.Option("--floats", help="Cutouts: the bands' flux too, as NumPy files.")] = False,
    keep: Annotated[
        str, typer.Option(help="Cutouts: further columns of the catalogue for labels.csv, by commas.")
    ] = "",
    workers: Annotated[int, typer.Option(min=1, help="Processes; the cores are shared among them.")] = 1,
    frames: Annotated[
        Path | None, typer.Option(help="Folder for the files of a survey's fields (default: the user's cache).")
    ] = None,
) -> None:
    """
    Make a training set that ultralytics reads as it is, or labelled cutouts, of fields and their catalogues.

    Fields are shared out by blocks of sky; a field that fails or has no catalogue is recorded and left out. The same
    command after a stop does what is missing.

    Example: fullfield prepare frames --catalogue catalogue.csv --validation 001043-5-0025 --out set

    Example: fullfield prepare frames --recipe T4 --workers 4 --out T4

    Example: fullfield prepare frames --recipe cutouts --label type --size arcsec:20 --out stamps
    """
    from fieldprep.catalogues.columns import parse_columns  # noqa: PLC0415 -- --help answers without loading it
    from fullfield.preparation import Asked, named_recipe, parse_empty  # noqa: PLC0415 -- as above
    from fullfield.sets import Division, prepare_set, read_names  # noqa: PLC0415 -- as above

    asked = Asked(
        named_recipe(
            recipe,
            variants=tuple(variants.split(",")) if variants else None,
            faintest=faintest,
            cutouts={
                "label": label,
                "size": size,
                "pixels": pixels,
                "floats": floats,
                "keep": tuple(filter(None, keep.split(","))),
            },
        ),
        catalogue,
        parse_columns(columns),
        radius,
        dict(parse_empty(text) for text in empty),
        frames,
    )
    division = Division(validation, validation_share, seed, block, read_names(fields) if fields else None)
    with _Progress() as progress:
        made = prepare_set(sources, out, asked, division, workers=workers, progress=progress)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)
    for name, reason in made.left_out.items():
        typer.echo(f"left out: {name}: {reason}", err=True)
    for failure in made.failures:
        typer.echo(f"failed: {failure.field}: {failure.error}", err=True)
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in made.counts.items())
    typer.echo(f"{counts}: {out} (look at {out / 'report.html'})")
    if made.failures:
        raise typer.Exit(FAILED)


@app.command()
def cluster(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help='\'perseus\', or a position or name as "49.95 +41.51", "Abell 426".')
    ],
    out: Out,
    radius: Annotated[float | None, typer.Option(help="How far about it objects are looked for, degrees.")] = None,
    redshifts: Annotated[
        str | None, typer.Option(help="Of members, LOW,HIGH; nearer is a star, farther behind.")
    ] = None,
    catalogue: Annotated[
        str | None, typer.Option(help="vizier:TABLE that classes its galaxies (default: redshifts alone tell).")
    ] = None,
    members: Annotated[str, typer.Option(help="The catalogue's classes of members, by commas.")] = "3,5",
    background: Annotated[str, typer.Option(help="Its classes of what is none.")] = "0,1,2,6",
    dropped: Annotated[str, typer.Option(help="Its classes that are left out.")] = "4",
    faintest: Annotated[float, typer.Option(help="r magnitude that all must be brighter than.")] = 19.4,
    seed: Annotated[int, typer.Option(help="Of how it is shared out.")] = 0,
) -> None:
    """
    Make the labelled sample of a cluster of galaxies: members and others, cleaned and shared out.

    DIR/sample.csv is a catalogue for 'prepare --recipe cutouts', DIR/cleaning.csv tells how many were left after each
    step, DIR/removed.csv who went and why, DIR/diagram.png is the colour-magnitude diagram.

    Example: fullfield cluster perseus --out perseus

    Example: fullfield cluster "194.95 +27.98" --radius 1 --redshifts 0.016,0.032 --out coma

    Then: fullfield prepare FIELDS --recipe cutouts --floats --catalogue perseus/sample.csv --label label
    --radius fixed:10 --size arcsec:79.2 --pixels 200 --keep name,group,part,region,modelMag_r,g_z --out stamps
    """
    from fieldprep.clusters import Classes  # noqa: PLC0415 -- --help answers without loading it
    from fullfield.clusters import cluster_named, write_sample  # noqa: PLC0415 -- as above

    chosen = cluster_named(
        place,
        radius=radius,
        redshifts=redshifts,
        catalogue=catalogue,
        classes=Classes(_names(members), _names(background), _names(dropped)),
    )
    sample = write_sample(chosen, out, faintest=faintest, seed=seed)
    for note in sample.notes:
        typer.echo(note)
    counts = Counter(zip(sample.rows["label"], sample.rows["part"], strict=True))
    told = ", ".join(f"{count} {label} to {part}" for (label, part), count in sorted(counts.items()))
    typer.echo(f"{len(sample.rows)} objects ({told}): {out / 'sample.csv'}")


def _names(text: str) -> tuple[str, ...]:
    """Names by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def _needing(what: str, extra: str) -> Iterator[None]:
    """Imports that an extra brings; without it an error says which."""
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f'{what} needs more than the base install ({error}); pip install "fullfield[{extra}]"'
        ) from error


train_app = typer.Typer(help="Train a network (needs the train extra).", no_args_is_help=True, cls=_OrTask)
app.add_typer(train_app, name="train")


@train_app.command("detector")
def train_detector(
    data: Annotated[
        list[Path], typer.Argument(metavar="SET...", help="Training sets, as 'fullfield prepare' writes them.")
    ],
    out: Out,
    shares: Annotated[
        str | None, typer.Option(help="With several sets: the share of the passes for each, as in 0.6,0.3,0.1.")
    ] = None,
    network: Annotated[
        str, typer.Option(help="ultralytics' name of the architecture, or a .pt to train further.")
    ] = "yolo11n",
    passes: Annotated[int, typer.Option(min=1, help="Tile passes.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of weights and draws.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """
    Train a detector from scratch, export it as ONNX, check the export on real tiles.

    The first set's validation half is what the log of the training is scored on. A class named 'star' is taught and
    not reported.

    Example: fullfield train detector set --out training --network yolo11n --passes 10000

    Example: fullfield train detector real simulated --shares 0.7,0.3 --out training
    """
    with _needing("training", "train"):
        from detector.train import Training, parse_shares, train_and_export  # noqa: PLC0415 -- needs the train extra
    training = Training(network=network, passes=passes, seed=seed, shares=parse_shares(shares, len(data)))
    weights = train_and_export(data, out, training, resume=resume)
    typer.echo(f"trained: {weights}")


@train_app.command(TASK)
def train_classifier(
    ctx: typer.Context,
    data: Data,
    out: Out,
    label: Label = "label",
    group: Annotated[
        str | None, typer.Option(help="Column of what may not be split: an object, a patch of sky.")
    ] = None,
    images: Images = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="How long, of each phase where there are two (default: the task's).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split, the weights and what is drawn.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """
    Train a classifier of stamps by the name of its task, or by a task's own .toml, and export it as ONNX.

    Example: fullfield train star_galaxy stamps --out training --group sky

    Example: fullfield train my_task.toml labels.csv --images pictures --out training

    Example: fullfield train gz2 training_solutions_rev1.csv --images images_training_rev1 --out training
    """
    with _needing("training", "train"):
        from classifiers.training import train_and_export  # noqa: PLC0415 -- needs the train extra
    from classifiers.stampsets import read_stamps  # noqa: PLC0415 -- --help answers without loading it
    from classifiers.tasks import Task  # noqa: PLC0415 -- as above

    task = Task.read(str(ctx.info_name))
    if epochs is not None:
        task = dataclasses.replace(task, recipe=task.recipe.lasting(epochs))
    stamps = read_stamps(data, label=label, group=group, images=images, centre=task.centre)
    weights = train_and_export(task, stamps, out, seed=seed, resume=resume, data=str(data))
    typer.echo(f"trained: {weights}")


@evaluate_app.command("run")
def evaluate_run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.")],
    truth: Annotated[
        str,
        typer.Option(
            help="A catalogue, the name of one beside each field's frames (as catalogue.csv), sdss or vizier:TABLE."
        ),
    ],
    columns: Columns = "",
    radius: Radius = None,
    labels: Annotated[
        str,
        typer.Option(help="The truth's column of a classifier's task where they differ, as in morphology=gz_class."),
    ] = "",
) -> None:
    """
    Score a run against a catalogue: DIR/evaluation.html, the page to look at, with evaluation.json and its plots.

    Example: fullfield evaluate run out --truth catalogue.csv
    """
    from fieldprep.catalogues.columns import parse_columns  # noqa: PLC0415 -- --help answers without loading it
    from fullfield.chain import parse_labels  # noqa: PLC0415 -- as above
    from fullfield.evaluation import evaluate_run as evaluate  # noqa: PLC0415 -- as above
    from fullfield.evaluationtext import as_text  # noqa: PLC0415 -- as above
    from fullfield.pages import PAGE_FILE  # noqa: PLC0415 -- as above

    chosen = parse_columns(columns)
    result = evaluate(folder, truth, columns=chosen, radius=radius, labels=parse_labels(labels))
    typer.echo(f"{as_text(result)}\npage: {folder / PAGE_FILE}")


@evaluate_app.command("detector")
def evaluate_detector(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="A field or a folder of fields with their catalogues, or a set that prepare made."
        ),
    ],
    detector: Annotated[str, typer.Option(help="Weights: a shipped name, or the path of an .onnx.")] = "galaxy",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the run and the page (default: only the figures are shown)."),
    ] = None,
    truth: Annotated[
        str, typer.Option(help="Fields: a catalogue, or the name of one beside each field's frames.")
    ] = "catalogue.csv",
    variant: Annotated[
        str | None, typer.Option(help="Fields: the picture to look at (default: the card's); several are fused.")
    ] = None,
    zooms: Zooms = None,
    confidence: Annotated[
        float | None, typer.Option(min=0.01, max=1.0, help="Threshold of the catalogue (default: the card's).")
    ] = None,
    columns: Columns = "",
    radius: Radius = None,
    workers: Annotated[int, typer.Option(min=1, help="Fields: processes; the cores are shared among them.")] = 1,
) -> None:
    """
    Score a detector on fields with catalogues, or on the validation half of a training set.

    Example: fullfield evaluate detector frames --out scored

    Example: fullfield evaluate detector set --detector training/weights/galaxy.onnx
    """
    from fieldprep.catalogues.columns import parse_columns  # noqa: PLC0415 -- --help answers without loading it
    from fullfield.detectorevaluation import (  # noqa: PLC0415 -- as above
        annotations_of,
        evaluate_fields,
        evaluate_validation,
    )
    from fullfield.evaluationtext import as_text  # noqa: PLC0415 -- as above
    from fullfield.pages import PAGE_FILE  # noqa: PLC0415 -- as above
    from fullfield.pipeline import Request  # noqa: PLC0415 -- as above

    failures: list[Any] = []
    if annotations_of(data).is_file():
        from detector import Detector  # noqa: PLC0415 -- as above

        if variant or zooms:
            raise UsageError(f"{data}: a set's pictures are looked at as they are; leave --variant and --zooms out")
        result = evaluate_validation(data, Detector.load(detector), confidence=confidence, out=out)
    else:
        with _Progress() as progress:
            result, failures = evaluate_fields(
                data,
                Request.of(detector, variant=variant, zooms=zooms, confidence=confidence, pictures=False),
                truth,
                out=out,
                columns=parse_columns(columns),
                radius=radius,
                workers=workers,
                progress=progress,
            )
    for failure in failures:
        typer.echo(f"failed: {failure.field} ({failure.stage}): {failure.error}", err=True)
    typer.echo(as_text(result) + (f"\npage: {out / PAGE_FILE}" if out else ""))
    if failures:
        raise typer.Exit(FAILED)


@evaluate_app.command(TASK)
def evaluate_classifier(
    ctx: typer.Context,
    data: Data,
    classifier: Annotated[
        str | None, typer.Option(help="Weights: a shipped name, or the path of an .onnx (default: the task's name).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the page (default: only the figures are shown).")
    ] = None,
    label: Label = "label",
    group: Annotated[
        str | None, typer.Option(help="Column of what belongs together: an object, a patch of sky.")
    ] = None,
    images: Images = None,
    split: Annotated[
        Path | None,
        typer.Option(help="split.csv of the training, of which part test is scored (default: beside the .onnx)."),
    ] = None,
    recall: Annotated[float, typer.Option(min=0.01, max=1.0, help="Recall that a threshold is chosen for.")] = 0.99,
    map_: Annotated[
        str | None, typer.Option("--map", help="Classes of labels that the task does not know, as in S=star,G=galaxy.")
    ] = None,
    magnitude: Annotated[
        str | None, typer.Option(help="Column that scores are binned by (default: the first of the usual magnitudes).")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Weights, as --classifier, of another that it is held against, stamp by stamp.")
    ] = None,
) -> None:
    """
    Score a classifier of stamps by the name of its task, or by a task's own .toml, on labelled stamps.

    Example: fullfield evaluate star_galaxy stamps --out scored

    Example: fullfield evaluate star_galaxy labels.csv --label type --map S=star,G=galaxy --magnitude psfMag_g

    Example: fullfield evaluate my_task.toml labels.csv --images pictures --classifier training/my_task.onnx

    Example: fullfield evaluate gz2 images_test_rev1 --classifier training/gz2.onnx --out predicted
    """
    from classifiers.stampsets import read_stamps  # noqa: PLC0415 -- --help answers without loading it
    from classifiers.tasks import Task  # noqa: PLC0415 -- as above
    from fullfield.classifierevaluation import as_text  # noqa: PLC0415 -- as above
    from fullfield.classifierevaluation import evaluate_classifier as evaluate  # noqa: PLC0415 -- as above
    from fullfield.classifierlabels import mapped_task, parse_map  # noqa: PLC0415 -- as above
    from fullfield.pages import PAGE_FILE  # noqa: PLC0415 -- as above

    task = Task.read(str(ctx.info_name))
    if task.of_votes:
        from fullfield.voteevaluation import as_text as votes_as_text  # noqa: PLC0415 -- as above
        from fullfield.voteevaluation import evaluate_votes  # noqa: PLC0415 -- as above

        if map_ is not None or magnitude is not None or against is not None:
            raise UsageError(f"{task.name} is of votes: leave --map, --magnitude and --against out")
        voted = evaluate_votes(task, data, classifier=classifier, images=images, group=group, split_file=split, out=out)
        typer.echo(votes_as_text(voted) + (f"\npage: {out / PAGE_FILE}" if out else ""))
        return
    labels = {} if map_ is None else parse_map(map_)
    mapped_task(task, labels)  # what is wrong with it is told before stamps are read
    stamps = read_stamps(data, label=label, group=group, images=images, centre=task.centre)
    result = evaluate(
        task,
        stamps,
        classifier=classifier,
        split_file=split,
        recall=recall,
        labels=labels,
        magnitude=magnitude,
        against=against,
        out=out,
    )
    typer.echo(as_text(result) + (f"\npage: {out / PAGE_FILE}" if out else ""))


@app.command()
def simulate(
    out: Out,
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same field.")],
    number: Annotated[int, typer.Option(min=1, help="Fields; more than one go into OUT/NAME-0001 and on.")] = 1,
    shape: Annotated[str | None, typer.Option(help="Rows and columns (default: 1489x2048).")] = None,
    like: Annotated[
        Path | None, typer.Option(help="Folder of a real field: its grid, noise, PSF and counts are taken.")
    ] = None,
    crowding: Annotated[float | None, typer.Option(min=0, help="Factor on the density of stars.")] = None,
    cluster: Annotated[int | None, typer.Option(min=0, help="Stars of a globular cluster in the middle.")] = None,
    arcs: Annotated[int | None, typer.Option(min=0, help="Lensed galaxies around a group.")] = None,
    shear: Annotated[float | None, typer.Option(min=0, max=0.95, help="Reduced shear of the arcs (0.5).")] = None,
    seeing: Annotated[str | None, typer.Option(help="Range of the FWHM in r, arcsec, as in 1.0:2.0.")] = None,
    artefacts: Annotated[
        str | None,
        typer.Option(
            help="Of saturation, bleed, spike, halo, trail, cosmic_ray, hot_pixels; all; or none (default: the first, "
            "third and fourth; with --into, none)."
        ),
    ] = None,
    into: Annotated[Path | None, typer.Option(help="Folder of a real field to add galaxies to.")] = None,
    galaxies: Annotated[int | None, typer.Option(min=1, help="With --into: how many (50).")] = None,
    magnitudes: Annotated[str | None, typer.Option(help="With --into: range of r, evenly drawn (17:22).")] = None,
    sizes: Annotated[
        str | None, typer.Option(help="With --into: range of half-light radii in arcsec (default: as at that r).")
    ] = None,
    placing: Annotated[str | None, typer.Option(help="With --into: random or grid (random).")] = None,
    avoid: Annotated[bool | None, typer.Option("--avoid", help="With --into: keep clear of what is there.")] = None,
) -> None:
    """
    Render fields with exact truth, or add galaxies to a real one (needs the train extra).

    A field that is there already is not rendered again.

    Example: fullfield simulate --out simulated --seed 7
    """
    with _needing("simulation", "train"):
        from fullfield.simulation import inject_fields, simulate_fields  # noqa: PLC0415 -- needs the train extra
    whole = {"shape": shape, "like": like, "crowding": crowding, "cluster": cluster, "arcs": arcs, "shear": shear}
    whole["seeing"] = seeing
    added = {"galaxies": galaxies, "magnitudes": magnitudes, "sizes": sizes, "placing": placing, "avoid": avoid}
    given: dict[str, Any] = {k: v for k, v in (whole if into is None else added).items() if v is not None}
    astray = [f"--{name}" for name, value in (added if into is None else whole).items() if value is not None]
    if astray:
        raise UsageError(f"{', '.join(astray)} {'wants' if into is None else 'does not go with'} --into")
    if into is None:
        notes = simulate_fields(out, seed=seed, number=number, artefacts=artefacts, **given)
    else:
        notes = inject_fields(out, into, seed=seed, number=number, artefacts=artefacts, **given)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"simulated: {out}")


@app.command()
def reduce(
    raw: Annotated[
        list[Path], typer.Argument(metavar="RAW...", help="Raw exposures: folders, or FITS files; sorted by header.")
    ],
    out: Out,
    gain: Annotated[float | None, typer.Option(min=0.001, help="Electrons a count (default: EGAIN or GAIN).")] = None,
    read_noise: Annotated[float | None, typer.Option(min=0.001, help="Electrons (default: RDNOISE).")] = None,
    saturation: Annotated[
        float | None, typer.Option(help="Counts (default: SATURATE, else the largest the file can hold).")
    ] = None,
    bias: Annotated[bool, typer.Option("--bias/--no-bias", help="Subtract a bias.")] = True,
    dark: Annotated[bool, typer.Option("--dark/--no-dark", help="Subtract a dark.")] = True,
    flat: Annotated[bool, typer.Option("--flat/--no-flat", help="Divide by a flat.")] = True,
    cosmic_rays: Annotated[bool, typer.Option("--cosmic-rays/--no-cosmic-rays", help="Find cosmic rays.")] = True,
    temperature_tolerance: Annotated[
        float, typer.Option(min=0, help="Degrees by which a dark may differ from an exposure.")
    ] = 2.0,
) -> None:
    """
    Reduce raw CCD exposures: one calibrated, stacked frame for each object and filter (needs the reduce extra).

    Bias, dark and flat frames are found among RAW by their headers; frames.csv says what became of each file.

    Example: fullfield reduce night --out reduced && fullfield run reduced/M_51 --out out
    """
    with _needing("reduction", "reduce"):
        from fieldprep.reduction.exposures import Reduction  # noqa: PLC0415 -- needs the reduce extra
        from fieldprep.reduction.reduce import reduce_exposures  # noqa: PLC0415 -- as above
    steps = Reduction(gain, read_noise, saturation, bias, dark, flat, cosmic_rays, temperature_tolerance)
    with tqdm(unit="exposure", disable=None, file=sys.stderr) as bar:

        def progress(name: str, total: int) -> None:
            bar.total = total
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        reduced = reduce_exposures(raw, out, steps, progress=progress)
    for note in reduced.notes:
        typer.echo(f"note: {note}", err=True)
    for _, reason in reduced.failures:
        typer.echo(f"failed: {reason}", err=True)
    failed = f", failed files: {len(reduced.failures)}" if reduced.failures else ""
    frames = ", ".join(str(path) for path in reduced.frames) or "no frame"
    typer.echo(f"reduced: {frames}{failed} (see {out / 'frames.csv'})")
    if reduced.failures:
        raise typer.Exit(FAILED)


@app.command()
def weights() -> None:
    """
    List what is installed, with its card.

    Example: fullfield weights
    """
    from fieldprep import resources  # noqa: PLC0415 -- --help answers without loading it
    from fullfield.cards import card_beside  # noqa: PLC0415 -- as above

    for name in resources.names("weights", ".onnx"):
        path = resources.find("weights", name)
        typer.echo(f"{card_beside(path).as_text()}\n  file: {path}")


def main() -> NoReturn:
    """Run the command line; every error a user can cause is one line and an exit status."""
    try:
        status = app(standalone_mode=False) or 0
        if status == INTERRUPTED:  # typer answers Ctrl-C itself, and says nothing
            typer.echo(_KEPT, err=True)
        sys.exit(status)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        typer.echo(_KEPT, err=True)
        sys.exit(INTERRUPTED)
    except FullfieldError as error:
        typer.echo(f"fullfield: {one_line(error)}", err=True)
        sys.exit(USAGE if isinstance(error, UsageError) else FAILED)
    except OSError as error:  # a disk, a permission, a folder in the way: the system's words name the file
        typer.echo(f"fullfield: {one_line(error)}", err=True)
        sys.exit(FAILED)
    except ImportError as error:
        if "shared object" not in str(error):
            raise
        typer.echo(
            f"fullfield: a system library is missing ({one_line(error)}); OpenCV needs libGL and GLib "
            "(Debian, Ubuntu: apt-get install libgl1 libglib2.0-0; Fedora: dnf install mesa-libGL glib2)",
            err=True,
        )
        sys.exit(FAILED)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(str(error))
            sys.exit(USAGE)
        if hasattr(error, "format_message"):  # a usage error of the command-line library
            typer.echo(f"fullfield: {error.format_message()} (fullfield --help shows how)", err=True)
            sys.exit(USAGE)
        raise


class _Progress:
    """A bar over the fields, on a terminal only."""

    def __init__(self) -> None:
        self.bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, outcome: Any, total: int) -> None:
        if self.bar is None:
            self.bar = tqdm(total=total, unit="field", disable=None if total else True, file=sys.stderr)
        if outcome is not None:
            self.bar.set_postfix_str(outcome.field, refresh=False)
            self.bar.update()

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


if __name__ == "__main__":
    main()
