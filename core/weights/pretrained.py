"""Weights that a network starts from but for its classifier: of a file, or the published ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import shorten

from torch import Tensor, nn

from ..errors import UserError
from .adapters import fill, unwrap
from .files import file_format, read_checkpoint, read_safetensors
from .hub import hub_or_cache


def fill_pretrained(
    net: nn.Module, classifier: str, source: str | Path | None, download: Callable[[], nn.Module]
) -> None:
    """Fill a network with weights that know other classes; its classifier, if it has one, stays.

    Args:
        net: the network.
        classifier: how the names of the classifier's weights begin.
        source: a file of weights by the network's names, or None to download.
        download: builds the same network with its published weights.

    Raises:
        UserError: the weights cannot be had, or do not fit.
    """
    found = read_state(Path(source)) if source else _published(download)
    own = {name: value for name, value in net.state_dict().items() if name.startswith(classifier)}
    try:
        fill(net, {name: value for name, value in found.items() if not name.startswith(classifier)} | own)
    except UserError as error:
        raise UserError(f"{source or 'published weights'}: {error}") from None


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file of weights by the names that they have there.

    Raises:
        UserError: there is no such file, or it holds no weights.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")
    return unwrap(read_safetensors(path)[0] if file_format(path) == "safetensors" else read_checkpoint(path))


def _published(download: Callable[[], nn.Module]) -> dict[str, Tensor]:
    try:
        with hub_or_cache():
            return download().state_dict()
    except Exception as error:  # whatever the network, the hub or the disk did
        reason = shorten(" ".join(str(error).split()), 160, placeholder=" ...")
        raise UserError(
            f"the published weights cannot be downloaded ({reason}); give a file, or null to begin from nothing."
        ) from error
