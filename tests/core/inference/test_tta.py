import torch

from foveal.core.inference.tta import mean_over_views
from foveal.tests.fixtures.programs import nearest, slanted

X = torch.rand(1, 3, 5, 8, generator=torch.Generator().manual_seed(0))


def test_it_is_the_mean_over_the_eight_views():
    program, views = slanted(), []
    for turn in range(4):
        for flip in (False, True):
            view = torch.rot90(X.flip(-1) if flip else X, turn, (-2, -1))
            back = torch.rot90(program(view), -turn, (-2, -1))
            views.append(back.flip(-1) if flip else back)
    torch.testing.assert_close(mean_over_views(program, X), torch.stack(views).mean(0))


def test_a_symmetric_program_is_not_changed():
    program = nearest(2)
    torch.testing.assert_close(mean_over_views(program, X), program(X))
    assert set(program.extents) == {(5, 8), (8, 5)}
