"""TLS over a Wire, with memory buffers: programs and libraries replace sockets, including ``ssl.SSLSocket``."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

_CHUNK = 65536


class Tls:
    """One session of a client. Raises OSError, of which ``ssl.SSLError`` is one."""

    def __init__(
        self, context: ssl.SSLContext, host: str, send: Callable[[bytes], object], receive: Callable[[], bytes]
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._send = send
        self._receive = receive
        self._run(self._session.do_handshake)

    def send(self, data: bytes) -> None:
        """Send ``data``."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._run(self._session.write, rest) :]

    def receive(self) -> bytes:
        """Receive some bytes; none where the other end has closed, politely or not."""
        try:
            received: bytes = self._run(self._session.read, _CHUNK)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        return received

    def _run(self, operation: Callable[..., Any], *args: Any) -> Any:
        """Call ``operation`` until it has received what it needs; send whatever it has to say, also where it fails."""
        while True:
            try:
                return operation(*args)
            except ssl.SSLWantReadError:
                pass
            finally:
                if self._outgoing.pending:
                    self._send(self._outgoing.read())
            data = self._receive()
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
