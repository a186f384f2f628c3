"""Any WSGI application, without patching: ``application = ObskitMiddleware(application)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from obskit.instrumentation.wsgi import Application, serve
from obskit.instrumentation.wsgi_body import Environ


class ObskitMiddleware:
    """A WSGI application that serves another one, each request in a span."""

    def __init__(self, app: Application) -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        return serve(self.app, environ, start_response)
