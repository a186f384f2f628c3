"""Flask: patches ``Flask.__call__``, above all of the application's own WSGI middleware.

Route and exception come from Flask's public surface: the request it leaves in the environ, and its signal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from obskit.base.failures import failed
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.server_exchange import ServerExchange, exchange_in
from obskit.instrumentation.wsgi import serve, wrapper
from obskit.instrumentation.wsgi_body import Environ, finish_with, finish_with_close

if TYPE_CHECKING:
    from flask import Flask


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every Flask application of this process. ``module`` is ``flask.app``."""
    patches.wrap(module.Flask, "__call__", wrapper(route, finish))
    note = partial(_note_exception)  # its own receiver: disconnecting it leaves those of instrument(app)
    module.got_request_exception.connect(note, weak=False)
    patches.on_remove(lambda: module.got_request_exception.disconnect(note))


def instrument(app: Flask) -> Flask:
    """Trace one application without patching anything; returns it. Twice is once."""
    from flask import got_request_exception

    inner = app.wsgi_app
    if not getattr(inner, "__obskit__", False):

        def traced(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
            return serve(inner, environ, start_response, route, finish)

        traced.__obskit__ = True  # type: ignore[attr-defined]
        app.wsgi_app = traced  # type: ignore[method-assign]
        got_request_exception.connect(_note_exception, app)
    return app


def route(environ: Environ) -> str | None:
    """Return the matched rule, such as ``/orders/<int:order_id>``; empty where none matched."""
    request = environ.get("werkzeug.request")
    if request is None:
        request = _current_request()
    if request is None:
        return None
    return request.url_rule.rule if request.url_rule is not None else ""


def finish(body: Any, exchange: ServerExchange, environ: Environ) -> Iterable[bytes]:
    """Return the body, such that its end is the span's: of a complete response, when nothing of Flask's is left to run.

    So a list of content, which most responses have, is over with the call, as a list is that is plain WSGI's.
    """
    try:
        at_close = None
        if type(body).__name__ == "ClosingIterator":  # Werkzeug's, which keeps the ``close`` of its response
            response = body._callbacks[-1].__self__
            if isinstance(response.response, (list, tuple)):  # as ``is_sequence`` says
                at_close = response._on_close
    except Exception:  # a Werkzeug that keeps it elsewhere
        at_close = None
    if at_close is None:
        return finish_with(body, exchange, environ)
    if at_close:
        exchange.sent = True
        finish_with_close(body, exchange)
        exchange.deliver()
    else:
        exchange.complete()
    return body  # type: ignore[no-any-return]


def _current_request() -> Any:
    """Return the request that is current here: the environ has lost it when a copy of its context has ended."""
    from flask import has_request_context, request

    return request if has_request_context() else None


def _note_exception(_app: Any, exception: BaseException, **_: Any) -> None:
    """Take the exception, and the route in case no response follows, for a debugging server raises."""
    from flask import request

    try:
        exchange = exchange_in(request.environ)
        if exchange is not None:
            exchange.blame(exception)
            exchange.route = route(request.environ)
    except Exception:
        failed("reading a route")
