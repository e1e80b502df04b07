"""`foveal medseg infer` with programs that segment pixel by pixel."""

import json

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import ComputedRadiographyImageStorage

from foveal.apps.medseg.infer import infer
from foveal.apps.medseg.models.msga import MSGA
from foveal.core.errors import FailedInputs, UserError
from foveal.core.weights.card import Card
from foveal.core.weights.label import Label
from foveal.core.weights.load import save_weights
from foveal.data.io.image import read_image, write_image
from foveal.tests.fixtures import dicom, nifti
from foveal.tests.fixtures.pixelwise import save_bright, save_copy, save_shades

RGB = ("red", "green", "blue")


def run(weights, path, output, **options):
    infer(output, [path], str(weights), quiet=True, **options)


def ramp(*shape):
    return np.linspace(0, 255, int(np.prod(shape))).reshape(shape).astype(np.uint8)


@pytest.fixture
def shades(tmp_path):
    return save_shades(tmp_path / "shades.pt", app="medseg", channels=("grey",), tile=64)


@pytest.mark.parametrize("name", ["xray.png", "xray.jpg", "xray.tif"])
def test_an_image_becomes_a_mask_of_class_numbers(tmp_path, shades, name):
    write_image(tmp_path / name, ramp(1, 30, 40))
    run(shades, tmp_path / name, tmp_path / "out")
    mask = read_image(tmp_path / "out" / name.replace("jpg", "png"))
    assert mask.shape == (1, 30, 40)
    assert mask[0, 0, 5] == 0
    assert mask[0, 15, 5] == 1
    assert mask[0, 29, 5] == 2


def test_a_grey_image_is_repeated_for_a_network_of_colours_and_no_colour_dropped(tmp_path, shades):
    colours = save_shades(tmp_path / "rgb.pt", app="medseg", channels=RGB, tile=64)
    write_image(tmp_path / "grey.png", ramp(1, 30, 40))
    write_image(tmp_path / "colour.png", ramp(3, 30, 40))
    run(colours, tmp_path / "grey.png", tmp_path / "rgb_mask.png")
    run(shades, tmp_path / "grey.png", tmp_path / "grey_mask.png")
    assert np.array_equal(read_image(tmp_path / "rgb_mask.png"), read_image(tmp_path / "grey_mask.png"))
    with pytest.raises(FailedInputs, match="has 3 colour channels; the network takes 1"):
        run(shades, tmp_path / "colour.png", tmp_path / "out.png")


def save_xray(path, samples, **values):
    dataset = dicom.image_dataset(samples, bits=12)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    for name, value in values.items():
        setattr(dataset, name, value)
    return dicom.save(path, dataset)


def xray_labels(tmp_path, weights, path):
    """Class numbers of a DICOM segmentation."""
    run(weights, path, tmp_path / "out" / path.name, overwrite=True)
    dataset = pydicom.dcmread(tmp_path / "out" / path.name)
    labels = np.zeros((dataset.Rows, dataset.Columns), int)
    frames = dataset.pixel_array.reshape(-1, *labels.shape)
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        labels[frame > 0] = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    return labels


@pytest.mark.parametrize("channels", [("grey",), RGB])
def test_a_dicom_image_is_taken_as_it_is_shown_where_the_weights_say_nothing(tmp_path, channels):
    weights = save_shades(tmp_path / "p.pt", app="medseg", channels=channels, tile=64)
    samples = np.linspace(0, 4000, 1200).reshape(30, 40).astype(np.uint16)
    shown = xray_labels(tmp_path, weights, save_xray(tmp_path / "a.dcm", samples, WindowCenter=1000, WindowWidth=1000))
    assert (shown[5, 5], shown[7, 5], shown[29, 5]) == (0, 1, 2)
    whole = xray_labels(tmp_path, weights, save_xray(tmp_path / "b.dcm", samples))
    assert (whole[5, 5], whole[15, 5], whole[29, 5]) == (0, 1, 2)


