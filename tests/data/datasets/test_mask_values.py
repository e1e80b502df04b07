from pathlib import Path

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.mask_values import MaskCode, class_numbers, object_shares, one_channel, whole_numbers

PNG, JPEG = Path("a.png"), Path("a.jpg")


def mask(*values, size=12):
    """Bands of these values, three rows each."""
    return np.repeat(np.array(values, np.int32), 3)[None, :, None].repeat(size, axis=2)


def bands(numbers):
    return numbers[0, ::3, 0].tolist()


def test_class_numbers_stay():
    numbers = class_numbers(mask(0, 2, 1), MaskCode(3), PNG)
    assert bands(numbers) == [0, 2, 1]
    assert numbers.dtype == np.uint8


@pytest.mark.parametrize(("values", "expected"), [((0, 1), [0, 1]), ((0, 255), [0, 1]), ((0, 0), [0, 0])])
def test_two_classes_are_0_and_1_or_0_and_255(values, expected):
    assert bands(class_numbers(mask(*values), MaskCode(2), PNG)) == expected


def test_a_jpeg_of_two_classes_is_cut_at_128():
    assert bands(class_numbers(mask(0, 7, 127, 128, 244, 255), MaskCode(2), JPEG)) == [0, 0, 0, 1, 1, 1]
    assert not class_numbers(mask(0, 5), MaskCode(2), JPEG).any()


def test_soft_edges_of_a_mask_are_cut_at_128():
    edged = mask(0, 0, 255, 255, size=40)
    edged[0, 5] = np.linspace(40, 220, 40)
    assert np.array_equal(class_numbers(edged, MaskCode(2), PNG), edged >= 128)


def test_greys_become_the_classes_that_they_name():
    chaos = MaskCode(5, (0, 63, 126, 189, 252))
    assert bands(class_numbers(mask(252, 0, 63, 189, 126), chaos, PNG)) == [4, 0, 1, 3, 2]
    assert bands(class_numbers(mask(250, 3, 60, 192, 120), chaos, JPEG)) == [4, 0, 1, 3, 2]


def test_many_classes_need_sixteen_bits():
    assert class_numbers(mask(0, 299), MaskCode(300), PNG).max() == 299


@pytest.mark.parametrize(
    ("values", "code", "message"),
    [
        ((0, 3), MaskCode(3), r"a\.png: holds the values 0, 3; the network's classes are 0\.\.2\. Give `values`"),
        ((0, 63, 126), MaskCode(3), r"holds the values 0, 63, 126"),
        ((0, 2), MaskCode(2), r"a\.png: holds the values 0, 2; two classes are 0 and 1, or 0 and 255"),
        ((0, 126, 252), MaskCode(2), r"holds areas of the values 126 between 0 and 252, but the network has two"),
        ((0, 17), MaskCode(2, (0, 16)), r"holds the value 17, which is of no class; those of the classes are 0, 16"),
    ],
)
def test_values_of_no_class_are_refused(values, code, message):
    with pytest.raises(UserError, match=message):
        class_numbers(mask(*values), code, PNG)


def test_instances_are_not_taken_for_two_classes():
    labels = np.arange(1, 201).reshape(1, 10, 20).repeat(5, axis=1).repeat(5, axis=2)
    with pytest.raises(UserError, match=r"holds areas of the values 17, 18, .* between 0 and 200"):
        class_numbers(labels, MaskCode(2), PNG)


@pytest.mark.parametrize("values", [(0, 1), (0, 1, 2, 3), (0, 1, 1)])
def test_grey_values_that_are_not_one_for_each_class_are_refused(values):
    with pytest.raises(UserError, match="are not one for each of the network's 3 classes"):
        MaskCode(3, values)


def test_soft_masks_are_for_two_classes():
    with pytest.raises(UserError, match=r"data\.soft is for two classes; the network has 3"):
        MaskCode(3, is_soft=True)


def test_shares_of_the_object():
    code = MaskCode(2, is_soft=True)
    assert bands(object_shares(mask(0, 51, 255), code, PNG)) == pytest.approx([0, 0.2, 1])
    assert bands(object_shares(mask(0, 13107, 65535), code, PNG)) == pytest.approx([0, 0.2, 1])
    assert bands(object_shares(mask(0, 1), code, PNG)) == [0, 1]
    assert bands(object_shares(mask(0, 90), MaskCode(2, (0, 90), is_soft=True), PNG)) == [0, 1]


def test_a_grey_picture_of_three_channels_is_a_mask():
    grey = np.random.default_rng(0).integers(0, 255, (1, 5, 6), dtype=np.uint8)
    assert np.array_equal(one_channel(grey.repeat(3, axis=0), PNG), grey[0])
    lossy = np.concatenate([grey // 2, grey // 2 + 3, grey // 2])
    assert np.array_equal(one_channel(lossy, JPEG), grey[0] // 2)
    with pytest.raises(UserError, match=r"a\.png: is a colour picture; a mask holds the number of the class"):
        one_channel(lossy, PNG)


@pytest.mark.parametrize(("value", "told"), [(0.5, r"0\.5"), (-1, "-1"), (np.nan, "nan")])
def test_what_is_no_whole_number_is_refused(value, told):
    with pytest.raises(UserError, match=rf"a\.nii: holds values such as {told}; a mask holds whole numbers from 0"):
        whole_numbers(np.array([0, 1, value], np.float32), Path("a.nii"))
