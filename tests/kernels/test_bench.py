import csv
import subprocess
import time
from random import Random

import pytest
import torch

from foveal.kernels.bench import __main__ as bench
from foveal.kernels.bench import cases, rivals
from foveal.kernels.bench.cases import TABLE
from foveal.kernels.bench.check import complaints
from foveal.kernels.bench.floors import Ceilings, Work, exponentials, floor
from foveal.kernels.bench.table import markdown, write
from foveal.kernels.bench.timing import Row, row
from foveal.kernels.window_attention.layout import WindowLayout

TIMED = [case for entry in TABLE.values() for case in entry.timed]
H100 = Ceilings(3.0e12, 790e12, 3.7e12)
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("case", "megabytes", "gigaflops", "millions", "microseconds"),
    [
        (cases.window(8, (128, 128), 4, 32, 7, 3), 147, 6.1, 47, 49),
        (cases.window(4, (256, 256), 6, 30, 16, 8), 384, 48, 403, 128),
        (cases.window(2, (49, 49, 49), 3, 16, 7, 3), 93, 16.3, 255, 69),
        (cases.neighborhood(8, (128, 128), 4, 32, 7), 134, 17, 134, 45),
        (cases.neighborhood(2, (48, 48, 48), 3, 16, 5), 85, 22, 340, 92),
        (cases.dynamic(4, 256, 256, 6, 8, 5), 129, 0, 0, 43),
        (cases.gated(100_000, 512, 128, 5), 102, 26, 26, 34),
        (cases.gated(100_000, 1536, 256, 5), 307, 157, 51, 199),
        (cases.channel(4, 65_536, 6, 8), 101, 0.4, 0, 34),
        (cases.position(4, 4096, 64, 512), 38, 77, 67, 98),
    ],
    ids=lambda value: value.size if hasattr(value, "size") else None,
)
def test_floors_are_those_worked_out_by_hand(case, megabytes, gigaflops, millions, microseconds):
    work = case.forward
    assert work.bytes / 1e6 == pytest.approx(megabytes, rel=0.01)
    assert work.flops / 1e9 == pytest.approx(gigaflops, rel=0.03)
    assert work.exponentials / 1e6 == pytest.approx(millions, rel=0.02)
    assert 1e6 * floor(work, H100) == pytest.approx(microseconds, rel=0.02)


def test_gradients_move_and_compute_more():
    assert all(one >= other for case in TIMED for one, other in zip(case.backward, case.forward, strict=True))


def test_exponentials_follow_from_the_processors_and_their_clock():
    class Properties:
        multi_processor_count = 132

    assert exponentials(Properties()) == pytest.approx(3.7e12, rel=0.01)


@pytest.mark.parametrize("case", TIMED, ids=lambda case: f"{case.operation} {case.size}")
def test_the_table_has_operands_of_the_sizes_that_it_names(case):
    tensors = case.draw(torch.bfloat16, "meta")
    assert all(tensor.shape == operand.shape for tensor, operand in zip(tensors, case.operands, strict=True))
    moved = sum(2 * tensor.numel() for tensor in tensors if tensor.dtype == torch.bfloat16)
    assert 0.99 * moved < case.forward.bytes < 2.3 * moved


@pytest.mark.parametrize("name", TABLE)
def test_odd_cases_run_with_a_gradient_for_every_operand_that_wants_one(name):
    for seed in range(3):
        case = TABLE[name].odd(Random(seed))
        tensors = case.draw(torch.float32, "cpu", seed, permuted=seed == 1)
        out = case.call(*tensors)
        gradients = torch.autograd.grad(out.square().sum(), [each for each in tensors if each.requires_grad])
        assert all(each.isfinite().all() and each.abs().sum() > 0 for each in gradients)


def test_operands_are_drawn_from_a_seed_in_any_layout():
    case = cases.dynamic(1, 4, 5, 1, 2, 3)
    one, other = case.draw(torch.float32, "cpu", 3), case.draw(torch.float32, "cpu", 3, permuted=True)
    assert all(torch.equal(a, b) and a.stride() != b.stride() for a, b in zip(one, other, strict=True))


