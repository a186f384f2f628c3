"""A receiver of spans on a real socket, which answers each request as a case wants it to.

It reads what obskit sends and what its peers send: Zipkin's JSON, Sentry's envelopes, Datadog's msgpack, Elastic's
lines.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.battery.payloads import inflate, span_names
from tests.sockets import accepted


class Request:
    """One request. ``status`` is what it was answered, None where it got no answer."""

    def __init__(self, number: int, head: str, body: bytes) -> None:
        self.number = number
        self.head = head
        self.path = head.split()[1]
        self.body = inflate(head, body)
        self.size = len(body)
        self.status: int | None = None

    @property
    def names(self) -> list[str]:
        """The names of the spans in it."""
        return span_names(self.path, self.body)

    @property
    def spans(self) -> list[dict[str, Any]]:
        """The spans in it, where they are Zipkin's."""
        found: list[dict[str, Any]] = json.loads(self.body)
        return found


Answer = Callable[[Request, socket.socket], bool]
"""Answers one request; returns whether the connection stays open."""
Policy = Callable[[Request], Answer]
"""Chooses the answer."""


def reply(status: int, headers: str = "", body: bytes = b"") -> Answer:
    head = f"HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode()

    def answer(request: Request, connection: socket.socket) -> bool:
        request.status = status
        connection.sendall(head + body)
        return True

    return answer


def reset(_request: Request, connection: socket.socket) -> bool:
    """Send RST instead of an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


ACCEPT = reply(202, "Content-Type: application/json\r\n", b"{}")


class Backend:
    """Keeps every request, in order. ``policy`` answers those with spans, ``questions`` the others."""

    def __init__(self, policy: Policy, listener: socket.socket) -> None:
        self.policy = policy
        self.questions: Answer = ACCEPT
        self.requests: list[Request] = []
        self.connections = 0
        self._closing = threading.Event()
        self._listener = listener
        self._open: set[socket.socket] = set()
        self.port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api/v2/spans"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def names(self) -> list[str]:
        """The names of all spans that it said it had taken, in order."""
        return [name for request in self.taken for name in request.names]

    @property
    def taken(self) -> list[Request]:
        """The requests answered with 2xx that hold spans."""
        return [one for one in list(self.requests) if one.status in range(200, 300) and one.names]

    @property
    def posts(self) -> list[Request]:
        """The requests that hold spans, whatever they were answered."""
        return [one for one in list(self.requests) if one.names]

    def hang(self, _request: Request, _connection: socket.socket) -> bool:
        """Answer nothing until the case is over."""
        self._closing.wait()
        return False

    def close(self) -> None:
        self._closing.set()
        self._listener.close()
        for connection in list(self._open):
            connection.close()

    def _accept(self) -> None:
        for connection in accepted(self._listener):
            self.connections += 1
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        try:
            with connection, connection.makefile("rb") as stream:
                while (request := self._receive(stream, connection)) and self._answer(request, connection):
                    pass
        except OSError:
            return
        finally:
            self._open.discard(connection)

    def _answer(self, request: Request, connection: socket.socket) -> bool:
        # A peer asks questions besides (what the agent can do): the policy is about spans.
        answer = self.policy(request) if request.names else self.questions
        return answer(request, connection)

    def _receive(self, stream: Any, connection: socket.socket) -> Request | None:
        head = "".join(iter(lambda: stream.readline().decode("latin-1"), "\r\n")) if stream.peek(1) else ""
        if not head:
            return None
        if "expect: 100-continue" in head.lower():
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = Request(len(self.requests), head, b"".join(_body(head, stream)))
        self.requests.append(request)
        return request


def _body(head: str, stream: Any) -> Iterator[bytes]:
    if "transfer-encoding: chunked" in head.lower():
        while size := int(stream.readline(), 16):
            yield stream.read(size)
            stream.readline()
        stream.readline()
        return
    lengths = [int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:")]
    body = stream.read(*lengths) if lengths else b""
    if lengths and len(body) < lengths[0]:
        raise ConnectionError("the sender went away in the middle of a body")
    yield body


def accept(_request: Request) -> Answer:
    return ACCEPT


def first(*answers: Answer) -> Policy:
    """Answer the first requests with ``answers``, the others with 202."""
    rest = list(answers)
    return lambda _request: rest.pop(0) if rest else ACCEPT


def always(answer: Answer) -> Policy:
    return lambda _request: answer


@contextmanager
def backend(policy: Policy = accept, port: int = 0) -> Iterator[Backend]:
    """Listen on a free port, or on ``port``."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(256)
    found = Backend(policy, listener)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def hanging() -> Iterator[Backend]:
    """Listen, read what comes, and never answer."""
    with backend() as found:
        found.policy = always(found.hang)
        yield found
