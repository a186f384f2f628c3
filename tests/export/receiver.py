"""A receiver of spans on a real socket that answers each request as told, and what tests need to watch it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.sockets import accepted

ROOT = Path(__file__).parents[2]
GOOGLE_ENDS_3_10 = "ignore:You are using a non-supported Python version:FutureWarning"  # google.api_core's
FORK = "ignore:This process (pid:DeprecationWarning"  # from 3.15 on a fork beside a thread raises it, if told to

AT_REST = """
def at_rest():
    import pathlib, time
    def states():
        others = [task for task in pathlib.Path('/proc/self/task').iterdir() if task.name != str(os.getpid())]
        return {(task / 'stat').read_text().rpartition(')')[2].split()[0] for task in others}
    while states() - {'S'}: time.sleep(0.01)
"""
"""Code that waits until a program's other threads sleep.

A child that Python does not know of waits for ever for a thread that asked for the interpreter at the fork.
"""

Answer = Callable[[socket.socket], bool]
"""Answers one request; returns whether the connection stays open."""


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until ``condition`` is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.002)
    return found


def reply(status: int, headers: str = "", body: bytes = b"", keep: bool = True) -> Answer:
    head = f"HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode()

    def answer(connection: socket.socket) -> bool:
        connection.sendall(head + body)
        return keep

    return answer


def raw(data: bytes) -> Answer:
    def answer(connection: socket.socket) -> bool:
        connection.sendall(data)
        return False

    return answer


def reset(connection: socket.socket) -> bool:
    """Send RST instead of an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


class Receiver:
    """Holds every request, in order: ``bodies``, and ``heads`` (request line and headers as text)."""

    def __init__(self, answers: tuple[Answer, ...], listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        self.heads: list[str] = []
        self.connections = 0
        self.closing = threading.Event()
        self._listener = listener
        self._tls = tls
        self._open: set[socket.socket] = set()
        host, self.port = listener.getsockname()[:2]
        self.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}/api/v2/spans"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Return all spans received, in order."""
        return [span for body in list(self.bodies) for span in json.loads(body)]

    @property
    def names(self) -> list[str]:
        return [span["name"] for span in self.spans]

    def hang(self, _connection: socket.socket) -> bool:
        """Answer nothing until the test is over."""
        self.closing.wait()
        return False

    def drip(self, data: bytes, every: float = 0.02) -> Answer:
        """Answer one byte at a time, without end where ``data`` has none."""

        def answer(connection: socket.socket) -> bool:
            for byte in data:
                connection.sendall(bytes([byte]))
                if self.closing.wait(every):
                    break
            return False

        return answer

    def close(self) -> None:
        self.closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # else the port stays taken while ``accept`` waits
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):  # its client has gone
                connection.shutdown(socket.SHUT_RDWR)  # ``close`` leaves it open for whoever reads from it
            connection.close()

    def _accept(self) -> None:
        for connection in accepted(self._listener):
            self.connections += 1
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            with connection, connection.makefile("rb") as stream:
                while self._receive(stream) and self._answer(connection):
                    pass
        except OSError:
            return

    def _receive(self, stream: Any) -> bool:
        head = "".join(iter(lambda: stream.readline().decode(), "\r\n")) if stream.peek(1) else ""
        if not head:
            return False
        length = next(int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:"))
        body = stream.read(length)
        self.heads.append(head)
        self.bodies.append(body)
        return len(body) == length

    def _answer(self, connection: socket.socket) -> bool:
        answer = self.answers.pop(0) if self.answers else reply(202)
        return answer(connection)


@contextmanager
def receiver(
    *answers: Answer, family: int = socket.AF_INET, tls: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[Receiver]:
    """Listen; the first requests are answered by ``answers``, the others with 202."""
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
    listener.listen(64)
    found = Receiver(answers, listener, tls)
    try:
        yield found
    finally:
        found.close()


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program with this Python, without settings from outside; warnings are errors there too."""
    command = [sys.executable, "-W", "error", "-W", GOOGLE_ENDS_3_10, "-W", FORK, "-c", code, *arguments]
    return subprocess.run(command, env=clean_environ(**environ), capture_output=True, text=True, timeout=60)


def clean_environ(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OBSKIT_", "OTEL_"))}
    return {**kept, "OBSKIT_LOGS": "off", **more}
