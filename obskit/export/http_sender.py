"""Posts bodies over one kept-alive connection, within a deadline. Plain ``http.client``: nothing to install."""

from __future__ import annotations

import base64
import encodings.idna  # noqa: F401 - else imported by the first connection; see building.py
import http.client
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from obskit.export.exporter import DELIVERED, UNREACHABLE, Outcome
from obskit.export.wire import Wire

if TYPE_CHECKING:
    import ssl

_RETRY = frozenset([408, 425, 429, 500, 502, 503, 504])
_LONGEST_RETRY_AFTER = 30.0
_MOST_READ = 64 * 1024
_OK = range(200, 300)
_REDIRECT = range(300, 400)
# How a connection that the server closed while it was idle fails when it is used again.
_STALE = (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)
_PORTS = {"http": 80, "https": 443}


class HttpSender:
    """Sends to one URL. Redirects are not followed: spans go where they were told to, or nowhere."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._default_port = _PORTS[parts.scheme]
        self._host = parts.hostname or ""
        self._port = parts.port or self._default_port
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._headers = {**headers, **_authorization(parts)}
        self._tls = _tls_context() if parts.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes, deadline: float) -> Outcome:
        """Post ``body`` and say how it went. A connection the server closed while idle is opened once more."""
        reused = self._connection is not None
        try:
            return self._post(body, deadline)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not (reused and isinstance(error, _STALE)):
                return Outcome(UNREACHABLE, _printable(str(error)) or type(error).__name__, retry=True)
        return self.post(body, deadline)

    def close(self) -> None:
        """Close the connection; the next post opens one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes, deadline: float) -> Outcome:
        connection = self._connection or self._connect(deadline)
        self._wire.deadline = deadline
        connection.request("POST", self._path, body, self._headers)
        response = connection.getresponse()
        return _outcome(response, self._read(response))

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, self._port)
        connection.default_port = self._default_port  # what it leaves out of the Host header
        self._wire = Wire(self._host, self._port, self._tls, deadline)
        connection.sock = self._wire
        self._connection = connection
        return connection

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """Return the start of the body. The status is known: losing the rest costs the connection alone."""
        try:
            text = response.read(_MOST_READ)
        except (OSError, http.client.HTTPException):
            text = b""
        if not response.isclosed() or response.will_close:
            self.close()
        return text


def _tls_context() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context()


def _authorization(parts: SplitResult) -> dict[str, str]:
    """Return the header for a URL with a user (RFC 7617)."""
    if parts.username is None:
        return {}
    credentials = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
    return {"Authorization": f"Basic {base64.b64encode(credentials).decode()}"}


def _outcome(response: http.client.HTTPResponse, text: bytes) -> Outcome:
    status = response.status
    if status in _OK:
        return DELIVERED
    if status in _REDIRECT:
        return Outcome("redirected", f"{status}: redirects are not followed; use the final URL")
    detail = f"{status} {_printable(text[:200].decode('utf-8', 'replace'))}".strip()
    if status in _RETRY:
        return Outcome(f"http_{status}", detail, True, _retry_after(response.getheader("Retry-After")))
    return Outcome(f"http_{status}", detail, too_large=status == 413)


def _printable(text: str) -> str:
    """Return what a server or a library said as one line without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _retry_after(text: str | None) -> float:
    """Return the seconds a Retry-After header asks for (RFC 9110, 10.2.3): 0 where it makes no sense, capped."""
    try:
        seconds = float(text) if text and text.isdecimal() else parsedate_to_datetime(text or "").timestamp() - time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER)
