"""Requests to Cloud Profiler's API: the answer, or the refusal and how long to wait after it.

Source: the API's description (cloudprofiler.googleapis.com, v2) and google.rpc.Status, the form of its errors.
"""

from __future__ import annotations

import _socket
import json
import re
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obskit.base.values import one_line
from obskit.export.gcp.account import Account
from obskit.export.gcp.endpoint import ApiEndpoint
from obskit.export.net.http_client import HttpClient
from obskit.export.net.wire import Wire
from obskit.profiling.outputs import Stop

if TYPE_CHECKING:
    import ssl

_HEADERS = {
    "Accept": "application/json",
    "Connection": "close",  # the next request is due in a minute
    "Content-Type": "application/json",
    "User-Agent": "obskit",
    "X-Goog-Api-Format-Version": "2",  # an error's details say how long to wait
}

# Seconds
CREDENTIALS = 10.0
_CONNECTING = 10.0
_CHECK_STOP = 0.2
_SHORTEST_DELAY, _LONGEST_DELAY = 1.0, 3600.0

_MOST_READ = 1024 * 1024
_OK = range(200, 300)
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


class Refusal(Exception):
    """The API has refused a request. ``delay`` (seconds) is how long to wait, if it says so."""

    def __init__(self, status: int, detail: str, delay: float) -> None:
        super().__init__(detail)
        self.status = status
        self.delay = delay


class Stopped(Exception):
    """The profiler was stopped during a request."""


class Api:
    """A client of the API for one process. Each request has its own connection."""

    def __init__(self, endpoint: ApiEndpoint, account: Account) -> None:
        self.account = account
        self._base = urlsplit(endpoint.address).path
        self._stop = Stop()
        self._client = HttpClient(endpoint.address, lambda *where: _Wire(self._stop, *where))

    def call(self, method: str, path: str, body: Any, deadline: float, stop: Stop) -> dict[str, Any]:
        """Return the answer to a request; refresh credentials if they are refused.

        Raises Refusal, Failed, Stopped or Unreachable.
        """
        self._stop = stop
        content = json.dumps(body).encode()
        try:
            return self._call(method, path, content, deadline)
        except Refusal as refusal:
            if refusal.status != 401:
                raise
        self.account.expire()
        return self._call(method, path, content, deadline)

    def _call(self, method: str, path: str, content: bytes, deadline: float) -> dict[str, Any]:
        if self._stop.asked:
            raise Stopped("the profiler stops")
        headers = {**_HEADERS, **self.account.headers(min(CREDENTIALS, deadline - monotonic()))}
        try:
            target = f"{self._base}/v2/{path}"
            answer = self._client.exchange(method, target, content, headers, deadline, _MOST_READ)
        finally:
            self._client.close()
        said = _decode(answer.body)
        if answer.status not in _OK:
            raise _refusal(answer.status, said, answer.headers.get("Retry-After"))
        return said


class _Wire(Wire):
    """A connection that stops waiting for an answer, and raises Stopped, soon after ``stop`` is set."""

    def __init__(self, stop: Stop, host: str, port: int, tls: ssl.SSLContext | None, deadline: float) -> None:
        self._stop = stop
        super().__init__(host, port, tls, min(deadline, monotonic() + _CONNECTING))

    def receive_raw(self) -> bytes:
        """Receive bytes as they are."""
        while not self._stop.asked:
            ready = self._timed()
            ready.settimeout(min(_CHECK_STOP, self.deadline - monotonic()))
            try:
                return bytes(ready.recv(65536))
            except TimeoutError:
                continue
        raise Stopped("the profiler stops")

    def close(self) -> None:
        """Shut the connection down, as children forked meanwhile hold the socket, too."""
        try:
            self._socket.shutdown(_socket.SHUT_RDWR)
        except OSError:
            pass
        super().close()


def _refusal(status: int, answer: dict[str, Any], retry_after: str | None) -> Refusal:
    """Return the Refusal for an error of the API (google.rpc.Status)."""
    error = answer.get("error")
    error = error if isinstance(error, dict) else {}
    details = error.get("details")
    texts = [detail.get("retryDelay") for detail in details or () if isinstance(detail, dict)]
    delays = [*map(seconds, texts), seconds(f"{retry_after}s")]
    found = next((delay for delay in delays if delay is not None), None)
    delay = 0.0 if found is None else min(max(found, _SHORTEST_DELAY), _LONGEST_DELAY)
    return Refusal(status, f"{status} {one_line(error.get('message', ''))}{_hint(status)}", delay)


def _hint(status: int) -> str:
    if status not in (403, 404):
        return ""
    return "; the account needs roles/cloudprofiler.agent, and the project the API cloudprofiler.googleapis.com"


def seconds(text: Any) -> float | None:
    """Return a duration such as ``1.5s`` (google.protobuf.Duration in JSON) in seconds; None for anything else."""
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return float(found[1]) if found else None


def _decode(text: bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
