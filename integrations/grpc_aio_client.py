"""grpc.aio's client: patches the making of a call, below all interceptors."""

from __future__ import annotations

import weakref
from types import ModuleType
from typing import Any

from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.rpc import begin_call, code_name, fail, finish, said
from obskit.tracing.span import Span

_KINDS = ("UnaryUnaryCall", "UnaryStreamCall", "StreamUnaryCall", "StreamStreamCall")
_targets: dict[int, bytes] = {}
"""What a channel leads to, by the id of its core, which tells it only in the newest releases."""


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every call. ``module`` is ``grpc.aio._call`` or ``grpc.aio._channel``."""
    if module.__name__ == "grpc.aio._channel":
        patches.wrap(module.Channel, "__init__", _open)
    else:
        for name in _KINDS:
            patches.wrap(getattr(module, name), "__init__", _start)


def _open(init: Any, channel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    init(*args, **kwargs)
    guarded("reading a gRPC channel's target", _remember, channel, *args[:1])


def _remember(channel: Any, target: str) -> None:
    _targets[id(channel._channel)] = target.encode()
    weakref.finalize(channel, _targets.pop, id(channel._channel), None).atexit = False


def _start(init: Any, call: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Start a call; its span ends with the call, whoever waits for that."""
    channel, method = args[5:7]
    span, args, kwargs = begin_call(method, _targets.get(id(channel), b""), args, kwargs)
    try:
        init(*args, **kwargs)
    except BaseException as error:
        guarded("ending a call's span", fail, span, error)
        raise
    if type(span) is Span:
        guarded("watching a gRPC call", call._cython_call.add_done_callback, _End(span, call._cython_call))


class _End:
    """Ends a call's span when the core of the call has a status, also that it was cancelled or forgotten."""

    __slots__ = ("_core", "_span")

    def __init__(self, span: Span, core: Any) -> None:
        self._span = span
        self._core = core

    def __call__(self) -> None:
        core, self._core = self._core, None  # which holds this
        if core is not None:
            guarded("ending a call's span", self._end, core._status)

    def _end(self, status: Any) -> None:
        code = code_name(status.code())
        finish(self._span, code, said(code, status.details()))
