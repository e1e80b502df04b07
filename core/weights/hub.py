"""Published weights come from a hub, or from its cache on this machine where the hub does not answer."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 5.0  # seconds for an answer of the hub


@contextmanager
def hub_or_cache() -> Iterator[None]:
    """Let the hub's client look into its cache alone where the hub does not answer; it would try for a minute.

    Raises:
        ConnectionError: what was asked for is in neither.
    """
    from huggingface_hub import constants

    answers, before = _answers(constants.ENDPOINT), constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not answers
    try:
        yield
    except OSError as error:
        if answers:
            raise
        raise ConnectionError("the hub does not answer, and its cache does not hold them") from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        return True  # an answer all the same
    except OSError:
        return False
    return True
