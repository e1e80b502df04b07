from pathlib import Path

import pytest
import yaml

from foveal.core.layers import with_whole_lists


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, content):
    Path(name).write_text(yaml.safe_dump(content))
    return name


def data(**init_args):
    return {"data": {"init_args": init_args}}


def test_a_list_that_a_later_config_gives_anew_is_emptied_before_it():
    first = write("first.yaml", data(train=[{"class_path": "A"}], validation=[{"class_path": "A"}]))
    second = write("second.yaml", data(train=[{"class_path": "B"}], more=[{"class_path": "C"}]))
    words = with_whole_lists(["fit", "--config", first, "-c", second, f"--config={second}", "--seed", "1"])
    empty = "--data.init_args.train=[]"
    assert words[:5] == ["fit", "--config", first, empty, "-c"]
    assert words[5:] == [second, "--data.init_args.more=[]", empty, f"--config={second}", "--seed", "1"]


def test_lists_of_plain_values_are_left_to_the_parser():
    first, second = (write(name, data(size=[side, side])) for name, side in (("a.yaml", 8), ("b.yaml", 16)))
    words = ["fit", "--config", first, "--config", second]
    assert with_whole_lists(words) == words


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\x00"])
def test_what_is_no_config_is_left_to_the_parser(text):
    Path("odd.yaml").write_text(text)
    words = ["fit", "--config", "odd.yaml", "--config", "missing.yaml", "--config"]
    assert with_whole_lists(words) == words
