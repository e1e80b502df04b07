"""Foveal: attention-based imaging for people who must trust what comes out.

    import foveal

    network = foveal.load_model("dlgsanet-tiny-x4")
    larger = foveal.predict(network, "photograph.png")

The names load on first use, so `import foveal` itself is light and does not import PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.inference.predict import predict
    from .core.weights.load import load_model, load_reference

__version__ = "0.1.0"
__all__ = ["__version__", "load_model", "load_reference", "predict"]

_HOMES = {
    "load_model": ".core.weights.load",
    "load_reference": ".core.weights.load",
    "predict": ".core.inference.predict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
