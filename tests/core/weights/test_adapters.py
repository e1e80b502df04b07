import json
from pathlib import Path

import numpy as np
import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.weights.adapters import adapter_names, reading_shapes, refuse_unknown
from foveal.core.weights.load import _from_card, load_reference

GOLDEN = Path(__file__).parents[2] / "golden"
PUBLISHED = {
    "acmil": "acmil_ga",
    "dformer": "dformer_synapse",
    "dlgsanet": "dlgsanet_tiny_x2_tlc",
    "dwformer": "dwformer_small",
    "mpgnet": "mpgnet_generator_p",
    "mpunet": "mpunet_liver",
    "msga": "msga_stacked",
    "pmaa": "pmaa_new",
    "pranet": "pranet_res2net50",
}
"""For each system a golden case, which lists the names and shapes of its authors' file."""


def test_unknown_options_are_refused_with_a_near_name():
    refuse_unknown("Net", {"depth": 1}, ("depth", "width"))
    with pytest.raises(UserError, match="unknown Net option 'widht'; did you mean 'width'"):
        refuse_unknown("Net", {"depth": 1, "widht": 2}, ("depth", "width"))


@pytest.mark.parametrize("read", [lambda: {}["stem"], lambda: ()[0], lambda: 1 // 0])
def test_weights_whose_shapes_tell_nothing_are_refused_in_one_line(read):
    with (
        pytest.raises(UserError, match=r"these are no weights of Net: .*missing or has another rank"),
        reading_shapes("Net"),
    ):
        read()


@pytest.mark.parametrize("system", adapter_names())
def test_the_card_of_an_adapter_is_accepted_with_its_own_network(system):
    with np.load(GOLDEN / f"{PUBLISHED[system]}.npz") as data:
        shapes = json.loads(data["header"].tobytes())["shapes"]
    with torch.device("meta"):
        net = load_reference(system, {name: torch.empty(shape) for name, shape in shapes.items()})
        assert _from_card(net.state_dict(), net.card).card == net.card
