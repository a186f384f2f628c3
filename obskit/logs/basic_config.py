"""Runs ``logging.basicConfig`` and similar functions as if obskit's root handler were not there.

They do nothing, or something else, if the root logger has a handler already. Their code object is replaced rather than
their name in ``logging``, as programs import them by name before they call ``obskit.init()``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FunctionType
from typing import Any


def _stand_in(*args: Any, obskit_call: Any = None, **kwargs: Any) -> Any:
    return obskit_call(*args, **kwargs)


def run_within(function: Any, around: Callable[[], AbstractContextManager[object]]) -> Callable[[], None]:
    """Run each call of ``function`` within ``around()``; return a function that undoes this."""
    code, defaults = function.__code__, function.__kwdefaults__
    original = FunctionType(code, function.__globals__, function.__name__, function.__defaults__)
    original.__kwdefaults__ = defaults

    def call(*args: Any, **kwargs: Any) -> Any:
        with around():
            return original(*args, **kwargs)

    stand_in = _stand_in.__code__.replace(co_name=code.co_name)
    function.__code__, function.__kwdefaults__ = stand_in, {"obskit_call": call}

    def undo() -> None:
        if function.__code__ is stand_in:
            function.__code__, function.__kwdefaults__ = code, defaults

    return undo
