"""TorchScript files: the same output at any size, also without this package."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.core.errors import UserError
from foveal.core.export import torchscript
from foveal.core.export.artifact import open_artifact

GUIDE = Path(__file__).parents[3] / "docs" / "exports.md"

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "foveal":
            raise ImportError("foveal must not be needed")
sys.meta_path.insert(0, Block())
"""


@pytest.fixture(scope="module")
def program(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("torchscript") / "tiny.pt"
    torchscript.save(net, net.card, path)
    return path


def test_program_gives_the_same_at_any_size(program, net, assert_same):
    artifact = open_artifact(program)
    assert artifact.card == net.card
    assert_same(artifact)


def test_no_notice_of_deprecation_reaches_the_user(program, net, tmp_path, recwarn):
    torchscript.save(net, net.card, tmp_path / "again.pt")
    open_artifact(program)
    assert not recwarn.list


def test_memory_order_and_precision_of_the_caller_do_not_matter(program, net):
    artifact = open_artifact(program)
    image = torch.rand(1, 3, 11, 9, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = artifact(image.double().mT.contiguous().mT)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, net(image))


def test_guide_runs_the_file_without_foveal(program, net, tmp_path):
    code = re.search(r"```python title=\"enlarge.py\"\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
    pixels = np.random.default_rng(0).integers(0, 256, (13, 21, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    command = [sys.executable, "-c", BLOCKED + code, program, tmp_path / "in.png", tmp_path / "out.png"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "tiny: 2 times larger\n"
    with torch.inference_mode():
        larger = net(torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None])[0]
    expected = (larger.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), expected)


class Foreign(torch.nn.Module):
    """Does what TorchScript cannot compile, in a way that depends on the size."""

    scriptable = False

    def forward(self, x):
        return self.with_options(x, factor=2.0 if x.shape[3] > 8 else 3.0)

    def with_options(self, x, **options):
        return x * options["factor"] + x.flip(0)


def test_a_network_that_cannot_be_compiled_is_traced_at_its_tile(net, tmp_path, recwarn):
    card = replace(net.card, tile=(8, 12), fixed_tile=True)
    foreign = Foreign()
    foreign.weight = torch.nn.Parameter(torch.ones(1))
    torchscript.save(foreign, card, tmp_path / "foreign.pt")
    assert not recwarn.list
    for batch in (1, 2, 3):
        tiles = torch.rand(batch, 3, 8, 12, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(open_artifact(tmp_path / "foreign.pt")(tiles), 2 * tiles + tiles.flip(0))


class Writer(torch.nn.Module):
    def forward(self, x):
        torch.save(x, "stolen")
        return x


def test_a_program_that_writes_files_is_refused(net, tmp_path):
    torchscript.save(Writer(), net.card, tmp_path / "writer.pt")
    with pytest.raises(UserError, match=r"writer\.pt: refused, because its code calls torch\.save"):
        open_artifact(tmp_path / "writer.pt")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(net):
    with pytest.raises(OSError, match="No space left"):
        torchscript.save(net, net.card, Path("/dev/full"))
