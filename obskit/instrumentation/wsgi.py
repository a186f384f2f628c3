"""Serving a WSGI application (PEP 3333) within a server span."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from obskit.instrumentation.response_flush import deliver, ends_at, wanted
from obskit.instrumentation.server import EXCHANGE, FORGOTTEN, SERVER_ERROR, ServerExchange, body_size, streaming
from obskit.instrumentation.server import begin as begin_exchange
from obskit.propagation.headers import WSGI
from obskit.tracing.current import attach, detach
from obskit.tracing.failures import failed

if TYPE_CHECKING:
    from obskit.instrumentation.patching import Wrapper

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Route = Callable[[Environ], str | None]
"""Returns the pattern that matched a request, empty where none did, None where the framework cannot say.

Called when the response starts: later, frameworks have forgotten.
"""


def no_route(_environ: Environ) -> str | None:
    """Say nothing about routes."""
    return None


def serve(
    application: Application, environ: Environ, start_response: Callable[..., Any], route: Route = no_route
) -> Iterable[bytes]:
    """Call ``application`` within a server span that ends when its body is over.

    Where an outer layer has a span for this request already, only the route is told to it.
    """
    if EXCHANGE in environ:
        return _serve_inner(application, environ, start_response, route)
    exchange = begin(environ)
    if exchange is None:
        return application(environ, start_response)
    prompt = wanted(exchange)
    measured = prompt or exchange.seen is not None

    def observe(status: str, *rest: Any, **named: Any) -> Any:
        exchange.status = _code(status)
        if exchange.status >= SERVER_ERROR:
            _set_error(exchange, *rest, **named)
        _set_route(exchange, environ, route)
        if measured and rest:
            exchange.size = body_size(rest[0])
        return start_response(status, *rest, **named)

    token = attach(exchange.context)
    try:
        body = application(environ, observe if exchange.watched or prompt else start_response)
    except BaseException as error:
        exchange.fail(error)
        exchange.leave()
        deliver(exchange)
        raise
    finally:
        detach(token)
    return _finish_with(body, exchange, environ, prompt)


def wrapper(route: Route) -> Wrapper:
    """Return a wrapper for Patches that serves what it wraps; where the call is none of WSGI's, that will say so."""

    def call(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return serve(wrapped, *args, route) if len(args) == 2 and not kwargs else wrapped(*args, **kwargs)

    return call


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
            environ[EXCHANGE] = exchange
    except Exception:
        failed("starting a server span")
        return None
    return exchange


def _serve_inner(
    application: Application, environ: Environ, start_response: Callable[..., Any], route: Route
) -> Iterable[bytes]:
    def observe(status: str, *rest: Any, **named: Any) -> Any:
        _set_route(environ[EXCHANGE], environ, route)
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


def _finish_with(body: Iterable[bytes], exchange: ServerExchange, environ: Environ, prompt: bool) -> Iterable[bytes]:
    """Return ``body`` such that its end is the span's; a list is over already, and servers measure it by ``len``."""
    if type(body) in (list, tuple):
        exchange.finish()
        exchange.leave()
        deliver(exchange)
        return body
    file_wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(file_wrapper, type) and isinstance(body, file_wrapper):
        finish_with_close(body, exchange)
        deliver(exchange)
        return body
    return DeliveredBody(body, exchange) if prompt else Body(body, exchange)


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
    close = _Close(getattr(body, "close", None), exchange)
    try:
        body.close = close
    except Exception:
        exchange.finish()


class _Close:
    """What closes a body and ends the span, when it is called or when the body is forgotten."""

    __slots__ = ("_close", "_exchange")

    def __init__(self, close: Callable[[], object] | None, exchange: ServerExchange) -> None:
        self._close = close
        self._exchange = exchange
        streaming(exchange)

    def __call__(self) -> None:
        try:
            if self._close is not None:
                self._close()
        finally:
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
            return next(self._iterator)
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
        finally:
            detach(token)
            self._exchange.finish()
            self._exchange.leave()

    def __del__(self) -> None:
        if not self._exchange.over:
            self._exchange.abandon(FORGOTTEN)


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
