"""obskit's own connection, all of whose operations end by one absolute deadline.

Its socket and its TLS are below what programs replace for their tests (``socket.socket``, ``http.client``) and what
gevent and eventlet patch: none of them can see, answer or delay obskit's requests. It is used on native threads, which
may block.
"""

from __future__ import annotations

import _socket
import io
from time import monotonic
from typing import TYPE_CHECKING, Any

from obskit.base.own_file import OwnFile

if TYPE_CHECKING:
    import ssl

    from obskit.export.net.tls import Tls

_CHUNK = 65536


class Wire:
    """Sends and receives bytes. Set ``deadline`` (of ``time.monotonic``) before each request.

    A socket's own timeout applies to each operation, so a server that sends a byte a second would never be late.
    All methods raise OSError; TimeoutError after the deadline.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, deadline: float) -> None:
        self.deadline = deadline
        self._tls: Tls | None = None
        self._file: OwnFile | None = None
        self._open(host, port)
        if tls is not None:
            self.start_tls(tls, host)

    def is_open(self) -> bool:
        """Return False if the application has closed the connection as a file that it does not know."""
        return self._file is not None and self._file.is_open()

    def start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on, with ``host`` at the other end."""
        from obskit.export.net.tls import Tls

        self._tls = Tls(tls, host, self.send_raw, self.receive_raw)

    def sendall(self, data: bytes) -> None:
        """Send ``data``."""
        (self.send_raw if self._tls is None else self._tls.send)(data)

    def receive(self) -> bytes:
        """Receive some bytes; none where the other end has closed."""
        return self.receive_raw() if self._tls is None else self._tls.receive()

    def reader(self) -> io.BufferedReader:
        """Return what reads the response; closing it leaves the connection open."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Close the connection, unless the application has."""
        if self.is_open():
            self._socket.close()
        elif self._file is not None:
            self._socket.detach()

    def __del__(self) -> None:
        """Close: a forked child drops the connection it inherited, which is nobody's mistake to be warned about."""
        self.close()

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._timed().send(rest) :]

    def receive_raw(self) -> bytes:
        """Receive bytes as they are."""
        return bytes(self._timed().recv(_CHUNK))

    def _open(self, host: str, port: int) -> None:
        """Connect to the first address of ``host`` that answers."""
        failure: OSError = ConnectionError(f"{host} has no address")
        # As bytes: of text, even if plain ASCII, Python would first import its codec for international names.
        name = host.encode("ascii" if host.isascii() else "idna")
        for family, kind, protocol, _, address in _socket.getaddrinfo(name, port, 0, _socket.SOCK_STREAM):
            self._socket = _socket.socket(family, kind, protocol)
            self._file = OwnFile(self._socket.fileno())
            try:
                self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
                self._timed().connect(address)
            except OSError as error:
                self.close()  # now: the error refers to this, and so keeps it for long
                failure = error
            else:
                return
        raise failure

    def _timed(self) -> Any:
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
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._rest or self._wire.receive()
        size = min(len(buffer), len(data))
        buffer[:size], self._rest = data[:size], data[size:]
        return size
