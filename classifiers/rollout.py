"""What a vision transformer attends to in a stamp."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fieldprep.network import attention_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from classifiers.preparing import FloatArray

AT_ONCE = 16  # stamps: twelve layers of some 200 x 200 weights a head each


def rollout(path: Path, inputs: FloatArray) -> FloatArray | None:
    """
    Attention rollout: how much of each part of a stamp reaches the token that the class is told from.

    Parameters
    ----------
    path : path
        The classifier's ``.onnx``, of one network.
    inputs : 4D float32 `~numpy.ndarray`, shape (N, inputs, size, size)
        Prepared stamps.

    Returns
    -------
    3D float32 `~numpy.ndarray`, shape (N, size, size), or None
        Of each stamp from 0 to 1, its highest; None where the network is no transformer with a token for the class and
        one for each of a square of patches.

    References
    ----------
    Abnar & Zuidema 2020, arXiv:2005.00928, equation 1: the mean of the heads and the identity, half each, multiplied
    from the first layer to the last.
    """
    maps = []
    for start in range(0, len(inputs), AT_ONCE):
        chunk = inputs[start : start + AT_ONCE]
        layers = attention_weights(path, chunk)
        side = round((layers[0].shape[-1] - 1) ** 0.5) if layers else 0
        if not layers or side**2 + 1 != layers[0].shape[-1] or len(layers[0]) != len(chunk):
            return None
        reached = rolled(layers)[:, 0, 1:].reshape(-1, side, side)
        # patches are squares beside each other: a pixel has the weight between the middles about it
        maps += [cv2.resize(one, inputs.shape[:1:-1], interpolation=cv2.INTER_LINEAR) for one in reached]
    found = np.stack(maps)
    low, high = found.min(axis=(1, 2), keepdims=True), found.max(axis=(1, 2), keepdims=True)
    return np.asarray((found - low) / np.where(high > low, high - low, 1), np.float32)


def rolled(layers: Sequence[FloatArray]) -> FloatArray:
    """
    Product of the layers' attention.

    Parameters
    ----------
    layers : sequence of 4D float32 `~numpy.ndarray`, shape (N, heads, T, T)
        As `fieldprep.network.attention_weights` gives them; rows sum to 1.

    Returns
    -------
    3D float32 `~numpy.ndarray`, shape (N, T, T)
        Rows sum to 1: where what a token says at the end came from.
    """
    identity = np.eye(layers[0].shape[-1], dtype=np.float32)
    product = np.broadcast_to(identity, (len(layers[0]), *identity.shape))
    for layer in layers:
        product = (0.5 * layer.mean(axis=1) + 0.5 * identity) @ product
    return np.asarray(product, np.float32)
