"""CherryPy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from obskit.testing import HttpServerContract
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import wsgi_server

cherrypy = pytest.importorskip("cherrypy", reason="needs cherrypy")


def application(site: Site) -> Any:
    """Return a WSGI application that serves ``site``."""

    class Root:
        @cherrypy.expose
        def items(self, name: str, **_query: str) -> bytes:
            text, status = site.item(name)
            cherrypy.response.status = status
            return text.encode()

        @cherrypy.expose
        def stream(self) -> Iterator[bytes]:
            return site.stream()

        @cherrypy.expose
        def conflict(self) -> bytes:
            raise cherrypy.HTTPError(409)

    config = {"/": {"request.methods_with_bodies": ("POST", "PUT", "PATCH")}, "/stream": {"response.stream": True}}
    app = cherrypy.Application(Root(), "", config)
    app.log.screen = False
    return app


class TestCherryPy(HttpServerContract):
    """Patched."""

    integration = "cherrypy"
    route = None

    @pytest.fixture(autouse=True)
    def _quiet(self) -> None:
        cherrypy.config.update({"environment": "embedded", "log.screen": False})

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return wsgi_server(application(site))

    def test_answer_by_an_exception_is_the_status_alone(self) -> None:
        with self.site():
            assert self.get("/conflict")[0] == 409
            assert self.recorder.take(SERVER, error="409").tags["error"] == "409"
