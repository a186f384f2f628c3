"""Handlers of calls that stand in for others of the same form: coroutines, functions, generators of both kinds."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry.context import Context

from obskit.tracing.current import attach, detach

Over = Callable[[Any], AbstractContextManager[None]]
"""Takes the context that the server gives to a handler; returns what surrounds the handler's work."""


def watched(inner: Any, streams: bool, over: Over, context: Context) -> Any:
    """Return a handler that does what ``inner`` does, surrounded by what ``over`` returns.

    A plain function, which runs in a thread of a pool, does so in ``context``; one that ``streams`` gives an iterator.
    """
    if inspect.isasyncgenfunction(inner):
        return _async_generator(inner, over)
    if inspect.iscoroutinefunction(inner):
        return _coroutine(inner, over)
    return _generator(inner, over, context) if streams else _function(inner, over, context)


def _async_generator(inner: Any, over: Over) -> Any:
    async def generate(request: Any, given: Any) -> AsyncIterator[Any]:
        with over(given):
            async for response in inner(request, given):
                yield response

    return generate


def _coroutine(inner: Any, over: Over) -> Any:
    async def respond(request: Any, given: Any) -> Any:
        with over(given):
            return await inner(request, given)

    return respond


def _function(inner: Any, over: Over, context: Context) -> Any:
    def respond(request: Any, given: Any) -> Any:
        token = attach(context)
        try:
            with over(given):
                return inner(request, given)
        finally:
            detach(token)

    return respond


def _generator(inner: Any, over: Over, context: Context) -> Any:
    def generate(request: Any, given: Any) -> Iterator[Any]:
        with over(given):
            yield from _steps(inner, request, given, context)

    return generate


def _steps(inner: Any, request: Any, given: Any, context: Context) -> Iterator[Any]:
    """Give what ``inner`` gives, with ``context`` current at each step, and none of it left to the thread between."""
    responses = None
    while True:
        token = attach(context)
        try:
            responses = iter(inner(request, given)) if responses is None else responses
            response = next(responses)
        except StopIteration:
            return
        finally:
            detach(token)
        yield response
