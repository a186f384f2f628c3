"""Serving a WSGI application (PEP 3333) within a server span."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from types import MethodType
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from obskit.instrumentation.response_flush import deliver, ends_at, wanted
from obskit.instrumentation.server import FORGOTTEN, SERVER_ERROR, ServerExchange, body_size, exchange_in, streaming
from obskit.instrumentation.server import begin as begin_exchange
from obskit.propagation.headers import WSGI
from obskit.tracing.current import attach, detach
from obskit.tracing.failures import failed

if TYPE_CHECKING:
    from obskit.instrumentation.patching import Wrapper

SWITCHING_PROTOCOLS = 101

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Finish = Callable[[Any, ServerExchange, Environ], Iterable[bytes]]
"""Returns the body, such that its end is the span's."""
Route = Callable[[Environ], str | None]
"""Returns the pattern that matched a request, empty where none did, None where the framework cannot say.

Called when the response starts: later, frameworks have forgotten.
"""


def no_route(_environ: Environ) -> str | None:
    """Say nothing about routes."""
    return None


def serve(
    application: Application,
    environ: Environ,
    start_response: Callable[..., Any],
    route: Route = no_route,
    finish: Finish | None = None,
) -> Iterable[bytes]:
    """Call ``application`` within a server span that ends when its body is over.

    Where an outer layer has a span for this request already, only the route is told to it.
    """
    outer = exchange_in(environ)
    if outer is not None:
        return _serve_inner(application, environ, start_response, route, outer)
    exchange = begin(environ)
    if exchange is None:
        return application(environ, start_response)
    prompt = wanted(exchange)
    measured = prompt or exchange.seen is not None

    def observe(status: str, *rest: Any, **named: Any) -> Any:
        _set_route(exchange, environ, route)
        write = start_response(status, *rest, **named)
        exchange.status = _code(status)
        if exchange.status >= SERVER_ERROR:
            _set_error(exchange, *rest, **named)
        if measured and rest:
            exchange.size = body_size(rest[0])
        return partial(_write, exchange, write)

    token = attach(exchange.context)
    try:
        body = application(environ, observe if exchange.watched or prompt else start_response)
    except BaseException as error:
        _fail(exchange, environ, error)
        raise
    finally:
        detach(token)
    return (finish or finish_with)(body, exchange, environ)


def _write(exchange: ServerExchange, write: Callable[[bytes], object], chunk: bytes) -> object:
    """Call the server's ``write``, which sends the status before it."""
    exchange.sent = True
    return write(chunk)


def _fail(exchange: ServerExchange, environ: Environ, error: BaseException) -> None:
    """End the span of an application that raised: to tell gunicorn, maybe, that it has served a WebSocket itself."""
    if isinstance(error, StopIteration) and _upgraded(exchange, environ):
        exchange.status = SWITCHING_PROTOCOLS
        exchange.finish()
    else:
        exchange.fail(error)
    exchange.leave()
    deliver(exchange)


def _upgraded(exchange: ServerExchange, environ: Environ) -> bool:
    """Whether an application that is done took over the connection, as WSGI servers have no other way for it."""
    return not exchange.status and str(environ.get("HTTP_UPGRADE")).lower() == "websocket"


