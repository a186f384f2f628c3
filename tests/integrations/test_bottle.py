"""Bottle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from bottle import Bottle, HTTPError, HTTPResponse, static_file

from obskit.testing import HttpServerContract
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import wsgi_server


def application(site: Site) -> Bottle:
    """Return a Bottle application that serves ``site``, and what is Bottle's own."""
    app = Bottle()

    @app.route("/items/<name>", ["GET", "BREW"])
    def item(name: str) -> HTTPResponse:
        return HTTPResponse(*site.item(name))

    @app.route("/first-chunk-fails")
    def first_chunk_fails() -> Iterator[str]:
        yield str(1 // 0)

    @app.route("/http-error")
    def http_error() -> None:
        raise HTTPError(502, "upstream", ConnectionError("refused"))

    app.route("/stream", callback=site.stream)
    app.route("/file", callback=lambda: static_file("test_bottle.py", __file__.rpartition("/")[0]))
    return app


class TestBottle(HttpServerContract):
    """Patched."""

    integration = "bottle"
    route = "/items/<name>"

    def serve(self, site: Site) -> AbstractContextManager[str]:
        """Serve on wsgiref."""
        return wsgi_server(application(site))

    @pytest.mark.parametrize(
        ("path", "error"),
        [("first-chunk-fails", "ZeroDivisionError: "), ("http-error", "ConnectionError: refused"), ("file", None)],
    )
    def test_pages_bottle_makes_are_unchanged_and_tell_the_exception(self, path: str, error: str | None) -> None:
        """Error pages hide the exception from WSGI; files are sent by the server's file wrapper."""
        with self.site():
            traced = self.answer("GET", f"/{path}")
            assert self.recorder.take(SERVER, error=error).name == f"GET /{path}"
            self.uninstall()
            assert self.answer("GET", f"/{path}") == traced

    def test_mounted_application_shares_the_span_and_has_its_full_route(self) -> None:
        with self.site() as site:
            outer = Bottle()
            outer.mount("/shop/", application(site))
            with wsgi_server(outer) as url:
                self._netloc = url.removeprefix("http://")
                self.get("/shop/items/apple")
                assert self.recorder.take(SERVER).tags["http.route"] == "/shop/items/<name>"

    def test_uncaught_exception_reaches_the_server(self) -> None:
        """With ``catchall`` off it is the server that answers."""
        app: Any = Bottle()
        app.config["catchall"] = False
        app.route("/raise", callback=lambda: 1 // 0)
        with self.site(), wsgi_server(app) as url:
            self._netloc = url.removeprefix("http://")
            assert self.get("/raise")[0] == 500
            self.recorder.take(SERVER, error="ZeroDivisionError")

    @pytest.mark.parametrize("prefix", ["/shop/", "/shop"])
    @pytest.mark.parametrize(
        ("path", "name"),
        [("/shop/items/apple", "GET /shop/items/<name>"), ("/shop/nothing", "GET not_found"), ("/", "GET not_found")],
    )
    @pytest.mark.filterwarnings("ignore:Warning. Use of deprecated:DeprecationWarning")
    def test_mounted_application_is_named_by_its_own_routes(self, prefix: str, path: str, name: str) -> None:
        """Without a slash at the end of the prefix Bottle mounts it as it mounts any WSGI application."""
        with self.site() as site:
            outer = Bottle()
            outer.mount(prefix, application(site))
            with wsgi_server(outer) as url:
                self._netloc = url.removeprefix("http://")
                self.get(path)
                error = "404" if name == "GET not_found" else None
                assert self.recorder.take(SERVER, error=error).name == name

    @pytest.mark.filterwarnings("ignore:Warning. Use of deprecated:DeprecationWarning")
    def test_mounts_within_mounts_have_all_prefixes(self) -> None:
        with self.site() as site:
            outer, middle = Bottle(), Bottle()
            middle.mount("/books", application(site))
            outer.mount("/shop", middle)
            with wsgi_server(outer) as url:
                self._netloc = url.removeprefix("http://")
                self.get("/shop/books/items/apple")
                assert self.recorder.take(SERVER).name == "GET /shop/books/items/<name>"
