"""
What the detector is taught: ultralytics' loss, in full precision, with a confidence that means "a galaxy is here".

Needs the train extra.
"""

from __future__ import annotations

from typing import Any

import torch
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.tal import TaskAlignedAssigner


class WholeConfidence(TaskAlignedAssigner):
    """
    ultralytics' assigner, but the best anchor of each object is to have the confidence 1.

    Its own target is the overlap that the anchor's box has reached, so that the confidence of a galaxy whose
    edge is hard to place, a large or a blended one, is taught to be low however plain the galaxy is.
    """

    def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, ...]:
        """Assign; see ultralytics' ``TaskAlignedAssigner.forward``."""
        labels, boxes, scores, foreground, index = super().forward(*args, **kwargs)
        if self.n_max_boxes == 0:
            return labels, boxes, scores, foreground, index
        reached = scores.amax(-1)
        best = scores.new_zeros(len(scores), self.n_max_boxes)
        best = best.scatter_reduce(1, index, reached, "amax").gather(1, index)
        return labels, boxes, scores / best.clamp(min=self.eps)[..., None], foreground, index


class FieldLoss(v8DetectionLoss):
    """
    ultralytics' loss in full precision, whatever the network ran in.

    Parameters
    ----------
    model : ultralytics model
        The network.
    whole : bool
        Whether `WholeConfidence` assigns.

    Notes
    -----
    In bfloat16 a coordinate between 64 and 128 strides would be known to half a stride only.
    """

    assigner: Any

    def __init__(self, model: Any, *, whole: bool) -> None:
        super().__init__(model)
        if whole:
            own = self.assigner
            self.assigner = WholeConfidence(own.topk, own.num_classes, own.alpha, own.beta, own.stride)

    def loss(self, preds: Any, batch: dict[str, Any]) -> Any:
        """Loss of predictions."""
        return super().loss(_floats(preds), batch)


def _floats(value: Any) -> Any:
    """Tensors of a nested structure in float32."""
    if isinstance(value, torch.Tensor):
        return value.float()
    if isinstance(value, dict):
        return {key: _floats(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_floats(entry) for entry in value)
    return value
