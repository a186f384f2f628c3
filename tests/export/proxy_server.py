"""A small HTTP proxy on a real socket: whatever host it is asked for, it connects to one port of this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.sockets import accepted

BIG = 65536


class ProxyServer:
    """Keeps the ``heads`` it was sent, each as text. ``answer`` is what it says instead of doing its work."""

    def __init__(self, listener: socket.socket, port: int, answer: bytes | None) -> None:
        self.heads: list[str] = []
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._target = port
        self._answer = answer
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        for connection in accepted(self._listener):
            self._open.append(connection)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while head := self._read_head(connection):
                self.heads.append(head)
                if self._answer is not None:
                    connection.sendall(self._answer)
                    while not self._answer and connection.recv(BIG):  # hang until the client has enough
                        pass
                    return
                self._pass_on(connection, head)

    def _read_head(self, connection: socket.socket) -> str:
        """Read to the empty line and no further: the body is for the server."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                return ""
            head += byte
        return head.decode()

    def _pass_on(self, connection: socket.socket, head: str) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        self._open.append(server)
        if head.startswith("CONNECT"):
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(head.encode())
        back = threading.Thread(target=_pump, args=[server, connection], daemon=True)
        back.start()
        _pump(connection, server)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(BIG):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxy_server(port: int, answer: bytes | None = None) -> Iterator[ProxyServer]:
    """Run a proxy to ``port``, or one that answers ``answer`` to everything; nothing at all where that is empty."""
    found = ProxyServer(socket.create_server(("127.0.0.1", 0)), port, answer)
    try:
        yield found
    finally:
        found.close()
