"""Serving an ASGI application (https://asgi.readthedocs.io, HTTP and WebSocket) within a server span."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, MutableMapping
from functools import partial, wraps
from typing import Any, cast

from obskit.base.failures import failed
from obskit.instrumentation.current_exchange import exchange_around, is_within_another
from obskit.instrumentation.http_tags import body_size
from obskit.instrumentation.open_responses import streaming
from obskit.instrumentation.patching import Patch, Wrapper, unbound
from obskit.instrumentation.response_flush import deliver_async, ends_at
from obskit.instrumentation.server import begin
from obskit.instrumentation.server_exchange import EXCHANGE, FORGOTTEN, SERVER_ERROR, ServerExchange, exchange_in
from obskit.propagation.headers import LOWER, HeaderNames
from obskit.tracing.current import attach, detach, stored_context

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
DoubleCallable = Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]
"""An application of ASGI 2."""

_TRACED = frozenset(["http", "websocket"])
_ANSWERS = {"websocket.accept": 101, "websocket.close": 403, "websocket.http.response.body": 0}
"""What ends the handshake of a WebSocket, with the status that the client gets; 0: the one that was sent before."""


class _Wanted(dict[bytes, str | None]):
    """The names of the headers that we read, by how they are spelled; None for others. Programs use few."""

    def __missing__(self, name: bytes) -> str | None:
        wanted = _KNOWN.get(name.lower())
        if len(name) <= _LONGEST_NAME:
            if len(self) >= _MOST_NAMES:
                self.clear()
            self[name] = wanted
        return wanted


_KNOWN = {name.encode(): name for name in LOWER.all | {LOWER.user_agent}}
_LONGEST_NAME = 64
_MOST_NAMES = 512
_wanted = _Wanted()


async def serve(application: Application, scope: Scope, receive: Receive, send: Send, route: str | None = None) -> None:
    """Call ``application`` within a server span that ends when the last message of its response is sent.

    A framework says by ``route=""`` that it has routes, and sets the one that matched on what ``exchange_in(scope)``
    returns. A WebSocket's span is over with its handshake. Other scopes pass through, and so do requests which an
    outer layer has a span for.
    """
    exchange = _begin(scope, route)
    if exchange is None:
        return await application(scope, receive, send)
    if exchange.prompt:
        send = _delivering(send, exchange)

    async def observe(message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            exchange.sent = True  # servers may wait for the body, most do not
            _note_start(exchange, message, exchange.measured)
        await send(message)
        if kind == "http.response.body" and not message.get("more_body"):
            exchange.finish()

    token = attach(exchange.context)
    try:
        return await application(scope, receive, observe if scope["type"] == "http" else _handshaking(send, exchange))
    except BaseException as error:
        exchange.fail(error)
        if issubclass(type(error), Exception):  # what ends a coroutine lets it wait for nothing more
            await deliver_async(exchange)
        raise
    finally:
        detach(token)
        if not exchange.over:
            exchange.finish()
        exchange.leave()


def serving(found: Any, patch: Patch) -> Any:
    """Make of the ``__call__`` of a framework's applications, which have routes, one that serves."""
    wrapped = unbound(found)

    @wraps(found)
    async def call(app: Any, /, scope: Scope, receive: Receive, send: Send) -> Any:
        if patch.active:
            return await serve(partial(wrapped, app), scope, receive, send, "")
        return await wrapped(app, scope, receive, send)

    return call


