"""Clients that hardly send, or do not read: they are shown out, and nobody waits for them."""

import contextlib
import select
import socket
import threading
import time

import pytest

from obskit.collector.server import CollectorServer

from .conftest import client_of

HEAD = b"POST /api/v2/spans HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
SPAN = b'[{"traceId":"1","id":"2"}]'
NEVER = 3600.0
PATIENCE = 20  # seconds until a test fails


@pytest.fixture(autouse=True)
def deadlines(monkeypatch):
    """Return a function that sets deadlines; those which are not set never pass."""

    def set_deadlines(head=NEVER, body=NEVER, answer=NEVER):
        monkeypatch.setattr("obskit.collector.connection.HEAD_TIMEOUT", head)
        monkeypatch.setattr("obskit.collector.connection.ANSWER_TIMEOUT", answer)
        monkeypatch.setattr("obskit.collector.intake.bodies.BODY_TIMEOUT", body)

    set_deadlines()
    return set_deadlines


@contextlib.contextmanager
def connections(server, number, begin):
    """Open connections which send ``begin`` and stay."""
    with contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection((server.host, server.port), PATIENCE)) for _ in range(number)
        ]
        for connection in opened:
            connection.sendall(begin)
        yield opened


def last_words(connection, drip=b"x"):
    """Send a byte now and then until the server closes the connection; return what it said."""
    said = bytearray()
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(ConnectionError):  # the server closed while a byte was on its way
        while time.monotonic() < deadline:
            if drip:
                connection.send(drip)
            if select.select([connection], [], [], 0.02)[0]:
                piece = connection.recv(65536)
                said += piece
                if not piece:
                    return bytes(said)
        raise AssertionError(f"still connected; the server said {bytes(said[:100])!r}")
    return bytes(said)


def await_deadline(server):
    """Return when the deadline for the headers of a request that would begin now is over."""
    with connections(server, 1, b"") as (idle,):
        last_words(idle, drip=b"")


def announce(connection):
    """Send the headers of a post, and return once the collector waits for the body."""
    connection.sendall(HEAD + b"Expect: 100-continue\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 100")


@pytest.mark.parametrize("begin", [b"", b"P", HEAD], ids=["nothing", "a byte", "no end of the headers"])
def test_a_client_whose_headers_do_not_end_is_shown_out_while_it_sends(deadlines, begin):
    deadlines(head=0.3)
    with CollectorServer() as server, connections(server, 1, begin) as (slow,):
        assert last_words(slow, drip=b"x" if begin else b"") == b""


def test_a_client_whose_second_request_does_not_come_is_shown_out_while_it_sends(deadlines):
    with CollectorServer() as server, connections(server, 1, b"") as (slow,):
        deadlines(head=0.3)
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert last_words(slow).count(b"HTTP/1.1") == 1


def test_a_client_whose_body_does_not_end_is_answered_and_shown_out(deadlines):
    deadlines(body=0.3)
    with CollectorServer() as server, connections(server, 1, HEAD + b"\r\n[") as (slow,):
        assert last_words(slow, drip=b"").startswith(b"HTTP/1.1 408 ")


def test_a_client_whose_body_drips_is_shown_out(deadlines):
    deadlines(body=0.3)
    with CollectorServer() as server, connections(server, 1, HEAD + b"\r\n[") as (slow,):
        last_words(slow)


def test_the_rest_of_a_refused_body_is_not_waited_for(deadlines):
    with CollectorServer() as server, connections(server, 1, b"") as (slow,):
        deadlines(head=0.3)
        slow.sendall(b"POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        assert last_words(slow).startswith(b"HTTP/1.1 404 ")


def test_a_request_under_way_is_not_cut_by_the_deadline_for_headers(deadlines):
    stored = threading.Event()
    deadlines(head=0.3)
    request = HEAD.replace(b"100000", b"%d" % len(SPAN)) + b"\r\n" + SPAN
    with (
        CollectorServer(on_stored=lambda spans: stored.wait(PATIENCE)) as server,
        connections(server, 1, request) as (waiting,),
    ):
        await_deadline(server)
        stored.set()
        assert waiting.recv(100).startswith(b"HTTP/1.1 202")


def test_bodies_under_way_keep_nobody_out():
    with CollectorServer() as server, connections(server, 100, b"") as slow:
        for connection in slow:
            announce(connection)
            connection.sendall(b"[")
        assert client_of(server).post(b"[]").status == 202


def test_when_too_many_bytes_are_held_the_body_that_began_first_is_turned_away(monkeypatch):
    monkeypatch.setattr("obskit.collector.intake.bodies.MOST_BYTES", 200_000)
    with CollectorServer() as server, connections(server, 3, b"") as (first, second, third):
        for connection in (first, second):
            announce(connection)
            connection.sendall(SPAN.ljust(90_000))
        announce(third)
        third.sendall(SPAN.ljust(30_000))
        answer = last_words(first, drip=b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        for connection, missing in ((third, 70_000), (second, 10_000)):
            connection.sendall(b" " * missing)
            assert connection.recv(100).startswith(b"HTTP/1.1 202")


def test_bodies_that_wait_to_be_stored_count_and_make_room_when_they_are(monkeypatch):
    monkeypatch.setattr("obskit.collector.intake.bodies.MOST_BYTES", 100_000)
    busy, stored = threading.Event(), threading.Event()

    def wait(_spans):
        busy.set()
        assert stored.wait(PATIENCE)

    with CollectorServer(on_stored=wait) as server:
        client = client_of(server)
        answers = []
        posting = threading.Thread(target=lambda: answers.append(client.post(SPAN.ljust(90_000)).status))
        posting.start()
        assert busy.wait(PATIENCE)
        try:
            assert client.post(SPAN.ljust(20_000)).status == 503
        finally:
            stored.set()
            posting.join(PATIENCE)
        assert answers == [202]
        assert client.post(SPAN.ljust(20_000)).status == 202


@pytest.fixture(scope="module")
def long_trace():
    """A collector with a trace that no socket buffers whole, and the request for it."""
    with CollectorServer() as server:
        for number in range(1, 5):
            span = {"traceId": "1", "id": str(number), "tags": {"note": "x" * 9_000_000}}
            assert client_of(server).post([span]).status == 202
        yield server, b"GET /api/v2/trace/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def test_an_answer_that_is_read_slowly_is_not_cut_by_the_deadline_for_headers(deadlines, long_trace):
    server, request = long_trace
    deadlines(head=0.3)
    with connections(server, 1, request) as (slow,):
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        await_deadline(server)
        assert len(last_words(slow, drip=b"")) > 36_000_000


def test_an_answer_that_is_not_read_is_given_up(deadlines, long_trace):
    server, request = long_trace
    deadlines(head=0.6, answer=0.2)
    with connections(server, 1, request) as (slow,):
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        await_deadline(server)
        assert len(last_words(slow, drip=b"")) < 36_000_000
