"""Whole networks with kernels, without, and compiled, on a GPU: `python benchmarks/networks_gpu.py [NETWORK ...]`.

DLGSANet, D-Former and ACMIL, in automatic mixed precision: inference, a training step and their peak memory; then the
losses of 200 steps with kernels and without, from the same weights, batches and draws. A form that fails is told and
does not stop the rest. The tables are printed and put into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from measure import fill, medians
from torch import Tensor, nn

from foveal.apps.superres.models.dlgsanet import DLGSANet
from foveal.apps.volseg.models.dformer import DFormer
from foveal.apps.wsi.models.acmil import ACMIL
from foveal.core.losses.branch_attention import BranchAttentionLoss
from foveal.kernels import use_backend
from foveal.kernels.bench.__main__ import Told
from foveal.kernels.bench.timing import peak, timed

FORMS = {"kernels": "auto", "plain": "reference", "compiled": "reference"}
"""And which backend runs them; "compiled" is torch.compile of the plain form."""
STEPS, TINY_STEPS = 200, 4
BATCHES = 4  # that the steps take in turns
AVERAGED = 20  # last steps


@dataclass(frozen=True)
class Subject:
    """A network, what it is trained with and what it is used on.

    Attributes:
        make: the network.
        batch: of training, (input, target), on the CPU.
        image: of inference.
        loss: of the outputs in training.
    """

    make: Callable[[], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor]]
    image: Callable[[], Tensor]
    loss: Callable[[Any, Tensor], Tensor]


def dlgsanet(tiny: bool) -> Subject:
    """DLGSANet-light x4: eight patches of 48x48, an image of 320x180."""
    side, height, width = (8, 9, 10) if tiny else (48, 180, 320)

    def batch() -> tuple[Tensor, Tensor]:
        truth = F.interpolate(torch.rand(2 if tiny else 8, 3, side, side), scale_factor=4, mode="bicubic")
        return F.avg_pool2d(truth, 4), truth

    make = partial(DLGSANet, 4, dim=12, groups=1, pairs=1, heads=2) if tiny else partial(DLGSANet, 4)
    return Subject(make, batch, lambda: torch.rand(1, 3, height, width), lambda y, truth: F.l1_loss(y.float(), truth))


def dformer(tiny: bool) -> Subject:
    """D-Former as published for Synapse: volumes of 64x128x128, two resolutions supervised."""
    sizes = (8, 32, 32) if tiny else (64, 128, 128)
    small = {"dim": 8, "depths": (1, 1, 1), "heads": (1, 2, 4), "intervals": (4, 2, 1), "group": (2, 4, 4)}
    options = small if tiny else {}

    def batch() -> tuple[Tensor, Tensor]:
        target = F.interpolate(torch.randn(1, 1, *[size // 4 for size in sizes]), sizes) > 0
        return target + 0.5 * torch.randn(1, 1, *sizes), target[:, 0].long()

    def loss(levels: tuple[Tensor, ...], target: Tensor) -> Tensor:
        whole = target[:, None].float()
        aims = [F.interpolate(whole, level.shape[2:])[:, 0].long() for level in levels]
        return sum(F.cross_entropy(level.float(), aim) for level, aim in zip(levels, aims, strict=True))

    return Subject(partial(DFormer, 2, **options), batch, lambda: torch.randn(1, 1, *sizes), loss)


def acmil(tiny: bool) -> Subject:
    """ACMIL for 1,024 features: bags of 20,000 patches in training, of 100,000 in use."""
    options = {"in_channels": 12, "dim": 8, "hidden": 4} if tiny else {"in_channels": 1024, "dim": 512}
    trained, used = (30, 50) if tiny else (20_000, 100_000)

    def batch() -> tuple[Tensor, Tensor]:
        label = torch.randint(2, (1,))
        bag = torch.randn(1, trained, options["in_channels"])
        bag[:, : trained // 20] += 0.5 * label
        return bag, label

    image = partial(torch.randn, 1, used, options["in_channels"])
    return Subject(partial(ACMIL, 2, **options), batch, image, BranchAttentionLoss())


SUBJECTS = {"dlgsanet": dlgsanet, "dformer": dformer, "acmil": acmil}


def seconds(call: Callable[[], object], device: str) -> float:
    """Return the median time of a call."""
    return timed(call)[0] if device == "cuda" else medians([call])[0]


def megabytes(call: Callable[[], object], device: str) -> float:
    """Return what a call needs on the GPU beside weights and input."""
    return peak(call) if device == "cuda" else float("nan")


def compiled(net: nn.Module, device: str) -> nn.Module:
    """Return the compiled network; without a GPU it is recorded and run as it is."""
    return torch.compile(net, backend="inductor" if device == "cuda" else "eager")


def step(net: nn.Module, subject: Subject, batch: tuple[Tensor, Tensor], device: str) -> Tensor:
    """Return the loss of a batch, of which every weight has its gradient."""
    net.zero_grad()
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        outputs = net(batch[0])
    loss = subject.loss(outputs, batch[1])
    loss.backward()
    return loss.detach()


def cost(name: str, form: str, tiny: bool, device: str) -> str:
    """Return the line of a network and form."""
    torch.manual_seed(0)
    subject = SUBJECTS[name](tiny)
    net = subject.make().to(device)
    image, batch = subject.image().to(device), [each.to(device) for each in subject.batch()]
    run = compiled(net, device) if form == "compiled" else net

    @torch.inference_mode()
    def use() -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            return run(image)

    train, taken = partial(step, run, subject, batch, device), []
    with use_backend(FORMS[form]):
        for call, mode in ((use, False), (train, True)):
            run.train(mode)
            taken += [1e3 * seconds(call, device), megabytes(call, device)]
    what = name if tiny else SUBJECTS[name].__doc__.rstrip(".")
    return f"| {what} | {form} |" + "".join(f" {each:.1f} |" for each in taken)


def curve(name: str, form: str, tiny: bool, device: str) -> Tensor:
    """Return the losses of some steps of Adam."""
    torch.manual_seed(0)
    subject = SUBJECTS[name](tiny)
    net = subject.make().to(device).train()
    batches = [[each.to(device) for each in subject.batch()] for _ in range(BATCHES)]
    optimizer, losses = torch.optim.Adam(net.parameters(), 1e-4), []
    with use_backend(FORMS[form]):
        for number in range(TINY_STEPS if tiny else STEPS):
            losses.append(step(net, subject, batches[number % BATCHES], device))
            optimizer.step()
    return torch.stack(losses).cpu()


def curves(name: str, tiny: bool, device: str) -> str:
    """Return the line of the losses of a network with kernels and without."""
    ours, plain = (curve(name, form, tiny, device) for form in ("kernels", "plain"))
    difference = ((ours - plain).abs() / plain.abs()).max()
    return (
        f"| {name} | {plain[0]:.4f} | {plain[-AVERAGED:].mean():.4f} | {ours[-AVERAGED:].mean():.4f} "
        f"| {100 * difference:.2f} % |"
    )


def tables(names: list[str], tiny: bool, device: str, told: Told) -> list[str]:
    """Return both tables."""
    lines = ["| network | form | inference ms | MB | training step ms | MB |", "|" + " --- |" * 6]
    for name in names:
        for form in FORMS:
            lines += _told(told, f"{name}, {form}", cost, name, form, tiny, device)
            torch._dynamo.reset()
    lines += ["", "| losses | first | last, plain | last, kernels | largest difference |", "|" + " --- |" * 5]
    for name in names:
        lines += _told(told, f"{name}, losses", curves, name, tiny, device)
    return [*lines, *(f"\nFailed: {each}" for each in told.failures)]


def _told(told: Told, what: str, line: Callable[..., str], *arguments: object) -> list[str]:
    return told.attempt(what, lambda: [line(*arguments)]) or []


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"{', '.join(SUBJECTS)}; all by default")
    parser.add_argument("--tiny", action="store_true", help="tiny networks on a CPU, whose numbers are not recorded")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.networks) - set(SUBJECTS))
    if unknown:
        parser.error(f"no network {unknown[0]}; there are {', '.join(SUBJECTS)}")
    if not options.tiny and not torch.cuda.is_available():
        print("networks are measured on a CUDA GPU, and PyTorch finds none here; --tiny needs none", file=sys.stderr)
        return 1
    told = Told()
    lines = tables(options.networks or list(SUBJECTS), options.tiny, "cpu" if options.tiny else "cuda", told)
    print("\n".join(lines))
    if not options.tiny:
        device = f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bfloat16 by automatic mixed precision."
        fill("Networks on a GPU", "\n".join([device, "", *lines]) + "\n")
    return 1 if told.failures else 0


if __name__ == "__main__":
    sys.exit(main())
