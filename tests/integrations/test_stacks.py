"""Layers on top of each other: one server span per request, whatever is stacked, and every worker traces."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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
from tests.export.receiver import eventually, free_port, receiver
from tests.installed import need


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


PROGRAM = """
import os
import obskit
obskit.init(exporter=os.environ["RECEIVER"], logs="off", flush_interval=3600)
from asgiref.wsgi import WsgiToAsgi
from fastapi import FastAPI
from flask import Flask

legacy = Flask("legacy")
legacy.get("/items/<int:number>")(lambda number: f"{os.getpid()} {obskit.current_span().span_id}")
app = FastAPI()
app.mount("/old", WsgiToAsgi(legacy))

@app.get("/items/{number}")
def item(number: int) -> str:
    return f"{os.getpid()} {obskit.current_span().span_id}"
"""
SERVERS = {
    "daphne": ("-b", "127.0.0.1", "-p", "{port}", "stacked:app"),
    "granian": ("--interface", "asgi", "--workers", "2", "--host", "127.0.0.1", "--port", "{port}", "stacked:app"),
    "hypercorn": ("--workers", "2", "-b", "127.0.0.1:{port}", "stacked:app"),
    "uvicorn": ("--workers", "2", "--port", "{port}", "stacked:app"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_every_worker_traces_and_sends_each_span_once(server: str, tmp_path: Path) -> None:
    """Requests to FastAPI, and to Flask mounted in it, are one span each, whichever worker serves them.

    Nothing is sent before the server is stopped: its workers deliver as they end.
    """
    need(server)
    (tmp_path / "stacked.py").write_text(PROGRAM)
    port, workers = free_port(), 2 if "--workers" in SERVERS[server] else 1
    command = [sys.executable, "-m", server, *(part.format(port=port) for part in SERVERS[server])]
    answers: list[list[str]] = []
    with receiver() as received, (tmp_path / "out").open("w") as out:
        environment = {**os.environ, "RECEIVER": received.url}
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=out) as process:
            try:
                eventually(lambda: listens(port), 60)

                def both_have_answered() -> bool:
                    paths = ("/items/7", "/old/items/7")
                    answers.extend(get(f"http://127.0.0.1:{port}", path, {}).strip('"').split() for path in paths)
                    return len({process for process, _ in answers}) == workers

                eventually(both_have_answered, 30)
            finally:
                process.terminate()
                try:
                    process.wait(20)
                finally:
                    process.kill()  # asgiref waits for ever for a request that is under way
        spans = received.spans
    assert sorted(span["id"] for span in spans) == sorted(span_id for _, span_id in answers)
    assert {span["name"].lower() for span in spans} == {"get /items/{number}", "get /old/items/<int:number>"}


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
