"""The token mixers of the attention library by name, built for a map of a given size."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from torch import nn

from .. import attention
from ..errors import UserError
from ..messages import suggestion

REPRESENTATIVE = {
    2: (
        *("dense", "window", "neighborhood", "cross_shaped", "bilevel", "hilo", "agent", "super_token"),
        *("focused_linear", "efficient", "nystrom", "linformer", "softmax_free", "cross_covariance", "channel_groups"),
        *("global_filter", "additive", "single_head", "mixture_of_heads", "large_kernel", "dynamic"),
    ),
    3: (
        *("dense", "window", "volume_groups", "neighborhood", "bilevel", "hilo", "agent"),
        *("super_token", "focused_linear", "efficient", "nystrom", "linformer", "softmax_free", "cross_covariance"),
        *("channel_groups", "global_filter", "additive", "single_head", "mixture_of_heads", "large_kernel"),
    ),
}
"""One mixer of every family, for maps and for volumes."""

MAP_SIDE, VOLUME_SIDE = 7, 4
"""Tokens along a window of a map and of a volume: 49 and 64 in all."""


def find_mixer(name: str) -> type[nn.Module]:
    """Return the class of a mixer.

    Args:
        name: a file of `core/attention` ("window"), a class of it ("WindowAttention"), or the path of any class, such
            as "package.module.Class".

    Raises:
        UserError: there is none; the nearest name is suggested.
    """
    if "." in name:
        return _imported(name)
    files = [each.name for each in iter_modules(attention.__path__)]
    if name in files:
        return _main_class(name)
    classes = {each.__name__: each for file in files for each in _classes(file)}
    if name not in classes:
        raise UserError(f"--mixers: there is no mixer '{name}'{suggestion(name, [*files, *classes])}")
    return classes[name]


def short_name(mixer: type[nn.Module]) -> str:
    """Return the file's name where the class is the one that it is about, or else the class's."""
    package, _, file = mixer.__module__.rpartition(".")
    return file if package == attention.__name__ and _main_class(file) is mixer else mixer.__name__


def takes_channels_first(mixer: type[nn.Module]) -> bool:
    """Tell whether a mixer takes (B, C, *spatial), as its docstring says under "Shape"; if not, (B, *spatial, C)."""
    return re.search(r"Shape:[^(]*\([BN], C\b", mixer.__doc__ or "") is not None


def build(mixer: type[nn.Module], dimension: int, side: int, dim: int, heads: int) -> nn.Module:
    """Build a mixer for a map: its size, its axes and its width are filled in where the constructor asks for them.

    Args:
        mixer: its class.
        dimension: spatial axes of the map.
        side: tokens along each axis.
        dim: channels.
        heads: attention heads.

    Raises:
        ValueError: the constructor needs something else, or refuses these numbers.
    """
    known = {
        "dim": dim,
        "heads": heads,
        **dict.fromkeys(("spatial_dims", "axes"), dimension),
        **dict.fromkeys(("size", "resolution"), (side,) * dimension),
        **dict.fromkeys(("length", "tokens"), side**dimension),
        "group": (VOLUME_SIDE,) * dimension,
        "ratio": max(side // (MAP_SIDE if dimension == 2 else VOLUME_SIDE), 1),  # as many means as a window has tokens
        "attended": dim // 4,
        "shared": heads // 4,  # with those active three heads of four, as published
        "active": heads // 2,
    }
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(mixer).parameters.items():
        if name in known:
            arguments[name] = known[name]
        elif name in ("window", "kernel", "cell") and isinstance(parameter.default, tuple) and dimension != 2:
            arguments[name] = (min(parameter.default[0], VOLUME_SIDE),) * dimension
        elif parameter.default is parameter.empty:
            raise ValueError(f"needs {name}, which a comparison of mixers of one map does not know")
    return mixer(**arguments)


def _imported(path: str) -> type[nn.Module]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except (ImportError, TypeError, ValueError) as error:  # TypeError of "./x.py", ValueError of ".X"
        raise UserError(f"--mixers {path}: {error}; give the path of a class, such as package.module.Class") from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UserError(f"--mixers {path}: is no module class; give the path of one, such as package.module.Class")
    return found


def _classes(file: str) -> list[type[nn.Module]]:
    module = import_module(f"{attention.__name__}.{file}")
    own = (each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__)
    return [each for each in own if isinstance(each, type) and issubclass(each, nn.Module)]


def _main_class(file: str) -> type[nn.Module]:
    """Return what a file is about: its first class that is called an attention, or else its first module class."""
    classes = _classes(file)
    if not classes:
        raise UserError(f"--mixers {file}: holds no mixer")
    return next((each for each in classes if each.__name__.endswith("Attention")), classes[0])
