"""
Trainings of the detector by three sky folds, each scored on the fields it was not trained on; and the one that ships.

    python benchmarks/folds.py simulate DATA --out WORK       fields simulated and injected into
    python benchmarks/folds.py prepare DATA --out WORK        training sets of each fold
    python benchmarks/folds.py first DATA --out WORK          the first training, on simulated fields alone
    python benchmarks/folds.py train DATA --out WORK --line recipe [--fold K]
    python benchmarks/folds.py score DATA --out WORK --line recipe --line ...
    python benchmarks/folds.py ship DATA --out WORK           join the folds' networks, calibrate, and write the card

DATA holds ``sdss/`` (eight fields, seven with ``catalogue.csv``) and ``hst_jwst/`` (pictures with references). A line
is one of `LINES`: what differs from the recipe. Each step does what is missing, and goes on with what was stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from foldsets import FOLDS, PICTURES, STARS_ONLY, TRAINED_COLUMNS, prepare, sets_folder, simulate, with_truth

from detector import Detections, Detector
from detector.calibration import Calibration, fit_calibration
from detector.cards import Card
from detector.evaluate import Scene, labelled_confidences, score
from detector.evaluate.scores import astrocv_scores
from detector.instruments import detect_at_scale
from detector.outlines import outlined
from detector.pictures import PictureScene, read_reference, score_pictures
from fieldprep import Field
from fieldprep.cards import sha256
from fieldprep.scale import zoom_factor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from fieldprep.catalogues import Sources

    Pictures = dict[str, list[PictureScene]]  # by side, HST and JWST

SHARES = {"real": 0.4, "injected": 0.15, "simulated": 0.22, "space": 0.15, "stars": 0.08}
OPTIONS: dict[str, Any] = {
    "seed": 2,
    # four of five real tiles as the detector sees a field, the fifth in L, LH, S, SH or Q
    "variant_weights": {"N": 20.0},
    "large_weight": 2.0,
    "keep_statistics": True,
    "settings": {"lr0": 0.0045, "val": False},
}
LEAST_PURITY = {20.0: 0.98, 21.0: 0.96}  # at r < m, that a default threshold is to have
LEAST_PURITY_OF_PICTURES = 0.85
MOST_OF_NOTHING = 0.05  # share of detections with no object under them
WEIGHT_OF_LACK = 20.0  # of what is lacking of these, against completeness
DRAWN = "drawn"  # folder of the network's own boxes
JUDGED = "recipe"  # the line whose figures are those of what ships
SHOWN = ("value", "low", "high", "k", "n")
THRESHOLDS = np.linspace(0.1, 0.9, 81)
LIMITS = (20.0, 20.5, 21.0)
SHORT = 800  # passes of what is compared with each other


@dataclass(frozen=True)
class Line:
    """One line of the table: what is trained on, how long, and what differs from `detector.train.Training`."""

    what: str
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    training: dict[str, Any] = field(default_factory=dict)
    passes: int = SHORT
    variant: str = "N"  # the picture it is run on
    zoom: float = 1.0  # of the field, for the network
    after: str = "first"  # what it goes on from: the first training, the same fold of a line, or nothing at all


P2 = str(Path(__file__).with_name("yolo11n-p2"))  # ultralytics takes the size out of the name: yolo11-p2.yaml
KEPT = Path(__file__).with_name("first.npz")  # the first training's weights, beside those of the recipe's folds
TAUGHT = ("galaxy", "star")
FIRST: dict[str, Any] = {"passes": 8000, "seed": 1, "one_band": 0.0, "settings": {"scale": 0.2}}
OTHERS = ("L", "LH", "S", "SH", "Q")
LINES = {
    "recipe": Line("the recipe", passes=4800),
    "longer": Line("the recipe, and once more", passes=3200, after="recipe"),
    "simulated": Line("the first training alone, no real field", shares={}, passes=FIRST["passes"]),
    "short": Line("the recipe, short"),
    "scratch": Line("without the first training on simulated fields", after=""),
    "real": Line("on real fields alone", {"real": 1.0}),
    "no_injected": Line("without injected galaxies", {"real": 0.47, "simulated": 0.26, "space": 0.18, "stars": 0.09}),
    "no_space": Line(
        "without HST and JWST pictures", {"real": 0.47, "injected": 0.18, "simulated": 0.26, "stars": 0.09}
    ),
    "no_clusters": Line(
        "without the globular clusters", {"real": 0.44, "injected": 0.16, "simulated": 0.24, "space": 0.16}
    ),
    "bands": Line("no tile of one band", training={"one_band": 0.0}),
    "N": Line("no picture but N", training={"variant_weights": {"N": 1.0, **dict.fromkeys(OTHERS, 0.0)}}),
    "overlap": Line("confidence = overlap, as ultralytics teaches it", training={"whole_confidence": False}),
    "statistics": Line("statistics of the batches", training={"keep_statistics": False}),
    "zoom": Line("zoomed by up to 30 %", training={"settings": {"scale": 0.3}}),
    "enlarged": Line("tiles and fields enlarged by a half", training={"settings": {"imgsz": 960}}, zoom=1.5),
    "p2": Line("a fourth scale of stride 4 (P2)", training={"network": P2}, after=""),
    "L": Line(
        "YOLO in L only",
        {"real": 1.0},
        {"variant_weights": {"L": 1.0, **dict.fromkeys(("N", *OTHERS[1:]), 0.0)}, "one_band": 0.0},
        variant="L",
        after="",
    ),
    "v3tiny": Line("YOLOv3-tiny, AstroCV's generation", training={"network": "yolov3-tiny"}, after=""),
}


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("simulate", "prepare", "first", "train", "score", "ship"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--line", action="append", default=[])
    parser.add_argument("--fold", type=int, action="append", default=[])
    parser.add_argument("--drawn", action="store_true", help="score the network's own boxes, not those of the light")
    arguments = parser.parse_args()
    data, out = arguments.data, arguments.out
    if arguments.do == "simulate":
        simulate(data, out)
    elif arguments.do == "prepare":
        prepare(data, out)
    elif arguments.do == "first":
        first(out)
    elif arguments.do == "train":
        for line in arguments.line:
            for fold in arguments.fold or range(len(FOLDS)):
                train_line(out, line, fold)
                detect_fold(data, out, line, fold)
    elif arguments.do == "score":
        print(table(data, out, arguments.line, arguments.fold or range(len(FOLDS)), drawn=arguments.drawn))
    else:
        ship(data, out)


def first(out: Path) -> None:
    """Train on simulated fields alone, what every fold starts from; or take the weights that were kept of it."""
    from detector.train import Training, train  # noqa: PLC0415 -- scoring needs no torch

    folder = out / "lines" / "first"
    last = folder / "weights" / "last.pt"
    if KEPT.is_file():
        _once(folder, lambda _: checkpoint_of(KEPT, last))
    else:
        _once(folder, lambda resume: train([out / "sets" / "first"], folder, Training(**FIRST), resume=resume))


def checkpoint_of(kept_weights: Path, path: Path) -> Path:
    """Write a network's kept weights as a checkpoint that ultralytics trains further, and give it."""
    import torch  # noqa: PLC0415 -- as above
    from ultralytics.nn.tasks import DetectionModel  # noqa: PLC0415 -- as above

    model = DetectionModel("yolo11n.yaml", nc=len(TAUGHT), verbose=False)
    content = np.load(kept_weights)
    model.load_state_dict({name: torch.from_numpy(content[name]) for name in content.files})
    model.names = dict(enumerate(TAUGHT))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "train_args": {"task": "detect"}}, path)
    return path


