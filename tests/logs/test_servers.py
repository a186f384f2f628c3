"""Real servers: their access logs take the same form, and a request log knows what it should."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from .test_formatter import P, strict

WSGI = """
import logging, obskit
obskit.init(service="shop", exporter="none", logs="json")
log = logging.getLogger("shop")

def application(environ, start_response):
    log.info("serving", extra={"item": 7})
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]
"""
ASGI = """
import logging, obskit
obskit.init(service="shop", exporter="none", logs="json")
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

def item(request):
    logging.getLogger("shop").info("serving", extra={"item": 7})
    return PlainTextResponse("hello")

application = Starlette(routes=[Route("/items/{name}", item)])
"""
GUNICORN = [
    "-m",
    "gunicorn",
    "--access-logfile",
    "-",
    "--log-file",
    "-",
    "-b",
    "127.0.0.1:{port}",
    "served:application",
]
UVICORN = ["-m", "uvicorn", "--port", "{port}", "served:application"]
HYPERCORN = ["-m", "hypercorn", "--access-logfile", "-", "-b", "127.0.0.1:{port}", "served:application"]


@contextlib.contextmanager
def served(code, command, folder, **environ):
    """Run a server; give its port and a function that stops it and returns its lines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "served.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, *(part.format(port=port) for part in command)],
        cwd=folder,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def stop():
        process.send_signal(signal.SIGTERM)
        return process.communicate(timeout=20)[0].splitlines()

    try:
        yield port, stop
    finally:
        process.kill()
        process.wait()


def get(port, path):
    """GET, waiting for the server to come up."""
    deadline = time.monotonic() + 20
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path, headers={"User-Agent": "curl"})
            return connection.getresponse().read()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        finally:
            connection.close()


@pytest.mark.parametrize(
    ("code", "command", "logger"),
    [
        (WSGI, GUNICORN, "gunicorn.access"),
        (ASGI, UVICORN, "uvicorn.access"),
        (ASGI, HYPERCORN, "hypercorn.access"),
    ],
)
def test_a_servers_own_access_log_is_json_with_the_request(code, command, logger, tmp_path):
    with served(code, command, tmp_path) as (port, stop):
        assert get(port, "/items/7?secret=1") == b"hello"
        entries = [strict(line) for line in stop() if line.startswith("{")]
    (access,) = [entry for entry in entries if entry["logger"] == logger]
    request = access["httpRequest"]
    assert (request["requestMethod"], request["requestUrl"], request["status"]) == ("GET", "/items/7", 200)
    assert (request["remoteIp"], request["protocol"]) == ("127.0.0.1", "HTTP/1.1")
    (serving,) = [entry for entry in entries if entry["logger"] == "shop"]
    assert serving["item"] == 7


TRACED_WSGI = (
    WSGI
    + """
from obskit.integrations.wsgi import ObskitMiddleware
application = ObskitMiddleware(application)
"""
)


@pytest.mark.parametrize(("code", "command"), [(TRACED_WSGI, GUNICORN), (ASGI, UVICORN), (ASGI, HYPERCORN)])
def test_a_request_log_nests_under_the_requests_trace(code, command, tmp_path):
    with served(code, command, tmp_path, OBSKIT_REQUEST_LOG="on", GOOGLE_CLOUD_PROJECT="proj") as (port, stop):
        get(port, "/items/7?secret=1")
        entries = [strict(line) for line in stop() if line.startswith("{")]
    (request_log,) = [entry for entry in entries if entry["logger"] == "obskit.requests"]
    (serving,) = [entry for entry in entries if entry["logger"] == "shop"]
    assert request_log[P + "trace"] == serving[P + "trace"]
    assert request_log[P + "spanId"] == serving[P + "spanId"]
    request = request_log["httpRequest"]
    latency = float(request.pop("latency").rstrip("s"))
    assert 0 < latency < 20
    assert request == {
        "requestMethod": "GET",
        "requestUrl": "/items/7",
        "status": 200,
        "responseSize": "5",
        "remoteIp": "127.0.0.1",
        "userAgent": "curl",
    }
