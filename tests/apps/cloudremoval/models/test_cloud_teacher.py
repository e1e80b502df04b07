import pytest
import torch

from foveal.apps.cloudremoval.models.cloud_teacher import CloudTeacher


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return CloudTeacher(dim=4)


def test_number_of_parameters_is_the_published_one():
    assert sum(each.numel() for each in CloudTeacher().parameters()) == 222_661


def test_teacher_stays_frozen_inside_a_network_that_trains(small):
    around = torch.nn.Sequential(small).train()
    assert around.training
    assert not any(each.training for each in small.modules())
    assert not any(each.requires_grad for each in small.parameters())
    x = torch.rand(1, 4, 9, 12)
    before = {name: value.clone() for name, value in small.state_dict().items()}
    mask = around(x)
    assert mask.shape == (1, 1, 9, 12)
    assert ((mask >= 0) & (mask <= 1)).all()
    assert all(torch.equal(before[name], value) for name, value in small.state_dict().items())


def test_view_of_the_whole_map_acts_with_batch_norm(small):
    x = torch.rand(1, 4, 9, 12)
    features = small.extractor(x)[1]
    weight = small.extractor.pyramid.whole[0].weight
    kept = weight.data.clone()
    weight.data.mul_(-3)
    assert not torch.allclose(small.extractor(x)[1], features, atol=1e-4)
    weight.data.copy_(kept)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_programs_give_the_same_at_another_size(small):
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    example, other = torch.rand(2, 4, 12, 9), torch.rand(1, 4, 31, 8)
    for program in (
        torch.jit.script(small),
        torch.export.export(small, (example,), dynamic_shapes=(sizes,)).module(),
    ):
        assert torch.allclose(program(other), small(other), atol=1e-6)