def test_what_the_weights_say_of_the_intensity_counts(tmp_path):
    window = {"window": [1000, 9000]}
    weights = save_shades(tmp_path / "p.pt", app="medseg", channels=("grey",), tile=64, intensity=window)
    samples = np.full((30, 40), 4000, np.uint16)
    labels = xray_labels(tmp_path, weights, save_xray(tmp_path / "a.dcm", samples, WindowCenter=100, WindowWidth=50))
    assert (labels[:, 5] == 1).all()


def head(tmp_path, shape=(10, 12, 14)):
    samples = np.random.default_rng(0).random(shape).astype(np.float32) * 300 - 100
    return nifti.write(tmp_path / "head.nii.gz", samples, affine=nifti.AFFINES["oblique"]), samples


@pytest.mark.parametrize(("of_card", "option", "axis"), [(0, None, 0), (0, 1, 1), (2, 0, 0)])
def test_a_volume_is_cut_along_the_chosen_axis_and_keeps_its_place(tmp_path, of_card, option, axis):
    path, samples = head(tmp_path)
    window = {"window": [-100, 200]}
    weights = save_shades(tmp_path / "p.pt", app="medseg", channels=("mr",), tile=64, axis=of_card, intensity=window)
    run(weights, path, tmp_path / "out.nii.gz", axis=option)
    level = np.moveaxis((samples.T + 100) / 300, 2 - axis, 0)
    level = 0.5 * level + 0.5 * np.roll(level, 2, axis=-1)
    labels = np.argmax([0.35 - level, 0.15 - np.abs(level - 0.5), level - 0.65], axis=0)
    result = nibabel.load(tmp_path / "out.nii.gz")
    assert np.mean(np.asarray(result.dataobj) == np.moveaxis(labels, 0, 2 - axis).T) > 0.999  # but for ties
    assert np.array_equal(result.affine, nibabel.load(path).affine)


def test_a_volume_goes_from_its_percentiles_where_the_weights_say_nothing(tmp_path):
    path, samples = head(tmp_path)
    weights = save_bright(tmp_path / "p.pt", 0.5, app="medseg", channels=("mr",), tile=64)
    run(weights, path, tmp_path / "out.nii.gz")
    low, high = np.percentile(samples, (0.5, 99.5))
    expected = (samples - low) / (high - low) > 0.5
    assert np.mean(np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj) == expected) > 0.99


def test_an_axis_that_no_volume_has_is_refused(tmp_path, shades):
    path, _ = head(tmp_path)
    with pytest.raises(UserError, match="--axis 3: a volume has the axes 0, 1 and 2"):
        run(shades, path, tmp_path / "out.nii", axis=3)


def test_outlines_are_drawn_in_the_colours_of_the_labels(tmp_path, shades):
    write_image(tmp_path / "xray.png", ramp(1, 30, 40))
    run(shades, tmp_path / "xray.png", tmp_path / "out" / "mask.png", overlay=tmp_path / "see")
    picture = read_image(tmp_path / "see" / "mask_overlay.png")
    colours = {tuple(each) for each in picture.reshape(3, -1).T}
    assert {(40, 200, 40), (220, 40, 40)} <= colours
    assert picture.shape == (3, 30, 40)


def test_outlines_are_drawn_of_probabilities_too(tmp_path, shades):
    write_image(tmp_path / "xray.png", ramp(1, 30, 40))
    for name, options in (("a", {}), ("b", {"probabilities": True, "uncertainty": True})):
        run(shades, tmp_path / "xray.png", tmp_path / f"{name}.png", overlay=tmp_path / "see", **options)
    pictures = [(tmp_path / "see" / f"{name}_overlay.png").read_bytes() for name in "ab"]
    assert pictures[0] == pictures[1]
    assert read_image(tmp_path / "b.png").shape == (3, 30, 40)
    assert (tmp_path / "b_uncertainty.png").exists()


def test_a_folder_has_a_manifest_that_names_the_pictures(tmp_path, shades):
    for name in "ab":
        write_image(tmp_path / "in" / f"{name}.png", ramp(1, 30, 40))
    run(shades, tmp_path / "in", tmp_path / "out", overlay=tmp_path / "see")
    manifest = json.loads((tmp_path / "out" / "foveal-manifest.json").read_text())
    assert [each["overlay"] for each in manifest["items"]] == [
        str(tmp_path / "see" / f"{name}_overlay.png") for name in "ab"
    ]
    assert manifest["axis"] == 2


