"""Published weights where the hub answers, and where it does not."""

import time

import pytest
from huggingface_hub import constants

from foveal.core.weights import hub

NOBODY = "http://127.0.0.1:9"


def test_a_hub_that_does_not_answer_is_told_at_once_and_its_cache_asked(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", NOBODY)
    begun, before = time.monotonic(), constants.HF_HUB_OFFLINE
    refused = pytest.raises(ConnectionError, match="the hub does not answer, and its cache does not hold them")
    with refused, hub.hub_or_cache():
        assert constants.HF_HUB_OFFLINE
        raise FileNotFoundError("not in the cache")
    assert time.monotonic() - begun < hub.PATIENCE
    assert before == constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("error", [FileNotFoundError("nothing of that name"), ValueError("no such option")])
def test_errors_that_are_not_of_the_connection_stay_as_they_are(error, monkeypatch):
    monkeypatch.setattr(hub, "_answers", lambda address: isinstance(error, OSError))
    with pytest.raises(type(error), match=str(error)), hub.hub_or_cache():
        raise error


def test_a_hub_that_answers_is_asked(monkeypatch):
    monkeypatch.setattr(hub, "_answers", lambda address: True)
    before = constants.HF_HUB_OFFLINE
    with hub.hub_or_cache():
        assert before == constants.HF_HUB_OFFLINE
