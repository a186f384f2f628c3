"""How long the API takes to answer, by method, status and path: ``http_server_requests_seconds``.

Source: ``/prometheus`` of zipkin-server 3.6.1, which shows a histogram of Micrometer's; the bounds here are some of
that one's.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAME = "http_server_requests_seconds"
_HELP = "response times of the API"
_METHODS = frozenset(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"])
_PREFIXES = ("/api/", "/v1/")
_NANOSECOND = 1e-9
_BOUNDS = (0.001, *((2**power - power % 2) * _NANOSECOND for power in range(21, 35)), 30.0)  # seconds
_RECENT = 60.0  # seconds: the largest value is of the minute that runs, and of the one before


class _Times:
    """The times of one method, status and path. For the event loop's thread alone."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.sum = 0.0
        self._largest = (0.0, 0.0)
        self._turned = time.monotonic()

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BOUNDS, seconds)] += 1
        self.sum += seconds
        self._turn()
        self._largest = (max(self._largest[0], seconds), self._largest[1])

    @property
    def largest(self) -> float:
        self._turn()
        return max(self._largest)

    def _turn(self) -> None:
        passed = time.monotonic() - self._turned
        if passed > _RECENT:
            self._largest = (0.0, self._largest[0] if passed < 2 * _RECENT else 0.0)
            self._turned += passed


class RequestTimes:
    """The times of one collector's API."""

    def __init__(self) -> None:
        self._times: dict[str, _Times] = {}

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return an application that is ``app``, and measures requests to the API until the whole answer is sent."""

        async def measured(scope: Scope, receive: Receive, send: Send) -> None:
            status = 500
            began = time.perf_counter()

            async def send_and_see(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, send_and_see)
            finally:
                self._add(_labels(scope, status), time.perf_counter() - began)

        async def either(scope: Scope, receive: Receive, send: Send) -> None:
            await (measured if _path(scope).startswith(_PREFIXES) else app)(scope, receive, send)

        return either

    def _add(self, labels: str, seconds: float) -> None:
        times = self._times.get(labels)
        if times is None:
            times = self._times[labels] = _Times()
        times.add(seconds)

    def prometheus(self) -> str:
        """Return the text format of Prometheus, version 0.0.4; nothing before the first request."""
        times = sorted(self._times.copy().items())
        if not times:
            return ""
        samples = "".join(line for labels, its in times for line in _samples(labels, its))
        largest = "".join(f"{_NAME}_max{{{labels}}} {its.largest:.9f}\n" for labels, its in times)
        return (
            f"# HELP {_NAME} {_HELP}\n# TYPE {_NAME} histogram\n{samples}"
            f"# HELP {_NAME}_max {_HELP}\n# TYPE {_NAME}_max gauge\n{largest}"
        )


def _path(scope: Scope) -> str:
    return str(scope["path"]).removeprefix("/zipkin")


def _labels(scope: Scope, status: int) -> str:
    """Return Zipkin's labels: a parameter, the last part of a path, is shown by its name; unknown paths by none."""
    method, path = scope["method"], _path(scope)
    if status == 404:
        path = "NOT_FOUND"
    elif params := scope.get("path_params"):
        path = f"{path.rpartition('/')[0]}/{{{next(iter(params))}}}"
    return f'method="{method if method in _METHODS else "UNKNOWN"}",status="{status}",uri="{path}"'


def _samples(labels: str, times: _Times) -> Iterator[str]:
    total = 0
    counts = times.counts.copy()
    for bound, count in zip((*_BOUNDS, "+Inf"), counts, strict=True):
        total += count
        le = bound if isinstance(bound, str) else str(round(bound, 9))
        yield f'{_NAME}_bucket{{{labels},le="{le}"}} {total}\n'
    yield f"{_NAME}_count{{{labels}}} {total}\n{_NAME}_sum{{{labels}}} {times.sum:.9f}\n"
