"""Draw the figures of the documentation from the embedded field: ``python docs/figures.py``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fieldprep import Field, resources
from fieldprep.variants import TRAINING_VARIANTS, picture

HERE = Path(__file__).parent
ROWS, COLUMNS = slice(230, 550), slice(20, 500)


def variants() -> None:
    """All six pictures of one part of the field, rows upwards."""
    field = Field.read(resources.find("datasets", "sample"))
    panels = []
    for name in TRAINING_VARIANTS:
        panel = np.ascontiguousarray(picture(field, name)[ROWS, COLUMNS, ::-1][::-1])
        for colour, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
            cv2.putText(panel, name, (12, 34), cv2.FONT_HERSHEY_SIMPLEX, 1.0, colour, thickness, cv2.LINE_AA)
        panels.append(cv2.copyMakeBorder(panel, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    figure = np.vstack([np.hstack(panels[:3]), np.hstack(panels[3:])])
    cv2.imwrite(str(HERE / "variants.jpg"), figure, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    variants()
