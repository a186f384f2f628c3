"""The current span, kept in the OpenTelemetry context so that every library written for it finds it.

OpenTelemetry's own runtime context is a ``ContextVar`` behind two Python calls; the variable itself is used
where it is that one (the default), and the public functions where a program configured another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace.propagation import _SPAN_KEY

from obskit.tracing.others import own_key, with_others
from obskit.tracing.propagated import NOOP_SPAN, PropagatedSpan, propagated
from obskit.tracing.span import Span

SPAN_KEY = _SPAN_KEY
SUPPRESS_KEY = otel_context._SUPPRESS_INSTRUMENTATION_KEY
FIELDS_KEY = own_key("obskit-log-fields")
LIFE_KEY = own_key("obskit-life")
AnySpan = Span | PropagatedSpan
"""One of obskit's spans: recorded, or only its propagated ids."""


stored_context: Callable[[], Context]
attach: Callable[[Context], Token[Context]]
reset: Callable[[Token[Context]], None]
"""Undoes an ``attach`` within the same call; where a generator or task may have moved in between, ``detach`` does."""

_runtime = otel_context._RUNTIME_CONTEXT
if type(_runtime) is ContextVarsRuntimeContext:
    stored_context = _runtime._current_context.get
    attach = _runtime._current_context.set
    reset = _runtime._current_context.reset
else:
    stored_context, attach, reset = otel_context.get_current, otel_context.attach, otel_context.detach


class Life:
    """How long a context is valid: until the request or call that made it ends.

    A thread, task or pool that a request starts keeps a copy of the request's context for ever. Once ``ended`` is set,
    that copy is ignored and the context ``outside`` is used. ``span`` is the first span within.
    """

    __slots__ = ("ended", "outside", "span")

    def __init__(self, span: AnySpan, outside: Context) -> None:
        self.span = span
        self.outside = outside
        self.ended = False


class UntilEnded:
    """True as long as a life has not ended: what a thread inherits of suppression."""

    __slots__ = ("_life",)

    def __init__(self, life: Any) -> None:
        self._life = life

    def __bool__(self) -> bool:
        return not self._life.ended


def inherited(context: Context) -> Context:
    """Return ``context`` as a thread gets it that starts now: suppressed while the request lasts, not for ever."""
    if LIFE_KEY not in context or not context.get(SUPPRESS_KEY):
        return context
    return Context({**context, SUPPRESS_KEY: UntilEnded(context[LIFE_KEY])})


def get_context() -> Context:
    """Return the current context, without what ended requests left in it."""
    context = stored_context()
    return living(context) if LIFE_KEY in context else context


def living(context: Context) -> Context:
    """Return ``context``, or what is left of it where the request it came from is over.

    A span that began within the request and is still open keeps all of it. One of another trace stays, be it another
    provider's or a caller's, and so do suppression and whatever others have put there: they were added since.
    """
    life: Any = context.get(LIFE_KEY)
    if life is None or not life.ended:
        return context
    span = context.get(SPAN_KEY)
    added: dict[str, Any] = {}
    if type(span) is Span:
        if span.end_ns is None:
            if span.trace_id == life.span.trace_id:
                return context
            added[SPAN_KEY] = span
    elif span is not life.span and _was_added(span, life):
        added[SPAN_KEY] = span
    if context.get(SUPPRESS_KEY):
        added[SUPPRESS_KEY] = True
    outside = with_others(living(life.outside) if life.outside else life.outside, context)
    return Context({**outside, **added}) if added else outside


def _was_added(span: Any, life: Life) -> bool:
    """Return whether a span that is none of our recorded ones was made current since: open or a caller's."""
    try:
        known = propagated(span)
        return known.trace_id not in (None, life.span.trace_id) and bool(known.remote or span.is_recording())
    except Exception:  # of another provider
        return False


def lasting(context: Context) -> Context:
    """Return ``context`` as work carries it that was handed over within a request and may be done after it."""
    return (
        Context({key: value for key, value in context.items() if key != LIFE_KEY}) if LIFE_KEY in context else context
    )


def detach(token: Token[Context]) -> bool:
    """Undo an ``attach``. In another execution context than the attaching one there is nothing to undo: False."""
    try:
        reset(token)
    except ValueError:
        return False
    return True


def with_span(span: AnySpan) -> Context:
    """Return the current context with ``span`` as its current span."""
    return Context({**get_context(), SPAN_KEY: span})


def suppressed() -> Context:
    """Return the current context marked so that nothing in it is traced."""
    return Context({**get_context(), SUPPRESS_KEY: True})


def current_span() -> AnySpan:
    """Return the current span, or one that does nothing (also where another provider's span is current)."""
    span = get_context().get(SPAN_KEY)
    return span if isinstance(span, Span | PropagatedSpan) else NOOP_SPAN
