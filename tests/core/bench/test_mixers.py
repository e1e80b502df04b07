from pkgutil import iter_modules

import pytest
import torch

from foveal.core import attention
from foveal.core.attention.agent import AgentAttention
from foveal.core.attention.large_kernel import LargeKernelAttention, LargeKernelGate
from foveal.core.attention.window import WindowAttention
from foveal.core.bench.mixers import REPRESENTATIVE, build, find_mixer, short_name, takes_channels_first
from foveal.core.errors import UserError

CASES = [(dimension, name) for dimension, names in REPRESENTATIVE.items() for name in names]


@pytest.mark.parametrize("name", ["window", "WindowAttention", "foveal.core.attention.window.WindowAttention"])
def test_a_mixer_is_found_by_file_class_or_path(name):
    assert find_mixer(name) is WindowAttention


def test_a_file_stands_for_the_attention_in_it():
    assert find_mixer("agent") is AgentAttention
    assert find_mixer("large_kernel") is LargeKernelAttention
    assert [short_name(each) for each in (LargeKernelAttention, LargeKernelGate)] == ["large_kernel", "LargeKernelGate"]
    assert short_name(torch.nn.Linear) == "Linear"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("windw", "did you mean 'window'?"),
        ("torch.nn.Nothing", "is no module class"),
        ("nowhere.at_all.Mixer", "No module named 'nowhere'"),
        ("./my/mixer.py", "give the path of a class"),
        (".Mixer", "give the path of a class"),
        ("offsets", "holds no mixer"),
    ],
)
def test_an_unknown_mixer_is_told(name, words):
    with pytest.raises(UserError, match=words.replace("?", r"\?")):
        find_mixer(name)


@pytest.mark.parametrize(("dimension", "name"), CASES)
def test_every_representative_mixer_takes_the_map_that_it_is_built_for(dimension, name):
    mixer = find_mixer(name)
    net = build(mixer, dimension, 7, 24, 4)
    space = [7] * dimension
    x = torch.randn(1, 24, *space) if takes_channels_first(mixer) else torch.randn(1, *space, 24)
    with torch.inference_mode():
        assert net.eval()(x).shape == x.shape


def test_the_layout_is_read_of_every_mixer():
    first = {each.name for each in iter_modules(attention.__path__) if _first(each.name)}
    assert {"additive", "channel", "dynamic", "large_kernel", "position", "single_head"} <= first
    assert not first & {"agent", "bilevel", "dense", "hilo", "neighborhood", "volume_groups", "window"}


def _first(file):
    try:
        return takes_channels_first(find_mixer(file))
    except UserError:
        return False


def test_windows_of_volumes_are_small():
    assert build(WindowAttention, 3, 8, 8, 2).window == [4, 4, 4]
    assert build(WindowAttention, 2, 8, 8, 2).window == [7, 7]


def test_what_a_comparison_cannot_know_is_told():
    with pytest.raises(ValueError, match="needs gate_dim"):
        build(find_mixer("gate"), 2, 8, 8, 2)