def train_line(out: Path, name: str, fold: int) -> None:
    """Train a line on a fold and export it, or take the weights that were kept of it; remove them to train anew."""
    from detector.train import Training, export_with_card, train_and_export  # noqa: PLC0415 -- as above

    line, folder = LINES[name], out / "lines" / name / str(fold)
    folder.mkdir(parents=True, exist_ok=True)
    first_of_all = out / "lines" / "first" / "weights" / "last.pt"
    if not line.shares:
        _once(folder, lambda _: export_with_card(first_of_all, [out / "sets" / "first"], folder, Training(**FIRST)))
        return
    sets = [sets_folder(out, fold) / kind for kind in line.shares]
    options = {**OPTIONS, **line.training, "settings": {**OPTIONS["settings"], **line.training.get("settings", {})}}
    if line.after:
        options["network"] = str(first_of_all if line.after == "first" else _last(out, line.after, fold))
    else:
        options |= {"keep_statistics": False}
        del options["settings"]["lr0"]
    training = Training(passes=line.passes, shares=tuple(line.shares.values()), **options)
    weights = KEPT.with_name(f"{name}-{fold}.npz")
    if weights.is_file():
        last = _last(out, name, fold)
        _once(folder, lambda _: export_with_card(checkpoint_of(weights, last), sets, folder, training))
    else:
        _once(folder, lambda resume: train_and_export(sets, folder, training, resume=resume))


