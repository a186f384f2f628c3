"""Slow searches: what is urgent does not wait for them, and they end when nobody waits for them."""

import contextlib
import socket
import threading
import time

import pytest

from obskit.collector.server import CollectorServer
from obskit.collector.store import spans as store

from .conftest import client_of

READS = ["/api/v2/traces", "/api/v2/dependencies?endTs=1", "/zipkin/?annotationQuery=error"]
PATIENCE = 20.0


class SlowReads:
    """Searches that go on until they are released or stopped."""

    def __init__(self, monkeypatch):
        self.begun = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.count = 0
        self.release = threading.Event()
        for name in ("search", "links"):
            monkeypatch.setattr(store.SpanStore, name, self._read)

    def _read(self, _query, deadline):
        self.count += 1
        self.begun.release()
        try:
            while not self.release.wait(0.01):
                deadline.check()
        finally:
            self.stopped.release()
        return []


@pytest.fixture
def slow(monkeypatch):
    reads = SlowReads(monkeypatch)
    yield reads
    reads.release.set()


@contextlib.contextmanager
def asking(server, path, count):
    """Connections that have sent a request each."""
    with contextlib.ExitStack() as stack:
        address = (server.host, server.port)
        clients = [stack.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(count)]
        for client in clients:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield clients


@pytest.mark.parametrize("path", READS)
def test_health_metrics_and_messages_do_not_wait_for_searches(slow, path):
    with CollectorServer() as server, asking(server, path, 60):
        assert slow.begun.acquire(timeout=PATIENCE)
        client = client_of(server)
        assert client.post([{"traceId": "1", "id": "1"}]).status == 202
        assert client.get("/health").status == client.get("/metrics").status == 200
        slow.release.set()


@pytest.mark.parametrize("path", READS)
def test_a_search_ends_when_its_client_leaves_and_those_that_wait_are_not_begun(slow, path):
    with CollectorServer() as server:
        with asking(server, path, 20):
            for _ in range(2):
                assert slow.begun.acquire(timeout=PATIENCE)
        for _ in range(2):
            assert slow.stopped.acquire(timeout=PATIENCE)
        slow.release.set()
        assert client_of(server).get("/api/v2/traces").status == 200
        assert slow.count < 2 + 20 // 2  # a client that leaves is noticed a moment later


def test_a_search_that_takes_too_long_is_given_up_with_the_remedy(slow, monkeypatch):
    monkeypatch.setattr("obskit.collector.deadline.SEARCH_TIMEOUT", 0.2)
    with CollectorServer() as server:
        answer = client_of(server).get("/api/v2/traces")
    assert answer.status == 503
    assert "took longer than 0.2 s; ask for less time" in answer.text


def test_a_message_that_waited_and_whose_client_has_left_is_not_decoded(monkeypatch):
    monkeypatch.setattr("obskit.collector.intake.zipkin._STALE", 0.0)
    busy, go_on = threading.Event(), threading.Event()

    def wait(_spans):
        busy.set()
        assert go_on.wait(PATIENCE)

    with CollectorServer(on_stored=wait) as server:
        client = client_of(server)
        first = threading.Thread(target=client.post, args=([{"traceId": "1", "id": "1"}],))
        first.start()
        assert busy.wait(PATIENCE)
        body = b'[{"traceId":"2","id":"1"}]'
        head = f"POST /api/v2/spans HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((server.host, server.port)) as leaving:
            leaving.sendall(head.encode() + body)
        await_metric(client, "messages", 2)
        client.get("/health")  # a round through the event loop: the end of the connection has been read
        go_on.set()
        first.join(PATIENCE)
        await_metric(client, "messages_dropped", 1)
        assert client.get("/api/v2/trace/2").status == 404


def await_metric(client, name, value):
    deadline = time.monotonic() + PATIENCE
    while client.get("/metrics").json[f"counter.zipkin_collector.{name}.http"] != value:
        assert time.monotonic() < deadline, name
        time.sleep(0.01)
