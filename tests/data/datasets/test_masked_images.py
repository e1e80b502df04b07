"""Files of images with masks: what is read from them, checked and kept."""

import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from foveal.core.errors import UserError
from foveal.data.datasets.cache import PixelCache
from foveal.data.datasets.mask_decoding import Decoded, nearest
from foveal.data.datasets.mask_values import MaskCode
from foveal.data.datasets.masked_files import MaskedFile
from foveal.data.datasets.masked_images import check_intensity
from foveal.data.io.image import write_image

from ...fixtures import dicom, images
from ...fixtures.masks import AFFINE, save, write_mask, write_pair, write_volume

SCALE = {"percentiles": [1, 99]}


def opened(folder, image, mask, axis=None, channels=3, code=None, intensity=None):
    return MaskedFile(image, mask, axis, channels, code or MaskCode(2), intensity, PixelCache(folder / "cache"))


def volume(folder, axis=2, channels=1, code=None, intensity=None, name="v"):
    files = (folder / kind / f"{name}.nii.gz" for kind in ("images", "labels"))
    return opened(folder, *files, axis, channels, code or MaskCode(3), intensity or SCALE)


def test_pixels_are_counted_by_class(tmp_path):
    file = opened(tmp_path, *write_pair(tmp_path, "a"))
    assert file.counts().tolist() == [[24 * 20 - 24, 24]]
    assert file.facts() == ((1, 3, 24, 20), None, None)


def test_training_images_are_resized_as_the_engine_does_and_masks_to_the_nearest_pixel(tmp_path):
    image, mask = write_pair(tmp_path, "a")
    images, masks = opened(tmp_path, image, mask).training((12, 16))
    pixels = torch.from_numpy(np.array(Image.open(image))).permute(2, 0, 1)[None].float()
    expected = F.interpolate(pixels, (12, 16), mode="bilinear", antialias=True)
    assert np.abs(images - expected.numpy()).max() <= 0.501
    stored = torch.from_numpy(np.array(Image.open(mask)))[None, None].float()
    assert np.array_equal(masks[0], F.interpolate(stored, (12, 16), mode="nearest-exact")[0, 0] > 0)


def test_the_nearest_pixel_keeps_what_is_repeated():
    mask = np.random.default_rng(0).integers(0, 5, (2, 7, 9))
    assert np.array_equal(nearest(mask.repeat(3, axis=1).repeat(3, axis=2), (7, 9)), mask)


def test_soft_masks_are_resized_bilinearly(tmp_path):
    image, mask = write_pair(tmp_path, "a")
    _, masks = opened(tmp_path, image, mask, code=MaskCode(2, is_soft=True)).training((12, 16))
    stored = torch.from_numpy(np.array(Image.open(mask)))[None, None].float()
    expected = F.interpolate(stored, (12, 16), mode="bilinear", antialias=True)[0].numpy()
    assert np.abs(masks - expected).max() <= 1
    assert len(np.unique(masks)) > 2


def test_sixteen_bits_are_kept_for_evaluation(tmp_path):
    _, mask = write_pair(tmp_path, "a")
    pixels = np.random.default_rng(0).integers(0, 65535, (1, 24, 20), dtype=np.uint16)
    write_image(tmp_path / "deep.png", pixels)
    images, masks = opened(tmp_path, tmp_path / "deep.png", mask).whole()
    assert np.array_equal(images[0], pixels)
    assert masks.shape == (1, 24, 20)
    assert opened(tmp_path, tmp_path / "deep.png", mask).training(None)[0].dtype == np.uint8


def test_the_entries_of_a_palette_are_classes(tmp_path):
    image, _ = write_pair(tmp_path, "a")
    numbers = np.arange(480, dtype=np.uint8).reshape(24, 20) % 4
    mask = Image.fromarray(numbers, mode="P")
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    _, masks = opened(tmp_path, image, save(mask, tmp_path / "palette.png"), code=MaskCode(4)).whole()
    assert np.array_equal(masks[0], numbers)


