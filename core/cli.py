"""The command line: `foveal`, `lightning run` and `python -m foveal.apps.<app>`.

Nothing heavy is imported before it is known what to do, so help and mistakes answer at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from .. import __version__
from .allocator import keep_freed_memory
from .catalogue import apps, commands, find_app, settle_configs
from .errors import UserError, machine_fault
from .messages import suggestion
from .overview import (
    BENCHMARKS,
    FUNCTIONS,
    TOOLS,
    TRAINING,
    help_of_app,
    help_of_bench,
    help_of_foveal,
    help_of_init,
    help_of_training,
    listing,
)

HOMES = {
    "infer": "..apps.{app}.infer",
    "export": ".export.command",
    "check": "..apps.{app}.check",
    "init": "..apps.{app}.init",
}
"""The module that holds the function of each common command that is not of the Trainer; an app's own are in it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `foveal` and return its exit code (1: inputs failed; 2: a mistake in what was given)."""
    return _guarded(_foveal, sys.argv[1:] if arguments is None else arguments)


def lightning_main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `lightning`: `run <app> ...` is ours, all else goes to another installed tool of that name."""
    return _guarded(_lightning, sys.argv[1:] if arguments is None else arguments)


def run_app(app: str, arguments: Sequence[str], program: str | None = None) -> int:
    """Run a command of an app.

    Args:
        app: name or folder of the app.
        arguments: the command and its options.
        program: what was typed before them, for the help; `foveal <app>` where not given.

    Returns:
        The exit code; 0 is success.

    Raises:
        UserError: there is no such app or command, or an option is wrong.
    """
    name = find_app(app)
    program = program or f"foveal {name}"
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_of_app(name, program))
        return 0
    command, *options = arguments
    keep_freed_memory()
    if command in TRAINING:
        return _train(name, command, options, program)
    own = commands(name)
    if command in FUNCTIONS or command in own:
        from .options import call

        home = HOMES.get(command, "..apps.{app}." + command).format(app=name)
        function = getattr(import_module(home, __package__), command)
        if command == "init" and options and not options[0].startswith("-"):
            options = ["--input", *options]
        return call(function, options, f"{program} {command}") or 0
    raise UserError(f"{name} has no command '{command}'{suggestion(command, [*TRAINING, *FUNCTIONS, *own])}")


def _train(app: str, command: str, options: Sequence[str], program: str) -> int:
    asked = next((place for place, word in enumerate(options) if word in ("-h", "--help")), None)
    if asked is not None and options[asked + 1 :] != ["all"]:
        print(help_of_training(app, command, program))
        return 0
    options = ["--help"] if asked is not None else settle_configs(options)
    from .fit import main as fit

    return fit(app, command, options) or 0


def _run(script: str, arguments: Sequence[str]) -> int:
    """Run what stands after the word `run` of either script."""
    match list(arguments):
        case []:
            raise UserError(f"run needs an app{suggestion('', apps())}")
        case ["-h" | "--help" | "help", *_]:
            print(help_of_foveal())
            return 0
        case [app, *rest]:
            return run_app(app, rest, f"{script} run {app}")


def _foveal(arguments: Sequence[str]) -> int:
    match list(arguments):
        case [] | ["-h" | "--help" | "help", *_]:
            print(help_of_foveal())
        case ["-V" | "--version", *_]:
            print(f"foveal {__version__}")
        case ["run", *rest]:
            return _run("foveal", rest)
        case [("doctor" | "list") as tool, "-h" | "--help"]:
            print(f"usage: foveal {tool}\n\nShow {TOOLS[tool]}.")
        case [("doctor" | "list") as tool, unexpected, *_]:
            raise UserError(f"{tool} takes no options, got '{unexpected}'")
        case ["doctor"]:
            from .doctor import doctor

            return doctor()
        case ["list"]:
            print(listing())
        case [("infer" | "check") as tool, *rest]:
            return _on_files(tool, rest)
        case ["init", *rest]:
            return _init(rest)
        case ["report", *rest]:
            return _report(rest)
        case ["bench", *rest]:
            return _bench(rest)
        case [word, *rest]:
            if word.startswith("-"):
                raise UserError(f"unknown option {word}{suggestion(word, ['--help', '--version'])}")
            if "/" not in word and word not in apps():
                raise UserError(f"unknown command or app '{word}'{suggestion(word, [*apps(), *TOOLS, 'run', 'help'])}")
            return run_app(word, rest)
    return 0


def _on_files(tool: str, options: Sequence[str]) -> int:
    """Run what works on files of any format, whatever the app."""
    from .options import call

    keep_freed_memory()
    function = getattr(import_module(f"..data.{tool}", __package__), tool)
    return call(function, options, f"foveal {tool}") or 0


def _init(arguments: Sequence[str]) -> int:
    """Write a config for a folder, the app being named behind the word."""
    match list(arguments):
        case []:
            raise UserError(f"init needs an app, then a folder{suggestion('', apps())}")
        case ["-h" | "--help", *_]:
            print(help_of_init())
            return 0
        case [app, *rest]:
            return run_app(app, ["init", *rest])


def _report(arguments: Sequence[str]) -> int:
    """Run `report`, whose run folder needs no option's name before it."""
    from .options import call
    from .report.command import report

    named = arguments if not arguments or arguments[0].startswith("-") else ["--run", *arguments]
    return call(report, named, "foveal report") or 0


def _bench(arguments: Sequence[str]) -> int:
    """Run a measurement."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_of_bench())
        return 0
    what, *options = arguments
    if what not in BENCHMARKS:
        raise UserError(f"bench cannot measure '{what}'{suggestion(what, BENCHMARKS)}")
    from .options import call

    return call(getattr(import_module(f".bench.{what}", __package__), what), options, f"foveal bench {what}") or 0


def _lightning(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "run":
        return _run("lightning", arguments[1:])
    other = _other_lightning()
    if other is not None:
        return other()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_of_foveal())
        return 0
    raise UserError(
        f"'{arguments[0]}' is no command of Foveal's `lightning`, and no other tool of that name is installed; "
        "ours is `lightning run <app> <command>`"
    )


def _other_lightning() -> Callable[[], int] | None:
    """Return the `lightning` command of another distribution, if one is installed; it reads `sys.argv` itself."""
    from importlib.metadata import entry_points

    found = entry_points(group="console_scripts", name="lightning")
    return next((each.load() for each in found if each.dist is not None and each.dist.name != "foveal"), None)


def _guarded(run: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a command; tell what the user or the machine caused in one line, let any other error show its traceback."""
    try:
        code = _finished(run, arguments)
        sys.stdout.flush()  # a closed pipe or a full disk shows here and not after the last line of ours
        return code
    except UserError as error:
        return _refuse(str(error), error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
        return 141
    except Exception as error:
        line = machine_fault(error)
        if line is None:
            raise
        return _refuse(line)


def _finished(run: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    try:
        return run(arguments)
    except SystemExit as stop:  # how the parser ends after printing the help
        return stop.code


def _refuse(line: str, code: int = UserError.exit_code) -> int:
    print(f"error: {line}", file=sys.stderr)
    return code
