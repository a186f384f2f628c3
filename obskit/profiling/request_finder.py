"""Finds the request that another thread serves, from its stack at the time of a sample, at no cost for requests.

Some functions hold the request's exchange, or the context their work runs in, in a local variable: obskit's that serve
requests, and those of asyncio and anyio that run each step of a task or each call of a worker thread. The innermost
such frame decides.

Work that a request started may outlive it. A thread belongs to no request while it waits for work, and once the request
is over: at once if its spans no longer belong to the request, too (``living``); otherwise, for work submitted to a
pool, when it is idle (``Sampler``). An event loop written in C (uvloop) has no such frame for tasks that a request
started; for those the request is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import Context as Execution
from operator import attrgetter
from types import CodeType, FrameType
from typing import Any, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from obskit.instrumentation.current_exchange import exchange_behind
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.tracing.current import living

# (end of the file's path, function): (local variable, attribute of its value)
_SERVING = {
    ("instrumentation/wsgi.py", "serve"): ("exchange", ""),
    ("instrumentation/wsgi_body.py", "__call__"): ("self", "_exchange"),
    ("instrumentation/wsgi_body.py", "__next__"): ("self", "_exchange"),
    ("instrumentation/wsgi_body.py", "close"): ("self", "_exchange"),
    ("instrumentation/asgi.py", "serve"): ("exchange", ""),
    ("instrumentation/asgi.py", "__anext__"): ("self", "_exchange"),
    ("integrations/django.py", "__call__"): ("exchange", ""),
    ("integrations/django.py", "_call_async"): ("exchange", ""),
}
_THREAD = ("integrations/threading.py", "run_in_context")
_ANYIO = ("_backends/_asyncio.py", "run")  # the loop of its worker threads, which keeps the context of their last call
_PLACES = {
    **_SERVING,
    ("instrumentation/carried.py", "__call__"): ("self", "context"),
    ("asyncio/events.py", "_run"): ("self", "_context"),
    _THREAD: ("context", ""),
    _ANYIO: ("context", ""),
}
_NAMES = frozenset(name for _, name in _PLACES)
# (file's name, function): the innermost functions of threads that wait for work
_WAITS = {
    *(("threading.py", name) for name in ("wait", "wait_for")),
    *(("pool.py", name) for name in ("worker", "_handle_tasks", "_handle_results")),
    ("queue.py", "get"),
    ("selectors.py", "select"),
    ("thread.py", "_worker"),
}
_ASYNCHRONOUS = 0x80 | 0x100 | 0x200  # inspect's CO_COROUTINE, CO_ITERABLE_COROUTINE and CO_ASYNC_GENERATOR
_name = attrgetter("co_name")
_NOTHING = Context()
_variable: Any = getattr(otel_context._RUNTIME_CONTEXT, "_current_context", None)


class Reader(NamedTuple):
    """A frame that may know the request: its distance from the innermost one, and the variable.

    ``lasting`` means that the request may be over, since no frame below serves it.
    """

    depth: int
    variable: str
    attribute: str
    lasting: bool


UNKNOWN = "(unknown)"
"""The ``http.route`` of samples of tasks whose request is unknown."""


def readers(codes: Sequence[CodeType]) -> tuple[Reader, ...]:
    """Return the frames of a stack that may know its request, innermost first."""
    if _NAMES.isdisjoint(map(_name, codes)):
        return ()
    named = [(depth, (_file(code), code.co_name)) for depth, code in enumerate(codes) if code.co_name in _NAMES]
    waits = _waits(codes)
    return tuple(
        Reader(depth, *_PLACES[place], place not in _SERVING)
        for depth, place in named
        if place in _PLACES and not (waits and place == _THREAD) and not (waits >= depth and place == _ANYIO)
    )


def _waits(codes: Sequence[CodeType]) -> int:
    """Return how many of the innermost frames only wait for work."""
    waits = 0
    for code in codes:
        if (code.co_filename.replace("\\", "/").rpartition("/")[2], code.co_name) not in _WAITS:
            break
        waits += 1
    return waits


def _file(code: CodeType) -> str:
    return "/".join(code.co_filename.replace("\\", "/").rsplit("/", 2)[-2:])


def may_serve_unknown(codes: Sequence[CodeType]) -> bool:
    """Return whether a stack without readers runs a task, so that it may belong to an unknown request."""
    return any(code.co_flags & _ASYNCHRONOUS for code in codes)


def read_exchange(frame: FrameType, found: Sequence[Reader]) -> ServerExchange | None:
    """Return the exchange of the stack whose innermost frame is ``frame``. A context without one means None."""
    walked = 0
    for depth, variable, attribute, _ in found:
        while walked < depth and frame.f_back is not None:
            frame = frame.f_back
            walked += 1
        value = frame.f_locals.get(variable)
        if attribute:
            value = getattr(value, attribute, None)
        if isinstance(value, Execution) and _variable is not None:
            value = value.get(_variable, _NOTHING)
        if isinstance(value, Context):
            return exchange_behind(living(value))
        if isinstance(value, ServerExchange):
            return value
    return None
