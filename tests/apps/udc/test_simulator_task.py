from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from foveal.apps.udc.models.mpgnet import MPGNet
from foveal.apps.udc.simulator_task import Simulation, noise_level
from foveal.core.catalogue import ROOT, with_bases
from foveal.core.cli import main
from foveal.data.io.image import write_image
from foveal.tests.fixtures.training import equal, state


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pictures(folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    for number in range(2):
        write_image(
            Path(folder, f"{number}.png"), np.random.default_rng(number).integers(0, 200, (3, 24, 32), np.uint8)
        )


def task(**options):
    torch.manual_seed(0)
    made = Simulation(MPGNet("poled", width=4), discriminator_dim=4, **options)
    made.network = {"class_path": f"{MPGNet.__module__}.MPGNet", "init_args": {"width": 4}}
    return made


def pair(side=16):
    clean = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    return clean / 2, clean


def options(config, *more):
    """The options that make a config train in moments, on pictures where it expects them."""
    for layer in with_bases(["--config", str(ROOT / f"configs/udc/{config}.yaml")])[1::2]:
        data = yaml.safe_load(Path(layer).read_text())["data"]["init_args"]
        for source in [*data["train"], *data["validation"]]:
            for folder in (source["init_args"].get(name) for name in ("high", "low")):
                if folder:
                    pictures(folder)
    small = ["--model.init_args.net.init_args.width=4", "--model.init_args.discriminator_dim=4"]
    small += ["--data.init_args.patch=16", "--data.init_args.batch_size=2", "--data.init_args.workers=0"]
    small += ["--trainer.accelerator=cpu", "--trainer.limit_val_batches=1"]
    return ["--config", f"configs/udc/{config}.yaml", *small, *more]


def test_the_losses_are_those_of_the_authors():
    made = task().eval()
    degraded, clean = pair()
    made.log = lambda *_, **__: None
    verdicts = iter([torch.tensor([0.5]), torch.tensor([0.25])])
    made.verdict = lambda *_: next(verdicts)
    assert abs(made.discriminator_loss((degraded, clean)).item() - (0.5 * 0.5**2 + 0.5 * 0.25**2)) < 1e-6
    made.verdict = lambda *_: torch.tensor([0.5])
    made.net.forward = lambda x: x
    expected = 0.5 * 0.5**2 + 10 * (clean - degraded).abs().mean().item()
    assert abs(made.training_loss((degraded, clean)).item() - expected) < 1e-5


def test_the_discriminators_loss_reaches_the_discriminator_alone():
    made = task()
    made.discriminator_loss(pair()).backward()
    assert all(each.grad is None for each in made.net.parameters())
    assert all(each.grad is not None for each in made.discriminator.parameters())


def test_each_of_the_two_steps_for_itself_and_as_often_as_said():
    steps = []

    class Counted(torch.optim.SGD):
        def step(self, closure=None):
            steps.append(len(self.param_groups[0]["params"]))
            return super().step(closure)

    made = task(discriminator_steps=3)
    both = [Counted(each.parameters(), 0.01) for each in (made.net, made.discriminator)]
    made.optimizers = lambda: both
    made.toggle_optimizer = made.untoggle_optimizer = made.log = lambda *_, **__: None
    made.manual_backward = lambda loss: loss.backward()
    made.judge = made.learn  # which differs in what a trainer counts alone
    made.training_step(pair(), 0)
    generator, discriminator = (len(list(each.parameters())) for each in (made.net, made.discriminator))
    assert steps == [discriminator] * 3 + [generator]


def test_a_whole_picture_is_simulated_as_the_command_does_and_scored():
    made = task().eval()
    degraded, clean = (each[:1, :, :13, :15] for each in pair())
    batch = {"set": ["s"], "name": ["n"], "low": degraded, "high": clean}
    case, shown = made.evaluate(batch)
    assert {"psnr", "ssim", "clean_psnr", "noise", "true_noise"} < case.keys()
    assert case["clean_psnr"] == pytest.approx(-10 * np.log10((degraded - clean).square().mean().item()), abs=1e-3)
    assert [each.shape for each in shown] == [(13, 15, 3)] * 3
    assert torch.equal(made.predict_step(batch, 0), made.predict_step(batch, 0))


def test_the_noise_level_is_that_of_noise_on_a_slope():
    slope = torch.linspace(0, 1, 100).expand(3, 100, 100)
    noise = torch.randn(slope.shape, generator=torch.Generator().manual_seed(0))
    assert noise_level(slope) < 1e-6
    assert noise_level(slope + 0.05 * noise) == pytest.approx(0.05, rel=0.03)


def test_resuming_changes_nothing():
    few = ("--trainer.limit_train_batches=2", "--trainer.max_epochs=2", "--data.init_args.repeats=4")
    given = options("mpgnet_poled", *few)
    assert main(["udc", "fit", *given]) == 0
    assert main(["udc", "fit", *given, "--trainer.max_epochs=1"]) == 0
    assert main(["udc", "fit", *given, "--ckpt_path", "last"]) == 0
    whole, resumed = (state(Path(f"runs/udc/{name}/last.ckpt")) for name in ("mpgnet_poled", "mpgnet_poled-2"))
    assert equal(whole, resumed)
    rates = [each["param_groups"][0]["lr"] for each in whole["optimizer_states"]]
    assert rates == pytest.approx([1e-4, 1e-3], rel=0.01)
    assert max(rates) < 1e-3
    assert whole["lr_schedulers"][0]["last_epoch"] == 2