def wrapper(route: str) -> Wrapper:
    """Return a wrapper for Patches that serves what it wraps; any other call than ASGI's raises its own error."""

    def call(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            scope, receive, send = _arguments(*args, **kwargs) if kwargs or len(args) != 3 else args
        except TypeError:
            return wrapped(*args, **kwargs)
        return serve(wrapped, scope, receive, send, route)

    return call


def _arguments(scope: Scope, receive: Receive, send: Send) -> tuple[Scope, Receive, Send]:
    """Return the arguments of an application, however they are passed: daphne names them."""
    return scope, receive, send


def single_callable(application: Application | DoubleCallable) -> Application:
    """Return ``application``; one of ASGI 2, which takes the scope and returns what takes the rest, as ASGI 3's."""
    if not _takes_scope_alone(application):
        return cast("Application", application)

    async def single(scope: Scope, receive: Receive, send: Send) -> None:
        await cast("DoubleCallable", application)(scope)(receive, send)

    return single


def _takes_scope_alone(application: Any) -> bool:
    try:
        kinds = [parameter.kind for parameter in inspect.signature(application).parameters.values()]
    except Exception:  # it will not say
        return False
    return kinds in ([inspect.Parameter.POSITIONAL_ONLY], [inspect.Parameter.POSITIONAL_OR_KEYWORD])


def _begin(scope: Scope, route: str | None) -> ServerExchange | None:
    try:
        if scope["type"] not in _TRACED:
            return None
        outer = exchange_in(scope) if EXCHANGE in scope else _around(scope) if stored_context() else None
        if outer is not None:
            outer.route = route if outer.route is None else outer.route
            scope[EXCHANGE] = outer.mark  # where an adapter made the scope anew, too
            return None
        exchange = begin(*_request(scope))
        if exchange is not None:
            exchange.route = route
            exchange.named_in(scope)
    except Exception:
        failed("starting a server span")
        return None
    return exchange


def _around(scope: Scope) -> ServerExchange | None:
    """Return the exchange of a WSGI layer, where an adapter has made this scope of its environ."""
    return exchange_around(*_request(scope)) if is_within_another(stored_context()) else None


def _request(scope: Scope) -> tuple[dict[str, str], HeaderNames, str, str, tuple[str, int | None] | None]:
    client = scope.get("client")
    remote = (client[0], client[1]) if client else None
    return wanted_headers(scope["headers"]), LOWER, scope.get("method", "GET"), scope["path"], remote


def wanted_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers we read, by lower-case name; repeated ones joined as HTTP does (RFC 9110, 5.2)."""
    found: dict[str, str] = {}
    names = _wanted
    for name, value in headers:
        wanted = names[name]
        if wanted is not None:
            text = value.decode("latin-1")
            found[wanted] = f"{found[wanted]},{text}" if wanted in found else text
    return found


def _delivering(send: Send, exchange: ServerExchange) -> Send:
    """Return a ``send`` before whose last message the span ends and leaves."""
    size = 0

    async def send_delivered(message: Message) -> None:
        nonlocal size
        if not exchange.over:
            try:
                size += len(message.get("body", b""))
                over = _is_last(message) or size >= ends_at(exchange)
            except Exception:  # the server will tell the application
                over = False
            if over:
                exchange.finish()
                await deliver_async(exchange)
        await send(message)

    return send_delivered


def _handshaking(send: Send, exchange: ServerExchange) -> Send:
    """Return a ``send`` with whose answer to the handshake of a WebSocket the span ends."""

    async def send_handshake(message: Message) -> None:
        if not exchange.over:
            _look_at_handshake(exchange, message)
        await send(message)
        if exchange.sent and not message.get("more_body"):
            exchange.finish()

    return send_handshake


def _look_at_handshake(exchange: ServerExchange, message: Message) -> None:
    """Note the answer: taken, refused by closing at once (403), or refused by a response ("Denial Response")."""
    kind = message["type"]
    if kind == "websocket.http.response.start":
        _note_start(exchange, message, measured=False)
    elif kind in _ANSWERS:
        exchange.status = exchange.status or _ANSWERS[kind]
        exchange.sent = True


def _is_last(message: Message) -> bool:
    kind = message["type"]
    return kind == "http.response.pathsend" or (kind == "http.response.body" and not message.get("more_body"))


def _note_start(exchange: ServerExchange, message: Message, measured: bool) -> None:
    """Note a response's status, and the exception whose handler sends it: frameworks re-raise it too late or never."""
    try:
        exchange.status = status = int(message["status"])
    except Exception:  # the server will tell the application
        return
    if status >= SERVER_ERROR and exchange.error is None:
        exchange.blame(sys.exc_info()[1])
    if measured:
        exchange.size = body_size(message.get("headers"))


class AsyncBody:
    """An asynchronous response body: the span is current while it is iterated, and ends when it is over or closed."""

    __slots__ = ("_context", "_exchange", "_iterator")

    def __init__(self, body: AsyncIterable[bytes], exchange: ServerExchange) -> None:
        self._context = exchange.context
        self._exchange = exchange
        self._iterator = aiter(body)
        exchange.sent = True
        streaming(exchange)

    def __aiter__(self) -> AsyncBody:
        return self

    async def __anext__(self) -> bytes:
        token = attach(self._context)
        try:
            chunk = await anext(self._iterator)
            self._context = stored_context()
            return chunk
        except StopAsyncIteration:
            self._exchange.finish()
            await deliver_async(self._exchange)
            raise
        except Exception as error:
            self._exchange.fail(error)
            await deliver_async(self._exchange)
            raise
        finally:
            detach(token)

    def close(self) -> None:
        """End the span of a body that will not be read to its end."""
        self._exchange.finish()
        self._exchange.leave()

    def __del__(self) -> None:
        if not self._exchange.over:
            self._exchange.abandon(FORGOTTEN)
        self._exchange.leave()
