import logging
import shutil

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.bag_table import BagTable
from foveal.data.datasets.feature_bags import FeatureBags
from foveal.tests.fixtures.bags import features, write_folder, write_groups, write_labels, write_pt, write_table


def listed(source):
    return [(bag.name, bag.label, bag.patient) for bag in source.bags()]


def test_a_folder_with_a_table(tmp_path):
    source = FeatureBags(*write_folder(tmp_path, 3), licence="CC0-1.0")
    assert listed(source) == [("s0", "normal", "p0"), ("s1", "tumour", "p1"), ("s2", "normal", "p2")]
    assert np.array_equal(source.bags()[1].read().values, features(1))


def test_suffixes_of_slides_and_of_features_do_not_matter(tmp_path):
    for name in ("a.1.pt", "b.svs.pt", "c.pt"):  # a dot may belong to the name, and some tools keep the slide's suffix
        write_pt(tmp_path / "f" / name, features(0))
    labels = write_labels(tmp_path / "l.csv", [["a.1.ndpi", "x"], ["b.svs", "y"], ["c.h5", "x"]])
    assert [name for name, *_ in listed(FeatureBags(tmp_path / "f", labels))] == ["a.1", "b", "c"]


def test_slides_are_found_by_their_names(tmp_path):
    folder, labels = write_folder(tmp_path, bags=2)
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "s1.svs").touch()
    assert [each.picture for each in FeatureBags(folder, labels).bags()] == [None, None]
    bags = FeatureBags(folder, labels, slides=tmp_path / "slides").bags()
    assert [each.picture for each in bags] == [None, tmp_path / "slides" / "s1.svs"]
    with pytest.raises(UserError, match="no such folder of slides"):
        FeatureBags(folder, labels, slides=tmp_path / "none")


def test_one_file_with_groups_and_their_attributes(tmp_path):
    path = write_groups(tmp_path / "all.h5", ["test_1", "tumor_1", "tumor_2"])
    assert listed(FeatureBags(path)) == [("test_1", "0", ""), ("tumor_1", "1", ""), ("tumor_2", "0", "")]
    options = {"pattern": "^(?!test)", "names": {0: "normal", 1: "tumour"}}
    assert listed(FeatureBags(path, **options)) == [("tumor_1", "tumour", ""), ("tumor_2", "normal", "")]
    assert np.array_equal(FeatureBags(path, **options).bags()[0].read().values, features(1))


def test_parts_by_a_column_and_merged_labels(tmp_path):
    path = write_groups(tmp_path / "all.h5", ["a", "b", "c"])
    rows = [["a", "0", "x", "train"], ["b", "3", "x", "train"], ["c", "3", "y", "test"]]
    labels = write_labels(tmp_path / "l.csv", rows, ["image", "kind", "person", "set"])
    columns = {"slide_column": "image", "label_column": "kind", "patient_column": "person", "split_column": "set"}
    source = FeatureBags(path, labels, "train", names={"0": "benign", "3": "atypical"}, **columns)
    assert listed(source) == [("a", "benign", "x"), ("b", "atypical", "x")]


def unlabelled(folder):
    shutil.copy(folder / "features" / "s0.h5", folder / "features" / "extra.h5")
    return r"extra\.h5: extra has no label in .*1 of 4"


def absent(folder):
    (folder / "features" / "s1.h5").unlink()
    return r"labels\.csv line 3: .*has no features of s1\.svs; 1 of 3 slides lack them"


@pytest.mark.parametrize("damage", [unlabelled, absent])
def test_labels_and_slides_must_match(tmp_path, damage, caplog):
    place, labels = write_folder(tmp_path, 3)
    message = damage(tmp_path)
    with pytest.raises(UserError, match=message):
        FeatureBags(place, labels).bags()
    with caplog.at_level(logging.WARNING):
        kept = FeatureBags(place, labels, skip_unmatched=True).bags()
    assert len(kept) == (3 if damage is unlabelled else 2)
    assert "they are left out" in caplog.text


def test_slides_of_another_part_are_not_without_label(tmp_path):
    place, _ = write_folder(tmp_path, 3)
    rows = [["s0", "x", "train"], ["s1", "y", "train"], ["s2", "", "test"]]
    labels = write_labels(tmp_path / "l.csv", rows, ["slide", "label", "split"])
    assert [name for name, *_ in listed(FeatureBags(place, labels, "train"))] == ["s0", "s1"]
    with pytest.raises(UserError, match="line 4: the label is missing"):
        FeatureBags(place, labels, "test").bags()


def test_bad_layouts_are_refused(tmp_path):
    place, labels = write_folder(tmp_path, 3)
    (tmp_path / "empty").mkdir()
    strange = write_labels(tmp_path / "strange.csv", [["z", "x"]])
    path = write_groups(tmp_path / "all.h5", ["a", "b"])
    for source, message in [
        (lambda: FeatureBags(tmp_path / "gone", labels), "no such folder or file"),
        (lambda: FeatureBags(tmp_path / "empty", labels), "holds no features"),
        (lambda: FeatureBags(place), "needs a table of labels"),
        (lambda: FeatureBags(place, labels, pattern="["), r"pattern '\[': is no regular expression"),
        (lambda: FeatureBags(path, pattern="["), r"pattern '\[': is no regular expression"),
        (lambda: FeatureBags(place, part="train"), "a part 'train' needs a table"),
        (lambda: FeatureBags(place, strange, skip_unmatched=True), "none of its slides has features"),
        (lambda: FeatureBags(place, labels, names={"normal": "n"}), "label 'tumour' has no class"),
        (lambda: FeatureBags(path, pattern="c"), "no slides with 'c'"),
        (lambda: FeatureBags(path, names={"0": "n"}), "group b: its attribute label is 1, which is no class"),
        (lambda: FeatureBags(place, labels, pattern="^x"), r"lists no slides with '\^x' in their name"),
    ]:
        with pytest.raises(UserError, match=message):
            source().bags()
    write_pt(place / "s0.pt", features(0))
    with pytest.raises(UserError, match=r"s0\.h5 beside it is of the same slide"):
        FeatureBags(place, labels).bags()


def test_a_table_of_instances(tmp_path):
    source = BagTable(write_table(tmp_path / "t.csv", 3), names={0: "other", 1: "musk"}, classes=["other", "musk"])
    assert listed(source) == [("b0", "other", ""), ("b1", "musk", ""), ("b2", "other", "")]
    assert [len(bag.read().values) for bag in source.bags()] == [2, 3, 4]
    assert np.allclose(source.bags()[1].read().values, features(1, 3), atol=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bag,f,label\na,1,x\na,2,y\n", r"line 3: a had the label or patient \('x', ''\) before"),
        ("bag,f,label\na,1,x\na,,x\n", "line 3: f is '', not a number"),
        ("bag,f,label\na,one,x\n", "line 2: f is 'one', not a number"),
        ("bag,f,label\n,1,x\n", "line 2: the bag or its label is missing"),
        ("bag,f,label\n", "lists no instances"),
        ("bag,label\na,x\n", "has no columns of features"),
        ("name,f,label\na,1,x\n", "has no column bag, but name, f, label"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        BagTable(tmp_path / "t.csv").bags()
    with pytest.raises(UserError, match="no such file"):
        BagTable(tmp_path / "gone.csv").bags()
