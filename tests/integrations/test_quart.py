"""Quart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

from quart import Blueprint, Quart, Response, abort

from obskit.testing import HttpServerContract
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import asgi_server


def application(site: Site) -> Quart:
    """Return an application that serves ``site``, and what is Quart's own."""
    app = Quart("tests")

    @app.route("/items/<name>", methods=["GET", "POST", "BREW"])
    async def item(name: str) -> tuple[str, int]:
        return site.item(name)

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        return site.stream_async()

    @app.get("/threaded/<name>")
    def threaded(name: str) -> tuple[str, int]:
        return site.item(name)

    tenants = Blueprint("tenants", "tests", url_prefix="/tenants/<tenant>")

    @tenants.get("/gone")
    async def gone(tenant: str) -> Response:
        abort(410)

    app.register_blueprint(tenants)
    return app


class TestQuart(HttpServerContract):
    """Patched."""

    integration = "quart"
    route = "/items/<name>"

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return asgi_server(application(site))

    def test_answer_by_an_exception_is_the_status_alone(self) -> None:
        """``abort`` is how views answer; a blueprint's prefix is part of the route."""
        with self.site():
            assert self.get("/tenants/7/gone")[0] == 410
            span = self.recorder.take(SERVER, error="410")
        assert (span.tags["error"], span.tags["http.route"]) == ("410", "/tenants/<tenant>/gone")

    def test_view_on_a_thread_is_within_the_span(self) -> None:
        """Quart runs functions that are not coroutines on one."""
        with self.site():
            assert self.get("/threaded/a")[1] == self.recorder.take(SERVER).trace_id
