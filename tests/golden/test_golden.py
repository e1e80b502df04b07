"""Every stored case agrees with its reference, and the comparison notices what does not."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import evaluate
import numpy as np
import parity
import pytest

FOLDER = Path(__file__).parent
CASES = sorted(FOLDER.glob("*.npz"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case_agrees(path: Path) -> None:
    results = list(evaluate.compare(parity.load(path)))
    assert results
    assert all(result.passed for result in results), "\n".join(map(str, results))


def a_case() -> parity.Case:
    return parity.load(FOLDER / "metrics_udc.npz")


def exit_code(tmp_path: Path, case: parity.Case) -> int:
    parity.save(tmp_path / "case.npz", case)
    return evaluate.main([str(tmp_path / "case.npz")])


def test_command_runs_from_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, FOLDER / "evaluate.py", FOLDER / "metrics_udc.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("metrics_udc psnr")


def test_saved_case_is_read_back(tmp_path: Path) -> None:
    assert exit_code(tmp_path, a_case()) == 0


def test_wrong_output_fails(tmp_path: Path) -> None:
    case = a_case()
    assert exit_code(tmp_path, replace(case, outputs={"psnr": case.outputs["psnr"] * (1 + 1e-5)})) == 1
    assert exit_code(tmp_path, replace(case, outputs={"psnr": np.array(np.nan)})) == 1


def test_wrong_shape_fails(tmp_path: Path) -> None:
    case = a_case()
    assert exit_code(tmp_path, replace(case, outputs={"psnr": case.outputs["psnr"][None]})) == 1


def test_output_that_we_lack_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = a_case()
    assert exit_code(tmp_path, replace(case, outputs=case.outputs | {"sharpness": np.ones(1)})) == 1
    assert "sharpness" in capsys.readouterr().out


def test_case_without_outputs_fails(tmp_path: Path) -> None:
    assert exit_code(tmp_path, replace(a_case(), outputs={})) == 1


@pytest.mark.parametrize("change", [{"system": "unheard_of"}, {"system": "../evaluate"}, {"variant": "unheard_of"}])
def test_unknown_system_or_variant_fails(tmp_path: Path, change: dict, capsys: pytest.CaptureFixture[str]) -> None:
    case = a_case()
    assert exit_code(tmp_path, replace(case, meta=case.meta | change)) == 1
    assert next(iter(change.values())) in capsys.readouterr().out


def test_broken_file_fails_and_does_not_hide_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes((FOLDER / "metrics_udc.npz").read_bytes()[:1000])
    assert evaluate.main([str(broken), str(FOLDER / "metrics_udc.npz")]) == 1
    assert "metrics_udc psnr" in capsys.readouterr().out


def test_outputs_do_not_come_from_the_case() -> None:
    case = a_case()
    blind = evaluate.evaluate(replace(case, outputs={}))
    assert parity.relative_error(blind["psnr"], case.outputs["psnr"]) < 1e-6


def test_other_sizes_borders_and_scales_are_covered() -> None:
    images = parity.load(FOLDER / "metrics_sr_uint8.npz")
    smaller = replace(images, inputs=[image[:30, 1:29] for image in images.inputs], outputs={})
    assert {"psnr_y_crop3", "ssim_rgb_crop8"} <= set(evaluate.evaluate(smaller))
    bicubic = parity.load(FOLDER / "metrics_bicubic.npz")
    notes = "double/triple: up-sampling of the top-left 10x11 corner; half_odd: of the top-left 21x33 corner."
    found = evaluate.evaluate(replace(bicubic, meta=bicubic.meta | {"notes": notes}, outputs={}))
    assert found["third_odd"].shape == (7, 11, 3)
    assert found["quadruple_noantialias"].shape == (40, 44, 3)
    assert found["sixth"].shape == (8, 10, 3)


def test_relative_error_of_values_that_are_not_finite() -> None:
    values = np.array([np.nan, np.inf, 2.0])
    assert parity.relative_error(values, values) == 0
    assert parity.relative_error(values, np.array([np.nan, -np.inf, 2.0])) == np.inf
    assert parity.relative_error(np.ones(3), values) == np.inf
