"""What a person reads when an option or a config is wrong: one line, with the nearest right word."""

import ast
import difflib
import inspect
import re
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from pkgutil import iter_modules
from typing import NamedTuple


def counted(number: int, noun: str) -> str:
    """Return "1 file", "2 files"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like `word` (case and - or _ aside), or None where none is near."""
    by_form: dict[str, str] = {}
    for each in known:
        by_form.setdefault(_form(each), each)
    found = difflib.get_close_matches(_form(word), by_form, n=1, cutoff=0.6)
    return by_form[found[0]] if found else None


def suggestion(word: str, known: Iterable[str], listed: int = 12) -> str:
    """Return "; did you mean '...'?" where a known word is near, else the known words ("" where there is none)."""
    known = list(dict.fromkeys(known))
    near = nearest(word, known)
    if near is not None:
        return f"; did you mean '{near}'?"
    if not known:
        return ""
    more = ", ..." if len(known) > listed else ""
    return f"; there is {', '.join(known[:listed])}{more}"


def explain(error: Exception, parser: ArgumentParser, arguments: Sequence[str] = ()) -> str:
    """Turn an error of a jsonargparse parser into one line.

    Args:
        error: what the parser raised (build it with `exit_on_error=False` and catch `argparse.ArgumentError`).
        parser: the parser that raised it; its options are the known words.
        arguments: the command line that was parsed, to name the config file that holds the fault.

    Returns:
        One line: the file or option, what is wrong with it, and the nearest right word.
    """
    fault = _deepest(_faults(str(error)))
    told = next(
        (tell(fault, match, parser) for shape, tell in _SHAPES if (match := re.search(shape, fault.text))), None
    )
    if told is None:
        told = (f"{fault.place}: " if fault.place else "") + " ".join(fault.text.split())
    return _origin(fault, told, arguments) + told


class _Fault(NamedTuple):
    """A leaf of the indented report that jsonargparse gives."""

    text: str
    place: str  # dotted key in the config, without class_path and init_args
    class_path: str  # the class whose arguments were read, "" at the top
    depth: int


def _form(word: str) -> str:
    return word.lower().replace("-", "_")


_BRANCH = re.compile(
    r"(?:Parser key \"(?P<key>[^\"]+)\"|Problem with given class_path '(?P<cls>[^']+)'):\s*(?P<rest>.*)"
)
_NOISE = re.compile(
    r"Does not validate|Subtypes: |Errors:$|Expected a <class 'NoneType'>|Given value type: |Expected a path but |$"
)


def _faults(report: str) -> list[_Fault]:
    """Read the report: branches name a key or a class and are indented less than the faults found under them."""
    if not _BRANCH.search(report):
        return [_Fault(report, "", "", 0)]
    faults: list[_Fault] = []
    branch: list[tuple[int, str, str]] = []  # (indent, key, class path) from the top to the current line
    for line in filter(str.strip, report.splitlines()):
        text = line.lstrip(" -")
        indent = len(line) - len(text)
        while branch and branch[-1][0] >= indent:
            branch.pop()
        if match := _BRANCH.match(text):
            branch.append((indent, match["key"] or "", match["cls"] or ""))
            text = match["rest"]
        place = ".".join(key for _, key, _ in branch if key)
        class_path = next((path for _, _, path in reversed(branch) if path), "")
        if text.startswith("Given value: "):
            faults = [
                _with_value(each, text.removeprefix("Given value: ")) if each.place == place else each
                for each in faults
            ]
        elif not _NOISE.match(text):
            faults.append(_Fault(text, place, class_path, len(branch)))
    return faults


def _with_value(fault: _Fault, value: str) -> _Fault:
    if fault.text.startswith("Expected a ") and "Got value: " not in fault.text:
        return fault._replace(text=f"{fault.text}. Got value: {value}")
    return fault


def _deepest(faults: list[_Fault]) -> _Fault:
    """The other faults are only other readings of the same value, refused nearer to the top."""
    deepest = max(fault.depth for fault in faults)
    deep = [fault for fault in faults if fault.depth == deepest]
    named = [fault for fault in deep if not fault.text.startswith("Expected a ")]
    if named:
        return named[0]
    kinds = dict.fromkeys(re.sub(r"\. Got value: .*", "", fault.text.removeprefix("Expected a ")) for fault in deep)
    value = re.search(r"Got value: (.*)", deep[0].text)
    return deep[0]._replace(text=f"Expected a {' | '.join(kinds)}. Got value: {value[1] if value else '?'}")


