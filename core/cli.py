"""The command line: `foveal`, `lightning run` and `python -m foveal.apps.<app>`.

Nothing heavy is imported before it is known what to do, so help and mistakes answer at once.
"""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from .. import __version__
from .catalogue import apps, cards, find_app, networks, settle_configs
from .errors import UserError
from .messages import suggestion
from .weights.card import Card

TRAINING = {
    "fit": "train a network, or go on with a training",
    "validate": "measure a checkpoint on the validation data",
    "test": "measure a checkpoint on the test data",
    "predict": "run a checkpoint over the prediction data of a config",
}
FUNCTIONS = {
    "infer": ("..apps.{app}.infer", "run weights on files or folders; same formats out as in"),
    "export": (".export.command", "write weights as TorchScript, pt2, AOTInductor or ONNX"),
    "check": ("..apps.{app}.data", "validate and fingerprint data before training"),
}
TOOLS = {
    "doctor": "what this machine can do, and what it cannot and why",
    "list": "the apps, their networks and the weights that come with them",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `foveal` and return its exit code (2: a mistake in what was given)."""
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
        print(_app_help(name, program))
        return 0
    command, *options = arguments
    if command in TRAINING:
        options = settle_configs(options)
        from .fit import main as fit

        return fit(name, command, options) or 0
    if command in FUNCTIONS:
        from .options import call

        module, _ = FUNCTIONS[command]
        function = getattr(import_module(module.format(app=name), __package__), command)
        return call(function, options, f"{program} {command}") or 0
    raise UserError(f"{name} has no command '{command}'{suggestion(command, [*TRAINING, *FUNCTIONS])}")


def _foveal(arguments: Sequence[str]) -> int:
    match list(arguments):
        case [] | ["-h" | "--help" | "help", *_]:
            print(_help())
        case ["-V" | "--version", *_]:
            print(f"foveal {__version__}")
        case ["run"]:
            raise UserError(f"run needs an app{suggestion('', apps())}")
        case ["run", app, *rest]:
            return run_app(app, rest, f"foveal run {app}")
        case [("doctor" | "list") as tool, "-h" | "--help"]:
            print(f"usage: foveal {tool}\n\nShow {TOOLS[tool]}.")
        case [("doctor" | "list") as tool, unexpected, *_]:
            raise UserError(f"{tool} takes no options, got '{unexpected}'")
        case ["doctor"]:
            from .doctor import doctor

            return doctor()
        case ["list"]:
            print("\n".join(_listing()))
        case [word, *rest]:
            if word.startswith("-"):
                raise UserError(f"unknown option {word}{suggestion(word, ['--help', '--version'])}")
            if "/" not in word and word not in apps():
                raise UserError(f"unknown command or app '{word}'{suggestion(word, [*apps(), *TOOLS, 'run', 'help'])}")
            return run_app(word, rest)
    return 0


def _lightning(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "run":
        if len(arguments) == 1:
            raise UserError(f"run needs an app{suggestion('', apps())}")
        return run_app(arguments[1], arguments[2:], f"lightning run {arguments[1]}")
    other = _other_lightning()
    if other is not None:
        return other()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
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


def _help() -> str:
    return "\n".join(
        [
            "usage: foveal <app> <command> [options]",
            "",
            "Attention-based imaging for people who must trust what comes out.",
            "",
            *_table("apps", apps()),
            *_table("commands of every app", _commands()),
            *_table("commands beside the apps", TOOLS),
            *_table(
                "options",
                {"-h, --help": "show this, or the help of an app or a command", "--version": "show the version"},
            ),
            "The same, spelled otherwise: `lightning run apps/<app> ...`, `python -m foveal.apps.<app> ...`.",
            "",
            "example:",
            "  foveal superres infer --input photo.jpg --output larger.png",
        ]
    )


def _app_help(app: str, program: str) -> str:
    return "\n".join(
        [
            f"usage: {program} <command> [options]",
            "",
            f"{apps()[app]}.",
            "",
            *_table("commands", _commands()),
            *_table("networks", networks(app)),
            *_table("weights", {card.name: _facts(card) for card in cards() if card.app == app}),
            f"`{program} <command> --help` lists the options of a command.",
        ]
    )


def _listing() -> list[str]:
    lines = _table("apps", apps())
    for app in apps():
        lines += _table(f"networks of {app}", networks(app))
        lines += _table(f"weights of {app}", {card.name: _facts(card) for card in cards() if card.app == app})
    return lines[:-1]


def _facts(card: Card) -> str:
    """Say in one line what weights are for: enlargement, channels, licence and measured quality."""
    measured = [f"{name} {value:g}" for name, value in card.metrics.items() if isinstance(value, float)]
    return ", ".join([f"x{card.scale}", " ".join(card.channels), card.licence or "no licence stated", *measured])


def _commands() -> dict[str, str]:
    return TRAINING | {name: text for name, (_, text) in FUNCTIONS.items()}


def _table(title: str, rows: dict[str, str]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in rows.items()), ""] if rows else []


def _guarded(run: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a command; tell what the user or the machine caused in one line, let any other error show its traceback."""
    try:
        code = _finished(run, arguments)
        sys.stdout.flush()  # a closed pipe or a full disk shows here and not after the last line of ours
        return code
    except UserError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
        return 141
    except Exception as error:
        line = _machine_fault(error)
        if line is None:
            raise
        return _refuse(line)


def _finished(run: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    try:
        return run(arguments)
    except SystemExit as stop:  # how the parser ends after printing the help
        return stop.code


def _refuse(line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return 2


def _machine_fault(error: BaseException | None) -> str | None:
    """Say what is wrong with the machine (a full disk, a file that may not be written), or None for any other error."""
    while error is not None:
        number = getattr(error, "errno", None)
        file = getattr(error, "filename", None)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            return f"the disk is full{f': {file}' if file else ''}; make room, then give the same command again"
        if number in (errno.EACCES, errno.EPERM, errno.EROFS) and file:
            return f"{file}: {os.strerror(number).lower()}; choose another place or change its permissions"
        error = error.__cause__ or error.__context__
    return None
