"""Serving a WSGI application (PEP 3333) within a server span."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from obskit.base.failures import failed
from obskit.instrumentation.current_exchange import exchange_around, is_within_another
from obskit.instrumentation.http_tags import Remote, body_size, decoded
from obskit.instrumentation.server import begin as begin_exchange
from obskit.instrumentation.server_exchange import EXCHANGE, SERVER_ERROR, ServerExchange, exchange_in
from obskit.instrumentation.wsgi_body import SWITCHING_PROTOCOLS, Environ, finish_with, upgraded
from obskit.propagation.headers import WSGI
from obskit.tracing.current import attach, reset, stored_context

if TYPE_CHECKING:
    from obskit.instrumentation.patching import Wrapper

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
    finish: Finish = finish_with,
) -> Iterable[bytes]:
    """Call ``application`` within a server span that ends when its body is over.

    Where an outer layer has a span for this request already, only the route is told to it.
    """
    if EXCHANGE in environ or stored_context():  # most requests have no outer layer, and begin in an empty context
        outer = exchange_in(environ) if EXCHANGE in environ else _around(environ)
        if outer is not None:
            return _serve_inner(application, environ, start_response, route, outer)
    exchange = begin(environ)
    if exchange is None:
        return application(environ, start_response)
    token = attach(exchange.context)
    try:
        if exchange.watched:
            start_response = _Observed(exchange, environ, route, start_response).start
        body = application(environ, start_response)
    except BaseException as error:
        _fail(exchange, environ, error)
        raise
    finally:
        reset(token)
    return finish(body, exchange, environ)


class _Observed:
    """A server's ``start_response``, and what it says of the response. CPython makes two closures at twice the cost."""

    def __init__(
        self, exchange: ServerExchange, environ: Environ, route: Route, start_response: Callable[..., Any]
    ) -> None:
        self._exchange = exchange
        self._environ = environ
        self._route = route
        self._start_response = start_response

    def start(self, status: str, *rest: Any, **named: Any) -> Any:
        exchange = self._exchange
        if exchange.mounted is not None:
            _set_route(exchange, self._environ, self._route)
        elif not exchange.route:
            try:
                found = self._route(self._environ)
                if found is not None:
                    exchange.route = found
            except Exception:
                failed("reading a route")
        if len(rest) == 1 and not named:  # as usual: a plain call takes half as long
            self._write = self._start_response(status, rest[0])
        else:
            self._write = self._start_response(status, *rest, **named)
        exchange.status = code = _code(str(status))
        if code >= SERVER_ERROR:
            _set_error(exchange, rest, named)
        if exchange.measured and rest:
            exchange.size = body_size(rest[0])
        return self.write

    def write(self, chunk: bytes) -> object:
        """Call the server's ``write``, which sends the status before it."""
        self._exchange.sent = True
        return self._write(chunk)


def _fail(exchange: ServerExchange, environ: Environ, error: BaseException) -> None:
    """End the span of an application that raised: to tell gunicorn, maybe, that it has served a WebSocket itself."""
    if isinstance(error, StopIteration) and upgraded(exchange, environ):
        exchange.status = SWITCHING_PROTOCOLS
        exchange.finish()
    else:
        exchange.fail(error)
    exchange.leave()
    exchange.deliver()


def wrapper(route: Route, finish: Finish = finish_with) -> Wrapper:
    """Return a wrapper for Patches that serves what it wraps; any other call than WSGI's raises its own error."""

    def call(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            environ, start_response = _arguments(*args, **kwargs) if kwargs or len(args) != 2 else args
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
        exchange = begin_exchange(environ, WSGI, environ["REQUEST_METHOD"], _path(environ), None, _remote)
        if exchange is not None:
            exchange.named_in(environ)
    except Exception:
        failed("starting a server span")
        return None
    return exchange


def _around(environ: Environ) -> ServerExchange | None:
    """Return the exchange of an ASGI layer, where an adapter has made this environ of its scope."""
    if not is_within_another(stored_context()):
        return None
    try:
        outer = exchange_around(environ, WSGI, environ["REQUEST_METHOD"], _path(environ), _remote(environ))
        if outer is not None:
            environ[EXCHANGE] = outer.mark
    except Exception:
        failed("looking for an outer span")
        return None
    return outer


def _serve_inner(
    application: Application,
    environ: Environ,
    start_response: Callable[..., Any],
    route: Route,
    exchange: ServerExchange,
) -> Iterable[bytes]:
    def observe(status: str, *rest: Any, **named: Any) -> Any:
        if not exchange.route or exchange.mounted is not None:
            _set_route(exchange, environ, route)
        _set_error(exchange, rest, named)
        return start_response(status, *rest, **named)

    return application(environ, observe)


def _set_error(exchange: ServerExchange, rest: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Take the exception that an error page is sent for: PEP 3333 has applications hand it to ``start_response``."""
    exc_info = rest[1] if len(rest) > 1 else named.get("exc_info")
    if exchange.error is None and type(exc_info) is tuple:
        exchange.blame(exc_info[1])


def _set_route(exchange: ServerExchange, environ: Environ, route: Route) -> None:
    try:
        found = route(environ)
        if found and exchange.mounted is not None:
            exchange.route = exchange.mounted + found
        elif found is not None and not exchange.route:
            exchange.route = found
    except Exception:
        failed("reading a route")


@lru_cache(maxsize=256)
def _code(status: str) -> int:
    """Return the number that starts a status line, 0 where an application gave something else."""
    text = status[:3]
    return int(text) if text.isdecimal() and text.isascii() else 0


def _path(environ: Environ) -> str:
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if path.isascii() else decoded(path)


def _remote(environ: Environ) -> Remote | None:
    address = environ.get("REMOTE_ADDR")
    if not address:
        return None
    try:
        return address, int(environ["REMOTE_PORT"])
    except (KeyError, TypeError, ValueError):  # the server does not say, or something else
        return address, None