def _last(out: Path, name: str, fold: int) -> Path:
    return out / "lines" / name / str(fold) / "weights" / "last.pt"


def _once(folder: Path, do: Callable[[bool], Any]) -> None:
    """Train what is not trained; go on with what was stopped."""
    if not (folder / "done").exists():
        do((folder / "weights" / "last.pt").exists())
        (folder / "done").touch()


def detect_fold(data: Path, out: Path, name: str, fold: int) -> None:
    """Detect in what the fold was not trained on, and keep what was found."""
    folder = out / "lines" / name / str(fold)
    detector = Detector.load(next(folder.glob("*.onnx")))
    line = LINES[name]
    (folder / DRAWN).mkdir(exist_ok=True)
    for held in (*FOLDS[fold], STARS_ONLY):
        field_ = Field.read(data / "sdss" / held)
        found = detect_at_scale(detector, field_, zoom=line.zoom, variant=line.variant, measured=False)
        _keep(found, folder / DRAWN / f"{held}.npz")
        _keep(outlined(field_, found), folder / f"{held}.npz")
    for held in PICTURES[fold]:
        field_ = Field.read(data / "hst_jwst" / held)
        zoom = zoom_factor(field_) * line.zoom
        _keep(detect_at_scale(detector, field_, zoom=zoom), folder / f"{Path(held).stem}.npz")


def _keep(found: Detections, path: Path) -> None:
    np.savez_compressed(path, xyxy=found.xyxy, confidence=found.confidence, class_id=found.class_id, flags=found.flags)


def kept(path: Path) -> Detections:
    """Detections that were kept."""
    content = np.load(path)
    return Detections(*(content[name] for name in ("xyxy", "confidence", "class_id", "flags")))


@cache
def truth_of(data: Path, name: str) -> tuple[Sources, tuple[int, int]]:
    """What is known to be on a field, and its shape."""
    field_, sources = with_truth(data / "sdss" / name)
    return sources, field_.shape


def scenes_of(data: Path, out: Path, name: str, fold: int, *, drawn: bool = False) -> list[Scene]:
    """Fields that a fold was not trained on, with what was found in them; raw confidences."""
    folder = out / "lines" / name / str(fold) / (DRAWN if drawn else "")
    return [Scene(kept(folder / f"{held}.npz"), *truth_of(data, held)) for held in FOLDS[fold]]


@dataclass(frozen=True)
class Operating:
    """Calibration and threshold, chosen on fields that are not the ones scored."""

    calibration: Calibration
    display: Calibration  # of display pictures
    threshold: float

    @classmethod
    def chosen_on(cls, scenes: list[Scene], pictures: Pictures) -> Operating:
        """
        Choose on these: Platt's calibration of the fields, and the thresholds with the best `goodness`.

        A display picture's odds are those of a field times what brings its best threshold to the fields'.
        """
        calibration = fit_calibration(*labelled_confidences(scenes))
        fields = [_with(scene, calibration.apply(scene.detections.confidence)) for scene in scenes]
        others = {side: [_shown_with(one, calibration.apply) for one in some] for side, some in pictures.items()}
        best = float(max(THRESHOLDS, key=lambda t: goodness(fields, float(t))))
        best_shown = float(max(THRESHOLDS, key=lambda t: goodness_of_pictures(others, float(t))))
        display = calibration.at_odds(best / (1 - best) * (1 - best_shown) / best_shown)
        return cls(calibration, display, best)

    def at_half(self, confidence: npt.NDArray[np.float64], *, display: bool = False) -> npt.NDArray[np.float64]:
        """Probabilities bent so that this threshold falls on 0.5, and folds can be pooled."""
        calibration = self.display if display else self.calibration
        return np.interp(calibration.apply(confidence), [0, self.threshold, 1], [0, 0.5, 1])


def goodness(scenes: list[Scene], threshold: float) -> float:
    """
    What the default threshold is chosen by.

    Completeness at r < 20 and r < 21, less twenty times what purity lacks of 0.98 and 0.96 there, and what
    more than 5 % of the detections have nothing under them.
    """
    scores = score(scenes, threshold, limits=tuple(LEAST_PURITY), ap=False)
    lack = [scores["unmatched"]["value"] - MOST_OF_NOTHING]
    found = []
    for least, row in zip(LEAST_PURITY.values(), scores["limits"].values(), strict=True):
        found.append(row["completeness"]["value"])
        lack.append(least - row["purity"]["value"])
    return _less_lack(found, lack)


