"""HTTP over one kept-alive connection to one server, each exchange within a deadline."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - else imported by the first connection; see fork_lock.py
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from obskit.base.values import one_line
from obskit.export.net.http_message import Head, Headers, NotHttp, read_body, read_head, send_request
from obskit.export.net.proxy import find_proxy
from obskit.export.net.url import authority
from obskit.export.net.wire import Wire

if TYPE_CHECKING:
    import io
    import ssl

MOST_READ = 64 * 1024
PORTS = {"http": 80, "https": 443}
# Errors of a connection that the server has closed while it was idle.
_STALE = (ConnectionResetError, BrokenPipeError)
_PROXY_AUTHENTICATION_REQUIRED = 407


Connect = Callable[[str, int, "ssl.SSLContext | None", float], Wire]
"""Connects to a host and a port, with TLS or without, by a deadline."""


class Answer(NamedTuple):
    """A response: its status, its headers (named in any case), and the start of its body."""

    status: int
    headers: Headers
    body: bytes


class Unreachable(Exception):
    """There was no answer; the text says why, in one line."""


class HttpClient:
    """Talks to the server of one ``http(s)://`` URL, whose path is ignored. Not thread-safe.

    Redirects are not followed, so that nothing goes to another server. If the environment names a proxy for the
    server, it is used, and ``via`` names it for messages. ``connect`` makes the connections.
    """

    def __init__(self, url: str, connect: Connect = Wire) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or PORTS[parts.scheme]
        self._netloc = netloc(self._host, self._port, parts.scheme)
        self._tls = tls_context() if parts.scheme == "https" else None
        self._proxy = find_proxy(parts)
        self.via = f" (through the proxy {self._proxy})" if self._proxy is not None else ""
        self._connect = connect
        self._wire: Wire | None = None

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
        request = (method, path, body, headers)
        reused = self._wire is not None
        try:
            return self._exchange(*request, deadline, most_read)
        except (OSError, NotHttp) as error:
            self.close()
            if not (reused and isinstance(error, _STALE)):
                raise Unreachable(one_line(error) + self.via) from error
        return self.exchange(*request, deadline, most_read)

    def close(self) -> None:
        """Close the connection; the next exchange opens one."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], deadline: float, most_read: int
    ) -> Answer:
        if self._wire is None or not self._wire.is_open():
            self._wire = self._open(deadline)
        wire = self._wire
        wire.deadline = deadline
        target, headers = self._through_proxy(path, headers)
        send_request(wire, method, target, self._netloc, body, headers)
        reader = wire.reader()
        head = read_head(reader)
        if self._proxy is not None and head.status == _PROXY_AUTHENTICATION_REQUIRED:
            raise ConnectionError(f"{head.status} {head.reason}")
        return Answer(head.status, head.headers, self._read(reader, method, head, most_read))

    def _open(self, deadline: float) -> Wire:
        if self._proxy is None:
            return self._connect(self._host, self._port, self._tls, deadline)
        wire = self._connect(self._proxy.host, self._proxy.port, None, deadline)
        if self._tls is not None:
            self._proxy.tunnel(wire, self._host, self._port)
            wire.start_tls(self._tls, self._host)
        return wire

    def _through_proxy(self, path: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """Return target and headers as a proxy wants them that sees them (RFC 9112, 3.2.2); else as they are."""
        if self._proxy is None or self._tls is not None:
            return path, headers
        return f"http://{self._netloc}{path}", {**headers, **self._proxy.headers}

    def _read(self, reader: io.BufferedReader, method: str, head: Head, most: int) -> bytes:
        text, complete = read_body(reader, method, head, most)
        if not complete or not head.stays:
            self.close()
        return text


def netloc(host: str, port: int, scheme: str) -> str:
    """Return a server as the Host header names it: without the port that its scheme implies."""
    return authority(host, port).removesuffix(f":{PORTS[scheme]}")


def tls_context() -> ssl.SSLContext:
    """Return a context with the machine's trusted certificates."""
    import ssl

    import obskit.export.net.tls  # noqa: F401 - now, and not by the first connection; see fork_lock.py

    return ssl.create_default_context()
