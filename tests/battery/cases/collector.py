"""The collector, and who should not talk to it."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from tests.battery.lab import Lab
from tests.battery.registry import Skipped, case
from tests.battery.tools import need

_SPANS = [
    {"traceId": f"{number:032x}", "id": f"{number:016x}", "name": "get", "timestamp": 10**15, "duration": 5,
     "localEndpoint": {"serviceName": "orders"}, "tags": {"note": "100% _sure_"}}
    for number in range(1, 21)
]  # fmt: skip
_PATIENCE = 75  # seconds after which a client that sends nothing to speak of must be gone


@contextmanager
def _collector(lab: Lab) -> Iterator[int]:
    """Run the collector with some spans in it; give its port."""
    need("starlette", "uvicorn")
    environ = lab.environ(lab.folder, "none", lab.side)
    command = [lab.python, "-m", "obskit", "collector", "--port", "0", "--storage", "memory"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        assert _ask(port, "POST", "/api/v2/spans", json.dumps(_SPANS))[0] == 202
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _ask(port: int, method: str, path: str, body: str = "", **headers: str) -> tuple[int, bytes]:
    """Send a request whose path is not touched; headers' names have ``_`` for ``-``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host="host" in headers)
        for name, value in {"content_type": "application/json", "content_length": str(len(body)), **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body.encode())
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@case(
    50, "slowloris", "500 connections that send a byte in 10 s, header or body", "evicted; ingest goes on", quick=False
)
def slow_clients(lab: Lab) -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        raise Skipped(f"needs 1200 file descriptors, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    with _collector(lab) as port:
        slow = [_open_slowly(port, in_body=number % 2 == 1) for number in range(500)]
        try:
            slowest, evicted = _ingest_meanwhile(port, slow)
        finally:
            for connection in slow:
                connection.close()
        assert slowest < 2, f"a POST took {slowest:.1f} s meanwhile"
        assert evicted == 500, (
            f"{evicted} of 500 slow clients were evicted within {_PATIENCE} s; slowest POST {slowest:.2f} s"
        )
        return f"500/500 evicted, slowest POST {slowest:.2f} s"


def _open_slowly(port: int, in_body: bool) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    head = (
        "POST /api/v2/spans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n"
    )
    connection.sendall((head + "\r\n[" if in_body else head).encode())
    connection.setblocking(False)
    return connection


def _ingest_meanwhile(port: int, slow: list[socket.socket]) -> tuple[float, int]:
    """Send a byte on each connection every 10 s, and spans every second; return the slowest POST and who is gone."""
    begin, slowest = time.monotonic(), 0.0
    alive = list(slow)
    drip = begin + 10
    while alive and time.monotonic() < begin + _PATIENCE:
        sent = time.monotonic()
        status, text = _ask(port, "POST", "/api/v2/spans", json.dumps(_SPANS[:1]))
        assert status == 202, f"a POST meanwhile was answered {status}: {text.decode()}"
        slowest = max(slowest, time.monotonic() - sent)
        if sent > drip:
            drip = sent + 10
            alive = [connection for connection in alive if _drip(connection)]
        time.sleep(1)
    return slowest, len(slow) - len(alive)


def _drip(connection: socket.socket) -> bool:
    """Send a byte; return whether the connection is still there."""
    try:
        connection.send(b"x")
        return connection.recv(10_000, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@case(52, "rebind", "foreign Host and Origin, %2e%2e, NUL, LIKE and SQL in queries", "403, 404 or 400; the data intact")
def rebinding(lab: Lab) -> str:
    with _collector(lab) as port:
        refused = [
            _ask(port, "GET", "/api/v2/services", host="evil.example"),
            _ask(port, "GET", "/zipkin/", host=f"evil.example:{port}"),
            _ask(port, "GET", "/api/v2/services", host=""),
            _ask(port, "GET", "/api/v2/services", host="localhost.evil.example"),
            _ask(port, "POST", "/api/v2/spans", "[]", origin="http://evil.example"),
            _ask(port, "POST", "/api/v2/spans", "[]", origin="null"),
        ]
        assert [status for status, _ in refused] == [403] * 6, refused
        paths = [
            "/%2e%2e/%2e%2e/etc/passwd",
            "/zipkin/..%2f../etc/passwd",
            "/zipkin/%00",
            "/../../etc/passwd",
            "//etc/passwd",
        ]
        for path in paths:
            status, body = _ask(port, "GET", path)
            assert status in (400, 404), f"{path} gave {status}"
            assert b"root:" not in body
        for text in ("%", "_", "orders' OR '1'='1", "'; DROP TABLE spans; --", "\\", "\x00", "*", "or_ers", "ORDERS%"):
            _no_match(port, text)
        status, body = _ask(
            port, "GET", "/api/v2/traces?serviceName=orders&limit=100&endTs=1000000000001&lookback=86400000"
        )
        assert status == 200, body
        assert len(json.loads(body)) == 20, "the data is not what it was"
        return f"6/6 foreign requests refused, {len(paths)} paths, 27 queries, 20/20 traces intact"


def _no_match(port: int, text: str) -> None:
    """No pattern is one: it is looked for as it is."""
    window = "endTs=1000000000001&lookback=86400000"
    for name in ("serviceName", "spanName", "annotationQuery"):
        status, body = _ask(port, "GET", f"/api/v2/traces?{name}={quote(text)}&{window}")
        assert (status, body) in ((200, b"[]"), (400, body)), f"{name}={text!r} gave {status}: {body[:200]!r}"
