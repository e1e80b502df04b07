"""Plain functions as commands: their signature gives the options, their docstring the help."""

import inspect
import re
import types
from argparse import ArgumentError, HelpFormatter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from docstring_parser import DocstringStyle, parse
from jsonargparse import ActionYesNo, ArgumentParser

from .errors import UserError
from .messages import explain

GROUPS = {
    "files": ("run", "input", "output", "weights", "overwrite"),
    "machine": ("device", "precision", "tile", "overlap", "workers"),
    "reporting": ("quiet",),
}
"""Where the options that every app shares stand in the help; all others stand under "settings"."""


def call(function: Callable[..., Any], arguments: Sequence[str], program: str) -> Any:
    """Call a function with options from a command line.

    A parameter `name: type` becomes the option `--name` (`-` and `_` are the same in it), a list takes several values,
    a bool none; what has no default must be given.

    Args:
        function: every parameter annotated, and described under "Args:" in a Google-style docstring. A section
            "Example:" is shown at the end of the help, {program} in it as the command that was typed.
        arguments: the words after the command; `--help` fits a screen, `--help all` gives the whole texts.
        program: the command as it was typed, for the help.

    Raises:
        UserError: an option is unknown, missing or has a wrong value.
    """
    whole = [*arguments[-2:]] in (["--help", "all"], ["-h", "all"])
    parser = parser_of(function, program, whole)
    arguments = [_underscored(each) for each in arguments]
    try:
        values = parser.parse_args(arguments)
    except ArgumentError as error:
        raise UserError(explain(error, parser, arguments)) from None
    return function(**vars(values))


def parser_of(function: Callable[..., Any], program: str, whole: bool) -> ArgumentParser:
    """Return the parser of a function's options.

    Args:
        function: see `call`.
        program: the command as it was typed, for the help.
        whole: the help has the whole docstring in place of the beginning of each text.
    """
    text = parse(inspect.getdoc(function) or "", DocstringStyle.GOOGLE)
    about = {each.arg_name: " ".join((each.description or "").split()) for each in text.params}
    if not whole:
        about = {name: _beginning(each) for name, each in about.items()}
    parser = ArgumentParser(
        prog=program,
        usage=" ".join([program, *_required(function), "[options]"]),
        description="\n\n".join(filter(None, [text.short_description, whole and text.long_description])),
        epilog="\n".join(f"example:\n  {each.description}" for each in text.examples).replace("{program}", program),
        exit_on_error=False,
        allow_abbrev=False,
        add_help=False,
        formatter_class=_Help,
    )
    titles = {name: title for title, names in GROUPS.items() for name in names}
    groups = {title: parser.add_argument_group(title) for title in ("files", "settings", "machine", "reporting")}
    for name, hint, default in _parameters(function):
        options = _option(hint, default, about.get(name, ""))
        groups[titles.get(name, "settings")].add_argument(f"--{name}", **options)
    shown = "show this help" if whole else "show this help; --help all tells more"
    groups["reporting"].add_argument("-h", "--help", action="help", help=shown)
    return parser


def _parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Return (name, type, default) of each parameter; the default is `Parameter.empty` where one must be given."""
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters
    return [(name, _list_alone(hints[name]), each.default) for name, each in parameters.items()]


def _list_alone(hint: Any) -> Any:
    """Return the list out of `list[...] | None`: on a command line, None is to give no value."""
    return next((each for each in get_args(hint) if get_origin(each) is list), hint)


def _beginning(text: str) -> str:
    """Return the first clause of a text as a sentence."""
    return re.split(r"[.;:] ", text, maxsplit=1)[0].rstrip(".") + "."


def _required(function: Callable[..., Any]) -> Iterator[str]:
    for name, hint, default in _parameters(function):
        if default is inspect.Parameter.empty:
            several = get_origin(hint) is list
            value = _metavar(get_args(hint)[0] if several else hint)
            yield f"--{name} {value}{' ...' if several else ''}"


class _Help(HelpFormatter):
    """Fill paragraphs one by one, keep the lines of the example, give the options a wider column."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, max_help_position=30, **settings)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("example:"):
            return text
        return "\n\n".join(super(_Help, self)._fill_text(each, width, indent) for each in text.split("\n\n"))


def _option(hint: Any, default: Any, text: str) -> dict[str, Any]:
    """Return the arguments of `add_argument` for a parameter of this type and default."""
    required = default is inspect.Parameter.empty
    if hint is bool and default is False:
        return {"action": "store_true", "help": _escaped(text)}
    option: dict[str, Any] = {"type": hint, "required": required, "metavar": _metavar(hint)}
    if hint is bool:
        option = {"action": ActionYesNo(no_prefix="no_"), "required": required}
    elif get_origin(hint) is list:
        item = get_args(hint)[0]
        option |= {"type": item, "nargs": "+", "action": "extend", "metavar": _metavar(item)}
    if not required:
        option["default"] = default
    if not required and default is not None:
        text += f" (default: {default})"
    return option | {"help": _escaped(text)}


def _metavar(hint: Any) -> str:
    """Return how a value of this type is written in the help, such as "auto|N"."""
    if get_origin(hint) in (Union, types.UnionType):
        return "|".join(_metavar(each) for each in get_args(hint) if each is not types.NoneType)
    if get_origin(hint) is Literal:
        return "|".join(str(each) for each in get_args(hint))
    return {Path: "PATH", int: "N", float: "X", str: "NAME"}.get(hint, "VALUE")


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _underscored(argument: str) -> str:
    """Write `--no-tta=x-y` as `--no_tta=x-y`."""
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value if argument.startswith("--") else argument
