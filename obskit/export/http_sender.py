"""Posts bodies over one kept-alive connection, within a deadline. Plain ``http.client``: nothing to install."""

from __future__ import annotations

import http.client
import socket
from email.utils import parsedate_to_datetime
from time import monotonic, time
from urllib.parse import urlsplit

from obskit.export.exporter import DELIVERED, UNREACHABLE, Outcome

_RETRY = frozenset([408, 425, 429, 500, 502, 503, 504])
_LONGEST_RETRY_AFTER = 30.0
_MOST_READ = 64 * 1024
_OK = range(200, 300)
_REDIRECT = range(300, 400)


class HttpSender:
    """Sends to one URL. Redirects are not followed: spans go where they were told to, or nowhere."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._headers = headers
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes, deadline: float) -> Outcome:
        """Post ``body`` and say how it went. A connection the server closed while idle is opened once more."""
        reused = self._connection is not None
        try:
            return self._post(body, deadline)
        except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected) as error:
            self.close()
            if not reused:
                return _unreachable(error)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return _unreachable(error)
        try:
            return self._post(body, deadline)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return _unreachable(error)

    def close(self) -> None:
        """Close the connection; the next post opens one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes, deadline: float) -> Outcome:
        connection = self._connect(deadline)
        connection.request("POST", self._path, body, self._headers)
        self._set_timeout(connection, deadline)
        response = connection.getresponse()
        text = response.read(_MOST_READ)
        if not response.isclosed() or response.will_close:
            self.close()
        return _outcome(response, text)

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=_left(deadline))
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set_timeout(self._connection, deadline)
        return self._connection

    @staticmethod
    def _set_timeout(connection: http.client.HTTPConnection, deadline: float) -> None:
        if connection.sock is not None:
            connection.sock.settimeout(_left(deadline))


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("no time left")
    return left


def _unreachable(error: BaseException) -> Outcome:
    return Outcome(UNREACHABLE, str(error) or type(error).__name__, retry=True)


def _outcome(response: http.client.HTTPResponse, text: bytes) -> Outcome:
    status = response.status
    if status in _OK:
        return DELIVERED
    if status in _REDIRECT:
        return Outcome("redirected", f"{status}: redirects are not followed; use the final URL")
    detail = f"{status} {text[:200].decode('utf-8', 'replace')}".strip()
    if status in _RETRY:
        return Outcome(f"http_{status}", detail, True, _retry_after(response.getheader("Retry-After")))
    return Outcome(f"http_{status}", detail)


def _retry_after(text: str | None) -> float:
    """Return the seconds a Retry-After header asks for (RFC 9110, 10.2.3): 0 where it makes no sense, capped."""
    try:
        seconds = float(text) if text and text.isdecimal() else parsedate_to_datetime(text or "").timestamp() - time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER)
