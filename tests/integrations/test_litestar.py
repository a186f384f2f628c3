"""Litestar."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pytest

from obskit.testing import HttpServerContract
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import asgi_server

pytest.importorskip("litestar", reason="needs litestar")

from litestar import Litestar, Request, Response, Router, get, route
from litestar.exceptions import HTTPException
from litestar.response import Stream


def application(site: Site) -> Any:
    """Return an application that serves ``site``, and what is Litestar's own."""

    @route("/items/{name:str}", http_method=["GET", "POST", "HEAD"])
    async def item(request: Request[Any, Any, Any]) -> Response[str]:
        text, status = site.item(request.path_params["name"])
        return Response(text, status_code=status, media_type="text/plain")

    @get("/stream")
    async def stream() -> Stream:
        return Stream(site.stream_async())

    @get("/conflict")
    async def conflict() -> None:
        raise HTTPException(status_code=409)

    tenants = Router("/tenants/{tenant:int}", route_handlers=[conflict])
    return Litestar([item, stream, tenants], openapi_config=None)


class TestLitestar(HttpServerContract):
    """Patched."""

    integration = "litestar"
    unsupported = {
        "test_exception_before_the_first_chunk_is_the_error": "Litestar raises an exception of its own from it",
    }

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return asgi_server(application(site))

    def test_answer_by_an_exception_is_the_status_alone(self) -> None:
        """The path of a router is part of the route."""
        with self.site():
            assert self.get("/tenants/7/conflict")[0] == 409
            span = self.recorder.take(SERVER, error="409")
        assert (span.tags["error"], span.tags["http.route"]) == ("409", "/tenants/{tenant}/conflict")
