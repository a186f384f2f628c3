"""``with span(...)`` and ``@span(...)``: a span that is current for a block, or for each call of a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.tracing.current import (
    LIFE_KEY,
    SPAN_KEY,
    SUPPRESS_KEY,
    AnySpan,
    attach,
    detach,
    living,
    stored_context,
)
from obskit.tracing.propagated import NOOP_SPAN

if TYPE_CHECKING:
    from obskit.tracing.tracer import Tracer

F = TypeVar("F", bound=Callable[..., Any])


Start = Callable[[Context], AnySpan]
"""Starts a span in a context."""

End = Callable[[AnySpan, BaseException | None], None]
"""Ends a span after the block it was current in, with what the block raised."""


class SpanScope:
    """A span that is not started yet. Enter it, or decorate a function with it.

    As a decorator it makes a span for each call: of a function or coroutine until it returns, of a generator (also
    asynchronous) until it is over, current only while the generator's own code runs.
    """

    __slots__ = ("_end", "_span", "_start", "_token")

    def __init__(self, start: Start, end: End) -> None:
        self._start = start
        self._end = end
        self._token: Token[Context] | None = None
        self._span: AnySpan = NOOP_SPAN

    def begin(self) -> tuple[AnySpan, Context]:
        """Start the span; return it, and the context in which it is current."""
        context = stored_context()
        if LIFE_KEY in context:
            context = living(context)
        span = self._start(context)
        return span, context if span is NOOP_SPAN else Context({**context, SPAN_KEY: span})

    def __enter__(self) -> AnySpan:
        self._span, context = self.begin()
        self._token = attach(context)
        return self._span

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            detach(self._token)
        self._end(self._span, exc)

    def __call__(self, function: F) -> F:
        """Return ``function``, a span around each call."""
        wrapper: Callable[..., Any]
        if inspect.iscoroutinefunction(function):

            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

        elif inspect.isasyncgenfunction(function):

            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return _async_generator(self, function(*args, **kwargs))

        elif inspect.isgeneratorfunction(function):

            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return _generator(self, function(*args, **kwargs))

        else:

            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return function(*args, **kwargs)

        return functools.wraps(function)(wrapper)  # type: ignore[return-value]

    def _again(self) -> SpanScope:
        return SpanScope(self._start, self._end)


def child_scope(tracer: Tracer, name: str, tags: dict[str, Any]) -> SpanScope:
    """Return a child of the current span whose ``error`` tag is the exception that leaves the block."""

    def start(context: Context) -> AnySpan:
        if context.get(SUPPRESS_KEY):
            return NOOP_SPAN
        return tracer.start_with(name, SpanKind.INTERNAL, context.get(SPAN_KEY), tags)

    return SpanScope(start, _end_with_error_tag)


def _end_with_error_tag(span: AnySpan, error: BaseException | None) -> None:
    """End the span; leaving early (GeneratorExit) is no error."""
    if error is not None and not isinstance(error, GeneratorExit):
        span.error(error)
    span.end()


def _generator(scope: SpanScope, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    span, context = scope.begin()
    step: Callable[[], Any] = functools.partial(next, inner)
    error: BaseException | None = None
    try:
        while True:
            token = attach(context)
            try:
                value = step()
            except StopIteration as stop:
                return stop.value
            finally:
                detach(token)
            try:
                step = functools.partial(inner.send, (yield value))
            except GeneratorExit:
                inner.close()
                raise
            except BaseException as thrown:
                step = functools.partial(inner.throw, thrown)
    except BaseException as raised:
        error = raised
        raise
    finally:
        scope._end(span, error)


async def _async_generator(scope: SpanScope, inner: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    span, context = scope.begin()
    step: Callable[[], Any] = inner.__anext__
    error: BaseException | None = None
    try:
        while True:
            token = attach(context)
            try:
                value = await step()
            except StopAsyncIteration:
                return
            finally:
                detach(token)
            try:
                step = functools.partial(inner.asend, (yield value))
            except GeneratorExit:
                await inner.aclose()
                raise
            except BaseException as thrown:
                step = functools.partial(inner.athrow, thrown)
    except BaseException as raised:
        error = raised
        raise
    finally:
        scope._end(span, error)
