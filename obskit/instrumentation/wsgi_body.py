"""The end of a WSGI response: its body is iterated, closed, sent as a file, or forgotten."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from types import MethodType
from typing import Any
from weakref import ref

from obskit.base.failures import failed
from obskit.instrumentation.open_responses import streaming
from obskit.instrumentation.response_flush import ends_at
from obskit.instrumentation.server_exchange import FORGOTTEN, ServerExchange
from obskit.tracing.current import attach, reset, stored_context

Environ = dict[str, Any]
SWITCHING_PROTOCOLS = 101


def finish_with(body: Iterable[bytes], exchange: ServerExchange, environ: Environ) -> Iterable[bytes]:
    """Return ``body`` such that its end is the span's; one that is complete is over already, and stays as it is."""
    try:
        kind: Any = type(body)
        if kind is list or kind is tuple or getattr(kind, "__iter__", None) in _COMPLETE:
            if exchange.watched and not exchange.status and upgraded(exchange, environ):
                exchange.status = SWITCHING_PROTOCOLS
            exchange.complete()
            return body
        file_wrapper = environ.get("wsgi.file_wrapper")
        if file_wrapper is not None and _is_file(kind, file_wrapper):
            finish_with_close(body, exchange)
            exchange.deliver()
            return body
        if hasattr(kind, "__len__"):  # complete, or nearly so
            return SizedBody(body, exchange)
    except Exception:
        failed("looking at a response's body")
    return traced_body(body, exchange)


_COMPLETE = frozenset(kind.__iter__ for kind in (list, tuple, bytes, str, bytearray, deque, set, frozenset, dict))
"""How bodies are iterated that cannot fail. Servers measure them by ``len``, or look for their type."""


def _is_file(kind: type, file_wrapper: object) -> bool:
    """Return whether a body is of the server's ``file_wrapper``, which the server sends faster than by iterating.

    Where that is a function, as uWSGI's, which gives the file itself, any file is taken for one.
    """
    if isinstance(file_wrapper, type):
        return issubclass(kind, file_wrapper)
    return hasattr(kind, "read") or hasattr(kind, "filelike")


def upgraded(exchange: ServerExchange, environ: Environ) -> bool:
    """Return whether an application that is done took over the connection, as WSGI servers have no other way for it."""
    return not exchange.status and str(environ.get("HTTP_UPGRADE")).lower() == "websocket"


def traced_body(body: Iterable[bytes], exchange: ServerExchange) -> Body:
    """Return ``body`` such that its end is the span's."""
    return DeliveredBody(body, exchange) if exchange.prompt else Body(body, exchange)


def finish_with_response(response: Any, exchange: ServerExchange, environ: Environ) -> Any:
    """Return Django's ``response`` such that its ``close`` ends the span; it stays what those know who call a handler.

    The span is current while it streams its content, and knows whether that failed.
    """
    if not hasattr(type(response), "streaming"):  # a file, in the server's wrapper
        return finish_with(response, exchange, environ)
    prompt = exchange.prompt
    streams = response.streaming and not response.is_async
    if not streams or not prompt:
        finish_with_close(response, exchange)
    if streams:
        content = DeliveredBody if prompt else Content
        response.streaming_content = content(response.streaming_content, exchange)
    if prompt:
        exchange.deliver()
    return response


def finish_with_close(body: Any, exchange: ServerExchange) -> None:
    """Have ``close`` of ``body`` end the span, without wrapping it: servers use sendfile for their own types only.

    Where the span is to leave before the response ends it ends now, as nobody says when the last byte is sent.
    """
    if exchange.prompt:
        exchange.finish()
        return
    try:
        body.close = _Close(body, exchange)
    except Exception:
        exchange.finish()


class _Close:
    """What closes a body and ends the span, when it is called or when the body is forgotten."""

    _close: Any
    _body: ref[Any] | None

    def __init__(self, body: Any, exchange: ServerExchange) -> None:
        self._exchange = exchange
        close: Any = getattr(body, "close", None)
        own = type(close) is MethodType and close.__self__ is body
        # Weakly: a response that nobody closes goes with its last reference, and the span ends.
        self._close, self._body = (close.__func__, ref(body)) if own else (close, None)
        streaming(exchange)

    def __call__(self) -> None:
        exchange = self._exchange
        token = attach(exchange.context)
        try:
            if self._body is not None:
                body = self._body()
                if body is not None:
                    self._close(body)
            elif self._close is not None:
                self._close()
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            reset(token)
            exchange.finish()
            exchange.leave()

    def __del__(self) -> None:
        exchange = self._exchange
        if not exchange.ended:
            if not exchange.over:
                exchange.abandon(FORGOTTEN)
            exchange.leave()


class Body:
    """A response body during whose iteration the span is current, and with whose end the span ends.

    So is, in a generator with a span's block of its own, that one: each step goes on in the context of the one before.
    Servers that fail, or are no servers but tests, may forget it unclosed: then the span ends, too.
    """

    # Without slots, as ServerExchange.

    def __init__(self, body: Iterable[bytes], exchange: ServerExchange) -> None:
        self._body = body
        self._context = exchange.context
        self._exchange = exchange
        self._iterator: Iterator[bytes] | None = None
        streaming(exchange)

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        token = attach(self._context)
        try:
            iterator = self._iterator
            if iterator is None:
                self._iterator = iterator = iter(self._body)
            chunk = next(iterator)
            self._context = stored_context()
            self._exchange.sent = True
            return chunk
        except StopIteration:
            self._exchange.finish()
            raise
        except BaseException as error:
            self._exchange.fail(error)
            raise
        finally:
            reset(token)

    def close(self) -> None:
        """Close the application's body, as the server asks, and end the span."""
        close = getattr(self._body, "close", None)
        token = attach(self._context)
        try:
            if close is not None:
                close()
        except BaseException as error:
            self._exchange.fail(error)
            raise
        finally:
            reset(token)
            self._leave()

    def _leave(self) -> None:
        exchange = self._exchange
        if not exchange.over:
            exchange.finish()
        exchange.leave()

    def __del__(self) -> None:
        exchange = self._exchange
        if not exchange.ended:  # as it has where this was closed
            if not exchange.over:
                exchange.abandon(FORGOTTEN)
            self._leave()


class SizedBody(Body):
    """A body that says how many chunks it has: where it is one, servers take its length for the response's."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]


class Content(Body):
    """What a response object of a framework streams: it closes this first, and then has more to do."""

    def _leave(self) -> None:
        """Leave the end to the response."""


class DeliveredBody(Body):
    """A body whose span ends, and leaves, before the server has what completes the response."""

    def __init__(self, body: Iterable[bytes], exchange: ServerExchange) -> None:
        super().__init__(body, exchange)
        self._size = 0

    def __next__(self) -> bytes:
        try:
            chunk = super().__next__()
        except BaseException:
            self._exchange.deliver()
            raise
        if not self._exchange.over:
            self._count(chunk)
        return chunk

    def _count(self, chunk: bytes) -> None:
        try:
            self._size += len(chunk)
        except TypeError:  # the server will tell the application
            return
        if self._size >= ends_at(self._exchange):
            self._exchange.finish()
            self._exchange.deliver()
