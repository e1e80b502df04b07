from foveal.core.results import results, results_table


def test_every_set_and_metric_has_a_line_with_its_interval_and_the_baseline() -> None:
    cases = [
        {"set": "Set5", "name": "bird", "psnr": 29.0, "bicubic_psnr": 19.0},
        {"set": "Set5", "name": "head", "psnr": 31.0, "bicubic_psnr": 21.0},
        {"set": "Kodak", "name": "01", "psnr": 25.5, "bicubic_psnr": float("nan")},
    ]
    assert results_table(cases).splitlines() == [
        "set    cases  metric  ours         bicubic",
        "Set5   2      psnr    30 [29, 31]  20 [19, 21]",
        "Kodak  1      psnr    25.5         nan",
    ]


def test_cases_of_one_group_are_drawn_together() -> None:
    cases = [{"set": "s", "name": str(i), "place": "ab"[i // 3], "psnr": float(i // 3)} for i in range(6)]
    assert results_table(cases, by="place").splitlines()[1].split("  ")[-1] == "0.5 [0, 1]"
    assert results_table(cases).splitlines()[1].split("  ")[-1] != "0.5 [0, 1]"


def test_one_group_alone_has_no_interval() -> None:
    cases = [{"set": "s", "name": str(i), "place": "a", "psnr": float(i)} for i in range(3)]
    assert results_table(cases, by="place").splitlines()[1].split("  ")[-1] == "1"


def test_nothing_evaluated_is_said() -> None:
    assert results_table([]) == "no cases were evaluated"


def test_a_baseline_stands_beside_the_metric_it_has() -> None:
    found = results([{"set": "s", "name": "a", "psnr": 2.0, "noise": 1.0, "bicubic_psnr": 1.0}])
    assert [(each.metric, list(each.methods)) for each in found] == [("psnr", ["ours", "bicubic"]), ("noise", ["ours"])]
    assert found[0].methods["bicubic"].mean == 1
