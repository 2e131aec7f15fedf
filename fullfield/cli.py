"""The command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self

import typer
from tqdm import tqdm

from fieldprep.errors import FullfieldError, UsageError, one_line

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
evaluate_app = typer.Typer(help="Score detections against what is known.", no_args_is_help=True)
app.add_typer(evaluate_app, name="evaluate")

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="FITS file, folder of band files, folder of such folders, JPEG/PNG/TIFF, or a list (CSV, ECSV, "
        "Parquet with a column 'source').",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder to write.")]


@app.command()
def run(
    sources: Sources,
    out: Out,
    detector: Annotated[str, typer.Option(help="Weights: a shipped name, or the path of an .onnx.")] = "galaxy",
    variant: Annotated[
        str | None, typer.Option(help="Picture to look at: N, L, LH, S, SH or Q (default: the card's).")
    ] = None,
    bands: Annotated[str | None, typer.Option(help="Bands for red, green, blue, as in i,r,g.")] = None,
    classifiers: Annotated[
        str, typer.Option(help="Cutout classifiers, by name or path, or 'none'. None are shipped yet.")
    ] = "none",
    confidence: Annotated[
        float | None, typer.Option(min=0.01, max=1.0, help="Threshold of the catalogue (default: the card's).")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; the cores are shared among them.")] = 1,
    pictures: Annotated[bool, typer.Option(help="Write the annotated picture of each field.")] = True,
) -> None:
    """
    Find the galaxies of fields: catalogue and pictures into --out.

    A field that cannot be used is recorded in failures.csv and passed over; the same command again does what
    is missing, and only that.

    Example: fullfield run frames/003184-2-0169 --out out
    """
    from detector.cards import Card  # noqa: PLC0415 -- as below
    from detector.detect import weights_path  # noqa: PLC0415 -- as below
    from fieldprep.variants import VARIANTS  # noqa: PLC0415 -- as below
    from fullfield.batch import run as run_batch  # noqa: PLC0415 -- --help answers without loading all this
    from fullfield.pipeline import Request  # noqa: PLC0415 -- as above

    if classifiers != "none":
        raise UsageError(f"--classifiers {classifiers}: no cutout classifier is shipped yet; give none")
    card = Card.beside(weights_path(detector))
    chosen = tuple(bands.split(",")) if bands else None
    if chosen is not None and len(chosen) != 3:
        raise UsageError(f"--bands wants three bands, as in i,r,g; got {bands}")
    if variant is not None and variant not in VARIANTS:
        raise UsageError(f"unknown variant {variant!r}: it is one of {', '.join(VARIANTS)}")
    request = Request(
        detector=detector,
        detector_sha256=card.sha256,
        variant=variant or card.variant,
        confidence=card.confidence if confidence is None else confidence,
        bands=chosen,
        pictures=pictures,
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
    if summary.skipped:
        parts.append(f"{summary.skipped} done before")
    if summary.failed:
        parts.append(f"{summary.failed} failed (see {out / 'failures.csv'})")
    typer.echo(f"{', '.join(parts)}: {out / 'catalogue.parquet'}")
    if summary.failed:
        raise typer.Exit(FAILED)


@app.command()
def prepare(
    sources: Sources,
    out: Out,
    catalogue: Annotated[
        str, typer.Option(help="A catalogue file, or the name of a file in each field's folder.")
    ] = "catalogue.csv",
    validation: Annotated[
        list[str], typer.Option("--validation", help="Name of a field kept for validation; may be repeated.")
    ] = [],  # noqa: B006 -- typer's way of a repeatable option
    empty: Annotated[
        list[str],
        typer.Option("--empty", help="A field without galaxies, as NAME or NAME:X0:X1 (columns); may be repeated."),
    ] = [],  # noqa: B006 -- as above
    variants: Annotated[str, typer.Option(help="Pictures made of each training field.")] = "N,L,LH,S,SH,Q",
) -> None:
    """
    Cut fields and their catalogues into a training set that ultralytics reads as it is.

    Example: fullfield prepare frames --catalogue catalogue.csv --validation 001043-5-0025 --out set
    """
    from fullfield.preparation import prepare_training_set  # noqa: PLC0415 -- --help answers without loading it

    counts = prepare_training_set(
        sources, out, catalogue=catalogue, validation=validation, empty=empty, variants=variants.split(",")
    )
    typer.echo(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) + f": {out}")


train_app = typer.Typer(help="Train a network (needs the train extra).", no_args_is_help=True)
app.add_typer(train_app, name="train")


@train_app.command("detector")
def train_detector(
    data: Annotated[Path, typer.Argument(help="A training set, as 'fullfield prepare' writes it.")],
    out: Out,
    network: Annotated[
        str, typer.Option(help="ultralytics' name of the architecture, or a .pt to train further.")
    ] = "yolo11n",
    passes: Annotated[int, typer.Option(min=1, help="Tile passes.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of weights and draws.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """
    Train a detector from scratch, export it as ONNX, check the export on real tiles.

    Example: fullfield train detector set --out training --network yolo11n --passes 10000
    """
    try:
        from detector.train import train_and_export  # noqa: PLC0415 -- needs the train extra
    except ImportError as error:
        raise UsageError(
            f'training needs more than the base install ({error}); pip install "fullfield[train]"'
        ) from error
    weights = train_and_export(data, out, network=network, passes=passes, seed=seed, resume=resume)
    typer.echo(f"trained: {weights}")


@evaluate_app.command("run")
def evaluate_run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.")],
    truth: Annotated[
        str, typer.Option(help="A catalogue, or the name of one beside each field's frames, as catalogue.csv.")
    ],
) -> None:
    """
    Score a run against a catalogue: completeness, purity, IoU, AP by magnitude; also evaluation.json.

    Example: fullfield evaluate run out --truth catalogue.csv
    """
    from fullfield import evaluation  # noqa: PLC0415 -- --help answers without loading it

    typer.echo(evaluation.as_text(evaluation.evaluate_run(folder, truth)))


@app.command()
def simulate(
    out: Out,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same field.")],
    shape: Annotated[str, typer.Option(help="Rows and columns.")] = "1489x2048",
) -> None:
    """
    Render an SDSS-like field with exact truth (needs the train extra).

    Example: fullfield simulate --out simulated --seed 7
    """
    try:
        from fieldprep.simulate import write_field  # noqa: PLC0415 -- needs the train extra
    except ImportError as error:
        raise UsageError(
            f'simulation needs more than the base install ({error}); pip install "fullfield[train]"'
        ) from error
    rows, _, columns = shape.partition("x")
    if not (rows.isdigit() and columns.isdigit()):
        raise UsageError(f"--shape wants rows x columns, as in 1489x2048; got {shape}")
    folder = write_field(out, seed=seed, shape=(int(rows), int(columns)))
    typer.echo(f"simulated: {folder}")


@app.command()
def weights() -> None:
    """
    List what is installed, with its card.

    Example: fullfield weights
    """
    from detector.cards import Card  # noqa: PLC0415 -- --help answers without loading it
    from fieldprep import resources  # noqa: PLC0415 -- as above

    for name in resources.names("weights", ".onnx"):
        path = resources.find("weights", name)
        typer.echo(f"{Card.beside(path).as_text()}\n  file: {path}")


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
