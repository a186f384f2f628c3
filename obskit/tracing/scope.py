"""``with span(...)`` and ``@span(...)``: a span that is current for a block, or for each call of a function."""

from __future__ import annotations

import functools
import inspect
import logging
import types
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.base.failures import tell
from obskit.base.records import NamedTuple
from obskit.base.stand_in import stand_in
from obskit.tracing.current import (
    LIFE_KEY,
    SPAN_KEY,
    AnySpan,
    attach,
    detach,
    living,
    reset,
    stored_context,
)
from obskit.tracing.entry import ENTRY_KEY, Entry, entry_of
from obskit.tracing.propagated import NOOP_SPAN

if TYPE_CHECKING:
    from obskit.tracing.tracer import Given, Tracer

F = TypeVar("F", bound=Callable[..., Any])


class Ending(NamedTuple):
    """What becomes of a span after its block, as OpenTelemetry's options say."""

    records_exception: bool = True
    sets_status: bool = True
    ends: bool = True


_AS_USUAL = Ending()


class SpanScope(Entry):
    """Makes a span each time that it is entered, and for each call of a function that it decorates.

    It can be kept, entered within itself, and shared by threads and tasks. As a decorator it makes a span for each
    call: of a function or coroutine until it returns, of a generator (also asynchronous) until it is over, current
    only while the generator's own code runs.

    Entered once it is its own entry; each further time another scope is, which ``_again`` makes. The span is a child of
    the current one, or of that in ``parent``.
    """

    _given: Given | None = None
    _parent: Context | None = None
    _ending = _AS_USUAL
    _plain = True  # nothing was specified

    def __init__(self, tracer: Tracer, name: str, kind: SpanKind, tags: Mapping[str, Any] | None) -> None:
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._tags = tags
        self._unused = True
        self.token = None

    def specify(self, given: Given | None, parent: Context | None, ending: Ending) -> None:
        """Set what few scopes have: what else a span is given, the context it starts in, how its block ends it."""
        self._given = given
        self._parent = parent
        self._ending = ending
        self._plain = False

    def _again(self) -> SpanScope:
        scope = type(self)(self._tracer, self._name, self._kind, self._tags)
        if not self._plain:
            scope.specify(self._given, self._parent, self._ending)
        return scope

    def _start(self, context: Context) -> AnySpan:
        parent = self._parent
        context = context if parent is None else parent
        return self._tracer.start_with(self._name, self._kind, self._tags, self._given, context)

    def _end(self, span: AnySpan, error: BaseException | None) -> None:
        ending = self._ending
        if error is not None:
            span.fail(error, ending.records_exception, ending.sets_status)
        if ending is _AS_USUAL or ending.ends:
            span.end()

    def begin(self) -> tuple[AnySpan, Context]:
        """Start the span; return it, and the context in which it is current."""
        context = stored_context()
        if LIFE_KEY in context:
            context = living(context)
        span = self._start(context)
        return span, context if span is NOOP_SPAN else Context({**context, SPAN_KEY: span})

    def __enter__(self) -> AnySpan:
        unused, self._unused = self._unused, False  # no other thread comes between, as in ``Pipeline.offer``
        if not unused:
            return self._enter_another()
        outer = stored_context()
        if outer and LIFE_KEY in outer:
            outer = living(outer)
        if self._plain:  # ``_start`` written out: each call takes a fiftieth of the time of all this
            span = self._tracer.start_with(self._name, self._kind, self._tags, None, outer)
        else:
            span = self._start(outer)
        self.span = span
        self.outer = outer
        if outer or span is NOOP_SPAN:
            shown = span if span is not NOOP_SPAN else outer.get(SPAN_KEY)
            context = Context({**outer, SPAN_KEY: shown, ENTRY_KEY: self})
        else:
            context = Context({SPAN_KEY: span, ENTRY_KEY: self})
        self.context = context
        self.token = attach(context)
        return span

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        token = self.token
        if token is not None and stored_context() is self.context:
            try:
                reset(token)
            except ValueError:  # a copy of the execution context, as a task has
                self._leave_one(exc)
                return
            self.outer = self.context = self.token = None  # who keeps the context keeps nothing more
            if exc is None and self._plain:  # ``_end`` written out
                self.span.end()
            else:
                self._end(self.span, exc)
        else:
            self._leave_one(exc)

    def _enter_another(self) -> AnySpan:
        other = self._again()
        vars(self).setdefault("_others", []).append(other)  # each one step, as threads may share the scope
        return other.__enter__()

    def _leave_one(self, error: BaseException | None) -> None:
        """Leave the entry that is current here; where none of ours is, as in a generator, the latest."""
        current = stored_context()
        others: list[SpanScope] = getattr(self, "_others", [])
        entered: list[Entry] = [entry for entry in (self, *others) if entry.token is not None]
        if not entered:
            return
        found = entry_of(current)
        entry = found if found is not None and found in entered else entered[-1]
        entry.leave(current)
        if entry is not self:
            others.remove(entry)  # type: ignore[arg-type]
        self._end(entry.span, error)

    def __call__(self, function: F) -> F:
        """Return ``function``, a span around each call."""
        if isinstance(function, classmethod | staticmethod):
            return type(function)(self(function.__func__))
        if isinstance(function, property):
            return function.getter(self(function.fget))
        if isinstance(function, functools.cached_property | functools.partialmethod):
            function.func = self(function.func)
            return function
        if isinstance(function, type):  # a class stays one: a function in its place is no type to anybody
            tell(logging.WARNING, "No span is made of class %s: decorate its methods instead", function.__qualname__)
            return function
        call: Callable[..., Any]
        if _is(inspect.iscoroutinefunction, function):

            async def call(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

        elif _is(inspect.isasyncgenfunction, function):
            call = _async_generator(self, function)
        elif _is(inspect.isgeneratorfunction, function):

            def call(*args: Any, **kwargs: Any) -> Any:
                return _generator(self, function(*args, **kwargs))

            if function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE:  # types.coroutine: for ``await``
                return functools.wraps(function)(types.coroutine(call))  # type: ignore[return-value]

        else:

            def call(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return function(*args, **kwargs)

        return stand_in(function, call)  # type: ignore[no-any-return]


def name_of(function: Any) -> str:
    """Return the name that a span of a function has which was given none, or of what is made of a function."""
    function = getattr(function, "fget", None) or getattr(function, "func", None) or function
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]


def _is(kind: Callable[[object], bool], function: object) -> bool:
    """Return whether a function, or an object with ``__call__``, is of a ``kind`` that inspect knows."""
    return kind(function) or kind(inspect.getattr_static(type(function), "__call__", None))


class ChildScope(SpanScope):
    """Children of the current span, whose ``error`` tag is the exception that leaves the block."""

    def _end(self, span: AnySpan, error: BaseException | None) -> None:
        """End the span; leaving early (GeneratorExit) is no error."""
        if error is not None and not issubclass(type(error), GeneratorExit):  # isinstance may ask the error itself
            span.error(error)
        span.end()

    def made_of(self) -> tuple[str, SpanKind, Any]:
        """Return name, kind and tags, of which another process makes the same scope with a tracer of its own."""
        return self._name, self._kind, self._tags


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
                token = attach(context)
                try:
                    inner.close()
                finally:
                    detach(token)
                raise
            except BaseException as thrown:
                step = functools.partial(inner.throw, thrown)
    except BaseException as raised:
        error = raised
        raise
    finally:
        scope._end(span, error)


def _attach(context: Context) -> Token[Context]:
    """Make ``context`` current; a function, because pickle would take the method of a variable apart."""
    return attach(context)


def _async_generator(scope: SpanScope, function: Callable[..., AsyncGenerator[Any, Any]]) -> Callable[..., Any]:
    async def generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        inner = function(*args, **kwargs)
        span, context = scope.begin()
        step: Callable[[], Any] = inner.__anext__
        error: BaseException | None = None
        try:
            while True:
                token = _attach(context)
                try:
                    value = await step()
                except StopAsyncIteration:
                    return
                finally:
                    detach(token)
                try:
                    step = functools.partial(inner.asend, (yield value))
                except GeneratorExit:
                    token = _attach(context)
                    try:
                        await inner.aclose()
                    finally:
                        detach(token)
                    raise
                except BaseException as thrown:
                    step = functools.partial(inner.athrow, thrown)
        except BaseException as raised:
            error = raised
            raise
        finally:
            scope._end(span, error)

    return generator
