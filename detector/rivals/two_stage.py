"""
Faster R-CNN by torchvision: a two-stage detector, with anchors as small as galaxies and no cap on their number.

Needs the train extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torchvision.models import mobilenet_v3_large
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from detector.rivals.on_pictures import OnPictures, galaxies

if TYPE_CHECKING:
    from pathlib import Path

    from detector.detections import Detections
    from fieldprep.variants import Picture

# the last blocks of MobileNetV3's stages at strides of 8, 16 and 32 pixels: torchvision's own choice starts at
# 32, where a galaxy of 8 px leaves nothing
LEVELS = {"6": "0", "12": "1", "16": "2"}
LEVEL_CHANNELS = [40, 112, 960]
CHANNELS = 128  # of the pyramid, half of torchvision's: a pass of a tile then costs a YOLO nano's three, not ten
HEAD = 512
CLASSES = ("background", "galaxy", "star")  # the last is taught, as to ours, and not reported
ANCHORS_PX = ((8, 14, 24), (40, 64, 100), (160, 250, 400))
ASPECTS = ((0.5, 1.0, 2.0),) * 3
FLOOR = 0.01
MOST = 20_000  # proposals and boxes a field; SDSS fields have some 2,000 objects in all


def network() -> FasterRCNN:
    """
    Untrained network.

    Returns
    -------
    FasterRCNN
        Of MobileNetV3 (large) with a feature pyramid at strides 8, 16 and 32; classes are `CLASSES`.

    References
    ----------
    Ren et al. 2015, NeurIPS 28, 91; Lin et al. 2017, CVPR, 936; Howard et al. 2019, ICCV, 1314.
    """
    features = mobilenet_v3_large(weights=None).features
    backbone = BackboneWithFPN(features, LEVELS, LEVEL_CHANNELS, CHANNELS)
    # the coarsest level is a pooling of the third: no anchors there
    backbone.fpn.extra_blocks = None
    model = FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(ANCHORS_PX, ASPECTS),
        box_head=TwoMLPHead(CHANNELS * 7 * 7, HEAD),
        box_predictor=FastRCNNPredictor(HEAD, len(CLASSES)),
        rpn_pre_nms_top_n_train=1000,
        rpn_post_nms_top_n_train=500,
        rpn_pre_nms_top_n_test=MOST,
        rpn_post_nms_top_n_test=MOST,
        rpn_fg_iou_thresh=0.6,
        box_batch_size_per_image=128,
        box_score_thresh=FLOOR,
        box_nms_thresh=0.5,
        box_detections_per_img=MOST,
    )
    model.transform = _AsItIs(0, 0, model.transform.image_mean, model.transform.image_std)
    return model


class _AsItIs(GeneralizedRCNNTransform):
    """torchvision's preparation of a picture, less its resizing, which cannot be switched off out of training."""

    def resize(self, image: torch.Tensor, target: Any = None) -> tuple[torch.Tensor, Any]:
        return image, target


class TwoStage(OnPictures):
    """
    A trained Faster R-CNN.

    Parameters
    ----------
    model : FasterRCNN
        As `network` makes it, trained.
    variant : str
        The picture it looks at.
    """

    def __init__(self, model: FasterRCNN, variant: str = "N") -> None:
        self.model = model.eval()
        self.variant = variant

    @classmethod
    def load(cls, checkpoint: Path) -> TwoStage:
        """
        Load what `detector.rivals.two_stage_training.train_two_stage` wrote.

        Parameters
        ----------
        checkpoint : path
            The ``.pt``: tensors only.

        Returns
        -------
        TwoStage
        """
        model = network()
        model.load_state_dict(torch.load(checkpoint, weights_only=True)["averaged"])
        return cls(model)

    def detect_picture(self, rgb: Picture) -> Detections:
        """See `OnPictures`: whole, in one pass, down to confidence 0.01."""
        image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(rgb, -1, 0))).float() / 255
        with torch.inference_mode():
            (found,) = self.model([image])
        galaxy = found["labels"] == CLASSES.index("galaxy")
        return galaxies(found["boxes"][galaxy].numpy(), found["scores"][galaxy].numpy(), rgb.shape[:2])
