"""Runs that end early: what was finished counts, and the outputs are the same to the last byte."""

import errno
import os

import pytest

from foveal.apps.volseg import volumes
from foveal.apps.volseg.infer import infer
from foveal.core.cli import main
from foveal.core.inference import pipeline
from foveal.core.inference.pipeline import AHEAD
from foveal.tests.fixtures import dicom, nifti
from foveal.tests.fixtures.pixelwise import save_shades

FIRST_ROW = 8  # tiles
NAMES = ["out.nii.gz", "out_probabilities.nii.gz", "out_report.json", "out_report.png", "out_uncertainty.nii.gz"]


@pytest.fixture
def run(tmp_path):
    """Runs the command with all outputs on a volume that is brought to another grid, into a folder."""
    path = nifti.write(tmp_path / "head.nii.gz", nifti.samples((24, 20, 40)), affine=nifti.AFFINES["flipped"])
    card = {"channels": ("mr",), "dimensions": 3, "tile": 8, "overlap": 4, "spacing": (2.0, 2.0, 2.0)}
    weights = save_shades(tmp_path / "p.pt", app="volseg", orientation="SPL", intensity={"zscore": True}, **card)

    def call(folder):
        options = {"probabilities": True, "uncertainty": True, "largest_component": ["all"], "smallest_ml": ["0.1"]}
        infer(tmp_path / folder / "out.nii.gz", [path], [str(weights)], quiet=True, device="cpu", **options)

    return call


def files(folder):
    return {each.name: each.read_bytes() for each in sorted(folder.iterdir()) if not each.name.startswith(".foveal")}


@pytest.mark.parametrize("stops_at", [3, 40, 77])
def test_an_interrupted_run_goes_on_where_it_was(tmp_path, monkeypatch, run, stops_at):
    padded, seen, stops = pipeline.padded, [], []

    def interrupted(*tile):
        seen.append(1)
        if len(seen) in stops:
            raise KeyboardInterrupt
        return padded(*tile)

    monkeypatch.setattr(pipeline, "padded", interrupted)
    run("whole")
    tiles = len(seen)
    stops.append(tiles + stops_at)
    with pytest.raises(KeyboardInterrupt):
        run("cut")
    assert not any(name in NAMES for name in files(tmp_path / "cut"))
    run("cut")
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert list(files(tmp_path / "cut")) == NAMES
    again = len(seen) - 2 * tiles
    assert again < stops_at if stops_at > FIRST_ROW else again <= stops_at + AHEAD


@pytest.mark.parametrize("step", ["clean", "profiles", "Report"])
def test_a_run_interrupted_while_files_are_made_computes_nothing_again(tmp_path, monkeypatch, run, step):
    run("whole")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(volumes, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("cut")
    monkeypatch.setattr(pipeline, "padded", interrupted)
    run("cut")
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.parametrize("fails_at", [0, 5, 60, 400, 2000])
def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path, monkeypatch, fails_at):
    dicom.write_series(tmp_path / "ct", dicom.Grid(shape=(9, 20, 24), orientation=dicom.oblique()))
    card = {"channels": ("ct",), "dimensions": 3, "tile": 8, "overlap": 4, "intensity": {"percentiles": [1, 99]}}
    weights = save_shades(tmp_path / "p.pt", app="volseg", orientation="SPL", **card)
    options = ["--weights", str(weights), "--input", str(tmp_path / "ct"), "--suffix", ".dcm", ".nii.gz", "--quiet"]
    written, count = os.pwrite, iter(range(10**9))

    def full(*arguments):
        if next(count) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(*arguments)

    assert main(["volseg", "infer", *options, "--output", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        code = main(["volseg", "infer", *options, "--output", str(tmp_path / "cut")])
    assert code == (2 if next(count) > fails_at else 0)
    visible = {name for name in files(tmp_path / "cut") if not name.startswith(".")}
    assert code == 0 or visible == {"foveal-manifest.json"}
    assert main(["volseg", "infer", *options, "--output", str(tmp_path / "cut")]) == 0
    for each in ("ct.dcm", "ct.nii.gz", "ct_report.json", "ct_report.png", "foveal-report.csv"):
        assert (tmp_path / "cut" / each).read_bytes() == (tmp_path / "whole" / each).read_bytes(), each
    assert not [each for each in (tmp_path / "cut").iterdir() if each.name.startswith((".ct", ".foveal-r"))]
