"""Labelled images of every layout, the splits by patient, the samplers, and what is refused."""

import csv

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.class_folders import ClassFolders
from foveal.data.datasets.class_sampling import ClassSampler
from foveal.data.datasets.covidx import COVIDx
from foveal.data.datasets.labelled import LabelledImage, LabelledPixels, TrainingImages, WholeImages
from foveal.data.datasets.labelled_csv import LabelledCsv
from foveal.data.datasets.medmnist import MedMNIST
from foveal.data.datasets.pairs import PixelCache
from foveal.data.datasets.patient_split import place_of, split_patients
from foveal.data.datasets.rsna_pneumonia import RSNAPneumonia
from foveal.data.io.image import write_image


def picture(path, seed=0, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.random.default_rng(seed).integers(0, 256, (channels, 20, 24), dtype=np.uint8))


def table(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def names_and_labels(source):
    return [(image.name, image.label, image.patient) for image in source.images()]


def test_a_csv_lists_images_with_patients(tmp_path):
    for name in ("a.png", "deep/b.png"):
        picture(tmp_path / name)
    listing = table(
        tmp_path / "labels.csv", [["path", "label", "patient"], ["a.png", "sick", "7"], ["deep/b.png", "well", "8"]]
    )
    assert names_and_labels(LabelledCsv(listing)) == [("a.png", "sick", "7"), ("deep/b.png", "well", "8")]


def test_a_csv_may_have_other_columns_and_a_split(tmp_path):
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.png")
    rows = [["file", "class", "part"], ["a.png", "0", "train"], ["b.png", "1", "val"]]
    listing = table(tmp_path / "labels.csv", rows)
    options = {"path_column": "file", "label_column": "class", "split_column": "part", "folder": tmp_path / "images"}
    assert names_and_labels(LabelledCsv(listing, part="val", **options)) == [("b.png", "1", "")]
    with pytest.raises(UserError, match="lists no images with part 'test'"):
        LabelledCsv(listing, part="test", **options).images()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["path", "label"], ["a.png", "x"], ["gone.png", "x"]], r"line 3: .*gone\.png: there is no such file; 1 of 2"),
        ([["file", "label"], ["a.png", "x"]], "has no column path, but file, label"),
        ([["path", "label"], ["a.png", ""]], "line 2: the label is missing"),
        ([["path", "label"], ["a.png"]], "line 2: the label is missing"),
        ([["path", "label"], ["a.png", "x"], ["a.png", "y"]], r"line 3: a\.png is listed a second time"),
        ([["path", "label"]], "lists no images"),
        ([], "has no column path or label, but none"),
    ],
)
def test_bad_csv_files_are_refused(tmp_path, rows, message):
    picture(tmp_path / "a.png")
    with pytest.raises(UserError, match=message):
        LabelledCsv(table(tmp_path / "labels.csv", rows)).images()


def test_a_missing_or_binary_csv_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        LabelledCsv(tmp_path / "labels.csv").images()
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00\x80path")
    with pytest.raises(UserError, match="is no CSV file"):
        LabelledCsv(tmp_path / "labels.csv").images()


def test_folders_are_classes_and_names_may_tell_the_patient(tmp_path):
    picture(tmp_path / "well" / "12_001.png")
    picture(tmp_path / "sick" / "13_001.png")
    found = names_and_labels(ClassFolders(tmp_path, patient="^([0-9]+)_"))
    assert found == [("sick/13_001.png", "sick", "13"), ("well/12_001.png", "well", "12")]
    assert [label for _, label, _ in names_and_labels(ClassFolders(tmp_path, classes=["well"]))] == ["well"]
    with pytest.raises(UserError, match="tells no patient"):
        ClassFolders(tmp_path, patient="^x([0-9]+)").images()
    (tmp_path / "new").mkdir()
    with pytest.raises(UserError, match="new holds no images"):
        ClassFolders(tmp_path).images()


def medmnist(path, **arrays):
    numbers = {
        "train_images": np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2),
        "train_labels": np.array([[0], [1], [1]]),
    }
    np.savez(path, **(numbers | arrays))
    return path


def test_medmnist_names_its_classes(tmp_path):
    images = MedMNIST(medmnist(tmp_path / "pneumoniamnist_64.npz")).images()
    assert [image.label for image in images] == ["normal", "pneumonia", "pneumonia"]
    assert images[1].pixels.tolist() == [[[4, 5], [6, 7]]]
    colour = MedMNIST(medmnist(tmp_path / "other.npz", train_images=np.zeros((3, 2, 2, 3), np.uint8))).images()
    assert colour[0].pixels.shape == (3, 2, 2)
    assert [image.label for image in colour] == ["0", "1", "1"]


