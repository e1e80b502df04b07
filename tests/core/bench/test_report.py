import csv

from PIL import Image

from foveal.core.bench.cost import Cost
from foveal.core.bench.report import draw, markdown, show, write_report

TOKENS = [4, 9, 16, 25]
COSTS = [
    Cost("slow", TOKENS, 1200, 3_400_000, [0.016, 0.081, 0.256, 0.625], 0.5, 12.4),
    Cost("quick", TOKENS, 10, 0, [0.001, 0.002, 0.003, None], 0.0045, None, ["forward at 5: no"]),
    Cost("broken", TOKENS, notes=["cannot run: no"]),
]


def test_the_table_has_the_quickest_first_and_says_what_is_missing():
    lines = markdown(COSTS, "title").splitlines()
    assert lines[0] == "title"
    assert lines[2].startswith("| mixer | k weights | M mult adds | ms at 4 | ms at 9 | ms at 16 | ms at 25 |")
    assert lines[4:7] == [
        "| quick | 0.0 | 0.0 | 1 | 2 | 3 | - | 4.5 | - | - |",
        "| slow | 1.2 | 3.4 | 16 | 81 | 256 | 625 | 500 | 12 | 2.00 |",
        "| broken | - | - | - | - | - | - | - | - | - |",
    ]
    assert lines[8:] == ["- quick: forward at 5: no", "- broken: cannot run: no"]


def test_a_terminal_gets_a_drawn_table_of_its_width(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    show([*COSTS, Cost("mixture_of_heads", TOKENS, notes=["needs [this]"])], "title")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["slow", "1.2", "3.4", "16", "81", "256", "625", "500", "12", "2.00"] for line in lines)
    assert "mixture_of_heads: needs [this]" in lines


def test_a_report_is_two_tables_and_a_plot(tmp_path):
    write_report(tmp_path / "new", COSTS, "title")
    assert sorted(each.name for each in (tmp_path / "new").iterdir()) == ["table.csv", "table.md", "time.png"]
    with (tmp_path / "new/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["mixer"] for row in rows] == ["slow", "quick", "broken"]
    assert float(rows[0]["forward_25_tokens"]) == 0.625
    assert rows[1]["forward_25_tokens"] == rows[2]["weights"] == ""
    with Image.open(tmp_path / "new/time.png") as picture:
        assert len(picture.getcolors(1 << 20)) > 10


def test_nothing_is_drawn_of_nothing(tmp_path):
    draw(COSTS[2:], "title", tmp_path / "time.png")
    assert not (tmp_path / "time.png").exists()
