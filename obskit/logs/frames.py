"""Hides obskit's frames between a log call and the application's filters, formatters and record factories."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., Any])


def like_loggings(function: _F) -> _F:
    """Return a copy of ``function`` whose frames look like logging's own.

    Code that searches for the caller of a log call skips such frames, by their file (``stacklevel=``) or by their
    module's name (structlog). The copy sees the globals that its module has now.
    """
    code = function.__code__.replace(co_filename=str(logging._srcfile))
    names = {**function.__globals__, "__name__": logging.__name__}
    twin = FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    twin.__kwdefaults__, twin.__doc__ = function.__kwdefaults__, function.__doc__
    return cast("_F", twin)
