"""The commands `infer` and `export`: pictures of every depth come out as they went in, programs as checkpoints."""

import numpy as np
import pytest
import torch

from foveal.apps.udc.models.dwformer import DWFormer
from foveal.apps.udc.models.unet import UNet
from foveal.apps.udc.task import Restoration
from foveal.core.cli import main
from foveal.core.weights.load import save_weights
from foveal.data.io.image import read_image, write_image

LIGHT = {DWFormer: {"widths": [4, 8, 12, 8, 4], "depths": [1, 1, 1, 1, 1]}, UNet: {"widths": [4, 4, 4, 4, 4, 4]}}
SUFFIXES = {"torchscript": ".pt", "pt2": ".pt2", "onnx": ".onnx"}


def written(kind, folder, **options):
    """Write tiny weights of a network with the card that its task gives them."""
    torch.manual_seed(0)
    net = kind(**LIGHT[kind]).eval()
    task = Restoration(net, **options)
    task.network = {"class_path": f"{kind.__module__}.{kind.__name__}", "init_args": LIGHT[kind]}
    save_weights(net, task.card(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def picture(height=53, width=70, channels=3, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (channels, height, width), dtype=dtype)


def restored(weights, source, output, *options):
    where = ["--input", str(source), "--output", str(output), "--device", "cpu", "--quiet"]
    assert main(["udc", "infer", "--weights", str(weights), *where, *options]) == 0
    return read_image(output, alpha=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_depth_channels_and_size_stay(tmp_path, suffix, channels, dtype):
    before = picture(channels=channels, dtype=dtype)
    write_image(tmp_path / f"in{suffix}", before)
    after = restored(written(DWFormer, tmp_path), tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert (after.shape, after.dtype) == (before.shape, before.dtype)
    assert not np.array_equal(after[:1], before[:1])
    if channels == 4:
        assert np.array_equal(after[3], before[3])


def test_sixteen_bits_are_the_networks_and_not_those_of_eight(tmp_path):
    before = picture(32, 32, dtype=np.uint16)
    write_image(tmp_path / "in.tif", before)
    weights = written(DWFormer, tmp_path)
    after = restored(weights, tmp_path / "in.tif", tmp_path / "out.tif")
    net = DWFormer(**LIGHT[DWFormer]).eval()
    from safetensors.torch import load_file

    net.load_state_dict(load_file(weights))
    with torch.inference_mode():
        estimate = net(torch.from_numpy(before[None].astype(np.float32) / 65535))[0].clamp(0, 1)
    assert abs(after - estimate.numpy() * 65535).max() <= 1


def test_a_picture_within_a_tile_is_computed_whole_and_a_larger_one_in_tiles(tmp_path):
    write_image(tmp_path / "in.png", picture())
    small, large = (written(DWFormer, tmp_path, tile=tile, overlap=8) for tile in (32, 128))
    assert small == large  # the same file; the last tile counts
    default, whole, tiled = (
        restored(large, tmp_path / "in.png", tmp_path / f"{number}.png", *options)
        for number, options in enumerate(([], ["--tile", "whole"], ["--tile", "32", "--overlap", "8"]))
    )
    assert np.array_equal(default, whole)
    assert not np.array_equal(default, tiled)


def test_a_folder_is_restored_and_a_broken_file_told(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        write_image(folder / name, picture(20, 20))
    (folder / "c.png").write_text("no picture")
    arguments = ["--weights", str(written(DWFormer, tmp_path)), "--input", str(folder), "--device", "cpu"]
    assert main(["udc", "infer", *arguments, "--output", str(tmp_path / "out")]) == 1
    assert {"a.png", "b.png"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert "1 of 3 inputs failed" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("format", SUFFIXES)
@pytest.mark.parametrize("kind", LIGHT)
def test_an_exported_program_restores_as_its_checkpoint(tmp_path, kind, format):
    weights = written(kind, tmp_path, tile=64, overlap=16)
    program = (tmp_path / "program").with_suffix(SUFFIXES[format])
    assert main(["udc", "export", "--weights", str(weights), "--format", format, "--output", str(program)]) == 0
    write_image(tmp_path / "in.png", picture(83, 131))
    first, second = (
        restored(each, tmp_path / "in.png", tmp_path / f"{each.stem}.png").astype(int) for each in (weights, program)
    )
    assert abs(first - second).max() <= 1
