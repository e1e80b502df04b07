"""What becomes of blended outputs: values, probabilities or labels, part by part as they are finished."""

from __future__ import annotations

import numpy as np
import torch

from ..weights.card import Activation


def activate(values: np.ndarray, activation: Activation) -> np.ndarray:
    """Return what a card asks for.

    Args:
        values: blended outputs, float32 (C, *extent).
        activation: "none" gives the values; "sigmoid" and "softmax" probabilities, float32 (C, *extent); "threshold"
            1 where the sigmoid is above one half, uint8 (C, *extent); "argmax" the number of the channel with the
            highest value, uint8 (uint16 above 256 channels) (1, *extent).
    """
    x = torch.from_numpy(values)
    if activation == "sigmoid":
        return torch.sigmoid(x).numpy()
    if activation == "softmax":
        return torch.softmax(x, dim=0).numpy()
    if activation == "threshold":
        return (values > 0).astype(np.uint8)
    if activation == "argmax":
        dtype = np.uint8 if len(values) <= 256 else np.uint16
        return x.max(dim=0, keepdim=True).indices.numpy().astype(dtype)  # several times as fast as PyTorch's argmax
    return values
