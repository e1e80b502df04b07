import runpy
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
PAGE = """# Results

## One thing, 2020-01-01

| a |

## Kernels on a GPU: not yet measured

No GPU
was at hand.

## Networks on a GPU: not yet measured

Neither.
"""


def filled(monkeypatch, tmp_path, title):
    import measure

    path = tmp_path / "RESULTS.md"
    path.write_text(PAGE)
    monkeypatch.setattr(measure, "RESULTS", path)
    measure.fill(title, "| b |\n")
    return path.read_text()


def test_a_section_is_filled_where_it_stands(monkeypatch, tmp_path):
    page = filled(monkeypatch, tmp_path, "Kernels on a GPU")
    before, _, after = page.partition("## Kernels on a GPU, ")
    assert before.endswith("| a |\n\n")
    assert after.partition("\n")[2] == "\n| b |\n\n## Networks on a GPU: not yet measured\n\nNeither.\n"


def test_the_last_section_is_filled_too(monkeypatch, tmp_path):
    page = filled(monkeypatch, tmp_path, "Networks on a GPU")
    assert page.startswith(PAGE.partition("## Networks")[0])
    assert page.endswith("\n\n| b |\n")
    assert "Neither" not in page


def test_a_section_that_nothing_stands_for_comes_last(monkeypatch, tmp_path):
    page = filled(monkeypatch, tmp_path, "Another")
    assert page.startswith(PAGE + "\n## Another, ")


@pytest.mark.parametrize(
    "name", ["acmil", pytest.param("dlgsanet", marks=pytest.mark.slow), pytest.param("dformer", marks=pytest.mark.slow)]
)
def test_networks_are_compared(name, capsys):
    import networks_gpu

    assert networks_gpu.main(["--tiny", name]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"| {name} |")]
    assert [line.split(" | ")[1] for line in lines[:3]] == ["kernels", "plain", "compiled"]
    first, plain, ours, difference = lines[3].strip("| ").split(" | ")[1:]
    assert plain == ours != first
    assert difference.startswith("0.00 %")


def test_losses_that_differ_show(monkeypatch):
    import networks_gpu

    losses = {"kernels": torch.tensor([1.0, 2.0]), "plain": torch.tensor([1.0, 1.6])}
    monkeypatch.setattr(networks_gpu, "curve", lambda name, form, tiny, device: losses[form])
    assert networks_gpu.curves("acmil", True, "cpu") == "| acmil | 1.0000 | 1.3000 | 1.5000 | 25.00 % |"


def test_a_form_that_fails_is_told_and_does_not_stop_the_rest(monkeypatch, capsys):
    import networks_gpu

    def broken(name, form, tiny, device):
        if form == "plain":
            raise RuntimeError("out of memory")
        return f"| {name} | {form} |"

    monkeypatch.setattr(networks_gpu, "cost", broken)
    monkeypatch.setattr(networks_gpu, "curves", lambda *_: "| losses |")
    assert networks_gpu.main(["--tiny", "acmil"]) == 1
    out = capsys.readouterr().out
    assert "Failed: acmil, plain: RuntimeError: out of memory" in out
    assert "| acmil | compiled |" in out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["networks_gpu", "kernels"])
def test_without_a_gpu_one_line_says_so_and_nothing_is_recorded(name, capsys):
    import networks_gpu

    recorded = runpy.run_path(str(FOLDER / "kernels.py"))["recorded"]
    before = (FOLDER / "RESULTS.md").read_text()
    assert {"networks_gpu": networks_gpu.main, "kernels": recorded}[name]([]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (FOLDER / "RESULTS.md").read_text() == before
