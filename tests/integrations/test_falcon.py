"""Falcon."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import falcon
import falcon.asgi
import pytest

from obskit.testing import HttpServerContract
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import asgi_server, wsgi_server


class Refused(Exception):
    pass


def wsgi_application(site: Site) -> falcon.App[Any, Any]:
    """Return a WSGI application that serves ``site``, and what is Falcon's own."""

    class Item:
        def on_get(self, _request: Any, response: falcon.Response, name: str) -> None:
            response.text, response.status = site.item(name)

        on_post = on_head = on_get

    class Stream:
        def on_get(self, _request: Any, response: falcon.Response) -> None:
            response.stream = site.stream()

    class Failing:
        def on_get(self, _request: Any, _response: Any, kind: str) -> None:
            raise {"conflict": falcon.HTTPConflict(), "down": falcon.HTTPServiceUnavailable(), "own": Refused("x")}[
                kind
            ]

    return _routed(falcon.App(), Item(), Stream(), Failing())  # type: ignore[no-any-return]


def asgi_application(site: Site) -> falcon.asgi.App[Any, Any]:
    """Return the same for ASGI."""

    class Item:
        async def on_get(self, _request: Any, response: falcon.asgi.Response, name: str) -> None:
            response.text, response.status = site.item(name)

        on_post = on_head = on_get

    class Stream:
        async def on_get(self, _request: Any, response: falcon.asgi.Response) -> None:
            response.stream = site.stream_async()

    class Failing:
        async def on_get(self, _request: Any, _response: Any, kind: str) -> None:
            raise {"conflict": falcon.HTTPConflict(), "down": falcon.HTTPServiceUnavailable(), "own": Refused("x")}[
                kind
            ]

    app = _routed(falcon.asgi.App(), Item(), Stream(), Failing())

    async def answer(_request: Any, response: Any, _error: Any, _params: Any) -> None:
        response.status = 418

    app.add_error_handler(Refused, answer)
    return app  # type: ignore[no-any-return]


def _routed(app: Any, item: object, stream: object, failing: object) -> Any:
    app.add_route("/items/{name}", item)
    app.add_route("/stream", stream)
    app.add_route("/failing/{kind}", failing)
    if not isinstance(app, falcon.asgi.App):

        def answer(_request: Any, response: Any, _error: Any, _params: Any) -> None:
            response.status = 418

        app.add_error_handler(Refused, answer)
    return app


class TestFalcon(HttpServerContract):
    """WSGI."""

    integration = "falcon"

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return wsgi_server(wsgi_application(site))

    @pytest.mark.parametrize(("kind", "status"), [("conflict", 409), ("down", 503), ("own", 418)])
    def test_answer_by_an_exception_is_the_status_alone(self, kind: str, status: int) -> None:
        """Falcon's own exceptions, and those that have a handler."""
        with self.site():
            assert self.get(f"/failing/{kind}")[0] == status
            assert self.recorder.take(SERVER, error=str(status)).tags["error"] == str(status)


class TestAsgiFalcon(TestFalcon):
    """ASGI."""

    notices_clients = False

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return asgi_server(asgi_application(site))
