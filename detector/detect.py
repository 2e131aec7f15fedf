"""A field to its detections: whole or in overlapping tiles, merged, with no cap on their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from detector.cards import Card
from detector.detections import Detections, Flag
from detector.merging import concentric_pairs, merge, most_confident
from detector.tiling import Found, levels, settled, spoken_for
from fieldprep import resources
from fieldprep.boxes import CORNER, areas, clip_boxes
from fieldprep.network import Network, load_network
from fieldprep.views import PictureView, view_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector.tiling import Level
    from fieldprep.field import BoolImage
    from fieldprep.mosaic import Sky
    from fieldprep.tiles import Tile
    from fieldprep.variants import Picture
    from fieldprep.views import View

FLOOR = 0.01  # detections down to this confidence are kept, for the precision-recall curve
LEAST_RAW = 1e-4  # raw confidence, whatever it is calibrated to: under it is every point of the sky
MASKED_SHARE = 0.1
# a few unusable pixels in the middle of a box are a saturated core, and its owner most likely a star: of 303 catalogued
# galaxies at r < 20 on seven SDSS fields none has one, of 141 stars of r = 14 to 16 there 27
CORE_PX = 3  # how near the centre
AROUND_PX, FEW = 15, 0.25  # side of the window about it, and their share of that at most
ODDS_OF_LOST_CORE = 0.1


class Detector:
    """
    A trained detector.

    Parameters
    ----------
    network : Network
        The network, as `fieldprep.network.load_network` gives it.
    card : Card
        Its card.
    """

    def __init__(self, network: Network, card: Card) -> None:
        self.network = network
        self.card = card
        self._input: npt.NDArray[np.float32] = np.zeros((0, 0, 0, 0), np.float32)

    @classmethod
    def load(cls, name: str | Path = "galaxy", *, runtime: str | None = None) -> Detector:
        """
        Load a detector by name or path.

        Parameters
        ----------
        name : str or path
            Name of shipped weights, or the path of an ``.onnx`` with its card beside it.
        runtime : {'openvino', 'onnxruntime'}, optional
            See `fieldprep.network.load_network`.

        Returns
        -------
        Detector

        Raises
        ------
        fieldprep.errors.InputError
            If there are no such weights, or file and card do not belong together.
        """
        path = resources.weights_path(name)
        card = Card.beside(path)
        return cls(load_network(path, runtime=runtime), card)

    def detect(
        self,
        field: Sky,
        *,
        variant: str | None = None,
        bands: Sequence[str] | None = None,
        confidence: float = FLOOR,
        tile: int | None = None,
    ) -> Detections:
        """
        Find the objects of a field.

        Parameters
        ----------
        field : Field or Mosaic
            The field.
        variant : str, optional
            The picture to look at; by default the one the card names.
        bands : sequence of three str, optional
            Bands for R, G, B.
        confidence : float
            Least confidence kept.
        tile : int, optional
            Side of the tiles; by default a field of up to 4.5 million pixels goes through whole and a larger
            one in tiles of 2048; see `detector.tiling`.

        Returns
        -------
        Detections
            By falling confidence, boxes clipped at the field's edge.
        """
        return self.detect_view(
            view_of(field, variant or self.card.variant, bands=bands), confidence=confidence, tile=tile
        )

    def detect_picture(
        self, rgb: Picture, mask: BoolImage, *, confidence: float = FLOOR, tile: int | None = None
    ) -> Detections:
        """
        Find the objects in a picture; see `detect`.

        Parameters
        ----------
        rgb : 3D uint8 `~numpy.ndarray`, shape (ny, nx, 3)
            The picture.
        mask : 2D bool `~numpy.ndarray`, shape (ny, nx)
            True = unusable.
        confidence : float
            Least confidence kept, on the scale of the card's calibration, as the confidences given back.
        tile : int, optional
            Side of the tiles.

        Returns
        -------
        Detections
        """
        return self.detect_view(PictureView(rgb, mask), confidence=confidence, tile=tile)

    def detect_view(self, view: View, *, confidence: float = FLOOR, tile: int | None = None) -> Detections:
        """
        Find the objects in the picture of a field, of which no more than a tile need be in memory; see `detect`.

        Parameters
        ----------
        view : View
            The picture, as `fieldprep.views.view_of` gives it.
        confidence : float
            Least confidence kept, on the scale of the card's calibration, as the confidences given back.
        tile : int, optional
            Side of the tiles.

        Returns
        -------
        Detections
        """
        calibration = self.card.calibration_of(display=view.display)
        if calibration is not None:  # what is found is raw until it is given back
            confidence = max(float(calibration.invert(confidence)), LEAST_RAW)
        parts: list[Found] = []
        for level in levels(view, tile):
            for one in level.tiles():
                parts.append(self._in_tile(level, one, view.shape, confidence, len(parts)))
        found = settled(Found.joined(parts))
        pairs = concentric_pairs(found.xyxy, found.class_id)
        found = found.select(most_confident(found.xyxy, found.scores, found.class_id, *pairs))
        scores = found.scores if calibration is None else calibration.apply(found.scores)
        flags = Flag.EDGE * at_edge(found.xyxy, view.shape) + Flag.MASKED * found.masked.astype(np.int64)
        return Detections(found.xyxy, scores, found.class_id, flags, self.card.classes).sorted()

    def _in_tile(self, level: Level, tile: Tile, shape: tuple[int, int], confidence: float, number: int) -> Found:
        """What a tile of a level speaks for, in the pixels of the field of this shape."""
        window = tile.window
        rgb, mask = level.view.window(window)
        xyxy, scores, class_id = decode(self.network(self._batch(rgb)), confidence, len(self.card.classes))
        corner = np.array([window.x0, window.y0, window.x0, window.y0], np.float64)
        # clipped first: what two boxes of one galaxy differ by may lie outside the field
        xyxy = clip_boxes(xyxy + corner - CORNER, level.view.shape)
        scores = _doubted(scores, _lost_core((xyxy[:, :2] + xyxy[:, 2:]) / 2 - corner[:2], mask))
        # what is seen in the padding is not in the field
        inside = (areas(xyxy) > 0) & (scores >= confidence)
        xyxy, scores, class_id = xyxy[inside], scores[inside], class_id[inside]
        kept, voted = merge(xyxy, scores, class_id)
        ours, guest = spoken_for(voted, tile, level)
        in_field = clip_boxes((voted + CORNER) * level.scale - CORNER, shape)
        masked = _masked(voted - corner, mask)
        found = Found(in_field, scores[kept], class_id[kept], masked, guest, np.full(len(kept), number, np.int64))
        return found.select(ours)

    def _batch(self, rgb: Picture) -> npt.NDArray[np.float32]:
        """Network input (1, 3, H, W), 0 to 1, padded with black at the far edges to whole strides."""
        ny, nx = rgb.shape[:2]
        stride = self.card.stride
        shape = 1, 3, -(-ny // stride) * stride, -(-nx // stride) * stride
        if self._input.shape != shape:  # one array for all fields and tiles: a new one costs as much as its filling
            self._input = np.zeros(shape, np.float32)
        self._input[..., ny:, :] = 0
        self._input[..., nx:] = 0
        np.multiply(np.moveaxis(rgb, -1, 0), np.float32(1 / 255), out=self._input[0, :, :ny, :nx])
        return self._input


def decode(
    output: npt.NDArray[np.float32], confidence: float, classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """
    Boxes of a YOLO head's dense output.

    Parameters
    ----------
    output : 3D float32 `~numpy.ndarray`, shape (1, 4 + scores, anchors)
        Centre x, centre y, width, height in pixels from the picture's corner, then a score a class.
    confidence : float
        Least score kept.
    classes : int
        How many of the scores, from the first, are of classes that are reported; any others were only taught.

    Returns
    -------
    xyxy : 2D float64 `~numpy.ndarray`, shape (N, 4)
        Boxes, still counted from the corner.
    scores : 1D float64 `~numpy.ndarray`, shape (N,)
    class_id : 1D int64 `~numpy.ndarray`, shape (N,)
    """
    of_classes = output[0, 4 : 4 + classes]
    scores = of_classes.max(axis=0)
    kept = scores >= confidence
    boxes = output[0, :4, kept].astype(np.float64)
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    class_id = of_classes[:, kept].argmax(axis=0)
    return (
        np.concatenate([centre - half, centre + half], axis=1),
        np.clip(scores[kept].astype(np.float64), 0, 1),
        class_id.astype(np.int64),
    )


def at_edge(xyxy: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """
    Whether boxes reach the edge of a field.

    Parameters
    ----------
    xyxy : 2D float64 `~numpy.ndarray`, shape (N, 4)
        Boxes, clipped to the field.
    shape : (ny, nx)
        Shape of the field.

    Returns
    -------
    1D int64 `~numpy.ndarray`, shape (N,)
        1 where one does, else 0.
    """
    ny, nx = shape
    reached = (xyxy[:, :2] <= -CORNER).any(axis=1) | (xyxy[:, 2] >= nx - CORNER) | (xyxy[:, 3] >= ny - CORNER)
    return np.asarray(reached, np.int64)


def _lost_core(centres: npt.NDArray[np.float64], mask: BoolImage) -> npt.NDArray[np.bool_]:
    """Whether a few unusable pixels lie in the middle of boxes: a saturated core, not the edge of the data."""
    if not mask.any() or not len(centres):
        return np.zeros(len(centres), np.bool_)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * CORE_PX + 1,) * 2)
    near = cv2.dilate(mask.astype(np.uint8), disc) > 0
    share = cv2.blur(mask.astype(np.float32), (AROUND_PX, AROUND_PX))
    ny, nx = mask.shape
    x, y = np.clip(np.rint(centres).astype(int), 0, [nx - 1, ny - 1]).T
    return np.asarray(near[y, x] & (share[y, x] < FEW), np.bool_)


def _doubted(scores: npt.NDArray[np.float64], which: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Scores, the odds of some of them a tenth."""
    odds = ODDS_OF_LOST_CORE * scores
    return np.where(which, odds / (1 - scores + odds), scores)


def _masked(xyxy: npt.NDArray[np.float64], mask: BoolImage) -> npt.NDArray[np.bool_]:
    """Whether a tenth of a box or more is unusable, by the integral image of the mask."""
    if not mask.any():
        return np.zeros(len(xyxy), np.bool_)
    ny, nx = mask.shape
    total = cv2.integral(mask.astype(np.uint8))
    low = np.clip(np.rint(xyxy[:, :2] + CORNER).astype(int), 0, [nx - 1, ny - 1])
    high = np.clip(np.rint(xyxy[:, 2:] + CORNER).astype(int), low + 1, [nx, ny])
    inside = (
        total[high[:, 1], high[:, 0]]
        - total[low[:, 1], high[:, 0]]
        - total[high[:, 1], low[:, 0]]
        + total[low[:, 1], low[:, 0]]
    )
    return np.asarray(inside >= MASKED_SHARE * np.prod(high - low, axis=1), np.bool_)