def test_bad_medmnist_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        MedMNIST(tmp_path / "absent.npz").images()
    with pytest.raises(UserError, match="has no test_images, but train_images"):
        MedMNIST(medmnist(tmp_path / "a.npz"), "test").images()
    with pytest.raises(UserError, match="one label each"):
        MedMNIST(medmnist(tmp_path / "a.npz", train_labels=np.zeros((3, 14)))).images()
    with pytest.raises(UserError, match="has the label 1, but only 1 classes"):
        MedMNIST(medmnist(tmp_path / "a.npz"), classes=["all"]).images()
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UserError, match="is damaged"):
        MedMNIST(tmp_path / "a.npz").images()


def test_covidx_lines_with_and_without_source(tmp_path):
    for name in ("a.png", "web figure 1.jpg"):
        picture(tmp_path / "train" / name)
    (tmp_path / "train.txt").write_text("7 a.png negative cohen\n8 web figure 1.jpg positive\n\n")
    source = COVIDx(tmp_path)
    assert names_and_labels(source) == [("a.png", "negative", "7"), ("web figure 1.jpg", "positive", "8")]
    assert source.classes == ("negative", "positive")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(["COVID-19", "normal"], ("normal", "pneumonia", "COVID-19")), (["level1"], ("level2", "level1"))],
)
def test_covidx_knows_its_three_families_of_classes(tmp_path, labels, classes):
    (tmp_path / "train.txt").write_text("".join(f"1 {i}.png {label} ricord\n" for i, label in enumerate(labels)))
    assert COVIDx(tmp_path).classes == classes


def test_bad_covidx_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"train\.txt: there is no such file"):
        COVIDx(tmp_path).images()
    (tmp_path / "train.txt").write_text("7 a.png negative cohen\n8 b.png healthy cohen\n")
    with pytest.raises(UserError, match="line 2: expected patient, file name, class and source"):
        COVIDx(tmp_path).images()
    (tmp_path / "train.txt").write_text("7 a.png negative cohen\n")
    with pytest.raises(UserError, match=r"a\.png: there is no such file.*1 of 1"):
        COVIDx(tmp_path).images()


def rsna(folder, patients=40):
    names = [f"p{number:02}" for number in range(patients)]
    for name in names:
        (folder / "stage_2_train_images").mkdir(exist_ok=True)
        (folder / "stage_2_train_images" / f"{name}.dcm").touch()
    boxes = [[name, "", "", "", "", "0"] for name in names[1:]] + [["p00", 1, 2, 3, 4, "1"], ["p00", 5, 6, 7, 8, "1"]]
    table(folder / "stage_2_train_labels.csv", [["patientId", "x", "y", "width", "height", "Target"], *boxes])
    details = [[name, "Normal"] for name in names[1:]] + [["p00", "Lung Opacity"]] * 2
    table(folder / "stage_2_detailed_class_info.csv", [["patientId", "class"], *details])
    return folder


def test_rsna_parts_are_disjoint_and_fixed(tmp_path):
    parts = {part: RSNAPneumonia(rsna(tmp_path), part).images() for part in ("train", "validation", "test")}
    names = {part: {image.name for image in images} for part, images in parts.items()}
    assert sum(map(len, names.values())) == len(set.union(*names.values())) == 40
    assert len(names["train"]) > 25
    labels = {image.name: image.label for images in parts.values() for image in images}
    assert [name for name, label in labels.items() if label == "pneumonia"] == ["p00"]
    assert names["test"] == {f"p{i:02}" for i in range(40) if place_of(f"p{i:02}") >= 0.9}
    detailed = [image for part in parts for image in RSNAPneumonia(tmp_path, part, detailed=True).images()]
    assert {image.label for image in detailed} == {"Normal", "Lung Opacity"}


def test_bad_rsna_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="Kaggle"):
        RSNAPneumonia(tmp_path).images()
    (rsna(tmp_path) / "stage_2_train_images" / "p05.dcm").unlink()
    with pytest.raises(UserError, match=r"p05\.dcm: there is no such file"):
        [RSNAPneumonia(tmp_path, part).images() for part in ("train", "validation", "test")]
    with pytest.raises(UserError, match="give train, validation, test"):
        RSNAPneumonia(tmp_path, "val").images()


def people(count, per_person=2):
    return [
        LabelledImage(f"{person}-{number}", "ab"[person % 2], None, f"person {person}")
        for person in range(count)
        for number in range(per_person)
    ]


