"""grpc's client: patches the objects that every stub's methods are, below all interceptors.

Channels and stubs that were made before are traced as well, and no interceptor sees anything of ours.
"""

from __future__ import annotations

import weakref
from functools import wraps
from types import ModuleType
from typing import Any

from obskit.instrumentation.patching import Patch, Patches, guarded, unbound
from obskit.instrumentation.rpc import CANCELLED, begin_call, fail, finish, said
from obskit.tracing.current import AnySpan
from obskit.tracing.span import Span

_BLOCKING = ("_UnaryUnaryMultiCallable", "_StreamUnaryMultiCallable")
_STREAMING = ("_UnaryStreamMultiCallable", "_SingleThreadedUnaryStreamMultiCallable", "_StreamStreamMultiCallable")


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every call. ``module`` is ``grpc._channel``."""
    for name in _BLOCKING:
        kind = getattr(module, name)
        patches.replace(kind, "__call__", _calling)
        patches.replace(kind, "with_call", _calling)
        patches.wrap(kind, "future", _start)
    for name in _STREAMING:
        patches.wrap(getattr(module, name), "__call__", _start)


def _calling(found: Any, patch: Patch) -> Any:
    """Make a call and wait for its response."""
    wrapped = unbound(found)

    @wraps(found)
    def call(method: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not patch.active:
            return wrapped(method, *args, **kwargs)
        span, args, kwargs = begin_call(method._method, method._target, args, kwargs)
        if span is None:
            return wrapped(method, *args, **kwargs)
        try:
            response = wrapped(method, *args, **kwargs)
        except BaseException as error:
            guarded("ending a gRPC call's span", _fail, span, error)
            raise
        finish(span)
        return response

    return call


def _fail(span: AnySpan, error: BaseException) -> None:
    code = getattr(error, "code", None)
    if code is None:
        fail(span, error)
    else:
        finish(span, code().name, said(code().name, error.details()))  # type: ignore[attr-defined] # a grpc.Call, too


def _start(call: Any, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Start a call; its span ends with the call, whoever waits for that."""
    span, args, kwargs = begin_call(method._method, method._target, args, kwargs)
    try:
        started = call(*args, **kwargs)
    except BaseException as error:
        if span is not None:
            guarded("ending a gRPC call's span", _fail, span, error)
        raise
    if type(span) is Span:
        guarded("watching a gRPC call", _watch, span, started)
    return started


def _watch(span: Span, started: Any) -> None:
    end = _End(span, started._state)
    if not started.add_callback(end):
        end()


class _End:
    """Ends a call's span: called when the call's status is there, or forgotten together with the call.

    Holds nothing of the call: gRPC cancels one when its last reference goes.
    """

    def __init__(self, span: Span, state: Any) -> None:
        self._span = span
        self._state = weakref.ref(state)

    def __call__(self) -> None:
        guarded("ending a gRPC call's span", self._end, self._state())

    def _end(self, state: Any) -> None:
        finish(self._span, state.code.name, said(state.code.name, state.details))

    def __del__(self) -> None:
        finish(self._span, CANCELLED, said(CANCELLED, "the call was forgotten before its end"))
