"""Triton's interpreter without what it does in vain, in half the time: pytest's option `-p interpreter`.

It computes every sum and product of integers a second time for a check that it drops unless it debugs, and it patches
the language again for every function that a kernel calls.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from triton import language
from triton.runtime import interpreter

BUILDER = interpreter.interpreter_builder
BUILDER.options = replace(BUILDER.options, sanitize_overflow=BUILDER.options.debug)
patch = interpreter._patch_lang


def patched_once(function: Callable[..., Any]) -> Any:
    """Patch what a kernel sees of the language; what the kernel calls finds it patched, but for parts of its own."""
    seen = [each for each in (language, language.core) if any(each is value for value in function.__globals__.values())]
    return patch(function) if any(language.core.is_builtin(each.load) for each in seen) else None


interpreter._patch_lang = patched_once