def test_a_split_parts_no_patient_and_keeps_the_shares_of_classes():
    parts = split_patients(people(40), {"validation": 0.2, "test": 0.1}, "train", seed=3)
    persons = {part: {image.person for image in images} for part, images in parts.items()}
    assert {part: len(found) for part, found in persons.items()} == {"train": 28, "validation": 8, "test": 4}
    assert sum(map(len, persons.values())) == len(set.union(*persons.values()))
    assert [sum(image.label == "a" for image in parts[part]) for part in parts] == [28, 8, 4]
    again = split_patients(people(40)[::-1], {"validation": 0.2, "test": 0.1}, "train", seed=3)
    assert {image.name for image in again["test"]} == {image.name for image in parts["test"]}
    other = split_patients(people(40), {"validation": 0.2, "test": 0.1}, "train", seed=4)
    assert {image.name for image in other["test"]} != {image.name for image in parts["test"]}


def test_small_classes_are_in_training_first_and_then_in_every_part():
    assert len(split_patients(people(2), {"validation": 0.1}, "train")["train"]) == 4
    assert {image.label for image in split_patients(people(4), {"validation": 0.1}, "train")["validation"]} == {
        "a",
        "b",
    }


LABELS = [0] * 30 + [1] * 6


def epoch(sampling, number=0, **options):
    sampler = ClassSampler(LABELS, sampling, 8, seed=1, **options)
    sampler.set_epoch(number)
    numbers = list(sampler)
    assert len(numbers) == len(sampler)
    return numbers


def test_natural_sampling_takes_each_image_at_most_once():
    images = [number % len(LABELS) for number in epoch("natural")]
    assert len(images) == len(set(images)) == 32


def test_balanced_sampling_draws_classes_equally():
    labels = [LABELS[number % len(LABELS)] for each in range(40) for number in epoch("balanced", each)]
    assert np.mean(labels) == pytest.approx(0.5, abs=0.05)


def test_rebalanced_batches_are_half_of_each_class():
    numbers = epoch("rebalanced")
    labels = np.array([LABELS[number % len(LABELS)] for number in numbers]).reshape(-1, 8)
    assert (labels.sum(axis=1) == 4).all()
    negatives = [number % len(LABELS) for number in numbers if LABELS[number % len(LABELS)] == 0]
    assert len(negatives) == len(set(negatives)) == 12


@pytest.mark.parametrize("sampling", ["natural", "balanced", "rebalanced"])
def test_no_sample_number_comes_twice_and_processes_share_batches(sampling):
    numbers = [number for each in range(5) for number in epoch(sampling, each)]
    assert len(numbers) == len(set(numbers))
    whole, first, second = (
        epoch(sampling, **options) for options in ({}, {"rank": 0, "world": 2}, {"rank": 1, "world": 2})
    )
    assert whole[0::2] == first
    assert whole[1::2] == second
    assert epoch(sampling, 1) != epoch(sampling, 2)


def pixels(tmp_path, channels=3):
    images = []
    for number in range(3):
        picture(tmp_path / f"{number}.png", number, channels=1 + 2 * (number % 2))
        images.append(LabelledImage(f"{number}", "ab"[number % 2], tmp_path / f"{number}.png"))
    return LabelledPixels(images, ("a", "b"), 16, channels, PixelCache(tmp_path / "cache"))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_the_size_and_channels_of_the_network(tmp_path, channels):
    found = pixels(tmp_path, channels)
    assert [found[number].shape for number in range(3)] == [(channels, 16, 16)] * 3
    assert found.labels == [0, 1, 0]
    assert found[1].dtype == np.uint8


def test_samples_depend_on_their_number_alone(tmp_path):
    def shifted(image, generator):
        return np.roll(image, generator.integers(16), axis=2)

    first, second = (TrainingImages(pixels(tmp_path), 0, shifted, with_original=True) for _ in range(2))
    assert np.array_equal(first[4]["image"], second[4]["image"])
    assert any(not np.array_equal(first[1]["image"], first[1 + 3 * turn]["image"]) for turn in range(1, 5))
    assert np.array_equal(first[1]["original"], first[4]["original"])
    assert first[4]["label"] == 1
    assert 0 <= first[4]["image"].min() < first[4]["image"].max() <= 1


def test_whole_images_name_their_set_and_patient(tmp_path):
    case = WholeImages({"s": pixels(tmp_path)})[2]
    assert (case["set"], case["name"], case["patient"], case["label"]) == ("s", "2", "image 2", 0)


def test_all_unreadable_images_are_told_at_once(tmp_path):
    found = pixels(tmp_path)
    for number in (0, 2):
        (tmp_path / f"{number}.png").write_bytes(b"\x89PNG no picture")
    with pytest.raises(UserError, match=r"2 of 3 images cannot be used; the first: .*0\.png"):
        found.read_all(0, 1, 2)
