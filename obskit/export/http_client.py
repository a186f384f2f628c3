"""HTTP over one kept-alive connection to one server, each exchange within a deadline. Plain ``http.client``."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - else imported by the first connection; see building.py
import http.client
from collections.abc import Mapping
from email.message import Message
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from obskit.export.proxy import find_proxy
from obskit.export.url import authority
from obskit.export.wire import Wire

if TYPE_CHECKING:
    import ssl

MOST_READ = 64 * 1024
# How a connection that the server closed while it was idle fails when it is used again.
_STALE = (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)
_PORTS = {"http": 80, "https": 443}


class Answer(NamedTuple):
    """A response: its status, its headers (named in any case), and the start of its body."""

    status: int
    headers: Message
    body: bytes


class Unreachable(Exception):
    """No answer came; the text says why, in one line."""


class HttpClient:
    """Talks to the server of one ``http(s)://`` URL, whose path counts for nothing. Not thread-safe.

    Redirects are answers like others: nothing goes to a server that nobody named. Where the environment names a proxy
    for the server, all goes through it: ``via`` says so to people.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._default_port = _PORTS[parts.scheme]
        self._host = parts.hostname or ""
        self._port = parts.port or self._default_port
        self._tls = _tls_context() if parts.scheme == "https" else None
        self._proxy = find_proxy(parts)
        self.via = f" (through the proxy {self._proxy})" if self._proxy is not None else ""
        self._connection: http.client.HTTPConnection | None = None

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: float,
        most_read: int = MOST_READ,
    ) -> Answer:
        """Send a request and return the answer, with ``most_read`` bytes of its body at most.

        Where the server ends the body too early or too late, the answer has what came. A connection that the server
        closed while it was idle is opened once more. Raises Unreachable.
        """
        request = (method, path, body, dict(headers))
        reused = self._connection is not None
        try:
            return self._exchange(request, deadline, most_read)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not (reused and isinstance(error, _STALE)):
                raise Unreachable((printable(str(error)) or type(error).__name__) + self.via) from error
        return self.exchange(*request, deadline, most_read)

    def close(self) -> None:
        """Close the connection; the next exchange opens one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _exchange(
        self, request: tuple[str, str, bytes | None, dict[str, str]], deadline: float, most_read: int
    ) -> Answer:
        connection = self._connection or self._connect(deadline)
        self._wire.deadline = deadline
        connection.request(*self._through_proxy(*request))
        response = connection.getresponse()
        if self._proxy is not None and response.status == http.client.PROXY_AUTHENTICATION_REQUIRED:
            raise ConnectionError(f"{response.status} {response.reason}")
        return Answer(response.status, response.headers, self._read(response, most_read))

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, self._port)
        connection.default_port = self._default_port  # what it leaves out of the Host header
        self._wire = self._open(deadline)
        connection.sock = self._wire
        self._connection = connection
        return connection

    def _open(self, deadline: float) -> Wire:
        if self._proxy is None:
            return Wire(self._host, self._port, self._tls, deadline)
        wire = self._proxy.connect(deadline)
        if self._tls is not None:
            self._proxy.tunnel(wire, self._host, self._port)
            wire.start_tls(self._tls, self._host)
        return wire

    def _through_proxy(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[str, str, bytes | None, dict[str, str]]:
        """Return a request as a proxy wants it that sees it (RFC 9112, 3.2.2); others as they are."""
        if self._proxy is None or self._tls is not None:
            return method, path, body, headers
        server = authority(self._host, self._port).removesuffix(":80")
        return method, f"http://{server}{path}", body, {**headers, **self._proxy.headers}

    def _read(self, response: http.client.HTTPResponse, most: int) -> bytes:
        """Return the start of the body. The status is known: losing the rest costs the connection alone."""
        try:
            text = response.read(most)
        except (OSError, http.client.HTTPException):
            text = b""
        if not response.isclosed() or response.will_close:
            self.close()
        return text


def printable(text: str) -> str:
    """Return what a server or a library said as one line without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _tls_context() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context()
