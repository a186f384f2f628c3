"""grpc.aio's server: patches ``Server.__init__`` to put an interceptor before the application's own.

What serves a call is compiled, so its handler is replaced by one that tells how it ended. Each call has a task of its
own, in which interceptors and handler run: the context is put there once, and the span ends with the task.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import grpc

from obskit.base.failures import failed
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.rpc import CANCELLED, UNKNOWN, ServedCall, code_name, serve_call
from obskit.instrumentation.rpc_handlers import watched
from obskit.tracing.current import attach

_TRACED = "_obskit_traced"


def install(module: ModuleType, patches: Patches) -> None:
    """Trace the calls of servers that are made from now on. ``module`` is ``grpc.aio._server``."""
    active: list[object] = [module]
    patches.untraced.append(partial(_untraced, module.Server))
    module.ServerInterceptor.register(_Interceptor)
    patches.on_remove(active.clear)

    def make(init: Any, server: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        pool, handlers, interceptors, options, limit, *others = args  # as grpc.aio.server gives them
        init(pool, handlers, (_Interceptor(active, limit), *(interceptors or ())), options, limit, *others, **kwargs)
        vars(server)[_TRACED] = active

    patches.wrap(module.Server, "__init__", make)


def _untraced(kind: type) -> list[str]:
    """Return what tells of servers that were made before. All objects are looked through, as nothing lists servers."""
    found = [one for one in gc.get_objects() if type(one) is kind and not vars(one).get(_TRACED)]
    return ["a grpc.aio server that was made before obskit.init()"] if found else []


class _Interceptor:
    """Begins to serve the calls of one server, which refuses some where ``limit`` of them are under way."""

    def __init__(self, active: list[object], limit: int | None) -> None:
        self._active = active
        self._uncalled = CANCELLED if limit is None else "RESOURCE_EXHAUSTED"

    async def intercept_service(self, find: Callable[[Any], Any], details: Any) -> Any:
        """Return the handler of a call."""
        watch = self._begin(details) if self._active else None
        if watch is None:
            return await find(details)
        try:
            handler = await find(details)
        except BaseException as error:
            watch.call.refuse(UNKNOWN, error)
            raise
        if handler is None:
            watch.call.refuse("UNIMPLEMENTED", "Method not found!")
            return None
        return _watched(handler, watch)

    def _begin(self, details: Any) -> _Watch | None:
        try:
            call = serve_call(details.method, details.invocation_metadata)
            task = asyncio.current_task()
            if call is None or task is None:
                return None
            attach(call.context)
            watch = _Watch(call, self._uncalled)
            task.add_done_callback(watch.leave)
            return watch
        except Exception:
            failed("starting a gRPC server's span")
            return None


class _Watch:
    """Sees how the handler of ``call`` ends. ``unended`` is the status of a call where it does not."""

    def __init__(self, call: ServedCall, unended: str) -> None:
        self.call = call
        self._unended = unended
        self._context: Any = None

    def over(self, context: Any) -> _Watch:
        """Watch a block that is given ``context``, the handler's."""
        self._unended = CANCELLED
        self._context = context
        guarded("reading a gRPC caller's address", self.call.came_from, context.peer)
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        guarded("describing how a gRPC call ended", self._ended, error)

    def _ended(self, error: BaseException | None) -> None:
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.call.blame(CANCELLED)
        code = self._context.code() if hasattr(self._context, "code") else None  # plain functions get no such method
        name = code_name(code) if isinstance(code, int) else getattr(code, "name", UNKNOWN if error else "OK")
        if error is not None and not isinstance(error, grpc.aio.AbortError):
            self.call.blame(name, error)
        elif name != "OK":
            self.call.blame(name, self._context.details() if code is not None else error)
        self._unended = ""

    def told(self, convert: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
        """Return a function that reads or writes a message as ``convert`` does; where that fails, so does the call."""
        if convert is None:
            return None

        def told(message: Any) -> Any:
            try:
                return convert(message)
            except BaseException as error:
                self.call.blame(UNKNOWN, error)
                raise

        return told

    def leave(self, _task: object) -> None:
        """End the span: the call's task is over."""
        if self._unended:
            self.call.blame(self._unended)
        self.call.leave()


def _watched(handler: Any, watch: _Watch) -> Any:
    """Return a handler of the same kind as ``handler``."""
    requests, responses = bool(handler.request_streaming), bool(handler.response_streaming)
    kind = f"{'stream' if requests else 'unary'}_{'stream' if responses else 'unary'}"
    behaviour = watched(getattr(handler, kind), responses, watch.over, watch.call.context)
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(behaviour, watch.told(handler.request_deserializer), watch.told(handler.response_serializer))