def goodness_of_pictures(pictures: Pictures, threshold: float) -> float:
    """Recall on HST's and on JWST's pictures, less twenty times what purity lacks of 0.85 on each."""
    rows = [score_pictures(some, threshold) for some in pictures.values()]
    lack = [LEAST_PURITY_OF_PICTURES - row["purity"]["value"] for row in rows]
    return _less_lack([row["recall"]["value"] for row in rows], lack)


def _less_lack(found: list[float], lack: list[float]) -> float:
    return float(np.nansum(found)) - WEIGHT_OF_LACK * float(np.nansum(np.maximum(lack, 0)))


def operating_on(data: Path, out: Path, name: str, folds: Sequence[int], *, drawn: bool = False) -> Operating:
    """Calibration and threshold of a line, chosen on what these folds were not trained on."""
    scenes = [scene for fold in folds for scene in scenes_of(data, out, name, fold, drawn=drawn)]
    return Operating.chosen_on(scenes, _joined([pictures_of(data, out, name, fold) for fold in folds]))


def pooled(data: Path, out: Path, name: str, folds: Sequence[int], *, drawn: bool = False) -> dict[str, Any]:
    """Scores of a line over its folds, each calibrated and cut as serves the others best (its own, if it is alone)."""
    by_fold = {fold: scenes_of(data, out, name, fold, drawn=drawn) for fold in folds}
    shown = {fold: pictures_of(data, out, name, fold) for fold in folds}
    scenes, stars, pictures = [], [], []
    for fold in folds:
        operating = operating_on(data, out, name, [k for k in folds if k != fold] or [fold], drawn=drawn)
        scenes += [_with(scene, operating.at_half(scene.detections.confidence)) for scene in by_fold[fold]]
        m2 = kept(out / "lines" / name / str(fold) / f"{STARS_ONLY}.npz")
        galaxies = operating.at_half(m2.confidence) >= 0.5
        stars.append(int((galaxies & (m2.centres[:, 0] >= TRAINED_COLUMNS)).sum()))
        at_half = partial(operating.at_half, display=True)
        pictures.append({side: [_shown_with(one, at_half) for one in some] for side, some in shown[fold].items()})
    scores = score(scenes, 0.5, limits=(19.0, *LIMITS), ap=False)
    # average precision asks for no threshold: of the raw confidences
    raw = score([scene for part in by_fold.values() for scene in part], 0.5, limits=(19.0, *LIMITS))
    for limit, row in scores["limits"].items():
        row |= {measure: raw["limits"][limit][measure] for measure in ("ap50", "ap")}
    scores["m2"] = stars
    scores["astrocv"] = astrocv_scores(scenes, 0.5)
    scores["pictures"] = {side: score_pictures(part, 0.5) for side, part in _joined(pictures).items()}
    return scores


