"""Where the CPU may stop between requests, spans leave before the response ends: servers are stopped as it arrives."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from obskit.instrumentation import response_flush
from obskit.instrumentation.response_flush import flush_responses
from obskit.integrations import asgi, wsgi
from obskit.settings import load
from obskit.testing import recording
from tests.export.receiver import ROOT, Receiver, clean_environ, eventually, receiver, reply
from tests.integrations.test_asgi import body, start
from tests.integrations.test_wsgi import Call

SERVER = str(Path(__file__).with_name("response_server.py"))
PATHS = ["/list", "/sized", "/stream", "/empty", "/raise"]
CASES = [(server, path, "GET") for server in ("wsgiref", "gunicorn", "uvicorn") for path in PATHS]
CASES += [("gunicorn", "/file", "GET"), ("gunicorn", "/sized", "HEAD"), ("uvicorn", "/sized", "HEAD")]


@contextmanager
def stoppable(kind: str, exporter: str, **options: str) -> Iterator[tuple[int, int]]:
    """Run the server in a process group of its own; give the group's id and the port."""
    settings = {"OBSKIT_EXPORTER": exporter, "OBSKIT_FLUSH_INTERVAL": "3600", "PYTHONPATH": str(ROOT), **options}
    command = [sys.executable, "-W", "ignore", SERVER, kind]
    process = subprocess.Popen(
        command,
        env=clean_environ(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def ask(port: int, path: str, method: str = "GET", headers: str = "") -> bytes:
    """Return a response as soon as all of it has arrived, by its own account."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        answer = b""
        while not complete(answer, method) and (data := connection.recv(65536)):
            answer += data
    return answer


def complete(answer: bytes, method: str) -> bool:
    head, separator, content = answer.partition(b"\r\n\r\n")
    if not separator or method == "HEAD":
        return bool(separator)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"content-length" in fields:
        return len(content) >= int(fields[b"content-length"])
    return b"chunked" in fields.get(b"transfer-encoding", b"") and content.endswith(b"0\r\n\r\n")


def received(server: Receiver) -> list[str]:
    return [span["tags"]["http.path"] for span in server.spans]


@pytest.mark.parametrize(("kind", "path", "method"), CASES)
def test_a_server_that_stops_when_its_response_has_arrived_has_delivered_the_span(
    kind: str, path: str, method: str
) -> None:
    with receiver() as server, stoppable(kind, server.url, OBSKIT_RESPONSE_FLUSH="20") as (group, port):
        answer = ask(port, path, method)
        os.killpg(group, signal.SIGSTOP)
        assert received(server) == [path]
        assert (b"second" in answer) == (path not in ("/empty", "/raise") and method == "GET")


@pytest.mark.parametrize("kind", ["wsgiref", "uvicorn"])
def test_the_default_on_cloud_run_delivers_in_time_too(kind: str) -> None:
    with receiver() as server, stoppable(kind, server.url, K_SERVICE="orders") as (_, port):
        ask(port, "/list")  # which starts the worker, and connects
        eventually(lambda: ask(port, "/list") and len(received(server)) >= 2)


@pytest.mark.parametrize("kind", ["wsgiref", "uvicorn"])
def test_without_the_option_no_response_waits(kind: str) -> None:
    with receiver() as server, stoppable(kind, server.url) as (_, port):
        assert ask(port, "/list")
        assert received(server) == []


@pytest.mark.parametrize("kind", ["gunicorn", "uvicorn"])
def test_a_destination_that_never_answers_keeps_no_response(kind: str) -> None:
    with receiver() as server:
        server.answers = [server.hang] * 9
        with stoppable(kind, server.url, OBSKIT_RESPONSE_FLUSH="0.1") as (_, port):
            assert all(b"second" in ask(port, "/stream") for _ in range(5))


@pytest.mark.parametrize("kind", ["wsgiref", "uvicorn"])
def test_spans_that_missed_their_time_have_that_of_later_requests_though_these_are_not_sampled(kind: str) -> None:
    with receiver(reply(503, "Retry-After: 1\r\n")) as server:
        options = {"OBSKIT_RESPONSE_FLUSH": "0.3", "RESPONSE_SERVER_PAUSE": "0"}
        with stoppable(kind, server.url, **options) as (group, port):
            ask(port, "/list")
            for _ in range(20):  # each takes a few milliseconds of its own
                ask(port, "/sized", headers="b3: 0\r\n")
            os.killpg(group, signal.SIGSTOP)
            assert received(server) == ["/list", "/list"]


class Flush:
    """What is called before a response ends; ``answer`` is what it returns when its time is over."""

    def __init__(self, answer: bool, seconds: float = 0.01) -> None:
        self.answer, self.seconds = answer, seconds
        self.calls: list[int] = []
        self.go_on = threading.Event()

    def __call__(self, timeout: float) -> bool:
        assert timeout == self.seconds
        self.calls.append(threading.get_ident())
        return self.go_on.wait(timeout) or self.answer

    def __enter__(self) -> Flush:
        flush_responses(self, self.seconds)
        return self

    def __exit__(self, *_: object) -> None:
        flush_responses(None)


def hello(_environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


async def hello_async(_scope: Any, _receive: Any, send: Any) -> None:
    await send(start())
    await send(body(b"hello"))


async def call(app: Any, headers: Any = ()) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": None}
    await asgi.ObskitMiddleware(app)(scope, None, send)  # type: ignore[arg-type]
    return sent


def test_after_a_flush_that_took_all_its_time_the_next_responses_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with recording() as recorder, Flush(answer=False) as flush:
        for _ in range(3):
            Call(wsgi.ObskitMiddleware(hello))
            recorder.take()
        assert len(flush.calls) == 1
        monkeypatch.setattr(response_flush, "monotonic", lambda: float("inf"))  # much later
        Call(wsgi.ObskitMiddleware(hello))
        recorder.take()
        assert len(flush.calls) == 2


def test_an_event_loop_that_flushed_in_vain_does_not_wait_again_either() -> None:
    async def twice() -> None:
        for _ in range(2):
            assert await call(hello_async) == [start(), body(b"hello")]
            recorder.take()
            await asyncio.to_thread(eventually, lambda: response_flush._current.paused)  # type: ignore[union-attr]

    with recording() as recorder, Flush(answer=False) as flush:
        asyncio.run(twice())
        assert len(flush.calls) == 1


def test_a_flush_that_fails_at_once_is_tried_again_with_the_next_response() -> None:
    """A destination that refuses spans costs no time, and others may take theirs."""
    with recording() as recorder, Flush(answer=False, seconds=60) as flush:
        flush.go_on.set()
        flush.go_on.wait = lambda _timeout: False  # type: ignore[method-assign, assignment]
        for _ in range(2):
            Call(wsgi.ObskitMiddleware(hello))
            recorder.take()
        assert len(flush.calls) == 2


def test_the_event_loop_runs_on_while_a_response_waits() -> None:
    """The flush waits for what the loop does meanwhile."""

    async def both() -> None:
        response = asyncio.create_task(call(hello_async))
        await asyncio.to_thread(eventually, lambda: flush.calls)
        assert not response.done()
        flush.go_on.set()
        await response

    with recording() as recorder, Flush(answer=False, seconds=60) as flush:
        asyncio.run(both())
        recorder.take()
        assert flush.calls != [threading.get_ident()]


def test_requests_that_are_not_recorded_wait_for_nothing_where_nothing_is_left_behind() -> None:
    with recording(sample_rate=0), Flush(answer=True) as flush:
        Call(wsgi.ObskitMiddleware(hello))
        asyncio.run(call(hello_async))
        assert flush.calls == []


def unsampled(app: Any = hello) -> Call:
    return Call(wsgi.ObskitMiddleware(app), HTTP_B3="0")


def sized(_environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    yield b"first"
    yield b"secon"


def test_what_a_response_left_behind_the_next_one_delivers_though_not_sampled_before_its_last_piece() -> None:
    with recording() as recorder, Flush(answer=False, seconds=60) as flush:
        flush.go_on.wait = lambda _timeout: flush.answer  # type: ignore[method-assign, assignment]
        Call(wsgi.ObskitMiddleware(hello))
        recorder.take()
        flush.answer = True
        pieces = iter(unsampled(sized).body)
        assert (next(pieces), len(flush.calls)) == (b"first", 1)
        assert (next(pieces), len(flush.calls)) == (b"secon", 2)
        unsampled()
        assert len(flush.calls) == 2, "nothing is left"


def test_an_event_loop_delivers_what_was_left_behind_too() -> None:
    async def serve() -> None:
        await call(hello_async)
        recorder.take()
        for _ in range(2):
            await call(hello_async, [(b"b3", b"0")])

    with recording() as recorder, Flush(answer=False, seconds=60) as flush:
        flush.go_on.wait = lambda _timeout: len(flush.calls) > 1  # type: ignore[method-assign, assignment]
        asyncio.run(serve())
        assert len(flush.calls) == 2


def test_what_is_left_while_responses_do_not_wait_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    with recording() as recorder, Flush(answer=False) as flush:
        for _ in range(2):
            Call(wsgi.ObskitMiddleware(hello))
            recorder.take()
        unsampled()
        assert len(flush.calls) == 1
        monkeypatch.setattr(response_flush, "monotonic", lambda: float("inf"))  # much later
        flush.go_on.set()
        unsampled()
        unsampled()
        assert len(flush.calls) == 2


def test_a_flush_that_raises_breaks_no_response() -> None:
    def fail(_timeout: float) -> bool:
        raise ValueError("no such luck")

    flush_responses(fail, 1)
    try:
        with recording() as recorder:
            assert Call(wsgi.ObskitMiddleware(hello)).body == [b"hello"]
            assert asyncio.run(call(hello_async))
            recorder.take()
            recorder.take()
    finally:
        flush_responses(None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_flushes_on_a_thread_of_its_own() -> None:
    code = """
import asyncio, os, sys
from obskit.instrumentation.response_flush import flush_responses
from obskit.testing import recording
from tests.instrumentation.test_response_flush import call, hello_async
calls = []
flush_responses(lambda timeout: calls.append(1) or True, 10)
with recording() as recorder:
    asyncio.run(call(hello_async)); recorder.take()
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    asyncio.run(call(hello_async)); recorder.take()
os._exit(len(calls) != 2)
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    done = subprocess.run(command, env=clean_environ(), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"K_SERVICE": "orders"}, 0.3),
        ({"AWS_LAMBDA_FUNCTION_NAME": "orders"}, 0.3),
        ({"K_SERVICE": "orders", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, 0.0),
        ({"K_SERVICE": "orders", "OBSKIT_RESPONSE_FLUSH": "0"}, 0.0),
        ({"CLOUD_RUN_JOB": "nightly"}, 0.0),
    ],
)
def test_by_default_responses_wait_where_the_platform_may_stop_the_cpu(environ: dict[str, str], seconds: float) -> None:
    """Knative on a cluster of one's own has its CPU all the time."""
    assert load({}, environ).response_flush == seconds
