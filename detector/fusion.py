"""Several looks at one field, in other pictures or at other scales, to one set of detections: weighted box fusion."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from detector.detect import FLOOR
from detector.instruments import detect_at_scale, own_zoom
from detector.merging import SAME_OBJECT_IOU, merge, overlapping_pairs
from detector.outlines import outlined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.detect import Detector
    from detector.detections import Detections
    from fieldprep.mosaic import Sky
    from fieldprep.views import View


def detect_fused(
    detector: Detector,
    sky: Sky,
    *,
    zooms: Sequence[float] = (1.0,),
    variants: Sequence[str] = (),
    bands: Sequence[str] | None = None,
    confidence: float = FLOOR,
    tile: int | None = None,
    view: View | None = None,
) -> Detections:
    """
    Find the objects of a field in several looks at it, fused.

    Parameters
    ----------
    detector : Detector
        The detector.
    sky : Field or Mosaic
        The field.
    zooms : sequence of float
        Scales, of the one that `fieldprep.scale.zoom_factor` gives; of a mosaic see `detect_at_scale`.
    variants : sequence of str
        Pictures; by default the one the card names.
    bands, confidence, tile
        As of `detector.Detector.detect`.
    view : View, optional
        The field's first picture, where it is made already.

    Returns
    -------
    Detections
        See `fused`; the time is that of all the looks. One look alone gives what `detect_at_scale` does.
    """
    own = own_zoom(sky)
    looks = [
        detect_at_scale(
            detector,
            sky,
            zoom=own * zoom,
            variant=variant,
            bands=bands,
            tile=tile,
            view=None if k else view,
            measured=False,
        )
        for k, variant in enumerate(variants or (detector.card.variant,))
        for zoom in zooms
    ]
    found = fused(looks)
    return outlined(sky, found.select(found.confidence >= confidence))


def fused(looks: Sequence[Detections]) -> Detections:
    """
    Detections of several looks at one field, each object once.

    Parameters
    ----------
    looks : sequence of Detections
        One or more, all with the same classes and in the same pixels.

    Returns
    -------
    Detections
        The box of an object is the mean of all its boxes, weighted by the square of their confidence; its
        confidence the mean over the looks of its best one in each, nothing where a look did not find it. One
        look alone gives what it gave.

    Notes
    -----
    Boxes of one object are those that overlap its most confident one by more than one half, as in
    `detector.merging`, found in near-linear time.

    References
    ----------
    Solovyev, Wang & Gabruseva 2021, "Weighted boxes fusion", Image and Vision Computing 107, 104117, section 3;
    there the weight is the confidence, and boxes are held against the mean so far.
    """
    if len(looks) == 1:
        return looks[0].sorted()
    xyxy = np.concatenate([look.xyxy for look in looks])
    scores = np.concatenate([look.confidence for look in looks])
    class_id = np.concatenate([look.class_id for look in looks])
    flags = np.concatenate([look.flags for look in looks])
    look_of = np.repeat(np.arange(len(looks)), [len(look) for look in looks])
    kept, moved = merge(xyxy, scores, class_id)
    rank = np.full(len(xyxy), -1, np.int64)
    rank[kept] = np.arange(len(kept))
    first, second, _ = overlapping_pairs(xyxy, class_id, SAME_OBJECT_IOU)
    best = np.zeros((len(kept), len(looks)))
    for of, other in ((kept, kept), (first, second), (second, first)):
        counted = rank[of] >= 0
        np.maximum.at(best, (rank[of[counted]], look_of[other[counted]]), scores[other[counted]])
    return replace(
        looks[0], xyxy=moved, confidence=best.mean(axis=1), class_id=class_id[kept], flags=flags[kept]
    ).sorted()
