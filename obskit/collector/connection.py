"""A connection's deadlines: one that sends no request, or does not read its answer, is closed.

uvicorn closes a connection on which nothing comes after an answer; it waits forever for the first request, and any
byte makes it wait again. These deadlines are absolute. That of a body is in ``intake``.
"""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT = 10.0  # seconds, from the opening or the last answer to the end of the next request's headers
ANSWER_TIMEOUT = 60.0  # the same when the client did not read the whole answer at once


class Connection(H11Protocol):
    """uvicorn's connection, closed when a request's headers are late."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Opened: the first request is due."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._expect_request(HEAD_TIMEOUT)

    def handle_events(self) -> None:
        """Handle bytes that came: nothing is due once they complete the headers of a request."""
        last = self.cycle
        super().handle_events()
        if self.cycle is not last:
            self._expect_nothing()

    def on_response_complete(self) -> None:
        """Answered: the next request is due. What is left of this one's body does not put it off."""
        self._expect_request(ANSWER_TIMEOUT if self.transport.get_write_buffer_size() else HEAD_TIMEOUT)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone: nothing is due."""
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect_request(self, timeout: float) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(timeout, self.transport.abort)  # close() would wait for the reader

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