def table(data: Path, out: Path, lines: Sequence[str], folds: Sequence[int], *, drawn: bool = False) -> str:
    """Markdown table, a row a line."""
    head = (
        "| what | passes | C, P r < 20 | C, P r < 21 | AP50, AP50-95 r < 20.5 | over 22 px, r < 20.5: recall, IoU "
        "| nothing under | M2 | HST | JWST |"
    )
    rows = [head, "|" + "---|" * 10]
    for name in lines:
        scores = pooled(data, out, name, folds, drawn=drawn)
        limits, sides = scores["limits"], ("HST", "JWST")
        cells = [
            LINES[name].what,
            str(LINES[name].passes),
            *(_pair(limits[limit], "completeness", "purity") for limit in ("20", "21")),
            _pair(limits["20.5"], "ap50", "ap"),
            _pair(limits["20.5"], "completeness_over_22_px", "mean_iou_over_22_px"),
            _cell(scores["unmatched"]),
            ", ".join(map(str, scores["m2"])),
            *(_pair(scores["pictures"].get(side), "recall", "purity") for side in sides),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    n = {limit: limits[limit]["completeness"]["n"] for limit in ("20", "20.5", "21")}
    return "\n".join([*rows, "", f"galaxies: {n}; in brackets 68 % intervals; M2: galaxies in its half not trained on"])


def _pair(row: dict[str, Any] | None, *measures: str) -> str:
    return "-" if row is None else ", ".join(_cell(row[measure]) for measure in measures)


def _cell(entry: dict[str, Any]) -> str:
    return f"{entry['value']:.3f} ({entry['low']:.3f}-{entry['high']:.3f})"


def pictures_of(data: Path, out: Path, name: str, fold: int) -> Pictures:
    """Pictures of HST and of JWST that a fold was not trained on, with what was found in them; raw confidences."""
    found: Pictures = {}
    for held in PICTURES[fold]:
        stem = Path(held).stem
        reference = read_reference(data / "hst_jwst" / f"{stem}.reference.csv")
        scene = PictureScene(kept(out / "lines" / name / str(fold) / f"{stem}.npz"), reference)
        found.setdefault("HST" if held.startswith("hst") else "JWST", []).append(scene)
    return found


def _joined(parts: Sequence[Pictures]) -> Pictures:
    return {
        side: [one for part in parts for one in part.get(side, [])] for side in sorted({k for p in parts for k in p})
    }


def _shown_with(
    scene: PictureScene, change: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
) -> PictureScene:
    found = scene.detections
    return replace(scene, detections=replace(found, confidence=change(found.confidence)))


def _with(scene: Scene, confidence: npt.NDArray[np.float64]) -> Scene:
    return replace(scene, detections=replace(scene.detections, confidence=confidence))


def card_scores(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores as a card keeps them, rounded."""
    measures = ("completeness", "purity", "mean_iou", "ap50", "ap")
    limits = {m: {k: _rounded(row[k]) for k in measures} for m, row in scores["limits"].items()}
    sides = {side: {k: _rounded(row[k]) for k in ("recall", "purity")} for side, row in scores["pictures"].items()}
    return {
        "measured on": "seven SDSS fields and five pictures, each by a network that was not trained on it: the recipe "
        f"trained on three sky folds, {LINES[JUDGED].passes:,} passes each after the first training; the shipped "
        "network is the average of the three",
        "measured by": f"python benchmarks/folds.py score DATA --out WORK --line {JUDGED}",
        "detector": limits,
        "pictures": sides,
        "detections with no object under them": f"{scores['unmatched']['k']} of {scores['unmatched']['n']}",
        "galaxies in the half of M2 not trained on, by fold": scores["m2"],
    }


def _rounded(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in entry.items() if k in SHOWN}


def join(out: Path) -> Path:
    """
    Average the weights of the folds' networks and export it; gives the exported weights.

    They come from the same first training, its batch statistics kept, so that their average is a network as good as
    they are, of all that they saw (Wortsman et al. 2022, ICML, 23965).
    """
    import torch  # noqa: PLC0415 -- scoring needs no torch

    from detector.train import Training, export_with_card  # noqa: PLC0415 -- as above

    folder = out / "lines" / "joined"
    folder.mkdir(parents=True, exist_ok=True)
    last = [_last(out, JUDGED, fold) for fold in range(len(FOLDS))]
    checkpoints = [torch.load(path, weights_only=False) for path in last]
    networks = [checkpoint["model"].float() for checkpoint in checkpoints]
    of_folds = [network.state_dict() for network in networks]
    mean = {name: torch.stack([part[name].float() for part in of_folds]).mean(0) for name in of_folds[0]}
    networks[0].load_state_dict(mean)
    torch.save({**checkpoints[0], "model": networks[0].half()}, folder / "last.pt")
    sets = [sets_folder(out, 0) / kind for kind in SHARES]
    return export_with_card(folder / "last.pt", sets, folder, Training(str(folder / "last.pt"), LINES[JUDGED].passes))


def ship(data: Path, out: Path) -> None:
    """Write the network that ships and its card, with what the folds say of the recipe."""
    weights = join(out)
    operating = operating_on(data, out, JUDGED, range(len(FOLDS)))
    card = replace(
        Card.beside(weights),
        name="galaxy",
        network="yolo11n",
        calibration=operating.calibration.as_card(),
        display_calibration=operating.display.as_card(),
        confidence=round(operating.threshold, 2),
        sha256=sha256(weights),
        scores=card_scores(pooled(data, out, JUDGED, range(len(FOLDS)))),
    )
    card.write(weights.with_suffix(".json"))
    print(f"{weights} and its card: copy them to weights/galaxy.onnx and .json, and write in what it was trained on")


if __name__ == "__main__":
    main()
