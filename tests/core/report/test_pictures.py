from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from foveal.core.report.pictures import embedded


def decoded(picture):
    return np.asarray(Image.open(BytesIO(b64decode(picture.source.partition(",")[2]))))


@pytest.mark.parametrize(("side", "exact"), [(256, True), (264, False)])
def test_a_small_picture_keeps_every_value(tmp_path, side, exact):
    colours = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "1.png")
    assert np.array_equal(decoded(embedded("truth", tmp_path / "1.png")), colours) == exact
    smaller = decoded(embedded("truth", tmp_path / "1.png", 0.5))
    assert smaller.shape == (side // 2, side // 2, 3)
