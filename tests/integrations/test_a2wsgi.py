"""a2wsgi, which Starlette names as its ``WSGIMiddleware``'s successor: one span for a request, whatever it passes."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from flask import Flask

from obskit.integrations.asgi import ObskitMiddleware
from obskit.testing import recording
from obskit.testing.contract import B3, SPAN_ID, installed
from obskit.testing.http_server_contract import SERVER
from obskit.testing.servers import asgi_server, wsgi_server
from obskit.tracing.current import current_span
from tests.integrations.test_stacks import get, legacy

a2wsgi = pytest.importorskip("a2wsgi", reason="needs a2wsgi")

pytestmark = pytest.mark.parametrize("headers", [{}, B3], ids=["root", "continued"])


def test_flask_under_uvicorn_makes_one_span(headers: dict[str, str]) -> None:
    """Alone, and mounted in FastAPI: there, its route is the mount's and its own."""
    outer = FastAPI()
    outer.mount("/old", a2wsgi.WSGIMiddleware(legacy()))
    bare = ObskitMiddleware(a2wsgi.WSGIMiddleware(legacy()))
    names = []
    with recording() as recorder, installed(("starlette", "flask")):
        for app, path in ((outer, "/old/items/7"), (bare, "/items/7"), (a2wsgi.WSGIMiddleware(legacy()), "/items/7")):
            with asgi_server(app) as url:
                text = get(url, path, headers)
                span = recorder.take(SERVER)
                recorder.assert_empty()
            assert (text, span.parent_id) == (span.span_id, SPAN_ID if headers else None)
            names.append(span.name)
    assert names == ["GET /old/items/<int:number>", "GET /items/<int:number>", "GET /items/<int:number>"]


def test_fastapi_under_a_wsgi_server_makes_one_span(headers: dict[str, str]) -> None:
    """In ``ASGIMiddleware``, alone and with wsgiref's own layer around it."""
    app = FastAPI()
    app.get("/items/{number}")(lambda number: current_span().span_id)
    for names in (("starlette",), ("starlette", "wsgiref")):
        middleware = a2wsgi.ASGIMiddleware(app)
        with recording() as recorder, installed(names), wsgi_server(middleware) as url:
            text = get(url, "/items/7", headers)
            span = recorder.take(SERVER)
            recorder.assert_empty()
        assert (text.strip('"'), span.parent_id) == (span.span_id, SPAN_ID if headers else None)
        assert span.name == "GET /items/{number}"


def test_what_flask_raises_is_the_error(headers: dict[str, str]) -> None:
    app = Flask("app")

    @app.get("/raise")
    def fail() -> str:
        raise ValueError("no such luck")

    bare = ObskitMiddleware(a2wsgi.WSGIMiddleware(app))
    with recording() as recorder, installed(("flask",)), asgi_server(bare) as url:
        get(url, "/raise", headers)
        assert recorder.take(SERVER, error="ValueError: no such luck").tags["http.status_code"] == "500"