@pytest.mark.parametrize(("axis", "order"), [(2, (2, 1, 0)), (1, (1, 2, 0)), (0, (0, 2, 1))])
def test_slices_lie_along_the_axis_of_the_file(tmp_path, axis, order):
    values, labels = write_volume(tmp_path, "v")
    images, masks = volume(tmp_path, axis).whole()
    assert np.array_equal(masks, labels.transpose(order))
    low, high = np.percentile(values, (1, 99))
    expected = ((values[..., 0].transpose(order) - low) / (high - low)).clip(0, 1)
    assert np.abs(images[:, 0] / 65535 - expected).max() < 0.02
    facts = volume(tmp_path, axis).facts()
    spacing = np.diag(AFFINE)[list(order)]
    assert facts.shape == (*(labels.shape[each] for each in order[:1]), 1, *(labels.shape[each] for each in order[1:]))
    assert facts.spacing == pytest.approx(tuple(spacing[1:]))
    assert facts.step == pytest.approx(spacing[0])


def test_a_fourth_axis_is_that_of_channels(tmp_path):
    write_volume(tmp_path, "v", channels=4)
    images, _ = volume(tmp_path, channels=4).training((8, 8))
    assert images.shape == (6, 4, 8, 8)


def test_a_window_maps_values_linearly(tmp_path):
    values, _ = write_volume(tmp_path, "v")
    images, _ = volume(tmp_path, intensity={"window": [400, 600]}).whole()
    expected = ((values[..., 0].transpose(2, 1, 0) - 400) / 200).clip(0, 1)
    assert np.abs(images[:, 0] / 65535 - expected).max() < 1e-5


def test_what_is_cached_is_not_decoded_again_but_a_changed_file_is(tmp_path, monkeypatch):
    image, mask = write_pair(tmp_path, "a")
    file = opened(tmp_path, image, mask)
    first = [np.array(each) for each in (file.counts(), *file.training((8, 8)), *file.whole())]
    with monkeypatch.context() as patch:
        patch.setattr("foveal.data.datasets.mask_decoding.read_image", None)
        again = (file.counts(), *file.training((8, 8)), *file.whole())
        assert all(np.array_equal(*each) for each in zip(first, again, strict=True))
    write_mask(tmp_path, "a", np.zeros((24, 20), np.uint8))
    os.utime(mask, ns=(1, 1))
    assert file.counts().tolist() == [[480, 0]]


def test_other_channels_classes_and_intensities_are_cached_apart(tmp_path):
    write_volume(tmp_path, "v")
    image = volume(tmp_path).whole()[0]
    assert not np.array_equal(image, volume(tmp_path, intensity={"window": [0, 900]}).whole()[0])
    with pytest.raises(UserError, match=r"holds the values 0, 1, 2; two classes"):
        volume(tmp_path, code=MaskCode(2)).counts()
    assert volume(tmp_path, code=MaskCode(4)).counts().shape == (6, 4)


def test_both_files_are_decoded_once(tmp_path, monkeypatch):
    reads = []
    image, mask = write_pair(tmp_path, "a")
    read = Decoded.image.func
    monkeypatch.setattr(Decoded.image, "func", lambda self: reads.append(1) or read(self))
    file = opened(tmp_path, image, mask)
    decoded = Decoded(file)
    file.counts(decoded), file.facts(decoded), file.training((8, 8), decoded), file.whole(decoded)
    assert reads == [1]


def test_a_mask_of_another_size_is_refused(tmp_path):
    image, mask = write_pair(tmp_path, "a")
    write_mask(tmp_path, "a", np.zeros((20, 24), np.uint8))
    with pytest.raises(UserError, match=r"masks/a\.png: does not fit its image a\.png: 24 x 20 pixels against 20 x 24"):
        opened(tmp_path, image, mask).counts()


def test_a_mask_checked_against_one_image_is_checked_against_another(tmp_path):
    image, mask = write_pair(tmp_path, "a")
    other, _ = write_pair(tmp_path, "b", (30, 30))
    opened(tmp_path, image, mask).counts()
    with pytest.raises(UserError, match=r"does not fit its image b\.png"):
        opened(tmp_path, other, mask).counts()


def test_labels_of_another_grid_are_refused(tmp_path):
    moved = AFFINE.copy()
    moved[0, 3] += 1.5
    write_volume(tmp_path, "v", label_affine=moved)
    with pytest.raises(UserError, match=r"labels/v\.nii\.gz: does not fit its image v\.nii\.gz: corners 1\.5 mm apart"):
        volume(tmp_path).counts()


