"""The local mixer of DLGSANet is exchanged in the config: it trains, loads and exports; wrong ones are told."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import foveal
from foveal.apps.superres.models.dlgsanet import DLGSANet
from foveal.core.attention.window import WindowAttention
from foveal.core.cli import main, run_app
from foveal.core.weights.card import Card
from foveal.core.weights.load import load_program, save_weights
from foveal.data.io.image import write_image

ATTENTION = "foveal.core.attention"
WINDOW = f"{ATTENTION}.window.WindowAttention"
MIXERS = {
    "windows": [
        {"class_path": WINDOW, "init_args": {"heads": 2, "window": [4, 4]}},
        {"class_path": WINDOW, "init_args": {"heads": 2, "window": [4, 4], "shift": 2}},
    ],
    "hilo": {"class_path": f"{ATTENTION}.hilo.HiLoAttention", "init_args": {"heads": 2}},
}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def config(local: object) -> str:
    """Write a config of one training step with these local mixers."""
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 255, (3, 40, 48), dtype=np.uint8)
        write_image(Path(f"{number}.png"), noise)
    images = {"class_path": "foveal.data.datasets.image_folder.ImageFolder", "init_args": {"folder": "."}}
    arguments = {"scale": 2, "dim": 12, "groups": 1, "pairs": 2, "heads": 2, "local": local}
    net = {"class_path": "foveal.apps.superres.models.dlgsanet.DLGSANet", "init_args": arguments}
    data = {"train": [images], "validation": [images], "patch": 8, "batch_size": 2, "repeats": 1, "workers": 0}
    content = {
        "model": {"class_path": "foveal.apps.superres.task.SuperResolution", "init_args": {"net": net}},
        "data": {"class_path": "foveal.apps.superres.data.SuperResolutionData", "init_args": data},
        "trainer": {"max_steps": 1, "accelerator": "cpu", "enable_progress_bar": False},
    }
    Path("swap.yaml").write_text(yaml.safe_dump(content))
    return "swap.yaml"


def test_a_card_in_plain_values_builds_the_chosen_mixers() -> None:
    plain = {"scale": 2, "dim": 12, "groups": 1, "pairs": 2, "heads": 2}
    torch.manual_seed(0)
    net = DLGSANet(**plain, local=[partial(WindowAttention, heads=2, window=[4, 4], shift=n) for n in (0, 2)]).eval()
    network = {"class_path": f"{DLGSANet.__module__}.DLGSANet", "init_args": plain | {"local": MIXERS["windows"]}}
    card = Card(name="swap", app="superres", network=network, scale=2, tile=16, overlap=4)
    save_weights(net, card, "swap.safetensors")
    x = torch.rand(1, 3, 11, 14)
    with torch.inference_mode():
        assert torch.equal(load_program("swap.safetensors")(x), net(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", MIXERS)
def test_a_chosen_mixer_trains_loads_and_exports(name: str) -> None:
    run_app("superres", ["fit", "--config", config(MIXERS[name])])
    checkpoint = Path("runs/superres/swap/last.ckpt")
    net = foveal.load_model(checkpoint)
    mixers = [block.mixer.mixer for block in net.groups[0].blocks[::2]]
    if name == "windows":
        assert [mixer.shift for mixer in mixers] == [[0, 0], [2, 2]]
    else:
        assert {type(mixer).__name__ for mixer in mixers} == {"HiLoAttention"}
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(stored[f"net.{key}"], value) for key, value in net.state_dict().items())
    options = ["--weights", str(checkpoint), "--format", "torchscript", "--output", "swap.pt"]
    assert run_app("superres", ["export", *options]) in (0, None)
    program = load_program("swap.pt")
    x = torch.rand(1, 3, 11, 14)
    with torch.inference_mode():
        torch.testing.assert_close(program(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_config_that_a_run_leaves_behind_builds_it_again() -> None:
    run_app("superres", ["fit", "--config", config(MIXERS["windows"])])
    left = ["--config", "runs/superres/swap/config.yaml", "--ckpt_path", "last", "--trainer.max_steps", "2"]
    assert run_app("superres", ["fit", *left]) == 0
    assert torch.load("runs/superres/swap/last.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.parametrize(
    ("local", "words"),
    [
        ({"class_path": WINDOW, "init_args": {"heads": 5}}, "heads 5 must divide dim 12"),
        ({"class_path": f"{WINDOW}s"}, "did you mean 'WindowAttention'?"),
        ([], "at least one"),
    ],
)
def test_a_wrong_mixer_is_told_in_one_line(local: object, words: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["superres", "fit", "--config", config(local)]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert "\n" not in told
