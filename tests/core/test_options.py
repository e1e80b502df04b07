"""Functions as commands."""

from pathlib import Path
from typing import Literal

import pytest

from foveal.core.errors import UserError
from foveal.core.options import call, parser_of


def enlarge(
    input: list[Path],
    output: Path,
    weights: str = "tiny",
    tile: Literal["auto"] | int | None = None,
    dry_run: bool = False,
    check: bool = True,
):
    """Enlarge photographs.

    An interrupted run goes on
    where it was.

    Args:
        input: files or folders, 100 % of them read.
        output: where the larger ones
            are written.
        weights: name or file.
        tile: input pixels a side; "auto" lets the memory decide.
        dry_run: only say what would be done.
        check: compare sizes afterwards.

    Example:
        enlarge --input a.png --output b.png
    """
    return input, output, weights, tile, dry_run, check


NEEDED = ["--input", "a.png", "--output", "out"]


def test_defaults_and_several_values():
    values = call(enlarge, ["--input", "a.png", "b c.png", "null", "--output", "123"], "enlarge")
    assert values == ([Path("a.png"), Path("b c.png"), Path("null")], Path("123"), "tiny", None, False, True)


def test_a_repeated_option_adds_to_its_list():
    assert call(enlarge, [*NEEDED, "--input", "b.png"], "enlarge")[0] == [Path("a.png"), Path("b.png")]


@pytest.mark.parametrize("flag", ["--dry-run", "--dry_run"])
def test_a_flag_takes_no_value_and_either_spelling(flag):
    assert call(enlarge, [*NEEDED, flag], "enlarge")[4] is True


def test_a_flag_that_is_on_can_be_switched_off():
    assert call(enlarge, [*NEEDED, "--no-check"], "enlarge")[5] is False


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("64", 64)])
def test_values_are_typed(text, value):
    assert call(enlarge, [*NEEDED, "--tile", text], "enlarge")[3] == value


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([*NEEDED, "--tile", "atuo"], "--tile: expected auto or a whole number, got atuo; did you mean 'auto'?"),
        ([*NEEDED, "--weihgts", "x"], "unknown option --weihgts; did you mean '--weights'?"),
        ([*NEEDED, "--out", "x"], "unknown option --out; did you mean '--output'?"),
        (["--output", "x"], "--input must be given"),
        (["--input", "--output", "x"], "--input needs a value"),
        (
            ["photo.png", *NEEDED],
            "unexpected argument 'photo.png': every value follows its option, as in --input photo.png",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, line):
    with pytest.raises(UserError) as caught:
        call(enlarge, arguments, "enlarge")
    assert str(caught.value) == line


def test_help_groups_the_options_and_ends_with_the_example():
    text = parser_of(enlarge, "foveal superres enlarge", whole=True).format_help()
    assert text.startswith(
        "usage: foveal superres enlarge --input PATH ... --output PATH [options]\n\nEnlarge photographs.\n"
    )
    assert "\n\nAn interrupted run goes on\nwhere it was" not in text
    files, settings = "files:\n  --input PATH [PATH ...]  ", "settings:\n  --dry_run "
    words = [files, settings, "machine:\n  --tile auto|N ", "reporting:\n  -h, --help"]
    places = [text.index(each) for each in words]
    assert places == sorted(places)
    assert "files or folders, 100 % of them read." in text
    assert "where the larger ones are written." in text
    assert "(default: tiny)" in text
    assert text.endswith("example:\n  enlarge --input a.png --output b.png\n")


@pytest.mark.parametrize("arguments", [["--help"], ["--dry_run", "-h"], ["--help", "all"], ["-h", "all"]])
def test_help_is_printed_and_ends_the_command(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        call(enlarge, arguments, "enlarge")
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: enlarge ")
    assert "--tile auto|N" in text
    assert ("lets the memory decide" in text) == ("goes on where it was" in text) == ("all" in arguments)


def test_a_list_may_be_left_out():
    def collect(names: list[str] | None = None):
        return names

    assert call(collect, [], "collect") is None
    assert call(collect, ["--names", "a", "b", "--names", "c"], "collect") == ["a", "b", "c"]
    assert "--names NAME [NAME ...]" in parser_of(collect, "collect", whole=False).format_help()
