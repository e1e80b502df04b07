import numpy as np
import pytest

from foveal.core.planes import GAP, busiest, planes, sheet
from foveal.core.weights.label import Label

SIZES = {"I": 12, "P": 16, "L": 8}


def body(orientation):
    """A volume whose values are the places (towards the feet, the back, the left), stored with other axes."""
    values = np.arange(12 * 16 * 8).reshape(12, 16, 8)
    letters = {"S": ("I", 0), "I": ("I", 0), "A": ("P", 1), "P": ("P", 1), "R": ("L", 2), "L": ("L", 2)}
    volume = values.transpose([letters[each][1] for each in orientation])
    return np.flip(volume, [axis for axis, each in enumerate(orientation) if each != letters[each][0]])


@pytest.mark.parametrize("orientation", ["IPL", "SAR", "LPS", "PRI", "ALS"])
def test_the_planes_are_the_same_however_the_volume_is_stored(orientation):
    volume = body(orientation)
    place = [int(each[0]) for each in np.nonzero(volume == 5 * 128 + 3 * 8 + 2)]
    axial, coronal, sagittal = planes(volume, place, orientation, (1, 1, 1), side=16)
    values = body("IPL")
    assert np.array_equal(axial, values[5])
    assert np.array_equal(coronal, values[:, 3])
    assert np.array_equal(sagittal, values[:, :, 2])


def test_pixels_are_square_and_the_longest_axis_has_the_wanted_side():
    axial, coronal, sagittal = planes(np.zeros((10, 20, 30)), (0, 0, 0), "SPL", (6, 1, 1.5), side=120)
    assert axial.shape == (40, 90)
    assert coronal.shape == (120, 90)
    assert sagittal.shape == (120, 40)


def test_each_plane_shows_most_of_what_is_labelled():
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[2, 1:4, 3:5] = 1
    labels[:4, 5, 6] = 2
    assert busiest(labels) == (2, 5, 6)
    assert busiest(np.zeros((6, 7, 9))) == (3, 3, 4)


def test_a_sheet_has_the_outlines_of_the_labels_on_the_grey_image():
    rng = np.random.default_rng(0)
    image, labels = rng.normal(size=(20, 24, 16)), np.zeros((20, 24, 16), np.uint8)
    labels[5:15, 5:15, 5:12] = 1
    picture = sheet(image, labels, [Label(value=1, name="one", colour=(9, 200, 7))], (10, 10, 8), "SPL", (1, 1, 1))
    assert picture.dtype == np.uint8
    assert picture.shape == (240, 160 + 160 + 240 + 2 * GAP, 3)
    drawn = (picture == (9, 200, 7)).all(axis=2)
    assert all(part.any() for part in np.split(drawn, [160 + GAP, 2 * (160 + GAP)], axis=1))
    assert (picture[~drawn][:, 0] == picture[~drawn][:, 1]).all()
    assert picture[~drawn].max() == 255


@pytest.mark.parametrize(
    ("shape", "spacing", "size"),
    [
        ((5, 50, 50), (5, 1, 1), (2 * 120 + GAP, 2 * 240 + GAP)),
        ((3, 50, 50), (3, 1, 1), (240 + 2 * 43 + 2 * GAP, 240)),
        ((50, 3, 50), (1, 3, 1), (43 + 240 + GAP, 240 + 43 + GAP)),
        ((50, 50, 3), (1, 1, 3), (240, 43 + 43 + 240 + 2 * GAP)),
    ],
)
def test_the_sheet_of_a_few_slices_is_not_mostly_black(shape, spacing, size):
    picture = sheet(np.random.default_rng(0).random(shape) + 1, np.zeros(shape), [], (1, 1, 1), "IPL", spacing)
    assert picture.shape[:2] == size
