import pytest
import torch
import torch.nn.functional as F

from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.core.inference.tta import mean_over_views, probability_of, variance_over_views, views_of
from foveal.tests.fixtures.programs import ToyProgram, identity, nearest, slanted

X = torch.rand(1, 3, 5, 8, generator=torch.Generator().manual_seed(0))


def square_views(program, x):
    """The eight views of a picture, turned back."""
    for turn in range(4):
        for flip in (False, True):
            view = torch.rot90(x.flip(-1) if flip else x, turn, (-2, -1))
            back = torch.rot90(program(view), -turn, (-2, -1))
            yield back.flip(-1) if flip else back


def test_it_is_the_mean_over_the_eight_views():
    program = slanted()
    expected = torch.stack(list(square_views(program, X))).mean(0)
    torch.testing.assert_close(mean_over_views(program, X, views_of(program.card)), expected)


def test_a_symmetric_program_is_not_changed():
    program = nearest(2)
    torch.testing.assert_close(mean_over_views(program, X, views_of(program.card)), program(X))
    assert set(program.extents) == {(5, 8), (8, 5)}


def test_a_volume_is_mirrored_along_each_axis_and_never_transposed():
    kernel = torch.arange(27.0).view(1, 1, 3, 3, 3) / 351
    program = ToyProgram(lambda x: F.conv3d(x, kernel, padding=1), dimensions=3, channels=("mr",))
    x = torch.rand(1, 1, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    flips = [[], [-1], [-2], [-2, -1], [-3], [-3, -1], [-3, -2], [-3, -2, -1]]
    expected = torch.stack([program(x.flip(axes)).flip(axes) for axes in flips]).mean(0)
    torch.testing.assert_close(mean_over_views(program, x, views_of(program.card)), expected)
    assert set(program.extents) == {(4, 5, 6)}


@pytest.mark.parametrize(
    ("card", "extents"),
    [
        ({"frame": (16, 16)}, {(16, 16)}),
        ({"frame": (16, 24)}, {(16, 24)}),
        ({"size_multiple": (8, 4), "tile": 16}, {(24, 36)}),
        ({"spacing": (1.0, 2.0)}, {(20, 36)}),
        ({}, {(20, 36), (36, 20)}),
    ],
)
def test_a_program_sees_only_shapes_that_its_card_allows(card, extents):
    program = identity(**card)
    x = torch.rand(3, 20, 36, generator=torch.Generator().manual_seed(2)).numpy()
    Engine(program, program.card, tile="whole", tta=True).array(x)
    assert set(program.extents) == extents
    assert len(program.extents) == (8 if card in ({}, {"frame": (16, 16)}) else 4)


def test_frames_are_mirrored_before_they_are_resized():
    kernel = torch.arange(9.0).view(1, 1, 3, 3) / 36
    facts = {"frame": (16, 16), "channels": ("grey",)}
    program = ToyProgram(lambda x: F.conv2d(x, kernel, padding=1), **facts)
    x = torch.rand(1, 1, 20, 36, generator=torch.Generator().manual_seed(3))
    plain = Engine(program, program.card)

    def framed(view):
        return torch.from_numpy(plain.array(view[0].contiguous().numpy()))[None]

    expected = torch.stack(list(square_views(framed, x))).mean(0)
    averaged = Engine(program, program.card, tta=True).array(x[0].numpy())
    torch.testing.assert_close(torch.from_numpy(averaged)[None], expected)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize(("activation", "channels"), [("sigmoid", 1), ("softmax", 3), ("none", 2)])
def test_the_variance_is_that_of_the_probabilities_over_the_views(activation, channels, averaged):
    program = slanted(channels=("x",) * channels)
    x = torch.rand(2, channels, 5, 8, generator=torch.Generator().manual_seed(4))
    x = x if activation == "none" else 8 * x - 4
    seen = torch.stack(list(square_views(program, x)))
    chances = {"sigmoid": torch.sigmoid(seen), "softmax": torch.softmax(seen, dim=2), "none": seen}[activation]
    result = variance_over_views(program, x, views_of(program.card), activation, averaged)
    torch.testing.assert_close(result[:, -1], chances.var(0, correction=0).mean(1))
    torch.testing.assert_close(result[:, :-1], seen.mean(0) if averaged else program(x))
    assert 0 < result[:, -1].max() <= 0.25


def test_the_first_outputs_of_an_uncertain_engine_are_those_of_the_plain_one():
    program = slanted(activation="argmax", outputs=("a", "b", "c"))
    x = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(5)).numpy()
    engine = Engine(program, program.card)
    both = engine.with_variance().array(x)
    assert both.shape == (4, 40, 50)
    assert (both[:3].argmax(0) == engine.array(x)[0]).all()


def test_values_have_no_probabilities():
    assert probability_of(identity(activation="argmax").card) == "softmax"
    assert probability_of(identity(activation="argmax", probabilities=True).card) == "none"
    with pytest.raises(UserError, match="gives values, not classes; leave out --probabilities and --uncertainty"):
        probability_of(identity().card)