def _unknown_key(fault: _Fault, match: re.Match, parser: ArgumentParser) -> str:
    if fault.class_path:
        owner = f"{fault.place} ({fault.class_path.rpartition('.')[2]})"
        key = match[1].partition(".")[0]
        return f"unknown key '{key}' in {owner}{suggestion(key, _parameters(fault.class_path))}"
    group = re.search(r"Group '([^']+)'", fault.text)
    full_key = f"{group[1]}.{match[1]}" if group else match[1]
    above, key, known = _first_unknown(full_key, _destinations(parser))
    return f"unknown key '{key}'{' in ' + above if above else ''}{suggestion(key, known)}"


def _unknown_option(fault: _Fault, match: re.Match, parser: ArgumentParser) -> str:
    option = match[1].split("=")[0]
    if not option.startswith("-"):
        takers = [each for each in ("input", "config") if each in _destinations(parser)]
        return (
            f"unexpected argument '{option}': every value follows its option, as in --{[*takers, 'option'][0]} {option}"
        )
    above, key, known = _first_unknown(option.lstrip("-"), _destinations(parser))
    prefix = f"--{above}." if above else "--"
    return f"unknown option {option}{suggestion(prefix + key, [prefix + each for each in known])}"


def _wrong_value(fault: _Fault, match: re.Match, parser: ArgumentParser) -> str:
    kinds, value = match[1], match[2]
    literals = [
        str(each) for group in re.findall(r"Literal\[([^\]]*)\]", kinds) for each in ast.literal_eval(f"[{group}]")
    ]
    words = literals + [_KINDS.get(each, each) for each in re.findall(r"<class '([^']+)'>", kinds)]
    near = nearest(value, literals)
    hint = f"; did you mean '{near}'?" if near else ""
    if near and len(words) > 4:
        return f"{_as_option(fault.place, parser)}: unknown value {value}{hint}"
    expected = f"one of {', '.join(words)}" if len(words) > 2 else " or ".join(words) or kinds
    return f"{_as_option(fault.place, parser)}: expected {expected}, got {value}{hint}"


def _no_class_path(fault: _Fault, match: re.Match, parser: ArgumentParser) -> str:
    return f"{_as_option(fault.place, parser)}: expected a class path such as package.module.Class, got {match[1]}"


def _unknown_class(fault: _Fault, match: re.Match, parser: ArgumentParser) -> str:
    module, name = match[1], match[2]
    classes = [key for key, value in vars(import_module(module)).items() if inspect.isclass(value)]
    return f"{fault.place}: there is no {module}.{name}{suggestion(name, [*classes, *_submodules(module)])}"


def _unknown_module(fault: _Fault, match: re.Match, parser: ArgumentParser) -> str:
    above, _, name = match[1].rpartition(".")
    return f"{fault.place}: there is no {match[1]}{suggestion(name, _submodules(above) if above else [])}"


def _submodules(package: str) -> list[str]:
    return [each.name for each in iter_modules(getattr(import_module(package), "__path__", []))]


def _unknown_choice(fault: _Fault, match: re.Match, parser: ArgumentParser) -> str:
    where = "command" if match[1] == "subcommand" else match[1]
    choices = [each.strip(" '") for each in match[3].split(",")]
    return f"unknown {where} '{match[2]}'{suggestion(match[2], choices)}"


def _missing_option(fault: _Fault, match: re.Match, parser: ArgumentParser) -> str:
    keys = [re.sub(r"^(fit|validate|test|predict)\.", "", each.strip()) for each in match[1].split(",")]
    options = " and ".join(f"--{key}" for key in keys)
    return f"{options} must be given{', here or in a --config file' if 'config' in _destinations(parser) else ''}"


def _missing_value(fault: _Fault, match: re.Match, parser: ArgumentParser) -> str:
    return f"{match[1].split('/')[0]} needs a value"


def _bad_yaml(fault: _Fault, match: re.Match, parser: ArgumentParser) -> str:
    lines = re.findall(r"line (\d+)", fault.text)
    said = [line.strip() for line in match[1].splitlines()]
    reason = next((line for line in said if not re.match(r"while |in \"", line)), said[0])
    return f"not valid YAML{' near line ' + lines[-1] if lines else ''}: {reason}"


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "dict": "keys and values",
}

