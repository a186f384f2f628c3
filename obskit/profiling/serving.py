"""Which request another thread is serving, read from its stack when it is sampled: requests pay nothing for it.

Some functions hold the request's exchange, or the context their work runs in, in a variable: ours that serve, and
those of asyncio and anyio that start each step of a task or each call of a worker thread. The innermost one answers.
An event loop written in C (uvloop) shows no such frame for tasks that a request started; those cannot be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import Context as Execution
from operator import attrgetter
from types import CodeType, FrameType
from typing import Any, NamedTuple

from opentelemetry import context as otel_context

from obskit.instrumentation.server import ServerExchange, exchange_of

# (end of the file's path, function): (local variable, attribute of its value)
_PLACES = {
    ("instrumentation/wsgi.py", "serve"): ("exchange", ""),
    ("instrumentation/wsgi.py", "__next__"): ("self", "_exchange"),
    ("instrumentation/wsgi.py", "close"): ("self", "_exchange"),
    ("instrumentation/asgi.py", "serve"): ("exchange", ""),
    ("instrumentation/asgi.py", "__anext__"): ("self", "_exchange"),
    ("integrations/django.py", "__call__"): ("exchange", ""),
    ("integrations/django.py", "_call_async"): ("exchange", ""),
    ("integrations/threading.py", "call"): ("context", ""),
    ("integrations/threading.py", "run_in_context"): ("context", ""),
    ("asyncio/events.py", "_run"): ("self", "_context"),
    ("_backends/_asyncio.py", "run"): ("context", ""),  # anyio's worker threads
}
_NAMES = frozenset(name for _, name in _PLACES)
_ASYNCHRONOUS = 0x80 | 0x100 | 0x200  # inspect's CO_COROUTINE, CO_ITERABLE_COROUTINE and CO_ASYNC_GENERATOR
_name = attrgetter("co_name")
_variable: Any = getattr(otel_context._RUNTIME_CONTEXT, "_current_context", None)


class Reader(NamedTuple):
    """A frame that may know the request: how far from the innermost it is, and which variable says it."""

    depth: int
    variable: str
    attribute: str


UNKNOWN = "(unknown)"
"""What a sample's ``http.route`` says of a task whose request cannot be told."""


def readers(codes: Sequence[CodeType]) -> tuple[Reader, ...]:
    """Return the frames of a stack that may know its request, innermost first."""
    if _NAMES.isdisjoint(map(_name, codes)):
        return ()
    named = [(depth, code) for depth, code in enumerate(codes) if code.co_name in _NAMES]
    places = [(depth, _PLACES.get((_file(code), code.co_name))) for depth, code in named]
    return tuple(Reader(depth, *place) for depth, place in places if place is not None)


def _file(code: CodeType) -> str:
    return "/".join(code.co_filename.replace("\\", "/").rsplit("/", 2)[-2:])


def is_untold(codes: Sequence[CodeType]) -> bool:
    """Return whether a stack without readers runs a task, so that a request may be behind it."""
    return any(code.co_flags & _ASYNCHRONOUS for code in codes)


def read_exchange(frame: FrameType, found: Sequence[Reader]) -> ServerExchange | None:
    """Return the exchange that the stack below ``frame`` (its innermost) serves."""
    walked = 0
    for depth, variable, attribute in found:
        while walked < depth and frame.f_back is not None:
            frame = frame.f_back
            walked += 1
        exchange = _exchange(frame.f_locals.get(variable), attribute)
        if exchange is not None:
            return exchange
    return None


def _exchange(value: Any, attribute: str) -> ServerExchange | None:
    if attribute:
        value = getattr(value, attribute, None)
    if isinstance(value, Execution):
        value = value.get(_variable) if _variable is not None else None
    if isinstance(value, dict):
        value = exchange_of(value)
    return value if isinstance(value, ServerExchange) else None