@pytest.mark.parametrize("overlay", ["see.png", "see.nii.gz"])
def test_pictures_go_to_a_folder(tmp_path, shades, overlay):
    write_image(tmp_path / "xray.png", ramp(1, 30, 40))
    with pytest.raises(UserError, match="pictures go to a folder; give its name"):
        run(shades, tmp_path / "xray.png", tmp_path / "out.png", overlay=tmp_path / overlay)


def test_values_have_no_outlines(tmp_path):
    write_image(tmp_path / "xray.png", ramp(3, 30, 40))
    copy = save_copy(tmp_path / "copy.pt", app="medseg")
    with pytest.raises(UserError, match="gives values, which have no outlines"):
        run(copy, tmp_path / "xray.png", tmp_path / "out.png", overlay=tmp_path / "see")


def test_a_dicom_without_pixels_fails_alone(tmp_path, shades):
    save_xray(tmp_path / "in" / "good.dcm", np.full((30, 40), 9, np.uint16))
    dataset = dicom.image_dataset(np.full((30, 40), 9, np.uint16), bits=12)
    del dataset.PixelData
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1.2.99", "1.2.99.1"
    dicom.save(tmp_path / "in" / "none.dcm", dataset)
    with pytest.raises(FailedInputs, match=r"none\.dcm"):
        run(shades, tmp_path / "in", tmp_path / "out")


def test_weights_of_another_app_are_refused(tmp_path):
    weights = save_shades(tmp_path / "p.pt", app="polyp")
    with pytest.raises(UserError, match="are for polyp, not for medseg; run `foveal polyp infer`"):
        run(weights, tmp_path / "x.png", tmp_path / "out.png")


def test_attention_of_msga_is_drawn_beside_the_mask(tmp_path):
    torch.manual_seed(0)
    options = {"num_classes": 2, "in_channels": 1, "backbone": "resnet18", "dim": 8}
    network = {"class_path": "foveal.apps.medseg.models.msga.MSGA", "init_args": options}
    labels = (Label(value=1, name="organ", colour=(220, 40, 40)),)
    facts = {"channels": ("grey",), "size_multiple": 8, "smallest_size": 16, "tile": 32, "overlap": 0}
    card = Card(name="net", app="medseg", network=network, activation="argmax", labels=labels, **facts)
    save_weights(MSGA(**options).eval(), card, tmp_path / "net.safetensors")
    write_image(tmp_path / "a.png", ramp(1, 30, 40))
    run(tmp_path / "net.safetensors", tmp_path / "a.png", tmp_path / "out", explain=tmp_path / "see", device="cpu")
    assert read_image(tmp_path / "out" / "a.png").shape == (1, 30, 40)
    assert read_image(tmp_path / "see" / "a_explain.png").shape[2] > 900
    nifti.write(tmp_path / "v.nii.gz", np.random.default_rng(0).random((16, 16, 3)))
    with pytest.raises(FailedInputs, match="holds several images; give single ones"):
        run(tmp_path / "net.safetensors", tmp_path / "v.nii.gz", tmp_path / "out", explain=tmp_path / "see")


def test_an_image_smaller_than_msga_takes_is_padded(tmp_path):
    arguments = {"num_classes": 2, "backbone": "test_resnet", "dim": 8}
    network = {"class_path": f"{MSGA.__module__}.MSGA", "init_args": arguments}
    sizes = {"tile": 64, "overlap": 16, "size_multiple": MSGA.size_multiple, "smallest_size": MSGA.smallest_size}
    outputs = {"outputs": ("background", "nucleus"), "activation": "argmax"}
    card = Card(name="small", app="medseg", network=network, channels=("grey",), **sizes, **outputs)
    save_weights(MSGA(**arguments), card, tmp_path / "small.safetensors")
    write_image(tmp_path / "image.png", ramp(1, 2, 3))
    run(tmp_path / "small.safetensors", tmp_path / "image.png", tmp_path / "mask.png")
    assert read_image(tmp_path / "mask.png").shape == (1, 2, 3)
