"""A function together with the context in which it is to run, in another thread or process."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from opentelemetry.context import Context

from obskit.base.failures import failed
from obskit.propagation import mesh
from obskit.propagation.propagator import span_of
from obskit.tracing.current import FIELDS_KEY, SPAN_KEY, attach, detach, get_context, lasting
from obskit.tracing.propagated import NOOP_SPAN, PropagatedSpan

NOTHING = Context()


class Carried:
    """Calls ``function`` in ``context``. Pickled, it takes along the trace, the mesh's headers and the log fields."""

    def __init__(self, function: Callable[..., Any], context: Context) -> None:
        self.function = function
        self.context = context

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        token = attach(self.context)
        try:
            return self.function(*args, **kwargs)
        finally:
            detach(token)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.function, _ids(self.context), mesh.of(self.context) or None, _fields(self.context))


def carried(function: Callable[..., Any], context: Context) -> Callable[..., Any]:
    """Return ``function`` such that it runs in ``context``, also after the request is over that submits it."""
    return Carried(function, lasting(context)) if context else function


def submitting(original: Any) -> Any:
    """Return a pool's method such that the function it is given runs in the context of the call."""

    def submit(pool: Any, /, *args: Any, **kwargs: Any) -> Any:
        context = get_context()
        if not context:
            return original(pool, *args, **kwargs)
        if args:
            args = (carried(args[0], context), *args[1:])
        elif "func" in kwargs:
            kwargs["func"] = carried(kwargs["func"], context)
        token = attach(NOTHING)  # for the threads and processes that the pool starts now
        try:
            return original(pool, *args, **kwargs)
        finally:
            detach(token)

    return submit


def starting_with_nothing(original: Any) -> Any:
    """Return a function such that threads and processes which it starts have none of the current context."""

    def start(*args: Any, **kwargs: Any) -> Any:
        token = attach(NOTHING)
        try:
            return original(*args, **kwargs)
        finally:
            detach(token)

    return start


def start_in(greenlet: Any, context: Context) -> None:
    """Let a greenlet that has not started yet do so in ``context``; one that has a context of its own keeps it."""
    try:
        if context and greenlet.gr_context is None:
            own = contextvars.Context()
            own.run(attach, context)
            greenlet.gr_context = own
    except Exception:
        failed("carrying the context into a greenlet")


def _ids(context: Context) -> tuple[Any, ...] | None:
    span = span_of(context)
    if span is NOOP_SPAN:
        return None
    return span.trace_id, span.span_id, span.parent_id, span.sampled, span.debug, False, span.trace_state


def _fields(context: Context) -> bytes | None:
    """Return the log fields; those that cannot be pickled stay behind, and cost the others nothing."""
    import pickle  # already there where anything is pickled

    found = {}
    for name, value in context.get(FIELDS_KEY, {}).items():  # type: ignore[attr-defined]
        try:
            pickle.loads(pickle.dumps(value))
        except Exception:
            continue
        found[name] = value
    return pickle.dumps(found) if found else None


def _restored(
    function: Callable[..., Any], ids: tuple[Any, ...] | None, meshed: dict[str, str] | None, fields: bytes | None
) -> Callable[..., Any]:
    values: dict[str, Any] = {SPAN_KEY: ids and PropagatedSpan(*ids), FIELDS_KEY: _read(fields)}
    if meshed:
        mesh.bring(values, meshed)
    return Carried(function, Context({key: value for key, value in values.items() if value is not None}))


def _read(fields: bytes | None) -> Any:
    """Return log fields; None where a class of theirs cannot be imported here."""
    import pickle

    try:
        return None if fields is None else pickle.loads(fields)
    except Exception:
        failed("reading log fields")
        return None
