"""What a server logs after a request belongs to that request, and to no other."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from obskit.instrumentation.wsgi import serve
from obskit.logs.entry import EntryBuilder
from obskit.logs.formatter import CloudLoggingFormatter
from obskit.logs.moment import TRACE, note_moment
from obskit.testing import recording

FORMATTER = CloudLoggingFormatter(EntryBuilder("orders", "1.4", "proj"))
ERROR = ValueError("no such luck")


def application(environ: Any, start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/raise":
        raise ERROR
    start_response("200 OK", [])
    return [b""]


def request(path: str) -> str:
    """Serve a request on this thread; return its trace id."""
    with recording() as recorder:
        try:
            serve(application, {"REQUEST_METHOD": "GET", "PATH_INFO": path}, lambda *_: None)
        except ValueError:
            pass
        return recorder.take(error="ValueError" if path == "/raise" else None).trace_id


def trace(logger: str, message: str, *args: object, error: Exception | None = None) -> str | None:
    """Return the trace id in the line of a record."""
    exc_info = None if error is None else (type(error), error, None)
    record = logging.LogRecord(logger, logging.INFO, "server.py", 1, message, args, exc_info)
    noted = logging.LogRecord(logger, logging.INFO, "server.py", 1, message, args, exc_info)
    note_moment(noted)
    found = json.loads(FORMATTER.format(record)).get("logging.googleapis.com/trace")
    assert (vars(noted)[TRACE] or ("",))[0] == (found or "").rpartition("/")[2], "a queued record has the same"
    return None if found is None else str(found).rpartition("/")[2]


@pytest.mark.parametrize(
    ("logger", "message", "args"),
    [
        ("gunicorn.access", "%(m)s", [{"r": "GET /a%20b?x=1 HTTP/1.1", "m": "GET", "U": "/a b", "s": "200"}]),
        ("granian.access", "%(status)d", [{"method": "GET", "path": "/a b", "status": 200}]),
        ("uvicorn.access", '%s - "%s %s HTTP/%s" %d', ["127.0.0.1:4", "GET", "/a%20b?x=1", "1.1", 200]),
        ("werkzeug", '127.0.0.1 - - [today] "\x1b[33mGET /a%20b HTTP/1.1\x1b[0m" 404 -', []),
        ("django.server", '"%s" %s %s', ["GET /a%20b HTTP/1.1", "200", "5"]),
    ],
)
def test_access_line_has_the_trace_of_its_request_alone(logger: str, message: str, args: list[Any]) -> None:
    """A server also writes one for what it refuses itself: that has no trace, and not the previous request's."""
    served = request("/a b")
    assert trace(logger, message, *args) == served
    request("/other")
    assert trace(logger, message, *args) is None


def test_exception_has_the_trace_of_the_request_that_it_ended() -> None:
    failed = request("/raise")
    assert trace("gunicorn.error", "Error handling request", error=ERROR) == failed
    assert trace("gunicorn.error", "Socket error", error=ValueError("no such luck")) is None
    request("/other")
    assert trace("gunicorn.error", "Error handling request", error=ERROR) is None


def test_other_lines_of_a_server_have_no_trace() -> None:
    request("/a")
    assert trace("gunicorn.error", "GET /a HTTP/1.1 was the last one") is None
    assert trace("gunicorn.access", "a format of one's own") is None


SERVED = """
import logging, sys, obskit
from obskit.instrumentation.wsgi import serve
obskit.init(logs=sys.argv[1], exporter="none", integrations=[])
if sys.argv[1] == "inherit":
    logging.basicConfig(format="%(trace_id)s", stream=sys.stdout, level="INFO")
traces = []
def application(environ, start_response):
    traces.append(obskit.current_span().trace_id)
    start_response("200 OK", [])
    return [b""]
serve(application, {"REQUEST_METHOD": "GET", "PATH_INFO": "/a"}, lambda *_: None)
logging.getLogger("werkzeug").info('"GET /a HTTP/1.1" 200 -')
print(traces[0][-8:])
"""


@pytest.mark.parametrize("mode", ["json", "console", "inherit"])
def test_requests_are_remembered_in_each_mode_that_shows_them(mode: str) -> None:
    """In a process of its own: one formatter has all requests remembered from then on."""
    done = subprocess.run([sys.executable, "-c", SERVED, mode], capture_output=True, text=True, check=True)
    *lines, trace_id = done.stdout.split()
    assert trace_id in " ".join(lines), done
