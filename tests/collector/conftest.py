"""A collector on a real socket, and a client which shows every answer as it is."""

from __future__ import annotations

import http.client
import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from obskit.collector.server import CollectorServer
from tests import zipkin_server as reference
from tests.collector import chromium


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Requests to ``host:port``, one connection each, redirects not followed."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, body: bytes | list[dict[str, Any]], path: str = "/api/v2/spans", **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, data, {"content-type": "application/json", **named})


def client_of(server: CollectorServer) -> Client:
    return Client(server.host, server.port)


@pytest.fixture(scope="module")
def shared():
    """A client of a collector in memory which the tests of a module share: for what stores nothing of interest."""
    with CollectorServer() as server:
        yield client_of(server)


@pytest.fixture
def client():
    """A client of an empty collector in memory."""
    with CollectorServer() as server:
        yield client_of(server)


@pytest.fixture(scope="module")
def zipkin_server():
    """A client of the reference: the real Zipkin server, with nothing in it but what the module's tests post."""
    with ExitStack() as stack:
        try:
            port = stack.enter_context(reference.running())
        except reference.Unavailable as error:
            pytest.skip(f"no Zipkin server: {error}")
        yield Client("127.0.0.1", port)


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    if not chromium.find():
        pytest.skip("no Chromium on the PATH")
    with chromium.Browser() as found:
        yield found
