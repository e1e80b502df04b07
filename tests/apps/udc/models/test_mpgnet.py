import pytest
import torch

from foveal.apps.udc.attenuation import Attenuation
from foveal.apps.udc.discriminator import PixelDiscriminator
from foveal.apps.udc.models.mpgnet import MPGNet
from foveal.apps.udc.noise import Draws, Noise


def picture(height=16, width=12, batch=1):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_the_parts_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        net, discriminator = MPGNet(), PixelDiscriminator()

    def count(module):
        return sum(each.numel() for each in module.parameters())

    assert [count(each) for each in (net.attenuation, net.blur, net.noise)] == [88_643, 6_070_403, 2_168_544]
    assert count(discriminator) == 4_378_625


def test_the_display_decides_how_gains_are_bounded():
    torch.manual_seed(0)
    dark, pale = Attenuation("poled"), Attenuation("toled")
    pale.load_state_dict(dark.state_dict())
    for module in (dark, pale):
        module.gain[2].bias.data += torch.tensor([5.0, 0.0, -5.0])
    assert dark(picture()).amax() < 1
    assert pale(picture()).amax() > 1
    assert pale(picture()).amin() == 0
    with pytest.raises(ValueError, match="display must be 'poled' or 'toled', not 'oled'"):
        MPGNet("oled")


def test_the_same_draws_give_the_same_noise_and_others_another():
    torch.manual_seed(0)
    net = MPGNet().eval()
    draws = [Draws.like(picture(), torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    with torch.inference_mode():
        first, again, other = (net(picture(), each) for each in draws)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_rounding_is_drawn_between_the_halves_only_where_it_is_paired():
    torch.manual_seed(0)
    noise, paired = Noise().eval(), Noise(paired_rounding=True).eval()
    paired.load_state_dict(noise.state_dict())
    draws = Draws.like(picture(), torch.Generator().manual_seed(0))
    other = draws._replace(rounding=torch.rand(draws.rounding.shape))
    with torch.inference_mode():
        assert (noise(picture(), draws) - noise(picture(), other)).abs().max() < 1e-5
        assert (paired(picture(), draws) - paired(picture(), other)).abs().max() > 1e-4


def test_a_verdict_for_each_pixel_and_one_step_of_the_spectral_norm_in_training():
    torch.manual_seed(0)
    net = PixelDiscriminator(dim=4)
    pair = torch.cat([picture(16, 24), picture(16, 24)], dim=1)
    before = net.down[0].weight_u.clone()
    assert net.eval()(pair).shape == (1, 1, 16, 24)
    assert torch.equal(net.down[0].weight_u, before)
    net.train()(pair)
    assert not torch.equal(net.down[0].weight_u, before)


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_reach_every_parameter_that_has_an_effect(batch):
    torch.manual_seed(0)
    net = MPGNet("toled").train()
    net(picture(16, 16, batch)).square().sum().backward()
    assert [name for name, each in net.named_parameters() if each.grad is None or not each.grad.any()] == []
