"""Wrappers of the same kind as what they wrap (function, coroutine function, generator), as ``inspect`` sees them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import CodeType, FunctionType, MethodDescriptorType
from typing import Any

_METHODS = (FunctionType, MethodDescriptorType, classmethod, staticmethod)
_COROUTINE = "async def stand_in({parameters}): return await {call}({arguments})"
_PUNCTUATION = str.maketrans("", "", "*=")
_GENERATOR = "def stand_in({parameters}): return (yield from {call}({arguments}))"


def stand_in(function: Any, call: Callable[..., Any]) -> Any:
    """Return a function of the same kind and signature as ``function`` that returns ``call(*args, **kwargs)``.

    For a coroutine function ``call`` returns an awaitable, for a generator function an iterator. Both run later, so the
    stand-in has the parameters of ``function``: a call with wrong ones raises at once, by which servers distinguish an
    application from its factory.
    """
    form = _COROUTINE if inspect.iscoroutinefunction(function) else _GENERATOR
    if form is _GENERATOR and not inspect.isgeneratorfunction(function):
        return _with_methods(function, functools.wraps(function)(call))
    like = function if inspect.isfunction(function) else call
    made = _compiled(form, like.__code__, call)
    made.__defaults__, made.__kwdefaults__ = like.__defaults__, like.__kwdefaults__
    return functools.wraps(function)(made)


def _with_methods(function: Any, made: Any) -> Any:
    """Return ``made`` with what an object has that it stands for: ``cache_clear`` of an lru_cache, constants."""
    if not inspect.isfunction(function):
        for name in dir(type(function)):
            method = inspect.getattr_static(type(function), name, None)  # asks no property
            constant = not hasattr(type(method), "__get__")
            if not name.startswith("_") and (constant or isinstance(method, _METHODS)):
                setattr(made, name, getattr(function, name))
    return made


def _compiled(form: str, code: CodeType, call: Callable[..., Any]) -> Any:
    """Compile ``form`` with the parameters of ``code``, whose defaults are no part of the text."""
    names = iter(code.co_varnames)
    plain = [next(names) for _ in range(code.co_argcount)]
    keyword = [next(names) for _ in range(code.co_kwonlyargcount)]
    starred = [f"*{next(names)}"] if code.co_flags & inspect.CO_VARARGS else []
    double = [f"**{next(names)}"] if code.co_flags & inspect.CO_VARKEYWORDS else []
    only = code.co_posonlyargcount
    slash, star = ["/"] if only else [], ["*"] if keyword and not starred else []
    parameters = [*plain[:only], *slash, *plain[only:], *starred, *star, *keyword, *double]
    arguments = [*plain, *starred, *(f"{name}={name}" for name in keyword), *double]
    name = "call_" + "_".join(arguments).translate(_PUNCTUATION)  # longer than each of theirs
    space = {name: call}
    text = form.format(parameters=", ".join(parameters), call=name, arguments=", ".join(arguments))
    exec(compile(text, "<obskit>", "exec"), space)
    return space["stand_in"]
