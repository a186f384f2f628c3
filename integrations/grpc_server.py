"""grpc's server: patches the functions by which it serves a call, around all interceptors.

gRPC gives each call a context of its own, in which interceptors and handler run, whichever thread does that. Servers
that were made before are traced as well, and no handler is replaced.
"""

from __future__ import annotations

import sys
from functools import wraps
from types import ModuleType
from typing import Any

from obskit.base.failures import failed
from obskit.instrumentation.patching import Patch, Patches, guarded
from obskit.instrumentation.rpc import CANCELLED, UNKNOWN, ServedCall, code_name, serve_call
from obskit.tracing.current import attach

_CALL = "_obskit_call"
"""Where gRPC's state of a call has ours."""


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every call. ``module`` is ``grpc._server``."""
    patches.replace(module, "_find_method_handler", _finding)
    patches.wrap(module, "_reject_rpc", _reject)
    patches.wrap(module, "_abort", _abort)
    patches.replace(module, "_status", _answering)
    for name in ("_unary_response_in_pool", "_stream_response_in_pool"):
        patches.replace(module, name, _handling)


def _finding(find: Any, patch: Patch) -> Any:
    """Begin to serve a call: interceptors and handler run in the context of its state."""

    @wraps(find)
    def find_handler(event: Any, state: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            if patch.active:
                state.context.run(_serve, event, state, method.name() or event.call_details.method.decode())
        except Exception:
            failed("starting a gRPC server's span")
        return find(event, state, method, *args, **kwargs)

    return find_handler


def _serve(event: Any, state: Any, method: str) -> None:
    call = serve_call(method, event.invocation_metadata, event.call.peer)
    if call is not None:
        attach(call.context)
        state._obskit_call = call


def _reject(reject: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Refuse a call for which there is no handler, or no room, or whose interceptors failed."""
    guarded("ending a gRPC server's span", _rejected, *args[1:])
    return reject(*args, **kwargs)


def _rejected(state: Any, status: Any, details: bytes) -> None:
    call = state.__dict__.get(_CALL)
    if call is not None:
        error = sys.exc_info()[1]
        call.refuse(code_name(status), details if error is None else error)


def _abort(abort: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """End a call with an error. gRPC has caught the application's exception and is handling it."""
    guarded("ending a gRPC server's span", _aborted, args[0], *args[2:])
    return abort(*args, **kwargs)


def _aborted(state: Any, status: Any, details: bytes) -> None:
    call = state.__dict__.get(_CALL)
    if call is not None:
        error = None if state.aborted else sys.exc_info()[1]
        code = code_name(status) if state.code is None else getattr(state.code, "name", UNKNOWN)
        call.blame(code, (state.details or details) if error is None else error)
        call.leave()


def _answering(answer: Any, patch: Patch) -> Any:
    """Send the status of a call whose handler is done. The span ends before: once it is sent, threads compete."""

    @wraps(answer)
    def send_status(event: Any, state: Any, *args: Any) -> Any:
        try:
            call = state.__dict__.get(_CALL) if patch.active else None
            if call is not None and state.client != "cancelled":
                if state.code is not None:
                    call.blame(getattr(state.code, "name", UNKNOWN), state.details)
                call.leave()
        except Exception:
            failed("ending a gRPC server's span")
        return answer(event, state, *args)

    return send_status


def _handling(handle: Any, patch: Patch) -> Any:
    """Run a handler to its end, in a thread of the server's pool and in the context of the call's state."""

    @wraps(handle)
    def handle_in_pool(event: Any, state: Any, *args: Any) -> Any:
        try:
            return handle(event, state, *args)
        finally:
            call = state.__dict__.get(_CALL) if patch.active else None
            if call is not None and not call.ended:
                guarded("ending a gRPC server's span", _handled, state, call)

    return handle_in_pool


def _handled(state: Any, call: ServedCall) -> None:
    with state.condition:
        over = state.statused or state.client == "cancelled" or state.callbacks is None
        if not over:  # the handler answers later, from elsewhere, or gRPC has lost it: the caller's deadline ends it
            state.callbacks.append(lambda: _over(state, call))
    if over:
        _over(state, call)


def _over(state: Any, call: ServedCall) -> None:
    if not state.statused:
        call.blame(CANCELLED)
    elif state.code is not None:
        call.blame(getattr(state.code, "name", UNKNOWN), state.details)
    call.leave()
