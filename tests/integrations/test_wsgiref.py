"""wsgiref."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any

from obskit.testing import HttpServerContract
from obskit.testing.http_server_contract import Site
from obskit.testing.servers import wsgi_server


class TestWsgiref(HttpServerContract):
    """Patched."""

    integration = "wsgiref"
    route = None  # a bare WSGI application has none

    def serve(self, site: Site) -> AbstractContextManager[str]:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/stream":
                start_response("200 OK", [])
                return site.stream()
            text, status = site.item(path.removeprefix("/items/")) if path.startswith("/items/") else ("", 404)
            start_response(f"{status} {HTTPStatus(status).phrase}", [])
            return [text.encode()]

        return wsgi_server(application)
