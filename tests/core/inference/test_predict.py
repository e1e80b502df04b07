"""`foveal.predict` of networks that give labels or probabilities; `apps/superres` tests it on images."""

import numpy as np
import pytest
import torch

import foveal
from foveal.tests.fixtures.programs import ToyProgram

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 31, 4), dtype=np.uint8)
SCORES = 8 * (IMAGE[..., :3] / 255 - 0.5)


def made(image, activation):
    program = ToyProgram(lambda x: 8 * (x - 0.5), outputs=("a", "b", "c"), activation=activation)
    return foveal.predict(program, image)


@pytest.mark.parametrize("image", [IMAGE, IMAGE[..., :3]])
def test_labels_are_returned_as_they_are(image):
    labels = made(image, "argmax")
    assert labels.dtype == np.uint8
    assert np.array_equal(labels[..., 0], SCORES.argmax(axis=2))
    assert np.array_equal(made(image, "threshold"), SCORES > 0)


def test_probabilities_are_not_rounded_to_the_image():
    found = made(IMAGE, "softmax")
    assert found.dtype == np.float32
    assert np.allclose(found, torch.from_numpy(SCORES).softmax(2), atol=1e-6)
    grey = made(IMAGE[..., 0], "sigmoid")
    assert np.allclose(grey, torch.from_numpy(SCORES[..., :1]).sigmoid().expand(-1, -1, 3), atol=1e-6)
