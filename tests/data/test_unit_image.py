import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.io.image import write_image
from foveal.data.unit_image import fit, read_unit_image
from foveal.tests.fixtures.dicom import image_dataset, save, write_series


def dicom(path, samples, bits=None, photometric="MONOCHROME2", **values):
    dataset = image_dataset(samples, photometric, bits)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return save(path, dataset)


RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)


def test_an_image_is_divided_by_the_highest_value_of_its_depth(tmp_path):
    write_image(tmp_path / "a.png", RAMP[None] * 16)
    assert np.allclose(read_unit_image(tmp_path / "a.png")[0], RAMP * 16 / 65535)


def test_eight_bits_of_dicom_are_taken_as_they_are(tmp_path):
    samples = (RAMP // 32).astype(np.uint8)
    found = read_unit_image(dicom(tmp_path / "a.dcm", samples, WindowCenter=10, WindowWidth=4))
    assert np.allclose(found[0], samples / 255)


def test_more_bits_are_seen_through_the_window_of_the_header(tmp_path):
    found = read_unit_image(dicom(tmp_path / "a.dcm", RAMP, 12, WindowCenter=[1000, 5], WindowWidth=[800, 5]))
    assert np.allclose(found[0], ((RAMP - 600.0) / 800).clip(0, 1), atol=1e-6)


def test_the_window_is_turned_over_with_the_values(tmp_path):
    plain = dicom(tmp_path / "a.dcm", RAMP, 12, WindowCenter=1000, WindowWidth=800)
    turned = dicom(tmp_path / "b.dcm", RAMP, 12, "MONOCHROME1", WindowCenter=1000, WindowWidth=800)
    assert np.allclose(read_unit_image(turned), 1 - read_unit_image(plain), atol=1e-6)


def test_without_a_window_the_percentiles_are_the_ends(tmp_path):
    found = read_unit_image(dicom(tmp_path / "a.dcm", RAMP + 7, 16))
    low, high = np.percentile(RAMP, (0.5, 99.5))
    assert np.allclose(found[0], ((RAMP - low) / (high - low)).clip(0, 1), atol=1e-6)


def test_what_is_no_single_image_is_refused(tmp_path):
    no_pixels = image_dataset(RAMP)
    del no_pixels.PixelData
    with pytest.raises(UserError, match=r"a\.dcm: .*pixels"):
        read_unit_image(save(tmp_path / "a.dcm", no_pixels))
    write_series(tmp_path / "series")
    with pytest.raises(UserError, match="one image a file"):
        read_unit_image(tmp_path / "series")
    with pytest.raises(UserError, match="no such file"):
        read_unit_image(tmp_path / "absent.png")


def test_fitting_changes_channels_and_size():
    colour = np.zeros((3, 4, 6), np.float32)
    colour[1] = 1
    assert fit(colour, 5, 1).tolist() == [[[150] * 5] * 5]
    assert fit(colour[1:2], 4, 3).shape == (3, 4, 4)
    stripes = np.tile(np.array([0.0, 1.0], np.float32), 32)[None, None].repeat(64, 1)
    assert fit(stripes, 8, 1)[0, 4, 2:6] == pytest.approx(128, abs=9)  # smoothed, not sampled
