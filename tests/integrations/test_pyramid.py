"""Pyramid."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from typing import Any

import pytest

from obskit.testing import HttpServerContract
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import wsgi_server

pytest.importorskip("pyramid", reason="needs pyramid")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports pkg_resources
    from pyramid.config import Configurator
    from pyramid.httpexceptions import HTTPConflict
    from pyramid.response import Response


def application(site: Site) -> Any:
    """Return a WSGI application that serves ``site``, and what is Pyramid's own."""

    def item(request: Any) -> Response:
        text, status = site.item(request.matchdict["name"])
        return Response(text, status=status)

    def stream(_request: Any) -> Response:
        return Response(app_iter=site.stream(), content_type="text/plain")

    def conflict(_request: Any) -> Response:
        raise HTTPConflict

    with Configurator() as config:
        config.add_route("item", "/items/{name}")
        config.add_view(item, route_name="item")
        config.add_route("stream", "/stream")
        config.add_view(stream, route_name="stream")
        config.add_route("conflict", "tenants/{tenant}/conflict")
        config.add_view(conflict, route_name="conflict")
        config.add_view(lambda _: Response("found"), name="traversed")
        return config.make_wsgi_app()


class TestPyramid(HttpServerContract):
    """Patched."""

    integration = "pyramid"

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return wsgi_server(application(site))

    def test_answer_by_an_exception_is_the_status_alone(self) -> None:
        with self.site():
            assert self.get("/tenants/7/conflict")[0] == 409
            span = self.recorder.take(SERVER, error="409")
        assert (span.tags["error"], span.tags["http.route"]) == ("409", "/tenants/{tenant}/conflict")

    def test_what_is_found_by_traversal_has_no_route(self) -> None:
        with self.site():
            assert self.get("/traversed") == (200, "found")
            assert self.recorder.take(SERVER).name == "GET"
