"""The weights card: JSON round trip and refusal of malformed cards."""

import json
import subprocess
import sys

import pytest

from foveal.core.errors import UserError
from foveal.core.weights.card import Card

FIELDS = {
    "name": "dlgsanet-tiny-x2",
    "app": "superres",
    "network": {"class_path": "foveal.apps.superres.models.dlgsanet.DLGSANet", "init_args": {"scale": 2, "dim": 48}},
    "scale": 2,
    "tile": 128,
    "overlap": 16,
    "licence": "Apache-2.0",
    "training": {"photographs": ["é.png"], "steps": 10},
    "metrics": {"psnr_y": 31.5},
}


def test_json_round_trip_gives_an_equal_card():
    card = Card(**FIELDS, channels=("grey",), value_range=(-1.0, 1.0), size_multiple=4)
    assert Card.from_json(card.to_json()) == card


def test_defaults_are_rgb_in_0_to_1():
    card = Card(**FIELDS)
    assert card.channels == ("red", "green", "blue")
    assert card.value_range == (0.0, 1.0)
    assert card.size_multiple == 1


def test_card_is_frozen():
    with pytest.raises(AttributeError):
        Card(**FIELDS).scale = 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 0}, "scale must be a whole number of at least 1"),
        ({"scale": True}, "scale must be"),
        ({"scale": 2.0}, "scale must be"),
        ({"tile": "big"}, "tile must be"),
        ({"overlap": -1}, "overlap must be"),
        ({"overlap": 128}, "overlap 128 must be smaller than tile 128"),
        ({"size_multiple": 7}, "tile 128 must be a multiple of size_multiple 7"),
        ({"smallest_size": 0}, "smallest_size must be a whole number of at least 1"),
        ({"smallest_size": 129}, "tile 128 must be at least smallest_size 129"),
        ({"fixed_tile": 1}, "fixed_tile must be true or false"),
        ({"fixed_tile": True, "frame": [64, 64]}, "has no fixed_tile"),
        ({"channels": []}, "channels must be a list of names"),
        ({"channels": "rgb"}, "channels must be a list of names"),
        ({"value_range": [1, 0]}, "value_range must be two finite numbers"),
        ({"value_range": [0]}, "value_range must be two finite numbers"),
        ({"network": {"init_args": {}}}, "network needs a class_path"),
        ({"network": {"class_path": "foveal.x.Y", "init_args": 3}}, "init_args must be a mapping"),
        ({"network": {"class_path": "foveal.x.Y", "arguments": {}}}, "unknown entry arguments"),
        ({"network": "foveal.x.Y"}, "network must be a mapping"),
        ({"dates": 0}, "dates must be a whole number of at least 1"),
        ({"dates": 3, "dimensions": 3}, "only a dense network of 2 dimensions takes several dates"),
        ({"unit": "kelvin"}, "unit must be one of '', 'reflectance'"),
        ({"axis": 3}, "axis must be 0, 1 or 2"),
        ({"kind": "sparse"}, "kind must be one of dense, classes, bag"),
        ({"kind": "bag"}, "a classifier needs the names of its outputs"),
        ({"dimensions": 3, "orientation": "SPX"}, "orientation must name three directions"),
        ({"dimensions": 3, "orientation": "SIL"}, "orientation must name three directions"),
        ({"orientation": "SPL"}, "orientation must name three directions such as SPL, of a volume"),
        ({"probabilities": True, "activation": "softmax"}, "probabilities need no softmax"),
        ({"kind": "classes", "activation": "softmax"}, "a classifier needs the names of its outputs"),
        ({"kind": "classes", "outputs": ["a", "b"]}, "softmax or sigmoid, found 'none'"),
        ({"name": 3}, "name must be text"),
        ({"colour": "red"}, "unknown field colour"),
    ],
)
def test_malformed_card_is_refused_naming_the_file(change, words):
    with pytest.raises(UserError) as caught:
        Card.from_json(json.dumps(FIELDS | change), source="mine.safetensors")
    assert "mine.safetensors" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "not json", "[1, 2]", "null", '{"name": "x"}'])
def test_text_that_is_no_card_is_refused(text):
    with pytest.raises(UserError, match=r"mine\.ckpt: weights card: "):
        Card.from_json(text, source="mine.ckpt")


def test_constructor_refuses_impossible_values_too():
    with pytest.raises(UserError, match="tile must be"):
        Card(**(FIELDS | {"tile": 0}))


def test_card_needs_no_torch():
    code = "import sys, foveal.core.weights.card; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