def wrapper(route: Route, finish: Finish | None = None) -> Wrapper:
    """Return a wrapper for Patches that serves what it wraps; where the call is none of WSGI's, that will say so."""

    def call(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            environ, start_response = _arguments(*args, **kwargs)
        except TypeError:
            return wrapped(*args, **kwargs)
        return serve(wrapped, environ, start_response, route, finish)

    return call


def _arguments(environ: Environ, start_response: Callable[..., Any]) -> tuple[Environ, Callable[..., Any]]:
    """Return the arguments of an application, however they are passed."""
    return environ, start_response


def begin(environ: Environ) -> ServerExchange | None:
    """Start serving the request of an environ, or of a mapping with the same keys. Never raises."""
    try:
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if not path.isascii():
            path = _decoded(path)
        remote = environ.get("REMOTE_ADDR")
        exchange = begin_exchange(
            environ, WSGI, environ["REQUEST_METHOD"], path, (remote, _port(environ)) if remote else None
        )
        if exchange is not None:
            exchange.named_in(environ)
    except Exception:
        failed("starting a server span")
        return None
    return exchange


def _serve_inner(
    application: Application,
    environ: Environ,
    start_response: Callable[..., Any],
    route: Route,
    exchange: ServerExchange,
) -> Iterable[bytes]:
    def observe(status: str, *rest: Any, **named: Any) -> Any:
        _set_route(exchange, environ, route)
        return start_response(status, *rest, **named)

    return application(environ, observe)


def _set_error(exchange: ServerExchange, _headers: Any = None, exc_info: Any = None) -> None:
    """Take the exception that an error page is sent for: PEP 3333 has applications hand it to ``start_response``."""
    if exchange.error is None and type(exc_info) is tuple:
        exchange.blame(exc_info[1])


def _set_route(exchange: ServerExchange, environ: Environ, route: Route) -> None:
    if exchange.route:
        return
    try:
        found = route(environ)
        if found is not None:
            exchange.route = found
    except Exception:
        failed("reading a route")


def _code(status: object) -> int:
    """Return the number that starts a status line, 0 where an application gave something else."""
    return _number(status) if type(status) is str else _number(str(status))


@lru_cache(maxsize=256)
def _number(status: str) -> int:
    text = status[:3]
    return int(text) if text.isdecimal() and text.isascii() else 0


def _decoded(path: str) -> str:
    """Return a path whose UTF-8 bytes PEP 3333 shows as Latin-1; one that is neither, as it is."""
    try:
        return path.encode("latin-1").decode()
    except UnicodeError:
        return path


def _port(environ: Environ) -> int | None:
    port = environ.get("REMOTE_PORT")
    return int(port) if port is not None and str(port).isdecimal() else None


def finish_with(body: Iterable[bytes], exchange: ServerExchange, environ: Environ) -> Iterable[bytes]:
    """Return ``body`` such that its end is the span's; one that is complete is over already, and stays as it is."""
    try:
        kind: Any = type(body)
        if kind is list or kind is tuple or getattr(kind, "__iter__", None) in _COMPLETE:
            if _upgraded(exchange, environ):
                exchange.status = SWITCHING_PROTOCOLS
            exchange.finish()
            exchange.leave()
            deliver(exchange)
            return body
        if _is_file(kind, environ.get("wsgi.file_wrapper")):
            finish_with_close(body, exchange)
            deliver(exchange)
            return body
        if hasattr(kind, "__len__"):  # complete, or nearly so
            return SizedBody(body, exchange)
    except Exception:
        failed("looking at a response's body")
    return traced_body(body, exchange)


_COMPLETE = frozenset(kind.__iter__ for kind in (list, tuple, bytes, str, bytearray, deque, set, frozenset, dict))
"""How bodies are iterated that cannot fail. Servers measure them by ``len``, or look for their type."""


def _is_file(kind: type, file_wrapper: object) -> bool:
    """Whether a body is what the server's ``file_wrapper`` made, for which it has a faster way than to iterate over it.

    Where that is a function, as uWSGI's, which gives the file itself, any file is taken for one.
    """
    if isinstance(file_wrapper, type):
        return issubclass(kind, file_wrapper)
    return file_wrapper is not None and (hasattr(kind, "read") or hasattr(kind, "filelike"))


def traced_body(body: Iterable[bytes], exchange: ServerExchange) -> Body:
    """Return ``body`` such that its end is the span's."""
    return DeliveredBody(body, exchange) if wanted(exchange) else Body(body, exchange)


def finish_with_close(body: Any, exchange: ServerExchange) -> None:
    """Have ``close`` of ``body`` end the span, without wrapping it: servers use sendfile for their own types only.

    Where the span is to leave before the response ends it ends now, as nobody says when the last byte is sent.
    """
    if wanted(exchange):
        exchange.finish()
        return
    try:
        body.close = _Close(body, exchange)
    except Exception:
        exchange.finish()


class _Close:
    """What closes a body and ends the span, when it is called or when the body is forgotten."""

    __slots__ = ("_close", "_exchange")

    def __init__(self, body: Any, exchange: ServerExchange) -> None:
        close = getattr(body, "close", None)
        # A response that nobody closes goes with its last reference, and the span ends.
        self._close = WeakMethod(close) if isinstance(close, MethodType) and close.__self__ is body else lambda: close
        self._exchange = exchange
        streaming(exchange)

    def __call__(self) -> None:
        token = attach(self._exchange.context)
        try:
            close = self._close()
            if close is not None:
                close()
        except BaseException as error:
            self._exchange.fail(error)
            raise
        finally:
            detach(token)
            self._exchange.finish()
            self._exchange.leave()

    def __del__(self) -> None:
        if not self._exchange.over:
            self._exchange.abandon(FORGOTTEN)


class Body:
    """A response body during whose iteration the span is current, and with whose end the span ends.

    Servers that fail, or are no servers but tests, may forget it unclosed: then the span ends, too.
    """

    __slots__ = ("_body", "_exchange", "_iterator")

    def __init__(self, body: Iterable[bytes], exchange: ServerExchange) -> None:
        self._body = body
        self._exchange = exchange
        self._iterator: Iterator[bytes] | None = None
        streaming(exchange)

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        token = attach(self._exchange.context)
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            chunk = next(self._iterator)
            self._exchange.sent = True
            return chunk
        except StopIteration:
            self._exchange.finish()
            raise
        except BaseException as error:
            self._exchange.fail(error)
            raise
        finally:
            detach(token)

    def close(self) -> None:
        """Close the application's body, as the server asks, and end the span."""
        close = getattr(self._body, "close", None)
        token = attach(self._exchange.context)
        try:
            if close is not None:
                close()
        except BaseException as error:
            self._exchange.fail(error)
            raise
        finally:
            detach(token)
            self._leave()

    def _leave(self) -> None:
        self._exchange.finish()
        self._exchange.leave()

    def __del__(self) -> None:
        if not self._exchange.over:
            self._exchange.abandon(FORGOTTEN)


class SizedBody(Body):
    """A body that says how many chunks it has: where it is one, servers take its length for the response's."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]


class Content(Body):
    """What a response object of a framework streams: it closes this first, and then has more to do."""

    __slots__ = ()

    def _leave(self) -> None:
        """Leave the end to the response."""


class DeliveredBody(Body):
    """A body whose span ends, and leaves, before the server has what completes the response."""

    __slots__ = ("_size",)

    def __init__(self, body: Iterable[bytes], exchange: ServerExchange) -> None:
        super().__init__(body, exchange)
        self._size = 0

    def __next__(self) -> bytes:
        try:
            chunk = super().__next__()
        except BaseException:
            deliver(self._exchange)
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
            deliver(self._exchange)
