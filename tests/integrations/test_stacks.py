"""Layers on top of each other: one server span per request, whatever is stacked, and every worker traces."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from asgiref.wsgi import WsgiToAsgi
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount

from obskit.testing import recording
from obskit.testing.contract import B3, SPAN_ID, installed
from obskit.testing.http_server_contract import SERVER
from obskit.testing.servers import asgi_server
from obskit.tracing.current import current_span


def legacy() -> Flask:
    """Return a WSGI application that answers with the id of its span."""
    app = Flask("legacy")
    app.get("/items/<int:number>")(lambda number: current_span().span_id or "")
    return app


def in_starlette(app: object) -> Starlette:
    return Starlette(routes=[Mount("/old", app=WsgiToAsgi(app))])


def in_fastapi(app: object) -> FastAPI:
    outer = FastAPI()
    outer.mount("/old", WsgiToAsgi(app))
    return outer


def get(url: str, path: str, headers: dict[str, str]) -> str:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("GET", path, headers=headers)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


@pytest.mark.parametrize("mounted", [in_starlette, in_fastapi])
@pytest.mark.parametrize("headers", [{}, B3], ids=["root", "continued"])
def test_a_wsgi_application_in_an_asgi_one_makes_one_span(
    mounted: Callable[[object], object], headers: dict[str, str]
) -> None:
    """Its route is the mount's and its own."""
    with recording() as recorder, installed(("starlette", "flask")), asgi_server(mounted(legacy())) as url:
        text = get(url, "/old/items/7", headers)
        span = recorder.take(SERVER)
        recorder.assert_empty()
    assert (text, span.parent_id) == (span.span_id, SPAN_ID if headers else None)
    assert span.name == "GET /old/items/<int:number>"


def test_a_path_that_the_mounted_application_does_not_know_is_the_mounts() -> None:
    with recording() as recorder, installed(("starlette", "flask")), asgi_server(in_starlette(legacy())) as url:
        get(url, "/old/nowhere", {})
        assert recorder.take(SERVER, error="404").name == "GET /old/{path}"
