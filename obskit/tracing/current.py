"""The current span, kept in the OpenTelemetry context so that every library written for it finds it.

OpenTelemetry's own runtime context is a ``ContextVar`` behind two Python calls; the variable itself is used
where it is that one (the default), and the public functions where a program configured another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace.propagation import _SPAN_KEY

from obskit.tracing.propagated import NOOP_SPAN, PropagatedSpan
from obskit.tracing.span import Span

SPAN_KEY = _SPAN_KEY
SUPPRESS_KEY = otel_context._SUPPRESS_INSTRUMENTATION_KEY
AnySpan = Span | PropagatedSpan
"""A span of ours: recorded, or known by its ids alone."""


get_context: Callable[[], Context]
attach: Callable[[Context], Token[Context]]
_reset: Callable[[Token[Context]], None]

_runtime = otel_context._RUNTIME_CONTEXT
if type(_runtime) is ContextVarsRuntimeContext:
    get_context = _runtime._current_context.get
    attach = _runtime._current_context.set
    _reset = _runtime._current_context.reset
else:
    get_context, attach, _reset = otel_context.get_current, otel_context.attach, otel_context.detach


def detach(token: Token[Context]) -> None:
    """Undo an ``attach``. In another execution context than the attaching one there is nothing to undo."""
    try:
        _reset(token)
    except ValueError:
        return


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