def test_a_colour_mask_is_refused(tmp_path):
    image, _ = write_pair(tmp_path, "a")
    colours = np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8)
    mask = write_mask(tmp_path, "a", colours)
    with pytest.raises(UserError, match=r"masks/a\.png: is a colour picture; a mask holds the number of the class"):
        opened(tmp_path, image, mask).counts()


@pytest.mark.parametrize("bad", images.BAD)
@pytest.mark.parametrize("side", ["image", "mask"])
def test_unreadable_files_are_named(tmp_path, bad, side):
    pair = dict(zip(("image", "mask"), write_pair(tmp_path, "a"), strict=True))
    with pytest.raises(UserError, match=images.BAD[bad]):
        opened(tmp_path, **pair | {side: bad(tmp_path)}).counts()


def test_a_grey_picture_serves_a_colour_network_but_not_the_reverse(tmp_path):
    assert opened(tmp_path, *write_pair(tmp_path, "grey", mode="L")).facts().shape == (1, 1, 24, 20)
    with pytest.raises(UserError, match=r"images/a\.png: has 3 channels; the network takes 1"):
        opened(tmp_path, *write_pair(tmp_path, "a"), channels=1).counts()


def test_a_volume_of_other_channels_is_refused(tmp_path):
    write_volume(tmp_path, "v")
    with pytest.raises(UserError, match=r"v\.nii\.gz: has 1 channels; the network takes 3"):
        volume(tmp_path, channels=3).counts()


def test_a_volume_is_no_image(tmp_path):
    write_volume(tmp_path, "v")
    with pytest.raises(UserError, match=r"v\.nii\.gz: holds several slices; volumes are for VolumeSlices"):
        opened(tmp_path, tmp_path / "images/v.nii.gz", tmp_path / "labels/v.nii.gz", intensity=SCALE).counts()


def picture(tmp_path, **options):
    samples = np.random.default_rng(0).integers(0, 4095, (24, 20), dtype=np.uint16)
    return samples, dicom.save(tmp_path / "a.dcm", dicom.image_dataset(samples, **options))


def test_a_dicom_image_has_a_png_mask(tmp_path):
    _, mask = write_pair(tmp_path, "a")
    samples, image = picture(tmp_path)
    images, _ = opened(tmp_path, image, mask, channels=1, intensity={"window": [0, 4000]}).whole()
    assert np.abs(images[0, 0] / 65535 - (samples / 4000).clip(0, 1)).max() < 1e-4


def test_a_placed_dicom_image_has_a_spacing(tmp_path):
    _, mask = write_pair(tmp_path, "a")
    samples = np.random.default_rng(0).integers(0, 900, (24, 20), dtype=np.int16)
    image = dicom.save(tmp_path / "a.dcm", dicom.slice_dataset(samples, dicom.Grid(), 0.0))
    facts = opened(tmp_path, image, mask, channels=1, intensity=SCALE).facts()
    assert facts == ((1, 1, 24, 20), pytest.approx((0.75, 0.5)), None)


def test_grey_dicom_needs_an_intensity(tmp_path):
    _, mask = write_pair(tmp_path, "a")
    _, image = picture(tmp_path)
    with pytest.raises(UserError, match=r"a\.dcm: its values have units\. Say how they become 0\.\.1 by `intensity`"):
        opened(tmp_path, image, mask, channels=1).counts()


def test_a_dicom_file_without_pixels_is_refused(tmp_path):
    _, mask = write_pair(tmp_path, "a")
    dataset = dicom.image_dataset(np.zeros((24, 20), np.uint16))
    del dataset.PixelData
    image = dicom.save(tmp_path / "a.dcm", dataset)
    with pytest.raises(UserError, match=r"a\.dcm: .*there are no pixels"):
        opened(tmp_path, image, mask, channels=1, intensity=SCALE).counts()


def test_only_intensities_that_give_0_to_1_are_taken():
    for good in (None, {"window": [-100, 300]}, {"percentiles": [0.5, 99.5]}):
        check_intensity(good)
    with pytest.raises(UserError, match=r"intensity \{'zscore': True\}: give \{window"):
        check_intensity({"zscore": True})
    with pytest.raises(UserError, match="intensity must be a window"):
        check_intensity({"window": [3, 1]})
