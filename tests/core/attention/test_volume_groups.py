import pytest
import torch

from foveal.core.attention.volume_groups import VolumeGroupAttention, dilated_members
from foveal.core.blocks.transformer import TransformerBlock


def block(group=(2, 4, 4), dilated=False, interval=1, dim=6):
    torch.manual_seed(0)
    return TransformerBlock(VolumeGroupAttention(dim, 2, group, dilated, interval), dim).double().eval()


def volume(*sizes, batch=1, dim=6):
    return torch.randn(batch, *sizes, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dilated", [False, True])
def test_changed_token_reaches_its_group_alone(dilated):
    made, x = block(dilated=dilated), volume(4, 8, 8)
    changed = x.clone()
    changed[0, 1, 5, 2, 0] += 1  # of one channel: the norm would hide a change of all
    touched = (made(changed) - made(x)).abs().amax(-1)[0] > 0
    d, h, w = torch.meshgrid(torch.arange(4), torch.arange(8), torch.arange(8), indexing="ij")
    strided = (d % 2 == 1) & (h % 2 == 1) & (w % 2 == 0)
    box = (d // 2 == 0) & (h // 4 == 1) & (w // 4 == 0)
    assert torch.equal(touched, strided if dilated else box)


def test_local_and_global_groups_are_the_same_where_one_holds_everything():
    x = volume(2, 4, 4, batch=2)
    assert torch.allclose(block()(x), block(dilated=True)(x), atol=1e-12)


def test_padding_is_no_key():
    # A box alone, and the same box cut off by the end of a larger volume.
    made, x = block(), volume(2, 4, 7)
    alone = x[:, :, :, 4:]
    expected = VolumeGroupAttention(6, 2, (2, 4, 3)).double()
    expected.load_state_dict(made.mixer.state_dict())
    assert torch.allclose(made.mixer(x)[:, :, :, 4:], expected(alone), atol=1e-12)


def test_low_volume_is_one_group_and_leaves_no_trace():
    made, large, low = block(dilated=True), volume(4, 8, 8), volume(3, 3, 5)
    before = made(large)
    changed = low.clone()
    changed[0, 0, 0, 0, 0] += 1
    assert ((made(changed) - made(low)).abs().amax(-1) > 0).all()
    assert torch.equal(made(large), before)


@pytest.mark.parametrize(("dilated", "interval"), [(False, 1), (True, 4)])
@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_are_those_of_finite_differences(dilated, interval, batch):
    x = volume(3, 5, 4, batch=batch).requires_grad_()
    assert torch.autograd.gradcheck(block((2, 2, 2), dilated, interval), (x,), fast_mode=True)


def test_groups_of_padding_alone_stay_finite_in_half_precision():
    made = TransformerBlock(VolumeGroupAttention(6, 2, (1, 2, 2), True, 8), 6)
    x = volume(1, 8, 9).float().requires_grad_()  # seven of eight groups along the depth are padding
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_members_and_sizes_that_no_stride_covers():
    assert [dilated_members(size, 8) for size in (8, 12, 20, 64)] == [8, 12, 10, 8]
    for size in (28, 7):
        with pytest.raises(ValueError, match=f"cannot cover {size} tokens"):
            dilated_members(size, 8)


@pytest.mark.parametrize("arguments", [(6, 4, (2, 4, 4)), (6, 2, (2, 0, 4))])
def test_impossible_options_are_refused(arguments):
    with pytest.raises(ValueError, match="must"):
        VolumeGroupAttention(*arguments)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("dilated", [False, True])
def test_scripted_block_gives_the_same_at_other_sizes(dilated):
    made = block(dilated=dilated, interval=2)
    scripted = torch.jit.script(made)
    for sizes in ((4, 8, 8), (3, 5, 7), (2, 3, 9)):
        x = volume(*sizes)
        assert torch.allclose(scripted(x), made(x), atol=1e-12)