def test_rivals_compute_the_same():
    case = cases.window(2, (5, 7), 2, 8, 3, 1)
    tensors = case.draw(torch.float32, "cpu")
    torch.testing.assert_close(case.rivals["usual"]("cpu")(*tensors), case.call(*tensors), rtol=1e-5, atol=1e-5)
    case = cases.neighborhood(2, (5, 6), 2, 8, 3)
    tensors = case.draw(torch.float32, "cpu")
    torch.testing.assert_close(case.rivals["sdpa"]("cpu")(*tensors), case.call(*tensors), rtol=1e-5, atol=1e-5)
    case = cases.position(2, 9, 3, 5)
    tensors = case.draw(torch.float32, "cpu")
    torch.testing.assert_close(case.rivals["usual"]("cpu")(*tensors), case.call(*tensors), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
def test_flex_attention_is_given_the_same(monkeypatch):
    """Without compiling it, and forward alone, which is what it has on a CPU."""
    from torch.nn.attention.flex_attention import flex_attention

    monkeypatch.setattr(rivals, "flex_attention", lambda: flex_attention)
    layout = WindowLayout([4, 4], [2, 2])
    case = cases.window(2, (8, 8), 2, 16, 4, 2)
    with torch.no_grad():
        tensors = [each.detach() for each in case.draw(torch.float32, "cpu")]
        found = rivals.windows_by_flex(layout)(*tensors)
        torch.testing.assert_close(found, case.call(*tensors), rtol=1e-4, atol=1e-4)


def test_complaints_name_what_is_off():
    assert complaints([1e-6, 1e-6], [1e-5, 1e-5]) == ""
    assert complaints([1e-6, float("nan")], [1e-5, 1e-5]) == "gradient 1 is off by nan, over 1.0e-05"


def some_rows():
    case = cases.channel(4, 65_536, 6, 8)
    rows = [row(case, direction, "kernel", H100, (50e-6, 49e-6, 51e-6), 3.0) for direction in ("forward", "backward")]
    return [*rows, row(case, "forward", "eager", H100, (150e-6, 149e-6, 151e-6), 300.0)]


def test_a_row_has_rates_of_what_must_be_done():
    first = some_rows()[0]
    assert first.median == pytest.approx(50)
    assert first.floor == pytest.approx(33.6, rel=0.01)
    assert first.gigabytes == pytest.approx(100.7e6 / 50e-6 / 1e9, rel=0.01)
    assert first.teraflops == pytest.approx(0.4e9 / 50e-6 / 1e12, rel=0.02)


def test_a_row_of_single_precision_has_twice_the_bytes():
    case = cases.channel(4, 65_536, 6, 8)
    single = row(case, "forward", "float32", H100, (100e-6, 99e-6, 101e-6), 3.0)
    assert single.floor == pytest.approx(2 * some_rows()[0].floor, rel=1e-6)


def test_tables_are_written(tmp_path):
    rows = some_rows()
    lines = markdown(rows)
    assert lines[0].endswith("| MB | eager |")
    assert lines[2].startswith("| channel_attention ReLU, B4 L65536 C48 h6, forward | 34 | 50 | 1.49 | 2013 |")
    assert lines[2].endswith("| 3 | 3.00x, 300 MB |")
    assert lines[3].endswith("| 3 | - |")
    values, page = write(tmp_path / "new", rows, lines)
    assert page.read_text().splitlines() == lines
    read = list(csv.DictReader(values.open()))
    assert [each["form"] for each in read] == ["kernel", "kernel", "eager"]
    assert float(read[0]["median"]) == pytest.approx(50)
    assert set(read[0]) == set(Row._fields)
    assert sorted(path.name for path in values.parent.iterdir()) == ["kernels.csv", "kernels.md"]


def test_the_slowest_of_three_is_the_floor():
    ceilings = Ceilings(10.0, 100.0, 1000.0)
    assert [floor(Work(*done), ceilings) for done in ((10, 0, 0), (1, 200, 0), (1, 1, 3000))] == [1, 2, 3]


def test_every_form_is_timed_and_one_that_fails_does_not_stop_the_rest(monkeypatch):
    def measure(case, form, direction, ceilings):
        if (form, direction) == ("flex", "backward"):
            raise RuntimeError("no backward")
        return row(case, direction, form, ceilings, (1e-3, 1e-3, 1e-3), 1.0)

    monkeypatch.setattr(bench, "measure", measure)
    told, some = bench.Told(), [cases.position(1, 9, 3, 5), cases.channel(1, 20, 2, 3)]
    rows = bench.time_cases(some, H100, time.monotonic() + 60, told)
    order = [(each.operation[:8], each.form) for each in rows if each.direction == "forward"]
    quick = [("position", form) for form in ("kernel", "eager", "usual", "float32")]
    quick += [("channel_", form) for form in ("kernel", "eager", "float32")]
    assert order == [*quick, ("position", "compiled"), ("channel_", "compiled"), ("position", "flex")]
    assert told.failures == ["position_attention B1 n9 qk3 v5, flex, backward: RuntimeError: no backward"]


def test_beyond_the_deadline_nothing_is_timed():
    told = bench.Told()
    assert bench.time_cases([cases.channel(1, 20, 2, 3)], H100, time.monotonic() - 1, told) == []
    assert [each.rpartition(", ")[2] for each in told.skipped] == ["kernel", "eager", "float32", "compiled"]
    assert not told.failures


def test_operations_that_are_wrong_are_not_timed(monkeypatch):
    monkeypatch.setattr(bench, "check_apart", lambda names, told, _: told.failures.append("one is off") or names[1:])
    monkeypatch.setattr(bench, "measured_ceilings", lambda: H100)
    monkeypatch.setattr(bench, "facts", lambda ceilings: ["this machine"])
    monkeypatch.setattr(bench.functorch, "donated_buffer", True)
    monkeypatch.setattr(
        bench,
        "measure",
        lambda case, form, direction, ceilings: row(case, direction, form, ceilings, (1e-3, 1e-3, 1e-3), 1.0),
    )
    rows, lines = bench.run(["dynamic_conv", "position_attention"], 1, bench.Told())
    assert {each.operation for each in rows} == {"position_attention"}
    assert [lines[0], lines[-1]] == ["this machine", "\nFailed: one is off"]
    assert len([line for line in lines if line.startswith("| position_attention ")]) == 4


@pytest.mark.parametrize(
    ("script", "seconds", "right", "failures"),
    [
        ("true", 60, ["channel_attention"], []),
        ("echo failed: one is off; exit 1", 60, [], ["one is off"]),
        ("exit 3", 60, [], ["channel_attention: the process that checked it ended with code 3"]),
        ("exec sleep 60", 0, [], ["channel_attention: the process that checked it ended with code -9"]),
    ],
)
def test_checks_run_apart_and_how_they_end_is_told(monkeypatch, script, seconds, right, failures):
    told, start = bench.Told(), subprocess.Popen
    monkeypatch.setattr(bench.subprocess, "Popen", lambda command, **options: start(["sh", "-c", script], **options))
    assert bench.check_apart(["channel_attention"], told, seconds) == right
    assert told.failures == failures


@needs_no_gpu
def test_without_a_gpu_one_line_says_so(capsys):
    assert bench.main([]) == 1
    assert capsys.readouterr().err == "kernels are measured on a CUDA GPU, and PyTorch finds none here\n"


def test_an_unknown_operation_is_refused(capsys):
    with pytest.raises(SystemExit):
        bench.main(["window"])
    assert "no operation window; there are window_attention, " in capsys.readouterr().err


def test_help_fits_a_screen(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--help"])
    assert len(capsys.readouterr().out.splitlines()) < 40
