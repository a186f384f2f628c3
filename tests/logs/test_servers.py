"""Real servers: their own lines take the same form and have the trace, and a request log knows what it should."""

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

from tests.installed import need

from .test_formatter import P, strict

WSGI = """
import logging, obskit
obskit.init(service="shop", exporter="none", logs="json")
from obskit.integrations.wsgi import ObskitMiddleware

@ObskitMiddleware
def application(environ, start_response):
    logging.getLogger("shop").info("serving", extra={"item": 7})
    if environ["PATH_INFO"].startswith("/raise"):
        raise ValueError("no such luck")
    start_response("200 OK", [("Content-Length", "5")])
    return iter([b"hello"])
"""
ASGI = """
import logging, obskit
obskit.init(service="shop", exporter="none", logs="json")
from obskit.integrations.asgi import ObskitMiddleware

@ObskitMiddleware
async def application(scope, receive, send):
    assert scope["type"] == "http"
    logging.getLogger("shop").info("serving", extra={"item": 7})
    if scope["path"].startswith("/raise"):
        raise ValueError("no such luck")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""
GUNICORN = "gunicorn --access-logfile - --log-file - -b 127.0.0.1:{port} served:application"
HYPERCORN = "hypercorn --access-logfile - -b 127.0.0.1:{port} served:application"
GRANIAN = "granian --access-log --host 127.0.0.1 --port {port} served:application --interface"
SERVERS = {
    "gunicorn": (WSGI, GUNICORN, "gunicorn.access", "gunicorn"),
    "gunicorn with threads": (WSGI, f"{GUNICORN} --threads 2", "gunicorn.access", "gunicorn"),
    "gunicorn with gevent": (WSGI, f"{GUNICORN} -k gevent", "gunicorn.access", "gevent"),
    "gunicorn for ASGI": (ASGI, f"{GUNICORN} -k asgi", "gunicorn.access", "gunicorn.workers.gasgi"),
    "gunicorn with uvicorn": (ASGI, f"{GUNICORN} -k uvicorn_worker.UvicornWorker", "uvicorn.access", "uvicorn_worker"),
    "uvicorn": (ASGI, "uvicorn --port {port} served:application", "uvicorn.access", "uvicorn"),
    "hypercorn": (ASGI, HYPERCORN, "hypercorn.access", "hypercorn"),
    "granian for WSGI": (WSGI, f"{GRANIAN} wsgi", "granian.access", "granian"),
    "granian for ASGI": (ASGI, f"{GRANIAN} asgi", "granian.access", "granian"),
}


@contextlib.contextmanager
def served(code, command, folder, **environ):
    """Run a server; give its port and a function that stops it and returns its lines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "served.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, "-m", *command.format(port=port).split()],
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


@pytest.mark.parametrize("server", SERVERS)
def test_lines_about_a_request_are_json_with_its_trace(server, tmp_path):
    """The application's, the request log's, the server's access line and its traceback, also if it raised."""
    code, command, logger, needed = SERVERS[server]
    need(needed)
    with served(code, command, tmp_path, OBSKIT_REQUEST_LOG="on", GOOGLE_CLOUD_PROJECT="proj") as (port, stop):
        assert get(port, "/items/7?secret=1") == b"hello"
        assert get(port, "/raise/%C3%A4") != b"hello"
        entries = [strict(line) for line in stop() if line.startswith("{")]
    answered, failed = [entry for entry in entries if entry["logger"] == "shop"]
    assert (answered["item"], failed["item"]) == (7, 7)
    assert answered[P + "trace"] != failed[P + "trace"]

    access = by_status(entries, logger)
    assert [place(entry) for entry in access] == [place(answered), place(failed)]
    assert [entry["httpRequest"]["status"] for entry in access] == [200, 500]
    request = access[0]["httpRequest"]
    assert (request["requestMethod"], request["requestUrl"], request["protocol"]) == ("GET", "/items/7", "HTTP/1.1")
    assert request["remoteIp"] == "127.0.0.1"
    tracebacks = [entry for entry in entries if "ValueError: no such luck" in entry.get("stack_trace", "")]
    native = needed == "granian"  # which writes this from Rust, as text
    assert [place(entry) for entry in tracebacks] == ([] if native else [place(failed)])

    logged = by_status(entries, "obskit.requests")
    assert [place(entry) for entry in logged] == [place(answered), place(failed)]
    request = logged[0]["httpRequest"]
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


def by_status(entries, logger):
    """Return the lines of requests. A thread of the server writes its own when the client has its answer already."""
    return sorted(
        (entry for entry in entries if entry["logger"] == logger), key=lambda one: one["httpRequest"]["status"]
    )


def place(entry):
    """Return where in the traces an entry belongs."""
    return entry.get(P + "trace"), entry.get(P + "spanId")
