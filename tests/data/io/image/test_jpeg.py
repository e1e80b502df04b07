import io

import numpy as np
import pytest
from PIL import Image

from foveal.data.io.image.jpeg import QUALITY, write_jpeg
from foveal.tests.fixtures.images import PROFILE, pixels


@pytest.mark.parametrize("height", [2, 63, 64, 65, 200])
@pytest.mark.parametrize("channels", [1, 3])
def test_bands_join_to_the_file_that_the_whole_image_gives(tmp_path, height, channels):
    image = pixels(channels, height=height, width=77)
    expected = io.BytesIO()
    Image.fromarray(image).save(
        expected, "JPEG", quality=QUALITY, subsampling=0, restart_marker_rows=1, icc_profile=PROFILE
    )
    rows = image.reshape(height, 77, channels)
    write_jpeg(tmp_path / "a.jpg", lambda start, stop: rows[start:stop], height, PROFILE)
    assert (tmp_path / "a.jpg").read_bytes() == expected.getvalue()


def test_bands_are_read_in_order_and_once(tmp_path):
    read = []

    def rows(start, stop):
        read.append((start, stop))
        return np.zeros((stop - start, 8, 3), np.uint8)

    write_jpeg(tmp_path / "a.jpg", rows, 130, None)
    assert read == [(0, 64), (64, 128), (128, 130)]
