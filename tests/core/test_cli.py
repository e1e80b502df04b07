"""The command line: what is reached by which words, and how mistakes and accidents are told."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import foveal
from foveal.core.catalogue import apps, commands, configs
from foveal.core.cli import lightning_main, main
from foveal.core.errors import UserError
from foveal.core.overview import FUNCTIONS, TOOLS, TRAINING

FOVEAL = [sys.executable, "-c", "import sys; from foveal.core.cli import main; sys.exit(main())"]


@pytest.fixture
def calls(monkeypatch):
    """Stand-ins for training and inference that record how they were called."""
    seen = []
    fit = ModuleType("foveal.core.fit")
    fit.main = lambda app, command, arguments: seen.append((app, command, arguments))
    monkeypatch.setitem(sys.modules, "foveal.core.fit", fit)
    infer = ModuleType("foveal.apps.superres.infer")

    def stand_in(input: list[Path], output: Path, quiet: bool = False) -> int:
        """Enlarge photographs.

        Args:
            input: photographs.
            output: folder.
            quiet: say nothing.
        """
        seen.append(("infer", input, output, quiet))
        return 3

    infer.infer = stand_in
    monkeypatch.setitem(sys.modules, "foveal.apps.superres.infer", infer)
    return seen


def fail_with(monkeypatch, error):
    """Make every training raise this error."""
    fit = ModuleType("foveal.core.fit")

    def stand_in(app, command, arguments):
        raise error

    fit.main = stand_in
    monkeypatch.setitem(sys.modules, "foveal.core.fit", fit)


@pytest.mark.parametrize("app", ["superres", "apps/superres", "./apps/superres/", "/elsewhere/apps/superres"])
@pytest.mark.parametrize("run", [[], ["run"]])
def test_an_app_is_named_or_given_as_its_folder(calls, app, run):
    assert main([*run, app, "fit", "--trainer.max_epochs", "1"]) == 0
    assert calls == [("superres", "fit", ["--trainer.max_epochs", "1"])]


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_lightning_run_is_ours(calls, command):
    assert lightning_main(["run", "apps/superres", command]) == 0
    assert calls == [("superres", command, [])]


def test_functions_get_typed_options_and_give_the_exit_code(calls):
    assert main(["superres", "infer", "--input", "a.png", "b.png", "--output", "out"]) == 3
    assert calls == [("infer", [Path("a.png"), Path("b.png")], Path("out"), False)]


@pytest.fixture
def polish(monkeypatch):
    """A command that superres alone has; returns with which names it was called."""
    seen = []
    module = ModuleType("foveal.apps.superres.polish")

    def stand_in(name: str) -> None:
        """Polish photographs.

        Args:
            name: of the photograph.
        """
        seen.append(name)

    module.polish = stand_in
    monkeypatch.setitem(sys.modules, "foveal.apps.superres.polish", module)
    for part in ("cli", "overview"):
        monkeypatch.setattr(f"foveal.core.{part}.commands", lambda app: {"polish": "make it shine"})
    return seen


def test_an_app_may_have_commands_of_its_own(polish, capsys):
    assert main(["superres", "polish", "--name", "a"]) == 0
    assert polish == ["a"]
    assert main(["superres", "--help"]) == 0
    assert "\n  polish    make it shine\n" in capsys.readouterr().out
    assert main(["superres", "polsh"]) == 2
    assert capsys.readouterr().err.endswith("did you mean 'polish'?\n")
    assert main(["superres", "polish", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: foveal superres polish --name NAME")


def test_a_shipped_config_is_found_from_any_folder(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "configs/superres/quickstart_dlgsanet.yaml"
    assert main(["superres", "fit", "--config", name]) == 0
    assert calls == [("superres", "fit", ["--config", str(configs()[name])])]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["superes", "fit"], "unknown command or app 'superes'; did you mean 'superres'?"),
        (["run", "apps/superes"], "no app 'apps/superes'; did you mean 'superres'?"),
        (["run"], f"run needs an app; there is {', '.join(apps())}"),
        (["doctr"], "unknown command or app 'doctr'; did you mean 'doctor'?"),
        (["superres", "fti"], "superres has no command 'fti'; did you mean 'fit'?"),
        (["--verison"], "unknown option --verison; did you mean '--version'?"),
        (["list", "--all"], "list takes no options, got '--all'"),
        (["superres", "infer", "--output", "x"], "--input must be given"),
        (["superres", "infer", "--inptu", "x"], "unknown option --inptu; did you mean '--input'?"),
        (
            ["superres", "fit", "--config", "configs/superres/quickstrat_dlgsanet.yaml"],
            "configs/superres/quickstrat_dlgsanet.yaml: no such config file; "
            "did you mean 'configs/superres/quickstart_dlgsanet.yaml'?",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(calls, capsys, arguments, line):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: {line}\n")
    assert not calls


def test_a_user_error_anywhere_is_one_line(monkeypatch, capsys):
    fail_with(monkeypatch, UserError("photo.png: not an image"))
    assert main(["superres", "fit"]) == 2
    assert capsys.readouterr().err == "error: photo.png: not an image\n"


def test_a_full_disk_is_told_even_behind_another_error(monkeypatch, capsys):
    error = RuntimeError("writing failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "last.ckpt")
    fail_with(monkeypatch, error)
    assert main(["superres", "fit"]) == 2
    assert (
        capsys.readouterr().err == "error: the disk is full: last.ckpt; make room, then give the same command again\n"
    )


def test_a_forbidden_file_is_told(monkeypatch, capsys):
    fail_with(monkeypatch, PermissionError(errno.EACCES, "Permission denied", "out.png"))
    assert main(["superres", "fit"]) == 2
    assert capsys.readouterr().err.startswith("error: out.png: permission denied; ")


def test_an_interrupt_is_130(monkeypatch, capsys):
    fail_with(monkeypatch, KeyboardInterrupt())
    assert main(["superres", "fit"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    fail_with(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["superres", "fit"])


def test_a_closed_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*FOVEAL, "list"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"], ["run", "--help"]])
def test_help_lists_apps_and_commands(capsys, arguments):
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: foveal <app> <command>")
    assert all(f"\n  {word} " in out for word in ["superres", *TRAINING, *FUNCTIONS, *TOOLS])
    assert "\nexample:\n  foveal superres infer " in out
    assert max(map(len, out.splitlines())) <= 100


def test_init_takes_the_app_before_or_behind_the_word(capsys):
    assert main(["init", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: foveal init <app> FOLDER [options]")
    for words in (["init", "superres", "nowhere"], ["superres", "init", "nowhere"]):
        assert main(words) == 2
        assert capsys.readouterr().err.startswith("error: nowhere: there is no such folder")
    assert main(["init"]) == 2
    assert "init needs an app, then a folder" in capsys.readouterr().err
    assert main(["init", "superes", "nowhere"]) == 2
    assert "no app 'superes'; did you mean 'superres'" in capsys.readouterr().err


def test_help_of_an_app_names_networks_and_the_words_that_were_typed(capsys):
    assert lightning_main(["run", "apps/superres", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: lightning run apps/superres <command>")
    assert "\n  dlgsanet " in out


@pytest.mark.parametrize("app", apps())
@pytest.mark.parametrize("command", FUNCTIONS)
def test_the_example_of_a_command_is_of_its_app(app, command, capsys):
    assert main([app, command, "--help"]) == 0
    example = capsys.readouterr().out.partition("\nexample:\n  ")[2]
    assert example.startswith((f"foveal {app} {command} --", f"foveal {command} {app} "))


@pytest.mark.parametrize("app", apps())
def test_every_help_fits_a_screen(app, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    for command in ["", *TRAINING, *FUNCTIONS, *commands(app)]:
        assert main([app, *command.split(), "--help"]) == 0
        assert len(capsys.readouterr().out.splitlines()) <= 50, command


def test_help_of_a_command(calls, capsys):
    assert lightning_main(["run", "apps/superres", "infer", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: lightning run apps/superres infer ")


@pytest.mark.parametrize("command", TRAINING)
def test_help_of_training_is_short_and_names_the_configs(calls, capsys, command):
    assert lightning_main(["run", "apps/superres", command, "--config", "missing.yaml", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: lightning run apps/superres {command} --config FILE")
    assert "\n  configs/superres/quickstart_dlgsanet.yaml " in out
    assert out.splitlines()[-2:][0] == "example:"
    assert not calls


def test_every_option_of_the_trainer_is_shown_when_asked_for(calls):
    assert main(["superres", "fit", "--help", "all"]) == 0
    assert calls == [("superres", "fit", ["--help"])]


def test_version_and_list(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"foveal {foveal.__version__}\n"
    assert main(["list"]) == 0
    assert "networks of superres:\n  dlgsanet " in capsys.readouterr().out


def test_the_module_of_an_app_runs_it():
    done = subprocess.run([sys.executable, "-m", "foveal.apps.superres", "ift"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: superres has no command 'ift'; did you mean 'fit'?\n")


def test_other_words_of_lightning_go_to_the_other_tool(tmp_path, monkeypatch):
    info = tmp_path / "other_tool-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-tool\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nlightning = other_tool_module:run\n")
    (tmp_path / "other_tool_module.py").write_text("def run():\n    return 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert lightning_main(["deploy", "--now"]) == 7


def test_other_words_of_lightning_are_refused_where_there_is_no_other_tool(capsys):
    assert lightning_main(["deploy"]) == 2
    assert "no other tool of that name is installed" in capsys.readouterr().err
