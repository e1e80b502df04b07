import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.core.inference.prepared import normalised, prepared
from foveal.core.weights.card import Card
from foveal.tests.fixtures.programs import ToyProgram, identity

X = np.random.default_rng(0).random((3, 40, 56), dtype=np.float32)


def test_channels_are_normalised():
    program = identity(mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.4), tile=16, overlap=4, outputs=("a", "b", "c"))
    expected = (X - np.reshape((0.5, 0.4, 0.3), (3, 1, 1))) / np.reshape((0.1, 0.2, 0.4), (3, 1, 1))
    assert np.allclose(Engine(program, program.card).array(X), expected, atol=1e-5)


def test_outputs_that_are_channels_come_in_their_units():
    facts = {"mean": (0.5, 0.4, 0.3), "std": (0.1, 0.2, 0.4), "tile": 16, "overlap": 4}
    program = identity(**facts)
    assert np.allclose(Engine(program, program.card).array(X), X, atol=1e-6)
    program = ToyProgram(lambda x: x[:, [2, 0]] * 2, outputs=("blue", "red"), **facts)
    expected = np.stack([2 * (X[2] - 0.3) + 0.3, 2 * (X[0] - 0.5) + 0.5])
    assert np.allclose(Engine(program, program.card).array(X), expected, atol=1e-5)


def test_dates_are_normalised_by_channel_and_follow_one_another():
    seen = []

    def last_date(x):
        seen.append(x)
        return x[:, 3:]

    program = ToyProgram(last_date, dates=2, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.4))
    x = torch.from_numpy(np.stack([X, X[::-1]])[None])
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ((0.5, 0.4, 0.3), (0.1, 0.2, 0.4)))
    assert torch.allclose(prepared(program, program.card)(x), x[:, 1], atol=1e-6)
    assert torch.allclose(seen[0], torch.cat([(x[:, 0] - mean) / std, (x[:, 1] - mean) / std], dim=1), atol=1e-5)


def test_a_frame_is_seen_as_a_whole_and_resized_back_before_labels_are_made():
    program = ToyProgram(lambda x: x.mean(1, keepdim=True) - 0.5, frame=(32, 32), activation="threshold")
    small = F.interpolate(torch.from_numpy(X)[None], (32, 32), mode="bilinear", antialias=True).mean(1, keepdim=True)
    expected = F.interpolate(small - 0.5, (40, 56), mode="bilinear", antialias=True)[0] > 0
    assert np.array_equal(Engine(program, program.card).array(X), expected.numpy())
    assert program.extents == [(32, 32)]


def test_a_volume_of_frames_is_taken_slice_by_slice():
    program = identity(frame=(20, 28))
    y = Engine(program, program.card).array(np.stack([X, X], axis=1))
    assert y.shape == (3, 2, 40, 56)
    assert program.extents == [(20, 28)] * 2


@pytest.mark.parametrize(
    "wrong", [{"mean": (0.5,) * 3}, {"std": (1.0,)}, {"mean": (0,) * 3, "std": (0,) * 3}, {"frame": (3,)}]
)
def test_impossible_cards_are_refused(wrong):
    with pytest.raises(UserError, match=r"mean|std|frame"):
        identity(**wrong)


def test_the_features_of_a_bag_are_normalised_row_by_row():
    card = Card(
        name="bag",
        app="wsi",
        network={"class_path": "m.Net"},
        kind="bag",
        channels=("feature",) * 3,
        tile=1,
        overlap=0,
        mean=(1.0, 2.0, 3.0),
        std=(1.0, 2.0, 4.0),
        outputs=("a", "b"),
        activation="softmax",
    )
    bag = torch.tensor([[[2.0, 2.0, 7.0], [1.0, 6.0, 3.0]]])
    assert normalised(bag, card).tolist() == [[[1, 0, 1], [0, 2, 0]]]
