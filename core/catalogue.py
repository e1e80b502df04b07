"""What this installation holds: apps, networks, configs and weights. Reads files and imports none of them."""

import ast
import json
import struct
from collections.abc import Sequence
from pathlib import Path

from .errors import UserError
from .messages import suggestion
from .weights.card import Card
from .weights.shipped import shipped_weights

ROOT = Path(__file__).parents[1]


def apps() -> dict[str, str]:
    """Return {name: summary} of the apps, each a folder of `apps` with a `__main__.py`."""
    return {
        path.parent.name: summary(path.with_name("__init__.py")) for path in sorted(ROOT.glob("apps/*/__main__.py"))
    }


def find_app(text: str) -> str:
    """Return the name of the app that is given by name or by folder ("superres", "apps/superres", "./apps/superres/").

    Raises:
        UserError: there is no such app; the nearest name is suggested.
    """
    path = Path(text)
    name = path.name if path.parent.name in ("apps", "") else text
    if name not in apps():
        raise UserError(f"no app '{text}'{suggestion(name, apps())}")
    return name


def commands(app: str) -> dict[str, str]:
    """Return {name: summary} of the commands that an app alone has: what its `__init__.py` calls COMMANDS."""
    module = ast.parse((ROOT / "apps" / app / "__init__.py").read_text(encoding="utf-8"))
    named = (node for node in module.body if isinstance(node, ast.Assign) and node.targets[0].id == "COMMANDS")
    return next((ast.literal_eval(node.value) for node in named), {})


def networks(app: str) -> dict[str, str]:
    """Return {name: summary} of the networks of an app, one for each file of its `models` folder."""
    files = sorted((ROOT / "apps" / app / "models").glob("[!_]*.py"))
    return {path.stem: summary(path) for path in files if not path.stem.endswith("_adapter")}


def configs() -> dict[str, Path]:
    """Return {"configs/<app>/<name>.yaml": file} of the configs that come with the package."""
    return {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.glob("configs/*/*.yaml"))}


def cards() -> list[Card]:
    """Return the cards of the weights that come with the package."""
    return [_card(path) for path in shipped_weights().values()]


def find_config(text: str) -> Path:
    """Return the config file of this path, or the package's own where `configs/...` is not in the working directory.

    Raises:
        UserError: there is no such file; the nearest name is suggested.
    """
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"{text}: is a folder; give a config file inside it")
    shipped = configs()
    if path.as_posix() in shipped:
        return shipped[path.as_posix()]
    beside = [str(each) for each in sorted(path.parent.glob("*.yaml"))]
    raise UserError(f"{text}: no such config file{suggestion(text, [*beside, *shipped])}")


def settle_configs(arguments: Sequence[str]) -> list[str]:
    """Replace the value of every --config (or -c) in a command line by the file that `find_config` finds."""
    settled: list[str] = []
    for argument in arguments:
        if settled and settled[-1] in ("--config", "-c"):
            argument = str(find_config(argument))
        elif argument.startswith("--config="):
            argument = f"--config={find_config(argument.removeprefix('--config='))}"
        settled.append(argument)
    return settled


def with_bases(arguments: Sequence[str]) -> list[str]:
    """Put before every config of a command line the config that it names under `base`.

    That is a path from the folder of the config, or "configs/..." for one of the package.
    """
    layered: list[str] = []
    for option, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if option in ("--config", "-c"):
            layered += _base_layers(Path(value))
        elif option.startswith("--config="):
            layered += _base_layers(Path(option.removeprefix("--config=")))
        layered.append(option)
    return layered


def _base_layers(config: Path, built: tuple[Path, ...] = ()) -> list[str]:
    """Return the options for what a config builds on; `built` are the files that build on it."""
    import yaml

    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"{config}: is no text in UTF-8; a config is a YAML file.") from None
    except (OSError, ValueError, yaml.YAMLError):
        return []  # the parser tells what is wrong with the file
    base = content.get("base") if isinstance(content, dict) else None
    if base is None:
        return []
    path = config.parent / str(base)
    if not path.is_file():
        path = configs().get(str(base), path)
    if not path.is_file():
        raise UserError(
            f"{config}: base {base} is not there; give a path from the folder of {config.name}, or a config of the "
            "package such as configs/superres/demo_x2.yaml"
        )
    built = (*built, config.resolve())
    if path.resolve() in built:
        raise UserError(f"{config}: base {base} is this config itself, or builds on it; give another.")
    return [*_base_layers(path, built), "--config", str(path)]


def summary(path: Path) -> str:
    """Return the first line of a Python file's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def _card(path: Path) -> Card:
    """Read the card out of the header of a safetensors file: 8 bytes of length, then that much JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return Card.from_json(header["__metadata__"]["card"], source=path)
