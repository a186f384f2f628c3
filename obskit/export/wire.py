"""A connection all of whose operations end by one absolute deadline."""

from __future__ import annotations

import io
import socket
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl


class Wire:
    """What ``http.client`` needs of a socket. Set ``deadline`` (of ``time.monotonic``) before each request.

    A socket's own timeout begins anew with every operation, so a server that sends a byte a second is never late.
    All methods raise OSError, TimeoutError where time is up.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, deadline: float) -> None:
        self.deadline = deadline
        self._socket = socket.socket()
        self._open(host, port)
        if tls is not None:
            self.start_tls(tls, host)

    def start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on, with ``host`` at the other end."""
        self._socket = tls.wrap_socket(self._timed(), server_hostname=host)

    def sendall(self, data: Any) -> None:
        """Send ``data`` (bytes)."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._timed().send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what reads the response; closing it leaves the connection open."""
        return io.BufferedReader(_Reader(self))

    def receive_into(self, buffer: Any) -> int:
        """Receive some bytes."""
        return self._timed().recv_into(buffer)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __del__(self) -> None:
        """Close: a forked child drops the connection it inherited, which is nobody's mistake to be warned about."""
        self._socket.close()

    def _open(self, host: str, port: int) -> None:
        """Connect to the first address of ``host`` that answers."""
        failure: OSError = ConnectionError(f"{host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            self._socket.close()
            self._socket = socket.socket(family, kind, protocol)
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._timed().connect(address)
            except OSError as error:
                failure = error
            else:
                return
        raise failure

    def _timed(self) -> socket.socket:
        """Return the socket, with what is left as its timeout."""
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._socket


class _Reader(io.RawIOBase):
    """The receiving half of a Wire as a raw stream."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(buffer)