_COMMAND_LINE = "unrecognized arguments|arguments are required|is required but|^argument "

_SHAPES: tuple[tuple[str, Callable[[_Fault, re.Match, ArgumentParser], str]], ...] = (
    (r"[Oo]ption '([^']+)' is not accepted", _unknown_key),
    (r"does not accept option '([^']+)'", _unknown_key),
    (r"unrecognized arguments: (\S+)", _unknown_option),
    (r"Expected a dot import path string: (\S*?)[.]? ", _no_class_path),
    (r"Expected a (.+?)\. Got value: (.*)", _wrong_value),
    (r"module '([^']+)' has no attribute '([^']+)'", _unknown_class),
    (r"No module named '([^']+)'", _unknown_module),
    (r"argument (\S+): invalid choice: '([^']*)' \(choose from (.*)\)", _unknown_choice),
    (r"the following arguments are required: (.*)", _missing_option),
    (r'Key "([^"]+)" is required', _missing_option),
    (r"argument (\S+): expected (?:one|at least one) argument", _missing_value),
    (r"(?s)Problems parsing config: (.*)", _bad_yaml),
)


def _parameters(class_path: str) -> list[str]:
    """The arguments of a class, those that it hands on to its parents through **kwargs included."""
    from jsonargparse import ArgumentParser as TypedParser

    module, _, name = class_path.rpartition(".")
    try:
        return TypedParser().add_class_arguments(getattr(import_module(module), name), fail_untyped=False)
    except (ImportError, AttributeError, ValueError):
        return []


def _destinations(parser: ArgumentParser) -> list[str]:
    """Every dotted key that the parser or one of its subcommands knows."""
    found = []
    for action in parser._actions:
        found += [option[2:] for option in action.option_strings if option.startswith("--")] or [action.dest]
        if isinstance(action.choices, dict):
            found += [key for each in action.choices.values() for key in _destinations(each)]
    return [each for each in dict.fromkeys(found) if not each.endswith(".help")]


def _first_unknown(key: str, known: Iterable[str]) -> tuple[str, str, list[str]]:
    """Split a dotted key at its first unknown word: what stands above it, the word, the words that may stand there."""
    above: list[str] = []
    heads = [each.split(".") for each in known]
    for word in key.split("."):
        level = len(above)
        heads = [each for each in heads if len(each) > level]
        if all(each[level] != word for each in heads):
            return ".".join(above), word, list(dict.fromkeys(each[level] for each in heads))
        heads = [each for each in heads if each[level] == word]
        above.append(word)
    return ".".join(above[:-1]), above[-1], []


def _as_option(place: str, parser: ArgumentParser) -> str:
    """Name a top-level option as it is typed, and a nested key as it stands in the config."""
    return f"--{place}" if place in _destinations(parser) and "." not in place else place


def _origin(fault: _Fault, told: str, arguments: Sequence[str]) -> str:
    """Name the config file that holds the faulty word, as "file: "; "" where the command line itself holds it."""
    if re.search(_COMMAND_LINE, fault.text):
        return ""
    files = [path for path in map(Path, config_files(arguments)) if path.is_file()]
    if "Problems parsing config" in fault.text:
        return next((f"{path}: " for path in files if not _is_yaml(path)), "")
    unknown = re.match(r"unknown key '([^']+)'", told)
    word = re.escape(unknown[1] if unknown else fault.place.rpartition(".")[2])
    if any(re.match(rf"--([\w.]+\.)?{word}(=|$)", each) for each in arguments):
        return ""
    return next((f"{path}: " for path in reversed(files) if re.search(rf"\b{word}['\"]?\s*:", path.read_text())), "")


def config_files(arguments: Sequence[str]) -> list[str]:
    """The values of --config (or -c) on a command line, in order."""
    following = [value for option, value in pairwise(arguments) if option in ("--config", "-c")]
    return following + [each.removeprefix("--config=") for each in arguments if each.startswith("--config=")]


def _is_yaml(path: Path) -> bool:
    import yaml

    try:
        yaml.safe_load(path.read_text())
    except yaml.YAMLError:
        return False
    return True
