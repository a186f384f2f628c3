"""When work for a request stops: at its deadline, or when its client has left."""

from __future__ import annotations

import time

SEARCH_TIMEOUT = 10.0  # seconds, waiting for a turn included; Zipkin's own is 11


class Stopped(Exception):
    """The answer is not worth working on any more; the message says why."""


class Deadline:
    """The moment until which a request is worked on. ``check`` is called in every loop that may be long."""

    def __init__(self, timeout: float) -> None:
        self.client_left = False
        self._timeout = timeout
        self._began = time.monotonic()

    @property
    def passed(self) -> float:
        """The seconds since the request came."""
        return time.monotonic() - self._began

    def check(self) -> None:
        """Raise Stopped once the time is over or the client has left."""
        if self.client_left:
            raise Stopped("the client has left")
        if self.passed > self._timeout:
            raise Stopped(f"took longer than {self._timeout:g} s; ask for less time (lookback) or for a service")
